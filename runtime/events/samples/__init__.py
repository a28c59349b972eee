"""Samples for a network: from recordings, from arrays, from a data set."""
