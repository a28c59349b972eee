"""Fine-tuning on the integers: the integer graph in PyTorch, with gradients."""
