"""Methods side by side under one filter."""

from __future__ import annotations

from itertools import count

import numpy as np

from isometry.evaluation.fanns import Asked, compare, counted, curve

EXACT = np.arange(40).reshape(4, 10)
MASK = np.arange(100) < 60


def finder(shift=0):
    """Return a method that finds more with more effort."""
    return lambda effort: np.where(np.arange(10) < effort // 10, EXACT + shift, -1)


def test_every_method_is_tuned_and_timed_and_violations_are_counted():
    ticks = count()
    found = compare(
        {"good": finder(), "never": finder(50), "exact": lambda effort: EXACT},
        Asked(MASK, EXACT, 0.9), least=10, most=200, fixed=("exact",), clock=lambda: float(next(ticks)),
    )  # fmt: skip
    assert found["good"].reached
    assert (found["good"].effort, found["good"].recall, found["good"].violations) == (90, 0.9, 0)
    assert (found["good"].short, found["exact"].short) == (4, 0)
    assert found["exact"].seconds == 0.25
    assert found["exact"].qps == 4
    assert found["never"].violations > 0
    assert not found["never"].reached
    assert found["never"].qps == 0


def test_violations_are_ids_that_do_not_pass():
    assert counted([[59, 60, -1], [99, 0, 1]], MASK) == 2


def test_a_curve_has_a_point_per_effort():
    points = curve(finder(), EXACT, (10, 50, 100))
    assert [point[0] for point in points] == [0.1, 0.5, 1.0]
    assert all(point[1] > 0 for point in points)


def test_what_can_not_win_is_timed_once():
    now, calls = [0.0], []

    def taking(seconds):
        def search(effort):
            now[0] += seconds
            calls.append(seconds)
            return EXACT

        return search

    methods = {"fast": taking(1), "near": taking(10), "slow": taking(100)}
    found = compare(methods, Asked(MASK, EXACT, 0.9), rounds=3, clock=lambda: now[0])
    assert {name: speed.seconds for name, speed in found.items()} == {"fast": 0.25, "near": 2.5, "slow": 25}
    assert [calls.count(seconds) for seconds in (1, 10, 100)] == [6, 6, 2]
