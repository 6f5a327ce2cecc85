r"""Vectors as sums of codewords, one of each of M codebooks: finding the codes, and codewords that suit them.

The error :math:`|x - \sum_t c_t|^2` is, up to :math:`|x|^2`, minus the sum of :math:`2\langle x, c_t\rangle - |c_t|^2`
and of :math:`-2\langle c_s, c_t\rangle` over pairs s < t. With all products of codewords in a table, codes are searched
by adding up numbers; no remainder of a vector is ever computed. Beam search keeps the best few beginnings; then each
code in turn is replaced by the best one, given the others.

A row's codes depend on that row alone, and nothing on the number of threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.kmeans import LARGEST, fast, unit_scale, widths
from isometry.kernels.score import inlined
from isometry.kernels.simd import add_f32, address, fma, largest_f32, load_f32, rolled, spread_f32, store_f32, zero_f32
from isometry.threads import in_threads

__all__ = ["Tables", "encode", "products", "suited", "sums", "tables_of", "train"]

_LANES = 32
_BLOCK_ROWS = 64
_COLUMNS = 32
_POLISH = 3
_SWEEPS = 4
_ITERATIONS = 4
_ROWS_PER_CENTROID = 64


class Tables(NamedTuple):
    r"""What searching for codes needs of codebooks (M, k, d).

    Attributes
    ----------
    tiles : (ceil(M k / 32), d, 32) float32
        The codewords, divided by `scale`, 32 of them side by side.
    norms : (M, k) float32
        :math:`-|c|^2`
    pairs : (M k, M k) float32
        :math:`-2\langle c, c'\rangle`
    scale : float32
    """

    tiles: NDArray[np.float32]
    norms: NDArray[np.float32]
    pairs: NDArray[np.float32]
    scale: np.float32


def tables_of(codebooks: NDArray[np.float32], threads: int | None = None) -> Tables:
    """Return what `encode` needs of codebooks (M, k, d): O((M k)^2 d) time, 4 (M k)^2 bytes."""
    m, k, d = codebooks.shape
    scale = unit_scale(codebooks)
    words = (codebooks / scale).reshape(m * k, d)
    tiles = _tiles(words)
    pairs = np.empty((m * k, m * k), np.float32)

    def one(first: int) -> None:
        rows = slice(first, first + _BLOCK_ROWS)
        products(words[rows], tiles, pairs[rows])
        pairs[rows] *= np.float32(-2)

    in_threads(one, range(0, m * k, _BLOCK_ROWS), threads)
    norms = -np.square(words).sum(axis=1, dtype=np.float64).astype(np.float32)
    return Tables(tiles, norms.reshape(m, k), pairs, scale)


def encode(
    x: NDArray[np.float32],
    tables: Tables,
    beam: int,
    mean: NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """Return codes (n, M) whose codewords add up to the rows of `x`, less `mean`, as nearly as the search finds.

    Costs O(M k (d + `beam` M)) per row.
    """
    n = len(x)
    m, k = tables.norms.shape
    origin = np.zeros(x.shape[1], np.float32) if mean is None else mean
    inverse = np.float32(1) / tables.scale
    out = np.empty((n, m), np.uint8)

    def one(first: int) -> None:
        rows = slice(first, first + _BLOCK_ROWS)
        part = np.clip((x[rows] - origin) * inverse, -LARGEST, LARGEST)
        gains = np.empty((len(part), m * k), np.float32)
        products(part, tables.tiles, gains)
        gains *= np.float32(2)
        gains += tables.norms.ravel()
        _search(gains.reshape(-1, m, k), tables.pairs, beam, out[rows])

    with np.errstate(over="ignore"):
        in_threads(one, range(0, n, _BLOCK_ROWS), threads)
    return out


def sums(codes: NDArray[np.uint8], codebooks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums (n, d) of the codewords that codes (n, M) choose, added in order."""
    out = codebooks[0][codes[:, 0]]
    for t in range(1, len(codebooks)):
        out += codebooks[t][codes[:, t]]
    return out


def train(
    x: NDArray[np.float32],
    m: int,
    k: int,
    *,
    beam: int,
    n_rounds: int,
    rng: np.random.Generator,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Return codebooks (m, k, d) that suit the rows of `x`, which come in random order and are not larger than about 1.

    First one codebook after the other by k-means on what those before leave over, then `n_rounds` times codes for all
    of them together and codewords for these codes.
    """
    rest = x.copy()
    codebooks = np.zeros((m, k, x.shape[1]), np.float32)
    for t in range(m):
        codebooks[t] = _clustered(rest, k, rng, threads)
        codes = _nearest(rest, codebooks[t], threads)
        rest -= codebooks[t][codes]
    for _ in range(n_rounds):
        codebooks = suited(x, encode(x, tables_of(codebooks, threads), beam, threads=threads), codebooks, threads)
    return codebooks


def suited(
    x: NDArray[np.float32], codes: NDArray[np.uint8], codebooks: NDArray[np.float32], threads: int | None = None
) -> NDArray[np.float32]:
    """Return codebooks whose sums are nearer to the rows of `x` for given codes: least squares, by a few sweeps."""
    out = codebooks.copy()
    rest = x - sums(codes, codebooks)

    def one(first: int) -> None:
        columns = slice(first, first + _COLUMNS)
        words, part = np.ascontiguousarray(out[:, :, columns]), np.ascontiguousarray(rest[:, columns])
        _sweep(part, codes, words, _SWEEPS)
        out[:, :, columns] = words

    in_threads(one, range(0, x.shape[1], _COLUMNS), threads)
    return out


def _clustered(x: NDArray[np.float32], k: int, rng: np.random.Generator, threads: int | None) -> NDArray[np.float32]:
    """Return k centroids of rows, by Lloyd's iterations on some of them.

    From random rows of many dimensions they end far from the best. So they begin with the leading principal components,
    and more are looked at step by step.
    """
    some = np.ascontiguousarray(x[: k * _ROWS_PER_CENTROID])
    different = np.unique(some.view(f"V{some.strides[0]}")[:, 0], return_index=True)[1]
    chosen = rng.permutation(np.sort(different))[:k]
    directions = np.linalg.eigh((some.T @ some).astype(np.float64))[1][:, ::-1].astype(np.float32)
    turned = some @ directions
    centroids = np.zeros((k, x.shape[1]), np.float32)
    centroids[: len(chosen)] = some[chosen]
    if len(different) > k:
        looked = np.zeros_like(centroids)
        looked[: len(chosen)] = turned[chosen]
        for w in widths(x.shape[1]):
            part = np.ascontiguousarray(turned[:, :w])
            for _ in range(_ITERATIONS):
                _move(turned, _nearest(part, np.ascontiguousarray(looked[:, :w]), threads), looked)
        centroids = looked @ directions.T
    return centroids


def _nearest(x: NDArray[np.float32], centroids: NDArray[np.float32], threads: int | None) -> NDArray[np.intp]:
    tiles = _tiles(centroids)
    half = np.square(centroids).sum(axis=1) / 2
    out = np.empty(len(x), np.intp)

    def one(first: int) -> None:
        part = x[first : first + _BLOCK_ROWS]
        gains = np.empty((len(part), len(centroids)), np.float32)
        products(part, tiles, gains)
        out[first : first + _BLOCK_ROWS] = (gains - half).argmax(axis=1)

    in_threads(one, range(0, len(x), _BLOCK_ROWS), threads)
    return out


def _tiles(words: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows (n, d) as (ceil(n / 32), d, 32), filled up with zeros."""
    n, d = words.shape
    whole = np.zeros((-(-n // _LANES) * _LANES, d), np.float32)
    whole[:n] = words
    return np.ascontiguousarray(whole.reshape(-1, _LANES, d).transpose(0, 2, 1))


@fast
def products(x, tiles, out):
    """Write the products of rows (n, d) with the words that `tiles` holds: (n, number of words)."""
    n, d = x.shape
    words = out.shape[1]
    row = 4 * d
    four = np.empty((4, d), np.float32)
    found = np.empty((4, 32), np.float32)
    values, to = address(four), address(found)
    copies = np.empty((-(-n // 4), 4, d), np.float32)
    for i in range(4 * len(copies)):
        copies[i // 4, i % 4] = x[min(i, n - 1)]
    for tile in range(len(tiles)):
        for i in range(len(copies)):
            values = address(copies[i])
            at = address(tiles[tile])
            a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = zero_f32()
            for j in range(values, values + row, 4):
                rolled()
                t0, t1 = load_f32(at), load_f32(at + 64)
                at += 128
                a, b = spread_f32(j), spread_f32(j + row)
                a0, a1, b0, b1 = fma(a, t0, a0), fma(a, t1, a1), fma(b, t0, b0), fma(b, t1, b1)
                a, b = spread_f32(j + 2 * row), spread_f32(j + 3 * row)
                c0, c1, d0, d1 = fma(a, t0, c0), fma(a, t1, c1), fma(b, t0, d0), fma(b, t1, d1)
            store_f32(to, a0)
            store_f32(to + 64, a1)
            store_f32(to + 128, b0)
            store_f32(to + 192, b1)
            store_f32(to + 256, c0)
            store_f32(to + 320, c1)
            store_f32(to + 384, d0)
            store_f32(to + 448, d1)
            for g in range(min(4, n - 4 * i)):
                for c in range(min(32, words - 32 * tile)):
                    out[4 * i + g, 32 * tile + c] = found[g, c]


@inlined()
def _totals(gains, pairs, codes, first, stop, t, out):
    """Write for all codes of codebook t what they gain beside those of codebooks `first` to `stop`, t left out."""
    k = len(out)
    base, table, to, line = address(gains[t]), address(pairs) + 4 * t * k, address(out), 4 * pairs.shape[1]
    for c in range(0, 4 * k, 64):
        total = load_f32(base + c)
        for s in range(first, stop):
            if s != t:
                total = add_f32(total, load_f32(table + line * (s * k + codes[s]) + c))
        store_f32(to + c, total)


@fast
def _search(gains, pairs, beam, out):
    """Write the best codes (n, M) found for rows whose gains by one codeword are given (n, M, k)."""
    n, m, k = gains.shape
    totals = np.empty(k, np.float32)
    beginnings, longer = np.zeros((beam, m), np.int64), np.zeros((beam, m), np.int64)
    scores, best = np.empty(beam, np.float32), np.empty(beam, np.float32)
    parents, codes = np.empty(beam, np.int64), np.empty(beam, np.int64)
    at = address(totals)
    for i in range(n):
        scores[0] = 0
        kept = 1
        for t in range(m):
            found = 0
            for h in range(kept):
                _totals(gains[i], pairs, beginnings[h], 0, t, t, totals)
                for c in range(0, k, 16):
                    if found == beam and scores[h] + largest_f32(load_f32(at + 4 * c)) <= best[beam - 1]:
                        continue
                    for code in range(c, c + 16):
                        score = scores[h] + totals[code]
                        if found < beam or score > best[beam - 1]:
                            place = min(found, beam - 1)
                            while place > 0 and best[place - 1] < score:
                                best[place] = best[place - 1]
                                parents[place] = parents[place - 1]
                                codes[place] = codes[place - 1]
                                place -= 1
                            best[place], parents[place], codes[place] = score, h, code
                            found = min(found + 1, beam)
            for h in range(found):
                longer[h, :t] = beginnings[parents[h], :t]
                longer[h, t] = codes[h]
                scores[h] = best[h]
            beginnings, longer = longer, beginnings
            kept = found
        chosen = beginnings[0]
        for _ in range(_POLISH):
            changed = False
            for t in range(m):
                _totals(gains[i], pairs, chosen, 0, m, t, totals)
                code = chosen[t]
                for c in range(k):
                    if totals[c] > totals[code]:
                        code = c
                changed |= code != chosen[t]
                chosen[t] = code
            if not changed:
                break
        for t in range(m):
            out[i, t] = chosen[t]


@kernel
def _sweep(rest, codes, words, n_sweeps):
    """Move the words of one codebook after another by the mean of what their rows lack; `rest` follows."""
    n, w = rest.shape
    m, k = words.shape[:2]
    moves = np.empty((k, w), np.float64)
    counts = np.empty(k, np.int64)
    for _ in range(n_sweeps):
        for t in range(m):
            moves[:] = 0
            counts[:] = 0
            for i in range(n):
                code = codes[i, t]
                counts[code] += 1
                for j in range(w):
                    moves[code, j] += rest[i, j]
            for c in range(k):
                if counts[c] > 0:
                    for j in range(w):
                        moves[c, j] /= counts[c]
                        words[t, c, j] += moves[c, j]
            for i in range(n):
                code = codes[i, t]
                for j in range(w):
                    rest[i, j] -= moves[code, j]


@kernel
def _move(x, codes, centroids):
    """Move centroids to the mean of their rows; one without rows goes to a row of the largest cluster."""
    n, w = x.shape
    k = len(centroids)
    totals = np.zeros((k, w), np.float64)
    counts = np.zeros(k, np.int64)
    last = np.zeros(k, np.int64)
    for i in range(n):
        code = codes[i]
        counts[code] += 1
        last[code] = i
        for j in range(w):
            totals[code, j] += x[i, j]
    for c in range(k):
        if counts[c] > 0:
            for j in range(w):
                centroids[c, j] = totals[c, j] / counts[c]
    for c in range(k):
        if counts[c] == 0:
            largest = np.argmax(counts)
            centroids[c] = x[last[largest]]
            counts[largest] -= counts[largest] // 2
