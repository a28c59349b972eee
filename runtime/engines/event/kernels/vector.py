"""Two primitives in vectors of LLVM, which loops over arrays do not become.

:func:`nonzero_64` compares 64 bytes at once, and the ``add_rows`` functions keep the sums of up to 512
columns in registers while they add rows of weights. LLVM turns both into what the processor has, so that
they are right everywhere and fast where vectors are wide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped_cgutils
from numba.extending import intrinsic

from spikeloom.compiler.graph.op import Array

cgutils: Any = untyped_cgutils

LANES = 32  # sums of 16 bits in a register of 512
AHEAD = 4  # rows that are asked for before they are needed, where a row is long
_BYTES = 64
_CACHE_LINE = 64
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


@intrinsic
def _nonzero_64(typing_context: Any, x: Any, start: Any) -> Any:

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_I8, _BYTES)
        loaded = _load(
            builder, builder.gep(_array(context, builder, signature, arguments, 0), [arguments[1]]), vector
        )
        return builder.bitcast(builder.icmp_unsigned("!=", loaded, ir.Constant(vector, None)), _I64)

    return types.uint64(x, start), build


@intrinsic
def _lowest_bit(typing_context: Any, bits: Any) -> Any:

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), build


def _row_adder(registers: int, ahead: int = 0) -> Callable[..., None]:
    """Make a function of (weight, column, rows, start, stop, shift, total).

    It adds weight[rows[k] + shift, column:column + registers * LANES], k from start to stop, to the same
    columns of total. weight is int8 [inputs, outputs], rows int32 [n] with ``ahead`` further places, total
    int32 [outputs]; 255 rows at most, so that 16 bits hold the sums.
    """

    @intrinsic
    def add_rows(
        typing_context: Any,
        weight: Any,
        column: Any,
        rows: Any,
        start: Any,
        stop: Any,
        shift: Any,
        total: Any,
    ) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, column_at, _, first, last, shift_by, _ = arguments
            data, listed, sums = (_array(context, builder, signature, arguments, at) for at in (0, 2, 6))
            word = context.get_value_type(types.intp)
            stride = cgutils.unpack_tuple(
                builder, context.make_array(signature.args[0])(context, builder, arguments[0]).strides, 2
            )[0]
            base = builder.gep(data, [builder.add(column_at, builder.mul(shift_by, stride))])
            narrow, wide = ir.VectorType(_I16, LANES), ir.VectorType(_I32, LANES)
            partial = [
                cgutils.alloca_once_value(builder, ir.Constant(narrow, None)) for _ in range(registers)
            ]
            for register in partial:  # an alloca is made once, before any loop around this
                builder.store(ir.Constant(narrow, None), register)

            def row_at(index: Any) -> Any:
                row = builder.sext(builder.load(builder.gep(listed, [index])), word)
                return builder.gep(base, [builder.mul(row, stride)])

            with cgutils.for_range(builder, last, start=first) as loop:
                if ahead:
                    later = row_at(builder.add(loop.index, ir.Constant(word, ahead)))
                    _prefetch(builder, word, later, registers * LANES)
                row = row_at(loop.index)
                for number, register in enumerate(partial):
                    part = builder.gep(row, [ir.Constant(word, number * LANES)])
                    loaded = builder.sext(_load(builder, part, ir.VectorType(_I8, LANES)), narrow)
                    builder.store(builder.add(builder.load(register), loaded), register)
            for number, register in enumerate(partial):
                place = builder.gep(sums, [builder.add(column_at, ir.Constant(word, number * LANES))])
                pointer = builder.bitcast(place, wide.as_pointer())
                added = builder.add(_load(builder, place, wide), builder.sext(builder.load(register), wide))
                builder.store(added, pointer).align = 1
            return context.get_dummy_value()

        return types.void(weight, column, rows, start, stop, shift, total), build

    return cast(Callable[..., None], add_rows)


nonzero_64 = cast(Callable[[Array, int], np.uint64], _nonzero_64)
"""Bit k says whether x[start + k] is not zero; x is uint8 [n], start at most n - 64."""

lowest_bit = cast(Callable[[np.uint64], int], _lowest_bit)
"""The place of the lowest of 64 bits that is set; at least one is."""

add_rows_512 = _row_adder(16, AHEAD)
add_rows_384 = _row_adder(12, AHEAD)
add_rows_128 = _row_adder(4, AHEAD)
add_rows_64 = _row_adder(2, AHEAD)
add_rows_32 = _row_adder(1, AHEAD)


def _array(context: Any, builder: Any, signature: Any, arguments: Any, at: int) -> Any:
    """Where the numbers of an argument lie."""
    return context.make_array(signature.args[at])(context, builder, arguments[at]).data


def _load(builder: Any, place: Any, vector: Any) -> Any:
    loaded = builder.load(builder.bitcast(place, vector.as_pointer()))
    loaded.align = 1
    return loaded


def _prefetch(builder: Any, word: Any, place: Any, size: int) -> None:
    pointer = _I8.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
    function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
    for offset in range(0, size, _CACHE_LINE):
        line = builder.gep(place, [ir.Constant(word, offset)])
        builder.call(function, [line, _I32(0), _I32(3), _I32(1)])  # to read, keep, data
