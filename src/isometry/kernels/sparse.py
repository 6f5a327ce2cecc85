"""Compact sparse rows, and their products with a query.

Rows are chunks of sixteen entries, one after another: sixteen term numbers, then sixteen values, so that a row is one
stretch of memory. What pads a row is term 0 with value 0. The width of a chunk tells its layout:

=====  ===========  =============
bytes  terms        values
=====  ===========  =============
48     16 bits      8 bits
64     16 bits      IEEE half
80     32 bits      8 bits
96     32 bits      IEEE half
=====  ===========  =============

A query is spread over one float per term; a product reads sixteen of them at a time by plain loads, which is faster
than the gather instruction of the processors that this was measured on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.hits import keep
from isometry.kernels.score import inlined
from isometry.kernels.simd import (
    address,
    f16_to_f32,
    fma,
    load_u8_as_f32,
    prefetch,
    rolled,
    sum_f32,
    take_u16,
    take_u32,
    zero_f32,
)

__all__ = ["SparseRows", "dot", "scan", "touch"]

_LINE = 64
_AHEAD = 8


class SparseRows(NamedTuple):
    """Compact rows.

    Attributes
    ----------
    chunks : (c, width) uint8
    starts : (n + 1,) uint32
        The chunks of row i are ``starts[i]:starts[i + 1]``.
    scales : (n,) float32
        A value is its stored number times the scale of its row.
    """

    chunks: NDArray[np.uint8]
    starts: NDArray[np.uint32]
    scales: NDArray[np.float32]


# -- products ----------------------------------------------------------------------------------------------------------


@inlined()
def dot(rows, query, slot):
    """Return the product of a row with a query of one float per term."""
    width = rows.chunks.shape[1]
    at = address(rows.chunks) + np.int64(rows.starts[slot]) * width
    end = address(rows.chunks) + np.int64(rows.starts[slot + 1]) * width
    spread = address(query)
    total = zero_f32()
    if width == 64:
        while at < end:
            total = fma(take_u16(spread, at), f16_to_f32(at + 32), total)
            at += 64
            rolled()
    elif width == 48:
        while at < end:
            total = fma(take_u16(spread, at), load_u8_as_f32(at + 32), total)
            at += 48
            rolled()
    elif width == 96:
        while at < end:
            total = fma(take_u32(spread, at), f16_to_f32(at + 64), total)
            at += 96
            rolled()
    else:
        while at < end:
            total = fma(take_u32(spread, at), load_u8_as_f32(at + 64), total)
            at += 80
            rolled()
    return sum_f32(total) * rows.scales[slot]


@inlined()
def touch(rows, slot):
    """Ask for the cache lines of a row."""
    width = rows.chunks.shape[1]
    at = address(rows.chunks) + np.int64(rows.starts[slot]) * width
    end = address(rows.chunks) + np.int64(rows.starts[slot + 1]) * width
    while at < end:
        prefetch(at)
        at += _LINE
        rolled()


@kernel
def scan(rows, first_id, slots, starts, terms, weights, query, ids_out, scores_out):
    """Write the best of `slots` for each query, after those that the lists hold already.

    Parameters
    ----------
    rows : SparseRows
    first_id : int
        Id of slot 0; the others follow.
    slots : (m,) int32
    starts, terms, weights : (nq + 1,) int64, (e,) int32, (e,) float32
        Queries as rows of a CSR.
    query : (t,) float32
        Scratch, all zero.
    ids_out, scores_out : (nq, k) int64, float32
        Best first, then -1 and minus infinity; added to.
    """
    for i in range(len(starts) - 1):
        for j in range(starts[i], starts[i + 1]):
            query[terms[j]] = weights[j]
        size = 0
        while size < ids_out.shape[1] and ids_out[i, size] >= 0:
            size += 1
        for j in range(len(slots)):
            if j + _AHEAD < len(slots):
                touch(rows, slots[j + _AHEAD])
            value = dot(rows, query, slots[j])
            if value > 0:
                size = keep(scores_out[i], ids_out[i], size, value, first_id + slots[j])
        for j in range(starts[i], starts[i + 1]):
            query[terms[j]] = 0
