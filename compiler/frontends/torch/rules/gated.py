"""Memories that fade by what the data say."""

from __future__ import annotations

from dataclasses import replace

from spikeloom.compiler.frontends.torch.axes import OWN, Lead, NoCounterpartError
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.operands import Operand, Value
from spikeloom.compiler.frontends.torch.rule import Call, rule
from spikeloom.compiler.frontends.torch.rules.folding import arranged
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.gated_state import GatedState
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.reshape import Reshape

LAYOUT = ("B", OWN, "T", OWN)


@rule("gated_state", any_layout=True)
def gated_state(lower: Lowering, call: Call) -> Operand:
    """Outer products of keys and values, the memory of them, and what a query reads of it."""
    names = ("q", "k", "v", "gate")
    operands = [call.value(name) for name in names]
    if any(x.tags != LAYOUT for x in operands[:3]) or operands[3].tags[:4] != LAYOUT:
        raise NoCounterpartError("its tensors are not laid out as [B, heads, T, features]")
    q, k, v, gate = (one_step(x) for x in operands)
    (heads, keys), values = k.shape, v.shape[-1]

    def shaped(x: Value, *shape: int) -> Value:
        return x if shape == x.shape else lower.emit(call, Reshape(shape), x)[0]

    rows, columns = shaped(v, heads, 1, values), shaped(k, heads, keys, 1)
    (outer,) = lower.emit(call, Mul(), columns, rows)
    wide = gate if len(gate.shape) == 3 else shaped(gate, *gate.shape, 1)
    (gates,) = lower.emit(call, Broadcast((heads, keys, values)), wide)
    (state,) = lower.emit(call, GatedState(), gates, outer)
    (read,) = lower.emit(call, MatMul(), shaped(q, heads, 1, keys), state)
    return arranged(shaped(read, heads, values), LAYOUT)


def one_step(x: Value) -> Value:
    """A value as each step sees it, time and samples in front of its own axes."""
    return replace(x, lead=Lead.BATCH_TIME, spread=())
