"""Networks of populations from a few lines: what a frontend and a lowering would make, without weights."""

from __future__ import annotations

from math import prod

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.mapping.network import (
    Combine,
    Kernel,
    Network,
    Population,
    Projection,
    Role,
)
from spikeloom.compiler.mapping.relation import Relation

STATE_BYTES = 4
"""Of a neuron: a membrane potential of 24 bits in a word of 32."""

MEDIAN_RATE, SPREAD, LOWEST, HIGHEST = 0.10, 0.5, 0.01, 0.6
"""Where no run gave firing rates they are drawn, a population each: log-normal, clipped."""

PRODUCT_RATE = 0.05
"""Of product and accumulator neurons: share of steps in which they send something."""

Terms = tuple[Relation, ...]


class Builder:
    """A network in the making. A value is a sum of terms; :meth:`neurons` puts a population where it is.

    >>> net = Builder("two", (3, 8, 8), bits=8)
    >>> x = net.neurons("conv", net.conv(net.start, 16))
    >>> net.readout("out", net.dense(x, 10)).populations[1].shape
    (16, 8, 8)
    """

    def __init__(self, name: str, shape: tuple[int, ...], bits: int = 8, seed: int = 0) -> None:
        self.name = name
        self.rates: dict[str, float] = {"input": 1.0}
        self._bits = bits
        self._random = np.random.default_rng(seed)
        self._populations = [Population("input", shape, "input", (0, 255))]
        self._projections: list[Projection] = []
        self._kernels: dict[str, Kernel] = {}
        self.start: Terms = (Relation.identity(self._populations[0]),)

    def conv(self, x: Terms, channels: int, size: int = 3, stride: int = 1, groups: int = 1) -> Terms:
        """A convolution with 'same' padding; ``groups`` = channels is depthwise."""
        dims = len(x[0].shape) - 1
        inputs = x[0].shape[0]
        shape = (channels, inputs // groups) + (size,) * dims
        weight = np.broadcast_to(np.int8(1), shape)
        geometry = ((stride,) * dims, (size // 2,) * dims, (1,) * dims, groups)
        op = Conv1d(weight, None, *geometry) if dims == 1 else Conv2d(weight, None, *geometry)
        return self.apply(x, op)

    def apply(self, x: Terms, op: Convolution) -> Terms:
        """A convolution of any geometry; its weights are looked at for their shape only."""
        kernel = self._kernel(op.weight.shape)
        return tuple(term.convolution(op, kernel) for term in x)

    def pointwise(self, x: Terms, channels: int) -> Terms:
        """A map of the channels, the same at every position."""
        return self.conv(x, channels, size=1)

    def dense(self, x: Terms, outputs: int) -> Terms:
        """Every neuron to every output."""
        flat = tuple(term.reshape((int(np.prod(term.shape)),)) for term in x)
        kernel = self._kernel((outputs, flat[0].shape[0]))
        return tuple(term.linear(kernel) for term in flat)

    def classify(self, x: Terms, outputs: int) -> Terms:
        """The mean over all positions of channels, then a dense map: one kernel row a channel.

        Where a neuron would hear more than 4,096 positions, accumulators of 4 x 4 come between.
        """
        means = x
        while len(means) * int(np.prod(means[0].shape[1:])) > 4096:
            windows = tuple(term.pool((4, 4), (4, 4), (0, 0)) for term in means)
            means = self.neurons(f"mean{means[0].shape[1]}", windows, role="accumulator")
        while len(means[0].shape) > 1:
            means = tuple(term.reduce(len(term.shape) - 1) for term in means)
        kernel = self._kernel((outputs, means[0].shape[0]))
        return tuple(term.linear(kernel) for term in means)

    def max_pool(self, name: str, x: Terms, size: int, stride: int, margin: int) -> Terms:
        """A population of maxima over windows."""
        dims = len(x[0].shape) - 1
        pooled = tuple(term.pool((size,) * dims, (stride,) * dims, (margin,) * dims) for term in x)
        return self.neurons(name, pooled, combine="max", rate=None)

    def neurons(
        self,
        name: str,
        x: Terms,
        role: Role = "neuron",
        combine: Combine = "sum",
        rate: float | None = None,
        together: tuple[int, ...] = (),
    ) -> Terms:
        """A population of the value's shape."""
        population = Population(name, x[0].shape, role, (0, 1), STATE_BYTES, "", combine, together=together)
        self._add(population, rate)
        self._connect(x, population, 0)
        return (Relation.identity(population),)

    def products(self, name: str, left: Terms, right: Terms, together: tuple[int, ...]) -> Terms:
        """A population of neurons that multiply what arrives at their two ports."""
        shape = left[0].shape
        population = Population(
            name, shape, "product", (0, 1), 2 * STATE_BYTES, "", "product", together=together
        )
        self._add(population, PRODUCT_RATE)
        self._connect(left, population, 0)
        self._connect(right, population, 1)
        return (Relation.identity(population),)

    def linear_attention(self, name: str, q: Terms, k: Terms, v: Terms, heads: int, window: int = 0) -> Terms:
        """q (k^T v) without softmax: d x d accumulators a head, then a neuron a token and channel.

        The accumulator (h, i, j) adds k[h, i, t] v[h, j, t] over the tokens t, the neuron (h, j, t) adds
        q[h, i, t] times the accumulator over i and fires. Both need a program of their own. With a
        ``window``, tokens attend within squares of that side, each of which has accumulators of its own.
        """
        channels, *positions = q[0].shape
        width = channels // heads
        side = [min(window, extent) if window else extent for extent in positions]
        count = [extent // part for extent, part in zip(positions, side, strict=True)]
        parts, tokens = heads * prod(count), prod(side)
        split = [size for pair in zip(count, side, strict=True) for size in pair]
        outer, inner = range(2, 2 + len(split), 2), range(3, 3 + len(split), 2)

        def headed(x: Terms) -> Terms:
            """[parts, width, tokens] of each window and head."""
            grids = (term.reshape((heads, width, *split)).transpose((0, *outer, 1, *inner)) for term in x)
            return tuple(grid.reshape((parts, width, tokens)) for grid in grids)

        left = tuple(term.reduce(2).broadcast(2, width) for term in headed(k))
        right = tuple(term.reduce(2).broadcast(1, width) for term in headed(v))
        state = self.products(f"{name}.kv", left, right, together=(1, 2))
        rows = tuple(term.reduce(1).broadcast(1, width) for term in headed(q))
        columns = tuple(term.reduce(1).broadcast(2, tokens) for term in state)
        out = self.products(f"{name}.attn", rows, columns, together=())
        back = (0, len(count) + 1, *(n for i in range(len(count)) for n in (1 + i, len(count) + 2 + i)))
        grids = (term.reshape((heads, *count, width, *side)).transpose(back) for term in out)
        return tuple(grid.reshape((channels, *positions)) for grid in grids)

    def block(self, name: str, size: int) -> None:
        """A population without inputs yet."""
        self._add(Population(name, (size,), "neuron", (0, 1), STATE_BYTES), None)

    def wire(self, source: str, target: str) -> None:
        """Dense synapses between two populations of one axis, which may be the same."""
        ends = {one.name: one for one in self._populations if one.name in (source, target)}
        kernel = self._kernel((ends[target].size, ends[source].size))
        self._connect((Relation.identity(ends[source]).linear(kernel),), ends[target], 0)

    def readout(self, name: str, x: Terms) -> Network:
        """The readout, and the finished network."""
        self.neurons(name, x, role="readout")
        return self.network((name,))

    def network(self, outputs: tuple[str, ...]) -> Network:
        """The finished network."""
        used = {projection.kernel for projection in self._projections}
        kernels = tuple(kernel for kernel in self._kernels.values() if kernel.name in used)
        return Network(self.name, tuple(self._populations), tuple(self._projections), kernels, outputs)

    def _add(self, population: Population, rate: float | None) -> None:
        drawn = float(np.clip(MEDIAN_RATE * np.exp(SPREAD * self._random.normal()), LOWEST, HIGHEST))
        self._populations.append(population)
        self.rates[population.name] = drawn if rate is None else rate

    def _connect(self, terms: Terms, population: Population, port: int) -> None:
        for term in terms:
            projection, ones = term.projection(population, port)
            self._projections.append(projection)
            if ones is not None:
                self._kernels[ones.name] = ones

    def _kernel(self, shape: tuple[int, ...]) -> Kernel:
        name = f"w{len(self._kernels)}"
        self._kernels[name] = Kernel(name, shape, self._bits, int(np.prod(shape)))
        return self._kernels[name]
