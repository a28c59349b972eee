"""What is not spike-driven: functions of real numbers, normalisations, softmax."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.frontends.torch.axes import OWN, NoCounterpartError
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.operands import Masked, Operand
from spikeloom.compiler.frontends.torch.rule import Call, rule
from spikeloom.compiler.frontends.torch.rules.folding import each_element
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.divide import Divide
from spikeloom.compiler.graph.ops.elementwise import Elementwise
from spikeloom.compiler.graph.ops.layer_norm import LayerNorm
from spikeloom.compiler.graph.ops.softmax import Softmax
from spikeloom.compiler.graph.ops.weighted_key_value import WeightedKeyValue

NAMES = {
    "abs": "abs",
    "elu": "elu",
    "exp": "exp",
    "gelu": "gelu",
    "log_sigmoid": "logsigmoid",
    "relu": "relu",
    "relu_": "relu",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "softplus": "softplus",
    "square": "square",
    "tanh": "tanh",
}
SETTINGS = {"approximate": "none", "alpha": 1, "scale": 1, "input_scale": 1, "beta": 1, "threshold": 20}
"""What the functions must be called with: other forms of them are not known."""


@rule(*NAMES, folds=True)
@each_element
def function(lower: Lowering, call: Call) -> Operand:
    """A function of single numbers."""
    if odd := [name for name, value in SETTINGS.items() if call.arguments.get(name, value) != value]:
        raise NoCounterpartError(f"it is called with another {' and '.join(odd)}")
    x = call.value("self")
    name = NAMES[call.node.target._opname]  # type: ignore[union-attr]
    return lower.emit(call, Elementwise(name), x, lead=x.lead)[0]


@rule("pow.Tensor_Scalar")
def power(lower: Lowering, call: Call) -> Operand:
    """The square."""
    if call.arguments["exponent"] != 2:
        raise NoCounterpartError(f"it takes the power {call.arguments['exponent']}")
    return lower.emit(call, Elementwise("square"), call.value("self"))[0]


@rule("reciprocal", folds=True)
@each_element
def reciprocal(lower: Lowering, call: Call) -> Operand:
    """One divided by a value."""
    x = call.value("self")
    one = Affine(np.zeros((), np.float32), np.ones((), np.float32))
    (numerator,) = lower.emit(call, one, x, lead=x.lead)
    return lower.emit(call, Divide(), numerator, x, lead=x.lead)[0]


@rule("layer_norm", "rms_norm", any_layout=True)
def layer_norm(lower: Lowering, call: Call) -> Operand:
    """A normalisation of the last axis."""
    x = call.value("input")
    if x.tags[-1] != OWN:
        raise NoCounterpartError("it normalises time or samples")
    if list(call.arguments["normalized_shape"]) != [x.shape[-1]]:
        raise NoCounterpartError("it normalises more than the last axis")
    centred = call.node.target._opname == "layer_norm"  # type: ignore[union-attr]
    gain, bias = call.array("weight"), call.array("bias") if centred else None
    epsilon = call.arguments["eps"]
    if epsilon is None:
        epsilon = float(np.finfo(np.float32).eps)
    if gain is None:
        gain = np.ones(x.shape[-1:], np.float32)
    return lower.emit(call, LayerNorm(gain, bias, float(epsilon), centred), x)[0]


@rule("softmax.int", "_softmax")
def softmax(lower: Lowering, call: Call) -> Operand:
    """Shares along one axis; elements that are minus infinity get none."""
    given = call.arguments["self"]
    x, kept = (given.value, given.kept) if isinstance(given, Masked) else (call.value("self"), None)
    axis = call.own_axis(call.arguments["dim"], x)
    if kept is not None and not np.broadcast_to(kept, x.shape).any(axis).all():
        raise NoCounterpartError("all elements of a row are minus infinity")
    return lower.emit(call, Softmax(axis, kept), x)[0]


@rule("key_value", any_layout=True)
def key_value(lower: Lowering, call: Call) -> Operand:
    """The recurrence of RWKV, along the time of [B, T, n]."""
    k, v = call.value("k"), call.value("v")
    decay, bonus = call.array("decay"), call.array("bonus")
    if k.tags != ("B", "T", OWN) or decay is None or bonus is None:
        raise NoCounterpartError("its keys are not laid out as [B, T, n]")
    return lower.emit(call, WeightedKeyValue(decay, bonus), k, v, lead=k.lead)[0]
