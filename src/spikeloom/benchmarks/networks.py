"""Generators of the networks that are timed: each layer fires at about 15 %, which is asserted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.errors import InternalError

RATE = 0.15
TOLERANCE = 0.03
FRACTION_BITS = 6
DECAY = 2048
_BISECTIONS = 24


@dataclass(frozen=True)
class BenchNetwork:
    """A network and frames that make it fire.

    Attributes:
        name: as in the tables.
        graph: integer; every neuron leaks by half a step, one threshold a layer, biases by channel.
        frames: uint8 [steps, 1, ...].
        rates: share of neuron steps with a spike, by layer.
        streamed: whether steps come one by one, so that each reads all weights.
    """

    name: str
    graph: Graph
    frames: NDArray[np.uint8]
    rates: dict[str, float]
    streamed: bool = False

    @property
    def products(self) -> int:
        """Dense products of inputs and weights (or inputs) in a run of all steps."""
        works = ("synaptic", "product")
        once = sum(
            node.op.dense_operations(*self.graph.input_types(node))
            for node in self.graph.nodes
            if node.op.work in works
        )
        return once * len(self.frames)

    @property
    def updates(self) -> int:
        """Neuron updates in a run of all steps."""
        return sum(self.graph.types[node.output].size for node in self.graph.neurons()) * len(self.frames)

    @property
    def weights(self) -> int:
        """Bytes of stored weights of 8 bits."""
        return sum(node.op.weight.size for node in self.graph.nodes if hasattr(node.op, "weight"))


@dataclass
class _Grower:
    """Builds a graph, runs it on its frames meanwhile, and puts each threshold where the layer fires."""

    name: str
    frames: NDArray[np.uint8]
    rng: np.random.Generator
    rates: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.builder = GraphBuilder(self.name, Stage.INTEGER, "onnx")
        self.entry = self.builder.input("frames", Type(self.frames.shape[2:], SPIKES))
        self._values: dict[str, Array] = {self.entry: self.frames.astype(np.int64)}
        self._left: dict[str, int] = {}

    def shape(self, value: str) -> tuple[int, ...]:
        return self.builder.types[value].shape

    def weights(self, *shape: int) -> NDArray[np.int8]:
        return self.rng.integers(-127, 128, shape, np.int8)

    def even_weights(self, *shape: int) -> NDArray[np.int8]:
        """As a chip holds weights of mixed sign."""
        return 2 * self.rng.integers(-63, 64, shape, np.int8)

    def add(self, name: str, op: Op, *inputs: str) -> str:
        """Append an operation without state."""
        (output,) = self.builder.add(self.builder.unique(name), op, *inputs)
        values = (self._values[value].reshape(-1, *self.shape(value)) for value in inputs)
        (result,) = op.evaluate(*values)
        self._values[output] = result.reshape(*self.frames.shape[:2], *result.shape[1:])
        return output

    def fire(self, x: str, name: str = "lif") -> str:
        """Append a layer of neurons whose channels have no mean input, as after a batch norm."""
        rest = tuple(axis for axis in range(self._values[x].ndim) if axis != 2)
        mean = self._values[x].mean(rest, keepdims=True)[0, 0]
        return self._fire(x, name, -np.rint(mean * 2**FRACTION_BITS).astype(np.int64))

    def fire_on_grid(self, x: str) -> str:
        """Append a layer of neurons without biases, whose threshold is a whole input, as a chip holds it."""
        rank = self._values[x].ndim - 2
        return self._fire(x, "lif", np.zeros((1,) * rank, np.int64), 2**FRACTION_BITS)

    def _fire(self, x: str, name: str, bias: Array, grid: int = 1) -> str:
        drive = self._values[x]
        low, high = 0, int(2 ** (FRACTION_BITS + 1) * (np.abs(drive).max() + 1))
        for _ in range(_BISECTIONS):
            middle = (low + high) // 2
            if self._rate(_spikes(_neuron(middle, bias), drive)) > RATE:
                low = middle
            else:
                high = middle
        op = _neuron(-(-high // grid) * grid, bias)
        (output,) = self.builder.add(self.builder.unique(name), op, x)
        self._values[output] = _spikes(op, drive)
        self.rates[output] = self._rate(self._values[output])
        return output

    def forget(self, *values: str) -> None:
        """Give the memory of values back that nothing reads any more."""
        for value in values:
            self._values.pop(value, None)

    def finish(self, output: str) -> BenchNetwork:
        """The network, if every layer fires as it should.

        Raises:
            InternalError: SL0804, a layer does not.
        """
        self.builder.output(output)
        odd = {name: rate for name, rate in self.rates.items() if abs(rate - RATE) > TOLERANCE}
        if odd:
            raise InternalError.of("SL0804", self.name, f"layers do not fire at {RATE:.0%}: {odd}")
        return BenchNetwork(self.name, self.builder.build(), self.frames, dict(self.rates))

    @staticmethod
    def _rate(spikes: Array) -> float:
        return float(spikes.mean())


def _neuron(theta: int, bias: Array) -> IntegerNeuron:
    return IntegerNeuron(np.full((1, *(1,) * bias.ndim), theta), bias, DECAY, FRACTION_BITS)


def _spikes(op: IntegerNeuron, drive: Array) -> Array:
    """Spikes [steps, samples, ...] from rest."""
    state = {"v": np.zeros(drive.shape[1:], np.int64)}
    spikes = np.empty(drive.shape, np.int64)
    for step, x in enumerate(drive):
        (spikes[step],), state = op.step((x,), state)
    return spikes


def spikformer(
    name: str, size: int, dim: int, depth: int, heads: int, steps: int, pools: tuple[bool, ...], seed: int = 0
) -> BenchNetwork:
    """The topology of Spikformer (Zhou et al., 2023, arXiv 2209.15425) for pictures of ``size`` squared.

    ``pools`` says which of the four convolutions of the patch splitting halve the picture.
    """
    rng = np.random.default_rng(seed)
    frames = (rng.random((steps, 1, 3, size, size)) < 0.3).astype(np.uint8)
    grow = _Grower(name, frames, rng)
    x = grow.entry
    for out, pool in zip((dim // 8, dim // 4, dim // 2, dim), pools, strict=True):
        weight = grow.weights(out, grow.shape(x)[0], 3, 3)
        currents = grow.add("conv", Conv2d(weight, None, (1, 1), (1, 1), (1, 1)), x)
        spikes = grow.fire(currents)
        grow.forget(x, currents)
        x = grow.add("pool", MaxPool2d((3, 3), (2, 2), (1, 1)), spikes) if pool else spikes
    weight = grow.weights(dim, dim, 3, 3)
    position = grow.fire(grow.add("position", Conv2d(weight, None, (1, 1), (1, 1), (1, 1)), x))
    x = grow.add("residual", Add(), x, position)
    x = grow.add("tokens", Reshape((dim, grow.shape(x)[1] * grow.shape(x)[2])), x)
    for _ in range(depth):
        x = _block(grow, x, heads)
    total = grow.add("total", ReduceSum((1,)), x)
    return grow.finish(grow.add("head", Linear(grow.weights(10, dim)), total))


def _block(grow: _Grower, x: str, heads: int) -> str:
    """Attention and a perceptron of four times the width on tokens [channels, positions]."""
    channels, _ = grow.shape(x)
    attended = grow.fire(_attention(grow, x, heads), "attn")
    x = grow.add("residual", Add(), x, _project(grow, attended, channels, "proj"))
    hidden = _project(grow, x, 4 * channels, "fc1")
    return grow.add("residual", Add(), x, _project(grow, hidden, channels, "fc2"))


def _project(grow: _Grower, x: str, out: int, name: str) -> str:
    return grow.fire(grow.add(name, Conv1d(grow.weights(out, grow.shape(x)[0], 1)), x))


def _attention(grow: _Grower, x: str, heads: int) -> str:
    """(q k') v without a softmax, from [channels, positions] to the same."""
    channels, positions = grow.shape(x)
    parts = (heads, channels // heads, positions)
    q, k, v = (grow.add("heads", Reshape(parts), _project(grow, x, channels, name)) for name in "qkv")
    q, v = (grow.add("turn", Transpose((0, 2, 1)), value) for value in (q, v))
    y = grow.add("mix", MatMul(), grow.add("score", MatMul(), q, k), v)
    return grow.add("heads", Reshape((channels, positions)), grow.add("turn", Transpose((0, 2, 1)), y))


def spikformer_4_384() -> BenchNetwork:
    """Spikformer-4-384 for CIFAR: 0.92 G products and 1.45 M neurons a step, four steps."""
    return spikformer("Spikformer-4-384", 32, 384, 4, 12, 4, (False, False, True, True))


def spikformer_2_128() -> BenchNetwork:
    """A small Spikformer: 0.08 G products and 0.32 M neurons a step, four steps."""
    return spikformer("Spikformer-2-128", 32, 128, 2, 4, 4, (False, False, True, True))


def spikformer_8_768() -> BenchNetwork:
    """Spikformer-8-768 for pictures of 224 squared: 66 M weights, one step."""
    return spikformer("Spikformer-8-768", 224, 768, 8, 12, 1, (True, True, True, True))


def dense_layer(size: int, rate: float = 0.1) -> BenchNetwork:
    """One linear layer of ``size`` squared on single frames that are active at ``rate``, and its neurons."""
    rng = np.random.default_rng(size)
    frames = (rng.random((8, 1, size)) < rate).astype(np.uint8)
    grow = _Grower(f"layer {size} x {size}", frames, rng)
    return grow.finish(grow.fire(grow.add("fc", Linear(grow.weights(size, size)), grow.entry)))


def chip_dense_layer(size: int, steps: int = 200) -> BenchNetwork:
    """One linear layer of ``size`` squared on frames active at 10 %, with what a chip's registers hold."""
    rng = np.random.default_rng(size)
    grow = _Grower(f"dense {size} x {size}", (rng.random((steps, 1, size)) < 0.1).astype(np.uint8), rng)
    return grow.finish(grow.fire_on_grid(grow.add("fc", Linear(grow.even_weights(size, size)), grow.entry)))


def chip_conv_layer(size: int, channels: int, steps: int = 200) -> BenchNetwork:
    """One convolution of 3 x 3 on ``channels`` pictures of ``size`` squared, likewise."""
    rng = np.random.default_rng(size)
    frames = (rng.random((steps, 1, channels, size, size)) < 0.1).astype(np.uint8)
    grow = _Grower(f"conv 3 x 3, {channels} channels of {size} x {size}", frames, rng)
    op = Conv2d(grow.even_weights(channels, channels, 3, 3), None, (1, 1), (1, 1), (1, 1))
    return grow.finish(grow.fire_on_grid(grow.add("conv", op, grow.entry)))


def spikegpt_216m() -> BenchNetwork:
    """The linear maps of SpikeGPT-216M (arXiv 2302.13939) in a row, on eight tokens: 177 M weights.

    Eighteen layers of five maps of 768 x 768 and two of 768 x 3072, and the head of 50,277 words; without
    the recurrence and the embedding, which take no time beside them.
    """
    rng, width = np.random.default_rng(0), 768
    frames = (rng.random((8, 1, width)) < RATE).astype(np.uint8)
    grow = _Grower("SpikeGPT-216M", frames, rng)
    x = grow.entry
    for _ in range(18):
        for out in (width, width, width, width, width, 4 * width, width):
            x = grow.fire(grow.add("fc", Linear(grow.weights(out, grow.shape(x)[0])), x))
    network = grow.finish(grow.add("head", Linear(grow.weights(50_277, width)), x))
    return replace(network, streamed=True)


NETWORKS = {
    "spikformer-4-384": spikformer_4_384,
    "spikformer-2-128": spikformer_2_128,
    "spikformer-8-768": spikformer_8_768,
    "spikegpt-216m": spikegpt_216m,
}
