"""Speed at a recall: the least effort that reaches it, and clocks that are fair to all engines."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isometry.errors import DimensionMismatch, InvalidInput, check_range

Search = Callable[[int], ArrayLike]


@dataclass(frozen=True)
class Reached:
    """The least effort that reached a recall.

    Attributes
    ----------
    effort : int
    recall : float
        What was measured with it; at least the target.
    """

    effort: int
    recall: float


def mean_recall(ids: ArrayLike, exact: ArrayLike) -> float:
    """Return the mean share of `exact` ids, (nq, k), that are in the same row of `ids`; -1 is a missing place.

    `isometry.evaluation.recall_against_exact` gives the interval too, at a thousand times the cost.
    """
    found, wanted = np.asarray(ids), np.asarray(exact)
    if found.ndim != 2 or wanted.ndim != 2 or len(found) != len(wanted) or not wanted.size:
        raise DimensionMismatch(
            f"ids have shape {found.shape} and exact ids {wanted.shape}; expected two dimensions and the same queries"
        )
    hit = (wanted[:, :, None] == found[:, None, :]).any(axis=2) & (wanted >= 0)
    return float(hit.sum() / (wanted >= 0).sum())


def least_effort(
    search: Search, exact: ArrayLike, targets: Iterable[float], *, least: int = 10, most: int = 2048
) -> dict[float, Reached | None]:
    """Find the least effort that reaches each recall, by bisection: recall is taken to grow with effort.

    Parameters
    ----------
    search : callable
        From an effort to the ids found, (nq, k).
    exact : (nq, k) int
    targets : iterable of float
    least, most : int
        Range of efforts to try.

    Returns
    -------
    dict of float to Reached or None
        None where even `most` does not reach the target.

    Raises
    ------
    InvalidInput
        `least` is above `most`, or a target is not between 0 and 1.
    """
    check_range("least", least, 1)
    check_range("most", most, least)
    wanted = np.asarray(exact)
    known: dict[int, float] = {}

    def recall(effort: int) -> float:
        if effort not in known:
            known[effort] = mean_recall(search(effort), wanted)
        return known[effort]

    found: dict[float, Reached | None] = {}
    low = least
    for target in sorted(targets):
        if not 0 < target <= 1:
            raise InvalidInput(f"target is {target!r}; expected a recall between 0 and 1")
        high = low
        while recall(high) < target and high < most:  # doubling keeps the costly, large efforts out of the search
            low, high = high + 1, min(2 * high, most)
        if recall(high) < target:
            found[target] = None
            continue
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if recall(middle) >= target else (middle + 1, high)
        found[target] = Reached(high, recall(high))
        low = high
    return found


def take_turns(
    calls: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 5,
    before: Mapping[str, Callable[[], Any]] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, NDArray[np.float64]]:
    """Time calls in turns, so that a change of the machine's speed meets them all; one round before is not counted.

    Every other round goes backwards, so that none always follows the same one.

    Parameters
    ----------
    calls : mapping of str to callable
    rounds : int
    before : mapping of str to callable, optional
        What to do before a call of the same name, outside its time.
    clock : callable
        Seconds; `time.process_time` counts only this process's own work.

    Returns
    -------
    dict of str to (rounds,) float64
        Seconds of each call.
    """
    check_range("rounds", rounds, 1)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for done in range(-1, rounds):
        for name, call in list(calls.items())[:: 1 if done % 2 else -1]:
            if before is not None and name in before:
                before[name]()
            start = clock()
            call()
            end = clock()
            if done >= 0:
                taken[name].append(end - start)
    return {name: np.asarray(times) for name, times in taken.items()}


def medians(times: Mapping[str, ArrayLike]) -> dict[str, float]:
    """Return the median of every entry."""
    return {name: float(statistics.median(np.asarray(values).tolist())) for name, values in times.items()}


def exponent(sizes: ArrayLike, values: ArrayLike) -> float:
    """Return b of the least-squares fit ``values = a * sizes ** b`` on logarithms.

    Raises
    ------
    InvalidInput
        Fewer than two sizes, or a number that is not positive.
    """
    x, y = np.asarray(sizes, np.float64), np.asarray(values, np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2 or min(x.min(), y.min()) <= 0:
        raise InvalidInput(f"sizes are {x} and values {y}; expected at least two positive numbers in each")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
