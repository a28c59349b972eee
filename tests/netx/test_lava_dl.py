"""lava-dl's own netx reads the files that we write, and sends what our Loihi engine sends."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
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
from spikeloom.targets.loihi.environment import find_netx, find_worker
from tests.cli.terminal import spikeloom
from tests.netx.oracle import in_chip_time, run_netx
from tests.random_networks import NeuronStyle, RandomNetwork, random_frames
from tests.targets.loihi.random_programs import ChipGrower

STEPS, SAMPLES = 8, 3
LONG = 13


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


PACKED = "tests/lava/lib/dl/netx/gts"


def in_lava_dl(python: Path, name: str) -> Path:
    """A file of the test data that lava-dl's package brings."""
    (packages,) = (python.parent.parent / "lib").glob("python3.10/site-packages")
    path = packages / PACKED / name
    if not path.exists():
        pytest.skip(f"lava-dl came without {name}")
    return path


SDNN = {"type": "SDNN", "activation": "relu"}


def written(path: Path, layers: list[dict[str, Any]]) -> Path:
    """A file of layers as lava-dl writes them."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            for key, value in layer.items():
                if key == "neuron":
                    for name, setting in value.items():
                        file[f"layer/{number}/neuron/{name}"] = setting
                else:
                    file[f"layer/{number}/{key}"] = np.array([value], "S10") if key == "type" else value
    return path


def conv(rng: np.random.Generator, shape: tuple[int, ...], weight: Any, **more: Any) -> dict[str, Any]:
    settings = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | more
    pairs = {key: np.array([value, value]) for key, value in settings.items() if key != "groups"}
    bias = rng.integers(-8, 20, shape[0]).astype(np.float32)
    return {"type": "conv", "shape": np.array(shape), "weight": weight.astype(np.float32), "bias": bias,
            "groups": settings["groups"], **pairs}  # fmt: skip


def dense(weight: Any, **more: Any) -> dict[str, Any]:
    shape = {"shape": np.array([len(weight)]), "inFeatures": weight.shape[1], "outFeatures": len(weight)}
    return {"type": "dense", "weight": weight.astype(np.float32), **shape, **more}


def sigma_delta(rng: np.random.Generator, folder: Path, step: int = 1) -> Path:
    """Every kind of sigma-delta layer: input, convolutions with odd weights and groups, dense, a last sum."""
    fires = [SDNN | {"vThMant": threshold} for threshold in (2, 5, 1, 12)]
    first = {"type": "input", "shape": np.array((2, 8, 7)), "neuron": fires[0]}
    one = conv(rng, (4, 3, 3), rng.integers(-33, 40, (4, 2, 3, 3)), stride=2, padding=0)
    one["shape"] = np.array((4, 3, 3))
    two = conv(rng, (4, 3, 3), rng.integers(-20, 25, (4, 2, 3, 3)), padding=1, groups=2)
    flat = {"type": "flatten", "shape": np.array((36, 1, 1))}
    bias = rng.integers(-20, 40, 10).astype(np.float32)
    fc = dense(rng.integers(-250 // step, 250 // step, (10, 36)) * step, bias=bias)
    head = dense(rng.integers(-15, 16, (3, 10)) * 2)
    layers = [first, one | {"neuron": fires[1]}, two | {"neuron": fires[2]}, flat, fc | {"neuron": fires[3]}]
    return written(folder / "sdnn.net", [*layers, head | {"neuron": fires[0] | {"sigma_output": True}}])


def changing(rng: np.random.Generator, picture: Any) -> Any:
    """Frames [steps, ...] of which a part changes, some steps by much."""
    changes = rng.random((LONG, *picture.shape)) < 0.3
    changes &= (np.arange(LONG) % 3 == 1).reshape(-1, *(1,) * picture.ndim)
    return np.clip(picture + changes * rng.integers(-40, 41, changes.shape), -120, 120)


def agrees(python: Path, path: Path, frames: Any, zero: int, writes: bool = True) -> int:
    """How many numbers netx and our reader's graph send, which are the same in every layer.

    Where our writer can hold the graph, netx runs the file that it writes as well.
    """
    net = lower_netx(read_netx(path), len(frames))
    ours = in_chip_time(net.graph, frames + zero)
    made = {node.output for node in net.graph.nodes if node.op.name != "reshape"}
    layers = [name for name in net.graph.types if name in made and "." not in name]
    own = net.graph.node(layers[0]).inputs == net.graph.inputs
    depths = {int(name.removeprefix("layer")): depth + (not own) for depth, name in enumerate(layers)}
    again = [netx_bytes(net.graph, len(frames))] if writes else []
    for file in (path.read_bytes(), *again):
        theirs = run_netx(python, file, frames[:, None], dict.fromkeys(depths, 0), resets=False)
        assert set(theirs.layers) == set(depths)
        for number, got in theirs.layers.items():
            assert got[depths[number] :].any(), number
            assert (got[:, 0] == ours[f"layer{number}"]).all(), number
    return sum(got.size for got in theirs.layers.values())


@pytest.mark.lava
@pytest.mark.parametrize("seed", range(3))
def test_sigma_delta_neurons_are_those_of_netx(seed: int, lava_dl: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(-60, 61, (2, 8, 7))
    path = sigma_delta(rng, tmp_path, step=1 + seed % 2)
    assert agrees(lava_dl, path, changing(rng, picture), 128) > 1000


def recurrent(rng: np.random.Generator, folder: Path, odd: bool) -> Path:
    """Two layers whose spikes come back, one with a decaying current and one with biases."""
    lif = {"type": "CUBA", "vDecay": 900, "refDelay": 1, "gradedSpike": False}

    def weights(*shape: int) -> Any:
        return rng.integers(-30, 40, shape) * (1 if odd else 2)

    bias = rng.integers(-4, 30, 9).astype(np.float32)
    layers = [
        dense(weights(14, 20), weight_rec=weights(14, 14).astype(np.float32)),
        dense(weights(9, 14), weight_rec=weights(9, 9).astype(np.float32), bias=bias),
    ]
    settings = [{"iDecay": 2100, "vThMant": 60}, {"iDecay": 4096, "vThMant": 50}]
    pairs = zip(layers, settings, strict=True)
    return written(
        folder / "rec.net", [one | {"type": "dense_rec", "neuron": lif | own} for one, own in pairs]
    )


@pytest.mark.lava
@pytest.mark.parametrize("odd", [False, True])
def test_spikes_that_come_back_are_those_of_netx(odd: bool, lava_dl: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frames = (rng.random((30, 20)) < 0.3).astype(np.int64)
    assert agrees(lava_dl, recurrent(rng, tmp_path, odd), frames, 0) == 30 * 23


def resonating(rng: np.random.Generator, folder: Path, kind: str) -> Path:
    """Two layers of resonators, one of which turns by more than a right angle in a step."""
    layers = []
    for inputs, outputs, angle in ((20, 14, 0.7), (14, 9, 1.9)):
        neuron = {
            "type": kind,
            "vThMant": 40,
            "sinDecay": int(3900 * np.sin(angle)),
            "cosDecay": int(3900 * np.cos(angle)),
        }
        layer = dense(np.zeros((outputs, inputs))) | {"neuron": neuron}
        layer.pop("weight")
        for part in ("real", "imag"):
            layer[f"weight/{part}"] = rng.integers(-30, 31, (outputs, inputs)).astype(np.float32)
        layers.append(layer)
    return written(folder / "rf.net", layers)


@pytest.mark.lava
@pytest.mark.parametrize("kind", ["RF", "RF_PHASE"])
def test_resonators_are_those_of_netx(kind: str, lava_dl: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    frames = (rng.random((60, 20)) < 0.3).astype(np.int64)
    assert agrees(lava_dl, resonating(rng, tmp_path, kind), frames, 0, writes=False) == 60 * 23


def delayed(rng: np.random.Generator, folder: Path, shape: tuple[int, ...]) -> Path:
    """Delays of outputs, of inputs, of each synapse, of all; 70 are clipped to 62."""
    lif = {"type": "LOIHI", "vDecay": 900, "iDecay": 4096, "refDelay": 1, "vThMant": 40}
    late = np.asarray(rng.choice([0, 1, 3, 70], shape) if shape else 3, np.float32)
    bias = rng.integers(-4, 20, 9).astype(np.float32)
    first = dense(rng.integers(-30, 40, (14, 20)) * 2, neuron=lif)
    second = dense(rng.integers(-30, 40, (9, 14)) * 2, neuron=lif, delay=late, bias=bias)
    return written(folder / "late.net", [first, second])


@pytest.mark.lava
@pytest.mark.parametrize("shape", [(9,), (14,), (9, 14), ()])
def test_delays_are_those_of_netx(shape: tuple[int, ...], lava_dl: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    path = delayed(rng, tmp_path, shape)
    frames = (rng.random((80, 20)) < 0.3).astype(np.int64)
    assert agrees(lava_dl, path, frames, 0, writes=shape in ((9,), ())) == 80 * 23


@pytest.mark.lava
def test_a_trained_network_with_delays_is_that_of_netx(lava_dl: Path, tmp_path: Path) -> None:
    """N-TIDIGITS of lava-dl's tests, two layers of learned delays up to 62, on its own recording."""
    path = in_lava_dl(lava_dl, "ntidigits/ntidigits.net")
    frames = np.load(path.parent / "input.npy").T[:300].astype(np.int64).reshape(300, 1, 1, 64)
    whole = lower_netx(read_netx(path)).graph
    assert whole.types[whole.outputs[0]].shape == (11,)
    copy = Path(shutil.copy(path, tmp_path / "five.net"))
    with h5py.File(copy, "a") as file:
        del file["layer/5"]  # an average, which netx does not load
    assert agrees(lava_dl, copy, frames, 0, writes=False) == 300 * (256 + 256 + 242)


def has_lava() -> bool:
    """Whether there is an environment that Lava runs in."""
    try:
        return find_worker().exists()
    except InputError:
        return False


def test_a_sigma_delta_file_runs_on_every_engine(tmp_path: Path) -> None:
    path = sigma_delta(np.random.default_rng(5), tmp_path, step=2)
    bundle = tmp_path / "sdnn.loom"
    spikeloom("compile", path, "--target", "loihi2", "--steps", 6, "-o", bundle)
    engines = "reference,event,onnx,loihi" + ",lava" * has_lava()
    assert spikeloom("verify", bundle, "--engines", engines, "--json").json["mismatches"] == 0


@pytest.mark.lava
def test_pilotnet_of_sigma_delta_neurons_is_that_of_netx(lava_dl: Path) -> None:
    """The trained network that lava-dl tests itself with, on its picture with changes: every message."""
    path = in_lava_dl(lava_dl, "pilotnet_sdnn/network.net")
    picture = np.load(path.parent / "input.npy")[..., 0].transpose(2, 1, 0)
    assert agrees(lava_dl, path, changing(np.random.default_rng(0), picture), 128) > 400_000
