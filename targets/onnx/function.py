"""Local functions: the step of an operation with state as one node of a viewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from spikeloom.targets.onnx.layout import Order, Shape
from spikeloom.targets.onnx.writer import OPSET, OWN_DOMAIN, DataType, element_type


class Body:
    """Collects the nodes of a function; values are numbered."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        name = output or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def number(self, value: float | Sequence[int], dtype: DataType) -> str:
        """A constant."""
        return self.node("Constant", value=numpy_helper.from_array(np.array(value, dtype)))

    def cast(self, value: str, dtype: DataType, output: str = "") -> str:
        """The same numbers in another data type; a fraction is dropped."""
        return self.node("Cast", value, output=output, to=element_type(dtype))

    def seen(self, longest: int) -> str:
        """[batch, longest + 1, ...]: ``x`` and what ``past`` remembers, which forgets its oldest."""
        ahead = self.node("Unsqueeze", "x", self.number([1], "int64"))
        seen = self.node("Concat", ahead, "past", axis=1)
        start, stop, axis = (self.number([value], "int64") for value in (0, longest, 1))
        self.node("Slice", seen, start, stop, axis, output="past'")
        return seen

    def function(
        self,
        name: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        meaning: str,
        attributes: Sequence[str] = (),
    ) -> onnx.FunctionProto:
        """The definition; ``meaning`` is shown by viewers."""
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_function(
            OWN_DOMAIN, name, inputs, outputs, self.nodes, opsets, attributes, doc_string=meaning
        )


def remembered(longest: int, shape: Shape, order: Order) -> tuple[Shape, Order]:
    """Shape and order of a state [longest, ...] of a value that has these in memory.

    >>> remembered(3, (8, 2), (1, 0))
    ((3, 8, 2), (0, 2, 1))
    """
    return (longest, *shape), (0, *(1 + axis for axis in order))
