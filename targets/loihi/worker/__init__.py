"""What runs a program under Lava, in an environment of its own that knows nothing of Spikeloom."""
