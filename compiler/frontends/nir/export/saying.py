"""What every rule between an operation of ours and nodes of NIR needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, Op

EXACT_FLOAT32 = 2**24
Details = dict[str, Any]
"""What NIR does not say of an operation, as JSON: whether a bias was given, the types of arrays ..."""


class NotSayableError(Exception):
    """NIR has no nodes for an operation; the text says why."""


@dataclass(frozen=True)
class Said:
    """An operation in nodes of NIR.

    Attributes:
        nodes: by what their names add to that of the operation; the last, "", gives its result.
        edges: between them.
        entries: those that the operation's inputs go into.
        details: what is needed to read it back.
    """

    nodes: Mapping[str, NirNode]
    edges: tuple[tuple[str, str], ...] = ()
    entries: tuple[str, ...] = ("",)
    details: Details = field(default_factory=dict)


Say = Callable[[Any, tuple[Type, ...]], Said]
"""Takes an operation and the types of its inputs."""
Restore = Callable[[Mapping[str, NirNode], Details], Op]
"""Takes the nodes, by what their names add, and the details."""


@dataclass(frozen=True)
class Rule:
    """The way to NIR and back."""

    say: Say
    restore: Restore


def number(array: Array) -> Array:
    """Integers in the narrowest float that holds them exactly, as simulators take them."""
    wide = array.size and np.abs(array).max() >= EXACT_FLOAT32
    return array.astype(np.float64 if wide else np.float32)


def full(array: Array, shape: tuple[int, ...]) -> Array:
    """A parameter for each neuron, since NIR knows no broadcasting."""
    return np.array(np.broadcast_to(array, shape))


def described(array: Array) -> Details:
    """What :func:`number` and :func:`full` take away."""
    return {"dtype": str(array.dtype), "shape": list(array.shape)}


def narrowed(values: Array, description: Details) -> Array:
    """The array that was made :func:`full`, again."""
    shape = tuple(description["shape"])
    own = shape[len(shape) - values.ndim :] if len(shape) > values.ndim else shape
    index = tuple(
        slice(None) if size == have else slice(0, 1)
        for size, have in zip((1,) * (values.ndim - len(own)) + own, values.shape, strict=True)
    )
    return np.asarray(np.rint(values[index]), description["dtype"]).reshape(shape)


def parameter(node: NirNode, name: str) -> Array:
    """A parameter as float64."""
    return np.asarray(node.parameters[name]).astype(np.float64)
