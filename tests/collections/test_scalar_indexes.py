"""Scalar indexes find what the columns hold, whatever was written since, and are made where they pay."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import isometry as iso
from isometry.collections import scalar_indexes
from isometry.collections.table import SEQ, DocumentTable
from isometry.errors import StorageFull
from tests.collections.test_state_machine import CollectionMachine

F = pc.field
N = 400
DAY = datetime.date(2020, 1, 1)
VALUES = {
    "few": ["a", "b", "it's", "ü", None],
    "many": [f"name {i:03d}" for i in range(0, 300, 7)] + [None],
    "number": [*range(-3, 60), None],
    "share": [-1.5, 0.0, 0.5, 1e300, float("inf"), None],
    "open": [True, False, None],
    "day": [*(DAY + datetime.timedelta(days=i) for i in range(9)), None],
    "Odd name": ["x", "y", None],
}
COMPARED = {"=": "__eq__", "!=": "__ne__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}


@pytest.fixture
def small(monkeypatch):
    """Index collections of any size, and few values by B-trees too."""
    monkeypatch.setattr(scalar_indexes, "FEWEST_ROWS", 1)
    monkeypatch.setattr(scalar_indexes, "FEW_VALUES", 20)


def rows_of(numbers, rng):
    return [
        {"id": str(i), "text": "a text", **{name: values[rng.integers(len(values))] for name, values in VALUES.items()}}
        for i in numbers
    ]


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A collection that was indexed, then added to, changed and deleted from; and what it holds."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("lived") / "c.iso"
    with pytest.MonkeyPatch.context() as patch, iso.create(path) as made:
        patch.setattr(scalar_indexes, "FEWEST_ROWS", 1)
        patch.setattr(scalar_indexes, "FEW_VALUES", 20)
        held = {}

        def put(numbers):
            rows = rows_of(numbers, rng)
            made.upsert(rows, batch_rows=64)
            held.update({row["id"]: row for row in rows})

        put(range(N))
        made.delete([str(i) for i in range(0, N, 11)])
        made.build()
        put(range(N, N + 100))
        put(range(50, 90))
        made.delete(where="few = 'b' and number < 10")
        held = {
            name: row
            for name, row in held.items()
            if not (int(name) < N and int(name) % 11 == 0 and not 50 <= int(name) < 90)
            and not (row["few"] == "b" and row["number"] is not None and row["number"] < 10)
        }
        yield made, held


def literal(value):
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"date '{value}'" if isinstance(value, datetime.date) else str(value).lower()


@st.composite
def conditions(draw, depth=2):
    """A condition as SQL text, as an expression, and as a function of a row that is true, false or None."""
    kind = draw(st.sampled_from(["compare", "in", "null", "and", "or", "not"] if depth else ["compare", "in", "null"]))
    if kind == "not":
        text, typed, meant = draw(conditions(depth - 1))
        return f"not ({text})", ~typed, lambda row: None if meant(row) is None else not meant(row)
    if kind in ("and", "or"):
        (a, x, f), (b, y, g) = draw(conditions(depth - 1)), draw(conditions(depth - 1))
        wins = kind == "or"

        def both(row):
            found = {f(row), g(row)}
            return wins if wins in found else None if None in found else not wins

        return f"({a}) {kind} ({b})", (x | y) if wins else (x & y), both
    name = draw(st.sampled_from([*VALUES]))
    known = [value for value in VALUES[name] if value is not None and value != float("inf")]
    if kind == "null":
        return f"`{name}` is null", F(name).is_null(), lambda row: row[name] is None
    if kind == "in":
        several = draw(st.lists(st.sampled_from(known), min_size=1, max_size=4, unique=True))
        told = ", ".join(map(literal, several))
        return (
            f"`{name}` in ({told})",
            F(name).isin(several),
            lambda row: None if row[name] is None else row[name] in several,
        )
    sign, value = draw(st.sampled_from([*COMPARED])), draw(st.sampled_from(known))

    def compared(row):
        return None if row[name] is None else bool(getattr(row[name], COMPARED[sign])(value))

    return f"`{name}` {sign} {literal(value)}", getattr(F(name), COMPARED[sign])(value), compared


@settings(deadline=None, max_examples=80)
@given(condition=conditions())
def test_a_filter_finds_what_it_means_over_indexed_and_later_rows(lived, condition):
    made, held = lived
    text, typed, meant = condition
    expected = {name for name, row in held.items() if meant(row) is True}
    table = made._state.view().table
    for where in (f"({text})", typed):
        found = table.offsets(where)
        assert set(table.take(found, ["id"])["id"].to_pylist()) == expected
        assert np.array_equal(np.sort(found), table.offsets(where, indexed=False))
    hits = made.search("text", k=1000, where=text, mode="lexical")
    assert set(hits.ids) == expected


def test_the_lived_collection_is_indexed_and_sound(lived):
    made, held = lived
    kinds = dict.fromkeys(VALUES, "bitmap") | {"many": "btree", "number": "btree", "text": "bitmap"}
    assert made.stats().scalar_indexes == kinds
    assert made.verify().problems == []
    plan = made._state.view().table._dataset.scanner(filter="few = 'a' and number < 3").explain_plan()
    assert "ScalarIndexQuery" in plan
    assert set(made.get([str(i) for i in range(N + 100)])["id"].to_pylist()) == set(held)


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("name", ["number", "few", "many"])
def test_a_list_of_100_000_values(lived, name, negated):
    made, held = lived
    several = list(range(0, 200_000, 2)) if name == "number" else [f"name {i:03d}" for i in range(100_000)]
    where = F(name).isin(several)
    found = made.search("text", k=1000, where=~where if negated else where, mode="lexical").ids
    known = set(several)
    expected = {i for i, row in held.items() if row[name] is not None and (row[name] in known) != negated}
    assert set(found) == expected


def test_columns_are_indexed_by_what_they_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(scalar_indexes, "FEWEST_ROWS", 600)
    rows = [
        {"id": str(i), "text": f"prose that goes on {i} " * 9, "name": f"n{i}", "venue": f"v{i % 9}", "tags": ["a"]}
        for i in range(599)
    ]
    with iso.create(tmp_path / "c.iso") as made:
        made.add(rows)
        made.build()
        assert (made.stats().scalar_indexes, made.version) == ({}, 1)
        made.add([{"id": "last", "text": "x", "name": "last", "venue": None, "gone": None}])
        made.build()
        assert made.stats().scalar_indexes == {"name": "btree", "venue": "bitmap"}
        assert made.stats().unindexed == 0
        version = made.version
        made.delete(["last"])
        made.build()
        assert made.stats().scalar_indexes == {}
    old = iso.open(tmp_path / "c.iso", version=version)
    assert old.stats().scalar_indexes == {"name": "btree", "venue": "bitmap"}
    assert old.search("prose", k=9, where="name = 'n3'").ids == ["3"]


def test_an_optimized_or_read_only_collection_keeps_its_indexes(tmp_path, small):
    path = tmp_path / "c.iso"
    with iso.create(path) as made:
        made.add(rows_of(range(N), np.random.default_rng(1)), batch_rows=50)
        made.build()
        made.delete(where="few = 'a'")
        made.optimize()
        kinds = made.stats().scalar_indexes
        assert kinds["few"] == "bitmap"
        assert made.stats().fragments == 1
        expected = sorted(made.search("text", k=N, where="few = 'b'").ids)
    for folder, _, files in os.walk(path):
        for name in files:
            os.chmod(Path(folder) / name, 0o444)
    with iso.open(path) as again:
        assert again.stats().scalar_indexes == kinds
        assert sorted(again.search("text", k=N, where="few = 'b'").ids) == expected


def test_dropping_columns_keeps_the_indexes_of_others(tmp_path, small):
    with iso.create(tmp_path / "c.iso") as made:
        made.add(rows_of(range(N), np.random.default_rng(1)))
        made.build()
        kinds = made.stats().scalar_indexes
        table = made._begin_write().without(["_spans"])
        assert table.scalar_indexes == kinds
        assert made.verify().problems == []
        assert np.array_equal(table.offsets("number < 9"), table.offsets("number < 9", indexed=False))


def test_columns_that_are_filled_or_changed_in_place_are_found_by_their_new_values(tmp_path, small):
    with iso.create(tmp_path / "c.iso") as made:
        made.add(rows_of(range(N), np.random.default_rng(1)), batch_rows=50)
        made.build()
        table = made._begin_write()
        table = table.fill(lambda seq: pa.table({"parity": pa.array(seq % 2 == 0)}))
        assert np.array_equal(
            table.offsets("parity and few = 'a'"), table.offsets("parity and few = 'a'", indexed=False)
        )
        seq = table.scan([SEQ], "number < 9")[SEQ].combine_chunks()
        table = table.update(pa.table({SEQ: seq, "few": pa.array(["changed"] * len(seq))}))
        for where in ("few = 'changed'", "few != 'changed'", "few = 'a'", "number < 9 and few = 'changed'"):
            assert np.array_equal(np.sort(table.offsets(where)), table.offsets(where, indexed=False)), where
        assert len(table.offsets("few = 'changed'")) == len(seq) > 0


KILLED = """
    import os, signal, sys
    import lance
    import isometry as iso
    from isometry.collections import scalar_indexes
    from isometry.collections.manifest import Manifest

    def die(*args, **options):
        os.kill(os.getpid(), signal.SIGKILL)

    scalar_indexes.FEWEST_ROWS = 1
    if sys.argv[2] == "commit":
        lance.LanceDataset.commit = die
    else:
        Manifest.write = die
    with iso.open(sys.argv[1]) as made:
        made.build()
"""


@pytest.mark.parametrize("where", ["commit", "manifest"])
def test_a_kill_before_or_after_the_commit_loses_nothing(tmp_path, where):
    path = tmp_path / "c.iso"
    with iso.create(path) as made:
        made.add(rows_of(range(N), np.random.default_rng(1)))
        expected = sorted(made.search("text", k=N, where="few = 'b'").ids)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path), where]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -9
    with iso.open(path) as again:
        assert bool(again.stats().scalar_indexes) == (where == "manifest")
        assert again.stats().spec is None
        assert again.verify().problems == []
        assert sorted(again.search("text", k=N, where="few = 'b'").ids) == expected


def test_a_write_that_dies_before_its_commit_leaves_no_index(tmp_path, small, monkeypatch):
    path = tmp_path / "c.iso"
    with iso.create(path) as made:
        made.add(rows_of(range(N), np.random.default_rng(1)))

        def die(*_args, **_kwargs):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(lance.LanceDataset, "commit", die)
            with pytest.raises(StorageFull):
                made.build()
        assert list((path / "documents.lance" / "_indices").iterdir())
    with iso.open(path) as again:
        assert again.stats().scalar_indexes == {}
        assert again.verify().problems == []
        expected = again.search("text", k=N, where="few = 'b'").ids
        again.build()
        assert again.stats().scalar_indexes["few"] == "bitmap"
        assert sorted(again.search("text", k=N, where="few = 'b'").ids) == sorted(expected)


@pytest.mark.parametrize("harm", ["cut", "garbled", "gone", "exchanged"])
def test_a_damaged_index_is_told_and_mended(tmp_path, small, harm):
    path = tmp_path / "c.iso"
    with iso.create(path) as made:
        made.add(rows_of(range(N), np.random.default_rng(1)))
        made.build()
        expected = sorted(made.search("text", k=N, where="few = 'b'").ids)
        kinds = made.stats().scalar_indexes
    table = DocumentTable(path / "documents.lance")
    uuids = {each.name: each.segments[0].uuid for each in table._dataset.describe_indices()}
    (victim,) = (path / "documents.lance" / "_indices" / uuids["few"]).iterdir()
    if harm == "cut":
        os.truncate(victim, 10)
    elif harm == "garbled":
        victim.write_bytes(os.urandom(victim.stat().st_size))
    elif harm == "gone":
        victim.unlink()
    else:
        (other,) = (path / "documents.lance" / "_indices" / uuids["Odd name"]).iterdir()
        victim.write_bytes(other.read_bytes())
    with iso.open(path) as again:
        (problem,) = again.verify().problems
        assert "the scalar index of 'few'" in problem
        if harm != "exchanged":
            assert sorted(again.search("text", k=N, where="few = 'b'").ids) == expected
        again.optimize()
        assert again.verify().problems == []
        assert again.stats().scalar_indexes == kinds
        assert sorted(again.search("text", k=N, where="few = 'b'").ids) == expected


class TestIndexedCollection(CollectionMachine.TestCase):
    """The model of a collection holds, with an index over every attribute after each build."""

    def setUp(self):
        patch = pytest.MonkeyPatch()
        patch.setattr(scalar_indexes, "FEWEST_ROWS", 1)
        self.addCleanup(patch.undo)


TestIndexedCollection.settings = settings(
    max_examples=6, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
