"""What every rule from a node of ONNX to nodes of ours needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from spikeloom.compiler.frontends.onnx.file import OnnxNode
from spikeloom.compiler.graph.graph import GraphBuilder
from spikeloom.compiler.graph.op import Array, Op


class NotExpressibleError(Exception):
    """A node has no counterpart; the text says why."""


@dataclass
class Walk:
    """A file on its way to a graph of ours.

    Attributes:
        builder: of our graph.
        constants: of the file.
        shapes: of every value of the file, with the batch in front.
        batch: its size.
        values: by the name of a value of the file, that of ours.
    """

    builder: GraphBuilder
    constants: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]
    batch: int
    values: dict[str, str] = field(default_factory=dict)

    def add(self, node: OnnxNode, op: Op, *inputs: str) -> str:
        """Append a node of ours, called after a node of the file."""
        return self.builder.add(self.builder.unique(node.name), op, *inputs)[0]

    def shape(self, value: str) -> tuple[int, ...]:
        """Of a value of the file, without the batch.

        Raises:
            NotExpressibleError: its first axis is not the batch.
        """
        shape = self.shapes[value]
        if not shape or shape[0] != self.batch:
            what = f"the first axis of {value} {list(shape)} is not the batch of {self.batch}"
            raise NotExpressibleError(what)
        return tuple(shape[1:])

    def input(self, node: OnnxNode, index: int = 0) -> str:
        """The value of ours that goes in.

        Raises:
            NotExpressibleError: it is a constant, or its first axis is not the batch.
        """
        name = node.inputs[index]
        if name in self.constants:
            raise NotExpressibleError(f"its input {index} is a constant")
        self.shape(name)
        return self.values[name]

    def constant(self, node: OnnxNode, index: int) -> Array:
        """A constant that goes in.

        Raises:
            NotExpressibleError: it is none.
        """
        name = node.inputs[index] if index < len(node.inputs) else ""
        if name not in self.constants:
            raise NotExpressibleError(f"its input {index} is no constant")
        return self.constants[name]

    def per_sample(self, node: OnnxNode, constant: Array) -> Array:
        """A constant without its batch axis, to be broadcast against the output of a node.

        Raises:
            NotExpressibleError: it differs from sample to sample.
        """
        rank = len(self.shapes[node.outputs[0]])
        if constant.ndim < rank:
            return np.asarray(constant, np.float64)
        if constant.shape[0] != 1 and not (constant == constant[:1]).all():
            raise NotExpressibleError("a constant differs from sample to sample")
        return np.asarray(constant[0], np.float64)

    def axes(self, node: OnnxNode, axes: Sequence[int]) -> tuple[int, ...]:
        """Axes of the first input as a sample counts them.

        Raises:
            NotExpressibleError: one is the batch.
        """
        rank = len(self.shapes[node.inputs[0]])
        own = sorted(axis % rank - 1 for axis in axes)
        if own and own[0] < 0:
            raise NotExpressibleError("it mixes samples")
        return tuple(own)


Rule = Callable[[Walk, OnnxNode], str]
"""Takes a node, and gives the value of ours that stands for its first output."""
