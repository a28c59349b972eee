"""What is known of the neurons of each PyTorch library; one file a library."""
