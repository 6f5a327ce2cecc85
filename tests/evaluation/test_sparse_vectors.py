"""Sparse vectors for benchmarks: the shape of the synthetic ones, exact neighbours, and what is kept of real ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from isometry.encoders import Fingerprint
from isometry.errors import InvalidInput
from isometry.evaluation import sparse_vectors
from isometry.evaluation.corpora import ShortTexts
from isometry.evaluation.sparse_vectors import SparseSet, load_sparse, synthetic_sparse


def share_of_the_heaviest(x, part):
    """Mean share of a row's sum that the given part of its values has."""
    rows = np.split(x.data, x.indptr[1:-1])
    return np.mean([np.sort(row)[::-1][: max(1, round(part * len(row)))].sum() / row.sum() for row in rows])


def test_the_synthetic_vectors_are_like_learned_ones():
    made = synthetic_sparse(4_000, queries=300)
    assert made.x.shape == (len(made), made.dim) == (4_000, 30_522)
    assert made.queries.shape == (300, 30_522)
    # The tenth of a query's few terms that is heaviest has .30 of the sum in SPLADE-v3's queries of MS MARCO.
    for x, nnz, share in ((made.x, 120, 0.4), (made.queries, 32, 0.3)):
        assert x.dtype == np.float32
        assert x.has_canonical_format
        assert (x.data > 0).all()
        assert np.isclose(np.median(np.diff(x.indptr)), nnz, rtol=0.1)
        assert np.diff(x.indptr).std() > 0.1 * nnz
        assert share_of_the_heaviest(x, 0.1) > share
    lists = np.sort(np.bincount(made.x.indices, minlength=made.dim))[::-1]
    assert lists[:300].sum() > 0.4 * made.x.nnz, "few terms have most of the postings"


def test_synthetic_texts_of_one_topic_are_near():
    made = synthetic_sparse(4_000, queries=200)
    norms = np.sqrt(made.x.multiply(made.x).sum(axis=1))
    best = made.exact_scores(1)[:, 0] / norms[made.exact(1)[:, 0]]
    other = (made.queries @ made.x[:200].T).toarray() / norms[:200]
    assert best.mean() > 2 * other.mean()


def test_synthetic_vectors_follow_the_seed():
    first, again, other = (synthetic_sparse(900, queries=7, seed=seed) for seed in (3, 3, 4))
    for name in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(first.x, name), getattr(again.x, name))
        assert np.array_equal(getattr(first.queries, name), getattr(again.queries, name))
    assert not np.array_equal(first.x.indices, other.x.indices)


@pytest.mark.parametrize(
    "bad", [{"n": 0}, {"vocabulary": 10}, {"nnz": 0}, {"nnz": 201}, {"query_nnz": 0}, {"queries": 0}]
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(InvalidInput, match=f"{next(iter(bad))} "):
        synthetic_sparse(**{"n": 10, **bad})


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 130), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_exact_neighbours_equal_brute_force(n, nq, seed):
    rng = np.random.default_rng(seed)
    x, queries = (
        csr_array(random_array((rows, 12), density=0.2, rng=rng, data_sampler=lambda size: rng.integers(1, 4, size)))
        for rows in (n, nq)
    )
    ids, scores = (get(10) for get in (SparseSet("s", x, queries).exact, SparseSet("s", x, queries).exact_scores))
    for row, products in enumerate((queries @ x.T).toarray()):
        best = sorted(np.flatnonzero(products), key=lambda at: (-products[at], at))[:10]
        assert ids[row].tolist() == best + [-1] * (10 - len(best))
        assert scores[row].tolist() == [*products[best].tolist(), *[-np.inf] * (10 - len(best))]


def test_the_head_of_a_set():
    made = synthetic_sparse(500, queries=20)
    head = made.head(100, queries=5)
    assert (head.x.shape[0], head.queries.shape[0]) == (100, 5)
    assert np.array_equal(head.x.toarray(), made.x[:100].toarray())
    with pytest.raises(InvalidInput, match="n is 501"):
        made.head(501)
    with pytest.raises(InvalidInput, match="k is 101"):
        made.exact(101)


class Letters:
    """Counts letters: a sparse encoder that costs nothing."""

    kind, dim, fingerprint = "sparse", 26, Fingerprint("letters", "0" * 64)
    calls: tuple[tuple[str, int], ...] = ()

    def encode(self, texts, role):
        Letters.calls += ((role, len(texts)),)
        counts = [[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts]
        return csr_array(np.array(counts, np.float32))

    def encode_document(self, texts):
        return self.encode(texts, "document")

    def encode_query(self, texts):
        return self.encode(texts, "query")


def test_real_texts_are_encoded_once_and_shard_by_shard(tmp_path, monkeypatch):
    monkeypatch.setattr("isometry.encoders.load_encoder", lambda *_: Letters())
    monkeypatch.setattr(sparse_vectors, "SHARD_ROWS", 10)
    monkeypatch.setattr(Letters, "calls", ())
    base = [f"text {'abcdefghij'[i % 10] * (1 + i // 10)}" for i in range(25)]
    texts = ShortTexts(base, ["a question", "another"], [], {})
    steps = []
    first = load_sparse(texts, tmp_path, progress=lambda *step: steps.append(step))
    assert first.x.shape == (25, 26)
    assert Letters.calls == (("query", 2), ("document", 10), ("document", 10), ("document", 5))
    assert steps[-3:] == [(10, 25, "texts"), (20, 25, "texts"), (25, 25, "texts")]
    fewer = load_sparse(ShortTexts(base[:20], texts.queries, [], {}), tmp_path)
    assert len(Letters.calls) == 4, "the shards of more texts are those of fewer"
    assert np.array_equal(fewer.x.toarray(), first.x[:20].toarray())
    assert np.array_equal(first.x.toarray(), Letters().encode_document(base).toarray())
    exact = first.exact(3)
    monkeypatch.setattr(SparseSet, "_scan", lambda _: pytest.fail("searched again"))
    assert np.array_equal(load_sparse(texts, tmp_path).exact(3), exact)
