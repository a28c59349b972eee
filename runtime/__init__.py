"""What runs a bundle."""
