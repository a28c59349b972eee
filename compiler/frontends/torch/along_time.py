"""Operations that remember, in PyTorch: one time step of each, by the calls of eager PyTorch."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spikeloom.compiler.frontends.torch.attention import window_softmax
from spikeloom.compiler.frontends.torch.gated import fade
from spikeloom.compiler.frontends.torch.rwkv import start_key_value, step_key_value
from spikeloom.compiler.graph.op import Array, StatefulOp
from spikeloom.compiler.graph.ops.count_code import CountCode
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.gated_state import GatedState
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.linear_state import LinearState
from spikeloom.compiler.graph.ops.step_affine import StepAffine
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.weighted_key_value import WeightedKeyValue
from spikeloom.compiler.graph.ops.window_softmax import WindowSoftmax

Past = dict[str, Any]


@singledispatch
def advance(op: StatefulOp, lead: int, past: Past, *inputs: Tensor) -> Tensor:
    """One step of an operation.

    Args:
        op: which operation.
        lead: time and batch axes in front of a sample's own.
        past: what the operation remembers; empty at the start, changed in place.
        inputs: of this step.
    """
    raise TypeError(f"{op.name} does not occur in a captured graph")


def recur(matrix: Tensor, m: Tensor, driven: Tensor) -> Tensor:
    """One step A m + x of a linear memory."""
    return functional.linear(m, matrix) + driven


@advance.register
def _(op: TimeWindow, lead: int, past: Past, x: Tensor) -> Tensor:
    seen = past.setdefault("seen", [torch.zeros_like(x)] * op.longest)
    seen.append(x)
    window = torch.cat(seen[:: op.dilation], lead + op.axis)
    del seen[0]
    return window


@advance.register
def _(op: Delay, lead: int, past: Past, x: Tensor) -> Tensor:
    seen = past.setdefault("seen", [torch.zeros_like(x)] * op.longest)
    seen.append(x)
    steps = torch.from_numpy(op.steps)
    due = torch.zeros_like(x)
    for age, value in enumerate(reversed(seen)):
        due = torch.where(steps == age, value, due)
    del seen[0]
    return due


@advance.register
def _(op: TimeGate, lead: int, past: Past, x: Tensor) -> Tensor:
    step = _count(past)
    return x if op.start <= step < op.start + op.steps else torch.zeros_like(x)


@advance.register
def _(op: LinearState, lead: int, past: Past, x: Tensor) -> Tensor:
    past["m"] = recur(_constant(op.matrix), past.get("m", torch.zeros_like(x)), x * _constant(op.gain))
    return past["m"]  # type: ignore[no-any-return]


@advance.register
def _(op: StepAffine, lead: int, past: Past, x: Tensor) -> Tensor:
    step = min(_count(past), len(op.scale) - 1)
    scale, offset = op.scale[step], op.offset[step]
    scaled = x if (scale == 1).all() else x * _constant(scale)
    return scaled if (offset == 0).all() else scaled + _constant(offset)


@advance.register
def _(op: LeakySum, lead: int, past: Past, x: Tensor) -> Tensor:
    given = x if op.bias is None else x + _constant(op.bias)
    past["total"] = op.keep * past["total"] + given if "total" in past else given
    return past["total"]  # type: ignore[no-any-return]


@advance.register
def _(op: WeightedKeyValue, lead: int, past: Past, k: Tensor, v: Tensor) -> Tensor:
    state = past.get("state", start_key_value(k))
    mean, past["state"] = step_key_value(_constant(op.decay), _constant(op.bonus), k, v, state)
    return mean


@advance.register
def _(op: GatedState, lead: int, past: Past, gate: Tensor, x: Tensor) -> Tensor:
    past["m"] = fade(gate, past.get("m", torch.zeros_like(x)), x)
    return past["m"]  # type: ignore[no-any-return]


@advance.register
def _(op: WindowSoftmax, lead: int, past: Past, x: Tensor) -> Tensor:
    return window_softmax(x, op.axis + lead, _count(past) + 1)


@advance.register
def _(op: CountCode, lead: int, past: Past, x: Tensor, threshold: Tensor) -> Tensor:
    return (x / threshold).round().clamp(-op.levels, op.levels)


def _count(past: Past) -> int:
    step: int = past.get("step", 0)
    past["step"] = step + 1
    return step


def _constant(array: Array) -> Tensor:
    return torch.from_numpy(array.copy())
