"""The operations that NIR has nodes for."""

from __future__ import annotations

from spikeloom.compiler.frontends.nir.export import neurons, structure, weights
from spikeloom.compiler.frontends.nir.export.saying import Rule

SAYINGS: dict[str, Rule] = {
    "accumulate": neurons.ACCUMULATE,
    "add": structure.ADD,
    "conv1d": weights.CONVOLUTION,
    "conv2d": weights.CONVOLUTION,
    "delay": structure.DELAY,
    "integer_neuron": neurons.NEURON,
    "leaky_sum": neurons.LEAKY_SUM,
    "linear": weights.LINEAR,
    "max_pool2d": structure.MAX_POOL,
    "recurrent_neuron": neurons.RECURRENT,
    "reshape": structure.RESHAPE,
}
"""Rules by the names of operations."""
