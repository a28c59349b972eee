"""Relations against the operations they stand for, evaluated on one-hot inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.network import Kernel, Network, Population
from spikeloom.compiler.mapping.relation import NotExpressibleError, Relation
from spikeloom.compiler.mapping.synapses import expand


def population(*shape: int) -> Population:
    return Population("source", shape, "neuron", (0, 1))


def one_hot(shape: tuple[int, ...]) -> np.ndarray:
    """Every input with a single one, [inputs, *shape]."""
    return np.eye(int(np.prod(shape)), dtype=np.int64).reshape(-1, *shape)


def matrix(relation: Relation, weight: np.ndarray | None) -> np.ndarray:
    """The sum of weights [inputs, outputs] that the relation's synapses give."""
    target = Population("target", relation.shape, "neuron", (0, 1))
    projection, ones = relation.projection(target)
    if weight is None:
        assert ones is not None
        weight = np.ones(ones.shape, np.int64)
    found = expand(projection, Box.whole(projection.target_sizes))
    total = np.zeros((int(np.prod([s for g in projection.source_grid for s in g])), target.size), np.int64)
    np.add.at(total, (found.source, found.target), weight.ravel()[found.weight])
    assert projection.synapses(Box.whole(projection.target_sizes)) == len(found.source)
    return total


def kernel(weight: np.ndarray) -> Kernel:
    return Kernel("k", weight.shape, 8, int(np.count_nonzero(weight)), "k/weight")


@given(st.data())
def test_moving_elements_costs_nothing_and_loses_nothing(data: st.DataObject) -> None:
    shape = (4, 2, 6)
    relation, value = Relation.identity(population(*shape)), np.arange(48).reshape(shape)
    for _ in range(data.draw(st.integers(1, 5))):
        step = data.draw(st.sampled_from(["reshape", "transpose", "narrow"]))
        try:
            if step == "reshape":
                new = data.draw(st.sampled_from(shapes(value.size)))
                relation, value = relation.reshape(new), value.reshape(new)
            elif step == "transpose":
                order = data.draw(st.permutations(range(value.ndim)))
                relation, value = relation.transpose(order), value.transpose(order)
            else:
                axis = data.draw(st.integers(0, value.ndim - 1))
                start = data.draw(st.integers(0, value.shape[axis] - 1))
                stop = data.draw(st.integers(start + 1, value.shape[axis]))
                relation, value = relation.narrow(axis, start, stop), value.take(range(start, stop), axis)
        except NotExpressibleError:
            continue
    assert relation.shape == value.shape
    assert (matrix(relation, None).argmax(0) == value.ravel()).all()
    assert matrix(relation, None).sum() == value.size


def shapes(size: int) -> list[tuple[int, ...]]:
    factors = [n for n in range(1, size + 1) if size % n == 0]
    return [(a, b, size // (a * b)) for a in factors for b in factors if size % (a * b) == 0]


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [((1, 1), (1, 1), (1, 1)), ((2, 1), (0, 2), (1, 2))]
)
def test_convolution(
    groups: int, stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]
) -> None:
    random = np.random.default_rng(groups)
    weight = random.integers(1, 9, (8, 4 // groups, 3, 2)).astype(np.int8)
    op = Conv2d(weight, None, stride, padding, dilation, groups)
    relation = Relation.identity(population(4, 5, 6)).convolution(op, kernel(weight))
    (expected,) = op.evaluate(one_hot((4, 5, 6)))
    assert relation.shape == expected.shape[1:]
    assert (matrix(relation, weight) == expected.reshape(120, -1)).all()


def test_convolution_of_a_part_then_regrouped() -> None:
    weight = np.random.default_rng(0).integers(1, 9, (6, 3, 1, 1)).astype(np.int8)
    op = Conv2d(weight, None)
    relation = Relation.identity(population(9, 2, 4)).narrow(0, 3, 6).convolution(op, kernel(weight))
    relation = relation.narrow(0, 2, 6).reshape((2, 2, 8)).transpose((0, 2, 1))
    (expected,) = op.evaluate(one_hot((9, 2, 4))[:, 3:6])
    expected = expected[:, 2:].reshape(-1, 2, 2, 8).transpose(0, 1, 3, 2)
    assert (matrix(relation, weight) == expected.reshape(72, -1)).all()


def test_sum_over_tokens_before_a_linear_map() -> None:
    weight = np.random.default_rng(0).integers(1, 9, (3, 4)).astype(np.int8)
    relation = Relation.identity(population(4, 2, 3)).reshape((4, 6)).reduce(1).linear(kernel(weight))
    (expected,) = Linear(weight).evaluate(one_hot((4, 2, 3)).sum((2, 3)))
    assert (matrix(relation, weight) == expected).all()
    assert relation.kind == "pointwise"


def test_linear_map_of_a_vector_is_dense() -> None:
    weight = np.ones((3, 24), np.int8)
    relation = Relation.identity(population(4, 2, 3)).reshape((24,)).linear(kernel(weight))
    assert relation.kind == "dense"
    assert (matrix(relation, weight) == 1).all()


def test_pool_reads_what_max_pooling_reads() -> None:
    op = MaxPool2d((3, 3), (2, 2), (1, 1))
    relation = Relation.identity(population(2, 5, 6)).pool(op.kernel, op.stride, op.padding)
    (expected,) = op.evaluate(one_hot((2, 5, 6)))
    assert (matrix(relation, None) == expected.reshape(60, -1)).all()


def test_broadcast_reads_the_same_neuron() -> None:
    relation = Relation.identity(population(2, 3)).broadcast(1, 4)
    expected = np.broadcast_to(one_hot((2, 3))[:, :, None], (6, 2, 4, 3)).reshape(6, -1)
    assert (matrix(relation, None) == expected).all()


def test_what_cannot_be_said_is_refused() -> None:
    source = Relation.identity(population(4, 6))
    weight = np.ones((4, 4, 3, 3), np.int8)
    with pytest.raises(NotExpressibleError, match="mixes axes"):
        source.reshape((6, 4))
    with pytest.raises(NotExpressibleError, match="no box"):
        source.reshape((2, 12)).narrow(1, 4, 9)
    image = Relation.identity(population(4, 6, 6)).convolution(
        Conv2d(weight, None, padding=(1, 1)), kernel(weight)
    )
    with pytest.raises(NotExpressibleError, match="two weighted maps"):
        image.convolution(Conv2d(weight, None), kernel(weight))
    with pytest.raises(NotExpressibleError, match="cut in two"):
        image.reshape((4, 2, 3, 6))
    with pytest.raises(NotExpressibleError, match="follow the population"):
        image.reduce(0)


def test_network_refuses_what_does_not_fit_together() -> None:
    source, target = population(4), Population("target", (5,), "neuron", (0, 1))
    projection, ones = Relation.identity(population(4)).projection(target)
    assert ones is not None
    with pytest.raises(ValueError, match="not a grid"):
        Network("n", (source, target), (projection,), (ones,), ())
    with pytest.raises(ValueError, match="used twice"):
        Network("n", (source, source), (), (), ())
