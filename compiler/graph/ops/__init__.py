"""The operations of a graph, one a file."""
