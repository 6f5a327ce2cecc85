"""Looking at all rows: the best of many for each query, and their order by finer rows."""

from __future__ import annotations

import numpy as np

from isometry.kernels.compiled import kernel
from isometry.kernels.graph import ahead_of, offer, rank, scratch, settle
from isometry.kernels.score import QUERY_SPARE, Query, prepare, score_fine, touch
from isometry.kernels.simd import (
    add_f32,
    address,
    exceeding_f32,
    load_f32,
    lowest_bit,
    spread_f32,
    store_f32,
    zero_f32,
)

__all__ = ["LANES", "best", "best_of_tables", "order", "products"]

_BLOCK_BYTES = 131072
LANES = 16
"""Queries that `best_of_tables` takes at once."""
_LINE = 4 * LANES
_TABLE = 256 * _LINE


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
def best_of_tables(rows, space, slots, queries, scores_out, slots_out):
    """Do the same for `TableRows`, sixteen queries at once: what a byte stands for in all of them is one cache line."""
    nq, width = queries.shape
    m, room = np.uint64(rows.codes.shape[1]), scores_out.shape[1]
    one, four = np.uint64(1), np.uint64(4)
    memory = np.zeros(LANES * (width + 1), np.float32)
    unused = -address(memory) % _LINE // 4
    tables = memory[unused : unused + LANES * width].reshape(width, LANES)
    values, limits = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    table, value, limit = address(tables), address(values), address(limits)
    for begin in range(0, nq, LANES):
        count = min(LANES, nq - begin)
        for at in range(width):
            for i in range(count):
                tables[at, i] = queries[begin + i, at]
        sizes = np.zeros(LANES, np.int64)
        # Everything exceeds what is no number: the limit of lists that are not full yet.
        limits[:], asked = np.nan, (1 << count) - 1
        for slot in slots:
            row = rows.codes[slot]
            a = b = c = e = zero_f32()
            i, at = np.uint64(0), table
            while i + four <= m:
                a = add_f32(a, load_f32(at + _LINE * np.int64(row[i])))
                b = add_f32(b, load_f32(at + _TABLE + _LINE * np.int64(row[i + one])))
                c = add_f32(c, load_f32(at + 2 * _TABLE + _LINE * np.int64(row[i + one + one])))
                e = add_f32(e, load_f32(at + 3 * _TABLE + _LINE * np.int64(row[i + one + one + one])))
                i, at = i + four, at + 4 * _TABLE
            while i < m:
                a = add_f32(a, load_f32(at + _LINE * np.int64(row[i])))
                i, at = i + one, at + _TABLE
            total = add_f32(add_f32(a, b), add_f32(c, e))
            if len(space.bias):
                total = add_f32(total, spread_f32(address(space.bias) + 4 * slot))
            exceeding = exceeding_f32(total, load_f32(limit)) & asked
            if exceeding:
                store_f32(value, total)
                while exceeding:
                    lane = lowest_bit(exceeding)
                    exceeding &= exceeding - 1
                    q = begin + lane
                    sizes[lane], _ = offer(scores_out[q], slots_out[q], sizes[lane], values[lane], slot)
                    if sizes[lane] == room:
                        limits[lane] = scores_out[q, room - 1]
        for i in range(count):
            scores_out[begin + i, sizes[i] :] = -np.inf
            slots_out[begin + i, sizes[i] :] = -1


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
