"""Executions of a compiled network that agree bit for bit, one a file."""
