"""Primitives in vectors of LLVM, which loops over arrays do not become.

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

COLUMNS = 64  # weights of 8 bits in a register of 512
LANES = 32  # sums of 16 bits in it
MOVED = 16  # numbers of 32 bits in it
ROWS = 248  # below 257: 257 * 255 is the last sum that fits 16 bits
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
def _nonzero_32(typing_context: Any, x: Any, at: Any) -> Any:

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_I8, LANES)
        place = builder.gep(_array(context, builder, signature, arguments, 0), [arguments[1]])
        bits = builder.icmp_unsigned("!=", _load(builder, place, vector), ir.Constant(vector, None))
        return builder.zext(builder.bitcast(bits, _I32), _I64)

    return types.uint64(x, at), build


@intrinsic
def _sum_listed(
    typing_context: Any, x: Any, at: Any, stride: Any, listed: Any, count: Any, y: Any, to: Any
) -> Any:

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, word = ir.VectorType(_I32, LANES), context.get_value_type(types.intp)
        source, places, target = (
            builder.bitcast(_array(context, builder, signature, arguments, number), _I8.as_pointer())
            for number in (0, 3, 5)
        )
        source = builder.gep(source, [arguments[1]])
        places = builder.bitcast(places, _I32.as_pointer())
        total = cgutils.alloca_once_value(builder, ir.Constant(wide, None))
        builder.store(ir.Constant(wide, None), total)
        with cgutils.for_range(builder, arguments[4]) as loop:
            row = builder.sext(builder.load(builder.gep(places, [loop.index])), word)
            place = builder.gep(source, [builder.mul(row, arguments[2])])
            builder.store(builder.add(builder.load(total), _load(builder, place, wide)), total)
        place = builder.bitcast(builder.gep(target, [arguments[6]]), wide.as_pointer())
        builder.store(builder.load(total), place).align = 1
        return context.get_dummy_value()

    return types.void(x, at, stride, listed, count, y, to), build


@intrinsic
def _add_to_listed(
    typing_context: Any, x: Any, at: Any, listed: Any, count: Any, y: Any, to: Any, stride: Any
) -> Any:

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, word = ir.VectorType(_I32, LANES), context.get_value_type(types.intp)
        source, places, target = (
            builder.bitcast(_array(context, builder, signature, arguments, number), _I8.as_pointer())
            for number in (0, 2, 4)
        )
        places = builder.bitcast(places, _I32.as_pointer())
        narrow = _load(builder, builder.gep(source, [arguments[1]]), ir.VectorType(_I8, LANES))
        added, target = builder.zext(narrow, wide), builder.gep(target, [arguments[5]])
        with cgutils.for_range(builder, arguments[3]) as loop:
            row = builder.sext(builder.load(builder.gep(places, [loop.index])), word)
            place = builder.gep(target, [builder.mul(row, arguments[6])])
            total = builder.add(_load(builder, place, wide), added)
            builder.store(total, builder.bitcast(place, wide.as_pointer())).align = 1
        return context.get_dummy_value()

    return types.void(x, at, listed, count, y, to, stride), build


@intrinsic
def _lowest_bit(typing_context: Any, bits: Any) -> Any:

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), build


@intrinsic
def _count_bits(typing_context: Any, bits: Any) -> Any:

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), build


@intrinsic
def _shift_16(typing_context: Any, places: Any, start: Any, by: Any, window: Any, at: Any) -> Any:

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_I32, MOVED)
        source, target = (_array(context, builder, signature, arguments, number) for number in (0, 3))
        loaded = _load(builder, builder.gep(source, [arguments[1]]), vector)
        moved = builder.add(loaded, _splat(builder, builder.trunc(arguments[2], _I32), MOVED))
        place = builder.bitcast(builder.gep(target, [arguments[4]]), vector.as_pointer())
        builder.store(moved, place).align = 1
        return context.get_dummy_value()

    return types.void(places, start, by, window, at), build


def _row_adder(registers: int, ahead: int) -> Callable[..., None]:
    """Make a function of (weight, column, rows, count, minus, base, base_at, total, total_at).

    It writes base + sum or, if ``minus`` is -1 and not 0, base - sum to registers * COLUMNS columns of total
    from ``column`` on; the sum is that of the rows of weights which rows[:count] names. weight is uint8
    [inputs, columns] as :func:`~spikeloom.runtime.engines.event.kernels.woven.woven` lays it, rows int32 [n]
    with ``ahead`` further places, base and total int32 [n]; column 0 of the latter is at ``base_at`` and
    ``total_at``.

    A register of weights is 32 words of two bytes. The words are added as they are, and their high bytes once
    more: the first sum less 256 times the second one is that of the low bytes. 16 bits hold both for
    :data:`ROWS` rows; then they go to the total, and the rest is added to that.
    """

    @intrinsic
    def add_rows(
        typing_context: Any,
        weight: Any,
        column: Any,
        rows: Any,
        count: Any,
        minus: Any,
        base: Any,
        base_at: Any,
        total: Any,
        total_at: Any,
    ) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, column_at, _, stop, sign, _, given_at, _, sums_at = arguments
            data, listed, given, sums = (
                _array(context, builder, signature, arguments, at) for at in (0, 2, 5, 7)
            )
            word = context.get_value_type(types.intp)
            stride = cgutils.unpack_tuple(
                builder, context.make_array(signature.args[0])(context, builder, arguments[0]).strides, 2
            )[0]
            origin = builder.gep(data, [column_at])
            given = builder.gep(given, [builder.add(given_at, column_at)])
            sums = builder.gep(sums, [builder.add(sums_at, column_at)])
            narrow = ir.VectorType(_I16, LANES)
            zero, byte = ir.Constant(narrow, None), ir.Constant(narrow, [8] * LANES)
            words, highs = (
                [cgutils.alloca_once_value(builder, zero) for _ in range(registers)] for _ in range(2)
            )
            flip = _splat(builder, builder.trunc(sign, _I32), LANES)

            def row_at(index: Any) -> Any:
                row = builder.sext(builder.load(builder.gep(listed, [index])), word)
                return builder.gep(origin, [builder.mul(row, stride)])

            def add_some(first: Any, last: Any) -> None:
                for register in (*words, *highs):
                    builder.store(zero, register)
                with cgutils.for_range(builder, last, start=first) as loop:
                    if ahead:
                        later = row_at(builder.add(loop.index, ir.Constant(word, ahead)))
                        _prefetch(builder, word, later, registers * COLUMNS)
                    row = row_at(loop.index)
                    for number in range(registers):
                        part = builder.gep(row, [ir.Constant(word, number * COLUMNS)])
                        loaded = _load(builder, part, narrow)
                        for register, value in (
                            (words[number], loaded),
                            (highs[number], builder.lshr(loaded, byte)),
                        ):
                            builder.store(builder.add(builder.load(register), value), register)
                excess = builder.shl(builder.trunc(builder.sub(last, first), _I32), _I32(7))
                known = builder.select(builder.icmp_signed("==", first, ir.Constant(word, 0)), given, sums)
                for number in range(registers):
                    high = builder.load(highs[number])
                    low = builder.sub(builder.load(words[number]), builder.shl(high, byte))
                    for half, part in enumerate((low, high)):
                        at = [ir.Constant(word, number * COLUMNS + half * LANES)]
                        ends = (builder.gep(known, at), builder.gep(sums, at))
                        _finish(builder, part, _splat(builder, excess, LANES), flip, *ends)

            some = ir.Constant(word, ROWS)
            pieces = builder.sdiv(builder.add(stop, ir.Constant(word, ROWS - 1)), some)
            none = builder.icmp_signed("<", pieces, ir.Constant(word, 1))
            pieces = builder.select(none, ir.Constant(word, 1), pieces)
            with cgutils.for_range(builder, pieces) as piece:
                first = builder.mul(piece.index, some)
                last = builder.add(first, some)
                add_some(first, builder.select(builder.icmp_signed("<", last, stop), last, stop))
            return context.get_dummy_value()

        return types.void(weight, column, rows, count, minus, base, base_at, total, total_at), build

    return cast(Callable[..., None], add_rows)


def _finish(builder: Any, part: Any, excess: Any, flip: Any, given: Any, sums: Any) -> None:
    """Store given + or - (part - excess), in 32 bits."""
    wide = ir.VectorType(_I32, LANES)
    total = builder.sub(builder.zext(part, wide), excess)
    signed = builder.sub(builder.xor(total, flip), flip)
    result = builder.add(_load(builder, given, wide), signed)
    builder.store(result, builder.bitcast(sums, wide.as_pointer())).align = 1


nonzero_64 = cast(Callable[[Array, int], np.uint64], _nonzero_64)
"""Bit k says whether x[start + k] is not zero; x is uint8 [n], start at most n - 64."""

nonzero_32 = cast(Callable[[Array, int], np.uint64], _nonzero_32)
"""Bit k says whether byte at + k of x, which is uint8, is not zero."""

sum_listed = cast(Callable[[Array, int, int, Array, int, Array, int], None], _sum_listed)
"""y[to] = the sum of x[at + k * stride] for the k in listed[:count].

Each stands for 32 numbers of 32 bits that lie together; ``at``, ``stride`` and ``to`` count bytes.
"""

add_to_listed = cast(Callable[[Array, int, Array, int, Array, int, int], None], _add_to_listed)
"""y[to + k * stride] += x[at] for the k in listed[:count]; 32 numbers each, of 32 bits in y and 8 in x."""

lowest_bit = cast(Callable[[np.uint64], int], _lowest_bit)
"""The place of the lowest of 64 bits that is set, 64 if none is."""

count_bits = cast(Callable[[np.uint64], int], _count_bits)
"""How many of 64 bits are set."""

shift_16 = cast(Callable[[Array, int, int, Array, int], None], _shift_16)
"""window[at:at + 16] = places[start:start + 16] + by; both int32 [n]."""

add_rows_512 = _row_adder(8, AHEAD)
add_rows_384 = _row_adder(6, AHEAD)
add_rows_256 = _row_adder(4, AHEAD)
add_rows_192 = _row_adder(3, AHEAD)
add_rows_128 = _row_adder(2, AHEAD)
add_rows_64 = _row_adder(1, AHEAD)


def _array(context: Any, builder: Any, signature: Any, arguments: Any, at: int) -> Any:
    """Where the numbers of an argument lie."""
    return context.make_array(signature.args[at])(context, builder, arguments[at]).data


def _load(builder: Any, place: Any, vector: Any) -> Any:
    loaded = builder.load(builder.bitcast(place, vector.as_pointer()))
    loaded.align = 1
    return loaded


def _splat(builder: Any, number: Any, lanes: int) -> Any:
    """A vector that holds a number everywhere."""
    vector = ir.VectorType(number.type, lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), number, _I32(0))
    return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(_I32, lanes), None))


def _prefetch(builder: Any, word: Any, place: Any, size: int) -> None:
    pointer = _I8.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
    function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
    for offset in range(0, size, _CACHE_LINE):
        line = builder.gep(place, [ir.Constant(word, offset)])
        builder.call(function, [line, _I32(0), _I32(3), _I32(1)])  # to read, keep, data
