"""Least effort for a recall, and fair clocks."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.errors import DimensionMismatch, InvalidInput
from isometry.estimates import recall_against_exact
from isometry.evaluation.throughput import Reached, exponent, least_effort, mean_recall, medians, take_turns

EXACT = np.arange(40).reshape(4, 10)


def growing(effort: int) -> np.ndarray:
    """Find as many of the ten as the effort says, from 10 on one more with every 10."""
    hits = min(10, effort // 10)
    return np.where(np.arange(10) < hits, EXACT, -1)


def test_recall_agrees_with_the_estimate():
    rng = np.random.default_rng(0)
    exact = np.array([rng.permutation(50)[:10] for _ in range(30)])
    found = np.array([rng.permutation(50)[:10] for _ in range(30)])
    assert mean_recall(found, exact) == pytest.approx(recall_against_exact(found, exact).mean)
    found[:, 3:] = -1
    assert mean_recall(found, exact) == pytest.approx(recall_against_exact(found, exact).mean)
    assert mean_recall(exact, exact) == 1


def test_missing_neighbours_are_not_asked_for():
    exact = np.array([[1, 2, -1, -1], [3, 4, 5, 6]])
    assert mean_recall([[2, 1, -1, -1], [3, 4, -1, -1]], exact) == pytest.approx(4 / 6)


def test_recall_needs_the_same_queries():
    with pytest.raises(DimensionMismatch, match=r"\(3, 10\)"):
        mean_recall(EXACT[:3], EXACT)


@pytest.mark.parametrize("least", [1, 10, 37])
def test_the_least_effort_is_found(least):
    asked = []

    def search(effort: int) -> np.ndarray:
        asked.append(effort)
        return growing(effort)

    found = least_effort(search, EXACT, (0.9, 0.3, 0.95), least=least)
    assert found == {0.3: Reached(max(30, least), 0.3), 0.9: Reached(90, 0.9), 0.95: Reached(100, 1.0)}
    assert len(asked) == len(set(asked)) < 30


def test_what_no_effort_reaches_is_none():
    found = least_effort(growing, EXACT, (0.5, 0.9), least=10, most=60)
    assert found == {0.5: Reached(50, 0.5), 0.9: None}


def test_bad_targets_and_ranges_are_named():
    with pytest.raises(InvalidInput, match="target is 95"):
        least_effort(growing, EXACT, (95,))
    with pytest.raises(InvalidInput, match="most is 5"):
        least_effort(growing, EXACT, (0.9,), least=10, most=5)


def test_calls_take_turns_and_the_first_round_is_not_counted():
    seen: list[str] = []
    ticks = iter(range(100))
    calls = {"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}
    times = take_turns(calls, rounds=2, before={"b": lambda: seen.append("before b")}, clock=lambda: float(next(ticks)))
    there, back = ["a", "before b", "b"], ["before b", "b", "a"]
    assert seen == [*there, *back, *there]
    assert {name: values.tolist() for name, values in times.items()} == {"a": [1, 1], "b": [1, 1]}
    assert medians({"a": [3.0, 1.0, 2.0]}) == {"a": 2.0}


def test_exponents():
    n = np.array([10, 100, 1000])
    assert exponent(n, 3 * n**1.5) == pytest.approx(1.5)
    with pytest.raises(InvalidInput, match="at least two positive"):
        exponent([10], [1])
