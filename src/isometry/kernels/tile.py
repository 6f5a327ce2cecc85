"""Products of eight rows with sixteen columns of a table, kept in registers: what larger products are made of.

A product is summed up in the order of its terms, so it is the same to the last bit whatever rows it is computed with.
"""

from __future__ import annotations

from isometry.kernels.score import inlined
from isometry.kernels.simd import fma, load_f32, rolled, spread_f32, zero_f32

__all__ = ["TILE_COLUMNS", "TILE_ROWS", "tile"]

TILE_ROWS, TILE_COLUMNS = 8, 16


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
