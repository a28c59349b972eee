"""Convolutions and linear maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spikeloom.compiler.frontends.nir.export.saying import (
    Details,
    NotSayableError,
    Rule,
    Said,
    described,
    narrowed,
    number,
    parameter,
)
from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Op
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.linear import Linear


def _say_linear(op: Linear, inputs: tuple[Type, ...]) -> Said:
    if len(inputs[0].shape) != 1:
        raise NotSayableError("a linear map of several tokens")
    details: Details = {"weight": described(op.weight)}
    if op.bias is None:
        return Said({"": NirNode("Linear", {"weight": number(op.weight)})}, details=details)
    details["bias"] = described(op.bias)
    parameters = {"weight": number(op.weight), "bias": number(op.bias)}
    return Said({"": NirNode("Affine", parameters)}, details=details)


def _restore_linear(nodes: Mapping[str, NirNode], details: Details) -> Op:
    return Linear(*_weights(nodes[""], details))


def _say_convolution(op: Convolution, inputs: tuple[Type, ...]) -> Said:
    details: Details = {"weight": described(op.weight)}
    bias = np.zeros(len(op.weight), np.int32) if op.bias is None else op.bias
    if op.bias is not None:
        details["bias"] = described(op.bias)
    space = inputs[0].shape[1:]
    parameters = {
        "input_shape": np.int64(space[0]) if op.axes == 1 else np.array(space),
        "weight": number(op.weight),
        "bias": number(bias),
        "groups": np.int64(op.groups),
        **{
            name: np.int64(values[0]) if op.axes == 1 else np.array(values)
            for name, values in (("stride", op.stride), ("padding", op.padding), ("dilation", op.dilation))
        },
    }
    return Said({"": NirNode(f"Conv{op.axes}d", parameters)}, details=details)


def _restore_convolution(nodes: Mapping[str, NirNode], details: Details) -> Op:
    node = nodes[""]
    weight, bias = _weights(node, details)
    stride, padding, dilation = (
        tuple(int(size) for size in np.atleast_1d(parameter(node, name)))
        for name in ("stride", "padding", "dilation")
    )
    kind = Conv1d if node.type == "Conv1d" else Conv2d
    return kind(weight, bias, stride, padding, dilation, int(parameter(node, "groups")))


def _weights(node: NirNode, details: Details) -> tuple[np.ndarray, np.ndarray | None]:
    weight = narrowed(parameter(node, "weight"), details["weight"])
    return weight, narrowed(parameter(node, "bias"), details["bias"]) if "bias" in details else None


LINEAR = Rule(_say_linear, _restore_linear)
CONVOLUTION = Rule(_say_convolution, _restore_convolution)
