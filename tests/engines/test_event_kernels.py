"""The compiled kernels against NumPy, at sizes around that of a vector; an engine that keeps no spikes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.runtime.engines.event.engine import EventEngine
from spikeloom.runtime.engines.event.kernels.gather import COLUMNS, ROOM, gather_rows, gather_windows
from spikeloom.runtime.engines.event.kernels.product import masked_outer_product, masked_product
from spikeloom.runtime.session import run_from_reset
from tests.random_networks import random_network


def padded(matrix: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.ascontiguousarray(np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % COLUMNS))))


def events(rng: np.random.Generator, *shape: int, highest: int = 1) -> NDArray[np.uint8]:
    active = rng.random(shape) < 0.4
    counts: NDArray[np.uint8] = (active * rng.integers(1, highest + 1, shape)).astype(np.uint8)
    return counts


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "highest"),
    [
        (1, 1, 1, 1),
        (60, 8, 8, 1),
        (7, 63, 32, 1),
        (7, 64, 40, 1),
        (7, 65, 96, 1),
        (3, 130, 416, 3),
        (2, 70, 900, 1),
    ],
)
def test_rows_are_gathered(rows: int, inputs: int, outputs: int, highest: int) -> None:
    rng = np.random.default_rng(rows + inputs)
    x = events(rng, rows, inputs, highest=highest)
    weight = rng.integers(-128, 128, (inputs, outputs)).astype(np.int8)
    held = padded(weight)
    bias: NDArray[np.int32] = rng.integers(-9, 9, held.shape[1:]).astype(np.int32)
    room, total = np.empty(inputs * highest + ROOM, np.int32), np.empty(len(bias), np.int32)
    y = np.empty((rows, outputs), np.int32)
    assert gather_rows(x, held, bias, highest, 1.0, room, total, y)
    assert np.array_equal(y, x.astype(int) @ weight.astype(int) + bias[:outputs])


def test_sums_beyond_sixteen_bits_are_right() -> None:
    """1,000 active inputs of the least weight there is: 255 of them are all that 16 bits hold."""
    x, weight = np.ones((1, 1000), np.uint8), np.full((1000, 32), -128, np.int8)
    y = np.empty((1, 32), np.int32)
    none = np.zeros(32, np.int32)
    gather_rows(x, weight, none, 1, 1.0, np.empty(1000 + ROOM, np.int32), none.copy(), y)
    assert (y == -128_000).all()


def test_a_busy_input_is_left_to_the_dense_product() -> None:
    x, y = np.ones((1, 8), np.uint8), np.full((1, 32), 7, np.int32)
    none, room = np.zeros(32, np.int32), np.empty(8 + ROOM, np.int32)
    assert not gather_rows(x, np.ones((8, 32), np.int8), none, 1, 0.9, room, none, y)
    assert (y == 7).all()


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride", "padding", "dilation"),
    [
        (3, 8, (3, 3), (1, 1), (1, 1), (1, 1)),
        (2, 32, (2, 3), (2, 1), (1, 2), (1, 1)),
        (70, 40, (3, 3), (1, 1), (1, 1), (1, 2)),
        (8, 64, (1, 3), (1, 2), (0, 2), (1, 1)),
    ],
)
def test_windows_are_gathered(
    channels: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> None:
    rng = np.random.default_rng(channels)
    weight = rng.integers(-128, 128, (outputs, channels, *kernel)).astype(np.int8)
    x = events(rng, 2, 5, 9, channels)
    op = Conv2d(weight, None, stride, padding, dilation)
    (wanted,) = op.evaluate(x.transpose(0, 3, 1, 2).astype(np.int64))
    held = padded(weight.reshape(outputs, channels, -1).transpose(2, 1, 0).reshape(-1, outputs))
    none = np.zeros(held.shape[1], np.int32)
    y = np.empty((2, *wanted.shape[2:], outputs), np.int32)
    rooms = (np.empty((5, 9 * channels + ROOM), np.int32), np.empty((5, 10), np.int32), none.copy())
    geometry = np.array([*kernel, *stride, *padding, *dilation])
    assert gather_windows(x, held, none, geometry, 1, 1.0, *rooms, y)
    assert np.array_equal(y, wanted.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("width", [1, 32, 33])
def test_products_of_attention(width: int) -> None:
    """Both kernels, on a in the order of memory that each is for."""
    rng = np.random.default_rng(width)
    a, b = events(rng, 2, 3, 7, 5, highest=3), rng.integers(-9, 9, (2, 3, 5, width)).astype(np.int32)
    turned = np.ascontiguousarray(a.swapaxes(2, 3)).swapaxes(2, 3)
    for kernel, given in ((masked_product, a), (masked_outer_product, turned)):
        y = np.empty((2, 3, 7, width), np.int32)
        kernel(given, b, y)
        assert np.array_equal(y, a.astype(int) @ b)


def test_an_engine_may_keep_no_spikes() -> None:
    network = random_network(0)
    full, lean = (EventEngine(network.graph, records=records) for records in (True, False))
    wanted, got = (run_from_reset(engine, network.frames) for engine in (full, lean))
    assert np.array_equal(wanted.output, got.output)
    assert got.spikes == {}
    assert all(np.array_equal(full.counts[layer], lean.counts[layer]) for layer in wanted.spikes)
