"""What the operations of an integer graph become on Loihi 2, one rule a file."""
