"""Rewritings of a graph, one a file."""
