"""The quantizer: from a canonical graph to an integer graph that is legal for a target.

It walks the graph once and carries, for every value, what its integers mean: real = scale *
integer + offset. Batch norm is in the weights by then; their steps, the input scale of a neuron
and the scale of an attention become part of the neuron's threshold. Values are rescaled only where
different units meet: in residuals of membranes, and between weights and weights with no neuron
between them; and only for a target that can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeloom.compiler.graph.graph import Graph, Unit
from spikeloom.compiler.graph.kinds import Kind
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.verify import verify
from spikeloom.compiler.quantize.activity import Activity
from spikeloom.compiler.quantize.thresholds import RoundingBound
from spikeloom.compiler.quantize.walk import LayerGrid, Rounded, Rounding, Walk
from spikeloom.errors import Problem, UnsupportedError


@dataclass(frozen=True)
class Quantized:
    """An integer graph and how it was made.

    Attributes:
        graph: at stage INTEGER, verified: nothing in it overflows.
        bounds: for each neuron layer, how far it may be from its trained decision.
        grids: for each layer with weights, its rounding.
        steps: for each layer with weights, the real value [output channels] of an integer step of its
            weights, as they are with the batch norm after them folded in.
    """

    graph: Graph
    bounds: Mapping[str, RoundingBound]
    grids: tuple[LayerGrid, ...]
    steps: Mapping[str, Array]


def quantize(
    graph: Graph,
    profile: NumericProfile,
    activity: Activity,
    horizon: int,
    given: Mapping[str, tuple[Kind, Unit]] | None = None,
    rounding: Rounding | None = None,
) -> Quantized:
    """Quantize a canonical graph for a target's numeric profile.

    Where a membrane potential could overflow the target's state, the step of the weights before
    it is doubled until the proof succeeds.

    Args:
        graph: at stage CANONICAL.
        profile: the target's grid.
        activity: statistics of the network on calibration recordings.
        horizon: time steps between resets; 0 if never reset.
        given: for inputs of the graph, which integers they hold and what those mean; else they hold
            the integers of their kind.
        rounding: ranges and widths of weights; by default ranges of the smallest error and one width.

    Raises:
        UnsupportedError: SL0501, an operation has no integer form; SL0502, scales that must be
            equal are not; SL0503, a potential overflows whatever the step; SL0504, a threshold or
            bias is off the grid. All problems of the graph are listed.
    """
    _refuse_equations(graph, profile)
    halvings: dict[str, int] = {}
    shared: dict[str, float] = {}
    rounded: dict[str, Rounded] = {}
    given, rounding = given or {}, rounding or Rounding()
    while True:
        walk = Walk(graph, profile, activity, horizon, halvings, shared, given, rounding, rounded)
        overflowing = walk.run()
        if shared != walk.needed:
            shared = walk.needed
            continue
        if not overflowing:
            break
        for layer in overflowing:
            halvings[layer] = halvings.get(layer, 0) + 1
    result = walk.builder.build()
    verify(result)
    return Quantized(result, walk.bounds, tuple(walk.grids), walk.steps)


def _refuse_equations(graph: Graph, profile: NumericProfile) -> None:
    """Neurons with declared equations need products of their states, which only some targets have."""
    problems = [
        Problem(
            "SL0501",
            f"{node.name} at {node.source}",
            f"is a neuron with declared equations ({'; '.join(node.op.update)}), which the target has not",
            remedy="compile for the target onnx",
        )
        for node in graph.nodes
        if isinstance(node.op, EquationNeuron) and not profile.hosts
    ]
    if problems:
        raise UnsupportedError(problems)
