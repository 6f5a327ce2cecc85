"""Critical n: how many documents an optimiser can place so that every set of k of them is some query's top k."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.errors import check_range
from isometry.evaluation.limit.free import DEFAULT_MEMORY, Fit, Progress, check_memory, fit_embeddings
from isometry.evaluation.limit.patterns import all_subsets

PAPER = {
    4: 10,
    5: 14,
    6: 19,
    7: 24,
    8: 28,
    9: 32,
    10: 36,
    11: 42,
    12: 47,
    16: 79,
    20: 120,
    24: 170,
    28: 229,
    32: 296,
    36: 372,
    40: 460,
    45: 626,
}
"""Table 6 of the paper: dimension to critical n, for k = 2."""


@dataclass(frozen=True)
class Critical:
    """The largest n that was solved, per seed.

    Attributes
    ----------
    dim, k : int
    values : tuple of int
        One per seed; k where nothing larger was solved.
    attempts : dict of int to tuple of str
        By n: why the fit of each seed ended.
    """

    dim: int
    k: int
    values: tuple[int, ...]
    attempts: dict[int, tuple[str, ...]]

    @property
    def median(self) -> float:
        """Median over the seeds."""
        return float(np.median(self.values))


def critical_n(
    dim: int,
    *,
    k: int = 2,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    start: int | None = None,
    sweep: tuple[int, int] = (-4, 5),
    memory_bytes: int = DEFAULT_MEMORY,
    progress: Progress | None = None,
    **settings: Any,
) -> Critical:
    """Find the largest n for which free embeddings rank all k-subsets of n documents, as the paper does.

    Per seed: gallop from `start` in steps of 1, 2, 4 ..., halve the bracket, then try every n of a window around what
    was found; the largest n that was solved anywhere counts. All seeds are tried together at each n.

    Parameters
    ----------
    dim : int
    k : int
    seeds : sequence of int
    start : int, optional
        Default near the paper's figure for k = 2, else 2 * dim.
    sweep : (int, int)
        The window; ``(0, 0)`` leaves it out.
    memory_bytes : int
    progress : callable, optional
        Called with (attempts so far, None, what).
    **settings
        For `fit_embeddings`: loss, temperature, margin, steps, patience ... With loss="hinge" each fit begins where one
        with InfoNCE ended.

    Returns
    -------
    Critical

    Raises
    ------
    TooLarge
        An n has more subsets than fit into memory; said before they are listed.
    InvalidInput, Diverged, MissingExtra
        As `fit_embeddings`.

    Notes
    -----
    What this measures is the optimiser under this loss, and the margin that float32 needs, not what vectors can
    represent: 2k dimensions represent all k-subsets of any n (see `moment_curve`).

    References
    ----------
    Weller et al., arXiv:2508.21038, section 4.
    """
    check_range("dim", dim, 1)
    check_range("k", k, 1)
    ends: dict[int, tuple[str, ...]] = {}

    def solved(n: int, place: int) -> bool:
        if n <= k:
            return True
        if n not in ends:
            check_memory(math.comb(n, k), n, dim, k, len(seeds), memory_bytes)
            fits = _fit(all_subsets(n, k), n, dim, seeds=seeds, memory_bytes=memory_bytes, **settings)
            ends[n] = tuple(fit.reason for fit in fits)
            if progress is not None:
                progress(len(ends), None, f"critical n, {dim} dimensions")
        return ends[n][place] == "solved"

    begin = max(k + 1, start if start is not None else _guess(dim, k))
    values = []
    for place in range(len(seeds)):
        found = _bracket(lambda n, place=place: solved(n, place), begin, k)  # type: ignore[misc]
        window = range(max(k, found + sweep[0]), found + sweep[1] + 1)
        values.append(max(n for n in window if n == found or solved(n, place)))
    return Critical(dim, k, tuple(values), dict(sorted(ends.items())))


def _fit(relevant: NDArray[np.int64], n: int, dim: int, *, loss: str = "infonce", **settings: Any) -> list[Fit]:
    """Fit; the hinge loss, which is poor at getting away from random vectors, begins where InfoNCE ended."""
    if loss != "hinge":
        return fit_embeddings(relevant, n, dim, loss=loss, **settings)
    start = fit_embeddings(relevant, n, dim, **settings | {"margin": 0.0})
    return fit_embeddings(relevant, n, dim, loss=loss, start=start, **settings)


def _bracket(solved: Callable[[int], bool], start: int, least: int) -> int:
    """Return an n that is solved while a larger one nearby is not."""
    low, high, step = start, start, 1
    if solved(start):
        while solved(high := low + step):
            low, step = high, 2 * step
    else:
        while not solved(low := max(least, high - step)):
            high, step = low, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if solved(middle) else (low, middle)
    return low


def _guess(dim: int, k: int) -> int:
    if k != 2:
        return 2 * dim
    near = min(PAPER, key=lambda known: abs(known - dim))
    return (
        PAPER[near] if near == dim else max(k + 1, round(-10.5322 + 4.0309 * dim + 0.0520 * dim**2 + 0.0037 * dim**3))
    )
