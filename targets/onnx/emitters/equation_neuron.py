"""A neuron with declared equations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import onnx

from spikeloom.compiler.graph.equations.expression import Operator
from spikeloom.compiler.graph.equations.fixed_point import FixedPoint
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.writer import Call, DataType, Tensor, Writer

_OPERATORS: dict[Operator, str] = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "minimum": "Min",
    "maximum": "Max",
    ">=": "GreaterOrEqual",
    ">": "Greater",
    "<=": "LessOrEqual",
    "<": "Less",
}


@emits(EquationNeuron)
def equation_neuron(writer: Writer, op: EquationNeuron, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function in float64, which holds every number; a shift moves the exponents."""
    x = writer.held_as(inputs[0], "int32")
    dtype: DataType = "uint8" if outputs[0].kind.bounds[0] >= 0 else "int8"
    states = tuple(f"{writer.at}/{state}" for state in op.program.states)
    call = Call(_function(op, x, dtype), states, (), {}, dtype)
    return (Tensor(writer.advance(call, x), outputs[0], x.order, dtype),)


def _function(op: EquationNeuron, x: Tensor, dtype: DataType) -> onnx.FunctionProto:
    assert op.gain is not None
    assert op.bias is not None
    body = Body()
    arithmetic = _Nodes(body)
    unit = 2.0**op.shift
    gain, bias = (x.aligned(np.asarray(value)) / unit for value in (op.gain, op.bias + op.half))
    driven = body.node("Mul", body.cast("x", "float64"), arithmetic.constant(gain))
    drive = body.node("Floor", body.node("Add", driven, arithmetic.constant(bias)))
    states = {name: body.cast(f"state_{name}", "float64") for name in op.program.states}
    parameters = {name: x.aligned(value) for name, value in op.constants.items()}
    sent, after = FixedPoint(arithmetic, op.fraction_bits, op.limit).step(
        op.program, drive, states, parameters
    )
    still = body.node("Mul", body.cast("x", "float64"), arithmetic.constant(np.zeros(())))
    body.cast(body.node("Add", sent, still), dtype, output="s")  # of the shape of x, whatever is sent
    for name, value in after.items():
        body.cast(body.node("Add", value, still), "int32", output=f"state_{name}'")
    name = f"EquationNeuron_{_digest(body.nodes)}"
    own = [f"state_{state}" for state in op.program.states]
    meaning = " ; ".join([*op.update, f"s = {op.fire}", *op.reset])
    return body.function(name, ["x", *own], ["s", *(f"{state}'" for state in own)], meaning)


@dataclass(frozen=True)
class _Nodes:
    """The nodes of a function as values of :class:`FixedPoint`."""

    body: Body

    def constant(self, value: Array) -> str:
        """In float64."""
        return self.body.node("Constant", value=onnx.numpy_helper.from_array(value.astype(np.float64)))

    def binary(self, operator: Operator, a: str, b: str) -> str:
        """A node; comparisons give 1.0 or 0.0."""
        result = self.body.node(_OPERATORS[operator], a, b)
        return self.body.cast(result, "float64") if operator[0] in "<>" else result

    def shifted(self, a: str, bits: int) -> str:
        """Exact: a power of two moves the exponent."""
        return self.body.node("Floor", self.body.node("Mul", a, self.constant(np.array(2.0**-bits))))

    def where(self, condition: str, a: str, b: str) -> str:
        """A choice."""
        return self.body.node(
            "Where", self.body.node("Greater", condition, self.constant(np.zeros(()))), a, b
        )


def _digest(nodes: list[onnx.NodeProto]) -> str:
    """Functions that compute the same have the same name."""
    digest = hashlib.sha256()
    for node in nodes:
        digest.update(node.SerializeToString(deterministic=True))
    return digest.hexdigest()[:12]
