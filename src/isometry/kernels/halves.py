"""Looking at rows whose tables of 256 are sums of two of 16, one for each half of a byte, many rows at a time."""

from __future__ import annotations

import numpy as np

from isometry.kernels.compiled import kernel
from isometry.kernels.graph import rank
from isometry.kernels.lists import insert
from isometry.kernels.rows import GROUP
from isometry.kernels.score import Query, inlined
from isometry.kernels.simd import add_found_u16, address, lowest_bit, reaching_u16, spread_u16

__all__ = ["MOST_HALVED", "best_of_halves"]

MOST_HALVED = 256
"""Most bytes of a row that `best_of_halves` takes: what it adds up fits 16 bits."""
_HIGHEST = 127
_ROUNDING = 1e-4
"""More than what adding up in float32 moves a score by, as a share of it."""
_SLOTS = 1024


@kernel
def best_of_halves(rows, space, lists, chosen, added, queries, row_ids, scores_out, slots_out):
    """Write the best rows of the lists that each query looks at, as `isometry.kernels.lists.best` does.

    Steps of the small tables in 7 bits are added up for a group of rows at a time. A sum says within which bounds a
    score is, so only rows that may be among the best are scored: the answer is the same. There must be no bias, and a
    processor that `level.LOOKS_UP`.

    Parameters
    ----------
    rows : TurnedRows
    space : Space
    lists : Lists
        Ascending slots in each list: the more of a group are in one list, the faster.
    chosen : (n_lists, nq) bool
    added : (nq, n_lists) or (nq, 0) float32
    queries : (nq, d) float32
    row_ids : (n,) or (0,) int64
        Equal scores are in the order of ids; without them, of slots.
    scores_out, slots_out : (nq, most) float32, int32

    References
    ----------
    Andre, Kermarrec, Le Scouarnec, Cache locality is not enough: High-performance nearest neighbor search with product
    quantization fast scan, VLDB 2015; they don't score again.
    """
    nq, m = len(queries), rows.codes.shape[1]
    tables = np.empty((nq, m, 2, 2, 16), np.uint8)
    steps, lows, sizes = np.empty(nq, np.float64), np.empty(nq, np.float64), np.zeros(nq, np.int64)
    for i in range(nq):
        steps[i], lows[i] = _halve(queries[i], tables[i])
    groups, members = np.empty(_SLOTS, np.int64), np.empty(_SLOTS, np.int64)
    nothing = np.empty(0, np.int8)
    starts, slots = lists
    codes, bytes_ = address(rows.codes), GROUP * m
    for c in range(len(starts) - 1):
        for first in range(starts[c], starts[c + 1], _SLOTS):
            count = 0
            for i in range(nq):
                if not chosen[c, i]:
                    continue
                if not count:
                    count = _grouped(slots, first, min(first + _SLOTS, starts[c + 1]), groups, members)
                query = Query(queries[i], nothing, np.float32(1), np.float32(0), np.float32(0))
                more = added[i, c] if added.shape[1] else np.float32(0)
                size, table = sizes[i], address(tables[i])
                limit = _limit_of(scores_out[i], size, steps[i], lows[i], m, more)
                for g in range(count):
                    reached = members[g]
                    if not _is_few(reached):
                        total, at = spread_u16(0), codes + bytes_ * groups[g]
                        for j in range(m):
                            total = add_found_u16(total, at + GROUP * j, table + 64 * j, table + 64 * j + 32)
                        reached &= reaching_u16(total, spread_u16(limit))
                    while reached:
                        slot = np.int32(GROUP * groups[g] + lowest_bit(reached))
                        reached &= reached - 1
                        value = rank(rows, space, query, slot) + more
                        size = insert(scores_out[i], slots_out[i], size, value, slot, row_ids)
                        limit = _limit_of(scores_out[i], size, steps[i], lows[i], m, more)
                sizes[i] = size
    for i in range(nq):
        scores_out[i, sizes[i] :] = -np.inf
        slots_out[i, sizes[i] :] = -1


@inlined()
def _grouped(slots, first, last, groups, members):
    """Write the groups that ascending slots are in, and a bit for each member of them; returns how many groups."""
    count, j = 0, first
    while j < last:
        slot = np.int64(slots[j])
        group, row = slot // GROUP, slot % GROUP
        end = min(last, j + GROUP - row)
        bits = np.int64(0)
        if slots[end - 1] - slot == end - 1 - j:
            bits = ((np.int64(1) << (end - j)) - 1) << row
            j = end
        else:
            while j < last and slots[j] // GROUP == group:
                bits |= np.int64(1) << (slots[j] % GROUP)
                j += 1
        groups[count], members[count] = group, bits
        count += 1
    return count


@inlined()
def _is_few(bits):
    """Tell whether at most two bits are set: so few rows are scored right away."""
    more = bits & (bits - 1)
    return more & (more - 1) == 0


@inlined()
def _halve(sums, tables):
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
def _limit_of(scores, size, step, lowest, m, more):
    """Return the least sum of steps whose row may come before the last of the best: each table is half a step off.

    `more` is what is added to the scores of the rows in question.
    """
    if size < len(scores):
        return np.int64(0)
    last, more = np.float64(scores[size - 1]), np.float64(more)
    reach = (last - more - lowest - _ROUNDING * (abs(last) + abs(more) + abs(lowest))) / step - m - 1
    return np.int64(min(max(reach, 0.0), 65535.0))
