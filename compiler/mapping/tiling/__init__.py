"""Layers cut into tiles, and tiles packed onto cores."""
