"""How many bits each layer needs: the flips that its rounding alone causes, and a choice under a budget.

For each layer and each width, the trained network runs with this one layer rounded: from trained inputs and
trained membranes at every step (teacher-forced), how many decisions of the next neurons differ? Behind a
readout, which has no neurons, a decision is the class that a sample is given. Each layer then gets the
width with which the flips of all layers together stay within a budget, or the weights within a size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array, Op, StatefulOp
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.quantize.activity import weighted_nodes
from spikeloom.compiler.quantize.quantize import Quantized
from spikeloom.errors import InputError, counted

NARROWEST = 2


@dataclass(frozen=True)
class Budget:
    """What the widths of weights are chosen for; one of the two.

    Attributes:
        flips: the largest share of decisions that may differ, teacher-forced: of each layer's next neurons,
            summed over the layers.
        size: the most bytes that all weights may take.
    """

    flips: float | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if (self.flips is None) == (self.size is None):
            raise InputError.of(
                "SL0901", "--bits auto", "needs one budget", wanted="--max-flips or --max-bytes"
            )


@dataclass(frozen=True)
class Sensitivity:
    """What rounding one layer does.

    Attributes:
        layer: name of the node.
        weights: how many it has.
        flips: for each width, the share of decisions of the next neurons that differ; never rising with
            the width.
    """

    layer: str
    weights: int
    flips: Mapping[int, float]


def measure_sensitivity(
    canonical: Graph, at: Callable[[int], Quantized], widest: int, frames: Array
) -> tuple[Sensitivity, ...]:
    """Measure every layer with weights at every width.

    Args:
        canonical: the trained network.
        at: quantizes it with one width.
        widest: bits of a weight.
        frames: real inputs [steps, samples, ...].
    """
    widths = range(NARROWEST, widest + 1)
    layers = [_Layer(canonical, node) for node in weighted_nodes(canonical)]
    for bits in widths:
        quantized = at(bits)
        for layer in layers:
            layer.rounded[bits] = _with_weights(layer.node, quantized)
    run = Interpreter(canonical)
    run.reset(frames.shape[1])
    for frame in frames:
        before = dict(run.state)
        values = run.step(frame)
        for layer in layers:
            layer.watch(values, before)
    return tuple(layer.result() for layer in layers)


def choose_bits(sensitivities: Sequence[Sensitivity], budget: Budget) -> dict[str, int]:
    """The width of each layer: bits are taken, again and again, where they cost the fewest flips.

    Raises:
        InputError: SL0901, the weights do not fit the size even with 2 bits.

    >>> a = Sensitivity("a", 100, {2: 0.5, 3: 0.1, 4: 0.0})
    >>> b = Sensitivity("b", 100, {2: 0.01, 3: 0.0, 4: 0.0})
    >>> choose_bits([a, b], Budget(flips=0.2)), choose_bits([a, b], Budget(size=75))
    ({'a': 3, 'b': 2}, {'a': 4, 'b': 2})
    """
    chosen = {one.layer: max(one.flips) for one in sensitivities}
    if budget.size is not None:
        least = sum(one.weights * min(one.flips) for one in sensitivities) / 8
        if least > budget.size:
            got = f"{counted(ceil(least), 'byte')} with {NARROWEST} bits everywhere"
            what = "the weights do not fit"
            raise InputError.of("SL0901", "--max-bytes", what, wanted=counted(budget.size, "byte"), got=got)
    while True:
        steps = [step for one in sensitivities for step in _narrower(one, chosen[one.layer])]
        steps = [step for step in steps if _allows(budget, sensitivities, chosen, step)]
        if not steps:
            return chosen
        best = min(steps, key=lambda step: step.price)
        chosen[best.layer] = best.bits


@dataclass(frozen=True)
class _Step:
    """A layer made narrower: what it costs in flips for each bit of memory that it saves."""

    layer: str
    bits: int
    flips: float
    price: float


def _narrower(one: Sensitivity, now: int) -> list[_Step]:
    steps = []
    for bits in one.flips:
        if bits < now:
            more = one.flips[bits] - one.flips[now]
            steps.append(_Step(one.layer, bits, more, more / (one.weights * (now - bits))))
    return steps


def _allows(
    budget: Budget, sensitivities: Sequence[Sensitivity], chosen: Mapping[str, int], step: _Step
) -> bool:
    if budget.size is not None:
        return sum(one.weights * chosen[one.layer] for one in sensitivities) / 8 > budget.size
    assert budget.flips is not None
    return sum(one.flips[chosen[one.layer]] for one in sensitivities) + step.flips <= budget.flips


class _Layer:
    """A layer with weights, and the way from it to the next neurons."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.node = node
        self.rounded: dict[int, Op] = {}
        self._graph = graph
        self._way, self._ends = _way_to_neurons(graph, node)
        self._apart: dict[int, int] = {}
        self._cells = 0
        self._sums: dict[int, Array] = {}

    def watch(self, values: Mapping[str, Array], before: Mapping[str, Array]) -> None:
        """Take one time step with each rounding."""
        self._cells += sum(values[node.output].size for node in self._ends)
        for bits, op in self.rounded.items():
            now = dict(values)
            (now[self.node.output],) = op.evaluate(values[self.node.inputs[0]])
            for node in self._way:
                now.update(zip(node.outputs, _advance(self._graph, node, now, before), strict=True))
            apart = sum(int((now[node.output] != values[node.output]).sum()) for node in self._ends)
            self._apart[bits] = self._apart.get(bits, 0) + apart
            if not self._ends:
                self._sum(bits, now)
        if not self._ends:
            self._sum(0, values)

    def _sum(self, bits: int, values: Mapping[str, Array]) -> None:
        answer = values[self._graph.outputs[0]]
        last = answer if self._graph.answers_at_the_end else self._sums.get(bits, 0.0) + answer
        self._sums[bits] = last

    def result(self) -> Sensitivity:
        """The flips of each width; what more bits would make worse is chance."""
        assert isinstance(self.node.op, (Convolution, Linear))
        shares = {bits: self._share(bits) for bits in self.rounded}
        flips, worst = {}, 0.0
        for bits in sorted(shares, reverse=True):
            worst = max(worst, shares[bits])
            flips[bits] = worst
        return Sensitivity(self.node.name, self.node.op.weight.size, dict(sorted(flips.items())))

    def _share(self, bits: int) -> float:
        if self._ends:
            return self._apart[bits] / self._cells
        classes, trained = (self._sums[which].reshape(len(self._sums[0]), -1) for which in (bits, 0))
        return float((classes.argmax(1) != trained.argmax(1)).mean())


def _way_to_neurons(graph: Graph, node: Node) -> tuple[list[Node], list[Node]]:
    """The nodes that a layer reaches up to the next neurons, in order, and those neurons."""
    reached, way, ends = set(node.outputs), [], []
    for other in graph.nodes:
        if reached.intersection(other.inputs):
            way.append(other)
            if other.op.work == "update":
                ends.append(other)
            else:
                reached.update(other.outputs)
    return way, ends


def _advance(
    graph: Graph, node: Node, values: Mapping[str, Array], before: Mapping[str, Array]
) -> tuple[Array, ...]:
    """One step of a node, from the trained state."""
    inputs = tuple(values[name] for name in node.inputs)
    if not isinstance(node.op, StatefulOp):
        return node.op.evaluate(*inputs)
    names = node.op.states(*graph.input_types(node))
    return node.op.step(inputs, {name: before[f"{node.name}/{name}"] for name in names})[0]


def _with_weights(node: Node, quantized: Quantized) -> Op:
    """The trained operation with the rounded weights."""
    op, rounded = node.op, quantized.graph.node(node.name).op
    assert isinstance(op, (Convolution, Linear))
    assert isinstance(rounded, (Convolution, Linear))
    steps = quantized.steps[node.name].reshape(-1, *(1,) * (op.weight.ndim - 1))
    return replace(op, weight=np.asarray(rounded.weight * steps))
