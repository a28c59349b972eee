"""What the tensors of a captured program are to the graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

from spikeloom.compiler.frontends.torch.axes import (
    OWN,
    Lead,
    NoCounterpartError,
    Shape,
)
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.source import Source


@dataclass(frozen=True)
class Value:
    """A value of the graph, as one tensor of the captured program shows it.

    Attributes:
        name: in the graph.
        lead: the time and batch axes in front of a sample's own.
        shape: of a sample.
        spread: what each axis is (T, B or :data:`OWN`), where time and batch do not stand in front.
        margin: how many zeros the axis of time has before and after the sample.
        overtime: how many steps the sample has more than the input's.
    """

    name: str
    lead: Lead
    shape: Shape
    spread: tuple[str, ...] = ()
    margin: tuple[int, int] = (0, 0)
    overtime: int = 0

    @property
    def tags(self) -> tuple[str, ...]:
        """What each axis of the tensor is."""
        return self.spread or (*self.lead.tags, *(OWN for _ in self.shape))


@dataclass(frozen=True)
class Spectrum:
    """A value transformed along time, as one factor of a convolution.

    Attributes:
        value: that was transformed.
        kernel: the other factor [channels, frequencies], once it is known.
    """

    value: Value
    kernel: Tensor | None = None


@dataclass(frozen=True)
class Masked:
    """A value of which some elements are minus infinity: nothing, behind a softmax.

    Attributes:
        value: all of it.
        kept: booleans that broadcast against a sample.
    """

    value: Value
    kept: Array


@dataclass(frozen=True)
class Pairs:
    """A value whose last axis, of two elements, is taken for the parts of complex numbers."""

    value: Value


@dataclass(frozen=True)
class Folded:
    """A value whose tensor folds time or samples with other axes, by a reshape that may be undone.

    Attributes:
        value: the same elements in the same order, with an axis for each.
        counts: of how many axes of ``value`` each axis of the tensor is made; none where an axis of the
            tensor cuts through time or samples, so that only the order of elements is known.
        source: of the reshape.
        fault: what the reshape did, in words.
    """

    value: Value
    counts: tuple[int, ...]
    source: Source
    fault: str

    def around(self, value: Value, counts: tuple[int, ...] | None = None) -> Operand:
        """Another value with its axes folded like this one's; as a value again where nothing is."""
        counts = self.counts if counts is None else counts
        if not counts:
            return replace(self, value=value)
        if all(count == 1 for count in counts):
            return value
        if counts[0] == 2 and all(count == 1 for count in counts[1:]):
            if value.lead is Lead.TIME_BATCH:
                return replace(value, lead=Lead.FOLDED)
            if value.lead is Lead.BATCH_TIME:
                return replace(value, lead=Lead.FOLDED_BATCH_FIRST)
        return replace(self, value=value, counts=counts)

    def places(self, axis: int) -> list[int]:
        """The axes of ``value`` that one of the tensor's is made of.

        Raises:
            StillFoldedError: that is not known.
        """
        if not self.counts:
            raise StillFoldedError(self)
        axis %= len(self.counts)
        first = sum(self.counts[:axis])
        return list(range(first, first + self.counts[axis]))


class StillFoldedError(NoCounterpartError):
    """An operation needs axes apart that are folded."""

    def __init__(self, operand: Folded) -> None:
        super().__init__(operand.fault)
        self.operand = operand


Operand = Value | Spectrum | Masked | Pairs | Folded | Tensor | tuple[Value, ...] | None


Hidden = (Spectrum, Masked, Pairs, Folded)
"""Operands that only some rules take."""


@dataclass(frozen=True)
class View:
    """A value that is a piece of another: elements start..stop along one axis of a sample."""

    base: str
    axis: int
    start: int
    stop: int


@dataclass(frozen=True)
class Border:
    """The border that a padding has made, and what was written over its zeros.

    Attributes:
        before, after: how wide it is, for each axis of a sample.
        values: of the padded shape; zeros but for the border.
    """

    before: Shape
    after: Shape
    values: Array

    def holds(self, view: View) -> bool:
        """Whether a piece lies in the border."""
        first = self.values.shape[view.axis] - self.after[view.axis]
        return view.stop <= self.before[view.axis] or view.start >= first


@dataclass(frozen=True)
class Memory:
    """A linear memory m <- A m + B u, and the kernel with which a model computes it in frequencies.

    Attributes:
        kernel: [channels, frequencies], complex: the transform of B, A B, A^2 B ...
        matrix: A [n, n].
        given: B [n, 1].
    """

    kernel: Tensor
    matrix: Tensor
    given: Tensor


def constant_of(operand: object, x: Value) -> Array:
    """A number or tensor as an array that broadcasts against a sample."""
    if isinstance(operand, Real):
        return np.array(operand, np.float32)
    if not isinstance(operand, Tensor):
        raise NoCounterpartError("one operand is neither a value nor a constant")
    array: Array = operand.detach().cpu().numpy()
    padded = array.reshape((1,) * (len(x.tags) - array.ndim) + array.shape)
    return _single(padded, [place for place, tag in enumerate(x.tags) if tag != OWN])


def constants_of_steps(operand: object, x: Value) -> Array | None:
    """A tensor that differs from step to step as an array [steps, ...]; None if it is no such tensor."""
    if not isinstance(operand, Tensor) or "T" not in x.tags:
        return None
    array: Array = operand.detach().cpu().numpy()
    if array.ndim > len(x.tags):
        return None
    padded = array.reshape((1,) * (len(x.tags) - array.ndim) + array.shape)
    time = x.tags.index("T")
    if padded.shape[time] == 1 or bool((padded == padded.take([0], time)).all()):
        return None
    others = [place for place, tag in enumerate(x.tags) if tag not in (OWN, "T")]
    kept = x.tags[:time].count(OWN)
    own = _single(padded, others)
    return np.moveaxis(own, kept, 0)


def _single(constant: Array, places: list[int]) -> Array:
    """A constant without these axes, along which it must not differ."""
    first: Array = np.asarray(
        constant[tuple(slice(0, 1) if place in places else slice(None) for place in range(constant.ndim))]
    )
    if not bool((constant == first).all()):
        raise NoCounterpartError("its constant differs over time or batch")
    own: Array = first.squeeze(tuple(places))
    return own


def layout_in_words(value: Value) -> str:
    """How a value is laid out, in words."""
    if not value.spread:
        return f"{value.lead.value}, ..."
    sizes = iter(value.shape)
    return ", ".join(tag or str(next(sizes)) for tag in value.spread)


def folds_in_words(operand: Folded) -> str:
    """How a folded value is laid out, in words."""
    sizes = iter(operand.value.shape)
    names = [tag or str(next(sizes)) for tag in operand.value.tags]
    return ", ".join(
        "*".join(names[place] for place in operand.places(axis)) for axis in range(len(operand.counts))
    )


def holds_value(operand: Any) -> bool:
    """Whether an operand, or a part of it, depends on the input."""
    parts = operand if isinstance(operand, (list, tuple)) else (operand,)
    return any(isinstance(part, (Value, *Hidden)) for part in parts)
