"""The parts of an exact scan: all inner products of a block of rows, and who is still in the running."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isometry.indexes import threads as cpu

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Contenders", "block_rows", "products"]

_SCORES = 2**20
_SCRATCH_BYTES = 2**21
_BYTES_PER_THREAD = 2**22
_GEMM_FROM_QUERIES = 8
_GEMM_BELOW_DIM = 48
_LOWEST = np.finfo(np.float32).min


def block_rows(n_queries: int, dim: int, gathered: bool) -> int:
    """Return how many rows to scan at a time: about a million scores; fewer where the rows must be copied first."""
    rows = _SCORES // n_queries
    if gathered and n_queries >= _GEMM_FROM_QUERIES:
        rows = min(rows, 4 * _SCRATCH_BYTES // (4 * dim))
    return max(rows, 256)


def products(
    rows: Callable[[int, int], NDArray[np.float32]],
    count: int,
    queries: NDArray[np.float32],
    threads: int | None,
    contiguous: bool,
) -> NDArray[np.float32]:
    """Return the inner products of `count` rows with some queries, shape (count, nq).

    Parameters
    ----------
    rows : callable
        ``rows(start, stop)`` returns those rows, (stop - start, d) float32.
    contiguous : bool
        Whether `rows` returns views, so that asking for many rows at once costs nothing.

    Notes
    -----
    A matrix product pays from about eight queries on. For fewer, BLAS's matrix-vector product reads memory at half
    speed where one dot product per row reads it at full speed; so that is what is done, the rows split over threads.
    """
    nq, dim = queries.shape
    out = np.empty((count, nq), np.float32)
    if nq >= _GEMM_FROM_QUERIES or dim < _GEMM_BELOW_DIM:
        with cpu.at_most(threads):
            np.matmul(rows(0, count), queries.T, out=out)
        return out
    step = count if contiguous and nq == 1 else max(1, _SCRATCH_BYTES // 4 // (4 * dim))

    def fill(first: int, last: int) -> None:
        for start in range(first, last, step):
            stop = min(start + step, last)
            np.vecdot(rows(start, stop)[:, None], queries, out=out[start:stop])

    workers = min(threads or cpu.available(), cpu.available(), count * dim * 4 // _BYTES_PER_THREAD)
    if workers <= 1:
        fill(0, count)
    else:
        edges = [count * i // workers for i in range(workers + 1)]
        with ThreadPoolExecutor(workers - 1) as pool:
            others = [pool.submit(fill, *pair) for pair in pairwise(edges[1:])]
            fill(edges[0], edges[1])
            for other in others:
                other.result()
    return out


class Contenders:
    """The (query, id) pairs that may be among the k best, given scores that may be off by `error`.

    Parameters
    ----------
    nq, k : int
    error : (nq,) float
        Bound on the error of a score.

    Notes
    -----
    The k-th best score so far is bounded from below without sorting: a block is cut into groups, and k groups whose
    best reaches some value hold at least k rows that reach it.
    """

    def __init__(self, nq: int, k: int, error: NDArray[np.float64]) -> None:
        self._nq = nq
        self._best = np.full((k, nq), -np.inf, np.float32)
        self._margin = 2 * error
        self._pairs: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self.count = 0

    def offer(self, ids: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Take note of a block of rows, scores (len(ids), nq); -inf marks rows that must not be found."""
        self._raise_best(scores)
        hits = np.flatnonzero(scores >= self._threshold())
        rows, queries = (hits, np.zeros_like(hits)) if self._nq == 1 else np.divmod(hits, self._nq)
        self._pairs.append((queries, ids[rows], scores.ravel()[hits]))
        self.count += len(hits)

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return queries and ids of those that are still in the running."""
        queries, ids, scores = (np.concatenate(column) for column in zip(*self._pairs, strict=True))
        if len(self._pairs) > 1:
            kept = scores >= self._threshold()[queries]
            queries, ids, scores = queries[kept], ids[kept], scores[kept]
        self._pairs = [(queries, ids, scores)]
        self.count = len(ids)
        return queries, ids

    def settle(self, ids: NDArray[np.int64]) -> None:
        """Replace everything by `ids`, (nq, k), the exact best of all rows so far; -1 marks no row."""
        queries, places = np.nonzero(ids >= 0)
        always = np.full(len(queries), np.inf, np.float32)
        self._pairs = [(queries, ids[queries, places], always)]
        self.count = len(queries)

    def _threshold(self) -> NDArray[np.float32]:
        # Rounding to float32 is far below the margin.
        return np.maximum(self._best[0] - self._margin, _LOWEST).astype(np.float32)

    def _raise_best(self, scores: NDArray[np.float32]) -> None:
        k = len(self._best)
        groups = max(256, 4 * k)
        width = len(scores) // groups
        if width >= 4:
            grouped = scores[: width * groups].reshape(width, groups, self._nq).max(axis=0)
            scores = np.concatenate([grouped, scores[width * groups :]])
        merged = np.concatenate([self._best, scores])
        self._best = np.partition(merged, len(merged) - k, axis=0)[-k:]
