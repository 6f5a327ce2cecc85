"""Looking at all rows: the best of many for each query, and their order by finer rows."""

from __future__ import annotations

import numpy as np

from isometry.kernels.compiled import kernel
from isometry.kernels.graph import ahead_of, offer, rank, scratch, settle
from isometry.kernels.score import QUERY_SPARE, Query, inlined, prepare, score_fine, touch
from isometry.kernels.simd import add_found_u16, address, lowest_bit, reaching_u16, spread_u16

__all__ = ["GROUP", "GROUPS", "MOST_HALVED", "best", "best_of_halves", "halve", "limit_of", "order", "products", "turn"]

_BLOCK_BYTES = 131072
GROUP, GROUPS = 32, 32
_HIGHEST = 127
_ROUNDING = 1e-4
"""More than what adding up in float32 moves a score by, as a share of it."""
MOST_HALVED = 256
"""Most bytes of a row that `best_of_halves` takes: what it adds up fits 16 bits."""


@kernel
def best(rows, space, slots, queries, scores_out, slots_out):
    """Write the best of `slots` for each query, in the order of `slots` where scores are equal; none is -1.

    Parameters
    ----------
    rows : layout of n rows
    space : Space
    slots : (m,) int32
    queries : (nq, d) float32
    scores_out, slots_out : (nq, most) float32, int32

    Notes
    -----
    Rows are taken in blocks that stay in the cache for all queries: each is read from memory once.
    """
    nq, d = queries.shape
    values, codes = np.zeros((nq, d + QUERY_SPARE), np.float32), np.zeros((nq, d + QUERY_SPARE), np.int8)
    ready, sizes = np.empty((nq, 3), np.float32), np.zeros(nq, np.int64)
    for i in range(nq):
        values[i, :d] = queries[i]
        query = prepare(rows, values[i], codes[i])
        ready[i, 0], ready[i, 1], ready[i, 2] = query.scale, query.total, query.coarse
    ahead = ahead_of(rows)
    block = max(16, _BLOCK_BYTES // rows[0].strides[0])
    for first in range(0, len(slots), block):
        last = min(first + block, len(slots))
        for i in range(nq):
            query = Query(values[i], codes[i], ready[i, 0], ready[i, 1], ready[i, 2])
            size = sizes[i]
            for j in range(first, last):
                if i == 0 and j + ahead < len(slots):
                    touch(rows, slots[j + ahead])
                size, _ = offer(scores_out[i], slots_out[i], size, rank(rows, space, query, slots[j]), slots[j])
            sizes[i] = size
    for i in range(nq):
        scores_out[i, sizes[i] :] = -np.inf
        slots_out[i, sizes[i] :] = -1


@kernel
def best_of_halves(rows, space, slots, queries, scores_out, slots_out):
    """Do the same for `TableRows` whose tables of 256 are sums of two of 16, one for each half of a byte.

    Steps of the small tables in 7 bits are added up for 32 rows at a time. A sum says within which bounds a score is,
    so only rows that may be among the best are scored: the answer is that of `best`. There must be no bias, and a
    processor that `level.LOOKS_UP`.

    References
    ----------
    Andre, Kermarrec, Le Scouarnec, Cache locality is not enough: High-performance nearest neighbor search with product
    quantization fast scan, VLDB 2015; they don't score again.
    """
    nq, m = len(queries), rows.codes.shape[1]
    tables = np.empty((nq, m, 2, 2, 16), np.uint8)
    steps, lows, sizes = np.empty(nq, np.float64), np.empty(nq, np.float64), np.zeros(nq, np.int64)
    for i in range(nq):
        steps[i], lows[i] = halve(queries[i], tables[i])
    turned = np.zeros((GROUPS, m, GROUP), np.uint8)
    nothing, nothing_more = np.empty(0, np.int8), np.float32(0)
    for first in range(0, len(slots), GROUP * GROUPS):
        count = min(GROUP * GROUPS, len(slots) - first)
        turn(rows, slots, first, count, turned)
        for i in range(nq):
            query = Query(queries[i], nothing, np.float32(1), np.float32(0), np.float32(0))
            size, table = sizes[i], address(tables[i])
            limit = limit_of(scores_out[i], size, steps[i], lows[i], m, nothing_more)
            for g in range((count + GROUP - 1) // GROUP):
                total, at = spread_u16(0), address(turned[g])
                for j in range(m):
                    total = add_found_u16(total, at + 32 * j, table + 64 * j, table + 64 * j + 32)
                reached = reaching_u16(total, spread_u16(limit))
                while reached:
                    r = GROUP * g + lowest_bit(reached)
                    reached &= reached - 1
                    if r < count:
                        slot = slots[first + r]
                        value = rank(rows, space, query, slot)
                        size, place = offer(scores_out[i], slots_out[i], size, value, slot)
                        if place < len(scores_out[i]):
                            limit = limit_of(scores_out[i], size, steps[i], lows[i], m, nothing_more)
            sizes[i] = size
    for i in range(nq):
        scores_out[i, sizes[i] :] = -np.inf
        slots_out[i, sizes[i] :] = -1


@inlined()
def halve(sums, tables):
    """Write the small tables (m, low or high half, twice, 16) as steps, and return the step and the lowest sum."""
    step, lowest = 0.0, 0.0
    small = np.empty((len(tables), 2, 16), np.float64)
    for j in range(len(tables)):
        for c in range(16):
            small[j, 0, c] = sums[256 * j + c]
            small[j, 1, c] = np.float64(sums[256 * j + 16 * c]) - np.float64(sums[256 * j])
        for half in range(2):
            step = max(step, (small[j, half].max() - small[j, half].min()) / _HIGHEST)
    step = max(step, 1e-30)
    for j in range(len(tables)):
        for half in range(2):
            low = small[j, half].min()
            lowest += low
            for c in range(16):
                tables[j, half, 0, c] = tables[j, half, 1, c] = np.rint((small[j, half, c] - low) / step)
    return step, lowest


@inlined()
def limit_of(scores, size, step, lowest, m, more):
    """Return the least sum of steps whose row may come before the last of the best: each table is half a step off.

    `more` is what is added to the scores of the rows in question.
    """
    if size < len(scores):
        return np.int64(0)
    last, more = np.float64(scores[size - 1]), np.float64(more)
    reach = (last - more - lowest - _ROUNDING * (abs(last) + abs(more) + abs(lowest))) / step - m - 1
    return np.int64(min(max(reach, 0.0), 65535.0))


@inlined()
def turn(rows, slots, first, count, turned):
    """Write the codes of some slots into groups of rows, (groups, m, `GROUP`)."""
    for r in range(count):
        row = rows.codes[slots[first + r]]
        for j in range(len(row)):
            turned[r // GROUP, j, r % GROUP] = row[j]


@kernel
def order(fine, space, queries, candidates, row_ids, ids_out, scores_out):
    """Score candidates (nq, most), the -1 last, with the fine rows and write the best, equal scores by smaller id."""
    values, codes = scratch(queries.shape[1])
    alone = np.empty(0, np.int32)
    for i in range(len(queries)):
        values[: queries.shape[1]] = queries[i]
        query = prepare(fine, values, codes)
        count = 0
        while count < candidates.shape[1] and candidates[i, count] >= 0:
            count += 1
        settle(fine, space, query, candidates[i], count, (row_ids, alone), None, scores_out[i], ids_out[i])


@kernel
def products(rows, queries, out):
    """Write the products of queries (nq, d) with all n rows into `out` (nq, n), block after block as `best` does."""
    d = queries.shape[1]
    values, codes = scratch(d)
    block = max(16, _BLOCK_BYTES // rows[0].strides[0])
    for first in range(0, out.shape[1], block):
        last = min(first + block, out.shape[1])
        for i in range(len(queries)):
            values[:d] = queries[i]
            query = prepare(rows, values, codes)
            for slot in range(first, last):
                out[i, slot] = score_fine(rows, query, slot)
