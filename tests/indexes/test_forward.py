"""Compact sparse rows: what comes back of what was packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from isometry.errors import Damaged, InvalidInput
from isometry.indexes.forward import Forward, Terms
from isometry.storage import read_folder, write_folder

rows = st.lists(
    st.dictionaries(st.integers(0, 39), st.floats(2.0**-60, 2.0**60, width=32), max_size=20), min_size=0, max_size=6
)


def matrix(rows, dim):
    dense = np.zeros((len(rows), dim), np.float32)
    for i, row in enumerate(rows):
        for column, weight in row.items():
            dense[i, column] = weight
    return csr_array(dense)


@pytest.mark.parametrize("values", ["float16", "uint8"])
@settings(deadline=None, max_examples=60)
@given(rows=rows)
def test_packed_rows_are_near_the_given_ones_and_keep_every_term(rows, values):
    x = matrix(rows, 40)
    forward = Forward.of(x, values)
    back = forward.decoded()
    assert np.array_equal(back.indices, x.indices)
    assert np.array_equal(back.indptr, x.indptr)
    assert forward.values == values
    largest = np.repeat([max(row.values(), default=0) for row in rows], np.diff(x.indptr))
    allowed = largest / 255 if values == "uint8" else np.maximum(x.data * 2.0**-11, largest * 2.0**-38)
    assert (np.abs(back.data - x.data) <= 1.001 * allowed).all()


@pytest.mark.parametrize("n_terms", [65_536, 65_537])
def test_terms_are_numbered_in_as_many_bytes_as_they_need(n_terms):
    x = random_array((50, n_terms), density=0.001, rng=0, dtype=np.float32, format="csr")
    forward = Forward.of(x)
    assert forward.rows.chunks.shape[1] == (64 if n_terms <= 65_536 else 96)
    assert np.array_equal(forward.decoded().indices, x.indices)


def test_a_row_takes_whole_chunks():
    x = csr_array(np.ones((2, 17), np.float32))
    assert Forward.of(x).rows.starts.tolist() == [0, 2, 4]
    assert Forward.of(x, "uint8").nbytes < Forward.of(x).nbytes


def test_frequent_terms_come_first():
    x = csr_array(np.array([[0, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 1]], np.float32))
    terms = Terms.of(x)
    assert terms.columns.tolist() == [3, 0, 1]
    assert terms.numbers(np.arange(5)).tolist() == [1, 2, -1, 0, -1]
    assert terms.renumbered(x).toarray().tolist() == [[1, 0, 1], [1, 0, 0], [1, 1, 0]]
    assert Terms.of(x[:0]).numbers(np.arange(2)).tolist() == [-1, -1]


@pytest.mark.parametrize("columns", [[3, 0, 7], [3, 2**40, 7], []])
def test_columns_are_found_by_table_and_by_search(columns):
    terms = Terms(np.array(columns, np.int64))
    asked = np.array([0, 2, 3, 7, 8, 2**40, 2**50])
    expected = [columns.index(column) if column in columns else -1 for column in asked.tolist()]
    assert terms.numbers(asked).tolist() == expected


def test_unknown_values_are_refused():
    with pytest.raises(InvalidInput, match="values is 'int4'; expected one of float16, uint8"):
        Forward.of(csr_array((1, 1), dtype=np.float32), "int4")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("row_starts", lambda a: a[::-1].copy(), "does not cut"),
        ("row_scales", lambda a: -a - 1, "no scale"),
        ("row_chunks", lambda a: np.full_like(a, 255), "leads to term"),
        ("row_chunks", lambda a: a[:, :60].copy(), "60 bytes wide"),
    ],
)
def test_damaged_rows_are_refused(name, change, said, tmp_path):
    x = random_array((9, 300), density=0.1, rng=0, dtype=np.float32, format="csr")
    arrays = Forward.of(x).state()
    write_folder(tmp_path / "rows", "rows", {}, arrays | {name: change(arrays[name])})
    with pytest.raises(Damaged, match=said):
        Forward.from_folder(read_folder(tmp_path / "rows"), 300)
