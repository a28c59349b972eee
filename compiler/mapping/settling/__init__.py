"""Tiles move between cores that have places on the mesh: who reads what in atoms, compiled moves, rounds."""
