"""Synapses one by one, for those who load or execute a core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.network import KernelAxis, Projection, SourceAxis

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Synapses:
    """Synapses as parallel arrays of flat, row-major indices.

    Attributes:
        source, target: neuron in its population.
        weight: in the kernel's array.
    """

    source: Indices
    target: Indices
    weight: Indices


def expand(projection: Projection, piece: Box) -> Synapses:
    """The synapses that end in a piece of the target (finer axes).

    The axes are independent of one another, so that every flat index is a sum of one number an
    axis; what an axis allows is combined with what every other axis allows.

    >>> from spikeloom.compiler.mapping.network import SourceAxis
    >>> blur = Projection("a", "b", "conv", ((SourceAxis(3, 0, taps=2, offset=-1),),), ((4,),), "k",
    ...                   (KernelAxis(2, source=0),))
    >>> found = expand(blur, Box(((0, 4),)))
    >>> list(zip(found.source.tolist(), found.target.tolist(), found.weight.tolist()))
    [(0, 0, 1), (0, 1, 0), (1, 1, 1), (1, 2, 0), (2, 2, 1), (2, 3, 0)]
    """
    source_steps = _steps([axis.size for axis in projection.axes])
    target_steps = _steps(projection.target_sizes)
    kernel_steps = _steps([axis.size for axis in projection.kernel_axes])
    base = sum(axis.offset * step for axis, step in zip(projection.kernel_axes, kernel_steps, strict=True))
    total = [np.zeros(1, np.int64), np.zeros(1, np.int64), np.full(1, base, np.int64)]
    for number, axis in enumerate(projection.axes):
        sources, targets, taps = _allowed(axis, piece)
        weight = taps * _step(projection.kernel_axes, kernel_steps, source=number)
        if axis.target is not None:
            weight = weight + targets * _step(projection.kernel_axes, kernel_steps, target=axis.target)
            targets = targets * target_steps[axis.target]
        total = _combined(total, (sources * source_steps[number], targets, weight))
    linked = {axis.target for axis in projection.axes}
    for number in set(range(len(target_steps))) - linked:
        free = np.arange(*piece.ranges[number])
        weight = free * _step(projection.kernel_axes, kernel_steps, target=number)
        total = _combined(total, (np.zeros_like(free), free * target_steps[number], weight))
    return Synapses(*total)


def _allowed(axis: SourceAxis, piece: Box) -> tuple[Indices, Indices, Indices]:
    """Source index, target index and tap of every connection along one axis."""
    targets = np.zeros(1, np.int64) if axis.target is None else np.arange(*piece.ranges[axis.target])
    target, tap = (part.ravel() for part in np.meshgrid(targets, np.arange(axis.taps), indexing="ij"))
    source = target * axis.stride + tap * axis.dilation + axis.offset
    inside = (source >= 0) & (source < axis.size)
    return source[inside], target[inside], tap[inside]


def _combined(total: Sequence[Indices], more: Sequence[Indices]) -> list[Indices]:
    return [np.add.outer(a, b).ravel() for a, b in zip(total, more, strict=True)]


def _steps(sizes: Sequence[int]) -> list[int]:
    steps = [1]
    for size in reversed(sizes[1:]):
        steps.insert(0, steps[0] * size)
    return steps[: len(sizes)]


def _step(
    axes: Sequence[KernelAxis], steps: Sequence[int], *, source: int | None = None, target: int | None = None
) -> int:
    """Step of the kernel's axis that follows a source or a target axis; 0 if none does."""
    for axis, step in zip(axes, steps, strict=True):
        if (source is not None and axis.source == source) or (target is not None and axis.target == target):
            return step
    return 0
