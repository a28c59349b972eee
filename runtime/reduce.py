"""Shrinks a network on which two engines differ to a small one on which they still do.

Delta debugging on graphs: cut what comes after the first difference, cut what comes before a value that all
paths go through, leave out nodes that change no type, and set weights and frames to zero, half by half.
Every smaller network is run on both engines; what makes them agree is taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph, Node, live_nodes
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import frame_dtype
from spikeloom.compiler.graph.op import Array, RuleBrokenError
from spikeloom.compiler.graph.verify import verify
from spikeloom.errors import SpikeloomError
from spikeloom.runtime.divergence import Place, first_difference
from spikeloom.runtime.session import run_from_reset

OpenEngine = Callable[[Graph], Engine]
_LARGEST_BYTE = 255


@dataclass(frozen=True)
class Failure:
    """A network and frames on which two engines differ.

    Attributes:
        frames: [steps, samples, ...], as engines take them.
        place: the first difference.
    """

    graph: Graph
    frames: Array
    place: Place

    @property
    def size(self) -> tuple[int, int, int]:
        """Nodes, numbers of the frames that are not zero, and parameters that are not zero."""
        parameters = sum(int(np.count_nonzero(getattr(node.op, "weight", 0))) for node in self.graph.nodes)
        return len(self.graph.nodes), int(np.count_nonzero(self.frames)), parameters


@dataclass(frozen=True)
class Reducer:
    """Shrinks failures of a pair of engines.

    Attributes:
        first, second: open an engine on a graph; the first is what the second must equal.
        trials: how many smaller networks may be tried.
    """

    first: OpenEngine
    second: OpenEngine
    trials: int = 2000

    def failure(self, graph: Graph, frames: Array) -> Failure | None:
        """The network as a failure, or None if the engines agree on it, or cannot run it."""
        try:
            graph = _typed(graph)
            verify(graph)
            wanted, got = (run_from_reset(make(graph), frames) for make in (self.first, self.second))
        except (SpikeloomError, RuleBrokenError):
            return None
        place = first_difference(graph, wanted, got)
        return None if place is None else Failure(graph, frames, place)

    def reduce(self, failure: Failure) -> Failure:
        """The smallest failure that is found by taking parts away, one kind of part after the other."""
        left = self.trials
        for smaller in (_fewer_frames, _without_tail, _without_head, _without_nodes, _quieter, _lighter):
            shrinks = True
            while shrinks and left > 0:
                shrinks = False
                for graph, frames in smaller(failure):
                    left -= 1
                    found = self.failure(graph, frames)
                    if found is not None:
                        failure, shrinks = found, True
                        break
                    if left <= 0:
                        break
        return failure


Candidates = Iterator[tuple[Graph, Array]]


def _fewer_frames(failure: Failure) -> Candidates:
    """The sample that differs, and the steps up to the one that differs."""
    graph, frames, place = failure.graph, failure.frames, failure.place
    if frames.shape[1] > 1:
        yield graph, frames[:, place.sample : place.sample + 1]
    if len(frames) > place.step + 1:
        yield graph, frames[: place.step + 1]
    if len(frames) > 1:
        yield graph, frames[1:]


def _without_tail(failure: Failure) -> Candidates:
    """The graph that ends at the layer that differs."""
    node = next((node for node in failure.graph.nodes if node.name == failure.place.layer), None)
    if node is not None and failure.graph.outputs != (node.output,):
        yield _ending(failure.graph, node.output), failure.frames


def _without_head(failure: Failure) -> Candidates:
    """Graphs that begin at a later value, which gets what it was in the reference."""
    graph = failure.graph
    values = _record(graph, failure.frames)
    for node in reversed(graph.nodes[:-1]):
        for name in node.outputs:
            kind = graph.types[name].kind
            low, high = kind.bounds if kind.is_integer else (-1, 0)
            taken = low >= 0 and (high <= _LARGEST_BYTE or kind.name == "index")
            shorter = _starting(graph, name)
            if taken and shorter is not None:
                yield shorter, values[name].astype(frame_dtype(kind))


def _without_nodes(failure: Failure) -> Candidates:
    """Graphs in which a node is left out whose output is of the type of an input."""
    graph = failure.graph
    for node in graph.nodes:
        if len(node.outputs) != 1 or node.output in graph.outputs:
            continue
        for name in node.inputs:
            if graph.types[name] == graph.types[node.output]:
                yield _bypassed(graph, node, name), failure.frames


def _quieter(failure: Failure) -> Candidates:
    """Frames with a part of what is active set to zero: half of it, a quarter ..."""
    active = np.flatnonzero(failure.frames)
    for part in _parts(len(active)):
        frames = failure.frames.copy()
        frames.flat[active[part]] = 0
        yield failure.graph, frames


def _lighter(failure: Failure) -> Candidates:
    """Graphs with a part of the weights of a node set to zero."""
    for node in failure.graph.nodes:
        weight: Array | None = getattr(node.op, "weight", None)
        if weight is None:
            continue
        active = np.flatnonzero(weight)
        for part in _parts(len(active)):
            less = weight.copy()
            less.flat[active[part]] = 0
            changes: dict[str, Any] = {"weight": less}
            other = replace(node, op=replace(node.op, **changes))
            nodes = tuple(other if one is node else one for one in failure.graph.nodes)
            yield failure.graph.replace(nodes=nodes), failure.frames


def _parts(count: int) -> Iterator[slice]:
    """Halves, quarters, down to eighths or single elements of a few."""
    pieces = 2
    while pieces <= min(max(count, 1), 8 if count > 64 else 64):
        bounds = np.linspace(0, count, pieces + 1).astype(int)
        for start, end in pairwise(bounds):
            if start < end:
                yield slice(int(start), int(end))
        pieces *= 2


def _record(graph: Graph, frames: Array) -> dict[str, Array]:
    """Every value on the frames, [steps, samples, ...]."""
    interpreter = Interpreter(graph)
    interpreter.reset(frames.shape[1])
    steps = [interpreter.step(frame) for frame in frames]
    return {name: np.stack([values[name] for values in steps]) for name in steps[0]}


def _ending(graph: Graph, name: str) -> Graph:
    nodes = live_nodes(graph.nodes, [name])
    return graph.replace(nodes=nodes, outputs=(name,))


def _starting(graph: Graph, name: str) -> Graph | None:
    """The graph with a value as its input, or None if it needs its own input still."""
    kept = live_nodes([node for node in graph.nodes if name not in node.outputs], graph.outputs)
    made = {output for node in kept for output in node.outputs} | {name}
    if name in graph.outputs or any(value not in made for node in kept for value in node.inputs):
        return None
    return graph.replace(nodes=kept, inputs=(name,))


def _bypassed(graph: Graph, node: Node, name: str) -> Graph:
    nodes = [
        replace(other, inputs=tuple(name if value == node.output else value for value in other.inputs))
        for other in graph.nodes
        if other is not node
    ]
    return graph.replace(nodes=live_nodes(nodes, graph.outputs))


def _typed(graph: Graph) -> Graph:
    """Every type anew, since other weights have other bounds; no units, for they speak of the whole model.

    Raises:
        RuleBrokenError: a node no longer fits what it reads.
    """
    types = {name: graph.types[name] for name in graph.inputs}
    for node in graph.nodes:
        kinds = node.op.infer(*(types[name] for name in node.inputs))
        types.update(zip(node.outputs, kinds, strict=True))
    return graph.replace(types=types, units={})
