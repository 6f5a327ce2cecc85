"""Looking at some of many lists of rows: which ones, the best rows of them, and their order by finer rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.graph import ahead_of, rank, scratch
from isometry.kernels.hits import keep
from isometry.kernels.lend import lent
from isometry.kernels.score import QUERY_SPARE, Query, inlined, prepare, score_fine, touch

__all__ = ["Lists", "best", "choose", "insert", "order"]

_BLOCK_BYTES = 131072


class Lists(NamedTuple):
    """Slots in lists.

    Attributes
    ----------
    starts : (n_lists + 1,) int64
        List i is ``slots[starts[i] : starts[i + 1]]``.
    slots : (n,) int32
    """

    starts: NDArray[np.int64]
    slots: NDArray[np.int32]


@kernel
def choose(near, starts, probes, least, chosen):
    """Mark the lists that each query looks at, in `chosen` (n_lists, nq) bool, which is false at first.

    Parameters
    ----------
    near : (nq, n_lists) float32
        How promising each list is.
    starts : (n_lists + 1,) int64
        As of `Lists`; those that are empty do not count.
    probes : int
        How many lists.
    least : int
        Go on until they hold so many rows.
    """
    n = len(starts) - 1
    values, numbers = np.empty(n, np.float32), np.empty(n, np.int64)
    for i in range(len(near)):
        count = 0
        for c in range(n):
            if starts[c + 1] > starts[c]:
                values[count], numbers[count] = near[i, c], c
                count += 1
        taken = min(probes, count)
        if taken == 0:
            continue
        limit = np.partition(values[:count], count - taken)[count - taken]
        # Of lists that are equally promising the first ones are taken.
        over = 0
        for at in range(count):
            over += values[at] > limit
        level, rows = taken - over, np.int64(0)
        for at in range(count):
            c = numbers[at]
            if values[at] > limit or (values[at] == limit and level > 0):
                level -= values[at] == limit
                chosen[c, i] = True
                rows += starts[c + 1] - starts[c]
        if rows >= least:
            continue
        following = np.argsort(-values[:count], kind="mergesort")
        for at in following:
            c = numbers[at]
            if rows < least and not chosen[c, i]:
                chosen[c, i] = True
                rows += starts[c + 1] - starts[c]


@inlined()
def insert(scores, slots, size, value, slot, row_ids):
    """Put a row into a list kept best first, equal scores by smaller id, or slot without ids; returns the new size."""
    room = len(scores)
    if size == room:
        last = scores[room - 1]
        if value < last or (value == last and _id_of(slot, row_ids) > _id_of(slots[room - 1], row_ids)):
            return size
    place = min(size, room - 1)
    while place > 0 and (
        scores[place - 1] < value
        or (scores[place - 1] == value and _id_of(slots[place - 1], row_ids) > _id_of(slot, row_ids))
    ):
        scores[place] = scores[place - 1]
        slots[place] = slots[place - 1]
        place -= 1
    scores[place] = value
    slots[place] = slot
    return min(size + 1, room)


@inlined()
def _id_of(slot, row_ids):
    return row_ids[slot] if len(row_ids) else np.int64(slot)


@kernel
def best(rows, space, lists, chosen, added, queries, together, row_ids, scores_out, slots_out):
    """Write the best rows of the lists that each query looks at, equal scores by smaller id; none is -1.

    Parameters
    ----------
    rows : layout of n rows
    space : Space
    lists : Lists
    chosen : (n_lists, nq) bool
    added : (nq, n_lists) or (nq, 0) float32
        What the scores of a list's rows lack.
    queries : (nq, d) float32
    together : int
        For so many queries a list is read from memory once.
    row_ids : (n,) int64
    scores_out, slots_out : (nq, most) float32, int32

    Notes
    -----
    The answer depends neither on `together` nor on the order of lists.
    """
    rows, space, lists, row_ids, scores_out, slots_out = lent((rows, space, lists, row_ids, scores_out, slots_out))
    nq, d = queries.shape
    values, codes = np.zeros((nq, d + QUERY_SPARE), np.float32), np.zeros((nq, d + QUERY_SPARE), np.int8)
    ready, sizes = np.empty((nq, 3), np.float32), np.zeros(nq, np.int64)
    for i in range(nq):
        values[i, :d] = queries[i]
        query = prepare(rows, values[i], codes[i])
        ready[i, 0], ready[i, 1], ready[i, 2] = query.scale, query.total, query.coarse
    ahead = ahead_of(rows)
    block = max(16, _BLOCK_BYTES // rows[0].strides[0])
    starts, slots = lists
    for begin in range(0, nq, together):
        end = min(begin + together, nq)
        for c in range(len(starts) - 1):
            for first in range(starts[c], starts[c + 1], block):
                last = min(first + block, starts[c + 1])
                fetched = False
                for i in range(begin, end):
                    if not chosen[c, i]:
                        continue
                    query = Query(values[i], codes[i], ready[i, 0], ready[i, 1], ready[i, 2])
                    more = added[i, c] if added.shape[1] else np.float32(0)
                    size = sizes[i]
                    for j in range(first, last):
                        if not fetched and j + ahead < last:
                            touch(rows, slots[j + ahead])
                        slot = slots[j]
                        value = rank(rows, space, query, slot) + more
                        size = insert(scores_out[i], slots_out[i], size, value, slot, row_ids)
                    sizes[i] = size
                    fetched = True
    for i in range(nq):
        scores_out[i, sizes[i] :] = -np.inf
        slots_out[i, sizes[i] :] = -1


@kernel
def order(fine, space, queries, added, list_of, candidates, row_ids, ids_out, scores_out):
    """Score candidates (nq, most), the -1 last, with the fine rows and what is `added` to their list's, and write them.

    `list_of` (n,) is the list of every slot. The best come first, equal scores by smaller id.
    """
    values, codes = scratch(queries.shape[1])
    ahead = ahead_of(fine)
    for i in range(len(queries)):
        values[: queries.shape[1]] = queries[i]
        query = prepare(fine, values, codes)
        size = 0
        for j in range(candidates.shape[1]):
            slot = candidates[i, j]
            if slot < 0:
                break
            if j + ahead < candidates.shape[1] and candidates[i, j + ahead] >= 0:
                touch(fine, candidates[i, j + ahead])
            value = score_fine(fine, query, slot)
            if len(space.bias):
                value += space.bias[slot]
            value += added[i, list_of[slot]]
            size = keep(scores_out[i], ids_out[i], size, value, row_ids[slot])
        scores_out[i, size:] = -np.inf
        ids_out[i, size:] = -1
