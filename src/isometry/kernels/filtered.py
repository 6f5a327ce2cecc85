"""Search of a proximity graph for rows that pass a filter: the bitmap is looked at while walking.

A query first walks past all rows until it is near. What share of the rows there pass says how to go on:

- *walk*: past all rows still, until the best rows that pass are nearer than any that is left to open (so over-fetching
  ends where each query has enough). It looks for fewer that pass than a bridging walk, by the root of their share, and
  finds as much: it opens more rows for each of them;
- *bridge*: past rows that pass only; a neighbour that does not is looked through, to its own neighbours (ACORN-1: Patel
  et al., SIGMOD 2024, arXiv:2403.04871, section 5.2; unlike there, the walk comes near over all rows, so that queries
  far from what passes find a way in), and twice as wide where hardly any passes though many were expected;
- neither, where so few pass that they had better be scanned: that is left to the caller.
"""

from __future__ import annotations

import numpy as np

from isometry.kernels.compiled import kernel
from isometry.kernels.graph import (
    advance,
    ahead_of,
    enter,
    list_room,
    next_epoch,
    note,
    offer,
    offer_all,
    opening_room,
    rank_all,
    scratch,
    settle,
)
from isometry.kernels.lend import lent
from isometry.kernels.score import inlined, prepare, touch_row

__all__ = ["BRIDGE", "SCAN", "WALK", "search"]

SCAN, BRIDGE, WALK = 0, 1, 2
_MOST = 0.75
"""Share from which a beam that is wider by what it loses does as well as one that counts what passes."""
_WIDER = 2
"""How many times wider a bridging walk is around which hardly any row passes though many do elsewhere."""
_HARDLY, _EXPECTED = 0.05, 4
"""That is: where this share of the rows expected to pass does, and so many were expected. Where `_MOST` pass, those are
never far."""


@inlined()
def _slot(entry):
    """Return the slot of a row of a beam, opened or not."""
    return entry if entry >= 0 else ~entry


@inlined()
def _passing_of(beam_scores, beam, size, passing, found_scores, found):
    """Put the rows of a beam that pass into `found`; returns how many there are."""
    n_found = 0
    for i in range(size):
        slot = _slot(beam[i])
        if passing[slot]:
            n_found, _ = offer(found_scores, found, n_found, beam_scores[i], slot)
    return n_found


@inlined()
def _beyond(rows, graph, slot, seen, epoch, passing, enough, todo, bridges):
    """Write the unseen neighbours that pass into `todo`, and those behind neighbours that do not.

    No more are looked for once `enough` that pass were met, seen or not. Returns how many there are, and how many
    neighbours were looked through.
    """
    ahead = ahead_of(rows)
    count = met = n_bridges = looked = 0
    for j in range(graph.shape[1]):
        other = graph[slot, j]
        if other < 0:
            break
        if passing[other]:
            met += 1
            count = note(rows, other, seen, epoch, todo, count, ahead)
        elif seen[other] != epoch:
            bridges[n_bridges] = other
            if n_bridges < 4:
                touch_row(graph, other)
            n_bridges += 1
    for i in range(n_bridges):
        if met >= enough:
            break
        if i + 4 < n_bridges:
            touch_row(graph, bridges[i + 4])
        bridge = bridges[i]
        seen[bridge] = epoch
        looked += 1
        for j in range(graph.shape[1]):
            other = graph[bridge, j]
            if other < 0:
                break
            if passing[other]:
                met += 1
                count = note(rows, other, seen, epoch, todo, count, ahead)
    return count, looked


@inlined()
def _bridge(
    rows, space, graph, query, seen, room, beam, size, gates, passing, enough, bridges, found_scores, found, n_found
):
    """Walk over rows that are `passing` only, from those found so far and the first `gates` of a beam that are not.

    Returns the number found, how many rows were scored, and how many were looked through.
    """
    todo, values = room
    epoch, ahead = next_epoch(seen), ahead_of(rows)
    for i in range(n_found):
        seen[found[i]] = epoch
    gate = at = scored = looked = 0
    while at < n_found or (gate < min(gates, size) and n_found < len(found)):
        if at < n_found and found[at] < 0:
            at += 1
            continue
        if at < n_found:
            slot = found[at]
            found[at] = ~slot
            at += 1
        else:
            slot = _slot(beam[gate])
            gate += 1
            if seen[slot] == epoch:
                continue
            seen[slot] = epoch
        count, more = _beyond(rows, graph, slot, seen, epoch, passing, enough, todo, bridges)
        scored += count
        looked += more
        rank_all(rows, space, query, todo, count, ahead, values)
        n_found, at = offer_all(graph, todo, values, count, found_scores, found, n_found, at)
        if at < n_found and found[at] >= 0:
            touch_row(graph, found[at])
    for i in range(n_found):
        if found[i] < 0:
            found[i] = ~found[i]
    return n_found, scored, looked


@kernel
def search(
    rows, fine, space, graph, entries, row_ids, twins, passing, leading, share, queries, fine_queries, width, room,
    near, bridge_from, walk_from, enough, seen, ways, shares, work, ids_out, scores_out,
):  # fmt: skip
    """As `graph.search`, but only slots marked in `passing` are hits.

    Parameters
    ----------
    passing, leading : (n,) bool
        What may be a hit; and what is, or has a twin that is.
    share : float
        Share of all rows that pass, what a query expects before it has seen any.
    width : int
        How many rows that pass are looked for.
    room : int
        Most rows that a walk remembers, at least 8 `near`.
    near : int
        How many of the nearest rows must be opened before a query says how to go on.
    bridge_from, walk_from : float
        Shares of passing rows, among those seen near a query, from which it bridges, and from which it walks.
    enough : int
        Rows that pass after which a bridging walk looks no further from one row.
    ways : (nq,) int8
        How each query went on; nothing is written for those left to scan.
    shares : (nq,) float32
        Share of passing rows near each.
    work : (nq, 2) int64
        Rows that each scored, and rows that it looked through.
    """
    rows, fine, space, graph, entries, passing = lent((rows, fine, space, graph, entries, passing))
    leading, seen, rank_of, ids_out, scores_out = lent((leading, seen, (row_ids, twins), ids_out, scores_out))
    beam_room, found_room = list_room(room), list_room(_WIDER * width)
    open_room = opening_room(2 * graph.shape[1] + enough), np.empty(graph.shape[1], np.int32)
    coarse_room, fine_room = scratch(queries.shape[1]), scratch(fine_queries.shape[1])
    for i in range(len(queries)):
        (beam_scores, beam), (all_scores, all_found), (opening, bridges) = lent((beam_room, found_room, open_room))
        found_scores, found = all_scores[:width], all_found[:width]
        (values, codes), (fine_values, fine_codes) = lent((coarse_room, fine_room))
        values[: queries.shape[1]] = queries[i]
        query = prepare(rows, values, codes)
        epoch = next_epoch(seen)
        size = enter(rows, space, entries, query, seen, epoch, beam_scores, beam)
        if share >= _MOST:
            size, _, _, scored = advance(
                rows, space, graph, query, seen, epoch, opening, beam_scores[: 4 * near], beam[: 4 * near], size, near,
                None, None, None, None, None, 0,
            )  # fmt: skip
            count = _passing_of(beam_scores, beam, size, leading, found_scores, found)
        else:
            count = _passing_of(beam_scores, beam, size, leading, found_scores, found)
            size, _, count, scored = advance(
                rows, space, graph, query, seen, epoch, opening, beam_scores[: 8 * near], beam[: 8 * near], size, near,
                None, None, leading, found_scores, found, count,
            )  # fmt: skip
        met = 0.0
        for j in range(size):
            met += leading[_slot(beam[j])]
        # The share of all rows counts a quarter as much as the rows that were looked at.
        shares[i] = (met + share * size / 4) / (1.25 * size)
        work[i, 1] = 0
        # Where fewer pass here than anywhere, fewer still will nearer by: a walk that expects too many ends too soon.
        passes = min(shares[i], met / size)
        expected = share * size
        wider = _WIDER if share < _MOST and expected >= _EXPECTED and met <= _HARDLY * expected else 1
        if passes >= walk_from:
            ways[i] = WALK
            wanted = width * np.sqrt(max(passes, share))
            most = min(width, max(ids_out.shape[1], int(np.ceil(wanted))))
            if passes >= _MOST:
                opened = int(np.rint(wanted / passes))
                wide = min(room, max(size, opened + opened // 2))
                size, _, _, more = advance(
                    rows, space, graph, query, seen, epoch, opening, beam_scores[:wide], beam[:wide], size, opened,
                    None, None, None, None, None, 0,
                )  # fmt: skip
                scored += more
                count = _passing_of(beam_scores, beam, size, leading, found_scores, found)
            if passes < _MOST or count < most:
                wide = max(size, int(min(room, np.ceil(2 * most / passes))))
                size, _, count, more = advance(
                    rows, space, graph, query, seen, epoch, opening, beam_scores[:wide], beam[:wide], size, wide, None,
                    None, leading, found_scores[:most], found[:most], min(count, most),
                )  # fmt: skip
                scored += more
        elif shares[i] >= bridge_from:
            ways[i] = BRIDGE
            # The rows that pass lie apart from such a query and from each other: a walk over them alone misses more.
            found_scores, found = all_scores[: wider * width], all_found[: wider * width]
            count, more, work[i, 1] = _bridge(
                rows, space, graph, query, seen, opening, beam, size, near, leading, enough, bridges, found_scores,
                found, count,
            )  # fmt: skip
            scored += more
        else:
            ways[i] = SCAN
            continue
        work[i, 0] = scored
        fine_values[: fine_queries.shape[1]] = fine_queries[i]
        again = prepare(fine, fine_values, fine_codes)
        settle(fine, space, again, found, count, rank_of, passing, scores_out[i], ids_out[i])
