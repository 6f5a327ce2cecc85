"""One filter, several methods: each at the least effort that reaches a recall, timed in turns, violations counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isometry.errors import check_range
from isometry.evaluation.throughput import least_effort, mean_recall, medians, take_turns

__all__ = ["Asked", "Speed", "compare", "counted", "curve"]

_SECONDS, _MOST_REPEATS = 0.05, 100
"""A clock that ticks between other processes' work needs calls that are not too short."""

Search = Callable[[int], NDArray[np.int64]]
"""From an effort to the ids found, (nq, k)."""


@dataclass(frozen=True)
class Asked:
    """A question that methods are compared by.

    Attributes
    ----------
    mask : (n,) bool
    exact : (nq, k) int64
        The best rows that pass; -1 where there are fewer. Recall is the share of those there are, so a query with few
        matches counts by what it could find.
    target : float
        Recall to reach.
    """

    mask: NDArray[np.bool_]
    exact: NDArray[np.int64]
    target: float = 0.95


@dataclass(frozen=True)
class Speed:
    """What a method did at the least effort that reached the target.

    Attributes
    ----------
    effort : int
    recall : float
    seconds : float
        Per query, median over rounds; NaN for a method that can't reach the target.
    violations : int
        Ids that do not pass, of all that it ever returned.
    short : int
        Queries that got fewer hits than there are, at that effort.
    """

    effort: int
    recall: float
    seconds: float
    violations: int
    short: int

    @property
    def reached(self) -> bool:
        """Whether the target was reached."""
        return not np.isnan(self.seconds)

    @property
    def qps(self) -> float:
        """Queries per second; 0 for a method that can't reach the target."""
        return 1 / self.seconds if self.reached and self.seconds else 0.0


def compare(
    methods: Mapping[str, Search],
    asked: Asked,
    *,
    least: int = 10,
    most: int = 2048,
    rounds: int = 3,
    hopeless: float = 20.0,
    fixed: Iterable[str] = (),
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Speed]:
    """Find the effort of each method, then time them all in turns.

    Parameters
    ----------
    methods : mapping of str to callable
    asked : Asked
    least, most : int
        Efforts to try.
    rounds : int
    hopeless : float
        A method that takes this many times as long, with the least effort, as the fastest before it that reaches the
        target is not tuned, and timed once: no effort makes it win.
    fixed : iterable of str
        Methods without an effort: they are asked once.
    clock : callable
    """
    check_range("rounds", rounds, 1)
    found: dict[str, tuple[int, float]] = {}
    wrong = dict.fromkeys(methods, 0)
    lacking: dict[str, int] = {}
    repeats: dict[str, int] = {}
    times: dict[str, float] = {}
    enough, alone = (asked.exact >= 0).sum(1), set(fixed)
    fastest = float("inf")
    for name, method in methods.items():

        def search(effort: int, name: str = name, method: Search = method) -> NDArray[np.int64]:
            ids = np.asarray(method(effort))
            wrong[name] += counted(ids, asked.mask)
            lacking[name] = int(((ids >= 0).sum(1) < enough).sum())
            return ids

        search(least)  # what is done once, is done
        start = clock()
        recall = mean_recall(search(least), asked.exact)
        once = clock() - start
        repeats[name] = max(1, min(_MOST_REPEATS, round(_SECONDS / once))) if once > 0 else 1
        if recall >= asked.target:
            fastest = min(fastest, once)
        if once > hopeless * fastest:
            found[name] = least, recall
            times[name] = once if recall >= asked.target else float("nan")
            continue
        if name not in alone and recall < asked.target:
            reached = least_effort(search, asked.exact, [asked.target], least=least, most=most)[asked.target]
            effort = most if reached is None else reached.effort
            found[name] = effort, mean_recall(search(effort), asked.exact)
        else:
            found[name] = least, recall
    calls: dict[str, Callable[[], Any]] = {
        name: _repeated(methods[name], found[name][0], repeats[name])
        for name in methods
        if name not in times and found[name][1] >= asked.target
    }
    if calls:
        taken = medians(take_turns(calls, rounds=rounds, clock=clock))
        times |= {name: seconds / repeats[name] for name, seconds in taken.items()}
    nq = len(asked.exact)
    return {
        name: Speed(*found[name], times[name] / nq if name in times else float("nan"), wrong[name], lacking[name])
        for name in methods
    }


def _repeated(search: Search, effort: int, times: int) -> Callable[[], None]:
    def call() -> None:
        for _ in range(times):
            search(effort)

    return call


def counted(ids: ArrayLike, mask: NDArray[np.bool_]) -> int:
    """Return how many of some ids do not pass a mask; -1 is no id."""
    found = np.asarray(ids)
    return int((~mask[found[found >= 0]]).sum())


def curve(
    search: Search, exact: NDArray[np.int64], efforts: Iterable[int], *, clock: Callable[[], float] = time.process_time
) -> list[list[float]]:
    """Return [recall, queries per second] of every effort."""
    points = []
    for effort in efforts:
        start = clock()
        ids = search(effort)
        seconds = clock() - start
        points.append([mean_recall(ids, exact), len(exact) / max(seconds, 1e-9)])
    return points
