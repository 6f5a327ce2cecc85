"""The parts of an exact scan: all inner products of a block of rows, and who is still in the running."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isometry.threads import processors

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Contenders", "block_rows", "products"]

_SCORES = 2**20
_PIECE_BYTES = 2**19
_BYTES_PER_THREAD = 2**24
_DOT_UP_TO_QUERIES = 3
_DOT_FROM_DIM = 64
_SMALL_PRODUCT = 2**18
_SMALL_ROWS = 16
_SMALL_QUERIES = 32
_LOWEST = np.finfo(np.float32).min


def block_rows(n_queries: int) -> int:
    """Return how many rows to score before looking at the scores: about a million scores."""
    return max(_SCORES // n_queries, 256)


def products(
    rows: Callable[[int, int], NDArray[np.float32]], count: int, queries: NDArray[np.float32], threads: int | None
) -> NDArray[np.float32]:
    """Return the inner products of `count` rows with some queries, shape (count, nq).

    Parameters
    ----------
    rows : callable
        ``rows(start, stop)`` returns those rows, (stop - start, d) float32.
    count : int
    queries : (nq, d) float32
    threads : int, optional
        At most this many; by default all processors.

    Notes
    -----
    The work is cut into products that a BLAS does on one thread, and so small that they need no packing; our own
    threads share them. That honours `threads` without touching the process-wide setting of the BLAS, and is as fast as
    one large product or faster. For one to three queries, a dot product per row reads memory at full speed, which
    matrix-vector products do not.
    """
    nq, dim = queries.shape
    out = np.empty((count, nq), np.float32)
    multiply = _dots if nq <= _DOT_UP_TO_QUERIES and dim >= _DOT_FROM_DIM else _small_products
    # Several queries share a piece while it is in the cache; one query only wants few calls.
    piece_bytes = _PIECE_BYTES if nq > 1 else 8 * _PIECE_BYTES
    piece = max(_SMALL_ROWS, piece_bytes // (4 * dim) // _SMALL_ROWS * _SMALL_ROWS)

    def fill(first: int, last: int) -> None:
        for start in range(first, last, piece):
            stop = min(start + piece, last)
            multiply(rows(start, stop), queries, out[start:stop])

    workers = count * dim * 4 * nq // _BYTES_PER_THREAD
    if workers > 1:
        workers = min(workers, threads or processors(), processors())
    if workers <= 1:
        fill(0, count)
        return out
    edges = [count * i // workers for i in range(workers + 1)]
    with ThreadPoolExecutor(workers - 1) as pool:
        others = [pool.submit(fill, *edge) for edge in pairwise(edges[1:])]
        fill(edges[0], edges[1])
        for other in others:
            other.result()
    return out


def _dots(x: NDArray[np.float32], queries: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    np.vecdot(x[:, None], queries, out=out)


def _small_products(x: NDArray[np.float32], queries: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    dim = x.shape[1]
    some = min(_SMALL_QUERIES, max(1, _SMALL_PRODUCT // dim))
    rows = min(_SMALL_ROWS, max(1, _SMALL_PRODUCT // (some * dim)))
    whole = len(x) // rows * rows
    stack = x[:whole].reshape(-1, rows, dim)
    for start in range(0, len(queries), some):
        part = slice(start, start + some)
        np.matmul(stack, queries[part].T, out=out[:whole, part].reshape(-1, rows, len(queries[part]), copy=False))
        np.matmul(x[whole:], queries[part].T, out=out[whole:, part])


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

    def offer(self, scores: NDArray[np.float32], ids: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> None:
        """Take note of a block of rows, scores (rows, nq); -inf marks rows that must not be found."""
        self._raise_best(scores)
        hits = np.flatnonzero(scores >= self._threshold())
        rows, queries = (hits, np.zeros_like(hits)) if self._nq == 1 else np.divmod(hits, self._nq)
        self._pairs.append((queries, ids(rows), scores.ravel()[hits]))
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
        groups = max(128, 4 * k)
        width = len(scores) // groups
        if width >= 4:
            grouped = scores[: width * groups].reshape(width, groups, self._nq).max(axis=0)
            scores = np.concatenate([grouped, scores[width * groups :]])
        merged = np.concatenate([self._best, scores])
        self._best = np.partition(merged, len(merged) - k, axis=0)[-k:]
