"""Posting lists that are added up: exact answers, whatever the weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array, vstack

from isometry.indexes import Inverted


def kept(index):
    """Return the rows as they are scored, with their own columns."""
    base = index._ready()
    x = np.zeros((len(base), index.dim))
    x[:, base.terms.columns] = base.forward.decoded().toarray()[:, : len(base.terms)]
    return x


def check_exact(index, q, k):
    """Compare the answer with all products of the rows as they are kept."""
    ids, scores = index.search(q, k=k)
    products = np.asarray(q.toarray(), np.float64) @ kept(index).T
    for row in range(q.shape[0]):
        found = ids[row][ids[row] >= 0]
        positive = np.count_nonzero(products[row] > 0)
        assert len(found) == min(k, positive)
        best = -np.sort(-products[row])[: len(found)]
        size = 1e-5 * max(1e-30, best.max(initial=0))
        assert scores[row, : len(found)] == pytest.approx(best, abs=size)
        assert products[row, found] == pytest.approx(best, abs=size)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 60),
    dim=st.integers(1, 30),
    density=st.sampled_from([0.02, 0.2, 0.9]),
    spread=st.sampled_from([0.0, 1.0, 6.0]),
    k=st.integers(1, 12),
    values=st.sampled_from(["float16", "uint8"]),
    seed=st.integers(0, 2**16),
)
def test_answers_are_exact_for_the_weights_that_are_kept(n, dim, density, spread, k, values, seed):
    rng = np.random.default_rng(seed)
    x = random_array((n, dim), density=density, rng=rng, dtype=np.float64, format="csr")
    x.data = np.exp(spread * rng.standard_normal(x.nnz))
    index = Inverted(values=values).build(x.astype(np.float32))
    check_exact(index, vstack([x[:3], x[-1:]]).tocsr().astype(np.float32), k)


@pytest.fixture(scope="module")
def many():
    """More rows than two parts hold, with terms in few of them, in many and in all."""
    rng = np.random.default_rng(0)
    chance = np.concatenate([np.ones(1), np.full(5, 0.4), np.full(200, 0.01), np.full(94, 0.0005)])
    present = rng.random((40_000, 300)) < chance
    return csr_array(np.where(present, rng.gamma(2, size=present.shape), 0).astype(np.float32))


def test_answers_are_exact_over_several_parts(many):
    index = Inverted().build(many)
    assert index._base.postings.dense.shape[0] == 3 * 6
    check_exact(index, many[[0, 20_000, 39_999]], 20)


def test_more_effort_finds_more_and_all_of_it_is_exact(many):
    index = Inverted().build(many)
    q = many[:200]
    exact = index.search(q, k=10)
    found = [
        np.mean([np.isin(a, b).mean() for a, b in zip(index.search(q, 10, effort=effort)[0], exact[0], strict=True)])
        for effort in (1, 40, 70, 95, 100)
    ]
    assert found == sorted(found)
    assert found[1] < 0.999
    assert found[3] > 0.97
    assert found[4] == 1
    for effort in (100, 5000):
        for a, b in zip(index.search(q, 10, effort=effort), exact, strict=True):
            assert np.array_equal(a, b)


def test_little_effort_still_finds_as_many_as_are_asked_for(many):
    index = Inverted().build(many)
    rare = csr_array(np.eye(1, 300, 299, dtype=np.float32) + np.eye(1, 300, dtype=np.float32) * 0.01)
    ids, _ = index.search(rare, k=100, effort=1)
    assert (ids >= 0).all()


def test_masked_rows_do_not_crowd_out_others(many):
    index = Inverted().build(many)
    rng = np.random.default_rng(1)
    allowed = rng.random(40_000) < 0.002
    for effort in (50, 100):
        ids, _ = index.search(many[:20], k=10, allowed=allowed, effort=effort)
        assert allowed[ids].all()
        assert (ids >= 0).all()


def test_ties_are_in_the_order_of_ids():
    x = csr_array(np.ones((50_000, 2), np.float32))
    ids, scores = Inverted().build(x).search(x[:1], k=7)
    assert ids.tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    assert (scores == 2).all()


def test_a_query_of_twenty_thousand_terms():
    x = random_array((400, 20_000), density=0.01, rng=0, dtype=np.float32, format="csr")
    check_exact(Inverted().build(x), csr_array(np.ones((1, 20_000), np.float32)), 10)
