"""Pooling."""

from __future__ import annotations

from spikeloom.compiler.frontends.torch.lowering import Call, Lowering, NoCounterpartError, Operand, rule
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d


@rule("max_pool2d")
def max_pool2d(lower: Lowering, call: Call) -> Operand:
    """The largest value in each window."""
    arguments = call.arguments
    if arguments["ceil_mode"] or set(arguments["dilation"]) != {1}:
        raise NoCounterpartError("it rounds up or is dilated")
    kernel = _pair(arguments["kernel_size"])
    stride = _pair(arguments["stride"] or kernel)
    return lower.emit(call, MaxPool2d(kernel, stride, _pair(arguments["padding"])), call.value("self"))[0]


def _pair(values: list[int] | tuple[int, ...]) -> tuple[int, int]:
    first, *rest = values
    return first, rest[0] if rest else first
