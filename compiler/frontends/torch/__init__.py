"""PyTorch in: an unmodified model and its checkpoint become a graph for one time step."""
