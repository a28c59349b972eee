"""Random integer networks that fire, for tests in which two executions must agree.

A network with random thresholds is mostly silent and proves nothing. Here every layer is run as
soon as it is added, on the frames of the test, and its thresholds are put where a fair share of
its neurons fires; a layer that cannot be brought to fire fails the test that asked for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import Type, frame_dtype, index, levels, sums
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, StatefulOp
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.count_code import CountCode
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.divide import Divide
from spikeloom.compiler.graph.ops.embedding import Embedding
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.gated_state import GatedState
from spikeloom.compiler.graph.ops.integer_key_value import IntegerKeyValue
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.integer_norm import IntegerNorm
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.linear_state import LinearState
from spikeloom.compiler.graph.ops.lookup import Lookup
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reduce_max import ReduceMax
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.resonator import Resonator
from spikeloom.compiler.graph.ops.sigma_delta import SigmaDelta
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.step_rescale import StepRescale
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.ops.upsample2d import Upsample2d

CLOSE = 0.02  # a firing rate this near to what was aimed at will do
RATES = (0.02, 0.6)  # the share of neuron steps with a spike, of every layer of every network


@dataclass(frozen=True)
class RandomNetwork:
    """A network, frames that make it fire, and how much each neuron layer fires on them.

    Attributes:
        frames: [steps, batch, ...], uint8 but for tokens.
        rates: share of neuron steps with a spike, by layer.
    """

    graph: Graph
    frames: Array
    rates: dict[str, float]


@dataclass(frozen=True)
class NeuronStyle:
    """What is fixed of a neuron layer before its thresholds are found."""

    decay: int = 2048
    current_decay: int | None = None
    soft: bool = False
    levels: int = 1
    fraction_bits: int = 6
    axes: int = 1  # thresholds differ along this many leading axes
    horizon: int = 0


@dataclass
class Grower:
    """Builds a graph and runs it on its frames while it grows.

    Attributes:
        frames: uint8 [steps, batch, ...]; tokens are of the type that their number needs.
        high: the largest number that a frame may hold.
        rate: firing rate that thresholds aim at.
        tokens: how many there are; 0 if frames hold none.
    """

    name: str
    frames: Array
    rng: np.random.Generator
    high: int = 1
    rate: float = 0.2
    rates: dict[str, float] = field(default_factory=dict)
    tokens: int = 0

    def __post_init__(self) -> None:
        self.builder = GraphBuilder(self.name, Stage.INTEGER, "onnx")
        kind = index(self.tokens) if self.tokens else levels(self.high)
        self.x = self.builder.input("frames", Type(self.frames.shape[2:], kind))
        self._values: dict[str, Array] = {self.x: self.frames.astype(np.int64)}

    def add(self, name: str, op: Op, *inputs: str) -> tuple[str, ...]:
        """Append an operation without state."""
        outputs = self.builder.add(self.builder.unique(name), op, *inputs)
        folded = [self._values[x].reshape(-1, *self._values[x].shape[2:]) for x in inputs]
        for output, value in zip(outputs, op.evaluate(*folded), strict=True):
            self._values[output] = value.reshape(*self.frames.shape[:2], *value.shape[1:])
        return outputs

    def advance(self, name: str, op: StatefulOp, *inputs: str) -> str:
        """Append an operation with state, and run it from its start."""
        (output,) = self.builder.add(self.builder.unique(name), op, *inputs)
        self._values[output] = self._advanced(op, inputs)
        return output

    def tuned(self, name: str, op_of: Callable[[int], StatefulOp], *inputs: str) -> str | None:
        """Append a layer whose threshold is a power of two at which it fires; None if it does at none."""
        for exponent in range(22):
            op = op_of(2**exponent)
            spikes = self._advanced(op, inputs)
            if self._fires(spikes):
                (output,) = self.builder.add(self.builder.unique(name), op, *inputs)
                self._values[output] = spikes
                self.rates[output] = float((spikes > 0).mean())
                return output
        return None

    def _advanced(self, op: StatefulOp, inputs: tuple[str, ...]) -> Array:
        initial = op.initial(*(self.builder.types[x] for x in inputs))
        batch = self.frames.shape[1]
        state = {key: np.broadcast_to(value, (batch, *value.shape)) for key, value in initial.items()}
        steps = []
        for values in zip(*(self._values[x] for x in inputs), strict=True):
            (y,), state = op.step(values, state)
            steps.append(y)
        return np.stack(steps)

    def shape(self, value: str) -> tuple[int, ...]:
        return self.builder.types[value].shape

    def value(self, name: str) -> Array:
        """What a value holds on the frames, [steps, batch, ...]."""
        return self._values[name]

    def neuron(self, x: str, *styles: NeuronStyle, name: str = "lif") -> str:
        """Append a neuron layer that fires at about ``rate``, in the first style that can be made to."""
        drive = self._values[x]
        attempts = [(style, lift) for style in styles for lift in ("mean", "zero", "one")]
        for style, lift in attempts:
            op, spikes = self._calibrated(style, drive, lift)
            if self._fires(spikes) and self._holds(op, x):
                break
        (output,) = self.builder.add(self.builder.unique(name), op, x)
        self._values[output] = spikes
        self.rates[output] = float((spikes > 0).mean())
        return output

    def _fires(self, spikes: Array) -> bool:
        return bool(RATES[0] <= (spikes > 0).mean() <= RATES[1])

    def _holds(self, op: IntegerNeuron | EquationNeuron, x: str) -> bool:
        """Whether the potential is proved to stay within its width."""
        try:
            op.infer(self.builder.types[x])
        except RuleBrokenError:
            return False
        return True

    def _calibrated(self, style: NeuronStyle, drive: Array, lift: str) -> tuple[IntegerNeuron, Array]:
        """A neuron layer and its spikes; the bias removes the mean, is zero, or is one unit of input.

        A trained batch norm removes the mean; where spikes are rare it would silence the layer.
        """
        shape = (*drive.shape[2 : 2 + style.axes], *(1,) * (drive.ndim - 2 - style.axes))
        rest = tuple(range(2 + style.axes, drive.ndim))
        mean = drive.mean((0, 1, *rest), keepdims=True)[0, 0]
        bias = {"mean": -mean, "zero": 0 * mean, "one": 0 * mean + 1}[lift] * 2**style.fraction_bits
        op = self._calibrate(style, drive, self.rng.uniform(0.7, 1.4, shape), bias.astype(np.int64))
        return op, _run(op, drive)

    def _calibrate(self, style: NeuronStyle, drive: Array, spread: Array, bias: Array) -> IntegerNeuron:
        """Bisect the thresholds for the firing rate; equal neurons can only come near it."""

        def excess(base: float) -> float:
            return float((_run(_style(style, base * spread, bias), drive) > 0).mean()) - self.rate

        low, high = 0.0, float(2 ** (style.fraction_bits + 1) * (np.abs(drive).max() + 1) * len(drive))
        best, least = 0.0, 2.0
        base = 2**style.fraction_bits * float(np.quantile(np.abs(drive - drive.mean()), 1 - self.rate)) + 1
        for _ in range(18):
            over = excess(base)
            useful = RATES[0] <= over + self.rate <= RATES[1]
            if abs(over) + (not useful) < least:
                best, least = base, abs(over) + (not useful)
            if least < CLOSE:
                break
            low, high = (base, high) if over > 0 else (low, base)
            base = (low + high) / 2 if low and high < 4 * low else max(2 * low, high / 4)
        return _style(style, best * spread, bias)

    def declared(self, x: str, choice: int, name: str = "own") -> str | None:
        """Append a neuron layer with declared equations; None if no gain makes it fire at about the rate."""
        drive = self._values[x]
        for exponent in range(12):
            gain = 2.0 ** (FRACTION_BITS - exponent) / max(1.0, float(np.abs(drive).max()))
            op = _declared(choice, gain)
            spikes = _run(op, drive)
            if self._fires(spikes) and self._holds(op, x):
                (output,) = self.builder.add(self.builder.unique(name), op, x)
                self._values[output] = spikes
                self.rates[output] = float((spikes > 0).mean())
                return output
        return None

    def finish(self, output: str) -> RandomNetwork:
        """The network, if every layer fires.

        Raises:
            AssertionError: a layer is silent, or fires all the time.
        """
        self.builder.output(output)
        odd = {name: rate for name, rate in self.rates.items() if not RATES[0] <= rate <= RATES[1]}
        assert not odd, f"{self.name}: these layers fire too little or too much: {odd}"
        return RandomNetwork(self.builder.build(), self.frames, dict(self.rates))

    def weights(self, shape: tuple[int, ...], bits: int = 8) -> NDArray[np.int8]:
        largest = 2 ** (bits - 1) - 1
        return self.rng.integers(-largest, largest + 1, shape).astype(np.int8)


def _style(style: NeuronStyle, base: Array, bias: Array) -> IntegerNeuron:
    steps = np.arange(1, style.levels + 1) * 2 - 1
    theta = np.rint(steps.reshape(-1, *(1,) * base.ndim) * base).astype(np.int64)
    reset_by = np.rint(base * 2 if style.levels > 1 else base).astype(np.int64) + 1 if style.soft else None
    return IntegerNeuron(
        theta,
        bias,
        style.decay,
        style.fraction_bits,
        current_decay=style.current_decay,
        reset="soft" if style.soft else "hard",
        reset_by=reset_by,
        horizon=style.horizon,
    )


def _run(op: IntegerNeuron | EquationNeuron, drive: Array) -> Array:
    """Spikes [steps, batch, ...] from the start."""
    kind = Type(drive.shape[1:], sums(0, 1))
    state = op.initial(kind)
    spikes = []
    for x in drive:
        (s,), state = op.step((x,), state)
        spikes.append(s)
    return np.stack(spikes)


FRACTION_BITS = 12
DECLARED: tuple[tuple[tuple[str, ...], tuple[str, ...], str, tuple[str, ...]], ...] = (
    (("v = 0", "a = 0"), ("v = 0.5 * v + 8 * x",), "v >= 1 + 0.5 * a", ("v = v - s", "a = 0.9 * a + s")),
    (("d = 0", "v = 0"), ("d = 0.7 * d + 4 * x", "v = v + (d - v) / 3"), "v > 0.7", ("v = where(s, 0, v)",)),
    (("p = 0", "q = 0"), ("h = 8 * x + 2 * p - q", "q = p", "p = x"), "round_half_even(h, 3)", ()),
)  # fmt: skip
"""An adaptive threshold, two compartments, a sliding window with graded spikes."""


def _declared(choice: int, gain: float) -> EquationNeuron:
    shift = 16
    factor = np.array(round(gain * 2**shift))
    equations = DECLARED[choice % len(DECLARED)]
    bits, limit, none = FRACTION_BITS, 2**22 - 1, np.zeros((), np.int64)
    return EquationNeuron(*equations, fraction_bits=bits, limit=limit, gain=factor, bias=none, shift=shift)


def random_frames(
    rng: np.random.Generator, shape: tuple[int, ...], steps: int, batch: int, high: int = 1
) -> NDArray[np.uint8]:
    """Frames [steps, batch, *shape] of 0..high, sparse, and denser in some places than in others."""
    density = rng.uniform(0.05, 0.6, shape)
    active = rng.random((steps, batch, *shape)) < density
    counts: NDArray[np.uint8] = (active * rng.integers(1, high + 1, active.shape)).astype(np.uint8)
    return counts


def random_style(rng: np.random.Generator, steps: int) -> NeuronStyle:
    """Any kind of neuron; one without a leak is proved for ``steps`` steps only."""
    decay = int(rng.choice([2048, 2048, 2048, 1365, 819, 300, 3000, 4096, 0]))
    cuba = rng.random() < 0.25
    return NeuronStyle(
        decay=decay,
        current_decay=int(rng.choice([1024, 2048, 3333])) if cuba else None,
        soft=bool(rng.random() < 0.4),
        levels=int(rng.choice([1, 1, 1, 2, 4])),
        fraction_bits=int(rng.choice([6, 6, 6, 0, 3, 10])),
        axes=int(rng.integers(0, 3)),
        horizon=0 if decay else steps,
    )


def random_network(seed: int, steps: int = 6, batch: int = 2, small: bool = False) -> RandomNetwork:
    """A small network of random shape: an image, a sequence, a vector or tokens in, evidence out.

    Half of the parts are left out of a ``small`` one, which takes a third of the time to make and to run.
    """
    rng = np.random.default_rng(seed)
    kind = ("image", "image", "sequence", "vector")[seed % 4]
    high = int(rng.choice([1, 1, 3, 200]))
    size = int(rng.integers(4, 8) if small else rng.integers(8, 15))
    if seed % TOKENS_EACH == TOKENS_EACH - 1:
        return _token_network(seed, rng, steps, batch, small)
    shape = {"image": (2, size, size + 1), "sequence": (3, 4 * size), "vector": (8 * size,)}[kind]
    frames = random_frames(rng, shape, steps, batch, high)
    grower = Grower(f"random{seed}", frames, rng, high, rate=float(rng.uniform(0.08, 0.4)))
    walk = _Walk(grower, small=small)
    tokens = {"image": walk.image, "sequence": walk.sequence, "vector": walk.vector}[kind]()
    for _ in range(int(rng.integers(0, 2) if small else rng.integers(1, 3))):
        tokens = walk.block(tokens, heads=int(rng.choice([1, 2, 4])), ratio=2)
    return grower.finish(walk.readout(tokens))


TOKENS_EACH = 16
"""One random network in so many takes tokens."""


def _token_network(seed: int, rng: np.random.Generator, steps: int, batch: int, small: bool) -> RandomNetwork:
    """A network of tokens that one, two or four bytes hold."""
    tokens = (300, 70_000, 50, 5000)[seed // TOKENS_EACH % 4]
    drawn: Array = rng.integers(0, tokens, (steps, batch, int(rng.integers(1, 4))))
    drawn.flat[0] = tokens - 1
    frames = drawn.astype(frame_dtype(index(tokens)))
    grower = Grower(f"random{seed}", frames, rng, rate=float(rng.uniform(0.08, 0.4)), tokens=tokens)
    walk = _Walk(grower, small=small)
    value = walk.words()
    if not small or walk.chance(0.5):
        value = walk.block(value, heads=int(rng.choice([1, 2, 4])), ratio=2)
    return grower.finish(walk.readout(value))


def spikformer(
    seed: int, size: int = 32, dim: int = 384, depth: int = 4, heads: int = 12, steps: int = 4, batch: int = 1
) -> RandomNetwork:
    """The topology of Spikformer for images of ``size`` squared (Zhou et al., 2023, arXiv 2209.15425).

    With the default sizes this is Spikformer-4-384: 0.92 G multiplications and 1.45 M neurons.
    """
    rng = np.random.default_rng(seed)
    grow = Grower("spikformer", random_frames(rng, (3, size, size), steps, batch), rng, rate=0.15)
    walk = _Walk(grow, plain=True)
    x = grow.x
    for out, pools in ((dim // 8, False), (dim // 4, False), (dim // 2, True), (dim, True)):
        weight = grow.weights((out, grow.shape(x)[0], 3, 3))
        x = walk.fire(*grow.add("conv", Conv2d(weight, None, (1, 1), (1, 1), (1, 1)), x))
        x = grow.add("pool", MaxPool2d((3, 3), (2, 2), (1, 1)), x)[0] if pools else x
    weight = grow.weights((dim, dim, 3, 3))
    position = walk.fire(*grow.add("position", Conv2d(weight, None, (1, 1), (1, 1), (1, 1)), x))
    x = grow.add("residual", Add(), x, position)[0]
    x = grow.add("tokens", Reshape((dim, grow.shape(x)[1] * grow.shape(x)[2])), x)[0]
    for _ in range(depth):
        x = walk.block(x, heads, ratio=4)
    return grow.finish(walk.readout(x))


@dataclass
class _Walk:
    """Takes a grower from the input to the readout, choosing at random on the way."""

    grow: Grower
    plain: bool = False
    small: bool = False

    def takes(self, probability: float = 0.5) -> bool:
        """Whether a part is taken that only small networks do without."""
        return not self.small or self.chance(probability)

    def chance(self, probability: float) -> bool:
        return bool(self.grow.rng.random() < probability)

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.grow.rng.integers(len(choices)))]

    def fire(self, x: str, name: str = "lif") -> str:
        """A neuron layer of any style; a plain one where that cannot fire or be proved."""
        plain = (NeuronStyle(), NeuronStyle(fraction_bits=0))
        if not self.plain and self.chance(0.15):
            own = self.grow.declared(x, int(self.grow.rng.integers(3)))
            if own is not None:
                return own
        style = plain[0] if self.plain else random_style(self.grow.rng, len(self.grow.frames))
        return self.grow.neuron(x, style, *plain, name=name)

    def conv(self, x: str, op: type[Conv1d] | type[Conv2d], out: int, bits: int = 0) -> str:
        """A convolution of random geometry."""
        channels, *sizes = self.grow.shape(x)
        groups = self.pick(*(g for g in (1, 1, 2, channels) if channels % g == 0 and out % g == 0))
        kernel = tuple(self.pick(*(k for k in (1, 2, 3, 3, 5) if k <= size)) for size in sizes)
        dilation = tuple(
            self.pick(*(d for d in (1, 1, 2) if d * (k - 1) < s)) for k, s in zip(kernel, sizes, strict=True)
        )
        stride = tuple(self.pick(1, 1, 2) if size > 6 else 1 for size in sizes)
        padding = tuple(self.pick(*range(k)) for k in kernel)
        weight = self.grow.weights((out, channels // groups, *kernel), bits or self.pick(2, 4, 8, 8))
        bias = self.grow.rng.integers(-50, 50, out) if self.chance(0.3) else None
        return self.grow.add("conv", op(weight, bias, stride, padding, dilation, groups), x)[0]

    def image(self) -> str:
        """Convolutions, pools, residuals; ends as tokens [channels, positions]."""
        grow = self.grow
        x = self.conv(grow.x, Conv2d, 8)
        if self.chance(0.3):
            x = self.conv(x, Conv2d, 8, bits=3)  # weights on signed currents
        x = self.pool(x) if self.chance(0.5) else x
        x = self.fire(x)
        x = self.pool(x) if self.chance(0.5) else x
        x = self.framed(x) if self.takes() and self.chance(0.4) else x
        x = self.shortcut(x) if self.takes() else x
        height = grow.shape(x)[1]
        if height > 1 and self.chance(0.3):
            first, second = grow.add("cut", Split(1, (height // 2, height - height // 2)), x)
            x = grow.add("swap", Concat(1), second, first)[0]
        x = self.fire(self.conv(x, Conv2d, 8)) if self.takes() else x
        channels, *sizes = grow.shape(x)
        return grow.add("tokens", Reshape((channels, int(np.prod(sizes)))), x)[0]

    def shortcut(self, x: str) -> str:
        """A residual of spikes, added or beside each other, that may add currents inside."""
        grow = self.grow
        same = Conv2d(grow.weights((8, 8, 3, 3)), None, (1, 1), (1, 1), (1, 1))
        (branch,) = grow.add("conv", same, x)
        branch = self.fire(self.membranes(branch, x) if self.chance(0.4) else branch)
        joined = self.pick(grow.add("add", Add(), x, branch), grow.add("join", Concat(0), x, branch))
        return str(joined[0])

    def framed(self, x: str) -> str:
        """A larger picture, cut to its old size, with a border."""
        grow = self.grow
        _, height, width = grow.shape(x)
        (y,) = grow.add("larger", Upsample2d((2, 1)), x)
        (y,) = grow.add("part", Slice(1, 1, height + 1), y)
        (y,) = grow.add("part", Slice(2, 0, width, 1), y)
        border = int(grow.rng.integers(0, 2))
        (y,) = grow.add("border", Pad((0, 1, 0), (0, 0, 1), float(border)), y)
        return grow.add("part", Slice(2, 1, width + 1), *grow.add("part", Slice(1, 1, height + 1), y))[0]

    def membranes(self, x: str, spikes: str) -> str:
        """A residual of currents: each in a unit of its own, brought to a common one."""
        grow = self.grow
        weight = grow.weights((8, 8, 1, 1))
        (other,) = grow.add("shortcut", Conv2d(weight, None, (1, 1), (0, 0), (1, 1)), spikes)
        operands: list[str] = []
        for value in (x, other):
            factor = grow.rng.integers(-(2**14), 2**15, (8, 1, 1))
            offset = grow.rng.integers(-300, 300, (8, 1, 1)) if self.chance(0.5) else None
            rescale = Rescale(factor, int(grow.rng.integers(12, 16)), -2000, 2000, offset)
            operands += grow.add("rescaled", rescale, value)
        return grow.add("stream", Add(), *operands)[0]

    def sequence(self) -> str:
        """Convolutions along one axis; ends as tokens [channels, positions]."""
        x = self.fire(self.conv(self.grow.x, Conv1d, 8))
        x = self.timed(x) if self.chance(0.7) else x
        return self.fire(self.conv(x, Conv1d, self.pick(8, 12))) if self.takes() else x

    def timed(self, x: str) -> str:
        """Delays, a convolution along time, constants of their own at each step."""
        grow = self.grow
        channels, positions = grow.shape(x)
        delays = grow.rng.integers(0, 4, (channels, self.pick(1, positions)))
        delays[0, 0] = 3
        x = grow.advance("delay", Delay(delays), x)
        x = grow.advance("gate", TimeGate(self.pick(0, 1), self.pick(2, 9)), x) if self.chance(0.5) else x
        window = grow.advance("window", TimeWindow(self.pick(2, 3), 0, self.pick(1, 2)), x)
        x = self.conv(window, Conv1d, 8)
        factor = grow.rng.integers(2**12, 2**15, (4, 8, 1))
        offset = grow.rng.integers(-20, 20, (4, 1, 1))
        return self.fire(grow.advance("tuned", StepRescale(factor, 14, -500, 2000, offset), x))

    def words(self) -> str:
        """Rows of spikes, or of numbers, that tokens pick; ends as tokens [channels, positions]."""
        grow = self.grow
        width = int(grow.rng.integers(8, 20))
        low, high = self.pick((0, 2), (-200, 200), (-(2**15) + 1, 2**15))
        rows = grow.rng.integers(low, high, (grow.tokens, width)).astype(np.uint8 if high == 2 else np.int16)
        (x,) = grow.add("words", Embedding(rows), grow.x)
        (x,) = grow.add("in_row", Reshape((grow.shape(x)[0] * width,)), x)
        x = self.fire(*grow.add("fc", Linear(grow.weights((48, grow.shape(x)[0]), 5)), x))
        return grow.add("tokens", Reshape((8, 6)), x)[0]

    def vector(self) -> str:
        """Linear maps; ends as tokens [channels, positions]."""
        (size,) = self.grow.shape(self.grow.x)
        x = self.fire(*self.grow.add("fc", Linear(self.grow.weights((60, size))), self.grow.x))
        (x,) = self.grow.add("fc", Linear(self.grow.weights((48, 60), 5)), x)
        x = self.fire(self.remembered(x) if self.chance(0.6) else self.changing(x))
        x = self.fire(self.gated(x)) if self.chance(0.6) else x
        return self.grow.add("tokens", Reshape((8, 6)), x)[0]

    def changing(self, x: str) -> str:
        """Its changes, where they are large; summed again, rectified, and their changes."""
        bias = np.arange(self.grow.shape(x)[0]) * 9 - 200
        coded = SigmaDelta(900, bias, output_shift=1, input_shift=2, integrates=False, rectifies=False)
        y = self.grow.advance("summed", SigmaDelta(60, bias, 0), self.grow.advance("changes", coded, x))
        return self.ringing(y)

    def ringing(self, x: str) -> str:
        """Neurons whose spikes come back, and resonators, where they fire; their spikes beside the value."""
        n = self.grow.shape(x)[0]
        weight = (np.arange(n * n).reshape(n, n) * 7 % 23 - 11).astype(np.int8)
        bias = np.arange(n) - 9

        def loop(theta: int) -> StatefulOp:
            return RecurrentNeuron(weight, np.full((1, n), theta), bias, 1024, 1, 2048)

        layers = (
            self.grow.tuned("loop", loop, x),
            self.grow.tuned("rings", lambda theta: Resonator(2000, 3300, theta, 1, by_phase=True), x, x),
            self.grow.tuned("rings", lambda theta: Resonator(-1500, 3500, theta, 1), x, x),
        )
        for spikes in layers:
            x = x if spikes is None else self.grow.add("beside", Add(), x, spikes)[0]
        return x

    def gated(self, x: str) -> str:
        """What no spike drives: a norm, a gate by a table, shares of the largest."""
        grow = self.grow
        (n,) = grow.shape(x)
        (wide,) = grow.add("fc", Linear(grow.weights((n, n))), x)
        norm = IntegerNorm(8, int(grow.rng.integers(1, 99)), self.chance(0.5))
        (y,) = grow.add("norm", norm, wide)
        table = np.rint(255 / (1 + np.exp(-np.arange(-300, 301) / 100))).astype(np.int64)
        (gate,) = grow.add("gate", Lookup(-300, table), y)
        (largest,) = grow.add("largest", ReduceMax(0), gate)
        (y,) = grow.add("share", Divide(8, 400), y, largest)
        if self.chance(0.5):
            return self.fading(y)
        if self.chance(0.4):
            most = int(grow.rng.integers(1, 128))
            y = grow.tuned("counts", lambda finer: CountCode(most, finer.bit_length() - 1), y, gate) or y
        return grow.advance("kept", GatedState(8, 900), gate, y) if self.chance(0.6) else y

    def fading(self, keys: str) -> str:
        """Rows picked by tokens, and a mean of them that fades, weighted by keys."""
        grow = self.grow
        (n,) = grow.shape(keys)
        (token,) = grow.add("token", Lookup(-4, np.arange(9)), keys)
        (rows,) = grow.add("rows", Embedding(grow.rng.integers(-200, 200, (9, 3))), token)
        (values,) = grow.add("values", ReduceSum((1,)), rows)
        distance = np.arange(-90, 91) / 20
        share = np.rint(2.0**14 / (1 + np.exp(-distance))).astype(np.int64)
        growth = np.rint(20 * np.log1p(np.exp(-distance[90:]))).astype(np.int64)
        decay, bonus = grow.rng.integers(-30, 0, n), grow.rng.integers(-20, 20, n)
        return grow.advance("fading", IntegerKeyValue(decay, bonus, share, growth), keys, values)

    def remembered(self, x: str) -> str:
        """A linear memory that turns and fades."""
        grow = self.grow
        (n,) = grow.shape(x)
        turn, _ = np.linalg.qr(grow.rng.normal(size=(n, n)))
        matrix = np.rint(turn * 0.9 * 2**14).astype(np.int64)
        bias = grow.rng.integers(-(2**12), 2**12, n) if self.chance(0.5) else None
        gain = grow.rng.integers(2**13, 2**15, n)
        return grow.advance("memory", LinearState(matrix, gain, bias, 14, 2**12), x)

    def pool(self, x: str) -> str:
        """A max pool where the map is large enough for one."""
        if min(self.grow.shape(x)[1:]) < 4:
            return x
        kernel, stride, padding = self.pick((2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 0))
        return self.grow.add("pool", MaxPool2d((kernel,) * 2, (stride,) * 2, (padding,) * 2), x)[0]

    def block(self, x: str, heads: int, ratio: int) -> str:
        """A transformer block on tokens [channels, positions]; the residual adds spikes."""
        if self.takes(0.7):
            x = self.attending(x, heads)
        return self.mixing(x, ratio) if self.takes() else x

    def attending(self, x: str, heads: int) -> str:
        """Attention and its projection, beside the shortcut."""
        channels, _ = self.grow.shape(x)
        attended = self.fire(self.attention(x, heads), "attn")
        project = Conv1d(self.grow.weights((channels, channels, 1)))
        attended = self.fire(*self.grow.add("proj", project, attended))
        return self.grow.add("residual", Add(), x, attended)[0]

    def mixing(self, x: str, ratio: int) -> str:
        """Two linear maps of each token, beside the shortcut."""
        channels, _ = self.grow.shape(x)
        turned = self.grow.add("turn", Transpose((1, 0)), x)[0]
        widen = Linear(self.grow.weights((ratio * channels, channels)))
        hidden = self.fire(*self.grow.add("fc1", widen, turned))
        narrow = Linear(self.grow.weights((channels, ratio * channels)))
        back = self.fire(*self.grow.add("fc2", narrow, hidden))
        return self.grow.add("residual", Add(), x, *self.grow.add("turn", Transpose((1, 0)), back))[0]

    def attention(self, x: str, heads: int) -> str:
        """(q k') v or q (k' v) without a softmax, from [channels, positions] to the same."""
        grow = self.grow
        channels, positions = grow.shape(x)
        qkv = []
        for name in "qkv":
            weight = grow.weights((channels, channels, 1), self.pick(4, 8))
            (currents,) = grow.add(name, Conv1d(weight), x)
            spikes = self.fire(currents, name)
            parts = grow.add("heads", Reshape((heads, channels // heads, positions)), spikes)
            qkv.append(grow.add("turn", Transpose((0, 2, 1)), *parts)[0])
        q, k, v = qkv
        if not self.plain and self.chance(0.4):
            return self.masked(q, k, v)
        (turned,) = grow.add("turn", Transpose((0, 2, 1)), k)
        if self.chance(0.5):
            (y,) = grow.add("mix", MatMul(), *grow.add("score", MatMul(), q, turned), v)
        else:
            (y,) = grow.add("mix", MatMul(), q, *grow.add("memory", MatMul(), turned, v))
        (y,) = grow.add("turn", Transpose((0, 2, 1)), y)
        return grow.add("heads", Reshape((channels, positions)), y)[0]

    def masked(self, q: str, k: str, v: str) -> str:
        """Spike-driven attention: the fired sums of k and v are a mask for q."""
        grow = self.grow
        heads, positions, width = grow.shape(q)
        (sums,) = grow.add("sums", ReduceSum((1,)), *grow.add("both", Mul(), k, v))
        (mask,) = grow.add("mask", Reshape((heads, 1, width)), self.fire(sums, "mask"))
        if self.chance(0.5):
            (mask,) = grow.add("wide", Broadcast((heads, positions, width)), mask)
        (y,) = grow.add("turn", Transpose((0, 2, 1)), *grow.add("masked", Mul(), q, mask))
        return grow.add("heads", Reshape((heads * width, positions)), y)[0]

    def readout(self, x: str) -> str:
        """Sums over positions, then a linear map with a bias; perhaps summed over time."""
        (total,) = self.grow.add("total", ReduceSum((1,)), x)
        weight = self.grow.weights((10, self.grow.shape(total)[0]))
        (head,) = self.grow.add("head", Linear(weight, self.grow.rng.integers(-500, 500, 10)), total)
        if self.plain or self.chance(0.5):
            return head
        if self.chance(0.5):
            faded = LeakySum(int(self.grow.rng.integers(0, 4000)), None, self.pick(0, 6))
            return self.grow.advance("fade", faded, head)
        return self.grow.advance("sum", Accumulate(len(self.grow.frames)), head)
