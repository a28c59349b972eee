"""Routing tables of a mesh whose routers copy messages: where a message that comes in goes out.

A message carries a key, the same for all neurons of a class
(:mod:`~spikeloom.compiler.mapping.routing.fanout`). A router sends a copy to each neighbour and each core of
its own that the entry of the key names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeloom.compiler.mapping.box import Box

CORE = "core"
"""Where a message comes from at the router of the core that sends it."""

Router = tuple[int, int]
"""Column and row."""


@dataclass(frozen=True)
class Key:
    """What a message carries.

    Attributes:
        population, source: whose spike it is, and the core that sends it.
        box: the neurons that share the key.
    """

    population: str
    source: int
    box: Box


@dataclass(frozen=True)
class Outputs:
    """Where copies go from a router.

    Attributes:
        ways: neighbours, of east, west, south and north.
        cores: of the router's own.
    """

    ways: tuple[str, ...]
    cores: tuple[int, ...]


@dataclass(frozen=True)
class Routes:
    """The tables of all routers. Inputs are in none of them, since where they enter the mesh is open.

    Attributes:
        keys: numbered in this order.
        entries: for each router, by the number of a key and by where its message comes from: :data:`CORE`, or
            the way that it travels.
    """

    keys: tuple[Key, ...]
    entries: Mapping[Router, Mapping[tuple[int, str], Outputs]]
