"""Retiming: when each population takes which time step, and which synapses wait.

Every synapse takes one chip step, so a population d synapses behind the input takes time step t of the
network at chip step t + d. Where paths of different lengths meet, the shorter ones must wait: in
synapses that are delayed, which costs a slot of the dendritic accumulator for each neuron and step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spikeloom.compiler.mapping.network import Network

Edge = tuple[str, str]
Place = Literal["synapses", "relays"]


@dataclass(frozen=True)
class Timing:
    """When populations work.

    Attributes:
        depth: chip steps of each population behind the input.
        delays: of each edge, the steps it waits beyond its own one.
        cost: slots of dendritic accumulators for delays: over all populations, neurons times the
            longest delay that ends in them. With relays: relay neurons, neurons times the longest
            delay that begins in them.
    """

    depth: Mapping[str, int]
    delays: Mapping[Edge, int]
    cost: int

    @property
    def latency(self) -> int:
        """The depth of the deepest population."""
        return max(self.depth.values())


def retime(network: Network, place: Place = "synapses") -> Timing:
    """Balance all paths of a network at the least cost in delays, and at the least latency.

    What comes back to the population that sent it takes a network step; paths are those without such loops.

    See :func:`balance`.
    """
    sizes = {one.name: one.size for one in network.populations}
    inputs = [one.name for one in network.populations if one.role == "input"]
    edges = [(one.source, one.target) for one in network.projections if one.source != one.target]
    late = {one.name: one.late for one in network.populations if one.late}
    rigid = frozenset(one.name for one in network.populations if one.streams)
    timing = balance(sizes, edges, inputs, network.outputs, place, late, rigid)
    loops = {one.source for one in network.projections if one.source == one.target}
    delays = {**timing.delays, **{(name, name): network.steps - 1 for name in sorted(loops)}}
    return Timing(timing.depth, delays, delay_slots(sizes, delays, int(place == "synapses")))


def balance(
    sizes: Mapping[str, int],
    edges: Sequence[Edge],
    inputs: Sequence[str],
    outputs: Sequence[str],
    place: Place = "synapses",
    late: Mapping[str, int] | None = None,
    rigid: frozenset[str] = frozenset(),
) -> Timing:
    """Depths that minimise the slots for delays, with every output as early as its longest path allows.

    With ``relays`` a chain of relay neurons behind a population delays what it sends, each for all who
    read it; then m belongs to the source of an edge, and the cost is in neurons.

    With the depth d and the longest delay m >= 0 of each population::

        minimise  sum over p of size[p] * m[p]
        with      d[p] - d[s] >= l[s]  and  m[p] >= d[p] - d[s] - l[s]    for every edge s -> p
                  d = 0 at the inputs,  d = length of the longest path at the outputs

    where l[s] is 1 and the steps by which a population that works in slots sends later than it takes; what
    reads a ``rigid`` population does not wait.

    Replacing m[p] by d[p] - e[p] makes every constraint a bound on a difference of two variables, so
    that the matrix is totally unimodular (the dual of a network flow) and the optimum is an integer
    one (Leiserson and Saxe, Algorithmica 6, 1991).

    >>> short = balance({"x": 4, "a": 2, "b": 8, "y": 1}, [("x", "a"), ("a", "b"), ("b", "y"), ("x", "y")],
    ...                 ["x"], ["y"])
    >>> short.depth["y"], short.delays[("x", "y")], short.cost
    (3, 2, 2)
    """
    length = {name: 1 + (late or {}).get(name, 0) for name in sizes}
    longest = _longest_paths(length, edges)
    kept = sorted(set(edges))
    if all(longest[target] - longest[source] == length[source] for source, target in kept):
        return Timing(longest, dict.fromkeys(kept, 0), 0)
    fixed = {**dict.fromkeys(inputs, 0), **{name: longest[name] for name in outputs}}
    end = 1 if place == "synapses" else 0
    depth = _solve(sizes, length, kept, fixed, end, rigid)
    delays = {(source, target): depth[target] - depth[source] - length[source] for source, target in kept}
    return Timing(depth, delays, delay_slots(sizes, delays, end))


def delay_slots(sizes: Mapping[str, int], delays: Mapping[Edge, int], end: int = 1) -> int:
    """The sum, over populations, of neurons times the longest delay that ends (0: begins) in them."""
    waits: dict[str, int] = {}
    for edge, wait in delays.items():
        waits[edge[end]] = max(wait, waits.get(edge[end], 0))
    return sum(sizes[name] * wait for name, wait in waits.items())


def _longest_paths(length: Mapping[str, int], edges: Sequence[Edge]) -> dict[str, int]:
    """Steps on the longest path to each population; populations come in the order of the data flow."""
    depth = dict.fromkeys(length, 0)
    into: dict[str, list[str]] = {}
    for source, target in edges:
        into.setdefault(target, []).append(source)
    for name in length:
        depth[name] = max((depth[source] + length[source] for source in into.get(name, ())), default=0)
    return depth


def _solve(
    sizes: Mapping[str, int],
    length: Mapping[str, int],
    edges: Sequence[Edge],
    fixed: Mapping[str, int],
    end: int,
    rigid: frozenset[str],
) -> dict[str, int]:
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    names = list(sizes)
    place = {name: number for number, name in enumerate(names)}
    count = len(names)
    rows: list[int] = []
    columns: list[int] = []
    values: list[int] = []
    limits: list[int] = []

    def constrain(limit: int, *terms: tuple[int, int]) -> None:
        for column, value in terms:
            rows.append(len(limits))
            columns.append(column)
            values.append(value)
        limits.append(limit)

    for source, target in edges:
        s, t = place[source], place[target]
        constrain(-length[source], (s, 1), (t, -1))
        constrain(length[source], (t, 1), (s, -1), (count + (s, t)[end], -1))
        if source in rigid:
            constrain(length[source], (t, 1), (s, -1))
    cost = [0.0] * count + [float(size) for size in sizes.values()]
    bounds = [(fixed.get(name, 0), fixed.get(name)) for name in names] + [(0, None)] * count
    matrix = coo_array((values, (rows, columns)), (len(limits), 2 * count)).tocsr()
    found = linprog(cost, matrix, limits, bounds=bounds, method="highs-ds")
    if not found.success:
        raise ValueError(f"no retiming: {found.message}")
    return {name: int(depth) for name, depth in zip(names, np.rint(found.x[:count]), strict=True)}
