from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline

from isometry.codecs import LVQ, Float16
from isometry.codecs.base import CodecBase
from isometry.errors import Damaged, InvalidInput
from isometry.estimators import check_vectors
from isometry.indexes import METRICS, index_from_spec, load_index
from isometry.indexes.levels import Levels, check_norms, frozen
from isometry.kernels.level import LOOKS_UP
from isometry.kernels.rows import (
    ByteNibbleRows,
    ByteRows,
    Float16Rows,
    Float32Rows,
    TableRows,
    TurnedRows,
    padded_copy,
    unturned,
    values_of,
)
from isometry.storage import read_folder, write_folder
from isometry.transforms import LeanVec


def vectors(n=80, d=24, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, d)) * np.linspace(2, 0.1, d) + 0.5).astype(np.float32)


def fitted(metric, x, **parts):
    levels = Levels(metric, **parts)
    short = levels.fit(x, None)
    return levels, short


def test_without_parts_both_levels_are_the_vectors():
    x = vectors()
    levels, short = fitted("dot", x)
    assert isinstance(levels.walk, Float32Rows)
    assert levels.walk.values.ctypes.data == levels.fine.values.ctypes.data
    np.testing.assert_array_equal(levels.walk.values, x)
    np.testing.assert_array_equal(short, x)
    assert levels.nbytes == x.nbytes
    assert (levels.dim, levels.walk_dim, len(levels.bias)) == (24, 24, 0)


def test_two_levels_of_one_codec_share_their_codes():
    levels, _ = fitted("cosine", vectors(), codec=LVQ(8, 4))
    assert isinstance(levels.walk, ByteRows)
    assert isinstance(levels.fine, ByteNibbleRows)
    assert levels.walk.codes.ctypes.data == levels.fine.codes.ctypes.data
    assert levels.nbytes == sum(array.nbytes for array in levels.fine)


def test_a_transform_shortens_only_what_walks_read():
    levels, short = fitted("dot", vectors(), transform=LeanVec(6), codec=LVQ(8), refine=Float16())
    assert (levels.dim, levels.walk_dim, short.shape[1]) == (24, 6, 6)
    assert isinstance(levels.walk, ByteRows)
    assert isinstance(levels.fine, Float16Rows)
    assert levels.fine.values.shape == (80, 24)
    asked = levels.queries(vectors(3, seed=1))
    assert [part.shape for part in asked] == [(3, 6), (3, 24), (3, 24), (0,)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("parts", [{}, {"codec": LVQ(8, 8)}, {"codec": LVQ(8), "refine": Float16()}], ids=str)
def test_finished_scores_are_those_of_the_metric(metric, parts):
    x, q = vectors(), vectors(5, seed=1)
    levels, _ = fitted(metric, x, **parts)
    asked = levels.queries(q)
    scores = (asked.fine @ values_of(levels.fine, 24).T).astype(np.float32)
    if len(levels.bias):
        scores += levels.bias
    levels.finish(asked, scores)
    expected = {
        "dot": q @ x.T,
        "l2": -np.square(q[:, None] - x).sum(2),
        "cosine": q @ x.T / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(x, axis=1),
    }[metric]
    np.testing.assert_allclose(scores, expected, atol=0.01 * np.abs(expected).max())


def test_rows_that_are_added_are_coded_as_the_others():
    x, more = vectors(), vectors(10, seed=1)
    levels, _ = fitted("l2", x, codec=LVQ(4, 8))
    encoded = levels.encode(more)
    levels.grow(100)
    assert len(levels.walk.codes) == len(levels.bias) == 100
    slots = np.arange(85, 95, dtype=np.int32)
    levels.put(slots, *encoded)
    np.testing.assert_array_equal(levels.fine.residuals[slots], encoded[1].residuals)
    np.testing.assert_array_equal(levels.walk.constants[slots], encoded[0].constants)
    levels.copy_row(90, 2)
    np.testing.assert_array_equal(levels.walk.codes[2], levels.walk.codes[90])
    assert levels.bias[2] == levels.bias[90]


def test_nobody_can_write_to_what_searches_read():
    levels, _ = fitted("l2", vectors(), codec=LVQ(8, 4))
    for array in (*levels.walk, *levels.fine, levels.bias, frozen(np.zeros(3))):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1e-20, 1e-10, 1, 1e17])
def test_norms_are_right_where_squares_leave_float32(size):
    x = np.array([[3, 4], [0, 0], [0, 1]], np.float32) * np.float32(size)
    np.testing.assert_allclose(check_norms(x, "x"), np.linalg.norm(x.astype(float), axis=1), rtol=1e-6)


def test_norms_that_are_too_large_are_named():
    with pytest.raises(InvalidInput, match=r"q row 1 has norm 3e\+30; at most 4.61e\+18"):
        check_norms(np.array([[1], [3e30]], np.float32), "q")


def test_a_transform_keeps_the_full_vectors_for_the_hits():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((400, 8)) @ rng.standard_normal((8, 48)) + 0.3 * rng.standard_normal((400, 48))).astype(
        "f4"
    )
    index = index_from_spec("LeanVec6,LVQ8,Flat", metric="dot").build(x)
    ids, scores = index.search(x[:20], k=1)
    assert index.spec == "LeanVec6,LVQ8,Flat"
    exact = np.take_along_axis(x[:20] @ x.T, ids, axis=1)
    assert np.abs(scores - exact).max() < 0.01 * np.abs(exact).max()


class Turn(TransformerMixin, BaseEstimator):
    """A transform that centres, turns its axes round and says what scores lack."""

    def fit(self, X, y=None):
        self.mean_ = np.asarray(X).mean(0)
        return self

    def transform(self, X):
        return np.ascontiguousarray((X - self.mean_)[:, ::-1])

    def transform_query(self, q):
        return np.ascontiguousarray(q[:, ::-1])

    def query_offset(self, q):
        return q @ self.mean_


class Stretch(TransformerMixin, BaseEstimator):
    """A transform that changes what is similar."""

    redefines = True

    def fit(self, X, y=None):
        self.n_features_in_ = np.asarray(X).shape[1]
        return self

    def transform(self, X):
        return X[:, :12] * np.arange(1, 13, dtype=np.float32)


class Table(CodecBase):
    """A codec of signs by tables: byte j is 1 where dimension j is above its mean."""

    maps_queries = True

    def fit(self, X, y=None):
        x = check_vectors(self, X, reset=True)
        self.mean_, self.nbytes_per_vector_ = x.mean(0), x.shape[1]
        self.size_ = np.abs(x - self.mean_).mean(0)
        return self

    def _encode(self, x):
        return (x > self.mean_).astype(np.uint8)

    def queries(self, q):
        table = np.zeros((*q.shape, 256), np.float32)
        table[:, :, 0], table[:, :, 1] = -q * self.size_, q * self.size_
        return table.reshape(len(q), -1)

    def inverse_transform(self, X):
        return np.where(self._checked_codes(X) > 0, self.size_, -self.size_) + self.mean_

    def fine_rows(self, codes):
        return TableRows(padded_copy(self._checked_codes(codes)))


def scores_of(levels, q):
    """Return the final scores of all rows, by the values that rows hold."""
    asked = levels.queries(q)
    fine = levels.asked(asked, slice(None))[1]
    scores = (fine @ values_of(levels.fine, fine.shape[1]).T).astype(np.float32)
    if len(levels.bias):
        scores += levels.bias
    levels.finish(asked, scores)
    return scores


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("chain", [(Turn(),), (Turn(), Turn()), make_pipeline(Turn(), Turn())], ids=len)
def test_a_chain_that_loses_nothing_changes_no_scores(metric, chain):
    x, q = vectors(), vectors(5, seed=1)
    plain, _ = fitted(metric, x)
    turned, short = fitted(metric, x, transform=chain)
    assert short.shape == (80, 24)
    np.testing.assert_allclose(scores_of(turned, q), scores_of(plain, q), atol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_what_redefines_similarity_comes_first(metric):
    x, q = vectors(), vectors(5, seed=1)
    plain, _ = fitted(metric, Stretch().transform(x))
    stretched, _ = fitted(metric, x, transform=(Stretch(), Turn()), codec=LVQ(8, 8))
    assert (stretched.dim, plain.dim) == (24, 12)
    expected = scores_of(plain, Stretch().transform(q))
    np.testing.assert_allclose(scores_of(stretched, q), expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(("codec", "terms"), [(None, 24), (LVQ(8), 24), (LVQ(4), 24), (Table(), 2 * 24)])
def test_a_score_adds_up_a_number_per_dimension_or_a_few_per_byte(codec, terms):
    assert fitted("dot", vectors(), codec=codec)[0].terms == terms


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("refine", [None, Table()], ids=["alone", "behind another"])
def test_a_codec_of_tables_scores_as_it_decodes(metric, refine):
    x, q = vectors(), vectors(5, seed=1)
    parts = {"codec": Table()} if refine is None else {"codec": LVQ(8), "refine": refine}
    levels, _ = fitted(metric, x, **parts)
    centre = x.mean(0) if metric == "l2" else np.zeros(24, np.float32)
    norms = (np.linalg.norm(part, axis=1)[:, None] if metric == "cosine" else 1 for part in (x, q))
    x, q = ((part - centre) / norm for part, norm in zip((x, q), norms, strict=True))
    codec = Table().fit(x.astype(np.float32))
    products = q @ codec.inverse_transform(codec.transform(x.astype(np.float32))).T
    if metric == "l2":
        products = np.minimum(2 * products - np.square(x).sum(1) - np.square(q).sum(1)[:, None], 0)
    np.testing.assert_allclose(scores_of(levels, (q + centre).astype(np.float32)), products, atol=2e-3)


def test_what_is_held_out_is_kept_but_teaches_nothing():
    x = vectors()
    x[:10] += 100
    learned = np.arange(80) >= 10
    levels = Levels("dot", transform=Turn(), codec=LVQ(8), refine=Float16())
    levels.fit(x, None, learned)
    assert len(levels.walk.codes) == 80
    np.testing.assert_array_equal(levels._part("transform").mean_, x[10:].mean(0))
    np.testing.assert_array_equal(levels._part("codec").mean_, LVQ(8).fit(Turn().fit(x[10:]).transform(x[10:])).mean_)


def test_everything_held_out_leaves_nothing_to_learn():
    index = index_from_spec("LVQ8,Flat")
    with pytest.raises(InvalidInput, match="held_out names all 80 rows"):
        index.build(vectors(), held_out=range(80))
    with pytest.raises(InvalidInput, match="80"):
        index.build(vectors(), held_out=[80])
    assert len(index.build(vectors(), held_out=[3, 5])) == 80


def test_parts_that_do_not_fit_the_rows_are_found_out_before_a_kernel_reads():
    x = vectors()
    index = index_from_spec("RVQ2,Flat").build(x)
    index._levels._part("codec").codebooks_ = index._levels._part("codec").codebooks_[:1]
    with pytest.raises(Damaged, match="queries of 256 and 256 dimensions for rows of 512 and 512"):
        index.search(x[:1])
    graph = index_from_spec("PCA6,Vamana4").build(x)
    graph._levels._part("transform").components_ = np.zeros((5, 24), np.float32)
    with pytest.raises(Damaged, match="queries of 5 and 5 dimensions"):
        graph.search(x[:1])
    white = index_from_spec("Whitening,Vamana4", metric="l2").build(x)
    whitening = white._levels._part("transform")
    whitening.components_ = np.concatenate([whitening.components_] * 2)
    whitening.deviations_ = np.concatenate([whitening.deviations_] * 2)
    with pytest.raises(Damaged, match="vectors of 48 dimensions, and the mean has 24"):
        white.search(x[:1])


def test_what_parts_have_learned_counts_among_the_bytes():
    x = vectors()
    plain, chained = (index_from_spec(spec).build(x) for spec in ("LVQ8,Flat", "PCA12,LVQ8,Flat"))
    assert plain._levels.shared_bytes == 4 * 24  # the mean
    assert chained._levels.shared_bytes >= 4 * (12 * 24 + 24 + 12)
    assert plain.nbytes == plain._levels.nbytes + 4 * 24 + 80 * 12
    assert plain.bytes_per_vector == 32 + 8


@pytest.mark.parametrize(
    "spec", ["PCA8,LVQ8,Flat", "LVQ4,Vamana8 -> Float16", "LVQ8,IVF4", "PQ8x4,Flat", "PQ8x4,IVF4 -> LVQ8"]
)
def test_an_index_from_a_folder_is_filled_and_built_by_the_parts_it_was_made_of(tmp_path, spec):
    x = np.random.default_rng(0).standard_normal((300, 16), dtype=np.float32)
    wanted = index_from_spec(spec, metric="dot").build(x)
    index_from_spec(spec, metric="dot").build(x[:0]).save(tmp_path / "empty")
    wanted.save(tmp_path / "full")
    filled, again = load_index(tmp_path / "empty"), load_index(tmp_path / "full")
    filled.add(x)
    again.build(x)
    for index in (filled, again):
        assert index.bytes_per_vector == wanted.bytes_per_vector
        assert (index.search(x[:5], 3)[0] == wanted.search(x[:5], 3)[0]).all()


@pytest.mark.parametrize("spec", ["PQ8x4,Flat", "PQ8x4,Flat -> LVQ8", "PQ8x4,IVF4"])
def test_turned_rows_are_stored_as_they_were_and_keep_step(tmp_path, monkeypatch, spec):
    x = np.random.default_rng(0).standard_normal((340, 16), dtype=np.float32)
    index = index_from_spec(spec, metric="dot").build(x[:300])
    assert index._levels.halved == LOOKS_UP
    index.save(tmp_path / "index")
    manifest = json.loads((tmp_path / "index" / "manifest.json").read_text())
    assert "TurnedRows" not in json.dumps(manifest)
    opened = load_index(tmp_path / "index")
    assert opened.bytes_per_vector == pytest.approx(index.bytes_per_vector, rel=0.1)
    for each in (index, opened):
        each.remove(range(10, 90, 3))
        each.add(x[300:])
    walk, mask = index._levels.walk, np.arange(340) % 7 < 3
    plain = TableRows(frozen(padded_copy(unturned(walk.codes)))) if isinstance(walk, TurnedRows) else walk
    for queries in (x[:1], x[:20]):
        for options in ({}, {"allowed": mask}, {"threads": 2}):
            first, second = (each.search(queries, 12, effort=50, **options) for each in (index, opened))
            assert np.array_equal(first[0], second[0])
            assert np.array_equal(first[1], second[1])
            with monkeypatch.context() as patched:
                patched.setattr(index._levels, "walk", plain)
                third = index.search(queries, 12, effort=50, **options)
            assert np.array_equal(first[0], third[0])
            assert np.array_equal(first[1], third[1])


def test_files_hold_no_turned_rows(tmp_path):
    index = index_from_spec("PQ8x4,Flat", metric="dot").build(vectors())
    index.save(tmp_path / "index")
    folder = read_folder(tmp_path / "index")
    write_folder(tmp_path / "other", "CompressedFlat", folder.parameters | {"fine": "TurnedRows"}, folder.arrays)
    with pytest.raises(Damaged, match="layout 'TurnedRows'"):
        load_index(tmp_path / "other")
