"""Sums, delays, flattening, and the largest of spikes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from spikeloom.compiler.frontends.nir.export.saying import (
    Details,
    NotSayableError,
    Rule,
    Said,
    described,
    full,
    narrowed,
    parameter,
)
from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.op import Op
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.reshape import Reshape


def _say_add(op: Add, inputs: tuple[Type, ...]) -> Said:
    """Several edges into a node add up; the node keeps the sum's name. NIR refuses one edge twice."""
    a, b = inputs
    if a.shape != b.shape:
        raise NotSayableError("a sum that repeats an operand along an axis")
    return Said({"": NirNode("Scale", {"scale": np.ones(a.shape, np.float32)})})


def _restore_add(nodes: Mapping[str, NirNode], details: Details) -> Op:
    return Add()


def _say_delay(op: Delay, inputs: tuple[Type, ...]) -> Said:
    delay = full(op.steps, inputs[0].shape).astype(np.float64)
    details: Details = {"steps": described(op.steps), "balances": op.balances}
    return Said({"": NirNode("Delay", {"delay": delay})}, details=details)


def _restore_delay(nodes: Mapping[str, NirNode], details: Details) -> Op:
    return Delay(narrowed(parameter(nodes[""], "delay"), details["steps"]), details["balances"])


def _say_max_pool(op: MaxPool2d, inputs: tuple[Type, ...]) -> Said:
    """The largest of spikes is whether their sum is above 0."""
    (x,) = inputs
    if x.kind != SPIKES:
        raise NotSayableError("the largest of values that are no spikes")
    geometry = {"kernel_size": op.kernel, "stride": op.stride, "padding": op.padding}
    pooled = NirNode("SumPool2d", {name: np.array(value) for name, value in geometry.items()})
    (y,) = op.infer(x)
    above = NirNode("Threshold", {"threshold": np.full(y.shape, 0.5, np.float32)})
    return Said({".sum": pooled, "": above}, ((".sum", ""),), (".sum",))


def _restore_max_pool(nodes: Mapping[str, NirNode], details: Details) -> Op:
    kernel, stride, padding = (
        tuple(int(size) for size in parameter(nodes[".sum"], name))
        for name in ("kernel_size", "stride", "padding")
    )
    return MaxPool2d(kernel, stride, padding)


def _say_reshape(op: Reshape, inputs: tuple[Type, ...]) -> Said:
    shape = inputs[0].shape
    for start in range(len(shape)):
        for end in range(start + 1, len(shape)):
            if (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :]) == op.shape:
                ends = {"start_dim": np.int64(start), "end_dim": np.int64(end)}
                node = NirNode("Flatten", {**ends, "input_type": np.array(shape)})
                return Said({"": node}, details={"shape": list(op.shape)})
    raise NotSayableError(f"{list(shape)} under the shape {list(op.shape)}")


def _restore_reshape(nodes: Mapping[str, NirNode], details: Details) -> Op:
    return Reshape(tuple(details["shape"]))


ADD = Rule(_say_add, _restore_add)
DELAY = Rule(_say_delay, _restore_delay)
MAX_POOL = Rule(_say_max_pool, _restore_max_pool)
RESHAPE = Rule(_say_reshape, _restore_reshape)
