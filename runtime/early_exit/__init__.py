"""Rules that say when a network has seen enough, and how they are calibrated."""
