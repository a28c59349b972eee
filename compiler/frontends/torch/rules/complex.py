"""Complex numbers as pairs of reals: rotations by position, as rotary embeddings write them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from spikeloom.compiler.frontends.torch.axes import OWN, NoCounterpartError
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.operands import Operand, Pairs, Value, constant_of
from spikeloom.compiler.frontends.torch.rule import Call, rule
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.split import Split


@rule("view_as_complex")
def view_as_complex(lower: Lowering, call: Call) -> Operand:
    """Pairs on the last axis."""
    x = call.value("self")
    if x.tags[-1] != OWN or x.shape[-1] != 2:
        raise NoCounterpartError("its last axis does not hold pairs")
    return Pairs(x)


@rule("view_as_real")
def view_as_real(lower: Lowering, call: Call) -> Operand:
    """The pairs again."""
    operand = call.arguments["self"]
    if not isinstance(operand, Pairs):
        raise NoCounterpartError("its operand is not complex")
    return operand.value


def rotated(lower: Lowering, call: Call, a: Operand, b: Operand) -> Pairs:
    """(x + iy)(c + is) = (xc - ys) + i(xs + yc), with a constant c + is."""
    pairs, constant = (a, b) if isinstance(a, Pairs) else (b, a)
    if not isinstance(pairs, Pairs) or not isinstance(constant, Tensor) or not constant.is_complex():
        raise NoCounterpartError("complex numbers are multiplied by something else than a complex constant")
    x = pairs.value
    seen = replace(x, shape=x.shape[:-1], spread=x.spread[:-1])
    real, imaginary = (constant_of(part, seen) for part in (constant.real, constant.imag))
    along, across = np.stack([real, real], -1), np.stack([-imaginary, imaginary], -1)
    axis = len(x.shape) - 1
    first, second = lower.emit(call, Split(axis, (1, 1)), x, lead=x.lead)
    (turned,) = lower.emit(call, Concat(axis), second, first, lead=x.lead)
    products = [_times(lower, call, value, factor) for value, factor in ((x, along), (turned, across))]
    return Pairs(lower.emit(call, Add(), *products, lead=x.lead)[0])


def _times(lower: Lowering, call: Call, x: Value, factor: object) -> Value:
    scale = np.asarray(factor, np.float32)
    return lower.emit(call, Affine(scale, np.zeros((), np.float32)), x, lead=x.lead)[0]
