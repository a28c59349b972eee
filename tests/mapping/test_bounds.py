"""No mapping of a small network needs fewer messages than the bound: all mappings are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples.mapping.builder import Builder, Terms
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.mapping.bounds.messages import least_messages
from spikeloom.compiler.mapping.bounds.seams import pairs_by_seams
from spikeloom.compiler.mapping.bounds.twins import least_by_twins, own
from spikeloom.compiler.mapping.bounds.windows import windows_of
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.partition import map_network
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


def test_tiles_before_a_window_have_seams(toy: Toy) -> None:
    """Four neurons in a row, four that read each three of them, on cores for four: the readers of each and
    itself fit one core, but all do not, and two tiles have a seam between them."""
    net = Builder("row", (1, 4))
    x = net.neurons("a", net.pointwise(net.start, 1))
    network = net.readout("b", net.conv(x, 1))
    rates, chip = {"input": 1.0, "a": 1.0, "b": 1.0}, toy(neurons=4, synaptic_memory=0, core_memory=0)
    assert least_by_twins(network, chip, network.population("a")) == 0
    assert least_messages(network, chip, rates) == pytest.approx(2)
    assert optimum(network, rates, 4, 99) == 2


def dilated(net: Builder, x: Terms, channels: int, dilation: int) -> Terms:
    weight = np.ones((channels, x[0].shape[0], 3), np.int8)
    return net.apply(x, Conv1d(weight, None, (1,), (dilation,), (dilation,)))


@pytest.mark.parametrize("memory", [3, 4, 5, 6])
def test_readers_in_the_middle_weigh_less(toy: Toy, memory: int) -> None:
    """Taps two apart on three positions: both ends read two positions, the middle reads itself only, so that
    its readers may share a core where those of the ends do not."""
    net = Builder("far", (2, 3))
    a = net.neurons("a", net.pointwise(net.start, 1))
    network = net.readout("b", net.pointwise(a, 2) + dilated(net, net.start, 2, 2))
    rates, chip = {"input": 1.0, "a": 1.0, "b": 1.0}, toy(neurons=9, synaptic_memory=memory, core_memory=0)
    assert least_messages(network, chip, rates) <= optimum(network, rates, 9, memory)


def test_twins_in_the_middle_weigh_less() -> None:
    """Taps four apart on five positions: both ends have two weights, the others one. Three of the five
    may lie where only the one is stored."""
    net = Builder("far", (1, 5))
    network = net.readout("b", net.dense(net.neurons("a", dilated(net, net.start, 1, 4)), 1))
    found = own(network, network.population("a"), Box.whole((1, 5)), frozenset())
    assert 3 * found.weight_bits <= 5 * network.kernels[0].bits


@pytest.mark.parametrize("neurons", [4, 5, 7])
def test_channels_and_positions_do_not_go_together(toy: Toy, neurons: int) -> None:
    """A layer that reads all channels, one that reads a window of each: tiles please one of them only."""
    net = Builder("row", (1, 3))
    x = net.neurons("a", net.pointwise(net.start, 1))
    x = net.neurons("b", net.pointwise(x, 2))
    network = net.readout("c", net.conv(x, 2, 3, groups=2))
    rates, chip = (
        {"input": 1.0, "a": 1.0, "b": 1.0, "c": 1.0},
        toy(neurons=neurons, synaptic_memory=0, core_memory=0),
    )
    ((first, second, pair),) = pairs_by_seams(network, chip, rates)
    assert (first, second) == ("b", "a")
    assert pair > sum(least_by_twins(network, chip, network.population(name)) for name in "ab")
    assert least_messages(network, chip, rates) <= optimum(network, rates, neurons, 99) + 1e-9


@pytest.mark.parametrize(("rows", "columns"), [(2, 6), (2, 5), (3, 4), (4, 3)])
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (2, 2)])
def test_no_positions_read_fewer(rows: int, columns: int, size: int, stride: int) -> None:
    """All sets of positions of small images are tried."""
    if size == 2 and (rows % 2 or columns % 2):
        rows, columns = rows + rows % 2, columns + columns % 2
    net = Builder("image", (1, rows, columns))
    x = net.neurons("a", net.pointwise(net.start, 1))
    op = Conv2d(np.ones((1, 1, size, size), np.int8), None, (stride,) * 2, ((size - 1) // 2,) * 2)
    network = net.readout("b", net.apply(x, op))
    windows = windows_of(network.projections[-1])
    if windows is None:
        assert stride == 2
        return
    found = expand(network.projections[-1], Box.whole(network.projections[-1].target_sizes))
    reads = [0] * windows.positions
    for source, target in zip(found.source.tolist(), found.target.tolist(), strict=True):
        reads[target] |= 1 << source
    fewest = [rows * columns] * (windows.positions + 1)
    unions = [0]
    for chosen in range(1, 1 << windows.positions):
        low = (chosen & -chosen).bit_length() - 1
        unions.append(unions[chosen & chosen - 1] | reads[low])
        fewest[chosen.bit_count()] = min(fewest[chosen.bit_count()], unions[-1].bit_count())
    bound = windows.spread(np.arange(1.0, windows.positions + 1))
    assert (bound <= np.array(fewest[1:]) + 1e-9).all()
    assert (bound >= np.arange(1, windows.positions + 1)).all()
    assert size == 1 or stride == 2 or bound[0] > 1


@pytest.mark.parametrize("seed", range(8))
def test_mapped_images_need_more(toy: Toy, seed: int) -> None:
    """Networks too large to try all mappings of: pointwise and depthwise layers that our mapper maps."""
    random = np.random.default_rng(seed)
    side, width, kernel = int(random.integers(6, 11)), int(random.integers(2, 9)), int(random.choice([3, 5]))
    net = Builder("image", (1, side, side), seed=seed)
    x = net.neurons("a", net.pointwise(net.start, width))
    x = net.neurons("b", net.pointwise(x, 2 * width))
    x = net.neurons("c", net.conv(x, 2 * width, kernel, groups=2 * width))
    network = net.readout("d", net.conv(x, 1))
    neurons = int(random.integers(60, 200))
    chip = toy(neurons=neurons, synaptic_memory=0, core_memory=0, axons_in=0, axons_out=0).with_chips(12)
    pairs = list(pairs_by_seams(network, chip, net.rates))
    assert [pair[:2] for pair in pairs] == [("b", "a")]
    messages = map_network(network, chip, net.rates).load.messages
    assert 0 < least_messages(network, chip, net.rates) <= messages


SMALL = st.tuples(
    st.sampled_from(["tokens", "window", "pool", "residual", "attention", "random", "image", "depthwise"]),
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
    if kind == "image":
        net = Builder(kind, (1, *((5,), (6,), (2, 2), (2, 3))[int(random.integers(4))]), seed=seed)
        return net.readout("b", net.conv(net.neurons("a", net.pointwise(net.start, 1)), 1)), net.rates
    if kind == "depthwise":
        width, *shape = ((1, 4), (1, 2, 2), (2, 2))[int(random.integers(3))]
        net = Builder(kind, (1, *shape), seed=seed)
        x = net.neurons("b", net.pointwise(net.neurons("a", net.pointwise(net.start, 1)), width))
        return net.readout("c", net.conv(x, width, 3, groups=width)), net.rates
    channels, length = ((1, 4), (2, 2), (1, 3))[int(random.integers(3))]
    net = Builder(kind, (1, length), seed=seed)
    x = net.neurons("a", net.conv(net.start, channels, 3))
    if kind == "pool":
        x = net.max_pool("b", x, 3, 2, 1)
    elif kind == "residual":
        x = x + net.neurons("b", net.conv(x, channels, 3, groups=channels))
    return net.readout("c", net.conv(x, 1 if kind == "residual" else channels, 3, 2)), net.rates


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
