"""Indexes of sparse vectors: what both promise beyond the conformance suite."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from isometry.errors import DimensionMismatch, InvalidInput
from isometry.indexes import Inverted, Seismic, index_from_spec, load_index

BOTH = [Inverted, Seismic]
ALL = 1000
"""An effort that leaves nothing out."""


def brute_force(x, q, k):
    """Return the k largest inner products of each query, and minus infinity where rows share no term."""
    scores = (q.astype(np.float64) @ x.astype(np.float64).T).toarray()
    scores[scores == 0] = -np.inf
    return -np.sort(-scores, axis=1)[:, :k]


def sparse(n, dim, density, seed):
    return random_array((n, dim), density=density, rng=seed, dtype=np.float32, format="csr")


@pytest.mark.parametrize("make", BOTH)
class TestBoth:
    def test_rows_without_terms_are_never_found(self, make):
        x = csr_array(np.array([[0, 0, 0], [1, 0, 2], [0, 0, 0], [0, 3, 0]], np.float32))
        ids, scores = make().build(x).search(x, k=3, effort=ALL)
        assert ids.tolist() == [[-1] * 3, [1, -1, -1], [-1] * 3, [3, -1, -1]]
        assert scores[1, 0] == 5
        assert scores[3, 0] == 9

    def test_nothing_but_empty_rows(self, make):
        x = csr_array((5, 7), dtype=np.float32)
        index = make().build(x)
        assert (index.search(x, k=2)[0] == -1).all()
        assert np.array_equal(index.add(csr_array(np.eye(2, 7, dtype=np.float32))), [5, 6])
        assert index.search(csr_array(np.eye(1, 7, dtype=np.float32)), k=2)[0].tolist() == [[5, -1]]

    def test_terms_that_no_row_has_change_nothing(self, make):
        x = csr_array(np.array([[1, 0, 2, 0], [0, 0, 1, 0]], np.float32))
        q = csr_array(np.array([[0, 0, 1, 0], [0, 9, 1, 9]], np.float32))
        ids, scores = make().build(x).search(q, k=2)
        assert np.array_equal(ids[0], ids[1])
        assert np.array_equal(scores[0], scores[1])

    def test_equal_columns_add_up_and_unsorted_ones_are_sorted(self, make):
        x = csr_array((np.array([1, 2, 4], np.float32), np.array([2, 0, 2]), np.array([0, 3])), shape=(1, 3))
        q = csr_array(np.array([[0, 0, 1]], np.float32))
        assert make().build(x).search(q, k=1)[1].tolist() == [[5]]

    def test_one_term_in_every_row(self, make):
        x = sparse(40_000, 50, 0.02, 0).tolil()
        x[:, 7] = np.linspace(0.5, 1, 40_000, dtype=np.float32)[:, None]
        x = x.tocsr().astype(np.float32)
        q = csr_array(np.eye(1, 50, 7, dtype=np.float32))
        ids, scores = make().build(x).search(q, k=10)
        assert scores[0] == pytest.approx(brute_force(x, q, 10)[0], rel=1e-3)
        assert ids[0].min() > 39_900

    def test_a_row_of_ten_thousand_terms(self, make):
        x = sparse(200, 20_000, 0.001, 0).tolil()
        x[100, :10_000] = 0.5
        x = x.tocsr().astype(np.float32)
        index = make().build(x)
        assert index.search(x[100:101], k=3)[0][0, 0] == 100
        scores = index.search(x[100:101], k=3, effort=ALL)[1]
        assert scores[0] == pytest.approx(brute_force(x, x[100:101], 3)[0], rel=1e-3)

    def test_weights_of_every_size(self, make):
        x = sparse(300, 80, 0.1, 0)
        for scale in (1e-30, 1e-12, 1e12):
            ids, scores = make().build(x * np.float32(scale)).search(x[:5], k=4, effort=ALL)
            assert scores == pytest.approx(brute_force(x, x[:5], 4) * scale, rel=2e-3)
            assert (ids[:, 0] >= 0).all()

    @pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, 1e30])
    def test_weights_that_make_no_sense_are_refused(self, make, bad):
        x = csr_array(np.array([[1.0, bad]], np.float32))
        good = csr_array(np.ones((1, 2), np.float32))
        with pytest.raises(InvalidInput):
            make().build(x)
        index = make().build(good)
        for call in (index.add, index.search):
            with pytest.raises(InvalidInput):
                call(x)
        assert len(index) == 1

    def test_another_vocabulary_is_refused(self, make):
        index = make().build(csr_array(np.ones((1, 2), np.float32)))
        with pytest.raises(DimensionMismatch):
            index.search(csr_array(np.ones((1, 3), np.float32)))
        with pytest.raises(DimensionMismatch):
            index.add(csr_array(np.ones((1, 3), np.float32)))

    def test_other_metrics_are_refused(self, make):
        with pytest.raises(InvalidInput, match="metric is 'cosine'; sparse vectors are compared by 'dot' only"):
            make(metric="cosine")

    def test_builds_are_the_same_for_any_number_of_threads(self, make, tmp_path):
        x = sparse(3000, 200, 0.05, 1)
        for threads in (1, 2, 4):
            make(threads=threads).build(x).save(tmp_path / str(threads))
        first = [(p.name, p.read_bytes()) for p in sorted((tmp_path / "1").glob("*.npy"))]
        for threads in (2, 4):
            assert [(p.name, p.read_bytes()) for p in sorted((tmp_path / str(threads)).glob("*.npy"))] == first

    def test_many_small_additions_are_as_one(self, make):
        x, more = sparse(100, 60, 0.1, 0), sparse(50, 60, 0.1, 1)
        one, many = make().build(x), make().build(x)
        one.add(more)
        for row in range(50):
            assert many.add(more[row : row + 1]).tolist() == [100 + row]
        assert len(many._added) <= 6
        for a, b in zip(one.search(more, k=20), many.search(more, k=20), strict=True):
            assert np.array_equal(a, b)

    def test_a_copy_is_not_touched_by_additions(self, make):
        import copy

        index = make().build(sparse(20, 30, 0.2, 0))
        twin = copy.copy(index)
        twin.add(sparse(3, 30, 0.2, 1))
        twin.remove([0])
        assert (len(index), index.n_rows, len(twin), twin.n_rows) == (20, 20, 22, 23)

    def test_it_says_what_it_is(self, make):
        index = make().build(sparse(20, 30, 0.2, 0))
        assert repr(index) == f"{make.__name__}: 20 vectors of 30 terms"
        assert index.nbytes > 0
        assert (index.metric, index.dim) == ("dot", 30)

    @pytest.mark.parametrize("mode", ["verified", "unverified"])
    def test_no_flipped_byte_crashes(self, make, mode, tmp_path):
        command = [sys.executable, Path(__file__).with_name("damage.py"), tmp_path, make.__name__, "dot", mode]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found = json.loads(done.stdout)
        assert not found["other"]
        assert found["refused"] > 1000
        assert mode == "unverified" or not found["changed"]


@pytest.mark.parametrize("spec", ["Inverted", "Seismic", "Seismic2000", "Seismic(2000,0.2)", "Seismic(3500,0.2,0.5)"])
def test_specifications_are_printed_back(spec, tmp_path):
    index = index_from_spec(spec, metric="dot").build(sparse(50, 30, 0.2, 0))
    assert index.spec == spec
    index.save(tmp_path / "index")
    assert load_index(tmp_path / "index").spec == spec
