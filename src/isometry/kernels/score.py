r"""Inner products of a query with stored rows, straight from their codes.

Compiled code calls five functions, and Numba picks the body by the layout of the rows:

``prepare(rows, values, codes)``
    Return a `Query` for these rows: the float `values`, quantised once into the scratch `codes`.
``score(rows, query, slot)``
    :math:`\langle q, x\rangle` at the speed of a graph walk: for byte and nibble codes with the quantised query.
``score_fine(rows, query, slot)``
    The same with the float query, for the candidates that the walk found.
``decode(rows, slot, out)``
    Write the row as floats into the first d places of an array of d + `QUERY_SPARE`.
``touch(rows, slot)``
    Ask for the row's cache lines.

With :math:`x_j = \Delta c_j + \ell` the product is :math:`\Delta\langle q, c\rangle + \ell\sum_j q_j`; with the query
as :math:`q_j \approx s\,b_j` of signed bytes, :math:`\langle q, c\rangle \approx s\sum_j b_j c_j` in whole numbers, and
:math:`\sum_j q_j` is rounded in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from isometry.kernels.compiled import summing
from isometry.kernels.level import LEVEL
from isometry.kernels.rows import (
    GROUP,
    BFloat16Rows,
    BitRows,
    ByteByteRows,
    ByteNibbleRows,
    ByteRows,
    Float4Rows,
    Float8E4M3Rows,
    Float8E5M2Rows,
    Float16Rows,
    Float32Rows,
    NibbleByteRows,
    NibbleNibbleRows,
    NibbleRows,
    PlaneRows,
    SignedByteRows,
    SignedNibbleRows,
    TableRows,
    TurnedRows,
)
from isometry.kernels.simd import (
    add_f32,
    add_i32,
    address,
    bf16_to_f32,
    dot_u7_i8,
    dot_u8_i8,
    e2m1_to_f32,
    e4m3_to_f32,
    e5m2_to_f32,
    f16_to_f32,
    fill_f32,
    fma,
    high_nibbles,
    larger_f32,
    largest_f32,
    least_f32,
    load_bits_as_u8,
    load_f32,
    load_i8,
    load_u8,
    load_u8_as_f32,
    load_u8x16,
    low_nibbles,
    nibbles_as_f32,
    prefetch,
    rolled,
    size_f32,
    smaller_but_zero_f32,
    store_f32,
    sum_f32,
    sum_i32,
    where_bits,
    zero_f32,
    zero_i32,
)

__all__ = [
    "QUERY_SPARE",
    "Query",
    "decode",
    "inlined",
    "prepare",
    "score",
    "score_fine",
    "scores_alike",
    "touch",
    "touch_row",
]

QUERY_SPARE = 192
"""Zeros that must follow the d values of a query, in its float and in its byte array."""
_TINY = np.float32(1e-36)
_WHOLE = np.float32(1e-4)
"""A multiple this near to a whole number is one: rounding takes it off by no more than 127 times 2^-23."""
_INLINED = {"forceinline": True}
inlined = partial(register_jitable, **_INLINED)


class Query(NamedTuple):
    """A query made ready for one layout.

    Attributes
    ----------
    values : (d + QUERY_SPARE,) float32
    codes : (d + QUERY_SPARE,) int8
    scale : float32
        ``values`` is about ``scale * codes``.
    total, coarse : float32
        Sum of the values, and `scale` times that of the codes.
    """

    values: Any
    codes: Any
    scale: Any
    total: Any
    coarse: Any


# -- what a query must be turned into ----------------------------------------------------------------------------------


@inlined()
def _sizes(values):
    """Return the largest size of the values, and the least of those that are not 0; `QUERY_SPARE` zeros are behind."""
    at, most, least = address(values), zero_f32(), fill_f32(np.float32(np.inf))
    for j in range(0, len(values) - QUERY_SPARE, 16):
        rolled()
        size = size_f32(load_f32(at + 4 * j))
        most, least = larger_f32(most, size), smaller_but_zero_f32(least, size)
    return largest_f32(most), least_f32(least)


@summing
def _sum(values):
    total = np.float64(0)
    for j in range(len(values)):  # over the values themselves it would not be vectorised
        total += values[j]
    return np.float32(total)


@summing
def _off_whole(values, inverse):
    """Return how far the values times `inverse` are from whole numbers, at most."""
    furthest = np.float32(0)
    for j in range(len(values)):
        value = values[j] * inverse
        furthest = max(furthest, abs(value - np.rint(value)))
    return furthest


@summing
def _round(values, inverse, codes):
    """Write the values times `inverse` as whole numbers into `codes`; returns their sum."""
    whole = np.int32(0)
    for j in range(len(values)):
        codes[j] = np.int8(np.rint(values[j] * inverse))
        whole += np.int32(codes[j])
    return whole


@inlined()
def _scale_of(values):
    """Return the step of a symmetric 8-bit scale for the values, and its inverse.

    It is the least value where all others are multiples of it, as they are in codes: then nothing is rounded.
    """
    largest, least = _sizes(values)
    if _TINY < least <= largest < np.float32(127.5) * least:
        inverse = np.float32(1) / least
        if _off_whole(values[:16], inverse) < _WHOLE and _off_whole(values, inverse) < _WHOLE:
            return least, inverse
    scale = largest / np.float32(127)
    return scale, np.float32(1) / scale if scale > _TINY else np.float32(0)


def _prepare_floats(rows, values, codes):
    return Query(values, codes, np.float32(1), np.float32(0), np.float32(0))


def _prepare_total(rows, values, codes):
    return Query(values, codes, np.float32(1), _sum(values), np.float32(0))


def _prepare_bytes(rows, values, codes):
    scale, inverse = _scale_of(values)
    whole = _round(values[: len(values) - QUERY_SPARE], inverse, codes)
    return Query(values, codes, scale, _sum(values), scale * np.float32(whole))


def _prepare_nibbles(rows, values, codes):
    """As bytes, but in the order in which the nibbles lie: 64 low ones, then 64 high ones, of each block."""
    scale, inverse = _scale_of(values)
    n_bytes, whole = rows.codes.shape[1], np.int64(0)
    for first in range(0, n_bytes, 64):
        half = min(64, n_bytes - first)
        low, high = 2 * first, 2 * first + half
        whole += _round(values[low:high], inverse, codes[2 * first :])
        whole += _round(values[high : high + half], inverse, codes[2 * first + 64 :])
    return Query(values, codes, scale, _sum(values), scale * np.float32(whole))


# -- sums of products: (array of rows, slot, query) -> number, by registers --------------------------------------------


@inlined()
def _row(array, slot):
    """Address of a row."""
    return address(array) + slot * array.strides[0]


def _dot_floats(load: Any) -> Any:
    """Return the product of float values with rows that `load` reads as sixteen floats."""

    @inlined()
    def dot(array, slot, values):
        d, size = array.shape[1], array.itemsize
        row, query = _row(array, slot), address(values)
        a, b, c, e = zero_f32(), zero_f32(), zero_f32(), zero_f32()
        j = 0
        while j + 48 < d:
            rolled()
            at, to = row + j * size, query + j * 4
            a = fma(load(at), load_f32(to), a)
            b = fma(load(at + 16 * size), load_f32(to + 64), b)
            c = fma(load(at + 32 * size), load_f32(to + 128), c)
            e = fma(load(at + 48 * size), load_f32(to + 192), e)
            j += 64
        while j < d:
            rolled()
            a = fma(load(row + j * size), load_f32(query + j * 4), a)
            j += 16
        return sum_f32(add_f32(add_f32(a, b), add_f32(c, e)))

    return dot


@inlined()
def _dot_nibbles_f32(array, slot, values):
    n_bytes = array.shape[1]
    row, query = _row(array, slot), address(values)
    a, b = zero_f32(), zero_f32()
    for first in range(0, n_bytes, 64):
        half = min(64, n_bytes - first)
        for at in range(0, half, 16):
            both = load_u8x16(row + first + at)
            a = fma(nibbles_as_f32(both, 0), load_f32(query + 4 * (2 * first + at)), a)
            b = fma(nibbles_as_f32(both, 4), load_f32(query + 4 * (2 * first + half + at)), b)
    return sum_f32(add_f32(a, b))


@inlined()
def _dot_bytes_i8(array, slot, codes):
    n_bytes = array.shape[1]
    row, query = _row(array, slot), address(codes)
    a, b = zero_i32(), zero_i32()
    at = 0
    while at + 64 < n_bytes:
        rolled()
        a = dot_u8_i8(a, load_u8(row + at), load_i8(query + at))
        b = dot_u8_i8(b, load_u8(row + at + 64), load_i8(query + at + 64))
        at += 128
    if at < n_bytes:
        a = dot_u8_i8(a, load_u8(row + at), load_i8(query + at))
    return sum_i32(add_i32(a, b))


@inlined()
def _dot_nibbles_i8(array, slot, codes):
    row, query = _row(array, slot), address(codes)
    a, b = zero_i32(), zero_i32()
    for at in range(0, array.shape[1], 64):
        rolled()
        both = load_u8(row + at)
        a = dot_u7_i8(a, low_nibbles(both), load_i8(query + 2 * at))
        b = dot_u7_i8(b, high_nibbles(both), load_i8(query + 2 * at + 64))
    return sum_i32(add_i32(a, b))


@inlined()
def _dot_bits_i8(array, slot, codes):
    row, query = _row(array, slot), address(codes)
    total = zero_i32()
    for at in range(0, array.shape[1], 8):
        rolled()
        total = dot_u7_i8(total, load_bits_as_u8(row + at), load_i8(query + 8 * at))
    return sum_i32(total)


@inlined()
def _dot_bits_f32(array, slot, values):
    row, query = _row(array, slot), address(values)
    total = zero_f32()
    for at in range(0, array.shape[1], 2):
        rolled()
        total = add_f32(total, where_bits(row + at, load_f32(query + 32 * at)))
    return sum_f32(total)


@inlined()
def _dot_float4(array, slot, values):
    n_bytes = array.shape[1]
    row, query = _row(array, slot), address(values)
    a, b = zero_f32(), zero_f32()
    for first in range(0, n_bytes, 64):
        half = min(64, n_bytes - first)
        for at in range(0, half, 16):
            both = load_u8x16(row + first + at)
            a = fma(e2m1_to_f32(both, 0), load_f32(query + 4 * (2 * first + at)), a)
            b = fma(e2m1_to_f32(both, 4), load_f32(query + 4 * (2 * first + half + at)), b)
    return sum_f32(add_f32(a, b))


@inlined()
def _plane_bytes(query):
    """Bytes of the bits of one plane."""
    return (len(query) - QUERY_SPARE + 63) >> 6 << 3


@inlined()
def _dot_planes_i8(array, slot, codes):
    plane, query, size = _row(array, slot), address(codes), _plane_bytes(codes)
    end, total = plane + array.shape[1], zero_i32()
    while plane < end:
        total = add_i32(total, total)
        for at in range(0, size, 8):
            rolled()
            total = dot_u7_i8(total, load_bits_as_u8(plane + at), load_i8(query + 8 * at))
        plane += size
    return sum_i32(total)


@inlined()
def _dot_planes_f32(array, slot, values):
    plane, query, size = _row(array, slot), address(values), _plane_bytes(values)
    end, total = plane + array.shape[1], zero_f32()
    while plane < end:
        total = add_f32(total, total)
        for at in range(0, size, 2):
            rolled()
            total = add_f32(total, where_bits(plane + at, load_f32(query + 32 * at)))
        plane += size
    return sum_f32(total)


# -- the same by plain loops -------------------------------------------------------------------------------------------


@inlined()
def _value(row, j):
    """Value of a float32 row, code of a byte row."""
    return row[j]


@inlined()
def _nibble(row, j):
    first = j // 128 * 64
    half, i = min(64, len(row) - first), j % 128
    return row[first + i] & 15 if i < half else row[first + i - half] >> 4


@inlined()
def _float16(row, j):
    bits = np.int64(row[j])
    exponent, fraction = bits >> 10 & 31, bits & 1023
    magnitude = (1024 + fraction) * 2.0 ** (exponent - 25) if exponent else fraction * 2.0**-24
    return np.float32(-magnitude if bits >> 15 else magnitude)


@inlined()
def _bfloat16(row, j):
    bits = np.int64(row[j])
    exponent, fraction = bits >> 7 & 255, bits & 127
    magnitude = (128 + fraction) * 2.0 ** (exponent - 134) if exponent else fraction * 2.0**-133
    return np.float32(-magnitude if bits >> 15 else magnitude)


@inlined()
def _bit(row, j):
    return row[j // 8] >> (j % 8) & 1


@inlined()
def _float4(row, j):
    code = np.int64(_nibble(row, j))
    magnitude = code & 1 if code & 6 == 0 else (2 + (code & 1)) << ((code >> 1 & 3) - 1)
    return np.float32(-magnitude if code >> 3 else magnitude) / np.float32(2)


def _plain_planes(number: Any) -> Any:
    """Return the product with a query of codes in planes, summed as `number`."""

    @inlined()
    def dot(array, slot, query):
        row, size, whole = array[slot], _plane_bytes(query), number(0)
        for plane in range(0, len(row), size):
            total = number(0)
            for j in range(len(query) - QUERY_SPARE):
                total += number(_bit(row[plane:], j)) * number(query[j])
            whole = number(2) * whole + total
        return whole

    return dot


def _float8(fraction_bits: int) -> Any:
    """Return what reads a float of 8 bits."""
    bias, most = 2 ** (6 - fraction_bits) - 1, 2**fraction_bits

    @inlined()
    def value(row, j):
        bits = np.int64(row[j])
        exponent, fraction = bits >> fraction_bits & (127 >> fraction_bits), bits & (most - 1)
        whole = (most + fraction) * 2.0 ** (exponent - 1) if exponent else fraction * 1.0
        magnitude = whole * 2.0 ** (1 - bias - fraction_bits)
        return np.float32(-magnitude if bits >> 7 else magnitude)

    return value


def _plain_dot(value_at: Any, number: Any) -> Any:
    """Return the product with a query of the values that `value_at` reads, summed as `number`."""

    @inlined()
    def dot(array, slot, query):
        row, total = array[slot], number(0)
        for j in range(len(query) - QUERY_SPARE):
            total += number(value_at(row, j)) * number(query[j])
        return total

    return dot


# -- the layouts -------------------------------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """The five functions for one layout."""

    prepare: Callable[..., Any]
    score: Callable[..., Any]
    score_fine: Callable[..., Any]
    decode: Callable[..., Any]
    touch: Callable[..., Any]


@inlined()
def touch_row(array, slot):
    """Ask for the cache lines of a row of an array."""
    row = _row(array, slot)
    for at in range(0, array.strides[0], 64):
        rolled()
        prefetch(row + at)


def _float_layout(load: Any, value_at: Any) -> _Layout:
    dot = _plain_dot(value_at, np.float32) if LEVEL == "plain" else _dot_floats(load)

    def score(rows, query, slot):
        return dot(rows.values, slot, query.values)

    def decode(rows, slot, out):
        row = rows.values[slot]
        for j in range(len(row)):
            out[j] = value_at(row, j)

    def touch(rows, slot):
        touch_row(rows.values, slot)

    return _Layout(_prepare_floats, score, score, decode, touch)


def _scaled_layout(dot: Any, value_at: Any) -> _Layout:
    if LEVEL == "plain":
        dot = _plain_dot(value_at, np.float32)

    def score(rows, query, slot):
        return rows.scales[slot, 0] * dot(rows[0], slot, query.values)

    def decode(rows, slot, out):
        row, scale = rows[0][slot], rows.scales[slot, 0]
        for j in range(len(out) - QUERY_SPARE):
            out[j] = scale * value_at(row, j)

    def touch(rows, slot):
        touch_row(rows[0], slot)
        prefetch(_row(rows.scales, slot))

    return _Layout(_prepare_floats, score, score, decode, touch)


class _Codes(NamedTuple):
    """How codes of one width are read: alone, and times a query of bytes or of floats."""

    code_at: Any
    dot: Any
    dot_fine: Any


def _codes(code_at: Any, dot: Any, dot_fine: Any) -> _Codes:
    if LEVEL == "plain":
        return _Codes(code_at, _plain_dot(code_at, np.int32), _plain_dot(code_at, np.float32))
    return _Codes(code_at, dot, dot_fine)


def _one_level(prepare: Any, codes: _Codes) -> _Layout:
    code_at, dot, dot_fine = codes

    def score(rows, query, slot):
        step, low = rows.constants[slot, 0], rows.constants[slot, 1]
        return step * query.scale * np.float32(dot(rows.codes, slot, query.codes)) + low * query.coarse

    def score_fine(rows, query, slot):
        step, low = rows.constants[slot, 0], rows.constants[slot, 1]
        return step * dot_fine(rows.codes, slot, query.values) + low * query.total

    def decode(rows, slot, out):
        row, step, low = rows.codes[slot], rows.constants[slot, 0], rows.constants[slot, 1]
        for j in range(len(out) - QUERY_SPARE):
            out[j] = step * np.float32(code_at(row, j)) + low

    def touch(rows, slot):
        touch_row(rows.codes, slot)
        prefetch(_row(rows.constants, slot))

    return _Layout(prepare, score, score_fine, decode, touch)


def _nibbles_layout() -> _Layout:
    layout = _one_level(_prepare_halves, _NIBBLES)
    if LEVEL == "plain":
        return layout

    def decode(rows, slot, out):
        row, to, n_bytes = _row(rows.codes, slot), address(out), rows.codes.shape[1]
        step, low = fill_f32(rows.constants[slot, 0]), fill_f32(rows.constants[slot, 1])
        for first in range(0, n_bytes, 64):
            half = min(64, n_bytes - first)
            for at in range(0, half, 16):
                both, place = load_u8x16(row + first + at), to + 4 * (2 * first + at)
                store_f32(place, fma(nibbles_as_f32(both, 0), step, low))
                store_f32(place + 4 * half, fma(nibbles_as_f32(both, 4), step, low))
        out[len(out) - QUERY_SPARE : 2 * n_bytes] = 0

    return layout._replace(decode=decode)


def _planes_layout() -> _Layout:
    plain = LEVEL == "plain"
    quick = _plain_planes(np.int32) if plain else _dot_planes_i8
    fine = _plain_planes(np.float32) if plain else _dot_planes_f32
    layout = _one_level(_prepare_bytes, _Codes(_bit, quick, fine))

    def decode(rows, slot, out):
        row, step, low = rows.codes[slot], rows.constants[slot, 0], rows.constants[slot, 1]
        size = _plane_bytes(out)
        for j in range(len(out) - QUERY_SPARE):
            code = np.int64(0)
            for plane in range(0, len(row), size):
                code = 2 * code + _bit(row[plane:], j)
            out[j] = step * np.float32(code) + low

    return layout._replace(decode=decode)


def _signed_layout(prepare: Any, codes: _Codes, middle: int) -> _Layout:
    code_at, dot, dot_fine = codes
    centre = np.float32(middle)

    def score(rows, query, slot):
        return query.scale * np.float32(dot(rows.codes, slot, query.codes)) - centre * query.coarse

    def score_fine(rows, query, slot):
        return dot_fine(rows.codes, slot, query.values) - centre * query.total

    def decode(rows, slot, out):
        row = rows.codes[slot]
        for j in range(len(out) - QUERY_SPARE):
            out[j] = np.float32(code_at(row, j)) - centre

    def touch(rows, slot):
        touch_row(rows.codes, slot)

    return _Layout(prepare, score, score_fine, decode, touch)


def _table_layout(code_at: Any, touch: Any) -> _Layout:
    one, two, three, four, size = (np.uint64(number) for number in (1, 2, 3, 4, 256))

    def score(rows, query, slot):
        # Whole numbers without a sign: Numba looks for others whether they count from the end, in twice the time.
        codes, table, m = rows.codes, query.values, np.uint64(rows.codes.shape[1])
        a, b, c, e = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        i, at = np.uint64(0), np.uint64(0)
        while i + four <= m:
            a += table[at + code_at(codes, slot, i)]
            b += table[at + size + code_at(codes, slot, i + one)]
            c += table[at + two * size + code_at(codes, slot, i + two)]
            e += table[at + three * size + code_at(codes, slot, i + three)]
            i, at = i + four, at + four * size
        while i < m:
            a += table[at + code_at(codes, slot, i)]
            i, at = i + one, at + size
        return (a + b) + (c + e)

    def decode(rows, slot, out):
        out[: len(out) - QUERY_SPARE] = 0
        for i in range(rows.codes.shape[1]):
            out[np.uint64(256 * i) + code_at(rows.codes, slot, np.uint64(i))] = 1

    return _Layout(_prepare_floats, score, score, decode, touch)


@inlined()
def _in_row(codes, slot, i):
    return np.uint64(codes[np.uint64(slot), i])


def _touch_table(rows, slot):
    touch_row(rows.codes, slot)


@inlined()
def _in_group(codes, slot, i):
    group, row = np.uint64(slot // GROUP), np.uint64(slot % GROUP)
    return np.uint64(codes[group, i, row])


def _touch_group(rows, slot):
    touch_row(rows.codes, slot // GROUP)


def _two_level(codes: _Codes, residuals: _Codes, levels: int) -> _Layout:
    code_at, _, dot_codes = codes
    residual_at, _, dot_residuals = residuals
    fine = np.float32(1 / levels)

    def score(rows, query, slot):
        step, low = rows.constants[slot, 0], rows.constants[slot, 1]
        whole = dot_codes(rows.codes, slot, query.values) + fine * dot_residuals(rows.residuals, slot, query.values)
        return step * whole + (low - step / np.float32(2)) * query.total

    def decode(rows, slot, out):
        step, low = rows.constants[slot, 0], rows.constants[slot, 1]
        row, rest = rows.codes[slot], rows.residuals[slot]
        for j in range(len(out) - QUERY_SPARE):
            code = np.float32(code_at(row, j)) + fine * np.float32(residual_at(rest, j)) - np.float32(0.5)
            out[j] = step * code + low

    def touch(rows, slot):
        touch_row(rows.codes, slot)
        touch_row(rows.residuals, slot)
        prefetch(_row(rows.constants, slot))

    return _Layout(_prepare_total, score, score, decode, touch)


_BITS = _codes(_bit, _dot_bits_i8, _dot_bits_f32)
_BYTES = _codes(_value, _dot_bytes_i8, _dot_floats(load_u8_as_f32))
_NIBBLES = _codes(_nibble, _dot_nibbles_i8, _dot_nibbles_f32)
_prepare_halves = _prepare_bytes if LEVEL == "plain" else _prepare_nibbles
_LAYOUTS: dict[type, _Layout] = {
    Float32Rows: _float_layout(load_f32, _value),
    Float16Rows: _float_layout(f16_to_f32, _float16),
    BFloat16Rows: _float_layout(bf16_to_f32, _bfloat16),
    Float8E4M3Rows: _scaled_layout(_dot_floats(e4m3_to_f32), _float8(3)),
    Float8E5M2Rows: _scaled_layout(_dot_floats(e5m2_to_f32), _float8(2)),
    BitRows: _one_level(_prepare_bytes, _BITS),
    ByteRows: _one_level(_prepare_bytes, _BYTES),
    NibbleRows: _nibbles_layout(),
    NibbleNibbleRows: _two_level(_NIBBLES, _NIBBLES, 15),
    NibbleByteRows: _two_level(_NIBBLES, _BYTES, 255),
    ByteNibbleRows: _two_level(_BYTES, _NIBBLES, 15),
    ByteByteRows: _two_level(_BYTES, _BYTES, 255),
    PlaneRows: _planes_layout(),
    SignedByteRows: _signed_layout(_prepare_bytes, _BYTES, 128),
    SignedNibbleRows: _signed_layout(_prepare_halves, _NIBBLES, 8),
    Float4Rows: _scaled_layout(_dot_float4, _float4),
    TableRows: _table_layout(_in_row, _touch_table),
    TurnedRows: _table_layout(_in_group, _touch_group),
}


def scores_alike(layout: type) -> bool:
    """Return whether rows of a layout have the same scores at the speed of a walk and with the float query."""
    return _LAYOUTS[layout].score is _LAYOUTS[layout].score_fine


def _layout(rows: Any) -> _Layout | None:
    return _LAYOUTS.get(rows.instance_class) if isinstance(rows, types.BaseNamedTuple) else None


# -- what compiled code calls ------------------------------------------------------------------------------------------


def prepare(rows: Any, values: Any, codes: Any) -> Any:
    """Return the `Query` for these rows; `values` and `codes` are (d + QUERY_SPARE,), zero beyond d."""
    raise NotImplementedError("for compiled code only")


def score(rows: Any, query: Any, slot: Any) -> Any:
    """Return the product of the query with a row, at the speed of a walk."""
    raise NotImplementedError("for compiled code only")


def score_fine(rows: Any, query: Any, slot: Any) -> Any:
    """Return the product of the float query with a row."""
    raise NotImplementedError("for compiled code only")


def decode(rows: Any, slot: Any, out: Any) -> Any:
    """Write a row as floats into `out` (d + QUERY_SPARE,)."""
    raise NotImplementedError("for compiled code only")


def touch(rows: Any, slot: Any) -> Any:
    """Ask for the cache lines of a row."""
    raise NotImplementedError("for compiled code only")


@overload(prepare, jit_options=_INLINED)
def _(rows, values, codes):
    layout = _layout(rows)
    return layout and layout.prepare


@overload(score, jit_options=_INLINED)
def _(rows, query, slot):
    layout = _layout(rows)
    return layout and layout.score


@overload(score_fine, jit_options=_INLINED)
def _(rows, query, slot):
    layout = _layout(rows)
    return layout and layout.score_fine


@overload(decode, jit_options=_INLINED)
def _(rows, slot, out):
    layout = _layout(rows)
    return layout and layout.decode


@overload(touch, jit_options=_INLINED)
def _(rows, slot):
    layout = _layout(rows)
    return layout and layout.touch
