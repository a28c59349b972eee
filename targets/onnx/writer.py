"""Writes the nodes, constants and ends of one ONNX graph.

Emitters speak of :class:`Tensor`: a value of our graph together with how it is held in ONNX, in
which order of axes and in which data type. Each conversion is written once and then found again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from spikeloom.compiler.graph.kinds import Type, frame_dtype
from spikeloom.compiler.graph.op import Array
from spikeloom.targets.onnx.layout import Order, Shape, arrange, permutation, plain

DataType = Literal["uint8", "int8", "int32", "int64", "uint16", "uint32", "uint64", "float32", "float64"]
_FRAMES: dict[type[np.generic], DataType] = {np.uint8: "uint8", np.uint16: "uint16", np.uint32: "uint32"}
OWN_DOMAIN = "spikeloom"
OPSET = 21


def element_type(dtype: DataType) -> int:
    """ONNX's number of a data type."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


@dataclass(frozen=True)
class Tensor:
    """A value of the graph as ONNX holds it.

    Attributes:
        name: of the ONNX value [batch, ...]; in a sequence graph [steps * batch, ...].
        type: shape and kind in the graph.
        order: of the axes in memory, see :mod:`spikeloom.targets.onnx.layout`.
        dtype: data type of the elements; holds every number of the kind.
    """

    name: str
    type: Type
    order: Order
    dtype: DataType

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in memory, without batch."""
        return arrange(self.type.shape, self.order)

    def aligned(self, parameter: Array) -> Array:
        """A parameter that broadcasts against the graph's shape, to broadcast against memory instead."""
        lead = (1,) * (len(self.order) - parameter.ndim)
        return parameter.reshape(lead + parameter.shape).transpose(self.order)

    def place(self, axis: int) -> int:
        """Where an axis of the graph's shape is in ONNX, counting the batch as 0."""
        return 1 + self.order.index(axis)


@dataclass(frozen=True)
class Call:
    """An operation with state, such as a neuron layer, as a call of a local function.

    Attributes:
        function: takes x, the states and the constants; gives the result and the new states.
        states: names under which the states enter the graph; they leave it with a prime.
        constants: thresholds, biases and the like.
        attributes: of the call.
        dtype: of the result.
        layouts: shape and order in memory of each state; those of x where there is none.
        shape: of the result in memory; that of x where there is none.
    """

    function: onnx.FunctionProto
    states: tuple[str, ...]
    constants: tuple[str, ...]
    attributes: Mapping[str, int]
    dtype: DataType = "uint8"
    layouts: tuple[tuple[Shape, Order], ...] = ()
    shape: Shape | None = None

    def node(self, x: str, states: Iterable[str], outputs: Iterable[str], name: str) -> onnx.NodeProto:
        """The call itself."""
        inputs = (x, *states, *self.constants)
        kind, attributes = self.function.name, dict[str, Any](self.attributes)
        return helper.make_node(kind, inputs, tuple(outputs), name, domain=OWN_DOMAIN, **attributes)


class Writer(ABC):
    """Collects the parts of a graph in the order in which they are needed.

    What differs between one step and a sequence is left to the two subclasses.

    Attributes:
        form: "step" or "sequence".
        lead: names of the axes in front of a value's own at the ends of the graph.
        nodes, constants, functions, inputs, outputs: what was written so far.
        states: the states of all neurons, as they enter the graph.
        state_orders: order of the axes of each state.
        at: name of the graph's node that is being emitted; starts the name of what is written.
    """

    form: ClassVar[str]
    lead: ClassVar[tuple[str, ...]]

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.functions: dict[str, onnx.FunctionProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.states: list[onnx.ValueInfoProto] = []
        self.state_orders: dict[str, Order] = {}
        self.at = ""
        self._names = set(reserved)
        self._known_constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._known_conversions: dict[tuple[str, object], str] = {}

    def fresh(self, hint: str) -> str:
        """A name that no other value has: ``node/hint``, numbered if need be."""
        base = f"{self.at}/{hint}"
        count = 0
        name = base
        while name in self._names:
            count += 1
            name = f"{base}.{count}"
        self._names.add(name)
        return name

    def node(self, kind: str, *inputs: str, hint: str, **attributes: Any) -> str:
        """Append a node with one output and return the name of that output."""
        name = self.fresh(hint)
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Array, hint: str) -> str:
        """The name of a constant that holds this array; equal arrays are stored once."""
        array = np.asarray(value, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known_constants:
            name = self.fresh(hint)
            self.constants.append(numpy_helper.from_array(array, name))
            self._known_constants[key] = name
        return self._known_constants[key]

    def integers(self, values: Iterable[int], hint: str) -> str:
        """An int64 list, as the operators of ONNX take shapes and axes."""
        return self.constant(np.array(tuple(values), np.int64), hint)

    def cast(self, name: str, dtype: DataType) -> str:
        """The same numbers in another data type."""
        return self.once(name, dtype, "Cast", dtype, to=element_type(dtype))

    def transpose(self, name: str, order: tuple[int, ...]) -> str:
        """The same numbers with the axes permuted, batch included."""
        if order == plain(len(order)):
            return name
        return self.once(name, ("transpose", order), "Transpose", "transposed", perm=order)

    def reshape(self, name: str, shape: tuple[int, ...]) -> str:
        """The same numbers as [batch, *shape]."""
        return self.node("Reshape", name, self.integers((-1, *shape), "shape"), hint="reshaped")

    def slice(self, name: str, ranges: Mapping[int, tuple[int, int, int]]) -> str:
        """Part of a value: (start, stop, step) for each axis that is cut."""
        columns = zip(*ranges.values(), strict=True)
        starts, stops, steps = (self.integers(column, "bounds") for column in columns)
        axes = self.integers(ranges, "axes")
        return self.node("Slice", name, starts, stops, axes, steps, hint="slice")

    def concat(self, names: list[str], axis: int, hint: str = "joined") -> str:
        """Values one after the other along an axis of ONNX."""
        return names[0] if len(names) == 1 else self.node("Concat", *names, hint=hint, axis=axis)

    def held_as(self, tensor: Tensor, dtype: DataType) -> Tensor:
        """The tensor in another data type."""
        if tensor.dtype == dtype:
            return tensor
        return replace(tensor, name=self.cast(tensor.name, dtype), dtype=dtype)

    def arranged(self, tensor: Tensor, order: Order) -> Tensor:
        """The tensor with its axes in another order in memory."""
        places = tuple(1 + place for place in permutation(tensor.order, order))
        return replace(tensor, name=self.transpose(tensor.name, (0, *places)), order=order)

    def open(self, name: str, kind: Type) -> Tensor:
        """Declare the network's input [*lead, ...], uint8 or the type of wider indices, and return it."""
        given = _FRAMES[frame_dtype(kind.kind)]
        self.inputs.append(_declare(name, given, (*self.lead, *kind.shape)))
        folded = Tensor(self._fold(name, kind.shape), kind, plain(len(kind.shape)), given)
        return folded if given == "uint8" else self.held_as(folded, "int32")

    def close(self, name: str, tensor: Tensor, dtype: DataType) -> None:
        """Declare an output [*lead, ...] with the axes in the graph's order."""
        self.at, rank = name, len(tensor.order)
        straight = self.arranged(self.held_as(tensor, dtype), plain(rank))
        self._unfold(straight.name, tensor.type.shape, name)
        self.outputs.append(_declare(name, dtype, (*self.lead, *tensor.type.shape)))

    def advance(self, call: Call, x: Tensor) -> str:
        """Run a function with state over the steps of ``x``; its states become ends of the graph.

        Returns its result, in the order of ``x``.
        """
        self.functions.setdefault(call.function.name, call.function)
        layouts = call.layouts or ((x.shape, x.order),) * len(call.states)
        for state, (shape, order) in zip(call.states, layouts, strict=True):
            self.states.append(_declare(state, "int32", ("batch", *shape)))
            self.state_orders[state] = order
        return self._run(call, x)

    def graph(self, name: str) -> onnx.GraphProto:
        """What was written, as a graph: the states follow the other inputs and outputs."""
        after = []
        for state in self.states:
            after.append(onnx.ValueInfoProto())
            after[-1].CopyFrom(state)
            after[-1].name = f"{state.name}'"
        ends = ([*self.inputs, *self.states], [*self.outputs, *after])
        return helper.make_graph(self.nodes, name, *ends, initializer=self.constants)

    @abstractmethod
    def _fold(self, name: str, shape: tuple[int, ...]) -> str:
        """From [*lead, *shape] to [batch, *shape], the form in which everything is computed."""

    @abstractmethod
    def _unfold(self, name: str, shape: tuple[int, ...], output: str) -> None:
        """From [batch, *shape] to [*lead, *shape] under the name ``output``."""

    @abstractmethod
    def _run(self, call: Call, x: Tensor) -> str:
        """Write the call, or the loop around it."""

    def once(self, name: str, key: object, kind: str, hint: str, **attributes: Any) -> str:
        """A node of one input that is written at the first call with this ``key`` and found again later."""
        if (name, key) not in self._known_conversions:
            self._known_conversions[name, key] = self.node(kind, name, hint=hint, **attributes)
        return self._known_conversions[name, key]


def _declare(name: str, dtype: DataType, shape: Iterable[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type(dtype), list(shape))
