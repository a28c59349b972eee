"""Neurons of a core by the cores that read them: what one spike of them must reach.

The neurons of a population on a core fall into classes that the same other cores read. They are the
cells of a grid: each box of the population on the core, cut wherever the box of a reader begins or
ends. So they are exact, and nothing lists neurons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.demand import Demand
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.overlap import as_array, overlaps
from spikeloom.compiler.mapping.routing.flows import holders_and_readers

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Fanout:
    """The classes of a population that some other core reads.

    Attributes:
        source: [classes], the core of each; for inputs,
            :data:`~spikeloom.compiler.mapping.routing.flows.OUTSIDE`.
        boxes: [classes, axes, 2], where each begins and ends on the axes of the population.
        neurons: [classes], how many are in each.
        first: [classes + 1], where the targets of each class begin.
        target: cores, ascending within a class; never the source.
    """

    source: Counts
    boxes: Counts
    neurons: Counts
    first: Counts
    target: Counts

    @property
    def spread(self) -> Counts:
        """[classes], how many other cores read each."""
        return np.diff(self.first)


def fanouts(network: Network, demands: Sequence[Demand]) -> Iterator[Fanout]:
    """For every population in its order, its classes.

    Args:
        network: what is mapped.
        demands: what each core holds and reads.
    """
    holding, reading = holders_and_readers(network, demands)
    for one in network.populations:
        yield fanout(holding[one.name], reading[one.name], len(one.shape))


def fanout(holding: Sequence[tuple[int, Box]], reading: Sequence[tuple[int, Box]], axes: int) -> Fanout:
    """The classes of a population.

    Args:
        holding: cores, and boxes of the population there that do not overlap.
        reading: cores, and what each reads of it, as boxes that do not overlap within a core.
        axes: of the population's shape.

    >>> reading = [(0, Box(((0, 9),))), (1, Box(((2, 6),))), (2, Box(((4, 9),)))]
    >>> found = fanout([(0, Box(((0, 9),)))], reading, 1)
    >>> found.boxes[:, 0].tolist(), [part.tolist() for part in np.split(found.target, found.first[1:-1])]
    ([[2, 4], [4, 6], [6, 9]], [[1], [1, 2], [2]])
    """
    first, second, _ = overlaps([box for _, box in holding], [box for _, box in reading])
    holder = np.array([core for core, _ in holding], np.int64)
    reader = np.array([core for core, _ in reading], np.int64)
    remote = holder[first] != reader[second]
    first, second = first[remote], second[remote]
    begins = np.searchsorted(first, np.arange(len(holder) + 1))
    held, read = (as_array([box for _, box in part], axes) for part in (holding, reading))
    return Fanout(*_classes(holder, held, reader, read, begins, second))


@njit(cache=True)
def _classes(
    holder: Counts, held: Counts, reader: Counts, read: Counts, begins: Counts, second: Counts
) -> tuple[Counts, Counts, Counts, Counts, Counts]:  # pragma: no cover - compiled
    """Cells of every held box; ``second[begins[i] : begins[i + 1]]`` are the boxes that reach into box i."""
    axes = held.shape[1]
    room, room_of_targets = len(second) + 16, 4 * len(second) + 16
    source, neurons = np.empty(room, np.int64), np.empty(room, np.int64)
    boxes, first = np.empty((room, axes, 2), np.int64), np.empty(room + 1, np.int64)
    target = np.empty(room_of_targets, np.int64)
    count, filled = 0, 0
    first[0] = 0
    for i in range(len(holder)):
        readers = second[begins[i] : begins[i + 1]]
        if len(readers) == 0:
            continue
        cuts, cells = _cuts(held[i], read, readers)
        spans = _spans(cuts, cells, read, readers)
        places, sizes = _covered(spans, cells)
        total = places[-1]
        if filled + total > len(target):
            target = _grown(target, filled, filled + total)
        if count + len(sizes) > room:
            room = 2 * (count + len(sizes))
            source, neurons = _grown(source, count, room), _grown(neurons, count, room)
            first = _grown(first, count + 1, room + 1)
            wide = np.empty((room, axes, 2), np.int64)
            wide[:count] = boxes[:count]
            boxes = wide
        _fill(spans, cells, reader[readers], places.copy(), target[filled:])
        for cell in range(len(sizes)):
            if sizes[cell] == 0:
                continue
            source[count] = holder[i]
            neurons[count] = _box_of(cell, cuts, cells, boxes[count])
            filled += sizes[cell]
            count += 1
            first[count] = filled
    return source[:count], boxes[:count], neurons[:count], first[: count + 1], target[:filled]


@njit(cache=True)
def _cuts(box: Counts, read: Counts, readers: Counts) -> tuple[Counts, Counts]:  # pragma: no cover
    """[axes, ...] where a box is cut along each axis, its ends included, and [axes] the parts."""
    axes = len(box)
    cuts, cells = np.empty((axes, 2 * len(readers) + 2), np.int64), np.empty(axes, np.int64)
    for axis in range(axes):
        low, high = box[axis]
        marks = np.empty(2 * len(readers) + 2, np.int64)
        marks[0], marks[1] = low, high
        for number, other in enumerate(readers):
            marks[2 * number + 2] = min(max(read[other, axis, 0], low), high)
            marks[2 * number + 3] = min(max(read[other, axis, 1], low), high)
        distinct = np.unique(marks)
        cuts[axis, : len(distinct)] = distinct
        cells[axis] = len(distinct) - 1
    return cuts, cells


@njit(cache=True)
def _spans(cuts: Counts, cells: Counts, read: Counts, readers: Counts) -> Counts:  # pragma: no cover
    """[readers, axes, 2]: the parts along each axis that a reader's box covers."""
    axes = len(cells)
    spans = np.empty((len(readers), axes, 2), np.int64)
    for axis in range(axes):
        marks = cuts[axis, : cells[axis] + 1]
        for number, other in enumerate(readers):
            start, stop = max(read[other, axis, 0], marks[0]), min(read[other, axis, 1], marks[-1])
            spans[number, axis, 0] = np.searchsorted(marks, start)
            spans[number, axis, 1] = np.searchsorted(marks, stop)
    return spans


@njit(cache=True)
def _covered(spans: Counts, cells: Counts) -> tuple[Counts, Counts]:  # pragma: no cover - compiled
    """Where the targets of each cell begin, and how many there are."""
    total = 1
    for axis in range(len(cells)):
        total *= cells[axis]
    sizes = np.zeros(total, np.int64)
    for number in range(len(spans)):
        at = spans[number, :, 0].copy()
        cell = _cell(at, cells)
        while cell >= 0:
            sizes[cell] += 1
            cell = _next(at, spans[number], cells)
    places = np.zeros(total + 1, np.int64)
    places[1:] = np.cumsum(sizes)
    return places, sizes


@njit(cache=True)
def _fill(
    spans: Counts, cells: Counts, cores: Counts, places: Counts, target: Counts
) -> None:  # pragma: no cover - compiled
    for number in range(len(spans)):
        at = spans[number, :, 0].copy()
        cell = _cell(at, cells)
        while cell >= 0:
            target[places[cell]] = cores[number]
            places[cell] += 1
            cell = _next(at, spans[number], cells)


@njit(cache=True)
def _cell(at: Counts, cells: Counts) -> int:  # pragma: no cover - compiled
    cell = 0
    for axis in range(len(cells)):
        cell = cell * cells[axis] + at[axis]
    return cell


@njit(cache=True)
def _next(at: Counts, span: Counts, cells: Counts) -> int:  # pragma: no cover - compiled
    """The cell after ``at`` in a span of cells, in row-major order; -1 after the last."""
    axis = len(cells) - 1
    while axis >= 0:
        at[axis] += 1
        if at[axis] < span[axis, 1]:
            return _cell(at, cells)
        at[axis] = span[axis, 0]
        axis -= 1
    return -1


@njit(cache=True)
def _box_of(cell: int, cuts: Counts, cells: Counts, box: Counts) -> int:  # pragma: no cover - compiled
    """Write where a cell begins and ends; its size."""
    size = 1
    for axis in range(len(cells) - 1, -1, -1):
        part = cell % cells[axis]
        cell //= cells[axis]
        box[axis, 0], box[axis, 1] = cuts[axis, part], cuts[axis, part + 1]
        size *= box[axis, 1] - box[axis, 0]
    return size


@njit(cache=True)
def _grown(values, used, room):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The same values with more room behind them."""
    larger = np.empty(max(room, 2 * len(values)), values.dtype)
    larger[:used] = values[:used]
    return larger
