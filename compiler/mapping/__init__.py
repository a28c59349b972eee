"""From a network to the cores of a chip. Knows no chip by name."""
