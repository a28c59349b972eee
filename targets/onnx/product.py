"""Exact products of integers on the fast paths of ONNX runtimes.

``MatMulInteger`` with unsigned 8-bit activations and signed 8-bit weights is the fast one. On
processors that multiply pairs of bytes into 16 bits (x86 without VNNI, ``vpmaddubsw``) a pair sum
saturates when activations exceed 128 and weights are wide, which would silently change a spike;
such activations are split into their low seven bits and their high bit, with the weights twice
along the contracted axis. Numbers that do not fit 8 bits go through a float32 ``MatMul`` where no
partial sum can leave 2**24, so that every one is exact, else through an integer ``MatMul``. (A
runtime must not compute float32 products in TF32 or bfloat16; ONNX Runtime does not on CPUs.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from spikeloom.compiler.graph.kinds import Kind
from spikeloom.compiler.graph.op import Array
from spikeloom.targets.onnx.writer import Tensor, Writer

EXACT_FLOAT32 = 2**24
_HIGH_BIT = 128


def pairs_saturate(largest: int, low: int, high: int) -> bool:
    """Whether two products of 0..largest and low..high may leave 16 bits.

    >>> pairs_saturate(128, -128, 127), pairs_saturate(255, -127, 127), pairs_saturate(255, -64, 64)
    (False, True, False)
    """
    return 2 * largest * high > 32767 or 2 * largest * low < -32768


def wide_type(reach: int, *operands: int) -> Literal["float32", "int32", "int64"]:
    """The data type whose products and partial sums are exact, given bounds of their magnitude.

    >>> wide_type(2**24, 3, 5), wide_type(2**25, 3, 5), wide_type(2**31, 3, 5)
    ('float32', 'int32', 'int64')
    """
    if max(reach, *operands) <= EXACT_FLOAT32:
        return "float32"
    return "int32" if reach < 2**31 else "int64"


@dataclass(frozen=True)
class Encoding:
    """How an activation is held while it is multiplied by weights.

    Attributes:
        dtype: of the held numbers.
        zero: the number that stands for 0.
        split: whether the low seven bits and the high bit are held side by side on the last axis.
    """

    dtype: Literal["uint8", "float32", "int32", "int64"]
    zero: int = 0
    split: bool = False

    @staticmethod
    def choose(kind: Kind, weight: Array) -> Encoding:
        """The fastest exact encoding of inputs of that kind for weights [outputs, ...]."""
        low, high = min(kind.bounds[0], 0), max(kind.bounds[1], 0)
        least, most = min(int(weight.min()), 0), max(int(weight.max()), 0)
        fan_in = int(np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(1).max())
        if high - low <= 255 and least >= -128 and most <= 127 and fan_in * 255 < 2**31:
            return Encoding("uint8", -low, pairs_saturate(high - low, least, most))
        magnitude = max(-low, high)
        return Encoding(wide_type(fan_in * magnitude, magnitude, most, -least))

    def encode(self, writer: Writer, x: Tensor) -> Tensor:
        """The activation in the data type of the encoding, not split yet."""
        if self.zero:
            zero = writer.constant(np.array(self.zero, np.int32), "zero")
            shifted = writer.node("Add", writer.held_as(x, "int32").name, zero, hint="shifted")
            x = replace(x, name=shifted, dtype="int32")
        return writer.held_as(x, self.dtype)

    def separate(self, writer: Writer, name: str, axis: int) -> str:
        """The low bits and the high bit of encoded numbers one after the other along an axis, if split."""
        if not self.split:
            return name
        masks = (("low", _HIGH_BIT - 1), ("high", _HIGH_BIT))
        parts = [
            writer.node("BitwiseAnd", name, writer.constant(np.array(mask, np.uint8), "mask"), hint=hint)
            for hint, mask in masks
        ]
        return writer.concat(parts, axis)

    def multiply(self, writer: Writer, rows: str, weight: Array, bias: Array | None) -> str:
        """int32 [..., outputs] from rows [..., taps * channels] of encoded and separated numbers.

        ``weight`` is [*groups, taps, channels, outputs] and ``bias`` [*groups, outputs].
        """
        repeated = np.concatenate([weight, weight], -2) if self.split else weight
        matrix = repeated.reshape(*weight.shape[:-3], -1, weight.shape[-1])
        product = self._product(writer, rows, matrix)
        offset = np.zeros(1, np.int64) if bias is None else bias.astype(np.int64)
        if self.split:  # each half would be corrected by a zero point of its own
            offset = offset - self.zero * weight.astype(np.int64).sum((-3, -2))
        if not offset.any():
            return product
        offset = offset if offset.ndim == 1 else np.expand_dims(offset, -2)
        return writer.node("Add", product, writer.constant(offset.astype(np.int32), "bias"), hint="biased")

    def _product(self, writer: Writer, rows: str, matrix: Array) -> str:
        weights = writer.constant(_narrowest(matrix), "weight")
        if self.dtype != "uint8":
            product = writer.node("MatMul", rows, writer.cast(weights, self.dtype), hint="product")
            return product if self.dtype == "int32" else writer.cast(product, "int32")
        inputs = [rows, weights]
        if self.zero and not self.split:
            inputs.append(writer.constant(np.array(self.zero, np.uint8), "zero_point"))
        return writer.node("MatMulInteger", *inputs, hint="product")


def _narrowest(array: Array) -> Array:
    """The same integers in the narrowest signed type that holds them."""
    largest = max(int(array.max()), -1 - int(array.min()))
    return array.astype(np.min_scalar_type(-largest - 1))
