"""Posting lists that are added up: one sum per row, from codes of the weights, then the best rows by their products.

Rows are looked at in parts of `PART` rows, whose sums fit in the first-level cache: 16-bit numbers, in units that are
chosen for the query so that no sum overflows. Where a term is in few rows of a part, their numbers and codes lie in a
list; where it is in many, there is a code for every row of the part, and sums are added thirty-two at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.hits import keep
from isometry.kernels.score import inlined
from isometry.kernels.simd import (
    add_parts_u16,
    address,
    larger_u16,
    load_u16,
    lowest_bit,
    reaching_u16,
    spread_u16,
    store_u16,
)
from isometry.kernels.sparse import dot, touch

__all__ = ["DENSE", "FULL", "PART", "Postings", "Sums", "search"]

PART = 16384
"""Rows of a part."""
DENSE = 65535
"""Size of a cell that has a code for every row."""
FULL = 60000
"""Units that a query's best possible row adds up to."""
_LANES = 32
_GROUPS = 16
_AHEAD = 16


class Postings(NamedTuple):
    """Posting lists in cells: one per term and part of the rows, those of a term one after another.

    Attributes
    ----------
    starts : (t * parts,) uint32
        Where a cell's postings begin; of a dense cell, the number of its codes in `dense`.
    sizes : (t * parts,) uint16
        How many it has; `DENSE` says that it has one for every row.
    rows : (p,) uint16
        Rows of the cells, counted from the first one of the part, ascending within a cell.
    codes : (p,) uint8
        At least 1; a weight is its code times its term's scale, up to rounding.
    dense : (cells, PART) uint8
        Codes of the dense cells, 0 where the term is missing.
    """

    starts: NDArray[np.uint32]
    sizes: NDArray[np.uint16]
    rows: NDArray[np.uint16]
    codes: NDArray[np.uint8]
    dense: NDArray[np.uint8]


class Sums(NamedTuple):
    """Scratch of one thread, used again from call to call.

    Attributes
    ----------
    query : (t,) float32
        All zero between queries.
    sums : (PART,) uint16
        All zero between queries.
    maxima : (512,) uint16
    slots, values : (n,) int32, uint16
        Candidates and their sums.
    """

    query: NDArray[np.float32]
    sums: NDArray[np.uint16]
    maxima: NDArray[np.uint16]
    slots: NDArray[np.int32]
    values: NDArray[np.uint16]


@inlined()
def _add(postings, cell, share, sums):
    """Add a cell's codes, each times a share of 256."""
    size, start = postings.sizes[cell], np.int64(postings.starts[cell])
    if size == DENSE:
        at, codes, spread = address(sums), address(postings.dense) + start * PART, spread_u16(np.int64(share))
        for i in range(0, PART, _LANES):
            store_u16(at + 2 * i, add_parts_u16(load_u16(at + 2 * i), codes + i, spread))
    else:
        for e in range(start, start + size):
            sums[postings.rows[e]] += np.uint16((np.uint32(postings.codes[e]) * share) >> np.uint32(8))


@inlined()
def _mark(postings, cell, sums):
    """Set the sums of a cell's rows to 1."""
    size, start = postings.sizes[cell], np.int64(postings.starts[cell])
    if size == DENSE:
        for row in range(PART):
            if postings.dense[start, row]:
                sums[row] = 1
    else:
        for e in range(start, start + size):
            sums[postings.rows[e]] = 1


@inlined()
def _maxima(sums, out):
    """Write the largest sum of each of 512 groups of rows."""
    at, found = address(sums), address(out)
    step = PART // _GROUPS
    for group in range(_GROUPS):
        best = load_u16(at + 2 * group * step)
        for i in range(_LANES, step, _LANES):
            best = larger_u16(best, load_u16(at + 2 * (group * step + i)))
        store_u16(found + 2 * group * _LANES, best)


@inlined()
def _nth(values, count, n):
    """Return the n-th largest of some values, counted from 1; 0 where there are not so many."""
    if count < n:
        return 0
    counts = np.zeros(256, np.int64)
    for i in range(count):
        counts[values[i] >> 8] += 1
    high, above = 255, 0
    while above + counts[high] < n:
        above += counts[high]
        high -= 1
    counts[:] = 0
    for i in range(count):
        if values[i] >> 8 == high:
            counts[values[i] & 255] += 1
    low = 255
    while above + counts[low] < n:
        above += counts[low]
        low -= 1
    return high * 256 + low


@inlined()
def _collect(sums, first, least, slots, values, size):
    """Append the rows whose sum is at least `least`, and set all sums to zero; returns the new size."""
    at, bound, nothing = address(sums), spread_u16(np.int64(least)), spread_u16(np.int64(0))
    for i in range(0, PART, _LANES):
        bits = reaching_u16(load_u16(at + 2 * i), bound)
        while bits:
            row = i + lowest_bit(bits)
            slots[size] = first + row
            values[size] = sums[row]
            size += 1
            bits &= bits - 1
        store_u16(at + 2 * i, nothing)
    return size


@inlined()
def _arrange(scales, rarities, terms, weights, shares):
    """Put a query's terms in the order of their use, write their shares, and return the sum of their best weights.

    A term is the more useful the more it can add, and the fewer rows it has to be added to.
    """
    count = len(terms)
    keys = np.empty(count, np.float64)
    total = 0.0
    for j in range(count):
        most = np.float64(weights[j]) * np.float64(scales[terms[j]])
        total += most
        keys[j] = -most * np.float64(rarities[terms[j]])
    order = np.argsort(keys, kind="mergesort")
    before_terms, before_weights = terms.copy(), weights.copy()
    for j in range(count):
        terms[j], weights[j] = before_terms[order[j]], before_weights[order[j]]
        shares[j] = np.uint16(np.float64(weights[j]) * np.float64(scales[terms[j]]) / total * (256 * FULL / 255))
    return total


@kernel
def search(
    rows, postings, passing, starts, terms, weights, scales, rarities, part_used, wanted, scratch, ids_out, scores_out
):  # fmt: skip
    """Answer queries: add up, then score the best by their products; returns how many were scored.

    Parameters
    ----------
    rows : SparseRows
    postings : Postings
    passing : (n,) or (0,) bool
        Rows that may be hits; empty if all may.
    starts, terms, weights : (nq + 1,) int64, (e,) int32, (e,) float32
        Queries as rows of a CSR, of positive weights; the terms of a query are put in another order.
    scales, rarities : (t,) float32
        What a code of a term stands for; how useful a term of equal weight is.
    part_used : float
        Terms are added up until their best weights are this share of those of all; from 1 on the answer is exact.
    wanted : int
        How many rows are scored, at least k; an exact answer scores what it needs.
    scratch : Sums
    ids_out, scores_out : (nq, k) int64, float32
        Written: best first, then -1 and minus infinity.
    """
    k = ids_out.shape[1]
    scored = 0
    for i in range(len(starts) - 1):
        q_terms, q_weights = terms[starts[i] : starts[i + 1]], weights[starts[i] : starts[i + 1]]
        shares = np.empty(len(q_terms), np.uint16)
        total = _arrange(scales, rarities, q_terms, q_weights, shares)
        for j in range(len(q_terms)):
            scratch.query[q_terms[j]] = q_weights[j]
        used, reached = 0, 0.0
        while used < len(q_terms) and (part_used >= 1 or reached < part_used * total):
            reached += np.float64(q_weights[used]) * np.float64(scales[q_terms[used]])
            used += 1
        found = 0
        if used < len(q_terms):
            size, _ = _best_sums(
                postings, passing, q_terms[:used], shares, max(wanted, k), 0, scratch, len(rows.scales)
            )
            found = _score(rows, scratch, size, ids_out[i], scores_out[i])
            scored += size
        if found < k:
            # A sum is off by a code for each term, by the rounding of its share and by that of what is added.
            slack = np.int64(1.75 * FULL / 255) + 3 * len(q_terms) + 1
            size, least = _best_sums(postings, passing, q_terms, shares, k, slack, scratch, len(rows.scales))
            if least == 1:
                size = _all_rows(postings, passing, q_terms, scratch, len(rows.scales))
            found = _score(rows, scratch, size, ids_out[i], scores_out[i])
            scored += size
        scores_out[i, found:] = -np.inf
        ids_out[i, found:] = -1
        for j in range(len(q_terms)):
            scratch.query[q_terms[j]] = 0
    return scored


@inlined()
def _best_sums(postings, passing, terms, shares, wanted, slack, scratch, n):
    """Write the rows with the `wanted` best sums, and with those that are `slack` below.

    Returns how many there are, and the least sum among what was looked for: at 1, rows may be missing whose sum is 0.
    """
    sums, slots, values = scratch.sums, scratch.slots, scratch.values
    n_parts = (n + PART - 1) // PART
    size, least = 0, 1
    for part in range(n_parts):
        first = part * PART
        for j in range(len(terms)):
            _add(postings, np.int64(terms[j]) * n_parts + part, np.uint32(shares[j]), sums)
        _pass(passing, first, n, sums)
        if least == 1:
            _maxima(sums, scratch.maxima)
            least = max(1, _nth(scratch.maxima, len(scratch.maxima), wanted) - slack)
        size = _collect(sums, first, least, slots, values, size)
        if size > 2 * wanted or part == n_parts - 1:
            least = max(least, _nth(values, size, wanted) - slack)
            before, size = size, 0
            for c in range(before):
                if values[c] >= least:
                    slots[size], values[size] = slots[c], values[c]
                    size += 1
    return size, least


@inlined()
def _all_rows(postings, passing, terms, scratch, n):
    """Write all rows that have a term of the query; returns how many."""
    n_parts = (n + PART - 1) // PART
    size = 0
    for part in range(n_parts):
        for j in range(len(terms)):
            _mark(postings, np.int64(terms[j]) * n_parts + part, scratch.sums)
        _pass(passing, part * PART, n, scratch.sums)
        size = _collect(scratch.sums, part * PART, 1, scratch.slots, scratch.values, size)
    return size


@inlined()
def _pass(passing, first, n, sums):
    """Set the sums of rows that may not be hits to zero."""
    if len(passing):
        for row in range(min(PART, n - first)):
            sums[row] *= passing[first + row]


@inlined()
def _score(rows, scratch, size, ids, scores):
    """Put the first `size` candidates in the order of their products; returns how many hits there are."""
    slots, found = scratch.slots, 0
    for c in range(min(_AHEAD, size)):
        touch(rows, slots[c])
    for c in range(size):
        if c + _AHEAD < size:
            touch(rows, slots[c + _AHEAD])
        value = dot(rows, scratch.query, slots[c])
        if value > 0:
            found = keep(scores, ids, found, value, np.int64(slots[c]))
    return found
