"""Filtered search of a collection from end to end: exactly what matches, and what was done to find it."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

import isometry as iso
from isometry.cli import app
from isometry.errors import FilterError

N = 600
F = pc.field


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("plans") / "points.iso"
    rng = np.random.default_rng(0)
    with iso.create(path) as points:
        rows = [
            {"id": str(i), "text": f"point number{i}", "n": None if i % 10 == 0 else i, "name": f"it's {i % 7}"}
            for i in range(N)
        ]
        points.add(rows, vectors=rng.standard_normal((N, 8)))
        points.build("LVQ8,Vamana16")
        points.add([{"id": "new", "text": "later", "n": 1, "name": "new"}], vectors=np.ones((1, 8)))
    return path


@pytest.fixture
def points(path):
    with iso.open(path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ("n >= 0", lambda i: i % 10 != 0),
        ("n < 0", lambda i: False),
        ("not (n >= 300)", lambda i: i % 10 != 0 and i < 300),
        ("n is null", lambda i: i % 10 == 0),
        ("n != 5", lambda i: i % 10 != 0 and i != 5),
        ("name = 'it''s 3'", lambda i: i % 7 == 3),
        (F("name") == "it's 3", lambda i: i % 7 == 3),
        (F("name") == "x' or 'x' = 'x", lambda i: False),
        (F("n").isin(list(range(0, 200_000, 2))), lambda i: i % 2 == 0 and i % 10 != 0),
        (~F("n").isin(list(range(0, 200_000, 2))), lambda i: i % 2 == 1),
    ],
)
def test_a_filter_returns_all_that_match_and_nothing_else(points, where, passes):
    expected = {str(i) for i in range(N) if passes(i)}
    for k in (5, N + 10):
        hits = points.search(np.ones(8), k=k, where=where)
        found = set(hits.ids) - {"new"}
        assert found <= expected
        assert len(hits) == min(k, len(expected) + ("new" in hits.ids))
    assert found == expected
    again = points.search(np.ones(8), k=5, where=where)
    assert again.ids == points.search(np.ones(8), k=5, where=where).ids


@pytest.mark.parametrize(
    "where", ["n = 'x'", "m = 1", "n = 1; drop table x", "name = 'a' or 1=1 --", F("m") == 1, F("n") == "x"]
)
def test_bad_filters_are_refused_with_an_explanation_too(points, where):
    with pytest.raises(FilterError):
        points.search(np.ones(8), where=where, explain=True)


def test_the_plan_is_told_when_asked_for(points):
    hits = points.search(np.ones(8), k=5, where="n >= 0", explain=True)
    assert (hits.plan.strategy, hits.plan.matching, hits.plan.rows) == ("scan", 540, N)
    assert hits.to_dict(explain=True)["plan"]["matching"] == 540
    assert "plan" not in hits.to_dict()
    assert points.search(np.ones(8), k=5, where="n >= 0").plan is None
    assert points.search(np.ones(8), k=5, explain=True).plan is None
    several = points.search(np.ones((3, 8)), k=5, where="n < 10", explain=True)
    assert [each.plan.matching for each in several] == [9] * 3
    words = points.search("point", mode="lexical", where="n < 10", explain=True).plan
    assert (words.strategy, words.matching, words.rows) == ("masked", 10, N + 1)


def test_the_command_line_tells_the_plan(path):
    run = CliRunner().invoke(app, ["search", str(path), "point", "--where", "n < 10", "--explain", "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["plan"]["strategy"] == "masked"
    run = CliRunner().invoke(app, ["search", str(path), "point", "--where", "n < 10", "--explain"])
    assert "Filter for 'point': masked: 10 of 601 rows pass" in run.stderr


def test_declared_labels_are_linked_searched_and_kept(tmp_path, monkeypatch):
    from isometry.errors import InvalidInput
    from isometry.indexes import labels as module

    monkeypatch.setattr(module, "FEWEST", 50)
    rng = np.random.default_rng(0)
    x, venue = rng.standard_normal((5000, 8)), rng.integers(0, 2, 5000)
    rows = [{"id": str(i), "venue": f"v{v}" if i else None, "score": 0.5} for i, v in enumerate(venue)]
    with iso.create(tmp_path / "c.iso", metric="dot") as made:
        made.add(rows, vectors=x)
        assert made.build("Vamana16", labels=["venue"]).labels == {"venue": 2}
        hits = made.search(x[1], k=5, where="venue = 'v1'", effort=8, explain=True)
        assert set(hits.plan.costs) == {"scan", "bridge", "walk", "labels"}
        assert {rows[int(i)]["venue"] for i in hits.ids} == {"v1"}
        for labels, words in ((["nowhere"], "no attribute"), (["score"], "one value"), ("venue", "list")):
            with pytest.raises(InvalidInput, match=words):
                made.build(labels=labels)
    with iso.open(tmp_path / "c.iso") as made:
        assert made.optimize().build.labels == made.stats().labels == {"venue": 2}
        assert made.build(labels=[]).labels == {}
