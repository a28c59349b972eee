"""Which neurons of a network execute the same with the same parameters: a core holds one group of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.mapping.network import Network, Population
from spikeloom.targets.loihi.lowering.rule import EXISTING, Lowering
from spikeloom.targets.loihi.retime import Timing

Key = tuple[object, ...]


def with_programs(network: Network, state: Lowering, timing: Timing) -> Network:
    """The network with a name for each group, the same for groups that do the same.

    A group is what one process of Lava would be: a program, what all its neurons share, and the step at which
    they are reset. Populations of the same group could be one process. Biases, factors and slots are each
    neuron's own; so are thresholds of neuron programs.
    """
    return replace(
        network,
        populations=tuple(
            replace(one, programs=_names(one, state, timing.depth, network.steps))
            for one in network.populations
        ),
    )


def _names(one: Population, state: Lowering, depth: Mapping[str, int], steps: int) -> tuple[str, ...]:
    node = state.origins.get(one.name)
    op = neuron_of(node)
    when = depth[one.name] if op is not None else depth[one.name] % steps
    always = state.slots.get(one.name, 0) is None
    key: Key = (one.role, one.combine, one.tag, state.models.get(one.name, ""), one.late, when, always)
    if op is not None:
        key += (op.levels, op.reset, op.decay, op.current_decay, op.fraction_bits)
    elif node is not None and isinstance(node.op, Rescale):
        key += ("relay", node.op.shift, node.op.lo, node.op.hi)
    elif one.role == "neuron" and one.tag != EXISTING:
        return ()  # programs of other operations
    elif node is not None and one.role == "accumulator":
        return ()
    if op is None or one.tag != EXISTING:
        return tuple(repr(key) for _ in sorted(set(one.groups)))
    columns = np.unique(op.theta.reshape(op.levels, -1), axis=1).T
    return tuple(repr((*key, *column.tolist())) for column in columns)


def neuron_of(node: Node | None) -> IntegerNeuron | None:
    """The neurons that a node executes, if it does."""
    op = None if node is None else node.op
    return op.neuron if isinstance(op, RecurrentNeuron) else op if isinstance(op, IntegerNeuron) else None
