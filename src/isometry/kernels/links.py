"""Codes of neighbours beside the links to them: a walk reads one row, and estimates those that it leads to.

Of each link from row c to row o there is the sign of every value of P(o - c), for as many bits as a code has; P is a
rotation. With b = +1 and -1 for these signs, and s = ||o - c||^2 / ||P(o - c)||_1 over the values that have a bit,
``rank(q, c) + s (<Pq, b> - <Pc, b>) + <c, o - c>`` estimates what o is ranked by (RaBitQ, Gao and Long, SIGMOD 2024,
around c instead of a centroid). All of it but the rank of c and <Pq, b> is known before the query.

A row of the graph has its links in groups of 32: their factors of <Pq, b>, what to add, where they lead to, then the
codes, four bits of the 32 links in the low and four more in the high halves of 32 bytes at a time, for look-ups in
tables of what sixteen combinations of four signs add up to. How fast memory hands over these bytes is how fast a walk
is, so all is in one piece, and that of the row which will probably be next is asked for along the way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel, summing
from isometry.kernels.graph import enter, least_wanted, list_room, next_epoch, offer, rank, scratch, settle
from isometry.kernels.lend import lent
from isometry.kernels.level import LOOKS_UP
from isometry.kernels.rotate import rotate_row, rotate_rows
from isometry.kernels.rows import GROUP
from isometry.kernels.score import decode, inlined, prepare, touch, touch_row
from isometry.kernels.simd import (
    add_found_u16,
    address,
    exceeding_f32,
    fill_f32,
    load_f32,
    lowest_bit,
    prefetch,
    spread_u16,
    store_u16,
)

__all__ = ["Links", "bits_of", "encode", "group_bytes", "search", "turn"]

_ADDED, _ENDS, _NUMBERS = GROUP, 2 * GROUP, 3 * GROUP
_HEADER = 4 * _NUMBERS
_HIGHEST = 127
_MOST_SUM = 65535
_LINE = 64
_BLOCK = 64


class Links(NamedTuple):
    """Codes of the links of n rows.

    Attributes
    ----------
    codes : (n, groups, group_bytes) uint8
        Links behind the last neighbour are never estimated above anything.
    numbers, ends : (n, groups, group_bytes / 4) float32, int32
        The same memory: factors and what to add are the first 64 numbers of a group, where its links lead to the next
        32.
    signs : (rounds, d) int8
        The rotation; see `isometry.kernels.rotate.random_signs`.
    """

    codes: NDArray[np.uint8]
    numbers: NDArray[np.float32]
    ends: NDArray[np.int32]
    signs: NDArray[np.int8]

    @classmethod
    def over(cls, codes: NDArray[np.uint8], signs: NDArray[np.int8]) -> Links:
        """Return links whose memory is that of `codes`."""
        return cls(codes, codes.view(np.float32), codes.view(np.int32), signs)


def group_bytes(bits: int) -> int:
    """Return the bytes of 32 links with codes of so many bits, a multiple of 16."""
    return _HEADER + GROUP * bits // 8


@inlined()
def bits_of(bytes_):
    """Return the bits of a code where 32 links take so many bytes."""
    return (bytes_ - _HEADER) * 8 // GROUP


# -- making ------------------------------------------------------------------------------------------------------------


@kernel
def turn(rows, slots, signs, turned):
    """Write the first values of the rotated rows of `slots` into `turned` (len(slots), bits) float32."""
    d = signs.shape[1]
    values, _ = scratch(d)
    block, after = np.empty((_BLOCK, d), np.float32), np.empty((_BLOCK, d), np.float32)
    for first in range(0, len(slots), _BLOCK):
        count = min(_BLOCK, len(slots) - first)
        for i in range(count):
            decode(rows, slots[first + i], values)
            block[i] = values[:d]
        rotate_rows(block[:count], signs, False, after[:count])
        for i in range(count):
            turned[first + i] = after[i, : turned.shape[1]]


@kernel
def encode(rows, space, graph, slots, turned, turned_at, links):
    """Write the codes of all links of `slots`.

    Parameters
    ----------
    rows : layout of n rows
    space : Space
        What they are ranked by.
    graph : (n, degree) int32
    slots : (m,) int32
    turned : (m', bits) float32
        What `turn` makes of `slots` and of the rows that their links lead to.
    turned_at : (n,) int32
        Which row of `turned` is that of a slot.
    links : Links
    """
    rows, space, graph, turned, links = lent((rows, space, graph, turned, links))
    codes, numbers, ends, signs = links
    d, degree, bits = signs.shape[1], graph.shape[1], turned.shape[1]
    (values, _), (end, _) = scratch(d), scratch(d)
    for slot in slots:
        decode(rows, slot, values)
        own = turned[turned_at[slot]]
        for i in range(GROUP * codes.shape[1]):
            group, place = i // GROUP, i % GROUP
            other = graph[slot, i] if i < degree else np.int32(-1)
            ends[slot, group, _ENDS + place] = other
            if other < 0:
                numbers[slot, group, place], numbers[slot, group, _ADDED + place] = 0, -np.inf
                for j in range(bits // 8):
                    codes[slot, group, _HEADER + GROUP * j + place] = 0
                continue
            decode(rows, other, end)
            length, along = _step(values[:d], end[:d])
            there = turned[turned_at[other]]
            size, product = _signed(own, there)
            for j in range(bits // 8):
                code = np.uint8(0)
                for b in range(8):
                    code |= np.uint8(there[8 * j + b] > own[8 * j + b]) << np.uint8(b)
                codes[slot, group, _HEADER + GROUP * j + place] = code
            factor = length / size if size > 0 else np.float32(0)
            more = along - factor * product
            if len(space.bias):
                more += space.bias[other] - space.bias[slot]
            numbers[slot, group, place], numbers[slot, group, _ADDED + place] = factor, more


@summing
def _step(start, end):
    """Return the squared length of the step between two rows, and its product with the first."""
    length, along = np.float32(0), np.float32(0)
    for j in range(len(start)):
        step = end[j] - start[j]
        length += step * step
        along += start[j] * step
    return length, along


@summing
def _signed(start, end):
    """Return the product of the signs of a step with the step, and with where it starts."""
    size, product = np.float32(0), np.float32(0)
    for j in range(len(start)):
        step = end[j] - start[j]
        size += abs(step)
        product += start[j] if step > 0 else -start[j]
    return size, product


# -- searching ---------------------------------------------------------------------------------------------------------


@inlined()
def _tables_of(turned, bits, tables):
    """Write tables (bits / 4, twice, 16) of what four signs add to <Pq, b>, in steps; return a step and the lowest sum.

    With s the sum of the steps that are looked up, <Pq, b> is about ``step * s + lowest``.
    """
    n_tables = bits // 4
    largest, lowest = np.float32(0), np.float32(0)
    for t in range(n_tables):
        size = np.float32(0)
        for j in range(4 * t, 4 * t + 4):
            size += abs(turned[j])
        largest = max(largest, size)
        lowest -= size
    step = max(2 * largest / min(np.float32(_HIGHEST), np.float32(_MOST_SUM // n_tables)), np.float32(1e-30))
    found = np.empty(16, np.float32)
    for t in range(n_tables):
        found[0] = np.float32(0.5)  # what is cut off below is rounded by it
        for j in range(4):
            found[0] -= min(2 * turned[4 * t + j] / step, np.float32(0))
        for j in range(4):
            more = 2 * turned[4 * t + j] / step
            for c in range(1 << j):
                found[(1 << j) + c] = found[c] + more
        for c in range(16):
            tables[t, 0, c] = tables[t, 1, c] = np.uint8(found[c])
    return step, lowest


if LOOKS_UP:

    @inlined()
    def _add_up(codes, slot, following, group, bits, tables, sums):
        """Add up for each link of a group what tables hold under its code; ask for the same group of another row."""
        total, table = spread_u16(0), address(tables)
        place = _group(codes, slot, group) + _HEADER
        ahead = _group(codes, following, group)
        for line in range(_HEADER // _LINE):
            prefetch(ahead + _LINE * line)
        ahead += _HEADER
        for j in range(bits // 16):
            prefetch(ahead + _LINE * j)
            at, pairs = place + _LINE * j, table + 128 * j
            total = add_found_u16(total, at, pairs, pairs + 32)
            total = add_found_u16(total, at + GROUP, pairs + 64, pairs + 96)
        store_u16(address(sums), total)

else:

    @inlined()
    def _add_up(codes, slot, following, group, bits, tables, sums):
        sums[:] = 0
        for j in range(bits // 8):
            for i in range(GROUP):
                code = codes[slot, group, _HEADER + GROUP * j + i]
                sums[i] += np.uint16(tables[2 * j, 0, code & 15]) + np.uint16(tables[2 * j + 1, 0, code >> 4])


@inlined()
def _group(codes, slot, group):
    """Address of a group of links."""
    return address(codes) + slot * codes.strides[0] + group * codes.strides[1]


@inlined()
def _next(beam, at, size):
    """Return the place of the first row that is not opened yet."""
    while at < size and beam[at] < 0:
        at += 1
    return at


@kernel
def search(
    rows, fine, space, graph, entries, row_ids, twins, links, queries, fine_queries, width, n_fine, seen, ids_out,
    scores_out,
):  # fmt: skip
    """Answer queries as `isometry.kernels.graph.search` does, by estimates of what links lead to.

    Rows are opened in the order of their estimates, until the beam holds none that was not. Those that were opened are
    ranked by `rows`, and the best `n_fine` of them scored again with `fine`.

    Parameters
    ----------
    links : Links
        Of the same rows as `graph`.
    others
        See there.

    References
    ----------
    Gou, Gao, Xu, Long, SymphonyQG: Towards symphonious integration of quantization and graph for approximate nearest
    neighbor search, SIGMOD 2025. They keep full vectors beside the codes, as many bits as dimensions, and put a row
    into the beam once for each link to it.
    """
    rows, fine, space, graph, entries, seen = lent((rows, fine, space, graph, entries, seen))
    rank_of, links, ids_out, scores_out = lent(((row_ids, twins), links, ids_out, scores_out))
    codes, numbers, ends, signs = links
    n, d, groups = len(codes), signs.shape[1], codes.shape[1]
    bits = bits_of(codes.shape[2])
    walk_room, found_room = list_room(width), list_room(width)
    link_room = np.empty((bits // 4, 2, 16), np.uint8), np.empty(GROUP, np.uint16), np.empty(GROUP, np.float32)
    rooms = scratch(queries.shape[1]), scratch(fine_queries.shape[1])
    turn_room = np.empty(d, np.float32), np.empty(d, np.float32)
    for i in range(len(queries)):
        (beam_scores, beam), (found_scores, found) = lent((walk_room, found_room))
        ((values, coded), (fine_values, fine_coded)), (turned, spare) = lent((rooms, turn_room))
        tables, sums, estimates = lent(link_room)
        values[: queries.shape[1]] = queries[i]
        query = prepare(rows, values, coded)
        rotate_row(queries[i], signs, turned, spare)
        step, lowest = _tables_of(turned, bits, tables)
        epoch = next_epoch(seen)
        size, at, n_found = enter(rows, space, entries, query, seen, epoch, beam_scores, beam), 0, 0
        while at < size:
            slot = beam[at]
            beam[at] = ~slot
            value = rank(rows, space, query, slot)
            n_found, _ = offer(found_scores, found, n_found, value, slot)
            following = _next(beam, at + 1, size)
            expected = beam[following] if following < size else slot
            touch(rows, expected)
            at = following
            for group in range(groups):
                _add_up(codes, slot, expected, group, bits, tables, sums)
                known = numbers[slot, group]
                for j in range(GROUP):
                    product = step * np.float32(sums[j]) + lowest
                    estimates[j] = value + (known[j] * product + known[_ADDED + j])
                place, least = address(estimates), fill_f32(least_wanted(beam_scores, size))
                above = exceeding_f32(load_f32(place), least) | exceeding_f32(load_f32(place + 64), least) << 16
                while above:
                    j = lowest_bit(above)
                    above &= above - 1
                    other = ends[slot, group, _ENDS + j]
                    if 0 <= other < n and seen[other] != epoch:
                        seen[other] = epoch
                        size, put = offer(beam_scores, beam, size, estimates[j], other)
                        at = min(at, put)
            at = _next(beam, at, size)
            if at < size and beam[at] != expected:
                touch(rows, beam[at])
                touch_row(codes, beam[at])
        fine_values[: fine_queries.shape[1]] = fine_queries[i]
        again = prepare(fine, fine_values, fine_coded)
        settle(fine, space, again, found, min(n_found, n_fine), rank_of, None, scores_out[i], ids_out[i])
