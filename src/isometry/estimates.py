"""Means with their uncertainty: bootstrap intervals, paired differences, recall against exact search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isometry.errors import DimensionMismatch, InvalidInput, check_range

RESAMPLES = 10_000
CONFIDENCE = 0.95

_CELLS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Estimate:
    """A mean over queries and the interval that holds it.

    Attributes
    ----------
    mean : float
    low, high : float
        Ends of the bootstrap interval. With one query, or with equal values, both equal the mean: the sample
        then says nothing about the spread.
    n : int
        Number of queries behind the mean.
    """

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def to_dict(self) -> dict[str, Any]:
        """Return the four numbers as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Difference(Estimate):
    """Mean difference of two runs over the same queries.

    Attributes
    ----------
    p_value : float
        Two-sided: how often queries drawn with no true difference would show one at least this large.
    """

    p_value: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}], p = {self.p_value:.4f}"


def bootstrap_mean(
    values: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> Estimate:
    """Estimate a mean with a percentile bootstrap interval.

    Queries are drawn with replacement `resamples` times; the interval is what is left between the two tails of the
    resampled means. It speaks about other queries of the same kind, not about other collections.

    Parameters
    ----------
    values : (n,) float
        One value per query, finite, n >= 1.
    seed : int
        Same values and seed, same interval.
    resamples : int
        At least 100.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Estimate

    Raises
    ------
    InvalidInput
        No values, a value that is NaN or infinite, or a setting out of range.

    Notes
    -----
    Time O(n * resamples), memory bounded (the resampled means and one block of draws).

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    return bootstrap_means([values], seed=seed, resamples=resamples, confidence=confidence)[0]


def bootstrap_means(
    columns: Sequence[ArrayLike], *, seed: int = 0, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> list[Estimate]:
    """Estimate several means over the same queries: what `bootstrap_mean` gives for each, drawing the queries once.

    Parameters
    ----------
    columns : sequence of (n,) float
        One sequence of values per measure, the same query at the same place.
    seed, resamples, confidence
        As for `bootstrap_mean`.

    Raises
    ------
    DimensionMismatch
        The columns differ in length.
    InvalidInput
        As for `bootstrap_mean`.
    """
    checked = [_check(values, "values", resamples, confidence) for values in columns]
    if len({len(x) for x in checked}) > 1:
        raise DimensionMismatch(f"the columns hold {[len(x) for x in checked]} queries; expected the same in each")
    return [
        Estimate(float(x.mean()), *_interval(x, means, confidence), len(x))
        for x, means in zip(checked, _resampled_means(checked, seed, resamples), strict=True)
    ]


def bootstrap_difference(
    values: ArrayLike,
    baseline: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Difference:
    """Estimate ``mean(values - baseline)`` over the same queries, with interval and p-value.

    Pairing removes the spread between easy and hard queries, so it finds differences that two separate intervals
    hide. The p-value comes from the same resampled means, moved to a mean of zero:
    ``(1 + #{|m* - m| >= |m|}) / (resamples + 1)``.

    Parameters
    ----------
    values, baseline : (n,) float
        One value per query, the same query at the same place.
    seed, resamples, confidence
        As for `bootstrap_mean`.

    Returns
    -------
    Difference

    Raises
    ------
    DimensionMismatch
        The two hold different numbers of queries.
    InvalidInput
        As for `bootstrap_mean`.

    References
    ----------
    Sakai, Evaluating Evaluation Metrics based on the Bootstrap, SIGIR 2006 (paired test).
    """
    x = _check(values, "values", resamples, confidence)
    y = _check(baseline, "baseline", resamples, confidence)
    if len(x) != len(y):
        raise DimensionMismatch(
            f"values hold {len(x)} queries and baseline {len(y)}; a paired difference needs the same queries in both"
        )
    gaps = x - y
    (means,) = _resampled_means([gaps], seed, resamples)
    mean = float(gaps.mean())
    # Equal up to rounding counts as "at least as large": two orders of the same sum must not decide a p-value.
    slack = 1e-12 * max(1.0, float(np.abs(gaps).max()))
    p_value = (1 + int(np.count_nonzero(np.abs(means - mean) >= abs(mean) - slack))) / (resamples + 1)
    return Difference(mean, *_interval(gaps, means, confidence), len(gaps), p_value)


def recall_against_exact(
    ids: ArrayLike,
    exact_ids: ArrayLike,
    *,
    scores: ArrayLike | None = None,
    exact_scores: ArrayLike | None = None,
    tolerance: float = 0.0,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Say which share of the exact neighbours an index found: recall@k with its interval.

    Per query ``|found & exact| / |exact|``. Where fewer than k neighbours exist (a filter, a small collection) the
    existing ones are the denominator; queries with none are left out, so `Estimate.n` may be below nq.

    Parameters
    ----------
    ids : (nq, k) int
        What the index returned; -1 is a missing place, an id that is repeated counts once.
    exact_ids : (nq, k') int
        What exact search returned, k' >= 1, same convention.
    scores, exact_scores : (nq, k), (nq, k') float, optional
        *Exact* scores of the same places (higher is better). When both are given, an id whose score reaches the
        worst exact neighbour's score less `tolerance` counts as found: of equally good neighbours any will do.
    tolerance : float
        Absolute, >= 0.
    seed, confidence
        As for `bootstrap_mean`.

    Returns
    -------
    Estimate

    Raises
    ------
    DimensionMismatch
        Shapes do not fit each other.
    InvalidInput
        No query has an exact neighbour, ids are not integers, or only one of the two scores is given.
    """
    found, exact = _check_ids(ids, "ids"), _check_ids(exact_ids, "exact_ids")
    if len(found) != len(exact):
        raise DimensionMismatch(f"ids hold {len(found)} queries and exact_ids {len(exact)}; expected the same queries")
    if (scores is None) != (exact_scores is None):
        raise InvalidInput("only one of scores and exact_scores is given; tie-tolerant recall needs both")
    if not tolerance >= 0:
        raise InvalidInput(f"tolerance is {tolerance!r}; expected a number >= 0")
    existing = _first_of_each(exact)
    wanted = existing.sum(axis=1)
    if not wanted.any():
        raise InvalidInput("no query has an exact neighbour (exact_ids is all -1 or empty), so there is no recall")
    returned = _first_of_each(found)
    hit = returned & _is_member(found, exact)
    if scores is not None and exact_scores is not None:
        got = _check_scores(scores, "scores", found)
        best = _check_scores(exact_scores, "exact_scores", exact)
        worst = np.where(existing, best, np.inf).min(axis=1, initial=np.inf)
        hit |= returned & (got >= worst[:, None] - tolerance)
    asked = wanted > 0
    recall = np.minimum(hit.sum(axis=1)[asked] / wanted[asked], 1.0)
    return bootstrap_mean(recall, seed=seed, confidence=confidence)


def _check(values: ArrayLike, name: str, resamples: int, confidence: float) -> NDArray[np.float64]:
    check_range("resamples", resamples, 100)
    if not 0 < confidence < 1:
        raise InvalidInput(f"confidence is {confidence!r}; expected a number between 0 and 1, such as 0.95")
    try:
        x = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInput(f"{name} can't be read as numbers; expected one number per query") from None
    if x.ndim != 1:
        raise DimensionMismatch(f"{name} has shape {x.shape}; expected one number per query: shape (n,)")
    if not len(x):
        raise InvalidInput(f"{name} is empty; expected the values of at least one query")
    if not np.isfinite(x).all():
        first = int(np.flatnonzero(~np.isfinite(x))[0])
        raise InvalidInput(f"{name} holds {x[first]} at place {first}; expected finite numbers")
    return x


def _interval(x: NDArray[np.float64], means: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return the two quantiles; rounding in the resampled means may not push them beyond the values."""
    tail = (1 - confidence) / 2
    low, high = np.clip(np.quantile(means, [tail, 1 - tail]), x.min(), x.max())
    return float(low), float(high)


def _resampled_means(columns: list[NDArray[np.float64]], seed: int, resamples: int) -> list[NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    means = [np.empty(resamples) for _ in columns]
    n = len(columns[0]) if columns else 1
    for start, stop in _blocks(resamples, max(1, _CELLS_AT_ONCE // n)):
        drawn = random.integers(0, n, size=(stop - start, n), dtype=np.int32)
        for x, found in zip(columns, means, strict=True):
            found[start:stop] = x.take(drawn).mean(axis=1)
    return means


def _blocks(total: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, size):
        yield start, min(total, start + size)


def _check_ids(ids: ArrayLike, name: str) -> NDArray[np.int64]:
    x = np.asarray(ids)
    if x.ndim != 2:
        raise DimensionMismatch(f"{name} has shape {x.shape}; expected (nq, k): one row of ids per query")
    if not np.issubdtype(x.dtype, np.integer):
        raise InvalidInput(f"{name} has dtype {x.dtype}; expected integers (-1 marks a missing place)")
    return x.astype(np.int64, copy=False)


def _check_scores(scores: ArrayLike, name: str, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    x = np.asarray(scores, dtype=np.float64)
    if x.shape != ids.shape:
        raise DimensionMismatch(f"{name} has shape {x.shape}; expected {ids.shape}, the shape of its ids")
    if np.isnan(x[ids >= 0]).any():
        raise InvalidInput(f"{name} holds NaN beside a real id; expected the exact score of each id")
    return x


def _first_of_each(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark, per row, real ids at their first place."""
    order = np.argsort(ids, axis=1, kind="stable")
    ordered = np.take_along_axis(ids, order, axis=1)
    new = np.ones(ids.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty(ids.shape, dtype=bool)
    np.put_along_axis(first, order, new, axis=1)
    return first & (ids >= 0)


def _is_member(ids: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark, per row, ids that occur in the same row of `others`."""
    member = np.empty(ids.shape, dtype=bool)
    cells = max(1, ids.shape[1] * others.shape[1])
    for start, stop in _blocks(len(ids), max(1, _CELLS_AT_ONCE // cells)):
        member[start:stop] = (ids[start:stop, :, None] == others[start:stop, None, :]).any(axis=2)
    return member
