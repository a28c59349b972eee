"""What becomes of each operation in integers, one family a file."""
