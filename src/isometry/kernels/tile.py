"""Products of sets of rows with a table, in tiles of eight rows and sixteen columns that are kept in registers.

A product is summed up in the order of its terms, so it is the same to the last bit whatever rows it is computed with.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.score import inlined
from isometry.kernels.simd import address, fma, load_f32, rolled, spread_f32, store_f32, zero_f32

__all__ = ["TILE_COLUMNS", "TILE_ROWS", "eight", "keep_tile", "multiply", "shares", "tile", "whole_tiles"]

TILE_ROWS, TILE_COLUMNS = 8, 16


def shares(offsets: NDArray[np.int64], size: int) -> list[tuple[int, int]]:
    """Return (first, last + 1) of runs of sets, of about `size` rows each and at least one set.

    Set i owns the rows ``offsets[i]`` to ``offsets[i + 1]``; sets without rows may be left out at the beginning.
    """
    starts = np.searchsorted(offsets, np.arange(offsets[0], offsets[-1], size), side="right") - 1
    return list(pairwise([*np.unique(starts).tolist(), len(offsets) - 1]))


def whole_tiles(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a table, contiguous and with zero columns added up to a multiple of a tile's."""
    width = table.shape[-1]
    if width % TILE_COLUMNS == 0:
        return np.ascontiguousarray(table)
    whole = np.zeros((*table.shape[:-1], width + -width % TILE_COLUMNS), np.float32)
    whole[..., :width] = table
    return whole


@inlined()
def tile(rows, d, table, line):
    """Return eight registers: in lane c of register i, the product of row i with column c.

    Parameters
    ----------
    rows : tuple of 8 int
        Addresses of d float32 each.
    d : int
    table : int
        Address of the first of sixteen columns of float32.
    line : int
        Bytes from one row of the table, of which there are d, to the next.
    """
    r0, r1, r2, r3, r4, r5, r6, r7 = rows
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero_f32()
    for j in range(0, 4 * d, 4):
        rolled()
        t = load_f32(table)
        table += line
        a0, a1 = fma(spread_f32(r0 + j), t, a0), fma(spread_f32(r1 + j), t, a1)
        a2, a3 = fma(spread_f32(r2 + j), t, a2), fma(spread_f32(r3 + j), t, a3)
        a4, a5 = fma(spread_f32(r4 + j), t, a4), fma(spread_f32(r5 + j), t, a5)
        a6, a7 = fma(spread_f32(r6 + j), t, a6), fma(spread_f32(r7 + j), t, a7)
    return a0, a1, a2, a3, a4, a5, a6, a7


@inlined()
def eight(sources):
    """Return eight addresses, of fewer the last one repeated."""
    last = len(sources) - 1
    return (
        sources[0], sources[min(1, last)], sources[min(2, last)], sources[min(3, last)],
        sources[min(4, last)], sources[min(5, last)], sources[min(6, last)], sources[min(7, last)],
    )  # fmt: skip


@inlined()
def keep_tile(registers, to, line):
    """Store eight registers, each `line` bytes after the one before."""
    a0, a1, a2, a3, a4, a5, a6, a7 = registers
    store_f32(to, a0)
    store_f32(to + line, a1)
    store_f32(to + 2 * line, a2)
    store_f32(to + 3 * line, a3)
    store_f32(to + 4 * line, a4)
    store_f32(to + 5 * line, a5)
    store_f32(to + 6 * line, a6)
    store_f32(to + 7 * line, a7)


@kernel
def multiply(sources, d, table, out):
    """Write the products of up to eight rows, given by their addresses, with all columns of a table of whole tiles."""
    rows = eight(sources)
    line = 4 * table.shape[1]
    at, to = address(table), address(out)
    for column in range(0, line, 4 * TILE_COLUMNS):
        keep_tile(tile(rows, d, at + column, line), to + column, 4 * out.shape[1])
