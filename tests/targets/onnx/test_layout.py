"""Orders of axes: what is moved in memory is what the graph means."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.targets.onnx.layout import arrange, blocks, permutation, plain, reshaped, without


@st.composite
def orders(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    return shape, tuple(draw(st.permutations(range(len(shape)))))


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """A shape, an order, and another shape of as many elements."""
    shape, order = draw(orders())
    rest, new = prod(shape), []
    while rest > 1:
        new.append(draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0])))
        rest //= new[-1]
    return shape, order, (*new, *draw(st.sampled_from([(), (1,)])))


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(prod(shape)).reshape(shape)


@given(reshapes())
def test_reshape_in_memory_is_reshape_of_the_graph(
    case: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
) -> None:
    shape, order, new = case
    needed, after = reshaped(shape, order, new)
    value = numbered(shape)
    held = value.transpose(order)
    moved = held.transpose(permutation(order, needed))
    assert np.array_equal(moved, value.transpose(needed))
    got = moved.reshape(arrange(new, after))
    assert np.array_equal(got, value.reshape(new).transpose(after))


@given(reshapes())
def test_blocks_cover_every_axis_once_and_keep_their_size(
    case: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
) -> None:
    old, _, new = case
    groups = blocks(old, new)
    assert [axis for before, _ in groups for axis in before] == list(range(len(old)))
    assert [axis for _, after in groups for axis in after] == list(range(len(new)))
    for before, after in groups:
        assert prod(old[axis] for axis in before) == prod(new[axis] for axis in after)


def test_a_reshape_of_untouched_axes_moves_nothing() -> None:
    """Channels last, the image becomes tokens, and the tokens get heads: memory stays as it is."""
    tokens, heads = reshaped((12, 4, 5), (1, 2, 0), (12, 20)), reshaped((12, 20), (1, 0), (3, 4, 20))
    assert tokens == ((1, 2, 0), (1, 0))
    assert heads == ((1, 0), (2, 0, 1))


@given(orders(), st.data())
def test_sums_keep_the_order_of_the_rest(
    case: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    shape, order = case
    axes = tuple(sorted(data.draw(st.sets(st.sampled_from(plain(len(shape))), min_size=1))))
    value = numbered(shape)
    summed = value.transpose(order).sum(tuple(order.index(axis) for axis in axes))
    assert np.array_equal(summed, value.sum(axes).transpose(without(order, axes)))
