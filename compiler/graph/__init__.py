"""The graph of a network, its operations, and the contracts that every other part shares."""
