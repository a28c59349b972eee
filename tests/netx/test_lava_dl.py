"""lava-dl's own netx reads the files that we write, and sends what our Loihi engine sends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.frontends.netx.file import read_netx
from spikeloom.compiler.frontends.netx.lower import lower_netx
from spikeloom.compiler.frontends.netx.write import netx_bytes
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.errors import InputError
from spikeloom.targets.loihi import loihi2
from spikeloom.targets.loihi.engine import LoihiEngine
from spikeloom.targets.loihi.environment import find_netx
from tests.netx.oracle import run_netx
from tests.random_networks import NeuronStyle, RandomNetwork, random_frames
from tests.targets.loihi.random_programs import ChipGrower

STEPS, SAMPLES = 8, 3


@pytest.fixture
def lava_dl() -> Path:
    """The interpreter that has lava-dl; `make lava` makes it."""
    try:
        return find_netx()
    except InputError as error:
        pytest.skip(str(error))


class OneThreshold(ChipGrower):
    """Neurons with one threshold a layer, and biases of the chip's grid, as netx has them."""

    def _calibrate(self, style: NeuronStyle, drive: Array, spread: Array, bias: Array) -> IntegerNeuron:
        return super()._calibrate(style, drive, np.ones((1,) * (drive.ndim - 2)), bias)


def chain(seed: int) -> RandomNetwork:
    """Layers of every kind that netx has, which fire; each odd seed begins without neurons of its own."""
    rng = np.random.default_rng(seed)
    graded = seed % 2 == 0
    high = 200 if graded else 1
    shape = (2, 9, 8) if graded else (30,)
    grow = OneThreshold(f"chain{seed}", random_frames(rng, shape, STEPS, SAMPLES, high), rng, high, 0.25)
    first = NeuronStyle(decay=2048, fraction_bits=6, axes=0)
    style = NeuronStyle(decay=1024, fraction_bits=7, axes=1)
    cuba = NeuronStyle(decay=700, current_decay=1500, fraction_bits=7, axes=0)
    x = grow.x
    if graded:
        x = silent_bias(grow, x, first)
        weight = grow.weights((4, 2, 3, 2), 7)
        (x,) = grow.add("conv", Conv2d(weight, None, (2, 1), (1, 0), (1, 2)), x)
        x = grow.neuron(x, style)
        weight = grow.weights((6, 2, 2, 3), 7)
        (x,) = grow.add("conv", Conv2d(weight, None, (1, 1), (0, 1), (1, 1), 2), x)
        x = grow.neuron(x, style)
        (x,) = grow.add("flat", Reshape((int(np.prod(grow.shape(x))),)), x)
    for size in (20, 12):
        weight = grow.weights((size, grow.shape(x)[0]), 7)
        (x,) = grow.add("fc", Linear(weight), x)
        x = grow.neuron(x, cuba if size == 12 else style)
    if seed % 3 == 0:
        (x,) = grow.add("head", Linear(grow.weights((5, 12), 7)), x)
        x = grow.advance("sum", Accumulate(STEPS), x)
    return grow.finish(x)


def silent_bias(grow: OneThreshold, x: str, style: NeuronStyle) -> str:
    """The neurons of an input layer, whose bias netx keeps for the input's unit."""
    drive = grow.value(x)
    op = grow._calibrate(style, drive, np.ones((1, 1, 1)), np.zeros((1, 1, 1), np.int64))
    y = grow.advance("input", op, x)
    grow.rates[y] = float((grow.value(y) > 0).mean())
    return y


@pytest.mark.parametrize("seed", range(4))
def test_the_chains_that_are_written_fire(seed: int) -> None:
    net = chain(seed)
    assert len(net.rates) >= 2
    assert min(net.rates.values()) > 0.02
    assert netx_bytes(net.graph, STEPS)


def numbered(graph: Graph) -> dict[str, int]:
    """The number in the file of each layer of neurons; what is flattened counts as a layer."""
    kinds = (IntegerNeuron, Accumulate, Reshape)
    layers = [node for node in graph.nodes if isinstance(node.op, kinds)]
    return {node.name: number for number, node in enumerate(layers) if not isinstance(node.op, Reshape)}


@pytest.mark.lava
@pytest.mark.parametrize("seed", range(4))
def test_netx_sends_what_our_engine_sends(seed: int, lava_dl: Path) -> None:
    """Every spike of every layer, and the potential of the last where it is only read: 0 differ."""
    net = chain(seed)
    engine = LoihiEngine(loihi2().program(net.graph), net.graph)
    engine.reset(SAMPLES)
    ours = engine.run(net.frames)
    place = numbered(net.graph)
    own = seed % 2 == 0
    depths = {number: depth + (not own) for depth, number in enumerate(place.values())}
    theirs = run_netx(lava_dl, netx_bytes(net.graph, STEPS), net.frames, depths)
    compared = 0
    for layer, spikes in ours.spikes.items():
        got = theirs.layers[place[layer]]
        assert got.any(), layer
        assert (got == spikes).all(), layer
        compared += got.size
    assert set(theirs.layers) == set(place.values())
    assert compared == sum(spikes.size for spikes in ours.spikes.values())
    if seed % 3 == 0:
        assert ours.output.any()
        assert (theirs.potential == ours.output << 7).all()


@pytest.mark.lava
def test_a_trained_network_is_the_same_to_netx_after_we_wrote_it(data: Path, lava_dl: Path) -> None:
    """The MNIST network of lava-dl's tutorials: its own file, ours, and our engine send the same spikes."""
    path = data / "conformance" / "netx" / "trained_mnist_network.net"
    steps = 4
    graph = lower_netx(read_netx(path), steps).graph
    frames = random_frames(np.random.default_rng(0), (784,), steps, SAMPLES)
    engine = LoihiEngine(loihi2().program(graph), graph)
    engine.reset(SAMPLES)
    ours = engine.run(frames)
    depths = {0: 1, 1: 2, 2: 3}
    for file in (path.read_bytes(), netx_bytes(graph, steps)):
        theirs = run_netx(lava_dl, file, frames, depths)
        for number in depths:
            assert theirs.layers[number].any()
            assert (theirs.layers[number] == ours.spikes[f"layer{number}"]).all()
