"""Random integer graphs on Loihi 2's grid, small enough for thousands of them, each of which fires."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeloom.compiler.graph.op import Array, StatefulOp
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.resonator import Resonator
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.transpose import Transpose
from tests.random_networks import Grower, NeuronStyle, RandomNetwork, random_frames

STEP = 64
GROUPS = 4


class ChipGrower(Grower):
    """Neurons with thresholds of the chip's grid, in few groups, and biases of 13 bits and an exponent."""

    def _calibrate(self, style: NeuronStyle, drive: Array, spread: Array, bias: Array) -> IntegerNeuron:
        levels = 1 + (spread.size > 1) * np.rint((spread - 0.7) / 0.7 * (GROUPS - 1))
        bias = np.clip(bias, -4000 * 128, 4000 * 128) >> 7 << 7

        def made(base: int) -> IntegerNeuron:
            """Thresholds of base steps, and up to GROUPS - 1 quarters more."""
            unit = np.maximum(1, np.rint(base * (3 + levels) / 4)).astype(np.int64) * STEP
            heights = np.arange(1, style.levels + 1) * 2 - 1
            return IntegerNeuron(
                heights.reshape(-1, *(1,) * unit.ndim) * unit,
                bias,
                style.decay,
                style.fraction_bits,
                current_decay=style.current_decay,
                reset="soft" if style.soft else "hard",
                reset_by=unit * 2 if style.soft else None,
                state_bits=24,
                horizon=style.horizon,
            )

        def rate(base: int) -> float:
            return float((_spikes(made(base), drive) > 0).mean())

        low, high = 1, 1 + int(np.abs(drive).max()) * 2 ** (style.fraction_bits - 5)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if rate(middle) > self.rate else (low, middle)
        return made(min(low, high, key=lambda base: abs(rate(base) - self.rate)))


def _spikes(op: IntegerNeuron, drive: Array) -> Array:
    names = ("v",) if op.current_decay is None else ("u", "v")
    state = {name: np.zeros(drive.shape[1:], np.int64) for name in names}
    spikes = []
    for x in drive:
        (s,), state = op.step((x,), state)
        spikes.append(s)
    return np.stack(spikes)


def random_program(seed: int, programs: bool = True) -> RandomNetwork:
    """A network of a few layers: picture, sequence or vector in; attention of one form; a head.

    Args:
        seed: of everything.
        programs: whether it may have what needs neuron programs, or numbers as its input.

    Raises:
        AssertionError: a layer does not fire enough, or fires all the time.
    """
    rng = np.random.default_rng(seed)
    steps, batch = int(rng.integers(3, 7)), 2
    kind = ("picture", "sequence", "vector")[seed % 3]
    shape = {"picture": (2, 6, 6), "sequence": (3, 6), "vector": (12,)}[kind]
    remembers = seed % 4 == 1
    steps += 4 * remembers
    frames = random_frames(rng, shape, steps, batch, int(rng.choice([1, 1, 1, 3])) if programs else 1)
    high, rate = int(max(1, frames.max())), float(rng.uniform(0.15, 0.4))
    grow = ChipGrower(f"program{seed}", frames, rng, high, rate)
    walk = _Walk(grow, programs, remembers)
    tokens = {"picture": walk.picture, "sequence": walk.sequence, "vector": walk.vector}[kind]()
    if walk.program(0.35):
        tokens = walk.membranes(tokens)
    for _ in range(int(rng.integers(0, 3))):
        tokens = walk.block(tokens)
    return grow.finish(walk.head(tokens))


class _Walk:
    """Takes a grower from the input to the head, choosing at random on the way."""

    def __init__(self, grow: ChipGrower, programs: bool, remembers: bool) -> None:
        self.grow = grow
        self.programs = programs
        self.remembers = remembers
        self.rings = False

    def chance(self, probability: float) -> bool:
        return bool(self.grow.rng.random() < probability)

    def program(self, probability: float) -> bool:
        """A chance, where neuron programs may be used."""
        return self.programs and self.chance(probability)

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.grow.rng.integers(len(choices)))]

    def fire(self, x: str, name: str = "lif") -> str:
        """A neuron layer: the chip's LIF mostly, else a neuron program."""
        x = self.later(x, 0.3) if self.programs or x not in self.biased else x
        program = self.program(0.25)
        cuba = self.chance(0.2) and x not in self.biased and not self.bordered  # a bias goes to v, not to u
        style = NeuronStyle(
            decay=self.pick(2048, 2048, 1024, 410, 3000, 4095),
            current_decay=self.pick(1024, 2048, 4000) if cuba else None,
            soft=program and self.chance(0.5),
            levels=self.pick(1, 2, 3) if program else 1,
            fraction_bits=self.pick(7, 7, 6),
            axes=self.pick(0, 1),
        )
        if style.fraction_bits == 6 and self.odd(x):
            style = NeuronStyle(**{**vars(style), "fraction_bits": 7})
        plain = NeuronStyle(fraction_bits=7, axes=0)
        return self.grow.neuron(x, style, plain, name=name)

    def later(self, x: str, probability: float) -> str:
        """A value that is late, by steps of each channel, of each element, or the same for all."""
        if not self.remembers or not self.chance(probability):
            return x
        sizes = self.grow.shape(x)
        kept = self.pick(0, 1, len(sizes))
        steps = self.grow.rng.integers(0, 4, (*sizes[:kept], *(1,) * (len(sizes) - kept)))
        steps.flat[0] = max(1, steps.flat[0])
        return self.grow.advance("late", Delay(steps), x)

    def window(self, x: str) -> str:
        """The last few values side by side: a convolution along time."""
        if not self.remembers:
            return x
        gate = TimeGate(self.pick(0, 1), self.pick(3, 4))
        x = self.grow.advance("gate", gate, x) if self.program(0.5) else x
        return self.grow.advance("window", TimeWindow(self.pick(2, 3), 0, self.pick(1, 2)), x)

    def loop(self, x: str) -> str:
        """Neurons whose spikes come back."""
        (n,) = self.grow.shape(x)
        weight = self.grow.weights((n, n), 6)
        cuba = self.chance(0.4) and x not in self.biased

        def made(theta: int) -> StatefulOp:
            bias = np.zeros(n, np.int64) if cuba else self.grow.rng.integers(-4, 5, n) << 7
            current = 2048 if cuba else None
            return RecurrentNeuron(weight, np.full((1, n), theta * STEP), bias, 2048, 7, current, 24)

        return self.grow.tuned("loop", made, x) or self.fire(x)

    def ring(self, x: str) -> str:
        """Resonators, driven by spikes through complex weights."""
        (n,) = self.grow.shape(x)
        parts = [self.grow.add(part, Linear(self.grow.weights((n, n), 6)), x)[0] for part in ("re", "im")]
        by_phase, sine = self.chance(0.5), self.pick(3300, -3500)

        def made(theta: int) -> StatefulOp:
            return Resonator(self.pick(-1500, 2000), sine, theta * STEP, 6, by_phase=by_phase)

        ringing = self.grow.tuned("ring", made, *parts)
        self.rings |= ringing is not None
        return ringing or x

    def odd(self, x: str) -> bool:
        """Whether x is not a weighted sum of even weights, which six fraction digits need."""
        return x not in self.even

    even: frozenset[str] = frozenset()
    biased: frozenset[str] = frozenset()
    bordered: bool = False

    def conv(self, x: str, op: type[Conv1d] | type[Conv2d], out: int, bits: int = 0) -> str:
        channels, *sizes = self.grow.shape(x)
        groups = self.pick(*(g for g in (1, 1, 1, channels) if channels % g == 0 and out % g == 0))
        windows = self.programs or op is Conv2d  # over tokens, windows of sums need the sums sent
        widths = (1, 2, 3, 3) if windows else (1,)
        kernel = tuple(self.pick(*(k for k in widths if k <= size)) for size in sizes)
        stride = tuple(self.pick(1, 1, 2) if size > 4 and windows else 1 for size in sizes)
        padding = tuple(self.pick(*range(k)) for k in kernel)
        wide = self.chance(0.3)
        dilation = tuple(2 if wide and k == 2 and n > 4 else 1 for k, n in zip(kernel, sizes, strict=True))
        weight = self.grow.weights((out, channels // groups, *kernel), bits or self.pick(4, 8, 8))
        bias = self.grow.rng.integers(-20, 20, out) if self.chance(0.3) else None
        (y,) = self.grow.add("conv", op(weight, bias, stride, padding, dilation, groups), x)
        return self.note(y, weight, bias is not None)

    def note(self, x: str, weight: Array, biased: bool) -> str:
        self.biased |= {x} if biased else set()
        if not (weight % 2).any():
            self.even |= {x}
        return x

    def picture(self) -> str:
        """Convolutions, pools of currents and of spikes, a residual of spikes."""
        grow = self.grow
        twice = self.program(0.2)  # weights on signed currents: an accumulator between
        x = self.conv(self.later(grow.x, 0.5), Conv2d, 4, 3 if twice else 0)
        x = self.pool(x) if twice and self.chance(0.5) else x
        x = self.conv(x, Conv2d, 3, 3) if twice else x
        x = self.pool(x) if self.program(0.4) else x
        x = self.fire(self.relay(x) if self.program(0.2) else x)
        x = self.pool(x) if self.chance(0.4) else x
        channels = grow.shape(x)[0]
        same = Conv2d(grow.weights((channels, channels, 3, 3)), None, (1, 1), (1, 1), (1, 1))
        (branch,) = grow.add("conv", same, x)
        (x,) = grow.add("add", Add(), x, self.fire(branch))
        if self.chance(0.4):
            (x,) = grow.add("part", Slice(1, 0, max(1, grow.shape(x)[1] - 1)), x)
        if self.chance(0.3):
            value = self.pick(0, 0, 1) if self.programs else 0
            self.bordered = value != 0
            (x,) = grow.add("border", Pad((0, 1, 0), (0, 1, 2), float(value)), x)
        if self.chance(0.3):
            other = Conv2d(grow.weights((2, grow.shape(x)[0], 1, 1)))
            (x,) = grow.add("both", Concat(0), x, self.fire(*grow.add("other", other, x)))
        channels, *sizes = grow.shape(x)
        (x,) = grow.add("tokens", Reshape((channels, int(np.prod(sizes)))), x)
        x = self.fire(self.conv(x, Conv1d, 4))
        self.bordered = False
        return x

    def sequence(self) -> str:
        return self.fire(self.conv(self.later(self.window(self.grow.x), 0.3), Conv1d, 4))

    def vector(self) -> str:
        grow = self.grow
        weight = grow.weights((12, 12)) if self.chance(0.5) else grow.weights((12, 12), 7) * np.int8(2)
        bias = None if self.remembers else grow.rng.integers(-9, 9, 12)
        (x,) = grow.add("fc", Linear(weight, bias), self.later(grow.x, 0.5))
        x = self.note(x, weight, not self.remembers)
        x = self.loop(x) if self.remembers and self.chance(0.6) else self.fire(x)
        if self.remembers and self.program(0.4):
            x = self.ring(x)
        if self.program(0.3):
            (x,) = grow.add("once", Linear(grow.weights((12, 12), 4)), x)
            x = self.relay(x, 60) if self.chance(0.5) else x
            x = self.fire(*grow.add("twice", Linear(grow.weights((12, 12), 4)), x))
        return grow.add("tokens", Reshape((4, 3)), x)[0]

    def pool(self, x: str) -> str:
        if min(self.grow.shape(x)[1:]) < 3:
            return x
        kernel, stride, padding = self.pick((2, 2, 0), (3, 2, 1), (2, 1, 0))
        (y,) = self.grow.add("pool", MaxPool2d((kernel,) * 2, (stride,) * 2, (padding,) * 2), x)
        return self.note(y, np.ones(1), x in self.biased)

    def relay(self, x: str, limit: int = 900) -> str:
        """Values in another unit, each channel with a factor of its own."""
        grow, shift = self.grow, int(self.grow.rng.integers(0, 15))
        factor = grow.rng.integers(1, 2**15, (grow.shape(x)[0], *(1,) * (len(grow.shape(x)) - 1)))
        offset = grow.rng.integers(-9, 9, factor.shape) if self.chance(0.5) else None
        factor = np.maximum(1, factor >> max(0, 14 - shift)).astype(np.int32)
        (y,) = grow.add("relay", Rescale(factor, shift, -limit, limit, offset), x)
        return y

    def membranes(self, x: str) -> str:
        """A residual path that carries membranes: two additions, each clipped, and neurons that read both."""
        grow = self.grow
        channels, _ = grow.shape(x)
        path = self.relay(grow.add("start", Conv1d(grow.weights((channels, channels, 1))), x)[0])
        for _ in range(2):
            y = grow.add("branch", Conv1d(grow.weights((channels, channels, 1))), self.fire(path))[0]
            (added,) = grow.add("membranes", Add(), path, self.relay(y))
            (path,) = grow.add("clip", Rescale(np.ones((), np.int32), 0, -900, 900), added)
        return self.fire(path)

    def block(self, x: str) -> str:
        """A transformer block on tokens [channels, positions]; the residual adds spikes."""
        grow = self.grow
        channels, _ = grow.shape(x)
        masks = (self.spike_driven, self.by_queries)
        products = self.programs and not self.rings  # resonators do not wait for slots
        form = self.pick(*masks, self.scores, self.memory) if products else self.pick(*masks)
        attended = form(*self.heads(x))
        if grow.builder.types[attended].kind.hi == 1 and self.chance(0.5):
            project = Conv1d(grow.weights((channels, channels, 1)))
        else:
            attended = self.fire(attended, "attn")
            project = Conv1d(grow.weights((channels, channels, 1)))
        (x,) = grow.add("residual", Add(), x, self.fire(*grow.add("proj", project, attended)))
        (turned,) = grow.add("turn", Transpose((1, 0)), x)
        hidden = self.fire(*grow.add("fc1", Linear(grow.weights((6, channels))), turned))
        hidden = self.fire(*grow.add("fc2", Linear(grow.weights((channels, 6))), hidden))
        return grow.add("residual", Add(), x, *grow.add("turn", Transpose((1, 0)), hidden))[0]

    def heads(self, x: str) -> tuple[str, str, str]:
        """q, k and v as [heads, positions, width], from one projection or from three."""
        grow = self.grow
        channels, positions = grow.shape(x)
        if self.chance(0.5):
            (qkv,) = grow.add("qkv", Conv1d(grow.weights((3 * channels, channels, 1))), x)
            (parts,) = grow.add("heads", Reshape((6, channels // 2, positions)), self.fire(qkv))
            split = grow.add("split", Split(0, (2, 2, 2)), parts)
        else:
            fired = [self.fire(*grow.add(n, Conv1d(grow.weights((channels, channels, 1))), x)) for n in "qkv"]
            split = tuple(grow.add("heads", Reshape((2, channels // 2, positions)), y)[0] for y in fired)
        q, k, v = (grow.add("turn", Transpose((0, 2, 1)), y)[0] for y in split)
        return q, k, v

    def scores(self, q: str, k: str, v: str) -> str:
        """(q k') v."""
        (turned,) = self.grow.add("turn", Transpose((0, 2, 1)), k)
        (scores,) = self.grow.add("scores", MatMul(), q, turned)
        return self.merge(*self.grow.add("mix", MatMul(), scores, v))

    def memory(self, q: str, k: str, v: str) -> str:
        """q (k' v)."""
        (turned,) = self.grow.add("turn", Transpose((0, 2, 1)), k)
        (memory,) = self.grow.add("memory", MatMul(), turned, v)
        return self.merge(*self.grow.add("mix", MatMul(), q, memory))

    def spike_driven(self, q: str, k: str, v: str) -> str:
        """SDSA: the fired sums of k and v over tokens are a mask for q."""
        grow = self.grow
        heads, positions, width = grow.shape(q)
        (both,) = grow.add("both", Mul(), k, v)
        (sums,) = grow.add("sums", ReduceSum((1,)), both)
        (mask,) = grow.add("mask", Reshape((heads, 1, width)), self.fire(sums, "mask"))
        if self.chance(0.5):
            (mask,) = grow.add("wide", Broadcast((heads, positions, width)), mask)
        return self.merge(*grow.add("masked", Mul(), q, mask))

    def by_queries(self, q: str, k: str, v: str) -> str:
        """QK attention: tokens whose query sum fires pass their key."""
        grow = self.grow
        heads, positions, _ = grow.shape(q)
        (sums,) = grow.add("sums", ReduceSum((2,)), q)
        (mask,) = grow.add("mask", Reshape((heads, positions, 1)), self.fire(sums, "mask"))
        return self.merge(*grow.add("masked", Mul(), mask, k))

    def merge(self, y: str) -> str:
        heads, positions, width = self.grow.shape(y)
        (y,) = self.grow.add("turn", Transpose((0, 2, 1)), y)
        return self.grow.add("merge", Reshape((heads * width, positions)), y)[0]

    def head(self, x: str) -> str:
        (total,) = self.grow.add("total", ReduceSum((1,)), x)
        fires = self.chance(0.2)
        weight = self.grow.weights((3, self.grow.shape(total)[0]), 4 if fires else 8)
        (head,) = self.grow.add("head", Linear(weight, self.grow.rng.integers(-50, 50, 3)), total)
        self.biased |= {head}
        if fires:
            return self.fire(head)
        if self.chance(0.5):
            return head
        summed = self.grow.advance("sum", Accumulate(len(self.grow.frames)), head)
        if self.chance(0.6):
            return summed
        return self.grow.add("answer", Linear(self.grow.weights((4, 3), 4)), summed)[0]
