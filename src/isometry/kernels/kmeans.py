r"""k-means in many sub-spaces at once, and the nearest centroid of every vector.

A vector of d dimensions is cut into m sub-vectors, sub-space s holding the columns ``edges[s]`` to ``edges[s + 1]``.
Codebooks are one array (k, d): the k centroids of a sub-space are its columns. The nearest centroid c of x has the
largest :math:`\langle x, c\rangle - |c|^2 / 2`; it is found for four rows at a time, with the centroids side by side in
registers. Of those equally near it is one of the first.

A sub-space is trained by one thread from beginning to end, and a row's codes depend on that row alone: nothing depends
on the number of threads.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.score import inlined
from isometry.kernels.simd import (
    address,
    count_from,
    first_largest,
    fma,
    larger_f32,
    largest_f32,
    load_f32,
    lowest_f32,
    rolled,
    spread_f32,
    where_larger,
)
from isometry.threads import in_threads

__all__ = [
    "LARGEST",
    "assign",
    "cut",
    "decode",
    "fast",
    "products",
    "train",
    "training_rows",
    "unit_scale",
    "widths",
]

_GROUP = 4
_BLOCK_ROWS = 512
LARGEST = np.float32(2.0**60)
"""Values are cut off here, in units of the largest centroid: their squares and sums stay in float32."""
_SMALLEST = 2.0**-100
_NEVER = np.float32(-3e38)
_SEEDS_PER_CENTROID = 16
_ROWS_PER_CENTROID = 64
_COARSE = 4
_FEWEST = 8
_BY_STEP = 3


def cut(d: int, m: int) -> NDArray[np.int64]:
    """Return the m + 1 edges of m sub-spaces of d dimensions, the first d mod m of them wider by one."""
    edges = np.arange(m + 1)
    return d // m * edges + np.minimum(edges, d % m)


def training_rows(
    x: NDArray[np.float32], mean: NDArray[np.float32], most: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], np.float32]:
    """Return at most `most` rows in random order, less `mean` and divided by a power of two, and that power."""
    chosen = x[rng.permutation(len(x))[:most]] - mean
    scale = unit_scale(chosen)
    chosen *= np.float32(1) / scale
    return chosen, scale


def widths(d: int) -> list[int]:
    """Return how many principal components k-means should look at, step by step: few at first, d at last.

    From random rows of many dimensions it ends far from the best.
    """
    steps = [d]
    while steps[0] > _FEWEST:
        steps.insert(0, -(-steps[0] // 2))
    return steps


def unit_scale(values: NDArray[np.floating[Any]]) -> np.float32:
    """Return the least power of two that no value exceeds, at least 2^-100: values over it can be squared."""
    largest = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)), _SMALLEST)
    return np.float32(2.0 ** int(np.ceil(np.log2(largest))))


def train(
    x: NDArray[np.float32],
    edges: NDArray[np.int64],
    k: int,
    *,
    n_iter: int,
    rng: np.random.Generator | None = None,
    start: NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Return codebooks (k, d) that minimise the squared error of the rows of `x`, by Lloyd's iterations.

    Parameters
    ----------
    x : (n, d) float32
        In random order, and not larger than about 1, so that squares are finite.
    edges : (m + 1,) int64
        As `cut` returns.
    k : int
    n_iter : int
        Iterations. Where there are many rows, the first ones look at a quarter of them. Without `start`, a few more
        come before them where sub-spaces are wide, in their leading principal components.
    rng : Generator, optional
        Draws the first centroids, by k-means++.
    start : (k, d) float32, optional
        The first centroids, instead.
    threads : int, optional
        By default all processors.

    Notes
    -----
    A centroid that no row is nearest to moves to the row farthest from its own, in the cluster with the largest error.
    With no more than k different rows, each is a centroid. Costs O(n k d) per iteration.
    """
    m = len(edges) - 1
    draws = None if rng is None else rng.random((m, k))
    out = np.empty((k, x.shape[1]), np.float32)

    def one(s: int) -> None:
        columns = slice(edges[s], edges[s + 1])
        part = np.ascontiguousarray(x[:, columns])
        if start is None:
            assert draws is not None
            first = np.empty((k, part.shape[1]), np.float32)
            _seed(part[: k * _SEEDS_PER_CENTROID], draws[s], first)
        else:
            first = start[:, columns].copy()
        few = part[: max(len(part) // _COARSE, k * _ROWS_PER_CENTROID)] if n_iter > 2 else part
        fine = n_iter // 3 if len(few) < len(part) else 0
        if start is None and part.shape[1] > _FEWEST:
            turn = np.linalg.eigh((few.T @ few).astype(np.float64))[1][:, ::-1].astype(np.float32)
            few, first = np.ascontiguousarray(few @ turn), first @ turn
            for w in widths(part.shape[1])[:-1]:
                _lloyd(few, w, first, _BY_STEP)
            _lloyd(few, part.shape[1], first, n_iter - fine)
            first = np.ascontiguousarray(first @ turn.T)
        else:
            _lloyd(few, part.shape[1], first, n_iter - fine)
        _lloyd(part, part.shape[1], first, fine)
        out[:, columns] = first

    in_threads(one, range(m), threads)
    return out


def assign(
    x: NDArray[np.float32],
    codebooks: NDArray[np.float32],
    edges: NDArray[np.int64],
    mean: NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> NDArray[Any]:
    """Return the codes (n, m) of the rows of `x`, less `mean`: in every sub-space the nearest of k centroids.

    They are bytes for up to 256 centroids, else of 16 bits, for up to 65,536.
    """
    m, n = len(edges) - 1, len(x)
    scale = unit_scale(codebooks)
    across, bias = _across(codebooks / scale, edges)
    origin = np.zeros(x.shape[1], np.float32) if mean is None else mean
    out = np.empty((n, m), np.uint8 if len(codebooks) <= 256 else np.uint16)

    def one(first: int) -> None:
        rows = slice(first, first + _BLOCK_ROWS)
        _assign(x[rows], origin, np.float32(1) / scale, edges, across, bias, out[rows])

    in_threads(one, range(0, n, _BLOCK_ROWS), threads)
    return out


def decode(codes: NDArray[np.uint8], codebooks: NDArray[np.float32], edges: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the centroids (n, d) that codes (n, m) stand for."""
    out = np.empty((len(codes), codebooks.shape[1]), np.float32)
    for s in range(len(edges) - 1):
        columns = slice(edges[s], edges[s + 1])
        out[:, columns] = codebooks[codes[:, s], columns]
    return out


def _across(
    codebooks: NDArray[np.float32], edges: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return centroids as (m, widest, K), and their -|c|^2 / 2 as (m, K): K is k rounded up to 32."""
    m, k = len(edges) - 1, len(codebooks)
    across = np.zeros((m, int(np.diff(edges).max()), -(-k // 32) * 32), np.float32)
    bias = np.full((m, across.shape[2]), _NEVER, np.float32)
    for s in range(m):
        part = codebooks[:, edges[s] : edges[s + 1]]
        across[s, : part.shape[1], :k] = part.T
        bias[s, :k] = -np.square(part).sum(axis=1) / 2
    return across, bias


fast = partial(kernel, fastmath={"nnan", "nsz", "contract"})


@inlined()
def _nearest(x, across, bias, codes, scores):
    """Find for four rows the centroids with the largest <x, c> - |c|^2 / 2; a multiple of 32 of them."""
    w, k = across.shape
    row, line = 4 * w, 4 * k
    values, first_bias, last = address(x), address(bias), address(across)
    number = np.int64(0)
    best_a = best_b = best_c = best_d = lowest_f32()
    code_a = code_b = code_c = code_d = count_from(number)
    for at in range(0, line, 128):
        a0 = b0 = c0 = d0 = load_f32(first_bias + at)
        a1 = b1 = c1 = d1 = load_f32(first_bias + at + 64)
        table = last + at
        for j in range(values, values + row, 4):
            rolled()
            t0, t1 = load_f32(table), load_f32(table + 64)
            table += line
            a, b = spread_f32(j), spread_f32(j + row)
            a0, a1, b0, b1 = fma(a, t0, a0), fma(a, t1, a1), fma(b, t0, b0), fma(b, t1, b1)
            a, b = spread_f32(j + 2 * row), spread_f32(j + 3 * row)
            c0, c1, d0, d1 = fma(a, t0, c0), fma(a, t1, c1), fma(b, t0, d0), fma(b, t1, d1)
        i = count_from(number)
        code_a, best_a = where_larger(a0, best_a, i, code_a), larger_f32(a0, best_a)
        code_b, best_b = where_larger(b0, best_b, i, code_b), larger_f32(b0, best_b)
        code_c, best_c = where_larger(c0, best_c, i, code_c), larger_f32(c0, best_c)
        code_d, best_d = where_larger(d0, best_d, i, code_d), larger_f32(d0, best_d)
        i = count_from(number + 16)
        code_a, best_a = where_larger(a1, best_a, i, code_a), larger_f32(a1, best_a)
        code_b, best_b = where_larger(b1, best_b, i, code_b), larger_f32(b1, best_b)
        code_c, best_c = where_larger(c1, best_c, i, code_c), larger_f32(c1, best_c)
        code_d, best_d = where_larger(d1, best_d, i, code_d), larger_f32(d1, best_d)
        number += 32
    codes[0], codes[1] = first_largest(best_a, code_a), first_largest(best_b, code_b)
    codes[2], codes[3] = first_largest(best_c, code_c), first_largest(best_d, code_d)
    scores[0], scores[1] = largest_f32(best_a), largest_f32(best_b)
    scores[2], scores[3] = largest_f32(best_c), largest_f32(best_d)


@fast
def _assign(x, mean, inverse, edges, across, bias, out):
    n, m = out.shape
    w = across.shape[1]
    four = np.zeros((4, w), np.float32)
    codes, scores = np.empty(4, np.int32), np.empty(4, np.float32)
    for s in range(m):
        start, width = edges[s], edges[s + 1] - edges[s]
        four[:] = 0
        for i in range(0, n, 4):
            for g in range(4):
                row = min(i + g, n - 1)
                for j in range(width):
                    value = (x[row, start + j] - mean[start + j]) * inverse
                    four[g, j] = min(max(value, -LARGEST), LARGEST)
            _nearest(four, across[s], bias[s], codes, scores)
            for g in range(min(4, n - i)):
                out[i + g, s] = codes[g]


@fast
def products(q, across, edges, out):
    """Write the products of queries (nq, d) with the centroids of every sub-space, as columns (d, k), into (nq, m, k).

    Each query is alone in it: its numbers are the same whatever others come with it.
    """
    k = across.shape[1]
    for s in range(len(edges) - 1):
        for i in range(len(q)):
            row = out[i, s]
            row[:] = 0
            for j in range(edges[s], edges[s + 1]):
                value = q[i, j]
                for c in range(k):
                    row[c] += value * across[j, c]


@fast
def _seed(x, draws, out):
    """Draw the first centroids: each with a probability that grows with its distance from those before it."""
    n, w = x.shape
    k = len(out)
    distances = np.full(n, np.float32(3e38), np.float32)
    chosen = min(np.int64(draws[0] * n), n - 1)
    for c in range(k):
        out[c] = x[chosen]
        total = 0.0
        for i in range(n):
            near = np.float32(0)
            for j in range(w):
                near += (x[i, j] - x[chosen, j]) ** 2
            distances[i] = min(distances[i], near)
            total += distances[i]
        if c + 1 < k:
            wanted = draws[c + 1] * total
            chosen, passed = 0, 0.0
            for i in range(n):
                if distances[i] > 0:
                    chosen = i
                    passed += distances[i]
                    if passed > wanted:
                        break


@fast
def _lloyd(x, w, centroids, n_iter):
    """Improve centroids (k, d) in place; the first w dimensions decide which is nearest."""
    n, d = x.shape
    k = len(centroids)
    codes, scores = np.empty(4, np.int32), np.empty(4, np.float32)
    across = np.zeros((w, -(-k // 32) * 32), np.float32)
    bias = np.full(across.shape[1], _NEVER, np.float32)
    four = np.empty((4, w), np.float32)
    sums = np.empty((k, d), np.float64)
    counts = np.empty(k, np.int64)
    errors = np.empty(k, np.float64)
    farthest = np.empty(k, np.int64)
    most = np.empty(k, np.float32)
    for _ in range(n_iter):
        for c in range(k):
            square = np.float32(0)
            for j in range(w):
                across[j, c] = centroids[c, j]
                square += centroids[c, j] ** 2
            bias[c] = -square / 2
        sums[:] = 0
        counts[:] = 0
        errors[:] = 0
        most[:] = 0
        farthest[:] = -1
        for i in range(0, n, 4):
            for g in range(4):
                four[g] = x[min(i + g, n - 1), :w]
            _nearest(four, across, bias, codes, scores)
            for g in range(min(4, n - i)):
                nearest, score = codes[g], scores[g]
                counts[nearest] += 1
                square = np.float32(0)
                for j in range(w):
                    square += four[g, j] ** 2
                for j in range(d):
                    sums[nearest, j] += x[i + g, j]
                error = square - 2 * score
                errors[nearest] += error
                if error > most[nearest]:
                    most[nearest] = error
                    farthest[nearest] = i + g
        for c in range(k):
            if counts[c] > 0:
                for j in range(d):
                    centroids[c, j] = sums[c, j] / counts[c]
        for c in range(k):
            if counts[c] == 0:
                worst = np.argmax(errors)
                if farthest[worst] < 0:
                    break
                centroids[c] = x[farthest[worst]]
                errors[worst] = 0
                farthest[worst] = -1
