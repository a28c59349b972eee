"""A fixed set of networks, timed on every engine and on the peers that are installed.

Networks come from generators of our own, with random weights and thresholds that make every layer fire at
about the same rate, since a silent network would be fast for no reason. Nothing here says anything about
accuracy.
"""
