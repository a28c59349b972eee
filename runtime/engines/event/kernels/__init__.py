"""What numba compiles, one file a family of kernels."""
