"""How many dimensions a projection must keep, measured on what it was not learned from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.project import project

__all__ = ["FEWEST_ROWS", "sufficient_components"]

FEWEST_ROWS = 1000
"""Among fewer rows the 50 best are too large a part to tell anything."""
_MOST_ROWS = 50_000
_STEP = 16
_WANTED, _OF, _RECALL = 10, 50, 0.98
_QUERIES = 100


def sufficient_components(
    a: NDArray[np.float32], b: NDArray[np.float32], x: NDArray[np.float32], queries: NDArray[np.float32]
) -> int:
    """Return the least multiple of 16 at which the 50 best by projection hold 98 % of the 10 best, at most D.

    Parameters
    ----------
    a, b : (D, D) float32
        A complete pair, its directions ordered by importance: the first d rows are the pair for d.
    x : (n, D) float32
        n >= `FEWEST_ROWS`; the first 50,000 are searched.
    queries : (m, D) float32

    Notes
    -----
    Recall is taken to grow with d, which bisection needs: about log2(D / 16) exhaustive searches.
    """
    x = x[:_MOST_ROWS]
    best = np.concatenate([np.argpartition(-(part @ x.T), _WANTED, axis=1)[:, :_WANTED] for part in _parts(queries)])
    short_x, short_q = project(x, b), project(queries, a)
    low, high = 1, -(-len(b) // _STEP)
    while low < high:
        middle = (low + high) // 2
        if _recall(short_x[:, : middle * _STEP], short_q[:, : middle * _STEP], best) >= _RECALL:
            high = middle
        else:
            low = middle + 1
    return min(high * _STEP, len(b))


def _recall(x: NDArray[np.float32], queries: NDArray[np.float32], best: NDArray[np.intp]) -> float:
    """Return the share of `best` among the 50 rows that score highest."""
    found = 0
    for part, wanted in zip(_parts(queries), _parts(best), strict=True):
        scores = part @ x.T
        least = np.partition(scores, -_OF, axis=1)[:, -_OF, None]
        found += int((np.take_along_axis(scores, wanted, axis=1) >= least).sum())
    return found / best.size


def _parts(rows: NDArray) -> list[NDArray]:
    return [rows[start : start + _QUERIES] for start in range(0, len(rows), _QUERIES)]
