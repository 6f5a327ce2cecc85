"""Ranked lists: the pair of arrays that every search returns, and the one rule of order.

A list is ``(ids, scores)``, shapes ``(nq, k)``, int64 and float32, best first; equal scores are ordered by the smaller
id; places without a hit hold id -1 and score -inf.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MISSING_ID", "MISSING_SCORE", "empty", "rank"]

MISSING_ID = -1
MISSING_SCORE = np.float32(-np.inf)


def empty(nq: int, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return `nq` lists of `k` places without a hit."""
    return np.full((nq, k), MISSING_ID, np.int64), np.full((nq, k), MISSING_SCORE, np.float32)


def rank(
    queries: NDArray[np.int64], ids: NDArray[np.int64], scores: NDArray[np.floating], nq: int, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Put scored (query, id) pairs, in any order, into `nq` lists of the best `k`.

    Parameters
    ----------
    queries, ids, scores : (p,) arrays
        The pairs; no pair occurs twice. Scores are rounded to float32 before they are compared.

    Returns
    -------
    ids : (nq, k) int64
    scores : (nq, k) float32

    Notes
    -----
    O(p log p).
    """
    out_ids, out_scores = empty(nq, k)
    rounded = scores.astype(np.float32)
    if nq == 1:
        order = np.lexsort((ids, -rounded))[:k]
        out_ids[0, : len(order)], out_scores[0, : len(order)] = ids[order], rounded[order]
        return out_ids, out_scores
    order = np.lexsort((ids, -rounded, queries))
    row = queries[order]
    place = np.arange(len(row)) - np.searchsorted(row, np.arange(nq))[row]
    best = place < k
    kept = order[best]
    out_ids[row[best], place[best]] = ids[kept]
    out_scores[row[best], place[best]] = rounded[kept]
    return out_ids, out_scores
