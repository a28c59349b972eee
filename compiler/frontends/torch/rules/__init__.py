"""Rules from ATen operations to graph operations, one family a file."""
