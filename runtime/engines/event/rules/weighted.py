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
from spikeloom.runtime.engines.event.kernels.gather import COLUMNS, ROOM, gather_rows, gather_windows
from spikeloom.runtime.engines.event.memory import arranged, memory_axes
from spikeloom.runtime.engines.event.plan import Planner
from spikeloom.runtime.engines.event.rules import Arrays, plans

_MOST_GRADED = 8  # a graded input of k is gathered as k inputs: beyond this, dense is faster
_LEAST_OUTPUTS = 8


@dataclass(frozen=True)
class _Weights:
    """Stored weights as the two products want them.

    Attributes:
        matrix: int8 [inputs, columns], with columns of zeros behind the outputs.
        bias: int32 [columns].
        product: the dense one.
        highest: the largest input; 0 where inputs cannot be gathered.
        limit: share of inputs that are not zero up to which gathering is faster.
    """

    matrix: Array
    bias: Array
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
    looks = None if {*op.kernel, *op.stride} == {1} else x.size
    weights = _weights(planner, node, matrix, op.bias, rows, looks, any(op.padding))
    results = arranged(y, axes).reshape(rows, outputs)
    if {*op.kernel, *op.stride} == {1} and not any(op.padding):
        flat = arranged(x, axes).reshape(rows, channels)
        _multiply_rows(planner, weights, flat, results)
    else:
        _multiply_windows(planner, weights, op, arranged(x, axes), arranged(y, axes))
    return (y,)


def _weights(
    planner: Planner,
    node: Node,
    matrix: Array,
    bias: Array | None,
    rows: int,
    looks: int | None = None,
    padded: bool = False,
) -> _Weights:
    kind = planner.graph.types[node.inputs[0]].kind
    low, high = kind.bounds
    parameters, products = planner.shared.parameters, planner.shared.products
    if node.name not in products:
        products[node.name] = Product.of(matrix, bias, kind, padded)
        few = low >= 0 and high <= _MOST_GRADED and matrix.shape[1] >= _LEAST_OUTPUTS
        gathers = few and _fits_bytes(matrix) and products[node.name].dtype is np.uint8
        parameters[node.name, "weight"] = _columns(matrix if gathers else matrix[:, :0], np.int8)
        none = np.zeros(matrix.shape[1], np.int32)
        parameters[node.name, "bias"] = _columns((none if bias is None else bias)[None], np.int32)[0]
    inputs, outputs = matrix.shape
    held = parameters[node.name, "weight"]
    limit = busiest(rows, inputs, outputs, looks) / (1 if high == 1 else 1.5)
    highest = high if held.size else 0
    return _Weights(held, parameters[node.name, "bias"], products[node.name], highest, limit)


def _columns(matrix: Array, dtype: type[np.generic]) -> Array:
    """The matrix with columns of zeros up to what the kernels take at once."""
    return np.ascontiguousarray(np.pad(matrix.astype(dtype), ((0, 0), (0, -matrix.shape[1] % COLUMNS))))


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
        planner.scratch(weights.bias.shape, np.int32),
    )
    arguments = (x, weights.matrix, weights.bias, weights.highest, weights.limit, *rooms, y)
    planner.call(lambda: gather_rows(*arguments) or dense())


def _multiply_windows(planner: Planner, weights: _Weights, op: Convolution, x: Array, y: Array) -> None:
    """The windows of x [steps, samples, *places, channels] times the weights into y."""
    gathered = weights.highest and x.dtype == np.uint8
    held = x if gathered else _encoded(planner, weights, x)
    images, results = _as_images(held), _as_images(y)
    geometry = np.array(
        [pair for numbers in (op.kernel, op.stride, op.padding, op.dilation) for pair in _two(numbers)]
    )
    geometry[[0, 2, 6]] = geometry[[0, 2, 6]] if op.axes == 2 else 1
    inside, windows, border = _windows(planner, images, geometry, results)
    taken = planner.scratch(windows.shape, images.dtype)
    dense = weights.product.bind(taken.reshape(-1, windows[0, 0, 0].size), results.reshape(-1, y.shape[-1]))
    zero = weights.product.zero

    def multiply() -> None:
        if border is not None:
            border.fill(zero)
        if inside is not images:
            np.copyto(inside, images)
        np.copyto(taken, windows)
        dense()

    if not gathered:
        planner.call(multiply)
        return
    _, height, width, channels = images.shape
    rooms = (
        planner.scratch((height, width * channels * weights.highest + ROOM), np.int32),
        planner.scratch((height, width + 1), np.int32),
        planner.scratch(weights.bias.shape, np.int32),
    )
    shared = (weights.matrix, weights.bias, geometry, weights.highest, weights.limit)

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


def _two(numbers: tuple[int, ...]) -> tuple[int, int]:
    """A number for height and one for width; a single axis is the width."""
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, numbers[0])


def _as_images(x: Array) -> Array:
    """[images, height, width, channels] of [steps, samples, (height,) width, channels]."""
    height = x.shape[2:-2] or (1,)
    return x.reshape(-1, *height, *x.shape[-2:])
