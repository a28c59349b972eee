"""Where a placement begins: along a Hilbert curve, or by the graph's own axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.placing.graph import Counts, Talk

SMALL = 8
"""Graphs of fewer cores are placed in the order given."""


def along_curve(slots: Counts, chip: Chip) -> Counts:
    """Slots chip by chip (every other row of chips backwards), along a Hilbert curve in each.

    Args:
        slots: [slots, 3], chip, column and row of each.
        chip: whose slots they are.
    """
    side = 1
    while side < max(chip.mesh.columns, chip.mesh.rows):
        side *= 2
    number = slots[:, 0]
    chip_row, chip_column = number // chip.chip_columns, number % chip.chip_columns
    turn = np.where(chip_row % 2 == 0, chip_column, -chip_column)
    x, y = slots[:, 1] % chip.mesh.columns, slots[:, 2] % chip.mesh.rows
    if chip.mesh.columns > chip.mesh.rows:
        x, y = y, x
    return np.lexsort((np.arange(len(slots)), _hilbert(side, x, y), turn, chip_row))


def over_whole_mesh(slots: Counts) -> Counts:
    """Slots along one Hilbert curve over the meshes of all chips together."""
    side = 1
    while side < max(slots[:, 1].max(), slots[:, 2].max()) + 1:
        side *= 2
    return np.lexsort((np.arange(len(slots)), _hilbert(side, slots[:, 1], slots[:, 2])))


def _hilbert(side: int, x: Counts, y: Counts) -> Counts:
    """Distance along a Hilbert curve over a square of routers (Hilbert, Math. Annalen 38, 1891)."""
    x, y = x.copy(), y.copy()
    distance = np.zeros(len(x), np.int64)
    half = side // 2
    while half:
        right, up = ((x & half) > 0).astype(np.int64), ((y & half) > 0).astype(np.int64)
        distance += half * half * ((3 * right) ^ up)
        turned = (up == 0) & (right == 1)
        x[turned], y[turned] = side - 1 - x[turned], side - 1 - y[turned]
        swap = up == 0
        x[swap], y[swap] = y[swap], x[swap].copy()
        half //= 2
    return distance


def compact(slots: Counts, cores: int) -> Counts:
    """The slots of the smallest block of routers in a corner, as square as the mesh allows."""
    reach = np.maximum(slots[:, 1], slots[:, 2])
    return np.sort(np.lexsort((np.arange(len(slots)), slots[:, 1] + slots[:, 2], reach))[:cores])


def by_axes(talk: Talk, slots: Counts, chosen: Counts) -> Counts:
    """The graph's two slowest modes as coordinates: cut by one into columns of slots, by the other into rows.

    Args:
        talk: between the cores.
        slots: [slots, 3], chip, column and row of each.
        chosen: as many slots as there are cores.

    Returns:
        The slot of every core.
    """
    first, second = _modes(talk)
    in_columns = chosen[np.lexsort((slots[chosen, 2], slots[chosen, 1]))]
    widths = np.unique(slots[in_columns, 1], return_counts=True)[1]
    order = np.argsort(first, kind="stable")
    slot_of = np.empty(talk.cores, np.int64)
    start = 0
    for width in widths.tolist():
        column = order[start : start + width]
        slot_of[column[np.argsort(second[column], kind="stable")]] = in_columns[start : start + width]
        start += width
    return slot_of


def chips_first(talk: Talk, slots: Counts, chosen: Counts) -> Counts:
    """First which chip, then where on it: the graph is cut over the chips by its modes, each part by its own.

    The arguments are those of :func:`by_axes`.
    """
    rough = by_axes(talk, slots, chosen)
    chip_of = slots[rough, 0]
    slot_of = rough.copy()
    for chip in np.unique(chip_of):
        members = np.flatnonzero(chip_of == chip)
        if len(members) > SMALL:
            slot_of[members] = by_axes(_part(talk, members), slots, np.sort(rough[members]))
    return slot_of


def _part(talk: Talk, members: Counts) -> Talk:
    number = np.full(talk.cores, -1, np.int64)
    number[members] = np.arange(len(members))
    owner = talk.owner
    inside = (number[owner] >= 0) & (number[talk.other] >= 0)
    first = np.searchsorted(number[owner[inside]], np.arange(len(members) + 1)).astype(np.int64)
    return Talk(first, number[talk.other[inside]], talk.sent[inside], talk.received[inside])


def _modes(talk: Talk) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The second and third eigenvector of the graph's walk (Hall, Management Science 17, 1970)."""
    from scipy.sparse import csr_array, eye_array
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    count = talk.cores
    order = np.arange(count, dtype=np.float64)
    if count < SMALL or not len(talk.other):
        return order, order
    weights = talk.sent + talk.received
    degree = np.bincount(talk.owner, weights, count)
    scale = 1 / np.sqrt(np.maximum(degree, degree[degree > 0].min(initial=1.0) * 1e-3))
    values = weights * scale[talk.owner] * scale[talk.other]
    walk = csr_array((values, talk.other, talk.first), shape=(count, count)) + eye_array(count)
    start = np.cos(np.arange(count) * 0.7) + 2.0
    try:
        values, vectors = eigsh(walk, k=3, which="LA", v0=start, tol=1e-4, maxiter=3000)
    except ArpackNoConvergence as stopped:
        values, vectors = stopped.eigenvalues, stopped.eigenvectors
    if vectors.shape[1] < 3:
        return order, order
    ranked: Sequence[int] = np.argsort(-values).tolist()
    modes = [_signed(vectors[:, ranked[number]] * scale) for number in (1, 2)]
    return modes[0], modes[1]


def _signed(mode: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sign of an eigenvector is arbitrary; the earliest cores go to the low end."""
    half = len(mode) // 2
    return mode if mode[:half].sum() <= mode[half:].sum() else -mode
