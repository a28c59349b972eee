"""No mapping of a small network needs fewer messages than the bound: all mappings are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples.mapping.builder import Builder
from spikeloom.compiler.mapping.bound_twins import least_by_twins
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.message_bound import least_messages
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.synapses import expand

Toy = Callable[..., Chip]
WORD = 16
"""Bits of a word of the toy chip."""


@dataclass(frozen=True)
class Explicit:
    """A network neuron by neuron, each with what it weighs.

    Attributes:
        rates: of each neuron.
        readers: for each neuron, those that read it, as bits of a number.
        weights: for each neuron, numbers of the distinct weights that end in it.
        bits: of each weight.
    """

    rates: list[float]
    readers: list[int]
    weights: list[frozenset[int]]
    bits: list[int]


def explicit(network: Network, rates: dict[str, float]) -> Explicit:
    first, start = {}, 0
    for one in network.placed:
        first[one.name] = start
        start += one.size
    readers, weights = [0] * start, [set[int]() for _ in range(start)]
    numbers: dict[tuple[str, int], int] = {}
    bits: list[int] = []
    for projection in network.projections:
        found = expand(projection, Box.whole(projection.target_sizes))
        for source, target, weight in zip(found.source, found.target, found.weight, strict=True):
            key = projection.kernel, int(weight)
            if key not in numbers:
                numbers[key] = len(bits)
                bits.append(network.kernel(projection.kernel).bits)
            weights[first[projection.target] + target].add(numbers[key])
            if projection.source in first:
                readers[first[projection.source] + source] |= 1 << (first[projection.target] + int(target))
    each = [rates[one.name] for one in network.placed for _ in range(one.size)]
    return Explicit(each, readers, [frozenset(one) for one in weights], bits)


def messages(net: Explicit, cores: list[int]) -> float:
    """A message for each other core that reads a spike; neurons that are on no core yet send none."""
    total = 0.0
    for core in cores:
        for neuron, (rate, read) in enumerate(zip(net.rates, net.readers, strict=True)):
            if core >> neuron & 1:
                total += rate * sum(1 for other in cores if other & read and other != core)
    return total


def optimum(network: Network, rates: dict[str, float], neurons: int, memory: int) -> float:
    """The fewest messages over all mappings; infinite if nothing fits."""
    net = explicit(network, rates)
    cores: list[int] = []
    stored: list[frozenset[int]] = []
    best = float("inf")

    def place(neuron: int) -> None:
        nonlocal best
        needed = messages(net, cores)
        if needed >= best:
            return
        if neuron == len(net.rates):
            best = needed
            return
        for core in range(len(cores) + 1):
            if core == len(cores):
                cores.append(0)
                stored.append(frozenset())
            before, held = cores[core], stored[core]
            more = held | net.weights[neuron]
            if before.bit_count() < neurons and sum(net.bits[w] for w in more) <= memory * WORD:
                cores[core], stored[core] = before | 1 << neuron, more
                place(neuron + 1)
            cores[core], stored[core] = before, held
        cores.pop()
        stored.pop()

    place(0)
    return best


def pointwise(channels: tuple[int, ...], tokens: int, inputs: int = 1) -> tuple[Network, dict[str, float]]:
    """Maps of the channels that follow each other, each the same at every token."""
    net = Builder("pointwise", (inputs, tokens))
    x = net.start
    for number, width in enumerate(channels):
        x = net.neurons(f"n{number}", net.pointwise(x, width))
    return net.network((f"n{len(channels) - 1}",)), {**net.rates, **{f"n{i}": 1.0 for i in range(9)}}


def test_readers_leave_room_for_few_twins(toy: Toy) -> None:
    """Four twins of two bytes each before three readers of four, on cores of eight bytes: two cores hear all
    four, and beside the readers there is room for two of them. A bound of single neurons says 4: each finds
    room alone."""
    network, rates = pointwise((4, 3), 1, inputs=2)
    chip = toy(neurons=20, synaptic_memory=4, core_memory=0)
    assert least_messages(network, chip, rates) == optimum(network, rates, 20, 4) == 6
    small = toy(neurons=20, synaptic_memory=2, core_memory=0)
    assert least_messages(network, small, rates) == optimum(network, rates, 20, 2) == 12


def test_neurons_crowd_twins_out(toy: Toy) -> None:
    """Three twins with four readers on cores for five: only one of them finds room beside the readers."""
    network, rates = pointwise((3, 4), 1)
    chip = toy(neurons=5, synaptic_memory=0, core_memory=0)
    assert least_messages(network, chip, rates) == optimum(network, rates, 5, 99) == 2


def test_readers_of_a_ring_share_little(toy: Toy) -> None:
    """Six neurons in a ring that read themselves and both neighbours, on cores for three: the readers of each
    fit one core, but those of all do not fit at once."""
    net = Builder("ring", (1,))
    for number in range(6):
        net.block(str(number), 1)
    for number in range(6):
        for offset in (-1, 0, 1):
            net.wire(str((number + offset) % 6), str(number))
    network, chip = net.network(("5",)), toy(neurons=3, synaptic_memory=0, core_memory=0)
    rates = dict.fromkeys(net.rates, 1.0)
    assert all(least_by_twins(network, chip, one) == 0 for one in network.placed)
    assert 1.9 < least_messages(network, chip, rates) <= optimum(network, rates, 3, 99) == 4


SMALL = st.tuples(
    st.sampled_from(["tokens", "window", "pool", "residual", "attention", "random"]),
    st.integers(0, 999),
    st.integers(2, 6),
    st.integers(1, 7),
)


def small(kind: str, seed: int) -> tuple[Network, dict[str, float]]:
    """A network of at most nine neurons."""
    random = np.random.default_rng(seed)
    if kind == "tokens":
        tokens = int(random.integers(1, 3))
        return pointwise(tuple(random.integers(1, 4 if tokens == 1 else 2, 3)), tokens)
    if kind == "random":
        net = Builder(kind, (1,), seed=seed)
        sizes = random.integers(1, 4, 4).tolist()
        for name, size in enumerate(sizes):
            net.block(str(name), size)
        for source in range(4):
            for target in np.flatnonzero(random.random(4) < 0.5).tolist():
                net.wire(str(source), str(target))
        return net.network(("3",)), net.rates
    if kind == "attention":
        net = Builder(kind, (1, 2), seed=seed)
        q, k, v = (net.neurons(name, net.pointwise(net.start, 1)) for name in "qkv")
        return net.readout("out", net.pointwise(net.linear_attention("a", q, k, v, 1), 1)), net.rates
    channels, length = ((1, 4), (2, 2), (1, 3))[int(random.integers(3))]
    net = Builder(kind, (1, length), seed=seed)
    x = net.neurons("a", net.conv(net.start, channels, 3))
    if kind == "pool":
        x = net.max_pool("b", x, 3, 2, 1)
    elif kind == "residual":
        x = x + net.neurons("b", net.conv(x, channels, 3, groups=channels))
    return net.readout("c", net.conv(x, 1 if kind == "residual" else channels, 3, 2)), net.rates


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SMALL)
def test_no_mapping_beats_the_bound(toy: Toy, case: tuple[str, int, int, int]) -> None:
    kind, seed, neurons, memory = case
    network, rates = small(kind, seed)
    assert sum(one.size for one in network.placed) <= 12
    chip = toy(neurons=neurons, synaptic_memory=memory, core_memory=0)
    assert least_messages(network, chip, rates) <= optimum(network, rates, neurons, memory) + 1e-9


@pytest.mark.parametrize("kind", ["tokens", "window", "pool", "random"])
def test_the_bound_is_often_reached(toy: Toy, kind: str) -> None:
    """Else the test above would prove little."""
    reached = 0
    for seed in range(6):
        network, rates = small(kind, seed)
        for neurons, memory in ((2, 3), (3, 2), (4, 3), (6, 2)):
            best = optimum(network, rates, neurons, memory)
            bound = least_messages(
                network, toy(neurons=neurons, synaptic_memory=memory, core_memory=0), rates
            )
            reached += 0 < bound == pytest.approx(best)
    assert reached


def test_memory_for_state_counts(toy: Toy) -> None:
    network, _ = pointwise((4, 3), 1)
    population = network.population("n0")
    free = toy(neurons=20, synaptic_memory=0, core_memory=0)
    assert least_by_twins(network, free, population) == 0
    # readers of 4 bytes of weights and 4 of state, on cores of 16 bytes: two hear, and 8 bytes are left for
    # twins of 5 bytes each
    assert least_by_twins(network, toy(neurons=20, synaptic_memory=0, core_memory=16), population) == 7
