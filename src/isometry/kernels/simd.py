"""Vector registers for Numba: LLVM vector values, and the few operations on them that the kernels need.

A register is a value inside a compiled function, 64 bytes wide; LLVM splits it where the processor has narrower ones.
Memory is addressed by plain integers (`address` of an array, plus bytes), loads need no alignment. With these, a kernel
reads as mathematics::

    total = zero_f32()
    for at in range(0, bytes, 64):
        total = fma(load_f32(row + at), load_f32(query + at), total)
    return sum_f32(total)

Only the byte dot products `dot_u8_i8` and `dot_u7_i8` ask for instructions by name, where `level` says that they are
there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from numba.np import arrayobj

from isometry.kernels.level import ADDS_PAIRS, CONVERTS_HALVES, LEVEL

__all__ = [
    "add_f32",
    "add_found_u16",
    "add_i32",
    "add_parts_u16",
    "address",
    "bf16_to_f32",
    "count_from",
    "count_ones",
    "count_reaching_f32",
    "dot_u7_i8",
    "dot_u8_i8",
    "e2m1_to_f32",
    "e4m3_to_f32",
    "e5m2_to_f32",
    "exceeding_f32",
    "f16_to_f32",
    "fill_f32",
    "first_f32",
    "first_largest",
    "fma",
    "high_nibbles",
    "larger_f32",
    "larger_u16",
    "largest_f32",
    "least_f32",
    "load_bits_as_u8",
    "load_f32",
    "load_i8",
    "load_u8",
    "load_u8_as_f32",
    "load_u8x16",
    "load_u16",
    "load_u64",
    "low_nibbles",
    "lowest_bit",
    "lowest_f32",
    "nibbles_as_f32",
    "prefetch",
    "reaching_u16",
    "rolled",
    "size_f32",
    "smaller_but_zero_f32",
    "spread_f32",
    "spread_u16",
    "store_f32",
    "store_first_f32",
    "store_u16",
    "sum_f32",
    "sum_i32",
    "take_u16",
    "take_u32",
    "where_bits",
    "where_larger",
    "zero_f32",
    "zero_i32",
]

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_HALF, _FLOAT = ir.HalfType(), ir.FloatType()


class Vector(types.Type):
    """Type of a register: `lanes` values of one LLVM type."""

    def __init__(self, name: str, element: ir.Type, lanes: int) -> None:
        super().__init__(name=name)
        self.ir = ir.VectorType(element, lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, fe_type.ir)


F32X16 = Vector("f32x16", _FLOAT, 16)
I32X16 = Vector("i32x16", _I32, 16)
U64X8 = Vector("u64x8", _I64, 8)
U8X16 = Vector("u8x16", _I8, 16)
U8X64 = Vector("u8x64", _I8, 64)
U16X32 = Vector("u16x32", _I16, 32)
I8X64 = Vector("i8x64", _I8, 64)

Emit = Callable[..., Any]


def _operation(returns: Any, *takes: Any) -> Callable[[Emit], Any]:
    """Turn ``emit(builder, *values)`` into a function for compiled code with the given types."""

    def decorate(emit: Emit) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return emit(builder, *values)

        # Numba reads the parameters off the function itself, so there is one shape per number of operands.
        if len(takes) == 0:

            def typed(typing_context: Any) -> Any:
                return returns(), codegen

        elif len(takes) == 1:

            def typed(typing_context: Any, a: Any) -> Any:  # type: ignore[misc]
                return returns(*takes), codegen

        elif len(takes) == 2:

            def typed(typing_context: Any, a: Any, b: Any) -> Any:  # type: ignore[misc]
                return returns(*takes), codegen

        elif len(takes) == 3:

            def typed(typing_context: Any, a: Any, b: Any, c: Any) -> Any:  # type: ignore[misc]
                return returns(*takes), codegen

        else:

            def typed(typing_context: Any, a: Any, b: Any, c: Any, d: Any) -> Any:  # type: ignore[misc]
                return returns(*takes), codegen

        typed.__name__, typed.__doc__, typed.__module__ = emit.__name__, emit.__doc__, emit.__module__
        return intrinsic(typed)

    return decorate


def _load(builder: Any, place: Any, kind: ir.Type) -> Any:
    return builder.load(builder.inttoptr(place, kind.as_pointer()), align=1, typ=kind)


def _constant(kind: ir.VectorType, value: Any) -> ir.Constant:
    return ir.Constant(kind, [value] * kind.count)


def _call(builder: Any, name: str, returns: ir.Type, *operands: Any) -> Any:
    kind = ir.FunctionType(returns, [operand.type for operand in operands])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), operands)


@intrinsic
def address(typing_context: Any, array: Any) -> Any:
    """Address of the first element of an array, which must stay referenced while the address is used."""
    if not isinstance(array, types.Array):
        return None

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = arrayobj.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.ptrtoint(data, _I64)

    return types.int64(array), codegen


@_operation(types.void, types.int64)
def prefetch(builder: Any, place: Any) -> Any:
    """Ask for the cache line at an address, as near as the second level; any address will do.

    What is asked into the first level waits in its few places for lines that are under way: random rows of 1 KB came
    from memory at a third of this speed.
    """
    pointer = builder.inttoptr(place, ir.IntType(8).as_pointer())
    flags = [ir.Constant(_I32, value) for value in (0, 2, 1)]
    _call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, *flags)
    return ir.Constant(ir.IntType(8).as_pointer(), None)


@_operation(types.void)
def rolled(builder: Any) -> Any:
    """Keep LLVM from unrolling the loop that this stands in: rows are short, and long code is slow to start."""
    barrier = builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", [], side_effect=True)
    barrier.attributes.add("convergent")
    return ir.Constant(ir.IntType(8).as_pointer(), None)


@_operation(F32X16)
def zero_f32(builder: Any) -> Any:
    """Sixteen float zeros."""
    return _constant(F32X16.ir, 0.0)


@_operation(I32X16)
def zero_i32(builder: Any) -> Any:
    """Sixteen integer zeros."""
    return _constant(I32X16.ir, 0)


@_operation(F32X16)
def lowest_f32(builder: Any) -> Any:
    """The least float, sixteen times."""
    return _constant(F32X16.ir, float(np.finfo(np.float32).min))


@_operation(I32X16, types.int64)
def count_from(builder: Any, first: Any) -> Any:
    """Sixteen consecutive integers."""
    return builder.add(_counted(builder, first), ir.Constant(I32X16.ir, list(range(16))))


@_operation(F32X16, types.int64)
def spread_f32(builder: Any, place: Any) -> Any:
    """The float32 at an address, sixteen times."""
    return _everywhere(builder, _load(builder, place, _FLOAT), F32X16.ir)


@_operation(F32X16, types.float32)
def fill_f32(builder: Any, value: Any) -> Any:
    """A float32, sixteen times."""
    return _everywhere(builder, value, F32X16.ir)


@_operation(F32X16, types.int64, types.int64)
def first_f32(builder: Any, place: Any, count: Any) -> Any:
    """The first `count` of sixteen float32, and no numbers behind; nothing behind them is read."""
    nan = _constant(F32X16.ir, float("nan"))
    pointer = builder.inttoptr(place, F32X16.ir.as_pointer())
    return _call(
        builder, "llvm.masked.load.v16f32.p0", F32X16.ir, pointer, ir.Constant(_I32, 4), _lanes(builder, count), nan
    )


@_operation(types.void, types.int64, F32X16, types.int64)
def store_first_f32(builder: Any, place: Any, a: Any, count: Any) -> Any:
    """Write the first `count` of sixteen float32 to an address."""
    pointer = builder.inttoptr(place, F32X16.ir.as_pointer())
    mask = _lanes(builder, count)
    _call(builder, "llvm.masked.store.v16f32.p0", ir.VoidType(), a, pointer, ir.Constant(_I32, 4), mask)
    return ir.Constant(ir.IntType(8).as_pointer(), None)


@_operation(types.void, types.int64, F32X16)
def store_f32(builder: Any, place: Any, a: Any) -> Any:
    """Write sixteen float32 to an address."""
    builder.store(a, builder.inttoptr(place, F32X16.ir.as_pointer()), align=4)
    return ir.Constant(ir.IntType(8).as_pointer(), None)


@_operation(F32X16, types.int64)
def load_f32(builder: Any, place: Any) -> Any:
    """Sixteen float32."""
    return _load(builder, place, F32X16.ir)


@_operation(U8X64, types.int64)
def load_u8(builder: Any, place: Any) -> Any:
    """Sixty-four bytes."""
    return _load(builder, place, U8X64.ir)


@_operation(I8X64, types.int64)
def load_i8(builder: Any, place: Any) -> Any:
    """Sixty-four signed bytes."""
    return _load(builder, place, I8X64.ir)


@_operation(U8X16, types.int64)
def load_u8x16(builder: Any, place: Any) -> Any:
    """Sixteen bytes."""
    return _load(builder, place, U8X16.ir)


@_operation(U64X8, types.int64)
def load_u64(builder: Any, place: Any) -> Any:
    """Eight 64-bit words."""
    return _load(builder, place, U64X8.ir)


@_operation(F32X16, types.int64)
def load_u8_as_f32(builder: Any, place: Any) -> Any:
    """Sixteen bytes, as floats."""
    return builder.uitofp(builder.zext(_load(builder, place, U8X16.ir), I32X16.ir), F32X16.ir)


@_operation(F32X16, types.int64)
def f16_to_f32(builder: Any, place: Any) -> Any:
    """Sixteen float16 at an address, as float32."""
    if CONVERTS_HALVES:
        return builder.fpext(_load(builder, place, ir.VectorType(_HALF, 16)), F32X16.ir)
    # Exponent and fraction moved to where float32 has them are the number divided by 2^112, also below the normal ones.
    words = builder.zext(_load(builder, place, ir.VectorType(_I16, 16)), I32X16.ir)
    moved = builder.shl(builder.and_(words, _constant(I32X16.ir, 0x7FFF)), _constant(I32X16.ir, 13))
    scaled = builder.fmul(builder.bitcast(moved, F32X16.ir), _constant(F32X16.ir, 2.0**112))
    sign = builder.shl(builder.and_(words, _constant(I32X16.ir, 0x8000)), _constant(I32X16.ir, 16))
    return builder.bitcast(builder.or_(builder.bitcast(scaled, I32X16.ir), sign), F32X16.ir)


@_operation(F32X16, types.int64)
def bf16_to_f32(builder: Any, place: Any) -> Any:
    """Sixteen bfloat16 at an address, as float32: the upper half of its bits."""
    words = builder.zext(_load(builder, place, ir.VectorType(_I16, 16)), I32X16.ir)
    return builder.bitcast(builder.shl(words, _constant(I32X16.ir, 16)), F32X16.ir)


@_operation(F32X16, types.int64)
def e4m3_to_f32(builder: Any, place: Any) -> Any:
    """Sixteen bytes with 4 bits of exponent and 3 of fraction, as float32."""
    return _float8(builder, place, 3)


@_operation(F32X16, types.int64)
def e5m2_to_f32(builder: Any, place: Any) -> Any:
    """Sixteen bytes with 5 bits of exponent and 2 of fraction, as float32."""
    return _float8(builder, place, 2)


@_operation(F32X16, U8X16, types.int64)
def e2m1_to_f32(builder: Any, a: Any, shift: Any) -> Any:
    """The four bits of each byte from bit `shift` (0 or 4) on, a sign, 2 bits of exponent and 1 of fraction."""
    return _small_float(builder, builder.lshr(builder.zext(a, I32X16.ir), _counted(builder, shift)), 3, 1)


def _lanes(builder: Any, count: Any) -> Any:
    """Return a mask of the first `count` of sixteen lanes."""
    return builder.icmp_signed("<", ir.Constant(I32X16.ir, list(range(16))), _counted(builder, count))


def _everywhere(builder: Any, value: Any, kind: ir.VectorType) -> Any:
    """Return a value in all sixteen lanes."""
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, first, _constant(I32X16.ir, 0))


def _counted(builder: Any, number: Any) -> Any:
    """Return a 64-bit number in sixteen lanes of 32 bits."""
    return _everywhere(builder, builder.trunc(number, _I32), I32X16.ir)


def _float8(builder: Any, place: Any, fraction_bits: int) -> Any:
    words = builder.zext(_load(builder, place, U8X16.ir), I32X16.ir)
    return _small_float(builder, words, 7, fraction_bits)


def _small_float(builder: Any, words: Any, bits: int, fraction_bits: int) -> Any:
    """Put exponent and fraction where float32 has them, and make up for the difference of the biases by a product.

    `bits` of exponent and fraction are the lowest of each word; the sign stands right before them.
    """
    magnitude = builder.and_(words, _constant(I32X16.ir, 2**bits - 1))
    moved = builder.shl(magnitude, _constant(I32X16.ir, 23 - fraction_bits))
    bias = 127 - (2 ** (bits - 1 - fraction_bits) - 1)
    scaled = builder.fmul(builder.bitcast(moved, F32X16.ir), _constant(F32X16.ir, 2.0**bias))
    sign = builder.shl(builder.and_(words, _constant(I32X16.ir, 2**bits)), _constant(I32X16.ir, 31 - bits))
    return builder.bitcast(builder.or_(builder.bitcast(scaled, I32X16.ir), sign), F32X16.ir)


@_operation(F32X16, types.int64, types.int64)
def take_u16(builder: Any, table: Any, place: Any) -> Any:
    """The float32 of a table at the address `table` under sixteen 16-bit numbers at the address `place`."""
    return _taken(builder, table, place, _I16)


@_operation(F32X16, types.int64, types.int64)
def take_u32(builder: Any, table: Any, place: Any) -> Any:
    """The float32 of a table at the address `table` under sixteen 32-bit numbers at the address `place`."""
    return _taken(builder, table, place, _I32)


def _taken(builder: Any, table: Any, place: Any, number: ir.IntType) -> Any:
    """Load one by one: gather instructions take longer where they are made of many small steps, as on AMD."""
    values = ir.Constant(F32X16.ir, ir.Undefined)
    for lane in range(16):
        at = builder.add(place, ir.Constant(_I64, lane * number.width // 8))
        offset = builder.shl(builder.zext(_load(builder, at, number), _I64), ir.Constant(_I64, 2))
        value = _load(builder, builder.add(table, offset), _FLOAT)
        values = builder.insert_element(values, value, ir.Constant(_I32, lane))
    return values


@_operation(U16X32, types.int64)
def load_u16(builder: Any, place: Any) -> Any:
    """Thirty-two 16-bit numbers."""
    return _load(builder, place, U16X32.ir)


@_operation(U16X32, types.int64)
def spread_u16(builder: Any, number: Any) -> Any:
    """The lower 16 bits of a number, thirty-two times."""
    value = builder.trunc(number, _I16)
    first = builder.insert_element(ir.Constant(U16X32.ir, ir.Undefined), value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_I32, 32), [0] * 32))


@_operation(types.void, types.int64, U16X32)
def store_u16(builder: Any, place: Any, a: Any) -> Any:
    """Write thirty-two 16-bit numbers to an address."""
    builder.store(a, builder.inttoptr(place, U16X32.ir.as_pointer()), align=2)
    return ir.Constant(ir.IntType(8).as_pointer(), None)


@_operation(U16X32, U16X32, types.int64, U16X32)
def add_parts_u16(builder: Any, total: Any, place: Any, share: Any) -> Any:
    """Add thirty-two bytes at an address, each times a 16-bit share of 256, rounded down, to sixteen-bit totals."""
    wide = ir.VectorType(_I32, 32)
    bytes_ = builder.shl(
        builder.zext(_load(builder, place, ir.VectorType(_I8, 32)), U16X32.ir), _constant(U16X32.ir, 8)
    )
    product = builder.mul(builder.zext(bytes_, wide), builder.zext(share, wide))
    return builder.add(total, builder.trunc(builder.lshr(product, _constant(wide, 16)), U16X32.ir))


@_operation(U16X32, U16X32, types.int64, types.int64, types.int64)
def add_found_u16(builder: Any, total: Any, place: Any, low: Any, high: Any) -> Any:
    """Add what two tables of 16 bytes hold under the halves of 32 bytes at an address, where `level.LOOKS_UP` says so.

    A table is at an address, twice in a row; two of their bytes add up to 255 at most.
    """
    kind = ir.VectorType(_I8, 32)
    both = _load(builder, place, kind)
    halves = builder.and_(both, _constant(kind, 15)), builder.lshr(both, _constant(kind, 4))
    found = [
        _call(builder, "llvm.x86.avx2.pshuf.b", kind, _load(builder, table, kind), half)
        for table, half in zip((low, high), halves, strict=True)
    ]
    return builder.add(total, builder.zext(builder.add(*found), U16X32.ir))


@_operation(U16X32, U16X32, U16X32)
def larger_u16(builder: Any, a: Any, b: Any) -> Any:
    """The larger one of each pair."""
    return builder.select(builder.icmp_unsigned(">", a, b), a, b)


@_operation(types.int64, U16X32, U16X32)
def reaching_u16(builder: Any, a: Any, b: Any) -> Any:
    """A bit for each pair, the first the lowest: whether `a` is at least `b`."""
    reached = builder.icmp_unsigned(">=", a, b)
    return builder.zext(builder.bitcast(reached, _I32), _I64)


@_operation(types.int64, F32X16, F32X16)
def exceeding_f32(builder: Any, a: Any, b: Any) -> Any:
    """A bit for each lane, the first the lowest: set unless `a` is at most `b`, so also where one is no number."""
    exceeds = builder.fcmp_unordered(">", a, b)
    return builder.zext(builder.bitcast(exceeds, _I16), _I64)


@_operation(types.int64, F32X16, F32X16)
def count_reaching_f32(builder: Any, a: Any, b: Any) -> Any:
    """Number of lanes where `a` is at least `b`."""
    reached = builder.zext(builder.bitcast(builder.fcmp_ordered(">=", a, b), _I16), _I64)
    return _call(builder, "llvm.ctpop.i64", _I64, reached)


@_operation(types.int64, types.int64)
def lowest_bit(builder: Any, bits: Any) -> Any:
    """Number of the lowest bit that is set; 64 without any."""
    return _call(builder, "llvm.cttz.i64", _I64, bits, ir.Constant(ir.IntType(1), 0))


@_operation(U8X64, types.int64)
def load_bits_as_u8(builder: Any, place: Any) -> Any:
    """Sixty-four bits at an address, lowest first, as bytes 0 and 1."""
    bits = builder.bitcast(_load(builder, place, _I64), ir.VectorType(ir.IntType(1), 64))
    return builder.zext(bits, U8X64.ir)


@_operation(F32X16, types.int64, F32X16)
def where_bits(builder: Any, place: Any, a: Any) -> Any:
    """The lanes of `a` whose bit, of the sixteen at an address, lowest first, is set; 0 in the others."""
    bits = builder.bitcast(_load(builder, place, _I16), ir.VectorType(ir.IntType(1), 16))
    return builder.select(bits, a, _constant(F32X16.ir, 0.0))


@_operation(F32X16, F32X16, F32X16, F32X16)
def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``, lane by lane, rounded once."""
    return _call(builder, "llvm.fma.v16f32", F32X16.ir, a, b, c)


@_operation(I32X16, I32X16, I32X16)
def add_i32(builder: Any, a: Any, b: Any) -> Any:
    """Return ``a + b``, lane by lane."""
    return builder.add(a, b)


@_operation(F32X16, F32X16, F32X16)
def add_f32(builder: Any, a: Any, b: Any) -> Any:
    """Return ``a + b``, lane by lane."""
    return builder.fadd(a, b)


@_operation(F32X16, F32X16, F32X16)
def larger_f32(builder: Any, a: Any, b: Any) -> Any:
    """The larger of two, lane by lane."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@_operation(F32X16, F32X16)
def size_f32(builder: Any, a: Any) -> Any:
    """Each lane without its sign."""
    return _call(builder, "llvm.fabs.v16f32", F32X16.ir, a)


@_operation(F32X16, F32X16, F32X16)
def smaller_but_zero_f32(builder: Any, a: Any, b: Any) -> Any:
    """The smaller one of two, lane by lane, but `a` where `b` is 0."""
    counts = builder.fcmp_ordered("!=", b, _constant(F32X16.ir, 0.0))
    return builder.select(builder.and_(counts, builder.fcmp_ordered("<", b, a)), b, a)


@_operation(I32X16, F32X16, F32X16, I32X16, I32X16)
def where_larger(builder: Any, a: Any, b: Any, i: Any, j: Any) -> Any:
    """The lanes of i where a > b, of j elsewhere."""
    return builder.select(builder.fcmp_ordered(">", a, b), i, j)


@_operation(types.float32, F32X16)
def largest_f32(builder: Any, a: Any) -> Any:
    """The largest lane."""
    return _call(builder, "llvm.vector.reduce.fmax.v16f32", _FLOAT, a)


@_operation(types.float32, F32X16)
def least_f32(builder: Any, a: Any) -> Any:
    """The least lane."""
    return _call(builder, "llvm.vector.reduce.fmin.v16f32", _FLOAT, a)


@_operation(types.int32, F32X16, I32X16)
def first_largest(builder: Any, a: Any, i: Any) -> Any:
    """The least of i where a is largest."""
    most = _everywhere(builder, _call(builder, "llvm.vector.reduce.fmax.v16f32", _FLOAT, a), F32X16.ir)
    numbers = builder.select(builder.fcmp_ordered("==", a, most), i, _constant(I32X16.ir, 2**31 - 1))
    return _call(builder, "llvm.vector.reduce.smin.v16i32", _I32, numbers)


@_operation(types.float32, F32X16)
def sum_f32(builder: Any, a: Any) -> Any:
    """Sum of the lanes, added in halves: the same order on every processor."""
    return _halve(builder, a, builder.fadd)


@_operation(types.int32, I32X16)
def sum_i32(builder: Any, a: Any) -> Any:
    """Sum of the lanes."""
    return _call(builder, "llvm.vector.reduce.add.v16i32", _I32, a)


@_operation(U8X64, U8X64)
def low_nibbles(builder: Any, a: Any) -> Any:
    """Lower four bits of each byte."""
    return builder.and_(a, _constant(U8X64.ir, 15))


@_operation(U8X64, U8X64)
def high_nibbles(builder: Any, a: Any) -> Any:
    """Upper four bits of each byte."""
    return builder.lshr(a, _constant(U8X64.ir, 4))


@_operation(F32X16, U8X16, types.int64)
def nibbles_as_f32(builder: Any, a: Any, shift: Any) -> Any:
    """The four bits of each byte from bit `shift` (0 or 4) on, as floats."""
    words = builder.lshr(builder.zext(a, I32X16.ir), _counted(builder, shift))
    return builder.uitofp(builder.and_(words, _constant(I32X16.ir, 15)), F32X16.ir)


@_operation(types.int64, U64X8)
def count_ones(builder: Any, a: Any) -> Any:
    """Number of bits that are set."""
    counts = _call(builder, "llvm.ctpop.v8i64", U64X8.ir, a)
    return _call(builder, "llvm.vector.reduce.add.v8i64", _I64, counts)


@_operation(I32X16, I32X16, U8X64, I8X64)
def dot_u8_i8(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """Add the products of bytes, unsigned times signed, to sixteen totals, four to each, which ones it may choose."""
    return _DOT_U8(builder, total, a, b)


@_operation(I32X16, I32X16, U8X64, I8X64)
def dot_u7_i8(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """The same for unsigned bytes of at most 127, which takes less time where two products are added in 16 bits."""
    return _DOT_U7(builder, total, a, b)


def _dot_vnni(builder: Any, total: Any, a: Any, b: Any) -> Any:
    if llvm.llvm_version_info[0] < 21:
        a, b = builder.bitcast(a, I32X16.ir), builder.bitcast(b, I32X16.ir)
    return _call(builder, "llvm.x86.avx512.vpdpbusd.512", I32X16.ir, total, a, b)


def _dot_words(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """By products of 16-bit words."""
    wide = ir.VectorType(_I16, 64)
    return _add_pairs(builder, total, builder.zext(a, wide), builder.sext(b, wide))


def _dot_small(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """By products of bytes, of which two are added within 16 bits."""
    pairs = [
        _call(builder, "llvm.x86.avx2.pmadd.ub.sw", ir.VectorType(_I16, 16), *both)
        for both in zip(_parts(builder, a, 2), _parts(builder, b, 2), strict=True)
    ]
    words = _joined(builder, *pairs)
    return _add_pairs(builder, total, words, _constant(words.type, 1))


def _add_pairs(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """Add the products of words, two neighbours each, to sixteen totals."""
    count = a.type.count // 16
    products = [
        _call(builder, "llvm.x86.avx2.pmadd.wd", ir.VectorType(_I32, 8), *both)
        for both in zip(_parts(builder, a, count), _parts(builder, b, count), strict=True)
    ]
    for first in range(0, count, 2):
        total = builder.add(total, _joined(builder, *products[first : first + 2]))
    return total


def _dot_generic(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """As 16-bit products added in pairs, a pattern that LLVM knows as one instruction on most processors."""
    words, wide = ir.VectorType(_I16, 64), ir.VectorType(_I32, 32)
    a, b = builder.zext(a, words), builder.sext(b, words)
    parts = [[builder.sext(_every_other(builder, v, i), wide) for v in (a, b)] for i in (0, 1)]
    pairs = builder.add(*(builder.mul(*pair) for pair in parts))
    return builder.add(total, builder.add(*_parts(builder, pairs, 2)))


_DOT_U8 = _dot_vnni if LEVEL == "vnni" else _dot_words if ADDS_PAIRS else _dot_generic
_DOT_U7 = _dot_vnni if LEVEL == "vnni" else _dot_small if ADDS_PAIRS else _dot_generic


def _every_other(builder: Any, a: Any, first: int) -> Any:
    lanes = a.type.count // 2
    mask = ir.Constant(ir.VectorType(_I32, lanes), [first + 2 * i for i in range(lanes)])
    return builder.shuffle_vector(a, a, mask)


def _halve(builder: Any, a: Any, combine: Callable[[Any, Any], Any]) -> Any:
    while a.type.count > 1:
        a = combine(*_parts(builder, a, 2))
    return builder.extract_element(a, ir.Constant(_I32, 0))


def _parts(builder: Any, a: Any, count: int) -> list[Any]:
    """Cut a register into equal parts."""
    lanes = a.type.count // count
    kind = ir.VectorType(_I32, lanes)
    return [
        builder.shuffle_vector(a, a, ir.Constant(kind, list(range(first, first + lanes))))
        for first in range(0, a.type.count, lanes)
    ]


def _joined(builder: Any, a: Any, b: Any) -> Any:
    lanes = 2 * a.type.count
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, lanes), list(range(lanes))))
