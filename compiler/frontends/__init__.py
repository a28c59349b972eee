"""Model in: each frontend makes a graph."""
