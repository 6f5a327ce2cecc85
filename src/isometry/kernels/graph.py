"""Proximity graphs: the walk, the choice of neighbours, the links back.

A graph is an ``(n, degree)`` int32 array; row i holds the neighbours of slot i, then -1. Kernels work on any layout of
`rows` and are the same for every metric, which is in the `Space`: a walk ranks by ``score + bias``, and two stored rows
p and c are ``top(p) - score - slack[p] * slack[c] - bias[c]`` apart, which is half a squared distance:

========  =========================  ===========================  ================
metric    bias                       slack                        top(p)
========  =========================  ===========================  ================
cosine    none                       none                         1
dot       none                       sqrt(largest**2 - norm**2)   largest norm**2
l2        minus half the norm**2     none                         -bias[p]
========  =========================  ===========================  ================

Under ``dot`` the slack is the extra coordinate that puts all rows on one sphere, where the nearest to a query is the
one of largest product (Bachrach et al., RecSys 2014).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from isometry.kernels.score import QUERY_SPARE, decode, inlined, prepare, score, score_fine, touch
from isometry.kernels.simd import address, prefetch

__all__ = ["Space", "link_back", "link_forward", "neighbours_of_any", "reach", "repair", "search", "search_masked"]

_AHEAD = 5
_kernel = njit(nogil=True, cache=True, error_model="numpy")


class Space(NamedTuple):
    """What turns scores into ranks and distances; absent arrays are empty.

    Attributes
    ----------
    bias, slack : (n,) or (0,) float32
    top : float32
    """

    bias: NDArray[np.float32]
    slack: NDArray[np.float32]
    top: np.float32


@inlined()
def _insert(scores, ids, size, capacity, score_, id_):  # type: ignore[no-untyped-def]
    """Put an entry into a list kept best first, behind equal scores, and return its place."""
    low, high = 0, size
    while low < high:
        middle = (low + high) >> 1
        if scores[middle] >= score_:
            low = middle + 1
        else:
            high = middle
    last = min(size, capacity - 1)
    for i in range(last, low, -1):
        scores[i] = scores[i - 1]
        ids[i] = ids[i - 1]
    scores[low] = score_
    ids[low] = id_
    return low


@inlined()
def _rank(rows, space, query, slot):  # type: ignore[no-untyped-def]
    value = score(rows, query, slot)
    return value + space.bias[slot] if len(space.bias) else value


@inlined()
def _gap(rows, space, query, top, slack, slot):  # type: ignore[no-untyped-def]
    """Distance of a stored row from the one that `query`, `top` and `slack` are of."""
    value = _rank(rows, space, query, slot)
    if len(space.slack):
        value += slack * space.slack[slot]
    return top - value


@inlined()
def _as_query(rows, space, slot, values, codes):  # type: ignore[no-untyped-def]
    """Return a stored row as a query, its top and its slack."""
    decode(rows, slot, values)
    top = -space.bias[slot] if len(space.bias) else space.top
    slack = space.slack[slot] if len(space.slack) else np.float32(0)
    return prepare(rows, values, codes), top, slack


@inlined()
def _next_epoch(seen):  # type: ignore[no-untyped-def]
    """The last byte of `seen` counts walks, so that it is cleared only once in 255 of them."""
    if seen[-1] == 255:
        seen[:] = 0
    seen[-1] += 1
    return seen[-1]


@inlined()
def _walk(  # type: ignore[no-untyped-def]
    rows, space, graph, entries, query, width, seen, todo, scores, ids, passing, found_scores, found, trail_scores, trail
):
    """Best-first search with a beam of `width`.

    Returns the sizes of the beam, of `found` (the best rows that are `passing`, if a mask is given) and of the trail
    (the rows whose neighbours were looked at, if there is room for it). Ids of opened rows are stored as ``~id``.
    """
    epoch = _next_epoch(seen)
    size = n_found = n_trail = 0
    for entry in entries:
        if seen[entry] != epoch:
            seen[entry] = epoch
            value = _rank(rows, space, query, entry)
            if size < width or value > scores[size - 1]:
                _insert(scores, ids, size, width, value, entry)
                size = min(size + 1, width)
            if passing is not None and passing[entry]:
                if n_found < len(found) or value > found_scores[n_found - 1]:
                    _insert(found_scores, found, n_found, len(found), value, entry)
                    n_found = min(n_found + 1, len(found))
    links, stride = address(graph), graph.strides[0]
    at = 0
    while at < size:
        node = ids[at]
        if node < 0:
            at += 1
            continue
        ids[at] = ~node
        if trail is not None and n_trail < len(trail):
            trail[n_trail] = node
            trail_scores[n_trail] = scores[at]
            n_trail += 1
        count = 0
        for j in range(graph.shape[1]):
            other = graph[node, j]
            if other < 0:
                break
            if seen[other] != epoch:
                seen[other] = epoch
                todo[count] = other
                count += 1
        for j in range(min(_AHEAD, count)):
            touch(rows, todo[j])
        if at + 1 < size:
            following = ids[at + 1]
            row = links + (following if following >= 0 else ~following) * stride
            for line in range(0, stride, 64):
                prefetch(row + line)
        at += 1
        for j in range(count):
            if j + _AHEAD < count:
                touch(rows, todo[j + _AHEAD])
            other = todo[j]
            value = _rank(rows, space, query, other)
            if size < width or value > scores[size - 1]:
                at = min(at, _insert(scores, ids, size, width, value, other))
                size = min(size + 1, width)
            if passing is not None and passing[other]:
                if n_found < len(found) or value > found_scores[n_found - 1]:
                    _insert(found_scores, found, n_found, len(found), value, other)
                    n_found = min(n_found + 1, len(found))
    return size, n_found, n_trail


@inlined()
def _settle(fine, space, query, candidates, count, row_ids, scores_out, ids_out):  # type: ignore[no-untyped-def]
    """Score candidates with the fine rows and write the best, equal scores by smaller id."""
    k = len(ids_out)
    size = 0
    for i in range(min(_AHEAD, count)):
        touch(fine, candidates[i])
    for i in range(count):
        if i + _AHEAD < count:
            touch(fine, candidates[i + _AHEAD])
        slot = candidates[i]
        value = score_fine(fine, query, slot)
        if len(space.bias):
            value += space.bias[slot]
        row = row_ids[slot]
        if size == k and (value < scores_out[k - 1] or (value == scores_out[k - 1] and row > ids_out[k - 1])):
            continue
        place = min(size, k - 1)
        while place > 0 and (
            scores_out[place - 1] < value or (scores_out[place - 1] == value and ids_out[place - 1] > row)
        ):
            scores_out[place] = scores_out[place - 1]
            ids_out[place] = ids_out[place - 1]
            place -= 1
        scores_out[place] = value
        ids_out[place] = row
        size = min(size + 1, k)
    scores_out[size:] = -np.inf
    ids_out[size:] = -1


@_kernel
def search(  # type: ignore[no-untyped-def]
    rows, fine, space, graph, entries, row_ids, queries, fine_queries, width, n_fine, seen, ids_out, scores_out
):
    """Answer queries by a walk over `rows`; the best `n_fine` of each beam are scored again with `fine`.

    Parameters
    ----------
    rows, fine : layouts of n rows
    space : Space
    graph : (n, degree) int32
    entries : (e,) int32
        Slots to start from.
    row_ids : (n,) int64
        Id of each slot.
    queries : (nq, d) float32
        For `rows`.
    fine_queries : (nq, d') float32
        For `fine`.
    width, n_fine : int
    seen : (n + 1,) uint8
        Scratch of one thread, zeros at first, used again from call to call.
    ids_out, scores_out : (nq, k) int64, float32
    """
    scores, ids = np.empty(width, np.float32), np.empty(width, np.int32)
    todo = np.empty(graph.shape[1], np.int32)
    values, codes = _scratch(queries.shape[1])
    fine_values, fine_codes = _scratch(fine_queries.shape[1])
    for i in range(len(queries)):
        values[: queries.shape[1]] = queries[i]
        query = prepare(rows, values, codes)
        size, _, _ = _walk(
            rows, space, graph, entries, query, width, seen, todo, scores, ids,
            None, None, None, None, None,
        )  # fmt: skip
        count = min(size, n_fine)
        for j in range(count):
            ids[j] = ~ids[j]
        fine_values[: fine_queries.shape[1]] = fine_queries[i]
        again = prepare(fine, fine_values, fine_codes)
        _settle(fine, space, again, ids, count, row_ids, scores_out[i], ids_out[i])


@_kernel
def search_masked(  # type: ignore[no-untyped-def]
    rows, fine, space, graph, entries, row_ids, passing, queries, fine_queries, width, n_fine, seen, ids_out, scores_out
):
    """As `search`, but only slots marked in `passing` (n,) bool are hits; the walk goes over all of them."""
    scores, ids = np.empty(width, np.float32), np.empty(width, np.int32)
    found_scores, found = np.empty(n_fine, np.float32), np.empty(n_fine, np.int32)
    todo = np.empty(graph.shape[1], np.int32)
    values, codes = _scratch(queries.shape[1])
    fine_values, fine_codes = _scratch(fine_queries.shape[1])
    for i in range(len(queries)):
        values[: queries.shape[1]] = queries[i]
        query = prepare(rows, values, codes)
        _, count, _ = _walk(
            rows, space, graph, entries, query, width, seen, todo, scores, ids,
            passing, found_scores, found, None, None,
        )  # fmt: skip
        fine_values[: fine_queries.shape[1]] = fine_queries[i]
        again = prepare(fine, fine_values, fine_codes)
        _settle(fine, space, again, found, count, row_ids, scores_out[i], ids_out[i])


@_kernel
def scan(rows, fine, space, slots, row_ids, queries, fine_queries, n_fine, ids_out, scores_out):  # type: ignore[no-untyped-def]
    """Answer queries by looking at all `slots` (m,) int32: for masks that let few pass."""
    found_scores, found = np.empty(n_fine, np.float32), np.empty(n_fine, np.int32)
    values, codes = _scratch(queries.shape[1])
    fine_values, fine_codes = _scratch(fine_queries.shape[1])
    for i in range(len(queries)):
        values[: queries.shape[1]] = queries[i]
        query = prepare(rows, values, codes)
        count = 0
        for j in range(len(slots)):
            if j + _AHEAD < len(slots):
                touch(rows, slots[j + _AHEAD])
            value = _rank(rows, space, query, slots[j])
            if count < n_fine or value > found_scores[count - 1]:
                _insert(found_scores, found, count, n_fine, value, slots[j])
                count = min(count + 1, n_fine)
        fine_values[: fine_queries.shape[1]] = fine_queries[i]
        again = prepare(fine, fine_values, fine_codes)
        _settle(fine, space, again, found, count, row_ids, scores_out[i], ids_out[i])


@inlined()
def _scratch(d):  # type: ignore[no-untyped-def]
    return np.zeros(d + QUERY_SPARE, np.float32), np.zeros(d + QUERY_SPARE, np.int8)


@inlined()
def _prune(  # type: ignore[no-untyped-def]
    rows, space, candidates, gaps, count, alpha, values, codes, covered, out
):
    """Robust prune (DiskANN, algorithm 2) of candidates sorted by their gap; returns how many were kept in `out`.

    Of the candidates left, the nearest is kept and those are dropped that are `alpha` times nearer to it than to the
    row itself.
    """
    kept = 0
    covered[:count] = False
    for i in range(count):
        if covered[i]:
            continue
        out[kept] = candidates[i]
        kept += 1
        if kept == len(out):
            break
        query, top, slack = _as_query(rows, space, candidates[i], values, codes)
        for j in range(i + 1, count):
            if not covered[j]:
                covered[j] = alpha * _gap(rows, space, query, top, slack, candidates[j]) <= gaps[j]
    out[kept:] = -1
    return kept


@_kernel
def link_forward(rows, space, graph, entries, slots, window, alpha, d, seen, links):  # type: ignore[no-untyped-def]
    """Choose neighbours for `slots` by walks over the graph as it is, into `links` (len(slots), degree)."""
    room = 4 * window
    scores, ids = np.empty(window, np.float32), np.empty(window, np.int32)
    trail_scores, trail = np.empty(room, np.float32), np.empty(room, np.int32)
    own = graph.shape[1]
    candidates, gaps = np.empty(room + own, np.int32), np.empty(room + own, np.float32)
    covered = np.empty(room + own, np.bool_)
    todo = np.empty(own, np.int32)
    values, codes = _scratch(d)
    for i in range(len(slots)):
        slot = slots[i]
        query, top, slack = _as_query(rows, space, slot, values, codes)
        _, _, n_trail = _walk(
            rows, space, graph, entries, query, window, seen, todo, scores, ids,
            None, None, None, trail_scores, trail,
        )  # fmt: skip
        count = 0
        for j in range(n_trail):
            if trail[j] != slot:
                gap = top - trail_scores[j]
                if len(space.slack):
                    gap -= slack * space.slack[trail[j]]
                _insert(gaps, candidates, count, len(gaps), -gap, trail[j])
                count += 1
        epoch = seen[-1]
        for j in range(own):
            other = graph[slot, j]
            if other < 0:
                break
            if seen[other] != epoch or not _contains(trail, n_trail, other):
                gap = _gap(rows, space, query, top, slack, other)
                _insert(gaps, candidates, count, len(gaps), -gap, other)
                count += 1
        for j in range(count):
            gaps[j] = -gaps[j]
        _prune(rows, space, candidates, gaps, count, alpha, values, codes, covered, links[i])


@inlined()
def _contains(ids, count, wanted):  # type: ignore[no-untyped-def]
    for i in range(count):
        if ids[i] == wanted:
            return True
    return False


@_kernel
def link_back(rows, space, graph, targets, starts, sources, alpha, degree, d):  # type: ignore[no-untyped-def]
    """Give each target the edges back to its sources, pruned to `degree` where the row of the graph is full.

    Parameters
    ----------
    targets : (m,) int32
        Distinct slots.
    starts : (m + 1,) int64
        Target i has the sources from ``starts[i]`` to ``starts[i + 1]``.
    sources : int32
    degree : int
        Neighbours to keep when pruning, at most the width of `graph`.
    """
    room = graph.shape[1]
    longest = 0
    for i in range(len(targets)):
        longest = max(longest, starts[i + 1] - starts[i])
    candidates, gaps = np.empty(room + longest, np.int32), np.empty(room + longest, np.float32)
    covered = np.empty(room + longest, np.bool_)
    values, codes = _scratch(d)
    for i in range(len(targets)):
        target = targets[i]
        own = 0
        while own < room and graph[target, own] >= 0:
            own += 1
        total = own
        for j in range(starts[i], starts[i + 1]):
            if not _contains(graph[target], own, sources[j]):
                total += 1
        if total <= room:
            for j in range(starts[i], starts[i + 1]):
                if not _contains(graph[target], own, sources[j]):
                    graph[target, own] = sources[j]
                    own += 1
            continue
        query, top, slack = _as_query(rows, space, target, values, codes)
        count = 0
        for j in range(own + starts[i + 1] - starts[i]):
            other = graph[target, j] if j < own else sources[starts[i] + j - own]
            if j < own or not _contains(graph[target], own, other):
                gap = _gap(rows, space, query, top, slack, other)
                _insert(gaps, candidates, count, len(gaps), -gap, other)
                count += 1
        for j in range(count):
            gaps[j] = -gaps[j]
        kept = _prune(rows, space, candidates, gaps, count, alpha, values, codes, covered, graph[target, :degree])
        graph[target, kept:] = -1


@_kernel
def trim(rows, space, graph, slots, alpha, degree, d):  # type: ignore[no-untyped-def]
    """Prune the rows of `slots` that have more than `degree` neighbours."""
    room = graph.shape[1]
    candidates, gaps = np.empty(room, np.int32), np.empty(room, np.float32)
    covered = np.empty(room, np.bool_)
    values, codes = _scratch(d)
    for i in range(len(slots)):
        slot = slots[i]
        if graph[slot, degree] < 0:
            continue
        query, top, slack = _as_query(rows, space, slot, values, codes)
        count = 0
        for j in range(room):
            other = graph[slot, j]
            if other < 0:
                break
            _insert(gaps, candidates, count, room, -_gap(rows, space, query, top, slack, other), other)
            count += 1
        for j in range(count):
            gaps[j] = -gaps[j]
        kept = _prune(rows, space, candidates, gaps, count, alpha, values, codes, covered, graph[slot, :degree])
        graph[slot, kept:] = -1


@_kernel
def reach(graph, queue, reached, parents):  # type: ignore[no-untyped-def]
    """Mark what can be reached from the slots in `queue`; `parents` gets the slot each was reached from."""
    todo = np.empty(len(graph), np.int32)
    count = 0
    for slot in queue:
        todo[count] = slot
        count += 1
        reached[slot] = True
    at = 0
    while at < count:
        slot = todo[at]
        at += 1
        for j in range(graph.shape[1]):
            other = graph[slot, j]
            if other < 0:
                break
            if not reached[other]:
                reached[other] = True
                parents[other] = slot
                todo[count] = other
                count += 1
    return todo[:count]
