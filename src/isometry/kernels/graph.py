"""Proximity graphs: the walk, the choice of neighbours, the links back.

A graph is an ``(n, degree)`` int32 array; row i holds the neighbours of slot i, then -1. Kernels work on any layout of
`rows` and are the same for every metric, which is in the `Space`: a walk ranks by ``score + bias``, and two stored rows
p and c are ``top(p) - score - slack[p] * slack[c] - bias[c]`` apart, which is half a squared distance:

========  =========================  ===========================  ================
metric    bias                       slack                        top(p)
========  =========================  ===========================  ================
cosine    none                       sqrt(largest**2 - norm**2)   largest norm**2
dot       none                       the same                     the same
l2        minus half the norm**2     none                         -bias[p]
========  =========================  ===========================  ================

The slack is the extra coordinate that puts all rows on one sphere, where the nearest to a query is the one of largest
product (Bachrach et al., RecSys 2014).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.hits import keep
from isometry.kernels.lend import lent
from isometry.kernels.score import QUERY_SPARE, decode, inlined, prepare, score, score_fine, touch, touch_row
from isometry.kernels.simd import (
    address,
    count_reaching_f32,
    exceeding_f32,
    fill_f32,
    first_f32,
    load_f32,
    lowest_bit,
    rolled,
    store_f32,
    store_first_f32,
)

__all__ = [
    "Space",
    "advance",
    "ahead_of",
    "connect",
    "digests",
    "enter",
    "least_wanted",
    "link_back",
    "link_forward",
    "list_room",
    "next_epoch",
    "note",
    "offer",
    "offer_all",
    "opening_room",
    "rank",
    "rank_all",
    "reach",
    "repair",
    "scratch",
    "search",
    "settle",
    "squares",
    "trim",
]

_AHEAD_BYTES = 32768
"""How much to ask for ahead of its use: a small part of the second level of the cache."""
_LANES = 16
_COUNTED = 64
"""So long a list is looked at as a whole: without a branch that depends on it."""


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
def offer(scores, slots, size, value, slot):
    """Put an entry into a list kept best first, behind equal scores, if there is room or it is better than the last.

    The list is two arrays, float32 and int32. Returns the new size, and the place of the entry: the length of the list
    when it was refused.
    """
    room = len(scores)
    if size == room and value <= scores[size - 1]:
        return size, room
    low = _place(scores, size, value)
    last = min(size, room - 1)
    _shift(address(scores), low, last)
    _shift(address(slots), low, last)
    scores[low] = value
    slots[low] = slot
    return min(size + 1, room), low


@inlined()
def list_room(most):
    """Return room for a list: scores and slots."""
    return np.empty(most, np.float32), np.empty(most, np.int32)


@inlined()
def least_wanted(scores, size):
    """Return what an entry must exceed to come into a list: nothing as long as there is room."""
    return scores[size - 1] if size == len(scores) else np.float32(-np.inf)


@inlined()
def _place(scores, size, value):
    """Return how many of a list, best first, are at least `value`: halved as long as it is long, then all at once."""
    low, high = 0, size
    while high - low > _COUNTED:
        middle = (low + high) >> 1
        if scores[middle] >= value:
            low = middle + 1
        else:
            high = middle
    place, wanted = address(scores), fill_f32(value)
    for at in range(low, high, _LANES):
        rolled()
        low += count_reaching_f32(first_f32(place + 4 * at, high - at), wanted)
    return low


@inlined()
def _shift(place, first, last):
    """Move entries of 32 bits, `first` to before `last`, one further."""
    while last - first > _LANES:
        rolled()
        last -= _LANES
        store_f32(place + 4 * last + 4, load_f32(place + 4 * last))
    count = last - first
    store_first_f32(place + 4 * first + 4, first_f32(place + 4 * first, count), count)


@inlined()
def rank(rows, space, query, slot):
    """Return what a row is ranked by: its score and its bias."""
    value = score(rows, query, slot)
    return value + space.bias[slot] if len(space.bias) else value


@inlined()
def _gap(rows, space, query, top, slack, slot):
    """Distance of a stored row from the one that `query`, `top` and `slack` are of."""
    value = rank(rows, space, query, slot)
    if len(space.slack):
        value += slack * space.slack[slot]
    return top - value


@inlined()
def _as_query(rows, space, slot, values, codes):
    """Return a stored row as a query, its top and its slack."""
    decode(rows, slot, values)
    top = -space.bias[slot] if len(space.bias) else space.top
    slack = space.slack[slot] if len(space.slack) else np.float32(0)
    return prepare(rows, values, codes), top, slack


@inlined()
def next_epoch(seen):
    """The last byte of `seen` counts walks, so that it is cleared only once in 255 of them."""
    if seen[-1] == 255:
        seen[:] = 0
    seen[-1] += 1
    return seen[-1]


@inlined()
def ahead_of(rows):
    """How many rows to ask for before the one that is looked at."""
    return max(2, _AHEAD_BYTES // rows[0].strides[0])


@inlined()
def enter(rows, space, entries, query, seen, epoch, beam_scores, beam):
    """Put where walks begin into an empty beam: the first entry, and the best of the others; returns its size."""
    best, highest = entries[0], np.float32(-np.inf)
    size, _ = offer(beam_scores, beam, 0, rank(rows, space, query, best), best)
    seen[best] = epoch
    for i in range(1, len(entries)):
        value = rank(rows, space, query, entries[i])
        if value > highest:
            best, highest = entries[i], value
    if seen[best] != epoch:
        seen[best] = epoch
        size, _ = offer(beam_scores, beam, size, highest, best)
    return size


@inlined()
def note(rows, other, seen, epoch, todo, count, ahead):
    """Put a row that was not seen yet behind the `count` of `todo`, and fetch the first `ahead`; returns the count."""
    if seen[other] != epoch:
        seen[other] = epoch
        todo[count] = other
        if count < ahead:
            touch(rows, other)
        count += 1
    return count


@inlined()
def opening_room(most):
    """Return room for the slots and the ranks of as many rows as one may lead to."""
    return np.empty(most, np.int32), np.empty(most + _LANES, np.float32)


@inlined()
def rank_all(rows, space, query, slots, count, ahead, values):
    """Rank the first `count` slots into `values`; of these, `ahead` were asked for already."""
    for j in range(count):
        rolled()
        if j + ahead < count:
            touch(rows, slots[j + ahead])
        values[j] = rank(rows, space, query, slots[j])


@inlined()
def offer_all(graph, slots, values, count, beam_scores, beam, size, at):
    """Put rows into a beam that is opened from place `at` on; returns its size and from where to open it now."""
    values[count : count + _LANES] = -np.inf
    for first in range(0, count, _LANES):
        least = fill_f32(least_wanted(beam_scores, size))
        above = exceeding_f32(load_f32(address(values) + 4 * first), least)
        while above:
            j = first + lowest_bit(above)
            above &= above - 1
            size, place = offer(beam_scores, beam, size, values[j], slots[j])
            if place <= at:
                at = place
                touch_row(graph, slots[j])
    return size, at


@inlined()
def _keep_passing(passing, slots, values, count, found_scores, found, n_found):
    """Put the rows that pass into `found`, and leave only those that are not further than all of it once it is full.

    Returns how many were left, and how many were found.
    """
    left = 0
    for j in range(count):
        slot, value = slots[j], values[j]
        if passing[slot]:
            n_found, _ = offer(found_scores, found, n_found, value, slot)
        if n_found < len(found) or value >= found_scores[n_found - 1]:
            slots[left], values[left] = slot, value
            left += 1
    return left, n_found


@inlined()
def advance(
    rows, space, graph, query, seen, epoch, room, beam_scores, beam, size, until, trail_scores, trail, passing,
    found_scores, found, n_found,
):  # fmt: skip
    """Best-first search with a beam as wide as its arrays, until the first `until` of it are opened.

    `room` is an `opening_room`. Where `passing` is given, the best rows that it marks are put into `found`; once that
    is full, rows further than all of it are let go, and the search ends when nothing nearer is left to open.

    Returns the sizes of the beam, of the trail (the rows whose neighbours were looked at, if it is asked for) and of
    `found`, and how many rows were scored. A row of the beam that was opened is stored as ``~slot``.
    """
    todo, values = room
    ahead = ahead_of(rows)
    at = n_trail = scored = 0
    while at < min(size, until):
        slot = beam[at]
        if slot < 0:
            at += 1
            continue
        if passing is not None and n_found == len(found) and beam_scores[at] < found_scores[n_found - 1]:
            break
        beam[at] = ~slot
        if trail is not None and n_trail < len(trail):
            trail[n_trail] = slot
            trail_scores[n_trail] = beam_scores[at]
            n_trail += 1
        count = 0
        for j in range(graph.shape[1]):
            other = graph[slot, j]
            if other < 0:
                break
            count = note(rows, other, seen, epoch, todo, count, ahead)
        at += 1
        scored += count
        rank_all(rows, space, query, todo, count, ahead, values)
        if passing is not None:
            count, n_found = _keep_passing(passing, todo, values, count, found_scores, found, n_found)
        size, at = offer_all(graph, todo, values, count, beam_scores, beam, size, at)
        if at < size and beam[at] >= 0:
            touch_row(graph, beam[at])
    return size, n_trail, n_found, scored


@inlined()
def _walk(rows, space, graph, entries, query, seen, room, beam_scores, beam, trail_scores, trail):
    """Search from the entries; returns the sizes of the beam and of the trail."""
    epoch = next_epoch(seen)
    size = enter(rows, space, entries, query, seen, epoch, beam_scores, beam)
    size, n_trail, _, _ = advance(
        rows, space, graph, query, seen, epoch, room, beam_scores, beam, size, len(beam), trail_scores, trail, None,
        None, None, 0,
    )  # fmt: skip
    return size, n_trail


@inlined()
def settle(fine, space, query, candidates, count, rank_of, passing, scores_out, ids_out):
    """Score candidates, and the twins behind them, with the fine rows and write the best."""
    row_ids, twins = rank_of
    size = 0
    ahead = ahead_of(fine)
    for i in range(min(ahead, count)):
        touch(fine, candidates[i])
    for i in range(count):
        if i + ahead < count:
            touch(fine, candidates[i + ahead])
        slot = candidates[i]
        while slot >= 0:
            if passing is None or passing[slot]:
                value = score_fine(fine, query, slot)
                if len(space.bias):
                    value += space.bias[slot]
                size = keep(scores_out, ids_out, size, value, row_ids[slot])
            slot = twins[slot] if len(twins) else np.int32(-1)
    scores_out[size:] = -np.inf
    ids_out[size:] = -1


@kernel
def search(
    rows, fine, space, graph, entries, row_ids, twins, queries, fine_queries, width, n_fine, seen, ids_out, scores_out
):
    """Answer queries by a walk over `rows`; the best `n_fine` of each beam are scored again with `fine`.

    Parameters
    ----------
    rows, fine : layouts of n rows
    space : Space
    graph : (n, degree) int32
    entries : (e,) int32
        Slots to start from: the first, from which all can be reached, and the best of the others.
    row_ids : (n,) int64
        Id of each slot.
    twins : (n,) or (0,) int32
        Another slot with the same codes, which is not in the graph, or -1.
    queries : (nq, d) float32
        For `rows`.
    fine_queries : (nq, d') float32
        For `fine`.
    width, n_fine : int
    seen : (n + 1,) uint8
        Scratch of one thread, zeros at first, used again from call to call.
    ids_out, scores_out : (nq, k) int64, float32
    """
    rows, fine, space, graph, entries, seen = lent((rows, fine, space, graph, entries, seen))
    rank_of, ids_out, scores_out = lent(((row_ids, twins), ids_out, scores_out))
    beam_room, room = list_room(width), opening_room(graph.shape[1])
    coarse_room, fine_room = scratch(queries.shape[1]), scratch(fine_queries.shape[1])
    for i in range(len(queries)):
        (beam_scores, beam), opening = lent((beam_room, room))
        (values, codes), (fine_values, fine_codes) = lent((coarse_room, fine_room))
        values[: queries.shape[1]] = queries[i]
        query = prepare(rows, values, codes)
        size, _ = _walk(rows, space, graph, entries, query, seen, opening, beam_scores, beam, None, None)
        count = min(size, n_fine)
        for j in range(count):
            beam[j] = ~beam[j]
        fine_values[: fine_queries.shape[1]] = fine_queries[i]
        again = prepare(fine, fine_values, fine_codes)
        settle(fine, space, again, beam, count, rank_of, None, scores_out[i], ids_out[i])


@inlined()
def scratch(d):
    """Return room for a query of d dimensions: floats and bytes, all zero."""
    return np.zeros(d + QUERY_SPARE, np.float32), np.zeros(d + QUERY_SPARE, np.int8)


@inlined()
def _near_room(most):
    """Return room for the gaps and slots of candidates, and for which of them are covered."""
    return np.empty(most, np.float32), np.empty(most, np.int32), np.empty(most, np.bool_)


@inlined()
def _prune(rows, space, candidates, gaps, count, alpha, values, codes, covered, out):
    """Robust prune (DiskANN, algorithm 2) of candidates, nearest first; returns how many were kept in `out`.

    Of the candidates left, the nearest is kept and those are dropped that are `alpha` times nearer to it than to the
    row itself. `gaps` are minus the distances from the row.
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
                covered[j] = alpha * _gap(rows, space, query, top, slack, candidates[j]) <= -gaps[j]
    out[kept:] = -1
    return kept


@inlined()
def _near(rows, space, query, top, slack, slot, candidates, gaps, count, wanted):
    """Add `wanted` to the candidates of `slot`, kept nearest first, unless it is there; returns how many there are."""
    if wanted == slot or _contains(candidates, count, wanted):
        return count
    count, _ = offer(gaps, candidates, count, -_gap(rows, space, query, top, slack, wanted), wanted)
    return count


@inlined()
def _near_all(rows, space, query, top, slack, slot, candidates, gaps, count, wanted):
    """Do the same with all of `wanted` up to the first -1."""
    for other in wanted:
        if other < 0:
            break
        touch(rows, other)
    for other in wanted:
        if other < 0:
            break
        count = _near(rows, space, query, top, slack, slot, candidates, gaps, count, other)
    return count


@inlined()
def _contains(slots, count, wanted):
    for i in range(count):  # noqa: SIM110 (Numba compiles no generator expressions)
        if slots[i] == wanted:
            return True
    return False


@kernel
def link_forward(rows, space, graph, entries, slots, window, alpha, d, seen, links):
    """Choose neighbours for `slots` by walks over the graph as it is, into `links` (len(slots), degree)."""
    rows, space, graph, entries, seen, links = lent((rows, space, graph, entries, seen, links))
    most = 4 * window
    beam_room, room, trail_room = list_room(window), opening_room(graph.shape[1]), list_room(most)
    near_room, query_room = _near_room(most), scratch(d)
    for i in range(len(slots)):
        (beam_scores, beam), opening, (trail_scores, trail) = lent((beam_room, room, trail_room))
        (gaps, candidates, covered), (values, codes) = lent((near_room, query_room))
        slot = slots[i]
        query, top, slack = _as_query(rows, space, slot, values, codes)
        _, n_trail = _walk(rows, space, graph, entries, query, seen, opening, beam_scores, beam, trail_scores, trail)
        count = 0
        for j in range(n_trail):
            if trail[j] != slot:
                closeness = trail_scores[j] - top
                if len(space.slack):
                    closeness += slack * space.slack[trail[j]]
                count, _ = offer(gaps, candidates, count, closeness, trail[j])
        count = _near_all(rows, space, query, top, slack, slot, candidates, gaps, count, graph[slot])
        _prune(rows, space, candidates, gaps, count, alpha, values, codes, covered, links[i])


@kernel
def link_back(rows, space, graph, targets, starts, sources, alpha, degree, d):
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
    rows, space, graph, sources = lent((rows, space, graph, sources))
    room = graph.shape[1]
    longest = 0
    for i in range(len(targets)):
        longest = max(longest, starts[i + 1] - starts[i])
    near_room, query_room = _near_room(room + longest), scratch(d)
    for i in range(len(targets)):
        (gaps, candidates, covered), (values, codes) = lent((near_room, query_room))
        target = targets[i]
        own = 0
        while own < room and graph[target, own] >= 0:
            own += 1
        at = starts[i]
        while at < starts[i + 1]:
            if not _contains(graph[target], own, sources[at]):
                if own == room:
                    break
                graph[target, own] = sources[at]
                own += 1
            at += 1
        if at == starts[i + 1]:
            continue
        query, top, slack = _as_query(rows, space, target, values, codes)
        count = _near_all(rows, space, query, top, slack, target, candidates, gaps, 0, graph[target])
        count = _near_all(rows, space, query, top, slack, target, candidates, gaps, count, sources[at : starts[i + 1]])
        kept = _prune(rows, space, candidates, gaps, count, alpha, values, codes, covered, graph[target, :degree])
        graph[target, kept:] = -1


@kernel
def trim(rows, space, graph, slots, alpha, degree, d):
    """Prune the rows of `slots` that have more than `degree` neighbours."""
    rows, space, graph = lent((rows, space, graph))
    room = graph.shape[1]
    near_room, query_room = _near_room(room), scratch(d)
    for i in range(len(slots)):
        (gaps, candidates, covered), (values, codes) = lent((near_room, query_room))
        slot = slots[i]
        if graph[slot, degree] < 0:
            continue
        query, top, slack = _as_query(rows, space, slot, values, codes)
        count = _near_all(rows, space, query, top, slack, slot, candidates, gaps, 0, graph[slot])
        kept = _prune(rows, space, candidates, gaps, count, alpha, values, codes, covered, graph[slot, :degree])
        graph[slot, kept:] = -1


@kernel
def repair(rows, space, graph, dead, slots, alpha, d, links):
    """Choose neighbours for `slots` whose rows name `dead` ones: of what is left, and of what the dead were linked to.

    Writes `links` (len(slots), degree); the graph itself is only read (FreshDiskANN, algorithm 4).
    """
    rows, space, graph, dead, links = lent((rows, space, graph, dead, links))
    degree = graph.shape[1]
    near_room, query_room = _near_room(degree * degree + degree), scratch(d)
    for i in range(len(slots)):
        (gaps, candidates, covered), (values, codes) = lent((near_room, query_room))
        slot = slots[i]
        query, top, slack = _as_query(rows, space, slot, values, codes)
        count = 0
        for j in range(degree):
            other = graph[slot, j]
            if other < 0:
                break
            if not dead[other]:
                count = _near(rows, space, query, top, slack, slot, candidates, gaps, count, other)
                continue
            for m in range(degree):
                following = graph[other, m]
                if following < 0:
                    break
                if not dead[following]:
                    count = _near(rows, space, query, top, slack, slot, candidates, gaps, count, following)
        _prune(rows, space, candidates, gaps, count, alpha, values, codes, covered, links[i])


@kernel
def connect(rows, space, graph, entries, slots, reached, parents, window, d, seen):
    """Link every one of `slots` that is not `reached` from a near row that is; `reached` and `parents` as of `reach`.

    An edge is only given up where another way to its end exists: the tree of `parents` stays whole. There is always
    room, as a tree over n rows uses n - 1 of n * degree places.
    """
    beam_scores, beam = list_room(window)
    room = opening_room(graph.shape[1])
    values, codes = scratch(d)
    spare = 0
    for i in range(len(slots)):
        slot = slots[i]
        if reached[slot]:
            continue
        query, _, _ = _as_query(rows, space, slot, values, codes)
        size, _ = _walk(rows, space, graph, entries, query, seen, room, beam_scores, beam, None, None)
        linked = False
        for j in range(size):
            linked = _hang(graph, parents, ~beam[j], slot)
            if linked:
                break
        while not linked:
            linked = reached[spare] and _hang(graph, parents, spare, slot)
            if not linked:
                spare += 1
        _flood(graph, slot, reached, parents)


@inlined()
def _hang(graph, parents, parent, slot):
    """Write the edge parent -> slot into a free place or one whose end has another parent; False if there is none."""
    for j in range(graph.shape[1] - 1, -1, -1):
        other = graph[parent, j]
        if other >= 0 and parents[other] == parent:
            continue
        if other < 0:
            while j > 0 and graph[parent, j - 1] < 0:
                j -= 1
        graph[parent, j] = slot
        parents[slot] = parent
        return True
    return False


@inlined()
def _flood(graph, first, reached, parents):
    """Mark what can be reached from `first`, and the slot that each was reached from."""
    reached[first] = True
    todo = [np.int64(first)]
    while len(todo):
        slot = todo.pop()
        for j in range(graph.shape[1]):
            other = graph[slot, j]
            if other < 0:
                break
            if not reached[other]:
                reached[other] = True
                parents[other] = slot
                todo.append(np.int64(other))


@kernel
def reach(graph, entries, reached, parents):
    """Mark what can be reached from `entries`; `parents` gets the slot that each was reached from."""
    for entry in entries:
        if not reached[entry]:
            _flood(graph, entry, reached, parents)


@kernel
def squares(rows, slots, d, out):
    """Squared norm of the decoded rows in `slots`, into `out` (len(slots),) float32."""
    values, _ = scratch(d)
    for i in range(len(slots)):
        decode(rows, slots[i], values)
        total = np.float64(0)
        for j in range(d):
            total += np.float64(values[j]) * values[j]
        out[i] = total


@kernel
def digests(words, out):
    """Fold the rows of (n, m) uint32 into the 64-bit digests `out` (n,) (FNV-1a, word by word)."""
    for i in range(words.shape[0]):
        digest = out[i]
        for j in range(words.shape[1]):
            digest = (digest ^ np.uint64(words[i, j])) * np.uint64(0x100000001B3)
            digest ^= digest >> np.uint64(29)
        out[i] = digest
