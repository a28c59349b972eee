"""What the operations of an integer graph without parameters compute, in PyTorch, over all time steps."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.count_code import CountCode
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.divide import Divide
from spikeloom.compiler.graph.ops.embedding import Embedding
from spikeloom.compiler.graph.ops.gated_state import GatedState
from spikeloom.compiler.graph.ops.integer_key_value import SHARE_BITS, WEIGHT_LIMIT, IntegerKeyValue
from spikeloom.compiler.graph.ops.integer_norm import IntegerNorm
from spikeloom.compiler.graph.ops.leaky_sum import KEEP_ONE, LeakySum
from spikeloom.compiler.graph.ops.linear_state import LinearState
from spikeloom.compiler.graph.ops.lookup import Lookup
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron, is_dense
from spikeloom.compiler.graph.ops.reduce_max import ReduceMax
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.resonator import DECAY_ONE, Resonator
from spikeloom.compiler.graph.ops.sigma_delta import STATE_LIMIT, WRAP, SigmaDelta
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.step_rescale import StepRescale
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.ops.upsample2d import Upsample2d
from spikeloom.compiler.training.products import multiply
from spikeloom.compiler.training.rounding import straight_through
from spikeloom.compiler.training.surrogate import steep_sigmoid
from spikeloom.errors import UnsupportedError


@singledispatch
def execute(op: Op, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Execute an operation on values [T, B, ...] of all time steps, from a fresh state.

    Integers stand in float32 or float64, each exactly; gradients pass through every rounding.

    Raises:
        UnsupportedError: SL0501, the operation has no form that passes gradients.
    """
    raise UnsupportedError.of("SL0501", op.name, "has no form that passes gradients")


def executable() -> frozenset[str]:
    """Names of the operations that :func:`execute` knows."""
    return frozenset(
        name for kind in execute.registry if (name := getattr(kind, "name", "")) and kind is not Op
    )


def _constant(array: Array, like: Tensor) -> Tensor:
    return torch.from_numpy(np.array(array, np.float64)).to(like.device)


@execute.register
def _(op: Add, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    return (a.double() + b.double(),)


@execute.register
def _(op: Mul, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    return (a.double() * b.double(),)


@execute.register
def _(op: MatMul, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    return (multiply(a, b),)


@execute.register
def _(op: ReduceSum, x: Tensor) -> tuple[Tensor, ...]:
    return (x.double().sum([axis + 2 for axis in op.axes]),)


@execute.register
def _(op: MaxPool2d, x: Tensor) -> tuple[Tensor, ...]:
    pooled = functional.max_pool2d(x.flatten(0, 1), op.kernel, op.stride, op.padding)
    return (pooled.reshape(*x.shape[:2], *pooled.shape[1:]),)


@execute.register
def _(op: Upsample2d, x: Tensor) -> tuple[Tensor, ...]:
    return (x.repeat_interleave(op.scale[0], 3).repeat_interleave(op.scale[1], 4),)


@execute.register
def _(op: Reshape, x: Tensor) -> tuple[Tensor, ...]:
    return (x.reshape(*x.shape[:2], *op.shape),)


@execute.register
def _(op: Transpose, x: Tensor) -> tuple[Tensor, ...]:
    return (x.permute(0, 1, *(axis + 2 for axis in op.order)),)


@execute.register
def _(op: Split, x: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.split(x, list(op.sizes), op.axis + 2))


@execute.register
def _(op: Concat, *inputs: Tensor) -> tuple[Tensor, ...]:
    return (torch.cat([x.double() for x in inputs], op.axis + 2),)


@execute.register
def _(op: Broadcast, x: Tensor) -> tuple[Tensor, ...]:
    return (x.expand(*x.shape[:2], *op.shape),)


@execute.register
def _(op: Slice, x: Tensor) -> tuple[Tensor, ...]:
    return (x[(*(slice(None),) * (op.axis + 2), slice(op.start, op.stop, op.step))],)


@execute.register
def _(op: Pad, x: Tensor) -> tuple[Tensor, ...]:
    pairs = list(zip(op.before, op.after, strict=True))
    return (functional.pad(x, [width for pair in reversed(pairs) for width in pair], value=op.value),)


@execute.register
def _(op: Accumulate, x: Tensor) -> tuple[Tensor, ...]:
    return (x.double().cumsum(0),)


@execute.register
def _(op: LeakySum, x: Tensor) -> tuple[Tensor, ...]:
    bias = torch.zeros((), dtype=torch.float64) if op.bias is None else _constant(op.bias, x)
    total = torch.zeros_like(x[0], dtype=torch.float64)
    totals = []
    for now in x.double() * 2**op.fraction_bits:
        left = total * (op.keep / KEEP_ONE)
        total = straight_through(left, left.detach().trunc()) + now + bias
        totals.append(total)
    return (torch.stack(totals),)


@execute.register
def _(op: LinearState, x: Tensor) -> tuple[Tensor, ...]:
    matrix, gain = _constant(op.matrix, x), _constant(op.gain, x)
    bias = torch.zeros((), dtype=torch.float64) if op.bias is None else _constant(op.bias, x)
    m = torch.zeros_like(x[0], dtype=torch.float64)
    states = []
    for now in x.double() * gain + bias:
        moved = m @ matrix.T + now
        whole = ((moved.detach() + op.half) / 2**op.shift).floor()
        m = straight_through(moved / 2**op.shift, whole).clamp(-op.limit, op.limit)
        states.append(m)
    return (torch.stack(states),)


@execute.register
def _(op: GatedState, gate: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    m = torch.zeros_like(x[0], dtype=torch.float64)
    states = []
    for kept, now in zip(gate.double(), x.double(), strict=True):
        smooth = kept * m / 2**op.shift
        whole = ((kept * m).detach() + op.half).div(2**op.shift).floor()
        m = (straight_through(smooth, whole) + now).clamp(-op.limit, op.limit)
        states.append(m)
    return (torch.stack(states),)


@execute.register
def _(op: SigmaDelta, x: Tensor) -> tuple[Tensor, ...]:
    """A message has the slope of the change that it sends; a change that is not sent has none."""
    bias = _constant(op.bias, x)
    sigma = sent = torch.zeros_like(x[0], dtype=torch.float64)
    messages = []
    turns = ((x.detach().double() + WRAP // 2) / WRAP).floor()
    for arrived in (x.double() - turns * WRAP) * 2**op.input_shift:
        sigma = (sigma + arrived).clamp(-STATE_LIMIT, STATE_LIMIT) if op.integrates else arrived
        active = (sigma + bias).clamp(min=0) if op.rectifies else sigma + bias
        change = active - sent
        message = change * (change.detach().abs() >= op.threshold)
        sent = sent + message
        smooth = message / 2**op.output_shift
        messages.append(straight_through(smooth, smooth.detach().floor()).clamp(-op.limit, op.limit))
    return (torch.stack(messages),)


@execute.register
def _(op: RecurrentNeuron, x: Tensor) -> tuple[Tensor, ...]:
    weight, bias, theta = (_constant(array, x) for array in (op.weight, op.bias, op.theta[0]))
    reset_by = None if op.reset_by is None else _constant(op.reset_by, x)
    keep, current_keep = (DECAY_ONE - decay for decay in (op.decay, op.neuron.current_decay or 0))
    v = u = torch.zeros_like(x[0], dtype=torch.float64)
    spikes = [v] * op.wait
    for arrived in x.double():
        back = spikes[-op.wait]
        back = back @ weight.T if is_dense(op.weight, back.ndim - 1) else back * weight
        drive = (arrived + back) * 2**op.fraction_bits
        u = drive if op.current_decay is None else _faded(u, current_keep) + drive
        v = _faded(v, keep) + u + bias
        s = _fired(v - theta - 1, 2.0**-op.fraction_bits)
        v = v * (1 - s) if reset_by is None else v - s * reset_by
        spikes.append(s)
    return (torch.stack(spikes[op.wait :]),)


@execute.register
def _(op: Resonator, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    unit, limit = 2.0**-op.fraction_bits, 2**23 - 1
    real = imag = torch.zeros_like(x[0], dtype=torch.float64)
    spikes = []
    for first, second in zip(x.double() / unit, y.double() / unit, strict=True):
        before = imag
        turned = _faded(real, op.cosine) - _faded(imag, op.sine) + first
        imag = (_faded(real, op.sine) + _faded(imag, op.cosine) + second).clamp(-limit, limit)
        real = turned.clamp(-limit, limit)
        if op.by_phase:
            s = _fired(real - op.threshold, unit) * ((imag >= 0) & (before < 0)).detach()
        else:
            s = _fired(imag - op.threshold, unit)
            real, imag = real * (1 - s), imag * (1 - s) + (op.threshold - 1) * s
        spikes.append(s)
    return (torch.stack(spikes),)


def _faded(state: Tensor, parts: int) -> Tensor:
    """So many of 4096 parts of a state, rounded toward zero."""
    left = state * (parts / DECAY_ONE)
    return straight_through(left, left.detach().trunc())


def _fired(over: Tensor, unit: float) -> Tensor:
    """1 where a potential is not below its threshold, with the gradient of a steep sigmoid."""
    return straight_through(steep_sigmoid(over * unit), (over.detach() >= 0).double())


@execute.register
def _(op: StepRescale, x: Tensor) -> tuple[Tensor, ...]:
    of_step = np.minimum(np.arange(len(x)), len(op.factor) - 1)
    factor, offset = (_shaped(_constant(constant[of_step], x), x.ndim) for constant in (op.factor, op.offset))
    smooth = x.double() * factor
    moved = straight_through(smooth / 2**op.shift, ((smooth.detach() + op.half) / 2**op.shift).floor())
    return ((moved + offset).clamp(op.lo, op.hi),)


def _shaped(constants: Tensor, rank: int) -> Tensor:
    """Constants [T, ...] against values [T, B, ...] of so many axes."""
    own = constants.shape[1:]
    return constants.reshape(len(constants), *(1,) * (rank - 1 - len(own)), *own)


@execute.register
def _(op: Delay, x: Tensor) -> tuple[Tensor, ...]:
    steps = np.broadcast_to(op.steps, tuple(x.shape[2:]))
    late = torch.zeros_like(x)
    for steps_late in np.unique(steps):
        chosen = torch.from_numpy(steps == steps_late).to(x.device)
        late = torch.where(chosen, _later(x, int(steps_late)), late)
    return (late,)


@execute.register
def _(op: TimeWindow, x: Tensor) -> tuple[Tensor, ...]:
    taps = [_later(x, tap * op.dilation) for tap in reversed(range(op.size))]
    return (torch.cat(taps, op.axis + 2),)


@execute.register
def _(op: TimeGate, x: Tensor) -> tuple[Tensor, ...]:
    now = torch.arange(len(x), device=x.device)
    is_open = (now >= op.start) & (now < op.start + op.steps)
    return (x * is_open.reshape(-1, *(1,) * (x.ndim - 1)),)


def _later(x: Tensor, steps: int) -> Tensor:
    """Values [T, ...] so many steps later; 0 before anything has arrived."""
    if steps == 0:
        return x
    kept = x[: max(0, len(x) - steps)]
    return torch.cat([torch.zeros_like(x[: len(x) - len(kept)]), kept])


@execute.register
def _(op: Divide, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    smooth = (a.double() * 2.0**op.shift / b.double().clamp(min=1)).clamp(-op.limit, op.limit)
    return (straight_through(smooth, _exactly(op, a, b)),)


@execute.register
def _(op: CountCode, x: Tensor, threshold: Tensor) -> tuple[Tensor, ...]:
    smooth = x.double() * 2.0**op.shift / threshold.double().clamp(min=1)
    return (straight_through(smooth, smooth.detach().round()).clamp(-op.levels, op.levels),)


@execute.register
def _(op: IntegerNorm, x: Tensor) -> tuple[Tensor, ...]:
    wide = x.double()
    apart = wide - wide.mean(-1, keepdim=True) if op.centred else wide
    root = (apart.square().sum(-1, keepdim=True) + op.added).sqrt()
    smooth = apart * (op.gain(x.shape[-1]) / 2**op.EXTRA) / root
    return (straight_through(smooth, _exactly(op, x)),)


@execute.register
def _(op: Lookup, x: Tensor) -> tuple[Tensor, ...]:
    """Between the entries, a straight line from the one before to the one after."""
    wide = x.double()
    place = (wide.detach() - op.lo).clamp(0, len(op.table) - 1).long()
    slope = _constant(np.gradient(op.table.astype(np.float64)) if len(op.table) > 1 else np.zeros(1), x)
    inside = wide.clamp(op.lo, op.lo + len(op.table) - 1)
    return (straight_through(inside * slope[place], _exactly(op, x)),)


@execute.register
def _(op: ReduceMax, x: Tensor) -> tuple[Tensor, ...]:
    return (x.amax(op.axis + 2, keepdim=True),)


@execute.register
def _(op: Embedding, x: Tensor) -> tuple[Tensor, ...]:
    """A row has no slope along the numbers of the tokens."""
    return (_constant(op.weight[x.detach().long().cpu().numpy()], x),)


@execute.register
def _(op: IntegerKeyValue, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """Between the rounded shares, the slope of the mean in the shares and in the values."""
    share, growth = _constant(op.share, k), _constant(op.growth, k)
    decay, bonus = _constant(op.decay, k), _constant(op.bonus, k)
    slope = _constant(np.gradient(op.share.astype(np.float64)) if len(op.share) > 1 else np.zeros(1), k)

    def moved(m: Tensor, v: Tensor, d: Tensor) -> Tensor:
        inside = d.clamp(-op.reach, op.reach)
        place = (inside.detach() + op.reach).long()
        taken = straight_through(inside * slope[place], share[place])
        smooth = m + (v - m) * taken / 2**SHARE_BITS
        exact = (m + torch.floor(((v - m) * share[place] + 2 ** (SHARE_BITS - 1)) / 2**SHARE_BITS)).detach()
        return straight_through(smooth, exact)

    m = torch.zeros_like(k[0], dtype=torch.float64)
    left = torch.full_like(m, -WEIGHT_LIMIT)
    seen = []
    for key, value in zip(k.double(), v.double(), strict=True):
        seen.append(moved(m, value, key + bonus - left))
        faded = left + decay
        apart = (key - faded).detach().abs().clamp(max=op.reach).long()
        m = moved(m, value, key - faded)
        left = (torch.maximum(faded, key) + growth[apart]).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)
    return (torch.stack(seen),)


def _exactly(op: Op, *inputs: Tensor) -> Tensor:
    """What the operation's own definition gives, in float64."""
    arrays = [x.detach().flatten(0, 1).cpu().numpy().astype(np.int64) for x in inputs]
    (result,) = op.evaluate(*arrays)
    exact = torch.from_numpy(np.asarray(result, np.float64)).to(inputs[0].device)
    return exact.reshape(*inputs[0].shape[:2], *exact.shape[1:])
