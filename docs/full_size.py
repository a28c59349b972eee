"""Integer graphs of published size, with random weights: what a chip must hold does not depend on their values.

They have the shapes of Spikformer-4-384 for CIFAR-10 (Zhou et al., ICLR 2023) and of Meta-SpikeFormer 8-512 for
ImageNet (Yao et al., *Spike-driven Transformer V2*, ICLR 2024), as the compiler quantizes them for loihi2.
"""

from __future__ import annotations

from math import prod

import numpy as np

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type, levels
from spikeloom.compiler.graph.op import Op
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose

STEPS = 4
RELAYED = 2**14
WIDE_STATE = 48
"""Random weights need no proof that 24 bits suffice."""


class Maker:
    """A graph in the making, on the grid of loihi2."""

    def __init__(self, name: str, image: tuple[int, int, int], brightness: int) -> None:
        self.random = np.random.default_rng(0)
        self.builder = GraphBuilder(name, Stage.INTEGER, "loihi2")
        kind = SPIKES if brightness == 1 else levels(brightness)
        self.image = self.builder.input("image", Type(image, kind))

    def add(self, name: str, op: Op, *inputs: str) -> str:
        """A node of one result."""
        return self.builder.add(self.builder.unique(name), op, *inputs)[0]

    def shape(self, x: str) -> tuple[int, ...]:
        """Of a value."""
        return self.builder.types[x].shape

    def conv(
        self, name: str, x: str, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> str:
        """A convolution that keeps the size, up to the stride."""
        shape = (channels, self.shape(x)[0] // groups, kernel, kernel)
        weight = self.random.integers(1, 8, shape).astype(np.int8) * self.random.choice((-1, 1), shape)
        op = Conv2d(weight.astype(np.int8), None, (stride,) * 2, (kernel // 2,) * 2, (1, 1), groups)
        return self.add(f"{name}.conv", op, x)

    def lif(self, name: str, x: str) -> str:
        """A LIF with four groups of thresholds."""
        axes = len(self.shape(x))
        theta = 64 * self.random.integers(1, 5, (1, self.shape(x)[0], *(1,) * (axes - 1)))
        bias = np.zeros((1,) * axes, np.int64)
        return self.add(f"{name}.lif", IntegerNeuron(theta, bias, 2048, 7, state_bits=WIDE_STATE), x)

    def relay(self, name: str, x: str) -> str:
        """A value in another unit."""
        factor = np.full((self.shape(x)[0], *(1,) * (len(self.shape(x)) - 1)), 9, np.int32)
        return self.add(f"{name}.relay", Rescale(factor, 8, -RELAYED, RELAYED), x)

    def residual(self, name: str, path: str, branch: str) -> str:
        """Membranes added and clipped."""
        added = self.add(f"{name}.add", Add(), path, self.relay(name, branch))
        return self.add(f"{name}.clip", Rescale(np.ones((), np.int32), 0, -RELAYED, RELAYED), added)

    def attention(self, name: str, qkv: tuple[str, str, str], heads: int) -> str:
        """Attention q (k' v) without a softmax, [channels, height, width]."""
        channels, height, width = self.shape(qkv[0])
        split = (heads, channels // heads, height * width)
        q, k, v = (self.add(f"{name}.{n}", Reshape(split), x) for n, x in zip("qkv", qkv, strict=True))
        k = self.add(f"{name}.kT", Transpose((0, 2, 1)), k)
        mixed = self.add(f"{name}.mixed", MatMul(), self.add(f"{name}.memory", MatMul(), v, k), q)
        return self.lif(f"{name}.attn", self.add(f"{name}.merge", Reshape((channels, height, width)), mixed))

    def head(self, x: str, classes: int) -> Graph:
        """A sum over positions, a map, a sum over time."""
        channels, height, width = self.shape(x)
        tokens = self.add("tokens", Reshape((channels, height * width)), x)
        pooled = self.add("pooled", ReduceSum((1,)), tokens)
        weight = self.random.integers(-7, 8, (classes, prod(self.shape(pooled)))).astype(np.int8)
        scores = self.add("head", Linear(weight), pooled)
        self.builder.output(self.add("sum", Accumulate(STEPS), scores))
        return self.builder.build()


def spikformer(dim: int = 384, heads: int = 12, blocks: int = 4) -> Graph:
    """Spikformer-4-384 for pictures of 32 x 32: 64 tokens; the residual path adds spikes."""
    make = Maker("spikformer-4-384", (3, 32, 32), 255)
    x = make.image
    for number, pooled in enumerate((False, False, True, True)):
        x = make.conv(f"stage{number}", x, dim >> (3 - number), 3)
        x = make.add(f"stage{number}.pool", MaxPool2d((3, 3), (2, 2), (1, 1)), x) if pooled else x
        x = make.lif(f"stage{number}", x)
    x = make.add("position.add", Add(), x, make.lif("position", make.conv("position", x, dim, 3)))
    for number in range(blocks):
        name = f"block{number}"
        q, k, v = (make.lif(f"{name}.{n}", make.conv(f"{name}.{n}", x, dim)) for n in "qkv")
        y = make.conv(f"{name}.proj", make.attention(name, (q, k, v), heads), dim)
        x = make.add(f"{name}.add", Add(), x, make.lif(f"{name}.proj", y))
        hidden = make.lif(f"{name}.fc1", make.conv(f"{name}.fc1", x, 4 * dim))
        y = make.lif(f"{name}.fc2", make.conv(f"{name}.fc2", hidden, dim))
        x = make.add(f"{name}.out", Add(), x, y)
    return make.head(x, 10)


def meta_spikeformer(
    widths: tuple[int, int, int, int] = (128, 256, 512, 640), heads: int = 8, blocks: tuple[int, int] = (6, 2)
) -> Graph:
    """Meta-SpikeFormer 8-512 for pictures of 224 x 224: 196 tokens; the residual path carries membranes."""
    make = Maker("meta-spikeformer-8-512", (3, 224, 224), 255)
    first, second, third, fourth = widths
    x = make.relay("stem", make.conv("stem", make.image, first // 2, 7, 2))
    x = _conv_block(make, "conv0", x)
    x = _conv_block(make, "conv1", _narrower(make, "down1", x, first, 2))
    x = _conv_block(make, "conv2", _narrower(make, "down2", x, second, 2))
    x = _conv_block(make, "conv3", x)
    x = _narrower(make, "down3", x, third, 2)
    for number in range(blocks[0]):
        x = _meta_block(make, f"block{number}", x, heads)
    x = _narrower(make, "down4", x, fourth, 1)
    for number in range(blocks[0], sum(blocks)):
        x = _meta_block(make, f"block{number}", x, heads)
    return make.head(make.lif("last", x), 1000)


def _narrower(make: Maker, name: str, x: str, channels: int, stride: int) -> str:
    return make.relay(name, make.conv(name, make.lif(name, x), channels, 3, stride))


def _conv_block(make: Maker, name: str, x: str) -> str:
    """A separable convolution of 7 x 7, then two of 3 x 3 with four times the channels between."""
    width = make.shape(x)[0]
    y = make.lif(f"{name}.wide", make.conv(f"{name}.wide", make.lif(f"{name}.in", x), 2 * width))
    y = make.relay(f"{name}.deep", make.conv(f"{name}.deep", y, 2 * width, 7, groups=2 * width))
    x = make.residual(f"{name}.separable", x, make.conv(f"{name}.separable", y, width))
    y = make.lif(f"{name}.up", make.conv(f"{name}.up", make.lif(f"{name}.mid", x), 4 * width, 3))
    return make.residual(f"{name}.down", x, make.conv(f"{name}.down", y, width, 3))


def _projection(make: Maker, name: str, x: str) -> str:
    """1 x 1, depthwise 3 x 3, 1 x 1, with nothing but relays between."""
    width = make.shape(x)[0]
    y = make.relay(f"{name}.a", make.conv(f"{name}.a", x, width))
    y = make.relay(f"{name}.b", make.conv(f"{name}.b", y, width, 3, groups=width))
    return make.conv(f"{name}.c", y, width)


def _meta_block(make: Maker, name: str, x: str, heads: int) -> str:
    spikes = make.lif(f"{name}.in", x)
    q, k, v = (
        make.lif(f"{name}.{n}", make.relay(f"{name}.{n}", _projection(make, f"{name}.{n}", spikes)))
        for n in "qkv"
    )
    attended = make.attention(name, (q, k, v), heads)
    x = make.residual(f"{name}.proj", x, _projection(make, f"{name}.proj", attended))
    width = make.shape(x)[0]
    hidden = make.lif(f"{name}.fc1", make.conv(f"{name}.fc1", make.lif(f"{name}.mid", x), 4 * width))
    return make.residual(f"{name}.fc2", x, make.conv(f"{name}.fc2", hidden, width))
