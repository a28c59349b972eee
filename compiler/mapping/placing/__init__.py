"""Which core goes to which slot: starts, swaps, annealing. Inner loops are compiled."""
