"""Attention that is one call: two products and a softmax."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from spikeloom.compiler.frontends.torch.attention import scale_root, window_of
from spikeloom.compiler.frontends.torch.axes import OWN, NoCounterpartError
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.operands import Operand, Value, constant_of
from spikeloom.compiler.frontends.torch.rule import Call, rule
from spikeloom.compiler.frontends.torch.rules.folding import arranged
from spikeloom.compiler.frontends.torch.rules.gated import LAYOUT, one_step
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.softmax import Softmax
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.ops.window_softmax import WindowSoftmax


@rule("scaled_dot_product_attention", any_layout=True)
def attention(lower: Lowering, call: Call) -> Operand:
    """softmax(scale q k' + mask) v, of the tokens of a step, or along time in a window of the past."""
    if call.arguments.get("dropout_p") or call.arguments.get("enable_gqa"):
        raise NoCounterpartError("it drops out, or shares keys among heads")
    q, k, v = (call.value(name) for name in ("query", "key", "value"))
    if q.tags == k.tags == v.tags == LAYOUT:
        return _along_time(lower, call, q, k, v)
    if any(x.tags[-2:] != (OWN, OWN) for x in (q, k, v)):
        raise NoCounterpartError("its tokens are neither a sample's own nor its time steps")
    kept, added = _mask(call, q.shape[-2], k.shape[-2])
    scores = _scores(lower, call, q, k)
    if added is not None:
        (scores,) = lower.emit(call, Affine(np.ones((), np.float32), added), scores)
    (shares,) = lower.emit(call, Softmax(len(scores.shape) - 1, kept), scores)
    return lower.emit(call, MatMul(), shares, v)[0]


def _scores(lower: Lowering, call: Call, q: Value, k: Value) -> Value:
    """Products of queries and keys, each multiplied by the root of the scale."""
    root = np.array(scale_root(call.arguments.get("scale"), q.shape[-1]), np.float32)
    rank = len(k.shape)
    factor = Affine(root, np.zeros((), np.float32))
    (turned,) = lower.emit(call, Transpose((*range(rank - 2), rank - 1, rank - 2)), k)
    (keys,) = lower.emit(call, factor, turned)
    (queries,) = lower.emit(call, factor, q)
    return lower.emit(call, MatMul(), queries, keys)[0]


def _mask(call: Call, queries: int, keys: int) -> tuple[Array | None, Array | None]:
    """What is kept, and what is added to scores."""
    given = call.arguments.get("attn_mask")
    if call.arguments.get("is_causal"):
        return np.tri(queries, keys, dtype=bool), None
    if given is None:
        return None, None
    if not isinstance(given, Tensor):
        raise NoCounterpartError("its mask depends on the input")
    mask = constant_of(given, call.value("query"))
    kept = mask if mask.dtype == bool else ~np.isneginf(mask)
    if not kept.any(-1).all():
        raise NoCounterpartError("a token attends to none")
    added = np.where(kept, mask, 0).astype(np.float32) if mask.dtype != bool else None
    return kept, added if added is not None and added.any() else None


def _along_time(lower: Lowering, call: Call, q: Value, k: Value, v: Value) -> Value:
    """Keys and values of the last steps are remembered; what has not arrived has no share."""
    mask = call.arguments.get("attn_mask")
    if mask is not None and not isinstance(mask, Tensor):
        raise NoCounterpartError("its mask depends on the input")
    if lower.steps == 0:
        raise NoCounterpartError("it attends along time, and the number of steps is not known: give --steps")
    steps = lower.steps if mask is None else lower.sizes[0].steps
    size = window_of(mask, bool(call.arguments.get("is_causal")), steps)
    if size is None:
        raise NoCounterpartError("it attends to other steps than those of a window before")
    if mask is not None and size == steps != lower.steps:
        raise NoCounterpartError(f"its window is not shorter than the {steps} steps it was captured with")
    q, k, v = (one_step(x) for x in (q, k, v))

    def shaped(x: Value, *shape: int) -> Value:
        return lower.emit(call, Reshape(shape), x)[0]

    def window(x: Value) -> Value:
        return lower.emit(call, TimeWindow(size, 1), shaped(x, x.shape[0], 1, x.shape[1]))[0]

    scores = _scores(lower, call, shaped(q, q.shape[0], 1, q.shape[1]), window(k))
    (shares,) = lower.emit(call, WindowSoftmax(2), scores)
    (read,) = lower.emit(call, MatMul(), shares, window(v))
    return arranged(shaped(read, *v.shape), LAYOUT)
