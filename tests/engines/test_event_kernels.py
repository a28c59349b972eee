"""The compiled kernels against NumPy, at sizes around that of a vector; an engine that keeps no spikes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.runtime.engines.event.engine import EventEngine
from spikeloom.runtime.engines.event.kernels.gather import ROOM, gather_rows, gather_windows
from spikeloom.runtime.engines.event.kernels.product import (
    masked_outer_product,
    masked_product,
    spike_outer_product,
    spike_product,
)
from spikeloom.runtime.engines.event.kernels.woven import woven
from spikeloom.runtime.engines.event.windows import Windows
from spikeloom.runtime.session import run_from_reset
from tests.random_networks import random_network


def events(rng: np.random.Generator, *shape: int, highest: int = 1, rate: float = 0.4) -> NDArray[np.uint8]:
    active = rng.random(shape) < rate
    counts: NDArray[np.uint8] = (active * rng.integers(1, highest + 1, shape)).astype(np.uint8)
    return counts


def gathered(
    x: NDArray[np.uint8], weight: NDArray[np.int8], bias: NDArray[np.int32], highest: int = 1
) -> NDArray[np.int32]:
    held, (inputs, outputs) = woven(weight), weight.shape
    bases = np.zeros((2, held.shape[1]), np.int32)
    bases[:, :outputs] = bias + np.stack([np.zeros(outputs, np.int32), weight.sum(0, dtype=np.int32)])
    room, total = np.empty(inputs * highest + ROOM, np.int32), np.empty(held.shape[1], np.int32)
    y: NDArray[np.int32] = np.empty((len(x), outputs), np.int32)
    assert gather_rows(x, held, bases, highest, 1.0, room, total, y)
    return y


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.8])
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
        (2, 600, 640, 1),
    ],
)
def test_rows_are_gathered(rows: int, inputs: int, outputs: int, highest: int, rate: float) -> None:
    rng = np.random.default_rng(rows + inputs)
    x = events(rng, rows, inputs, highest=highest, rate=rate)
    weight = rng.integers(-128, 128, (inputs, outputs)).astype(np.int8)
    bias: NDArray[np.int32] = rng.integers(-9, 9, outputs).astype(np.int32)
    y = gathered(x, weight, bias, highest)
    assert np.array_equal(y, x.astype(int) @ weight.astype(int) + bias)


@pytest.mark.parametrize("least", [-128, 127])
@pytest.mark.parametrize("silent", [False, True])
def test_sums_beyond_sixteen_bits_are_right(least: int, silent: bool) -> None:
    """1,000 rows of the extreme weights: 257 of unsigned bytes are all that 16 bits hold."""
    weight = np.full((2200, 32), least, np.int8)
    x = np.zeros((1, 2200), np.uint8)
    x[0, : 1200 if silent else 1000] = 1
    y = gathered(x, weight, np.zeros(32, np.int32))
    assert (y == least * int(x.sum())).all()


def test_a_busy_input_is_left_to_the_dense_product() -> None:
    x, y = np.zeros((1, 8), np.uint8), np.full((1, 32), 7, np.int32)
    x[0, ::2] = 1
    bases, room = np.zeros((2, 64), np.int32), np.empty(8 + ROOM, np.int32)
    assert not gather_rows(x, woven(np.ones((8, 32), np.int8)), bases, 1, 0.4, room, bases[0], y)
    assert (y == 7).all()


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride", "padding", "dilation"),
    [
        (3, 8, (3, 3), (1, 1), (1, 1), (1, 1)),
        (2, 32, (2, 3), (2, 1), (1, 2), (1, 1)),
        (70, 40, (3, 3), (1, 1), (1, 1), (1, 2)),
        (8, 64, (1, 3), (1, 2), (0, 2), (1, 1)),
        (40, 200, (3, 3), (1, 1), (1, 1), (1, 1)),
    ],
)
@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_windows_are_gathered(
    channels: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    rate: float,
) -> None:
    rng = np.random.default_rng(channels)
    weight = rng.integers(-128, 128, (outputs, channels, *kernel)).astype(np.int8)
    x = events(rng, 2, 5, 9, channels, rate=rate)
    bias = rng.integers(-9, 9, outputs)
    op = Conv2d(weight, bias, stride, padding, dilation)
    (wanted,) = op.evaluate(x.transpose(0, 3, 1, 2).astype(np.int64))
    matrix = weight.reshape(outputs, channels, -1).transpose(2, 1, 0).reshape(-1, outputs)
    windows, held = Windows.of(op, (5, 9), wanted.shape[2:]), woven(matrix)
    sums = windows.sums(matrix)
    bases = np.zeros((1 + len(sums), held.shape[1]), np.int32)
    bases[:, :outputs] = bias + np.concatenate([0 * sums[:1], sums])
    y = np.empty((2, *wanted.shape[2:], outputs), np.int32)
    sizes = [(5, 9 * channels + ROOM), (5, 10), (len(held) + ROOM,), (held.shape[1],)]
    places, starts, window, total = (np.empty(size, np.int32) for size in sizes)
    block = 64 if outputs > 64 else 512
    shared = (bases, windows.kinds, windows.geometry, 1, 1.0, block)
    assert gather_windows(x, held, *shared, places, starts, window, total, y)
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


@pytest.mark.parametrize(("inner", "width"), [(32, 32), (64, 96)])
def test_products_of_spikes_in_whole_registers(inner: int, width: int) -> None:
    """Heads lie beside the columns, as in the networks."""
    rng = np.random.default_rng(width)
    a, b = (events(rng, 2, 7, 3, size).swapaxes(1, 2) for size in (inner, width))  # [2, heads, 7, size]
    counts: NDArray[np.int32] = rng.integers(-9, 9, (2, inner, 3, width), np.int32).swapaxes(1, 2)
    y = np.empty((2, 7, 3, width), np.int32).swapaxes(1, 2)
    spike_product(a, counts, y)
    assert np.array_equal(y, a.astype(int) @ counts)
    turned, totals = a.swapaxes(2, 3), np.empty((2, inner, 3, width), np.int32).swapaxes(1, 2)
    spike_outer_product(turned, b, totals)
    assert np.array_equal(totals, turned.astype(int) @ b)


def test_an_engine_may_keep_no_spikes() -> None:
    network = random_network(0)
    full, lean = (EventEngine(network.graph, records=records) for records in (True, False))
    wanted, got = (run_from_reset(engine, network.frames) for engine in (full, lean))
    assert np.array_equal(wanted.output, got.output)
    assert got.spikes == {}
    assert all(np.array_equal(full.counts[layer], lean.counts[layer]) for layer in wanted.spikes)
