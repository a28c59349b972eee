"""A network on the cores of a chip."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network
from spikeloom.errors import InputError

NOT_PLACED = -1

Lanes = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Tile:
    """A box of neurons of one population on one core.

    Attributes:
        population: its name.
        box: on the axes of the population's shape.
        core: number of the core in :attr:`Mapping.cores`.
    """

    population: str
    box: Box
    core: int


@dataclass(frozen=True)
class CoreUse:
    """A core that is used.

    Attributes:
        slot: which of the chip's usable cores it is.
        chip: number of the chip.
        column, row: of its router, over all chips.
        uses: of each limit that the chip declares.
        sent, received: messages a step to and from other cores, at the firing rates given. Where routers copy
            messages, a spike is sent once.
    """

    slot: int
    chip: int
    column: int
    row: int
    uses: MappingOf[str, int]
    sent: float
    received: float


@dataclass(frozen=True)
class Traffic:
    """The messages of a population if every neuron of it spikes once.

    Attributes:
        population: its name.
        messages: that arrive at a core other than the neuron's own: one at each core that reads it, by
            whichever projections. From the network's inputs, every message counts.
        hops: steps from router to router that they take; none is counted for inputs. Where routers copy
            messages, each link of the tree of a spike's routes counts once.
        crossings: messages that go to another chip; where routers copy, one for each other chip.
        sent: messages that are sent: each of ``messages``, or one a spike where routers copy.
    """

    population: str
    messages: int
    hops: int
    crossings: int
    sent: int


@dataclass(frozen=True)
class Load:
    """Messages per time step, at the firing rates that the mapping was made for.

    Attributes:
        messages, hops, crossings: between cores, as in :class:`Traffic`.
        injected: sent from the network's inputs to cores.
        busiest_link: on the link between two routers that carries most, with XY routing.
        sent: by cores to other cores.
    """

    messages: float
    hops: float
    crossings: float
    injected: float
    busiest_link: float
    sent: float


@dataclass(frozen=True)
class Links:
    """Messages per time step on every link between routers, with XY routing, at the firing rates given.

    Where routers copy messages, a link carries each spike once.

    Attributes:
        east, west, south, north: [rows][columns], what leaves each router in that direction.
    """

    east: Lanes
    west: Lanes
    south: Lanes
    north: Lanes

    @property
    def busiest(self) -> float:
        """On the link that carries most."""
        return max(max(map(max, lanes)) for lanes in (self.east, self.west, self.south, self.north))


@dataclass(frozen=True)
class Bound:
    """No mapping needs fewer cores than this.

    Attributes:
        cores: the bound.
        limit: the limit that gives it.
    """

    cores: int
    limit: str


@dataclass(frozen=True)
class Mapping:
    """Which core holds which neurons, and what follows from it.

    Attributes:
        network: what is mapped.
        chip: what it is mapped onto.
        tiles: every neuron of every population that is placed lies in exactly one.
        cores: the cores in use; tiles refer to them by number.
        traffic: of every population.
        load: at the firing rates given, or at one message a neuron and step where none are.
        links: what each link carries of it.
        bound: on the number of cores.
        seed: of the placement.
    """

    network: Network
    chip: Chip
    tiles: tuple[Tile, ...]
    cores: tuple[CoreUse, ...]
    traffic: tuple[Traffic, ...]
    load: Load
    links: Links
    bound: Bound
    seed: int

    def cores_of(self, population: str) -> NDArray[np.int32]:
        """The core of every neuron of a population, in its shape; -1 for inputs."""
        cores = np.full(self.network.population(population).shape, NOT_PLACED, np.int32)
        for tile in self.tiles:
            if tile.population == population:
                cores[tile.box.slices] = tile.core
        return cores

    def binding_limit(self, core: int) -> tuple[str, float]:
        """The limit that a core uses most, and the share of it."""
        uses = self.cores[core].uses
        shares = {limit.name: uses[limit.name] / limit.value for limit in self.chip.limits}
        name = max(shares, key=lambda key: shares[key])
        return name, shares[name]

    @property
    def chips(self) -> int:
        """How many chips have a core in use."""
        return len({core.chip for core in self.cores})

    def messages(self, rates: MappingOf[str, float]) -> float:
        """Messages that arrive from other cores per step, at rates per neuron and step of each population."""
        return sum(
            one.messages * rates[one.population] for one in self.traffic if self._is_inside(one.population)
        )

    def sent(self, rates: MappingOf[str, float]) -> float:
        """Messages that cores send to other cores per step, likewise."""
        return sum(
            one.sent * rates[one.population] for one in self.traffic if self._is_inside(one.population)
        )

    def hops(self, rates: MappingOf[str, float]) -> float:
        """Hops per step, for messages per neuron and step of each population."""
        return sum(one.hops * rates[one.population] for one in self.traffic)

    def injected(self, rates: MappingOf[str, float]) -> float:
        """Messages sent from inputs to cores per step."""
        return sum(
            one.sent * rates[one.population] for one in self.traffic if not self._is_inside(one.population)
        )

    def _is_inside(self, population: str) -> bool:
        return self.network.population(population).role != "input"

    def to_json(self) -> dict[str, Any]:
        """The mapping as a JSON object; the network is a document of its own."""
        return {
            "chip": self.chip.to_json(),
            "seed": self.seed,
            "bound": vars(self.bound),
            "load": vars(self.load),
            "links": {way: [list(lane) for lane in lanes] for way, lanes in vars(self.links).items()},
            "tiles": [[tile.population, list(tile.box.ranges), tile.core] for tile in self.tiles],
            "cores": [{**vars(core), "uses": dict(core.uses)} for core in self.cores],
            "traffic": [vars(one) for one in self.traffic],
        }

    @staticmethod
    def from_json(document: MappingOf[str, Any], network: MappingOf[str, Any]) -> Mapping:
        """The mapping again, from its document and that of its network.

        A document of before routers could copy messages does not say what is sent: all of the messages.

        Raises:
            InputError: SL0703, a document is not of this version.
        """
        try:
            chip, mapped = Chip.from_json(document["chip"]), Network.from_json(network)
            tiles = tuple(
                Tile(population, Box(tuple((start, stop) for start, stop in ranges)), core)
                for population, ranges, core in document["tiles"]
            )
            cores = tuple(CoreUse(**core) for core in document["cores"])
            traffic = tuple(Traffic(**{"sent": one["messages"], **one}) for one in document["traffic"])
            load = Load(**{"sent": document["load"]["messages"], **document["load"]})
            bound = Bound(**document["bound"])
            links = Links(**{way: tuple(map(tuple, lanes)) for way, lanes in document["links"].items()})
            return Mapping(mapped, chip, tiles, cores, traffic, load, links, bound, document["seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError.of("SL0703", "mapping", f"does not describe a mapping: {error}") from error
