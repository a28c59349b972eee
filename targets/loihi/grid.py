"""Does an integer graph keep to the numbers that the chip holds?"""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.errors import Problem


def off_grid(graph: Graph, profile: NumericProfile) -> list[Problem]:
    """A problem for every weight, threshold, bias or state that does not fit the profile.

    A graph that was quantized for the profile has none; one made for another target may.
    """
    problems = []
    for node in graph.nodes:
        if isinstance(node.op, Convolution | Linear | RecurrentNeuron):
            problems += _weights(node, node.op, profile)
        op = node.op.neuron if isinstance(node.op, RecurrentNeuron) else node.op
        if isinstance(op, IntegerNeuron):
            problems += _neuron(node, op, profile)
    return problems


def _weights(
    node: Node, op: Convolution | Linear | RecurrentNeuron, profile: NumericProfile
) -> list[Problem]:
    largest = int(np.abs(op.weight.astype(np.int64)).max(initial=0))
    if largest <= profile.largest_weight:
        return []
    return [
        _problem(node, "a weight is too large", f"within {profile.largest_weight}", str(largest), profile)
    ]


def _neuron(node: Node, op: IntegerNeuron, profile: NumericProfile) -> list[Problem]:
    step = profile.threshold_step
    bias_limit = (2 ** (profile.bias_mantissa_bits - 1) - 1) << (2**profile.bias_exponent_bits - 1)
    groups = np.unique(op.theta.reshape(op.levels, -1), axis=1).shape[1]
    checks = (
        (not (op.theta % step).any(), "a threshold is off the grid", f"multiples of {step}", ""),
        (
            int(op.theta.max()) <= (2**profile.threshold_bits - 1) * step,
            "a threshold is too large",
            f"{profile.threshold_bits} bits times {step}",
            str(op.theta.max()),
        ),
        (
            profile.threshold_groups is None or groups <= profile.threshold_groups,
            "has too many different thresholds",
            f"at most {profile.threshold_groups}",
            str(groups),
        ),
        (
            int(np.abs(op.bias).max()) <= bias_limit,
            "a bias is too large",
            f"within {bias_limit}",
            str(np.abs(op.bias).max()),
        ),
        (
            op.state_bits <= profile.state_bits,
            "its state is too wide",
            f"{profile.state_bits} bits",
            f"{op.state_bits} bits",
        ),
        (
            op.fraction_bits in (profile.fraction_bits - 1, profile.fraction_bits),
            "its state has another grid",
            f"{profile.fraction_bits} fraction bits, or one less and even weights",
            str(op.fraction_bits),
        ),
    )
    return [_problem(node, what, wanted, got, profile) for fits, what, wanted, got in checks if not fits]


def _problem(node: Node, what: str, wanted: str, got: str, profile: NumericProfile) -> Problem:
    remedy = f"quantize for {profile.name}"
    return Problem("SL0504", f"{node.name} at {node.source}", what, wanted, got, remedy)
