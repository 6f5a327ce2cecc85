"""Posting lists in blocks with summaries: cutting the lists, and the query that skips blocks.

A summary holds the largest weight of each term over the rows of a block, so its product with a query promises how much
a row of the block can score. Summaries of a list lie transposed: for every term the blocks that have it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.hits import keep
from isometry.kernels.score import inlined
from isometry.kernels.sparse import dot, touch

__all__ = ["LARGEST_BLOCKS", "Answering", "Lists", "group", "heaviest", "search", "summarise"]

LARGEST_BLOCKS = 65535
"""Blocks of a list: they are numbered in 16 bits."""
_LEVELS = 128
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SUMMARY_LEVELS = 256


class Lists(NamedTuple):
    """Posting lists cut into blocks, with the transposed summaries of the blocks.

    Attributes
    ----------
    first_blocks : (t + 1,) int64
        The blocks of list t are ``first_blocks[t]:first_blocks[t + 1]``.
    starts : (b + 1,) uint32
        The rows of block b are ``rows[starts[b]:starts[b + 1]]``.
    rows : (p,) int32
    scales : (b,) float32
        A summary's value is its code times its block's scale.
    tables : (t + 1,) int64
        Where the hash table of list t lies among the keys; a list with an empty table has no summaries.
    keys : (s,) uint16 or uint32
        Terms, in places found by hashing and stepping on.
    offsets : (s + 1,) uint32
        The entries of place s are ``offsets[s]:offsets[s + 1]``: none where the place is empty.
    blocks, codes : (e,) uint16, uint8
        Number of a block within its list, and its code.
    """

    first_blocks: NDArray[np.int64]
    starts: NDArray[np.uint32]
    rows: NDArray[np.int32]
    scales: NDArray[np.float32]
    tables: NDArray[np.int64]
    keys: NDArray[np.unsignedinteger]
    offsets: NDArray[np.uint32]
    blocks: NDArray[np.uint16]
    codes: NDArray[np.uint8]


class Answering(NamedTuple):
    """Scratch of one thread, used again from call to call.

    Attributes
    ----------
    query : (t,) float32
        All zero between queries.
    seen : (n + 1,) uint8
        Rows that were scored; the last byte counts queries.
    promises, order : (most blocks of a list,) float32, int32
    todo : (most rows of a list, or most neighbours,) int32
    """

    query: NDArray[np.float32]
    seen: NDArray[np.uint8]
    promises: NDArray[np.float32]
    order: NDArray[np.int32]
    todo: NDArray[np.int32]


# -- queries -----------------------------------------------------------------------------------------------------------


@inlined()
def _place(key, size):
    """Return where in a table of some size a key is looked for first."""
    mixed = (np.uint64(key) * np.uint64(0x9E3779B1)) & np.uint64(0xFFFFFFFF)
    return np.int64((mixed * np.uint64(size)) >> np.uint64(32))


@inlined()
def _promise(lists, term, terms, weights, out):
    """Write what the summaries of a list's blocks score; infinity where there are none. Returns how many."""
    first = lists.first_blocks[term]
    count = lists.first_blocks[term + 1] - first
    table = lists.tables[term]
    size = lists.tables[term + 1] - table
    if size == 0:
        out[:count] = np.inf
        return count
    out[:count] = 0
    for j in range(len(terms)):
        key = terms[j]
        place = _place(key, size)
        for _ in range(size):
            start, stop = lists.offsets[table + place], lists.offsets[table + place + 1]
            if start == stop:
                break
            if lists.keys[table + place] == key:
                weight = weights[j]
                for e in range(start, stop):
                    out[lists.blocks[e]] += weight * np.float32(lists.codes[e])
                break
            place += 1
            if place == size:
                place = 0
    for b in range(count):
        out[b] *= lists.scales[first + b]
    return count


@inlined()
def _roughly_sorted(values, count, least, order):
    """Write the numbers of values >= `least`, larger ones first, in steps of a fraction of the largest."""
    largest = np.float32(0)
    for i in range(count):
        if values[i] != np.inf:
            largest = max(largest, values[i])
    factor = np.float32(_LEVELS - 1) / largest if largest > 0 else np.float32(0)
    counts = np.zeros(_LEVELS + 1, np.int64)
    for i in range(count):
        if values[i] >= least:
            counts[_step(values[i], factor) + 1] += 1
    for i in range(_LEVELS):
        counts[i + 1] += counts[i]
    for i in range(count):
        if values[i] >= least:
            step = _step(values[i], factor)
            order[counts[step]] = i
            counts[step] += 1
    return counts[_LEVELS - 1]


@inlined()
def _step(value, factor):
    """Number of a step, the best being 0."""
    return 0 if value == np.inf else _LEVELS - 1 - min(np.int64(value * factor), _LEVELS - 1)


@inlined()
def _score(rows, query, slots, first, last, best, ids, size):
    """Score the rows ``slots[first:last]``, put them into a list of hits, and return its size."""
    for c in range(first, last):
        value = dot(rows, query, slots[c])
        if value > 0:
            size = keep(best, ids, size, value, np.int64(slots[c]))
    return size


@kernel
def search(
    rows, lists, links, passing, starts, terms, weights, cut, factor, neighbours, scratch, ids_out, scores_out
):  # fmt: skip
    """Answer queries from blocks; returns how many rows were scored.

    Parameters
    ----------
    rows : SparseRows
    lists : Lists
    links : (n, most neighbours) int32
        Near rows, the nearest first, then -1.
    passing : (n,) or (0,) bool
        Rows that may be hits; empty if all may.
    starts, terms, weights : (nq + 1,) int64, (e,) int32, (e,) float32
        Queries as rows of a CSR, the heaviest terms first.
    cut : int
        How many terms' lists are read; more, where there are fewer than k hits.
    factor : float32
        Blocks are passed over whose summary scores less than this times the last hit's score.
    neighbours : int
        How many neighbours of each hit are scored at the end.
    scratch : Answering
    ids_out, scores_out : (nq, k) int64, float32
        Written: best first, then -1 and minus infinity.
    """
    query, seen, promises, order, todo = scratch
    k = ids_out.shape[1]
    scored = 0
    for i in range(len(starts) - 1):
        if seen[-1] == 255:
            seen[:] = 0
        seen[-1] += 1
        epoch = seen[-1]
        q_terms, q_weights = terms[starts[i] : starts[i + 1]], weights[starts[i] : starts[i + 1]]
        for j in range(len(q_terms)):
            query[q_terms[j]] = q_weights[j]
        best, ids = scores_out[i], ids_out[i]
        size = 0
        for j in range(len(q_terms)):
            if j >= cut and size == k:
                break
            first = lists.first_blocks[q_terms[j]]
            n_blocks = _promise(lists, q_terms[j], q_terms, q_weights, promises)
            least = factor * best[k - 1] if size == k else np.float32(0)
            if j == 0:
                n_order = _roughly_sorted(promises, n_blocks, least, order)
            else:
                n_order = 0
                for b in range(n_blocks):
                    order[n_order] = b
                    n_order += promises[b] >= least
            done = count = 0
            for b in range(n_order):
                block = first + order[b]
                if size == k and promises[order[b]] < factor * best[k - 1]:
                    continue
                known = count
                for p in range(lists.starts[block], lists.starts[block + 1]):
                    slot = lists.rows[p]
                    if seen[slot] != epoch:
                        seen[slot] = epoch
                        if len(passing) == 0 or passing[slot]:
                            touch(rows, slot)
                            todo[count] = slot
                            count += 1
                # The block before: its rows have had time to come into the cache.
                size = _score(rows, query, todo, done, known, best, ids, size)
                done = known
            size = _score(rows, query, todo, done, count, best, ids, size)
            scored += count
        if neighbours:
            hits = ids[:size].copy()
            for h in range(len(hits)):
                count = 0
                for c in range(neighbours):
                    slot = links[hits[h], c]
                    if slot >= 0 and seen[slot] != epoch:
                        seen[slot] = epoch
                        if len(passing) == 0 or passing[slot]:
                            touch(rows, slot)
                            todo[count] = slot
                            count += 1
                size = _score(rows, query, todo, 0, count, best, ids, size)
                scored += count
        best[size:] = -np.inf
        ids[size:] = -1
        for j in range(len(q_terms)):
            query[q_terms[j]] = 0
    return scored


# -- building ----------------------------------------------------------------------------------------------------------


@kernel
def heaviest(starts, terms, weights, first, last, terms_out, weights_out):
    """Write the heaviest entries of rows ``first:last``, heaviest first, equal ones in their order; the rest is 0."""
    most = terms_out.shape[1]
    for i in range(first, last):
        size = 0
        for j in range(starts[i], starts[i + 1]):
            value = weights[j]
            if size == most and value <= weights_out[i, most - 1]:
                continue
            place = min(size, most - 1)
            while place > 0 and weights_out[i, place - 1] < value:
                weights_out[i, place] = weights_out[i, place - 1]
                terms_out[i, place] = terms_out[i, place - 1]
                place -= 1
            weights_out[i, place] = value
            terms_out[i, place] = terms[j]
            size = min(size + 1, most)


@inlined()
def _mixed(state):
    """Next state and number of a splitmix64 generator."""
    state += _GOLDEN
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, z ^ (z >> np.uint64(31))


@inlined()
def _drawn(count, wanted, state, out):
    """Write the numbers below `count`, `wanted` of them drawn at random to the front; returns the generator's state."""
    for i in range(count):
        out[i] = i
    for i in range(wanted):
        state, number = _mixed(state)
        other = i + np.int64(number % np.uint64(count - i))
        out[i], out[other] = out[other], out[i]
    return state


@inlined()
def _lists_of(starts, terms, weights, rows, places):
    """Return a small inverted index of some rows: its terms, their lists' bounds, and rows (by place) and weights.

    In `places`, zero elsewhere, every term gets the number of its list, from 1.
    """
    entries = 0
    for row in rows:
        entries += starts[row + 1] - starts[row]
    found, n_found = np.empty(entries, np.int32), 0
    for row in rows:
        for e in range(starts[row], starts[row + 1]):
            if places[terms[e]] == 0:
                found[n_found] = terms[e]
                n_found += 1
            places[terms[e]] += 1
    bounds = np.zeros(n_found + 1, np.int64)
    for i in range(n_found):
        bounds[i + 1] = bounds[i] + places[found[i]]
        places[found[i]] = i + 1
    fill = bounds.copy()
    owners, values = np.empty(entries, np.int32), np.empty(entries, np.float32)
    for c in range(len(rows)):
        for e in range(starts[rows[c]], starts[rows[c] + 1]):
            at = places[terms[e]] - 1
            owners[fill[at]], values[fill[at]] = c, weights[e]
            fill[at] += 1
    return found[:n_found], bounds, owners, values


@inlined()
def _nearest(heavy_terms, heavy_weights, row, places, lists, alive, scores):
    """Return the centroid with the largest product with a row's heaviest terms, of those that are alive."""
    _, bounds, owners, values = lists
    scores[:] = 0
    for h in range(heavy_terms.shape[1]):
        weight = heavy_weights[row, h]
        if weight == 0:
            break
        at = places[heavy_terms[row, h]] - 1
        if at >= 0:
            for e in range(bounds[at], bounds[at + 1]):
                scores[owners[e]] += weight * values[e]
    nearest, most = -1, np.float32(-1)
    for c in range(len(scores)):
        if scores[c] > most and alive[c]:
            nearest, most = c, scores[c]
    return nearest


@inlined()
def _join(heavy_terms, heavy_weights, rows, places, lists, count, least, home):
    """Write the centroid that each row joins, small groups dissolved; returns how many groups there are."""
    alive, scores, members = np.ones(count, np.bool_), np.zeros(count, np.float32), np.zeros(count, np.int64)
    for i in range(len(rows)):
        home[i] = _nearest(heavy_terms, heavy_weights, rows[i], places, lists, alive, scores)
        members[home[i]] += 1
    for c in range(count):
        alive[c] = members[c] > least
    lasting = np.count_nonzero(alive)
    if lasting == 0:
        home[:] = 0
        return 1
    for i in range(len(rows)):
        if not alive[home[i]]:
            home[i] = _nearest(heavy_terms, heavy_weights, rows[i], places, lists, alive, scores)
    return lasting


@inlined()
def _regroup(rows, home, count, sizes):
    """Put rows in the order of their groups, in place, and write the sizes of these; returns how many there are."""
    slots = np.zeros(count + 1, np.int64)
    for i in range(len(rows)):
        slots[home[i] + 1] += 1
    n_groups = 0
    for c in range(count):
        if slots[c + 1]:
            sizes[n_groups] = slots[c + 1]
            n_groups += 1
        slots[c + 1] += slots[c]
    before = rows.copy()
    for i in range(len(rows)):
        rows[slots[home[i]]] = before[i]
        slots[home[i]] += 1
    return n_groups


@kernel
def group(
    starts, terms, weights, heavy_terms, heavy_weights, list_starts, first, last, fraction, least, seed, way, n_terms,
    rows, sizes, counts,
):  # fmt: skip
    """Put the rows of each list into blocks: in place, one block after another, rows ascending within a block.

    Parameters
    ----------
    starts, terms, weights : CSR of all rows
    heavy_terms, heavy_weights : (n, doc_cut) int32, float32
        What a row is compared by.
    list_starts : (t + 1,) int64
    first, last : int
        The lists to look at.
    fraction : float
        Centroids for each row of a list.
    least : int
        Blocks of up to so many rows are dissolved.
    seed : int
    way : int
        0 geometric; 1 consecutive rows; 2 random rows; the latter with as many blocks as the first would have.
    n_terms : int
    rows : (p,) int32
        Rows of the lists, changed.
    sizes : (p,) int32
        Written: sizes of the blocks of a list, from the list's start on.
    counts : (t,) int32
        Written: number of blocks.
    """
    places = np.zeros(n_terms + 1, np.int32)
    for number in range(first, last):
        list_rows = rows[list_starts[number] : list_starts[number + 1]]
        length = len(list_rows)
        if length == 0:
            counts[number] = 0
            continue
        wanted = min(max(1, np.int64(fraction * length)), LARGEST_BLOCKS)
        home = np.zeros(length, np.int64)
        state = np.uint64(seed) + np.uint64(number) * np.uint64(0xD1B54A32D192ED03)
        if wanted > 1:
            chosen = np.empty(length, np.int64)
            state = _drawn(length, wanted, state, chosen)
            chosen[:wanted].sort()
            lists = _lists_of(starts, terms, weights, list_rows[chosen[:wanted]], places)
            n_blocks = _join(heavy_terms, heavy_weights, list_rows, places, lists, wanted, least, home)
            for term in lists[0]:
                places[term] = 0
            if way:
                for i in range(length):
                    chosen[i] = i
                if way == 2:
                    _drawn(length, length - 1, state, chosen)
                for i in range(length):
                    home[chosen[i]] = i * n_blocks // length
        counts[number] = _regroup(list_rows, home, wanted, sizes[list_starts[number] :])


@inlined()
def _heavy_part(values, count, energy, marks):
    """Mark the largest of `count` values until they make up a share of the sum, the one that crosses it included."""
    largest, total = np.float32(0), np.float64(0)
    for i in range(count):
        largest = max(largest, values[i])
        total += values[i]
    if energy >= 1:
        marks[:count] = True
        return count
    counts, sums = np.zeros(_SUMMARY_LEVELS, np.int64), np.zeros(_SUMMARY_LEVELS, np.float64)
    factor = np.float32(_SUMMARY_LEVELS - 1) / largest
    for i in range(count):
        level = np.int64(values[i] * factor)
        counts[level] += 1
        sums[level] += values[i]
    level, reached, kept = _SUMMARY_LEVELS - 1, 0.0, 0
    while level > 0 and reached + sums[level] < energy * total:
        reached += sums[level]
        kept += counts[level]
        level -= 1
    crossing = np.empty(counts[level], np.int64)
    at = 0
    for i in range(count):
        where = np.int64(values[i] * factor)
        marks[i] = where > level
        if where == level:
            crossing[at] = i
            at += 1
    keys = np.empty(at, np.float32)
    for i in range(at):
        keys[i] = -values[crossing[i]]
    order = np.argsort(keys, kind="mergesort")
    for i in range(at):
        if reached >= energy * total:
            break
        marks[crossing[order[i]]] = True
        reached += values[crossing[order[i]]]
        kept += 1
    return kept


@kernel
def summarise(starts, terms, weights, first_blocks, block_starts, rows, first, last, energy, shortest, n_terms, keys):
    """Summarise the blocks of lists ``first:last``.

    Parameters
    ----------
    starts, terms, weights : CSR of all rows
    first_blocks, block_starts, rows
        As in `Lists`.
    energy : float
        Share of the sum of a summary's values that is kept.
    shortest : int
        Lists of up to so many rows get no summaries.
    keys : (0,) uint16 or uint32
        Tells the type of keys.

    Returns
    -------
    scales, table_sizes, keys, place_counts, blocks, codes
        As in `Lists`, with sizes instead of offsets.
    """
    n_blocks = first_blocks[last] - first_blocks[first]
    scales = np.zeros(n_blocks, np.float32)
    table_sizes = np.zeros(last - first, np.int64)
    room = 4096
    out_keys, out_counts = np.empty(room, keys.dtype), np.empty(room, np.uint32)
    n_places = 0
    entry_room = 65536
    out_blocks, out_codes = np.empty(entry_room, np.uint16), np.empty(entry_room, np.uint8)
    n_entries = 0
    most = np.zeros(n_terms, np.float32)
    counts = np.zeros(n_terms, np.int32)
    buffer = 4096
    list_terms, list_blocks, list_codes = (
        np.empty(buffer, np.int32), np.empty(buffer, np.uint16), np.empty(buffer, np.uint8),
    )  # fmt: skip
    for number in range(first, last):
        begin, end = first_blocks[number], first_blocks[number + 1]
        if begin == end or np.int64(block_starts[end]) - np.int64(block_starts[begin]) <= shortest:
            continue
        n_list = 0
        for block in range(begin, end):
            entries = 0
            for p in range(block_starts[block], block_starts[block + 1]):
                entries += starts[rows[p] + 1] - starts[rows[p]]
            touched, n_touched = np.empty(entries, np.int32), 0
            for p in range(block_starts[block], block_starts[block + 1]):
                for e in range(starts[rows[p]], starts[rows[p] + 1]):
                    term = terms[e]
                    if most[term] == 0:
                        touched[n_touched] = term
                        n_touched += 1
                    most[term] = max(most[term], weights[e])
            touched[:n_touched].sort()
            values, marks = np.empty(n_touched, np.float32), np.zeros(n_touched, np.bool_)
            largest = np.float32(0)
            for i in range(n_touched):
                values[i] = most[touched[i]]
                largest = max(largest, values[i])
                most[touched[i]] = 0
            kept = _heavy_part(values, n_touched, energy, marks)
            scale = largest / np.float32(255)
            scales[block - first_blocks[first]] = scale
            if n_list + kept > buffer:
                buffer = 2 * (n_list + kept)
                list_terms = _grown(list_terms, n_list, buffer)
                list_blocks = _grown(list_blocks, n_list, buffer)
                list_codes = _grown(list_codes, n_list, buffer)
            for i in range(n_touched):
                if marks[i]:
                    list_terms[n_list] = touched[i]
                    list_blocks[n_list] = block - begin
                    list_codes[n_list] = max(1, min(255, np.int64(np.ceil(values[i] / scale - np.float32(0.5)))))
                    n_list += 1
        distinct, n_distinct = np.empty(n_list, np.int32), 0
        for i in range(n_list):
            if counts[list_terms[i]] == 0:
                distinct[n_distinct] = list_terms[i]
                n_distinct += 1
            counts[list_terms[i]] += 1
        distinct[:n_distinct].sort()
        size = n_distinct + n_distinct // 4 + 1
        table_sizes[number - first] = size
        if n_places + size > room:
            room = 2 * (n_places + size)
            out_keys, out_counts = _grown(out_keys, n_places, room), _grown(out_counts, n_places, room)
        out_keys[n_places : n_places + size] = 0
        out_counts[n_places : n_places + size] = 0
        for i in range(n_distinct):
            place = _place(distinct[i], size)
            while out_counts[n_places + place]:
                place += 1
                if place == size:
                    place = 0
            out_keys[n_places + place] = distinct[i]
            out_counts[n_places + place] = counts[distinct[i]]
        at = n_entries
        for place in range(n_places, n_places + size):
            if out_counts[place]:
                counts[out_keys[place]] = at - n_entries
                at += out_counts[place]
        if at > entry_room:
            entry_room = 2 * at
            out_blocks = _grown(out_blocks, n_entries, entry_room)
            out_codes = _grown(out_codes, n_entries, entry_room)
        for i in range(n_list):
            place = n_entries + counts[list_terms[i]]
            out_blocks[place] = list_blocks[i]
            out_codes[place] = list_codes[i]
            counts[list_terms[i]] += 1
        for i in range(n_distinct):
            counts[distinct[i]] = 0
        n_places += size
        n_entries = at
    return (
        scales, table_sizes, out_keys[:n_places].copy(), out_counts[:n_places].copy(), out_blocks[:n_entries].copy(),
        out_codes[:n_entries].copy(),
    )  # fmt: skip


@inlined()
def _grown(array, used, room):
    """Return an array with room for more, and the same beginning."""
    out = np.empty(room, array.dtype)
    out[:used] = array[:used]
    return out
