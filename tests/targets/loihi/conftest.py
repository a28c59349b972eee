"""Integer graphs like those the quantizer gives, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.errors import InputError
from spikeloom.targets.loihi.environment import find_worker

STATE_BITS = 48  # random weights need no proof that 24 bits suffice


class Spikformer:
    """Builds the integer graph of SpikingJelly's Spikformer: stem, blocks, mean over tokens, head."""

    def __init__(
        self,
        image: tuple[int, int, int] = (2, 34, 34),
        pools: tuple[bool, ...] = (True, True, True, True),
        dim: int = 64,
        heads: int = 4,
        blocks: int = 1,
        ratio: int = 2,
        classes: int = 10,
        thresholds: int = 4,
        seed: int = 0,
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.builder = GraphBuilder("spikformer", Stage.INTEGER, "loihi2")
        self.thresholds = thresholds
        x = self.builder.input("input", Type(image, SPIKES))
        for number, pool in enumerate(pools):
            x = self.conv2d(f"stage{number}", x, dim >> (len(pools) - 1 - number), pool)
        x = self.add("Add", Add(), x, self.conv2d("position", x, dim, False))
        tokens = int(np.prod(self.shape(x)[1:]))
        x = self.add("tokens", Reshape((dim, tokens)), x)
        for number in range(blocks):
            x = self.block(f"block{number}", x, dim, heads, ratio * dim)
        x = self.add("pooled", ReduceSum((1,)), x)
        self.builder.output(self.add("head", Linear(self.weight(classes, dim), np.arange(classes)), x))

    def block(self, name: str, x: str, dim: int, heads: int, hidden: int) -> str:
        tokens = self.shape(x)[1]
        qkv = self.conv1d(f"{name}.qkv", x, 3 * dim)
        parts = self.add(f"{name}.heads", Reshape((3 * heads, dim // heads, tokens)), qkv)
        q, k, v = self.builder.add(f"{name}.split", Split(0, (heads, heads, heads)), parts)
        k = self.add(f"{name}.kT", Transpose((0, 2, 1)), k)
        kv = self.add(f"{name}.kv", MatMul(), v, k)
        y = self.lif(f"{name}.attn", self.add(f"{name}.qkv_product", MatMul(), kv, q))
        y = self.add(f"{name}.merge", Reshape((dim, tokens)), y)
        x = self.add(f"{name}.add0", Add(), x, self.conv1d(f"{name}.proj", y, dim))
        y = self.conv1d(f"{name}.fc2", self.conv1d(f"{name}.fc1", x, hidden), dim)
        return self.add(f"{name}.add1", Add(), x, y)

    def conv2d(self, name: str, x: str, channels: int, pool: bool) -> str:
        weight = self.weight(channels, self.shape(x)[0], 3, 3)
        y = self.add(f"{name}.conv", Conv2d(weight, None, (1, 1), (1, 1), (1, 1)), x)
        if pool:
            y = self.add(f"{name}.pool", MaxPool2d((3, 3), (2, 2), (1, 1)), y)
        return self.lif(f"{name}.lif", y)

    def conv1d(self, name: str, x: str, channels: int) -> str:
        y = self.add(f"{name}.conv", Conv1d(self.weight(channels, self.shape(x)[0], 1)), x)
        return self.lif(f"{name}.lif", y)

    def lif(self, name: str, x: str) -> str:
        shape = self.shape(x)
        theta = 64 * self.random.integers(1, 1 + self.thresholds, (1, shape[0], *(1,) * (len(shape) - 1)))
        bias = np.zeros((1,) * len(shape), np.int64)
        neuron = IntegerNeuron(theta, bias, decay=2048, fraction_bits=7, state_bits=STATE_BITS)
        return self.add(name, neuron, x)

    def add(self, name: str, op: object, *inputs: str) -> str:
        return self.builder.add(name, op, *inputs)[0]  # type: ignore[arg-type]

    def shape(self, x: str) -> tuple[int, ...]:
        return self.builder.types[x].shape

    def weight(self, *shape: int) -> np.ndarray:
        weight = self.random.integers(-7, 8, shape).astype(np.int8)
        return np.where(weight == 0, 1, weight).astype(np.int8)


@pytest.fixture(scope="session")
def spikformer() -> Callable[..., Graph]:
    """A function of the keywords of Spikformer that gives its graph."""
    return lambda **keywords: Spikformer(**keywords).builder.build()


@pytest.fixture(scope="session")
def tiny_graph(spikformer: Callable[..., Graph]) -> Graph:
    """The graph of the N-MNIST Spikformer's size."""
    return spikformer()


@pytest.fixture
def lava() -> Path:
    """The interpreter that has Lava; `make lava` makes it."""
    try:
        return find_worker()
    except InputError as error:
        pytest.skip(str(error))
