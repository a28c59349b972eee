from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.compiler.mapping.box import Box, disjoint, refine, union_size

span = st.integers(0, 6).flatmap(lambda a: st.integers(a + 1, 7).map(lambda b: (a, b)))
boxes = st.lists(st.tuples(span, span, span).map(Box), min_size=1, max_size=5)


def marked(many: list[Box] | tuple[Box, ...], shape: tuple[int, ...]) -> np.ndarray:
    """How many of the boxes hold each index."""
    counts = np.zeros(shape, int)
    for box in many:
        counts[box.slices] += 1
    return counts


@given(boxes)
def test_a_union_covers_the_same_indices_once(many: list[Box]) -> None:
    expected = marked(many, (7, 7, 7)) > 0
    assert (marked(disjoint(many), (7, 7, 7)) == expected).all()
    assert union_size(many) == expected.sum()


@given(span, span)
def test_overlap_and_rest_make_up_the_box(a: tuple[int, int], b: tuple[int, int]) -> None:
    one, other = Box((a, b)), Box((b, a))
    shared = one.overlap(other)
    parts = one.without(other) + ([shared] if shared else [])
    assert (marked(parts, (7, 7)) == marked([one], (7, 7))).all()


@given(st.data())
def test_finer_axes_hold_the_same_indices(data: st.DataObject) -> None:
    grid = tuple(tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))) for _ in range(2))
    shape = tuple(int(np.prod(sizes)) for sizes in grid)
    ranges = []
    for extent in shape:
        start = data.draw(st.integers(0, extent - 1))
        ranges.append((start, data.draw(st.integers(start + 1, extent))))
    box = Box(tuple(ranges))
    pieces = refine(box, grid)
    fine = tuple(size for sizes in grid for size in sizes)
    assert (marked(pieces, fine).reshape(shape) == marked([box], shape)).all()
    assert len(pieces) <= 25  # at most 2 * digits - 1 an axis
