r"""MaxSim: how well sets of stored vectors answer a query of several vectors, straight from their codes.

The score of a set P for a query Q is the Chamfer similarity :math:`\sum_{q \in Q} \max_{p \in P} \langle q, p\rangle`.
The query's vectors lie side by side in registers; eight rows of a set are read, decoded where they are codes, and meet
all of them. Of rows that choose from tables, each code is instead the place of what it adds for all of the query's
vectors. Products are of floats, so scores are exact up to rounding for what the rows hold, and a set's score has the
same bytes whatever other sets it is asked with and for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.rows import BFloat16Rows, Float16Rows, Float32Rows, NibbleRows, Rows, TableRows
from isometry.kernels.score import QUERY_SPARE, decode, inlined
from isometry.kernels.simd import (
    add_f32,
    address,
    bf16_to_f32,
    f16_to_f32,
    fma,
    larger_f32,
    load_f32,
    load_u8x16,
    nibbles_as_f32,
    rolled,
    spread_f32,
    store_f32,
    zero_f32,
)
from isometry.kernels.tile import TILE_COLUMNS, TILE_ROWS, eight, keep_tile, shares, tile, whole_tiles
from isometry.threads import in_threads

__all__ = ["matches", "maxsim"]

_TASK_TOKENS = 8192
_TABLE = 256
_LOWEST = np.float32(np.finfo(np.float32).min)


def maxsim(
    query: NDArray[np.float32],
    rows: Rows,
    offsets: NDArray[np.int64],
    candidates: NDArray[np.int64],
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Return the score (c,) of each candidate for a query.

    Parameters
    ----------
    query : (m, d) float32
        Finite, and with values so small that products are.
    rows : Rows
        The vectors of all sets, in any layout. What a codec holds as its mean is not part of the scores: the sum of the
        query's products with it is to be added to all. `TableRows` of one column may be wider than bytes, for a query
        that is products with more than 256 vectors.
    offsets : (n + 1,) int64
        Set i owns the rows ``offsets[i]`` to ``offsets[i + 1]``.
    candidates : (c,) int64
        Sets to score, each from 0 to n - 1.
    threads : int, optional
        At most this many; by default all processors.

    Returns
    -------
    (c,) float32
        -inf for a set without rows.
    """
    out = np.full(len(candidates), -np.inf, np.float32)
    table = whole_tiles(query.T)

    def one(part: slice) -> None:
        _maxsim(table, len(query), rows, offsets, candidates[part], out[part])

    in_threads(one, _parts(offsets, candidates), threads)
    return out


def matches(
    query: NDArray[np.float32],
    rows: Rows,
    offsets: NDArray[np.int64],
    candidates: NDArray[np.int64],
    threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return which row of each candidate answers each vector of a query best, and their products.

    Parameters are those of `maxsim`.

    Returns
    -------
    numbers : (c, m) int64
        Counted from the first row of the set; of equals the first; -1 in a set without rows.
    products : (c, m) float32
        What `maxsim` sums up; -inf in a set without rows.
    """
    shape = len(candidates), len(query)
    numbers, products = np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32)
    table = whole_tiles(query.T)

    def one(part: slice) -> None:
        _matches(table, rows, offsets, candidates[part], numbers[part], products[part])

    in_threads(one, _parts(offsets, candidates), threads)
    return numbers, products


def _parts(offsets: NDArray[np.int64], candidates: NDArray[np.int64]) -> list[slice]:
    """Return tasks of about the same number of rows."""
    lengths = offsets[candidates + 1] - offsets[candidates]
    return [slice(*part) for part in shares(np.concatenate([[0], np.cumsum(lengths)]), _TASK_TOKENS)]


def _floats_of(rows: Any, slot: Any, spare: Any) -> Any:
    """Return the address of a row's floats, which are decoded into `spare` (d + QUERY_SPARE,) where need be."""
    raise NotImplementedError("for compiled code only")


def _tile_of(rows: Any, sources: Any, d: Any, table: Any, line: Any) -> Any:
    """Return the registers of eight rows, as `tile` does, for what `_floats_of` returned of each."""
    raise NotImplementedError("for compiled code only")


@inlined()
def _row(array, slot):
    return address(array) + slot * array.strides[0]


def _plain(rows, slot, spare):
    return _row(rows.values, slot)


def _itself(rows, slot, spare):
    return slot


def _decoded(rows, slot, spare):
    decode(rows, slot, spare)
    return address(spare)


def _converted(load: Any) -> Callable[..., Any]:
    """Return what decodes values of two bytes, which `load` reads as sixteen floats."""

    def floats_of(rows, slot, spare):
        row, out = _row(rows.values, slot), address(spare)
        for j in range(0, rows.values.shape[1], 16):
            store_f32(out + 4 * j, load(row + 2 * j))
        return out

    return floats_of


def _from_nibbles(rows, slot, spare):
    row, constants, out = _row(rows.codes, slot), _row(rows.constants, slot), address(spare)
    step, low = spread_f32(constants), spread_f32(constants + 4)
    n_bytes = rows.codes.shape[1]
    for first in range(0, n_bytes, 64):
        half = min(64, n_bytes - first)
        to = out + 8 * first
        for at in range(0, half, 16):
            both = load_u8x16(row + first + at)
            store_f32(to + 4 * at, fma(nibbles_as_f32(both, 0), step, low))
            store_f32(to + 4 * (half + at), fma(nibbles_as_f32(both, 4), step, low))
    return out


_READERS: dict[type, Callable[..., Any]] = {
    Float32Rows: _plain,
    Float16Rows: _converted(f16_to_f32),
    BFloat16Rows: _converted(bf16_to_f32),
    NibbleRows: _from_nibbles,
    TableRows: _itself,
}
"""How floats of a row are had faster than by `decode`, whose loops the compiler leaves as they are for these."""


def _multiplied(rows, sources, d, table, line):
    return tile(sources, d, table, line)


def _looked_up(rows, sources, d, table, line):
    r0, r1, r2, r3, r4, r5, r6, r7 = sources
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero_f32()
    codes = rows.codes
    for j in range(codes.shape[1]):
        rolled()
        a0 = add_f32(a0, load_f32(table + line * np.int64(codes[r0, j])))
        a1 = add_f32(a1, load_f32(table + line * np.int64(codes[r1, j])))
        a2 = add_f32(a2, load_f32(table + line * np.int64(codes[r2, j])))
        a3 = add_f32(a3, load_f32(table + line * np.int64(codes[r3, j])))
        a4 = add_f32(a4, load_f32(table + line * np.int64(codes[r4, j])))
        a5 = add_f32(a5, load_f32(table + line * np.int64(codes[r5, j])))
        a6 = add_f32(a6, load_f32(table + line * np.int64(codes[r6, j])))
        a7 = add_f32(a7, load_f32(table + line * np.int64(codes[r7, j])))
        table += line * _TABLE
    return a0, a1, a2, a3, a4, a5, a6, a7


@overload(_floats_of, jit_options={"forceinline": True})
def _(rows, slot, spare):
    return _READERS.get(rows.instance_class, _decoded)


@overload(_tile_of, jit_options={"forceinline": True})
def _(rows, sources, d, table, line):
    return _looked_up if rows.instance_class is TableRows else _multiplied


@kernel
def _maxsim(table, m, rows, offsets, candidates, out):
    d, line = table.shape[0], 4 * table.shape[1]
    best, spare = np.empty(table.shape[1], np.float32), np.zeros((TILE_ROWS, d + QUERY_SPARE), np.float32)
    sources = np.empty(TILE_ROWS, np.int64)
    at, to = address(table), address(best)
    for c in range(len(candidates)):
        start, stop = offsets[candidates[c]], offsets[candidates[c] + 1]
        if start == stop:
            continue
        best[:] = _LOWEST
        for first in range(start, stop, TILE_ROWS):
            some = min(TILE_ROWS, stop - first)
            for i in range(some):
                sources[i] = _floats_of(rows, first + i, spare[i])
            eight_rows = eight(sources[:some])
            for column in range(0, line, 4 * TILE_COLUMNS):
                a0, a1, a2, a3, a4, a5, a6, a7 = _tile_of(rows, eight_rows, d, at + column, line)
                a0, a1, a2, a3 = larger_f32(a0, a4), larger_f32(a1, a5), larger_f32(a2, a6), larger_f32(a3, a7)
                a0 = larger_f32(larger_f32(a0, a2), larger_f32(a1, a3))
                store_f32(to + column, larger_f32(a0, load_f32(to + column)))
        total = 0.0
        for i in range(m):
            total += best[i]
        out[c] = total


@kernel
def _matches(table, rows, offsets, candidates, numbers, products):
    d, line = table.shape[0], 4 * table.shape[1]
    side, spare = np.empty((TILE_ROWS, table.shape[1]), np.float32), np.zeros((TILE_ROWS, d + QUERY_SPARE), np.float32)
    sources = np.empty(TILE_ROWS, np.int64)
    at, to = address(table), address(side)
    for c in range(len(candidates)):
        start, stop = offsets[candidates[c]], offsets[candidates[c] + 1]
        for first in range(start, stop, TILE_ROWS):
            some = min(TILE_ROWS, stop - first)
            for i in range(some):
                sources[i] = _floats_of(rows, first + i, spare[i])
            eight_rows = eight(sources[:some])
            for column in range(0, line, 4 * TILE_COLUMNS):
                keep_tile(_tile_of(rows, eight_rows, d, at + column, line), to + column, line)
            for i in range(some):
                for j in range(numbers.shape[1]):
                    if side[i, j] > products[c, j]:
                        products[c, j], numbers[c, j] = side[i, j], first - start + i
