"""Event recordings, frame recipes, and the samples that a network is run on."""
