"""The counter-example: 2k dimensions rank every set of k documents first, for any number of documents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput, check_choice, check_range
from isometry.evaluation.limit.patterns import all_subsets, check_k

PRECISIONS = ("float64", "float32", "float16", "int8")

_CELLS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Reach:
    """How far a construction goes in one precision.

    Attributes
    ----------
    precision : str
    k : int
    n : int
        Largest n found at which every checked set ranks strictly first.
    margin : float
        Smallest lead at that n, of the exact vectors.
    exhaustive : bool
        All sets were checked at that n, rather than a sample with all runs of neighbours.
    bounded : bool
        The search ended at `most`, not at a failure.
    """

    precision: str
    k: int
    n: int
    margin: float
    exhaustive: bool
    bounded: bool


def moment_curve(n: int, k: int) -> NDArray[np.float64]:
    r"""Place n documents on the trigonometric moment curve.

    Parameters
    ----------
    n, k : int
        1 <= k <= n.

    Returns
    -------
    (n, 2k) float64
        Unit vectors :math:`(\cos t, \sin t, ..., \cos kt, \sin kt) / \sqrt{k}` at :math:`t = 2 \pi i / n`.

    Notes
    -----
    Cyclic polytopes are k-neighbourly: every k points of this curve are the vertices of a face, so some query ranks
    them first (`moment_queries`). Dimension never limits all k-subsets; the lead of the worst document shrinks instead,
    for k = 2 like n^-4.

    References
    ----------
    Gale, Neighborly and cyclic polytopes, 1963; arXiv:2601.20844 for retrieval.
    """
    check_k(k, check_range("n", n, 1))
    angles = 2 * np.pi * np.arange(n)[:, None] / n * np.arange(1, k + 1)
    return np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(n, 2 * k) / math.sqrt(k)


def moment_queries(subsets: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    r"""Return the query that ranks each set of documents of `moment_curve` first.

    The polynomial :math:`\prod_{i \in S} (1 - \cos(t - t_i))` is positive except on S, where it is 0; minus its Fourier
    coefficients, without the constant, are the query.

    Parameters
    ----------
    subsets : (m, k) int
    n : int

    Returns
    -------
    (m, 2k) float64
        Unit vectors.
    """
    m, k = subsets.shape
    tail = _polynomials(subsets, n)[:, k + 1 :]
    queries = -np.stack([2 * tail.real, -2 * tail.imag], axis=2).reshape(m, 2 * k)
    return np.asarray(queries / np.linalg.norm(queries, axis=1, keepdims=True))


def moment_margin(n: int, k: int) -> float:
    """Return the lead of the relevant over the nearest other document, smallest over all sets of k: in closed form.

    Every set can be turned so that it holds document 0, and its nearest rival is a neighbour of a member, so the
    products of `moment_queries` are evaluated there without cancellation. O(C(n - 1, k - 1) k^2).
    """
    check_k(k, check_range("n", n, 1))
    if k == n:
        return 2.0
    _check_sets(n, k)
    rest = all_subsets(n - 1, k - 1) + 1 if k > 1 else np.zeros((1, 0), np.int64)
    subsets = np.concatenate([np.zeros((len(rest), 1), np.int64), rest], axis=1)
    least = np.inf
    for first in range(0, len(subsets), 1 << 16):
        block = subsets[first : first + (1 << 16)]
        rivals = np.concatenate([block - 1, block + 1], axis=1) % n
        inside = (rivals[:, :, None] == block[:, None, :]).any(axis=2)
        heights = (2 * np.sin(np.pi * (rivals[:, :, None] - block[:, None, :]) / n) ** 2).prod(axis=2)
        lowest = np.where(inside, np.inf, heights).min(axis=1)
        least = min(least, float((lowest / (2 * np.linalg.norm(_polynomials(block, n)[:, k + 1 :], axis=1))).min()))
    return least / math.sqrt(k)


def moment_reach(k: int, precision: str = "float32", *, most: int = 1_000, sample: int = 4_000, seed: int = 0) -> Reach:
    """Find how many documents the construction ranks when vectors are stored in a given precision.

    Parameters
    ----------
    k : int
    precision : {"float64", "float32", "float16", "int8"}
        Scores are added up in float64, float32, float32 and int32. int8 scales each vector by its largest coordinate
        to -127 ... 127.
    most : int
        Do not look further.
    sample : int
        Sets drawn at random, beside all runs of k neighbours, where there are too many to check all.
    seed : int

    Returns
    -------
    Reach

    Notes
    -----
    Doubles n until a set fails, then halves the bracket, as though larger n were never easier.
    """
    check_range("k", k, 1)
    check_choice("precision", precision, PRECISIONS)
    _check_sets(check_range("most", most, k + 1), k)
    low, high = k, k + 1
    while high <= most and _all_first(high, k, precision, sample, seed):
        low, high = high, min(2 * high, most) if high < most else most + 1
    bounded = low == most
    while high - low > 1 and not bounded:
        middle = (low + high) // 2
        low, high = (middle, high) if _all_first(middle, k, precision, sample, seed) else (low, middle)
    return Reach(precision, k, low, moment_margin(low, k), _is_small(low, k), bounded)


def _all_first(n: int, k: int, precision: str, sample: int, seed: int) -> bool:
    documents = _stored(moment_curve(n, k), precision)
    subsets = all_subsets(n, k) if _is_small(n, k) else _some_subsets(n, k, sample, seed)
    rows = max(1, _CELLS_AT_ONCE // n)
    for first in range(0, len(subsets), rows):
        block = subsets[first : first + rows]
        scores = _stored(moment_queries(block, n), precision) @ documents.T
        worst = np.take_along_axis(scores, block, axis=1).min(axis=1)
        others = scores.astype(np.float64)
        np.put_along_axis(others, block, -np.inf, axis=1)
        if not (worst > others.max(axis=1)).all():
            return False
    return True


def _stored(x: NDArray[np.float64], precision: str) -> NDArray[Any]:
    """Round to the precision, and return in the type that scores are added up in."""
    if precision == "int8":
        return np.rint(x / np.abs(x).max(axis=1, keepdims=True) * 127).astype(np.int32)
    return x.astype(precision).astype(np.float64 if precision == "float64" else np.float32)


def _is_small(n: int, k: int) -> bool:
    return math.comb(n, k) * n <= 3 * _CELLS_AT_ONCE


def _some_subsets(n: int, k: int, sample: int, seed: int) -> NDArray[np.int64]:
    random = np.random.default_rng([seed, n, k])
    runs = (np.arange(n)[:, None] + np.arange(k)) % n
    drawn = np.stack([random.choice(n, k, replace=False) for _ in range(sample)])
    return np.sort(np.concatenate([runs, drawn]), axis=1)


def _polynomials(subsets: NDArray[np.int64], n: int) -> NDArray[np.complex128]:
    """Return the Fourier coefficients, -k to k, of the polynomial of each set."""
    m, k = subsets.shape
    coefficients = np.zeros((m, 2 * k + 1), np.complex128)
    coefficients[:, k] = 1
    for turn in np.exp(2j * np.pi * subsets.T / n):
        # 1 - cos(t - a) = 1 - (e^{it} e^{-ia} + e^{-it} e^{ia}) / 2
        up, down = np.roll(coefficients, 1, axis=1), np.roll(coefficients, -1, axis=1)
        coefficients = coefficients - (up * turn.conj()[:, None] + down * turn[:, None]) / 2
    return coefficients


def _check_sets(n: int, k: int) -> None:
    if math.comb(n - 1, k - 1) > 1 << 26:
        raise InvalidInput(f"n is {n:,} and k is {k}: {math.comb(n - 1, k - 1):,} sets; expected at most {1 << 26:,}")
