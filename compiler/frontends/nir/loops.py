"""Cycles of a NIR graph: neurons whose spikes come back to them through weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import networkx
import numpy as np

from spikeloom.compiler.frontends.nir.file import NirGraph, NirNode
from spikeloom.compiler.frontends.nir.rules.delay import whole_steps
from spikeloom.compiler.frontends.nir.semantics import Semantics
from spikeloom.compiler.frontends.nir.walk import NotExpressibleError, WayBack, numbers
from spikeloom.errors import Problem

FIRING = ("CubaLIF", "IF", "LIF")
PASSED = ("Input", "Output")


@dataclass(frozen=True)
class Loops:
    """The cycles of a graph, and the graph without them.

    Attributes:
        order: the nodes that are left, and their edges.
        back: by the name of a neuron layer, how its spikes come back.
        problems: cycles that have no counterpart, each by the nodes on it.
    """

    order: networkx.DiGraph[str]
    back: Mapping[str, WayBack]
    problems: tuple[Problem, ...] = ()


def find_loops(nir: NirGraph, semantics: Semantics, name: str) -> Loops:
    """Take the cycles out of a flat graph.

    A cycle is one layer of neurons and a chain of Linear, Affine, Scale and Delay from it to itself, of which
    nothing else reads or drives a part. What comes back at a step are the spikes of the step before: within
    one step, no execution has them yet.
    """
    order: networkx.DiGraph[str] = networkx.DiGraph()
    order.add_nodes_from(nir.nodes)
    order.add_edges_from(nir.edges)
    back: dict[str, WayBack] = {}
    problems: list[Problem] = []
    for part in sorted(map(sorted, networkx.strongly_connected_components(order))):
        if len(part) == 1 and not order.has_edge(part[0], part[0]):
            continue
        try:
            neuron, chain = _chain(nir, order, part)
            back[neuron] = _way_back([nir.nodes[one] for one in chain], semantics)
        except NotExpressibleError as error:
            what = f"recurrent connections have no counterpart: {', '.join(part)}: {error}"
            problems.append(Problem("SL0302", name, what))
            continue
        order.remove_edges_from([(source, target) for source, target in order.edges if target in chain])
        order.remove_edge(chain[-1] if chain else neuron, neuron)
        order.remove_nodes_from(chain)
    return Loops(order, back, tuple(problems))


def _chain(nir: NirGraph, order: networkx.DiGraph[str], part: list[str]) -> tuple[str, list[str]]:
    """The neuron layer of a cycle, and the nodes from it to itself."""
    neurons = [one for one in part if _type(nir, one) in FIRING]
    if len(neurons) != 1:
        raise NotExpressibleError(
            "several layers of neurons on one cycle" if neurons else "no neurons on it that fire"
        )
    chain: list[str] = []
    for one in _around(order, neurons[0], set(part)):
        if others := {*order.predecessors(one), *order.successors(one)} - set(part):
            raise NotExpressibleError(f"{', '.join(sorted(others))} stands beside {one}, which leads back")
        chain.append(one)
    if set(chain) != set(part) - set(neurons):
        raise NotExpressibleError("several ways back")
    return neurons[0], chain


def _around(order: networkx.DiGraph[str], neuron: str, part: set[str]) -> Iterator[str]:
    """The nodes that follow one another from a neuron layer until it comes again."""
    node = neuron
    for _ in part:
        following = [one for one in order.successors(node) if one in part]
        if len(following) != 1:
            raise NotExpressibleError("several ways back")
        (node,) = following
        if node == neuron:
            return
        yield node


def _way_back(chain: list[NirNode | NirGraph], semantics: Semantics) -> WayBack:
    """What a chain of nodes makes of spikes: a matrix, or a factor for each neuron, and an offset."""
    way = WayBack(np.ones(()), np.zeros(()), 1)
    for node in chain:
        kind = node.type if isinstance(node, NirNode) else "NIRGraph"
        if kind in PASSED:
            continue
        if not isinstance(node, NirNode) or kind not in LED_THROUGH:
            raise NotExpressibleError(f"spikes come back through {kind}")
        try:
            way = LED_THROUGH[kind](way, node, semantics)
        except ValueError as error:
            raise NotExpressibleError(f"{kind} does not fit what leads to it: {error}") from error
    if way.dense and len(way.weight) != way.weight.shape[1]:
        raise NotExpressibleError(f"weights {list(way.weight.shape)} do not lead back")
    return way


def _multiplied(way: WayBack, node: NirNode, semantics: Semantics) -> WayBack:
    matrix, weight = numbers(node, "weight"), way.weight
    if matrix.ndim != 2 or weight.ndim > 1 + way.dense or (way.dense and len(weight) != matrix.shape[1]):
        raise NotExpressibleError(f"weights {list(matrix.shape)} on the way back of {list(weight.shape)}")
    offset = numbers(node, "bias") if node.type == "Affine" else np.zeros(())
    before = np.broadcast_to(way.bias, matrix.shape[1])
    bias = matrix @ before + np.broadcast_to(offset, len(matrix))
    return WayBack(matrix @ weight if way.dense else matrix * weight, bias, way.wait, dense=True)


def _scaled(way: WayBack, node: NirNode, semantics: Semantics) -> WayBack:
    factor = numbers(node, "scale")
    rows = factor[:, None] if way.dense and factor.ndim == 1 else factor
    return replace(way, weight=way.weight * rows, bias=way.bias * factor)


def _delayed(way: WayBack, node: NirNode, semantics: Semantics) -> WayBack:
    steps = np.unique(whole_steps(node, semantics.dt))
    if len(steps) > 1 or (way.bias.any() and steps.any()):
        raise NotExpressibleError("delays that differ from neuron to neuron, or follow an offset")
    return replace(way, wait=way.wait + int(steps[0]))


LED_THROUGH: Mapping[str, Callable[[WayBack, NirNode, Semantics], WayBack]] = {
    "Linear": _multiplied,
    "Affine": _multiplied,
    "Scale": _scaled,
    "Delay": _delayed,
}


def _type(nir: NirGraph, name: str) -> str:
    node = nir.nodes.get(name)
    return node.type if isinstance(node, NirNode) else "NIRGraph"
