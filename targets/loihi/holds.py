"""Neurons that hold what must wait longer than synapses can.

A synapse waits 62 steps at most. Behind a population whose readers must wait longer stands a chain of
holds, as short as it can be, each shared by all that read so late. Where a network step is one chip step, a
hold only passes on what its synapse delayed: a LIF that any spike fires, or an accumulator. With K chip steps
a network step it is a program that keeps what it got for up to K - 1 steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from spikeloom.compiler.mapping.network import Kernel, Network, Population, Projection, Role
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.targets.loihi.lowering.rule import EXISTING, PROGRAM
from spikeloom.targets.loihi.program import LONGEST_DELAY
from spikeloom.targets.loihi.retime import Edge, Timing, delay_slots


@dataclass(frozen=True)
class Hold:
    """One link of a chain.

    Attributes:
        source: what it reads: the population or the hold before it.
        population: itself.
        depth: chip step in which it takes.
        delay: that the synapses to it wait.
    """

    source: str
    population: Population
    depth: int
    delay: int


def with_holds(
    network: Network, timing: Timing, variable_bytes: int, late_by: Mapping[Edge, int] | None = None
) -> tuple[Network, Timing]:
    """The network with every wait of over 62 steps cut into pieces; every other depth stays.

    Args:
        network: what is lowered.
        timing: its depths and delays.
        variable_bytes: of the one variable of a hold.
        late_by: chip steps by which the latest synapse of an edge waits beyond the delay.
    """
    late_by = late_by or {}
    late = {edge: wait for edge, wait in timing.delays.items() if wait + late_by.get(edge, 0) > LONGEST_DELAY}
    if not late:
        return network, timing
    chains = {
        name: list(_chain(network, timing, name, variable_bytes, waits))
        for name, waits in _by_source(late, late_by).items()
    }
    readers = {edge: _reader(chains[edge[0]], timing, edge) for edge in late}
    populations = [
        one for p in network.populations for one in (p, *(h.population for h in chains.get(p.name, ())))
    ]
    holds = [hold for chain in chains.values() for hold in chain]
    moved = [
        replace(one, source=readers.get((one.source, one.target), one.source)) for one in network.projections
    ]
    made = [_projection(network, hold) for hold in holds]
    kernels = {kernel.name: kernel for kernel in (*network.kernels, *(kernel for _, kernel in made))}
    found = replace(
        network,
        populations=tuple(populations),
        projections=(*moved, *(projection for projection, _ in made)),
        kernels=tuple(kernels.values()),
    )
    return found, _timing(found, timing, holds)


def _by_source(late: Mapping[Edge, int], late_by: Mapping[Edge, int]) -> dict[str, list[tuple[int, int]]]:
    """Of each source, the waits behind it, and what a synapse may wait at most of each."""
    waits: dict[str, list[tuple[int, int]]] = {}
    for edge, wait in late.items():
        waits.setdefault(edge[0], []).append((wait, LONGEST_DELAY - late_by.get(edge, 0)))
    return waits


def _chain(
    network: Network, timing: Timing, name: str, variable_bytes: int, waits: Iterable[tuple[int, int]]
) -> Iterator[Hold]:
    """Holds behind a population, each as late as it can be without missing a reader."""
    source = network.population(name)
    before, sent, start = name, 0, timing.depth[name] + source.late
    for wait, most in sorted(waits):
        while wait - sent > most:
            reach = min(LONGEST_DELAY + network.steps, wait - sent)
            kept = min(network.steps - 1, reach - 1)
            hold = _hold(source, f"{name}.held{sent + reach}", kept, network.steps, variable_bytes)
            yield Hold(before, hold, start + sent + reach - kept, reach - 1 - kept)
            before, sent = hold.name, sent + reach


def _hold(source: Population, name: str, kept: int, steps: int, variable_bytes: int) -> Population:
    fires = steps == 1 and source.bounds == (0, 1)
    role: Role = "neuron" if fires else "accumulator"
    tag = EXISTING if fires else PROGRAM
    value = source.value or (source.name if source.role in ("input", "neuron") else "")
    return Population(name, source.shape, role, source.bounds, variable_bytes, tag, late=kept, value=value)


def _reader(chain: list[Hold], timing: Timing, edge: Edge) -> str:
    """The last hold of a chain that sends early enough for an edge's target."""
    due = timing.depth[edge[1]] - 1
    return [hold.population.name for hold in chain if hold.depth + hold.population.late <= due][-1]


def _projection(network: Network, hold: Hold) -> tuple[Projection, Kernel]:
    relation = Relation.identity(replace(hold.population, name=hold.source))
    projection, ones = relation.projection(hold.population)
    assert ones is not None
    return projection, ones


def _timing(network: Network, timing: Timing, holds: Iterable[Hold]) -> Timing:
    depth = {**timing.depth, **{hold.population.name: hold.depth for hold in holds}}
    late = {one.name: one.late for one in network.populations}
    delays = {
        (one.source, one.target): depth[one.target] - depth[one.source] - 1 - late[one.source]
        for one in network.projections
        if one.source != one.target
    }
    delays |= {edge: wait for edge, wait in timing.delays.items() if edge[0] == edge[1]}
    return Timing(depth, delays, delay_slots({p.name: p.size for p in network.populations}, delays))
