"""The benchmark's files: rows of different lengths, and everything that may be wrong with a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.errors import BadRecord, Damaged, DimensionMismatch, InvalidInput, NotFound, TooLarge
from isometry.evaluation.fanns import load_fanns, read_fvecs, read_ivecs


def write(path, rows, dtype):
    with open(path, "wb") as file:
        for row in rows:
            file.write(np.array([len(row)], "<i4").tobytes() + np.array(row, dtype).tobytes())


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def folder(tmp_path):
    """Write a set of 30 items and 3 queries, the second of which matches two items and the third none."""
    rng = np.random.default_rng(0)
    write(tmp_path / "database_vectors.fvecs", rng.standard_normal((30, 4)), "<f4")
    write(tmp_path / "query_vectors.fvecs", rng.standard_normal((3, 4)), "<f4")
    records = [
        {"number_of_sub_categories": i % 3 or None, "update_date": i, "main_categories": ["a", "b"][: i % 3]}
        for i in range(30)
    ]
    write_lines(tmp_path / "database_attributes.jsonl", records)
    write_lines(tmp_path / "em_query_attributes.jsonl", [{"label": 1}, {"label": 2}, {"label": 9}])
    ranges = [(0, 9), (3, 4), (40, 50)]
    write_lines(tmp_path / "r_query_attributes.jsonl", [{"range_start": a, "range_end": b} for a, b in ranges])
    write_lines(tmp_path / "emis_query_attributes.jsonl", [{"label": name} for name in "abc"])
    for name, rows in {"": [range(30)] * 3, "_em": [[1, 4], [2], []], "_r": [range(10), [3, 4], []]}.items():
        write(tmp_path / f"ground_truth{name}.ivecs", rows, "<i4")
    write(tmp_path / "ground_truth_emis.ivecs", [[1, 2], [2], []], "<i4")
    return tmp_path


def test_a_set_is_read_with_truths_of_different_lengths(folder):
    found = load_fanns(folder)
    assert (found.x.shape, found.queries.shape, len(found.attributes)) == ((30, 4), (3, 4), 30)
    assert found.x.dtype == np.float32
    assert [row.tolist() for row in found.filtered["r"].truth] == [list(range(10)), [3, 4], []]
    assert found.filtered["r"].values == ((0, 9), (3, 4), (40, 50))
    assert np.flatnonzero(found.filtered["r"].mask(found.attributes, 1)).tolist() == [3, 4]
    em = found.filtered["em"].mask(found.attributes, 0)
    assert np.flatnonzero(em).tolist() == list(range(1, 30, 3)), "a missing value matches nothing"
    emis = found.filtered["emis"]
    assert [int(emis.mask(found.attributes, i).sum()) for i in range(3)] == [20, 10, 0]
    assert set(load_fanns(folder, filters=("em",)).filtered) == {"em"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5), max_size=8))
def test_rows_come_back_as_they_were_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("ivecs") / "x.ivecs"
    write(path, rows, "<i4")
    assert [row.tolist() for row in read_ivecs(path)] == rows


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("query_vectors.fvecs", b"", Damaged, "is empty"),
        ("query_vectors.fvecs", b"abc", Damaged, "no whole 32-bit"),
        ("query_vectors.fvecs", np.array([3, 0, 0], "<i4").tobytes(), Damaged, "does not divide"),
        ("query_vectors.fvecs", np.array([1, 0, 2, 0], "<i4").tobytes(), Damaged, "row 1 says that it has 2"),
        ("query_vectors.fvecs", np.array([-1] * 4, "<i4").tobytes(), Damaged, "-1 values"),
        ("query_vectors.fvecs", np.array([1, 0] * 3, "<i4").tobytes(), DimensionMismatch, "queries 1"),
        ("ground_truth.ivecs", np.array([2, 0], "<i4").tobytes(), Damaged, "row 0 says that it has 2 values, and 1"),
        ("ground_truth.ivecs", np.array([-5], "<i4").tobytes(), Damaged, "-5 values"),
        ("ground_truth.ivecs", np.array([1, 0] * 2, "<i4").tobytes(), Damaged, "2 rows for 3 queries"),
        ("ground_truth.ivecs", np.array([1, 30] * 3, "<i4").tobytes(), Damaged, "from 0 to 29"),
        ("database_attributes.jsonl", b"{}\n" * 29, Damaged, "30 vectors, but attributes of 29"),
        ("database_attributes.jsonl", b"{}\n[]\n", BadRecord, "line 2 is"),
        ("database_attributes.jsonl", b"{}\n{\n", BadRecord, "line 2"),
        ("em_query_attributes.jsonl", b"{}\n" * 3, BadRecord, "expected label"),
        ("r_query_attributes.jsonl", b'{"range_start": 1}\n' * 3, BadRecord, "range_start and range_end"),
        ("emis_query_attributes.jsonl", b'{"label": 1}\n', Damaged, "1 lines for 3"),
    ],
)
def test_damage_is_named(folder, file, content, error, message):
    (folder / file).write_bytes(content)
    with pytest.raises(error, match=message):
        load_fanns(folder)


def test_what_is_missing_or_too_large_is_not_read(folder):
    with pytest.raises(TooLarge, match=r"has 600 bytes; at most 500 are read"):
        read_fvecs(folder / "database_vectors.fvecs", max_bytes=500)
    with pytest.raises(InvalidInput, match="filters is 'x'"):
        load_fanns(folder, filters=("x",))
    (folder / "ground_truth_r.ivecs").unlink()
    with pytest.raises(NotFound, match=r"ground_truth_r\.ivecs"):
        load_fanns(folder)
