"""Linear maps and convolutions: for each call the faster of gathering events and a dense product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.runtime.engines.event.cost import busiest
from spikeloom.runtime.engines.event.dense import Product
from spikeloom.runtime.engines.event.kernels.gather import ROOM, gather_rows, gather_windows
from spikeloom.runtime.engines.event.kernels.vector import COLUMNS
from spikeloom.runtime.engines.event.kernels.woven import woven
from spikeloom.runtime.engines.event.memory import arranged, memory_axes
from spikeloom.runtime.engines.event.plan import Planner
from spikeloom.runtime.engines.event.rules import Arrays, plans
from spikeloom.runtime.engines.event.windows import Windows

_MOST_GRADED = 8  # a graded input of k is gathered as k inputs: beyond this, dense is faster
_LEAST_OUTPUTS = 8
_COPIED = 2**18  # bytes of windows that are copied at once, for a dense product
_CACHED = 2**19  # bytes of weights that stay in the cache of a core beside the rest


@dataclass(frozen=True)
class _Weights:
    """Stored weights as the two products want them.

    Attributes:
        matrix: as the gathering kernels hold it, [inputs, columns].
        bases: int32 [1 + n, columns], the bias; then the bias plus all rows, for each way to see them all.
        product: the dense one.
        highest: the largest input; 0 where inputs cannot be gathered.
        limit: share of inputs that are not zero up to which gathering is faster.
    """

    matrix: Array
    bases: Array
    product: Product
    highest: int
    limit: float


@plans(Linear)
def linear(planner: Planner, node: Node, op: Linear, inputs: Arrays) -> Arrays | None:
    """Rows along the last axis; the other axes may lie in any order."""
    (x,) = inputs
    if op.weight.dtype.kind != "i" or x.dtype.kind == "f" or x.dtype == np.int64:
        return None
    last = x.ndim - 3
    axes = (*(axis for axis in memory_axes(x) if axis != last), last)
    x = planner.dense(x, axes)
    y = planner.take(node.output, axes, np.int32)
    rows = arranged(x, axes).reshape(-1, x.shape[-1])
    results = arranged(y, axes).reshape(-1, y.shape[-1])
    _multiply_rows(planner, _weights(planner, node, op.weight.T, op.bias, len(rows)), rows, results)
    return (y,)


@plans(Conv1d)
def conv1d(planner: Planner, node: Node, op: Conv1d, inputs: Arrays) -> Arrays | None:
    """A convolution of one axis is one of two axes with a height of one."""
    return _convolve(planner, node, op, inputs[0])


@plans(Conv2d)
def conv2d(planner: Planner, node: Node, op: Conv2d, inputs: Arrays) -> Arrays | None:
    """A product of windows and weights; a kernel of one is a linear map at every place."""
    return _convolve(planner, node, op, inputs[0])


def _convolve(planner: Planner, node: Node, op: Convolution, x: Array) -> Arrays | None:
    if op.groups != 1 or op.weight.dtype.kind != "i" or x.dtype.kind == "f" or x.dtype == np.int64:
        return None
    axes = (*range(1, op.axes + 1), 0)
    x = planner.dense(x, axes)
    y = planner.take(node.output, axes, np.int32)
    outputs, channels = op.weight.shape[:2]
    matrix = op.weight.reshape(outputs, channels, -1).transpose(2, 1, 0).reshape(-1, outputs)
    rows = y.size // outputs
    results = arranged(y, axes).reshape(rows, outputs)
    if {*op.kernel, *op.stride} == {1} and not any(op.padding):
        flat = arranged(x, axes).reshape(rows, channels)
        _multiply_rows(planner, _weights(planner, node, matrix, op.bias, rows), flat, results)
    else:
        sizes = (_as_images(arranged(value, axes)).shape[1:3] for value in (x, y))
        windows = Windows.of(op, *sizes)
        weights = _weights(planner, node, matrix, op.bias, rows, windows, x.size)
        _multiply_windows(planner, weights, windows, arranged(x, axes), arranged(y, axes))
    return (y,)


def _weights(
    planner: Planner,
    node: Node,
    matrix: Array,
    bias: Array | None,
    rows: int,
    windows: Windows | None = None,
    looks: int | None = None,
) -> _Weights:
    kind = planner.graph.types[node.inputs[0]].kind
    low, high = kind.bounds
    parameters, products = planner.shared.parameters, planner.shared.products
    if node.name not in products:
        padded = windows is not None and bool(windows.geometry[4:6].any())
        products[node.name] = Product.of(matrix, bias, kind, padded)
        few = low >= 0 and high <= _MOST_GRADED and matrix.shape[1] >= _LEAST_OUTPUTS
        gathers = few and _fits_bytes(matrix) and products[node.name].dtype is np.uint8
        parameters[node.name, "weight"] = woven(matrix if gathers else matrix[:, :0])
        sums = matrix.sum(0, dtype=np.int64)[None] if windows is None else windows.sums(matrix)
        parameters[node.name, "bases"] = _bases(bias, sums, parameters[node.name, "weight"].shape[1])
    inputs, outputs = matrix.shape
    held = parameters[node.name, "weight"]
    limit = busiest(rows, inputs, outputs, looks) / (1 if high == 1 else 1.5)
    highest = high if held.size else 0
    return _Weights(held, parameters[node.name, "bases"], products[node.name], highest, limit)


def _bases(bias: Array | None, sums: Array, columns: int) -> Array:
    """What a gathered product begins with, int32 [1 + n, columns]: nothing or all rows, and the bias."""
    bases = np.zeros((1 + len(sums), columns), np.int32)
    if columns:
        bases[1:, : sums.shape[1]] = sums
        bases[:, : sums.shape[1]] += 0 if bias is None else bias.astype(np.int32)
    return bases


def _fits_bytes(matrix: Array) -> bool:
    return int(matrix.min(initial=0)) >= -128 and int(matrix.max(initial=0)) <= 127


def _encoded(planner: Planner, weights: _Weights, x: Array) -> Array:
    """The input as the dense product wants it."""
    product = weights.product
    if x.dtype == product.dtype and not product.shift:
        return x
    encoded = planner.scratch(x.shape, product.dtype)
    planner.call(_shift, x, product.shift, encoded)
    return encoded


def _shift(x: Array, shift: int, y: Array) -> None:
    np.add(x, shift, out=y, casting="unsafe", dtype=np.int32)


def _multiply_rows(planner: Planner, weights: _Weights, x: Array, y: Array) -> None:
    """Multiply the rows of x [rows, inputs] by the weights into y."""
    gathered = weights.highest and x.dtype == np.uint8
    dense = weights.product.bind(x if gathered else _encoded(planner, weights, x), y)
    if not gathered:
        planner.call(dense)
        return
    rooms = (
        planner.scratch((x.shape[1] * weights.highest + ROOM,), np.int32),
        planner.scratch(weights.bases.shape[1:], np.int32),
    )
    arguments = (x, weights.matrix, weights.bases, weights.highest, weights.limit, *rooms, y)
    planner.call(lambda: gather_rows(*arguments) or dense())


def _multiply_windows(planner: Planner, weights: _Weights, seen: Windows, x: Array, y: Array) -> None:
    """The windows of x [steps, samples, *places, channels] times the weights into y."""
    gathered = weights.highest and x.dtype == np.uint8
    held = x if gathered else _encoded(planner, weights, x)
    images, results = _as_images(held), _as_images(y)
    inside, windows, border = _windows(planner, images, seen.geometry, results)
    pieces = _pieces(windows)
    taken = planner.scratch((windows[pieces[0]].size,), images.dtype)
    copies, products = [], []
    for piece in pieces:
        part = taken[: windows[piece].size].reshape(windows[piece].shape)
        copies.append((part, windows[piece]))
        ends = (part.reshape(-1, windows[0, 0, 0].size), results[piece].reshape(-1, y.shape[-1]))
        products.append(weights.product.bind(*ends))
    zero = weights.product.zero

    def multiply() -> None:
        if border is not None:
            border.fill(zero)
        if inside is not images:
            np.copyto(inside, images)
        for (part, seen_there), dense in zip(copies, products, strict=True):
            np.copyto(part, seen_there)
            dense()

    if not gathered:
        planner.call(multiply)
        return
    _, height, width, channels = images.shape
    inputs, columns = weights.matrix.shape
    rooms = (
        planner.scratch((height, width * channels * weights.highest + ROOM), np.int32),
        planner.scratch((height, width + 1), np.int32),
        planner.scratch((inputs * weights.highest + ROOM,), np.int32),
        planner.scratch((columns,), np.int32),
    )
    block = max(COLUMNS, _CACHED // inputs // COLUMNS * COLUMNS)
    shared = (weights.matrix, weights.bases, seen.kinds, seen.geometry, weights.highest, weights.limit, block)

    def run() -> None:
        if not gather_windows(images, *shared, *rooms, results):
            multiply()

    planner.call(run)


def _windows(planner: Planner, x: Array, geometry: Array, y: Array) -> tuple[Array, Array, Array | None]:
    """Where the pictures go, a view of their windows for each place of y, and the padded pictures."""
    kernel, stride, padding, dilation = geometry.reshape(4, 2)
    padded, inside, border = x, x, None
    if padding.any():
        height, width = (int(n + 2 * p) for n, p in zip(x.shape[1:3], padding, strict=True))
        padded = border = planner.scratch((len(x), height, width, x.shape[3]), x.dtype)
        inside = padded[:, padding[0] : height - padding[0], padding[1] : width - padding[1]]
    image, row, column, channel = padded.strides
    steps = (image, row * stride[0], column * stride[1], row * dilation[0], column * dilation[1], channel)
    shape = (*y.shape[:3], *kernel, x.shape[3])
    return inside, as_strided(padded, [int(n) for n in shape], [int(n) for n in steps]), border


def _pieces(windows: Array) -> list[tuple[slice, slice]]:
    """Parts of windows [images, height, ...] that stay in the cache: whole pictures, or rows of one."""
    images, height = windows.shape[:2]
    row = windows[0, 0].nbytes
    rows = min(height, max(1, _COPIED // row))
    together = max(1, _COPIED // (row * height))
    return [
        (slice(n, n + together), slice(i, i + rows))
        for n in range(0, images, together)
        for i in range(0, height, rows)
    ]


def _as_images(x: Array) -> Array:
    """[images, height, width, channels] of [steps, samples, (height,) width, channels]."""
    height = x.shape[2:-2] or (1,)
    return x.reshape(-1, *height, *x.shape[-2:])
