from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.collections import attributes
from isometry.collections.attributes import coerce, merge_schema
from isometry.errors import SchemaMismatch

NOON = datetime.datetime(2020, 1, 1, 12)


@pytest.mark.parametrize(
    ("array", "stored", "values"),
    [
        (pa.array([1, None], pa.uint8()), pa.int64(), [1, None]),
        (pa.array([1.5, float("nan")], pa.float32()), pa.float64(), [1.5, None]),
        (pa.array(["a", None], pa.large_string()), pa.string(), ["a", None]),
        (pa.array(["a", None], pa.string_view()), pa.string(), ["a", None]),
        (pa.array(["a", "a", None]).dictionary_encode(), pa.string(), ["a", "a", None]),
        (pa.array([NOON], pa.timestamp("ns")), pa.timestamp("us"), [NOON]),
        (pa.array([NOON], pa.timestamp("s", tz="Asia/Tokyo")), pa.timestamp("us"), [NOON]),
        (pa.array([NOON.date()], pa.date64()), pa.date32(), [NOON.date()]),
        (pa.array([["a", None], None], pa.large_list(pa.large_string())), pa.list_(pa.string()), [["a", None], None]),
        (pa.array([["a"], ["b"]], pa.list_(pa.string(), 1)), pa.list_(pa.string()), [["a"], ["b"]]),
        (pa.array([[], None]), pa.list_(pa.string()), [[], None]),
        (pa.nulls(2), pa.null(), [None, None]),
    ],
)
def test_every_kindred_type_becomes_the_stored_one(array, stored, values):
    merged = merge_schema(None, pa.table({"a": array}), "here")
    assert merged == pa.schema([("a", stored)])
    assert coerce(pa.table({"a": array}), merged).to_pydict() == {"a": values}


@pytest.mark.parametrize(
    "array",
    [
        pa.array([b"x"]),
        pa.array([{"x": 1}]),
        pa.array([[1]]),
        pa.array([1], pa.decimal128(5, 2)),
        pa.array([1], pa.duration("s")),
        pa.array([1], pa.time32("s")),
    ],
)
def test_other_types_are_refused_by_column(array):
    with pytest.raises(SchemaMismatch, match=r"f\.parquet: column 'a': .*can't be stored"):
        merge_schema(None, pa.table({"a": array}), "f.parquet")


@pytest.mark.parametrize(
    ("held", "array", "values"),
    [
        (pa.float64(), pa.array([1, 2**53]), [1.0, 2.0**53]),
        (pa.int64(), pa.array([1.0, None, float("nan"), -3.0]), [1, None, None, -3]),
        (pa.date32(), pa.array(["2020-01-01", None]), [NOON.date(), None]),
        (pa.timestamp("us"), pa.array(["2020-01-01 12:00:00"]), [NOON]),
        (pa.timestamp("us"), pa.array(["2020-01-01T14:00:00+02:00"]), [NOON]),
        (pa.string(), pa.nulls(1), [None]),
        (pa.list_(pa.string()), pa.array([[]]), [[]]),
        (pa.null(), pa.array(["x"]), ["x"]),
    ],
)
def test_values_enter_columns_of_other_types_where_nothing_is_lost(held, array, values):
    stored = pa.schema([("a", held)])
    merged = merge_schema(stored, pa.table({"a": array}), "here")
    assert coerce(pa.table({"a": array}), merged)["a"].to_pylist() == values


@pytest.mark.parametrize(
    ("held", "array", "message"),
    [
        (pa.int64(), pa.array([1.0, 2.5]), r"here: row 2: 'a' is 2.5 \(float\), but the column holds integers"),
        (pa.int64(), pa.array([None, 2.0**60]), "row 2"),
        (pa.int64(), pa.array([1.0, float("inf")]), "row 2: 'a' is inf"),
        (
            pa.float64(),
            pa.array([1, 2**53 + 1]),
            r"row 2: 'a' is 9007199254740993 \(int\)",
        ),
        (pa.string(), pa.array([None, 5]), r"row 2: 'a' is 5 \(int\), but the column holds text"),
        (pa.int64(), pa.array(["x"]), r"row 1: 'a' is 'x' \(str\)"),
        (pa.int64(), pa.array([True]), r"row 1: 'a' is True \(bool\)"),
        (pa.date32(), pa.array(["2020-01-01", "May"]), "row 2: 'a' is 'May'"),
        (pa.date32(), pa.array([NOON]), "the column holds dates"),
        (pa.string(), pa.array([["a"]]), r"row 1: 'a' is \['a'\] \(list\)"),
        (pa.int64(), pa.array([1, 2**63], pa.uint64()), "row 2: 'a' is 9223372036854775808"),
    ],
)
def test_values_that_do_not_fit_are_named(held, array, message):
    with pytest.raises(SchemaMismatch, match=message):
        merge_schema(pa.schema([("a", held)]), pa.table({"a": array}), "here")


def test_new_columns_join_and_absent_ones_are_null():
    stored = pa.schema([("a", pa.int64()), ("b", pa.null())])
    table = pa.table({"c": [True], "b": ["x"]})
    merged = merge_schema(stored, table, "here")
    assert merged == pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.bool_())])
    assert coerce(table, merged).to_pylist() == [{"a": None, "b": "x", "c": True}]
    with pytest.raises(SchemaMismatch, match="'c' is not in the schema"):
        coerce(table, stored)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("_rowid", "reserved"),
        ("", "empty"),
        (" ", "empty"),
        ("a.b", "a dot"),
        ("a`b", "backtick"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("x" * 256, "256 characters"),
        ("Year", "only in case"),
    ],
)
def test_names_that_can_not_be_columns(name, message):
    with pytest.raises(SchemaMismatch, match=message):
        merge_schema(pa.schema([("year", pa.int64())]), pa.table({name: [1]}), "here")


def test_any_other_unicode_is_a_name():
    for name in ("größe", "年", "first author", 'a"b', "a-b", "\U0001f600", "select"):
        assert merge_schema(None, pa.table({name: [1]}), "here").names == [name]


def test_columns_are_bounded():
    table = pa.table({f"c{i}": [1] for i in range(attributes.MAX_COLUMNS + 1)})
    with pytest.raises(SchemaMismatch, match="at most 1000"):
        merge_schema(None, table, "here")
    with pytest.raises(SchemaMismatch, match="more than once"):
        merge_schema(None, pa.table([[1], [2]], names=["a", "a"]), "here")


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(), min_size=1))
def test_numbers_enter_exactly_or_are_refused(values):
    array = pa.array([None if v is None else float(v) for v in values], pa.float64())
    fitted, misfits = attributes.fit(attributes.normalise(array)[0], pa.int64())
    for position, (before, after) in enumerate(zip(array.to_pylist(), fitted.to_pylist(), strict=True)):
        missing = before is None or np.isnan(before)
        exact = not missing and np.isfinite(before) and before == int(before) and abs(before) <= 2**53
        assert (position in misfits) == (not missing and not exact)
        assert after == (int(before) if exact else None)
