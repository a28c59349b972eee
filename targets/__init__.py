"""What networks can be compiled for, one folder a target."""
