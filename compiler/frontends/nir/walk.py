"""What every rule from a NIR node to nodes of ours needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.frontends.nir.semantics import Semantics
from spikeloom.compiler.graph.graph import GraphBuilder
from spikeloom.compiler.graph.kinds import Kind
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.errors import counted


class NotExpressibleError(Exception):
    """A node has no counterpart; the text says why."""


@dataclass(frozen=True)
class WayBack:
    """How the spikes of a layer come back to it: weight * s + bias, ``wait`` steps later.

    Attributes:
        weight: [n, n]; or what broadcasts against the layer, where each neuron has its own spikes alone.
        bias: what broadcasts against the layer, of every step.
        wait: steps, from one.
        dense: whether the weight is a matrix.
    """

    weight: Array
    bias: Array
    wait: int
    dense: bool = False


@dataclass
class Walk:
    """A graph on its way to one of ours.

    Attributes:
        builder: of our graph.
        semantics: how neurons are executed.
        kind: which integers the input may hold.
        steps: time steps of a sample; 0 if not known.
        values: by the name of a NIR node, the value of ours that it stands for.
        back: by the name of a NIR node, how its spikes come back to it.
    """

    builder: GraphBuilder
    semantics: Semantics
    kind: Kind
    steps: int = 0
    values: dict[str, str] = field(default_factory=dict)
    back: Mapping[str, WayBack] = field(default_factory=dict)

    def add(self, name: str, op: Op, *inputs: str) -> str:
        """Append a node of ours; the value that bears the name of a NIR node is its last."""
        return self.builder.add(self.builder.unique(name), op, *inputs)[0]

    def scaled(self, name: str, x: str, scale: Array, offset: Array) -> str:
        """Scale * x + offset; ``x`` itself where that changes nothing."""
        shape = self.shape(x)
        scale, offset = fitted(scale, shape), fitted(offset, shape)
        if (scale == 1).all() and not offset.any():
            return x
        return self.add(name, Affine(scale, offset), x)

    def shape(self, value: str) -> tuple[int, ...]:
        """Of a value, without batch and time."""
        return self.builder.types[value].shape


Rule = Callable[[Walk, str, NirNode, str], str]
"""Takes the name of a node, the node and the value that goes in, and gives the value that comes out."""


def array(node: NirNode, name: str) -> Array:
    """A parameter that must be there."""
    if name not in node.parameters:
        raise NotExpressibleError(f"its parameter {name} is missing")
    return np.asarray(node.parameters[name])


def numbers(node: NirNode, name: str) -> Array:
    """A parameter that must be there, in float64, all of it finite."""
    values = array(node, name)
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all() or values.size == 0:
        raise NotExpressibleError(f"its parameter {name} holds something else than finite numbers")
    return values.astype(np.float64)


def uniform(node: NirNode, name: str) -> float:
    """A parameter that must be the same for each neuron."""
    values = numbers(node, name)
    if (values != values.flat[0]).any():
        raise NotExpressibleError(f"{name} differs from neuron to neuron")
    return float(values.flat[0])


def time_constant(node: NirNode, name: str) -> float:
    """A uniform time constant, in seconds."""
    tau = uniform(node, name)
    if tau <= 0:
        raise NotExpressibleError(f"{name} is {tau}, and no time")
    return tau


def fitted(values: Array, shape: tuple[int, ...]) -> Array:
    """A parameter against a value: one number if it is uniform, else what broadcasts against it."""
    if (values == values.flat[0]).all():
        return np.asarray(values.flat[0])
    try:
        fits = np.broadcast_shapes(values.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise NotExpressibleError(f"its parameters {list(values.shape)} do not fit {list(shape)}")
    return values


def per_axis(node: NirNode, name: str, axes: int, default: int) -> tuple[int, ...]:
    """A parameter with a number for each axis, or one for all."""
    values = np.atleast_1d(np.asarray(node.parameters.get(name, default))).astype(int).tolist()
    if len(values) not in (1, axes):
        found = counted(len(values), "number")
        raise NotExpressibleError(f"its parameter {name} has {found} for {counted(axes, 'axis', 'axes')}")
    return tuple(values * axes if len(values) == 1 else values)
