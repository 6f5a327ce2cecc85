r"""Fixed dimensional encodings: sets of vectors as single vectors whose inner product is near their Chamfer similarity.

In each of R repetitions, k hyperplanes cut space into :math:`2^k` cells: bit j of a cell's number says whether a token
lies on the positive side of hyperplane j. Tokens of one cell are summed up (queries) or averaged (documents), and the
result is projected to p numbers. An empty cell of a document may take the token with the fewest other bits, of equals
the first. So a set has R blocks of :math:`2^k` blocks of p numbers, which a count-sketch may add up into fewer: each
number goes to one place, with a sign.

Both projections are linear, so cells are projected instead of tokens. The nearest token of all cells is found in
:math:`k 2^k` steps: after step j a cell knows the nearest of those tokens that share its bits above j.

A set's encoding depends on that set alone, and all sums run in one order: it has the same bytes with any number of
threads and in any batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.simd import address
from isometry.kernels.tile import TILE_ROWS, multiply, shares, whole_tiles
from isometry.threads import in_threads

__all__ = ["Tables", "encode"]

_TASK_TOKENS = 4096
_NOBODY = np.int64(1) << np.int64(60)
_STEP = np.int64(1) << np.int64(40)


class Tables(NamedTuple):
    """What an encoding draws at random.

    Attributes
    ----------
    planes : (d, R k) float32
        Hyperplanes, as columns.
    projections : (R, d, p) float32
        Inner projections; R = 0: none.
    places : (R 2^k p,) int32
        Final projection: number i is added to place ``places[i] >> 1``, negated where the lowest bit is set. Empty:
        none.
    """

    planes: NDArray[np.float32]
    projections: NDArray[np.float32]
    places: NDArray[np.int32]


def encode(
    tokens: NDArray[np.float32],
    offsets: NDArray[np.int64],
    tables: Tables,
    *,
    repetitions: int,
    k_sim: int,
    dim: int,
    average: bool,
    fill: bool,
    scale: float = 1.0,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Return the encodings (n, `dim`) of n sets of tokens; that of an empty set is zero.

    Parameters
    ----------
    tokens : (t, d) float32
        C-contiguous; with values so small that their sums are within float32.
    offsets : (n + 1,) int64
        Set i owns ``tokens[offsets[i]:offsets[i + 1]]``.
    tables : Tables
    repetitions, k_sim : int
        R and k.
    dim : int
        R 2^k p, or the number of places of the final projection.
    average : bool
        Whether the tokens of a cell are averaged (documents) instead of summed up (queries).
    fill : bool
        Whether empty cells take the nearest token.
    scale : float
        What the encoding is multiplied by.
    threads : int, optional
        At most this many; by default all processors.
    """
    n = len(offsets) - 1
    out = np.zeros((n, dim), np.float32)
    planes, projections = whole_tiles(tables.planes), whole_tiles(tables.projections)
    size = tables.projections.shape[2] if len(tables.projections) else tokens.shape[1]

    def one(sets: tuple[int, int]) -> None:
        first, last = sets
        _encode(
            tokens, offsets[first : last + 1], planes, projections, tables.places, repetitions, k_sim, size,
            average, fill, np.float32(scale), out[first:last],
        )  # fmt: skip

    in_threads(one, shares(offsets, _TASK_TOKENS), threads)
    return out


@kernel
def _encode(tokens, offsets, planes, projections, places, repetitions, k, size, average, fill, scale, out):
    n, d = len(offsets) - 1, tokens.shape[1]
    cells = 1 << k
    longest = np.int64(0)
    for i in range(n):
        longest = max(longest, offsets[i + 1] - offsets[i])
    codes = np.empty((longest, repetitions), np.int32)
    sums, counts = np.empty((min(longest, cells), d), np.float32), np.empty(min(longest, cells), np.int64)
    slots, nearest = np.empty(cells, np.int64), np.empty(cells, np.int64)
    sources, used = np.empty(cells, np.int64), np.empty(cells, np.int64)
    side = np.empty((TILE_ROWS, max(planes.shape[1], projections.shape[2])), np.float32)
    for i in range(n):
        some = tokens[offsets[i] : offsets[i + 1]]
        if len(some) == 0:
            continue
        _cells(some, planes, k, side, codes)
        for r in range(repetitions):
            filled = _gather(some, codes, r, average, slots, sums, counts)
            if fill and filled < cells:
                _nearest(codes, r, len(some), k, nearest)
            n_used = np.int64(0)
            for cell in range(cells):
                if slots[cell] >= 0:
                    sources[n_used] = address(sums) + 4 * d * slots[cell]
                elif fill:
                    sources[n_used] = address(some) + 4 * d * (nearest[cell] & (_STEP - 1))
                else:
                    continue
                used[n_used] = cell
                n_used += 1
            if len(projections) == 0:
                for u in range(n_used):
                    row = sums[slots[used[u]]] if slots[used[u]] >= 0 else some[nearest[used[u]] & (_STEP - 1)]
                    _put(row, size, scale, (r * cells + used[u]) * size, places, out[i])
                continue
            for first in range(0, n_used, TILE_ROWS):
                multiply(sources[first:n_used], d, projections[r], side)
                for u in range(first, min(first + TILE_ROWS, n_used)):
                    _put(side[u - first], size, scale, (r * cells + used[u]) * size, places, out[i])


@kernel
def _cells(tokens, planes, k, side, codes):
    """Write the cell of every token in every repetition."""
    n, d = tokens.shape
    repetitions = codes.shape[1]
    codes[:n] = 0
    if k == 0:
        return
    sources = np.empty(TILE_ROWS, np.int64)
    for first in range(0, n, TILE_ROWS):
        some = min(TILE_ROWS, n - first)
        for i in range(some):
            sources[i] = address(tokens) + 4 * d * (first + i)
        multiply(sources[:some], d, planes, side)
        for i in range(some):
            column = 0
            for r in range(repetitions):
                code = np.int32(0)
                for j in range(k):
                    code |= np.int32(side[i, column + j] > 0) << np.int32(j)
                codes[first + i, r] = code
                column += k


@kernel
def _gather(tokens, codes, r, average, slots, sums, counts):
    """Add up or average the tokens of each cell, in their order, and return how many cells have any."""
    slots[:] = -1
    used = 0
    for i in range(len(tokens)):
        cell = codes[i, r]
        slot = slots[cell]
        if slot < 0:
            slot, slots[cell] = used, used
            used += 1
            sums[slot] = tokens[i]
            counts[slot] = 1
        else:
            total, token = sums[slot], tokens[i]
            for j in range(len(token)):
                total[j] += token[j]
            counts[slot] += 1
    if average:
        for slot in range(used):
            factor, total = np.float32(1) / np.float32(counts[slot]), sums[slot]
            for j in range(len(total)):
                total[j] *= factor
    return used


@kernel
def _nearest(codes, r, n, k, nearest):
    """Write for every cell the token whose own differs in the fewest bits, the first of equals, plus `_STEP` a bit."""
    nearest[:] = _NOBODY
    for i in range(n):
        nearest[codes[i, r]] = min(nearest[codes[i, r]], i)
    for j in range(k):
        bit = 1 << j
        for cell in range(len(nearest)):
            if cell & bit == 0:
                low, high = nearest[cell], nearest[cell | bit]
                nearest[cell], nearest[cell | bit] = min(low, high + _STEP), min(high, low + _STEP)


@kernel
def _put(values, size, scale, start, places, out):
    """Add the block of a cell to an encoding."""
    if len(places) == 0:
        for j in range(size):
            out[start + j] = values[j] * scale
        return
    for j in range(size):
        place = places[start + j]
        out[place >> 1] += values[j] * (scale * np.float32(1 - 2 * (place & 1)))
