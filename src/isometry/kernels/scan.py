"""Looking at all rows: the best of many for each query, and their order by finer rows."""

from __future__ import annotations

import numpy as np

from isometry.kernels.compiled import kernel
from isometry.kernels.graph import ahead_of, offer, rank, scratch, settle
from isometry.kernels.score import QUERY_SPARE, Query, prepare, score_fine, touch

__all__ = ["best", "order", "products"]

_BLOCK_BYTES = 131072


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
