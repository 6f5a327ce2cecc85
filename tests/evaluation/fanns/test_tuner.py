"""The greedy tuner: as good as trying everything where one hill leads up, and never asking twice."""

from __future__ import annotations

from itertools import product

import pytest

from isometry.errors import InvalidInput
from isometry.evaluation.fanns import tune_greedily

CANDIDATES = {"a": [1, 2, 4, 8, 16], "b": [10, 20, 30], "c": ["x"]}


def test_it_finds_the_best_of_a_hill_and_asks_no_setting_twice():
    asked = []

    def reward(values):
        asked.append(tuple(values.values()))
        return 100 - abs(values["a"] - 14) - abs(values["b"] - 10)

    found = tune_greedily(CANDIDATES, reward)
    best = max(product(*CANDIDATES.values()), key=lambda each: 100 - abs(each[0] - 14) - abs(each[1] - 10))
    assert tuple(found.values.values()) == best
    assert found.reward == 98
    assert len(asked) == len(set(asked)) == found.tried < 15


def test_it_stops_when_a_sweep_gains_too_little():
    found = tune_greedily({"a": list(range(100))}, lambda values: 1 + 0.001 * values["a"], start={"a": 0})
    assert found.values == {"a": 1}
    assert tune_greedily({"a": list(range(100))}, lambda v: v["a"], start={"a": 0}).values["a"] == 99


def test_bad_settings_are_named():
    with pytest.raises(InvalidInput, match="a value or more"):
        tune_greedily({"a": []}, lambda values: 0)
    with pytest.raises(InvalidInput, match="start of a is 5"):
        tune_greedily(CANDIDATES, lambda values: 0, start={"a": 5})
