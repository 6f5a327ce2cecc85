"""Dense, sparse and multi vectors: checks, slicing, joining, Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array, random_array

from isometry.errors import DimensionMismatch, InvalidInput
from isometry.vectors import (
    MultiVectors,
    as_dense,
    as_multi,
    as_sparse,
    concat,
    from_arrow,
    sparse_rows,
    take,
    to_arrow,
)

finite = st.floats(-1e6, 1e6, width=32)
dense = hnp.arrays(np.float32, st.tuples(st.integers(0, 9), st.integers(1, 5)), elements=finite)


@st.composite
def multi(draw: st.DrawFn) -> MultiVectors:
    lengths = draw(st.lists(st.integers(0, 4), max_size=6))
    tokens = draw(hnp.arrays(np.float32, (sum(lengths), 3), elements=finite))
    return MultiVectors(tokens, np.cumsum([0, *lengths]))


@st.composite
def sparse(draw: st.DrawFn) -> csr_array:
    return as_sparse(csr_array(draw(hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.just(7)), elements=finite))))


def equal(a, b) -> bool:
    if isinstance(a, MultiVectors):
        return a == b
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a.shape == b.shape and (a != b).nnz == 0


@given(st.one_of(dense, multi(), sparse()))
def test_arrow_round_trip(x):
    array = to_arrow(x)
    assert len(array) == (len(x) if not hasattr(x, "indptr") else x.shape[0])
    assert equal(from_arrow(array, dim=x.shape[1] if hasattr(x, "shape") else x.dim), x)


@given(st.one_of(dense, multi(), sparse()), st.data())
def test_slices_join_back_and_survive_arrow_slicing(x, data):
    n = x.shape[0] if hasattr(x, "shape") else len(x)
    cut = data.draw(st.integers(0, n))
    assert equal(concat([take(x, slice(0, cut)), take(x, slice(cut, n))]), x)
    dim = x.shape[1] if hasattr(x, "shape") else x.dim
    assert equal(from_arrow(to_arrow(x).slice(cut), dim=dim), take(x, slice(cut, n)))


@given(multi(), st.data())
def test_multi_takes_rows_in_any_order(x, data):
    rows = data.draw(st.lists(st.integers(0, len(x) - 1), max_size=8)) if len(x) else []
    picked = x[np.array(rows, dtype=np.int64)]
    assert len(picked) == len(rows)
    for got, row in zip(picked, rows, strict=True):
        assert np.array_equal(got, x[row])


def test_dense_is_not_copied_when_it_already_fits():
    x = np.ones((3, 2), np.float32)
    assert as_dense(x) is x or np.shares_memory(as_dense(x), x)
    assert np.shares_memory(to_arrow(x).flatten().to_numpy(), x)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.ones(3), InvalidInput, r"shape \(3,\).*x\[None\]"),
        (np.ones((2, 0)), InvalidInput, "at least one dimension"),
        ([["a"]], InvalidInput, "dtype"),
        ([[1, 2], [3]], InvalidInput, "array of numbers"),
        (np.ones((2, 2), bool), InvalidInput, "dtype bool"),
        (np.ones((2, 2), complex), InvalidInput, "dtype complex"),
        ([[1.0, np.nan], [np.inf, 1]], InvalidInput, "2 rows .* first at row 0"),
        ([[1e300, 1.0]], InvalidInput, "beyond float32"),
        (np.ones((2, 3)), DimensionMismatch, "3 dimensions; expected 2"),
    ],
)
def test_dense_refuses(x, error, words):
    with pytest.raises(error, match=words):
        as_dense(x, dim=2)


def test_sparse_becomes_canonical_and_leaves_the_input_alone():
    x = csr_array((np.array([1.0, 0.0, 2.0, 3.0]), np.array([3, 1, 0, 3]), np.array([0, 4])), shape=(1, 5))
    got = as_sparse(x)
    assert got.indices.tolist() == [0, 3]
    assert got.data.tolist() == [2.0, 4.0]
    assert x.data.tolist() == [1.0, 0.0, 2.0, 3.0]


def test_sparse_that_is_canonical_stays_the_same_object():
    x = random_array((4, 6), density=0.5, format="csr", dtype=np.float32, rng=np.random.default_rng(0))
    assert as_sparse(x) is x
    assert as_sparse(csr_array(x, dtype=np.float64)).dtype == np.float32


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.eye(3), "expected a two-axis SciPy sparse array"),
        (csr_array(np.array([[np.nan, 1.0, 0.0]])), "1 values that are NaN"),
        (csr_array(np.ones((1, 4))), "4 dimensions; expected 3"),
    ],
)
def test_sparse_refuses(x, words):
    with pytest.raises(InvalidInput, match=words):
        as_sparse(x, dim=3)


def test_sparse_refuses_indices_outside_its_shape():
    x = random_array((4, 6), density=0.5, format="csr", rng=np.random.default_rng(0))
    x.indices[0] = 60
    with pytest.raises(InvalidInput, match="not a valid CSR"):
        as_sparse(x)


@pytest.mark.parametrize("offsets", [[0, 1], [1, 2], [0, 3, 2], [[0, 2]], [0.0, 2.0], []])
def test_multi_refuses_offsets_that_do_not_describe_the_tokens(offsets):
    with pytest.raises(InvalidInput, match="offsets"):
        MultiVectors(np.ones((2, 3)), offsets)


def test_multi_from_unequal_dimensions_names_the_item():
    with pytest.raises(DimensionMismatch, match=r"items\[1\] has 4 dimensions; expected 3"):
        as_multi([np.ones((2, 3)), np.ones((1, 4))])


def test_concat_refuses_a_mixture():
    with pytest.raises(InvalidInput, match="dense and multi"):
        concat([np.ones((1, 3), np.float32), MultiVectors(np.ones((1, 3)), [0, 1])])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (pa.array([[1.0, 2.0], None]), "1 null rows, first at row 1"),
        (pa.array([[1.0, 2.0], [1.0]]), "1 dimensions in row 1 but 2 in row 0"),
        (pa.array([[1.0, None]]), "null values inside vectors"),
        (pa.array(["a"]), "Arrow type string"),
        (pa.array([[(0, 1.0)]], pa.map_(pa.int32(), pa.float32())), "pass dim="),
    ],
)
def test_arrow_refuses(array, words):
    with pytest.raises(InvalidInput, match=words):
        from_arrow(array)


def test_arrow_reads_plain_lists_and_maps():
    assert from_arrow(pa.array([[1.0, 2.0], [3.0, 4.0]])).tolist() == [[1, 2], [3, 4]]
    got = from_arrow(pa.array([[(0, 1.0), (3, 2.0)], []], pa.map_(pa.int32(), pa.float32())), dim=4)
    assert got.toarray().tolist() == [[1, 0, 0, 2], [0, 0, 0, 0]]
    late = pa.array([[(0, 1.0)], [(1, 5.0)]], pa.map_(pa.int32(), pa.float32())).slice(1)
    assert from_arrow(late, dim=2).toarray().tolist() == [[0, 5]]


def test_sparse_rows_may_be_null_or_say_nothing():
    kind = pa.struct([("indices", pa.list_(pa.int32())), ("values", pa.list_(pa.float32()))])
    rows = pa.array([{"indices": [1, 5], "values": [0.5, 2.0]}, None, {"indices": [], "values": []}], kind)
    assert sparse_rows(rows, 6).toarray().tolist() == [[0, 0.5, 0, 0, 0, 2.0], [0] * 6, [0] * 6]
    assert sparse_rows(rows[1:], 6).shape == (2, 6)
    untyped = pa.array([{"indices": [], "values": []}])
    assert from_arrow(untyped, dim=3).nnz == 0
    with pytest.raises(InvalidInput, match="null rows"):
        from_arrow(rows, dim=6)
    with pytest.raises(InvalidInput, match="expected integers"):
        from_arrow(pa.array([{"indices": [0.5], "values": [1.0]}]), dim=3)
