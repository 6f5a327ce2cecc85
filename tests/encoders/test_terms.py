"""Weights and the heaviest terms against plain NumPy, and what sparse encoders promise about their terms."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import csr_array

from isometry.encoders import DEFAULT_SPARSE_ENCODER, load_encoder
from isometry.encoders.terms import damped, heaviest, joined
from isometry.errors import InvalidInput

from .objects import DIM, DenseObject, SparseObject

# Few different values, so that many are equal.
TABLES = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 6), st.integers(1, 9)), elements=st.sampled_from([-2.0, -0.5, 0.0, 0.5, 3.0])
)


def kept(row, limit):
    """Keep the largest positive values of a row, of equal ones those in smaller columns."""
    order = sorted(np.flatnonzero(row > 0), key=lambda column: (-row[column], column))
    out = np.zeros_like(row)
    out[order[:limit]] = row[order[:limit]]
    return out


@given(TABLES)
def test_weights_are_the_logarithm_of_what_is_positive(scores):
    weights = damped(scores)
    assert weights.has_canonical_format
    assert weights.dtype == np.float32
    assert (weights.data > 0).all()
    np.testing.assert_allclose(weights.toarray(), np.log1p(np.maximum(scores, 0)), rtol=1e-6)


@given(TABLES, st.data())
def test_the_heaviest_stay(scores, data):
    x = csr_array(np.maximum(scores, 0))
    limits = data.draw(arrays.arrays(np.int64, len(scores), elements=st.integers(0, 10)))
    best = heaviest(x, limits)
    assert best.has_canonical_format
    wanted = [kept(row, limit) for row, limit in zip(scores, limits, strict=True)]
    np.testing.assert_array_equal(best.toarray(), np.array(wanted, np.float32).reshape(scores.shape))
    np.testing.assert_array_equal(heaviest(x, 2).toarray(), heaviest(x, np.full(len(scores), 2)).toarray())


@given(TABLES, st.data())
def test_groups_are_joined_by_the_maximum(scores, data):
    x = np.maximum(scores, 0)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(x)), max_size=5)))
    starts = np.array([0, *cuts, len(x)])
    got = joined(csr_array(x), starts)
    assert got.has_canonical_format
    wanted = [x[a:b].max(axis=0, initial=0) for a, b in pairwise(starts)]
    np.testing.assert_array_equal(got.toarray(), wanted)


@pytest.fixture(scope="module")
def tiny():
    pytest.importorskip("cognition")
    return load_encoder(DEFAULT_SPARSE_ENCODER, precision="float32")


def test_texts_without_words_have_no_terms(tiny):
    for encode in (tiny.encode_query, tiny.encode_document):
        assert np.diff(encode(["a cat", "", " \t\n", "\u2003", "a"]).indptr).tolist()[1:4] == [0, 0, 0]
        assert encode(["", ""]).shape == (2, tiny.dim)


def test_the_vocabulary_names_the_columns(tiny):
    x = tiny.encode_document(["graph neural networks"])
    assert len(tiny.vocabulary) == tiny.dim
    heaviest_three = [tiny.vocabulary[column] for column in x.indices[np.argsort(-x.data)[:3]]]
    assert heaviest_three == ["graph", "neural", "networks"]


def test_top_terms_are_the_heaviest_and_another_space(tiny):
    texts = ["graph neural networks", "a cat sat on a mat", ""]
    full = tiny.encode_document(texts)
    few = load_encoder(DEFAULT_SPARSE_ENCODER, precision="float32", top_terms=5)
    assert np.diff(few.encode_document(texts).indptr).tolist() == [5, 5, 0]
    np.testing.assert_allclose(few.encode_document(texts).toarray(), heaviest(full, 5).toarray(), atol=1e-4)
    assert few.vocabulary == tiny.vocabulary
    digests = {tiny.fingerprint, few.fingerprint, load_encoder(DEFAULT_SPARSE_ENCODER, top_terms=6).fingerprint}
    assert len(digests) == 3
    assert load_encoder(few, top_terms=9).fingerprint == few.fingerprint
    assert load_encoder(load_encoder(tiny, top_terms=9), top_terms=5).fingerprint == few.fingerprint
    assert load_encoder(tiny, top_terms=tiny.dim).fingerprint == tiny.fingerprint


def test_a_limit_of_the_model_itself_is_kept(tiny, splade):
    from sentence_transformers import SparseEncoder

    model = SparseEncoder(modules=list(splade), device="cpu", max_active_dims=5)
    for engine in ("openvino", "torch"):
        encoder = load_encoder(model, engine=engine, precision="float32")
        assert encoder.fingerprint == load_encoder(tiny, top_terms=5).fingerprint
        assert encoder.encode_query(["graph neural networks"]).nnz == 5


def test_an_object_may_know_its_terms():
    class Named(SparseObject):
        vocabulary = tuple("abcdefghijklmnop")

    assert load_encoder(Named()).vocabulary == Named.vocabulary
    assert np.diff(load_encoder(Named(), top_terms=1).encode_document(["one two three", ""]).indptr).tolist() == [1, 0]
    with pytest.raises(AttributeError, match="vocabulary"):
        load_encoder(SparseObject()).vocabulary  # noqa: B018
    assert load_encoder(SparseObject()).dim == DIM


@pytest.mark.parametrize("bad", [0, -1, 1.5, "many"])
def test_bad_limits_are_refused(bad):
    with pytest.raises(InvalidInput, match="top_terms"):
        load_encoder(SparseObject(), top_terms=bad)


def test_dense_encoders_have_no_terms():
    with pytest.raises(InvalidInput, match="dense encoder"):
        load_encoder(DenseObject(), top_terms=10)
    with pytest.raises(AttributeError, match="vocabulary"):
        load_encoder(DenseObject()).vocabulary  # noqa: B018
