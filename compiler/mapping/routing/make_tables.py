"""The tables of routers that copy messages, for a network on placed cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.demand import Demand
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.placement import CoreUse
from spikeloom.compiler.mapping.routing.fanout import fanouts
from spikeloom.compiler.mapping.routing.flows import OUTSIDE
from spikeloom.compiler.mapping.routing.tables import CORE, Key, Outputs, Router, Routes


def routing_tables(network: Network, demands: Sequence[Demand], cores: Sequence[CoreUse]) -> Routes:
    """The tables for a network on placed cores.

    Args:
        network: what is mapped.
        demands: what each core holds and reads.
        cores: where they are.
    """
    keys: list[Key] = []
    entries: dict[Router, dict[tuple[int, str], Outputs]] = {}
    for population, one in zip(network.populations, fanouts(network, demands), strict=True):
        for number, source in enumerate(one.source.tolist()):
            if source == OUTSIDE:
                continue
            targets = one.target[one.first[number] : one.first[number + 1]].tolist()
            for (router, came), outputs in _tree(cores, source, targets).items():
                entries.setdefault(router, {})[len(keys), came] = outputs
            box = Box(tuple((start, stop) for start, stop in one.boxes[number].tolist()))
            keys.append(Key(population.name, source, box))
    return Routes(tuple(keys), entries)


def _tree(cores: Sequence[CoreUse], source: int, targets: Sequence[int]) -> dict[tuple[Router, str], Outputs]:
    """The entries of a key: the routes to all targets, laid on top of each other."""
    ways: dict[tuple[Router, str], dict[str, None]] = {}
    taken: dict[tuple[Router, str], list[int]] = {}
    start = cores[source].column, cores[source].row
    for target in targets:
        place = start, CORE
        for way, router in _route(start, (cores[target].column, cores[target].row)):
            ways.setdefault(place, {})[way] = None
            place = router, way
        taken.setdefault(place, []).append(target)
    return {
        place: Outputs(tuple(ways.get(place, ())), tuple(taken.get(place, ()))) for place in {**ways, **taken}
    }


def _route(start: Router, stop: Router) -> Iterator[tuple[str, Router]]:
    """Each way that a message turns to, and the router that it comes to."""
    (x, y), (column, row) = start, stop
    while x != column:
        way, x = ("east", x + 1) if column > x else ("west", x - 1)
        yield way, (x, y)
    while y != row:
        way, y = ("south", y + 1) if row > y else ("north", y - 1)
        yield way, (x, y)
