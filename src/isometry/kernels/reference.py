"""What the kernels compute, in NumPy: slow, short, and easy to be sure of. Tests compare the kernels with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.rows import (
    BitRows,
    ByteRows,
    NibbleRows,
    PlaneRows,
    Rows,
    SignedByteRows,
    SignedNibbleRows,
    values_of,
)

__all__ = ["prune", "quantise", "score", "score_fine", "walk"]

Floats = NDArray[np.floating]


def quantise(query: NDArray[np.float32]) -> tuple[NDArray[np.int8], np.float32]:
    """Return a query (d,) as signed bytes and their scale: the query is about ``scale * codes``, whole ones exactly."""
    sizes = np.abs(query[query != 0])
    if len(sizes) and sizes.max() < np.float32(127.5) * sizes.min():
        multiples = query / sizes.min()
        if (np.abs(multiples - np.rint(multiples)) < 1e-4).all():
            return np.rint(multiples).astype(np.int8), np.float32(sizes.min())
    scale = np.abs(query).max(initial=0) / np.float32(127)
    inverse = np.float32(1) / scale if scale > np.float32(1e-36) else np.float32(0)
    return np.rint(query * inverse).astype(np.int8), np.float32(scale)


def score(rows: Rows, query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the products of a query (d,) with all rows, codes of one level times the query as bytes."""
    if not isinstance(rows, BitRows | ByteRows | NibbleRows | PlaneRows | SignedByteRows | SignedNibbleRows):
        return score_fine(rows, query)
    codes, scale = quantise(query)
    return score_fine(rows, codes.astype(np.float32)) * float(scale)


def score_fine(rows: Rows, query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the products of a query (d,) with the values of all rows."""
    return values_of(rows, len(query)).astype(np.float64) @ query.astype(np.float64)


def walk(graph: NDArray[np.int32], entries: Sequence[int], ranks: Floats, width: int) -> tuple[list[int], list[int]]:
    """Return the beam of a best-first search, best first, and the slots whose neighbours were looked at, in order.

    Parameters
    ----------
    graph : (n, degree) int32
    entries : sequence of int
    ranks : (n,) float
        What the query thinks of each slot; no two equal.
    width : int
        Entries of the beam.
    """
    seen = set(entries)
    beam = sorted(seen, key=lambda slot: -ranks[slot])[:width]
    opened: list[int] = []
    while fresh := [slot for slot in beam if slot not in opened]:
        opened.append(fresh[0])
        new = {slot for slot in graph[fresh[0]].tolist() if slot >= 0} - seen
        seen.update(new)
        beam = sorted([*beam, *new], key=lambda slot: -ranks[slot])[:width]
    return beam, opened


def prune(
    candidates: Sequence[int], gap: Callable[[int, int], float], slot: int, alpha: float, degree: int
) -> list[int]:
    """Return the neighbours that robust prune leaves of candidates for a slot (DiskANN, algorithm 2).

    `gap` is the squared distance of two slots, in any unit.
    """
    left = sorted(candidates, key=lambda other: gap(slot, other))
    kept: list[int] = []
    while left and len(kept) < degree:
        nearest = left.pop(0)
        kept.append(nearest)
        left = [other for other in left if alpha * gap(nearest, other) > gap(slot, other)]
    return kept
