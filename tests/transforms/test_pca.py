from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA as ScikitPCA
from sklearn.decomposition import TruncatedSVD

from isometry.errors import DimensionMismatch, InvalidInput
from isometry.estimators import restore, state
from isometry.testing.estimator import same_however_asked, vectors
from isometry.transforms import PCA

DIM = 48


def falling(n: int, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(9).standard_normal((DIM, DIM)))[0]
    return ((rng.standard_normal((n, DIM)) * 0.9 ** np.arange(DIM)) @ turn + mean).astype(np.float32)


@pytest.mark.parametrize("n", [20, 48, 49, 2000])
def test_it_is_scikit_learns(n):
    x = falling(n, mean=1)
    ours, theirs = PCA(8).fit(x), ScikitPCA(8, svd_solver="full").fit(x.astype(np.float64))
    assert ours.transform(x) == pytest.approx(theirs.transform(x), abs=1e-4)
    assert ours.explained_variance_ == pytest.approx(theirs.explained_variance_, rel=1e-6)
    assert ours.inverse_transform(ours.transform(x)) == pytest.approx(
        theirs.inverse_transform(theirs.transform(x)), abs=1e-4
    )


def test_without_centering_it_is_the_singular_value_decomposition():
    x = falling(2000, mean=1)
    ours, theirs = PCA(4, center=False).fit(x), TruncatedSVD(4, algorithm="arpack", random_state=0).fit(x)
    assert np.abs(ours.components_ @ theirs.components_.T) == pytest.approx(np.eye(4), abs=1e-3)
    assert not ours.mean_.any()
    assert not ours.query_offset(x).any()
    assert np.array_equal(ours.transform(x), ours.transform_query(x))
    assert ours.explained_variance_ == pytest.approx(np.square(ours.transform(x)).mean(axis=0), rel=1e-3)


@pytest.mark.parametrize("center", [True, False])
def test_all_components_keep_inner_products(center):
    x, q = falling(500, mean=1), falling(30, 1, mean=2)
    pca = PCA(center=center).fit(x)
    scores = pca.transform_query(q) @ pca.transform(x).T + pca.query_offset(q)[:, None]
    assert scores == pytest.approx(q @ x.T, abs=1e-3)
    assert pca.inverse_transform(pca.transform(x)) == pytest.approx(x, abs=1e-4)


def test_scores_are_those_of_the_restored_vectors():
    x, q = falling(500, mean=1), falling(30, 1, mean=2)
    pca = PCA(12).fit(x)
    scores = pca.transform_query(q) @ pca.transform(x).T + pca.query_offset(q)[:, None]
    assert scores == pytest.approx(q @ pca.inverse_transform(pca.transform(x)).T, abs=1e-3)


def test_a_large_mean_costs_no_precision():
    x = falling(5000)
    far, near = PCA(8).fit(x + 1000), PCA(8).fit(x)
    assert np.abs(far.components_ @ near.components_.T) == pytest.approx(np.eye(8), abs=1e-3)


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("center", [True, False])
def test_fewer_rows_than_components_are_filled_up(n, center):
    x = falling(n)
    pca = PCA(20, center=center).fit(x)
    assert pca.components_ @ pca.components_.T == pytest.approx(np.eye(20), abs=1e-5)
    assert pca.components_.shape == (pca.n_components_, DIM) == (20, DIM)
    assert pca.inverse_transform(pca.transform(x)) == pytest.approx(x, abs=1e-5)
    whole, later = PCA(center=center).fit(x), falling(50, 1)
    assert whole.inverse_transform(whole.transform(later)) == pytest.approx(later, abs=1e-5)


def test_constant_rows_have_no_variance():
    pca = PCA(3).fit(np.full((5, 4), 0.1))
    assert not pca.explained_variance_.any()
    assert not pca.transform(np.full((2, 4), 0.1)).any()


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20, 1e36])
def test_the_scale_does_not_matter(scale):
    x = falling(500)
    one, other = PCA(4).fit(x), PCA(4).fit(x * np.float32(scale))
    assert np.abs(one.components_ @ other.components_.T) == pytest.approx(np.eye(4), abs=1e-3)
    assert other.transform(x * np.float32(scale)) / scale == pytest.approx(one.transform(x), abs=1e-3)


def test_queries_have_the_same_answer_however_asked():
    pca = PCA(8).fit(vectors(100, 0))
    same_however_asked(pca.transform_query, "transform_query")
    same_however_asked(pca.query_offset, "query_offset")
    with pytest.raises(DimensionMismatch):
        pca.query_offset(np.zeros((2, 23)))


def test_blocks_are_projected_as_rows(monkeypatch):
    x = falling(300)
    pca = PCA(8).fit(x)
    whole = pca.transform(x)
    monkeypatch.setattr("isometry.transforms.linear._BLOCK_ROWS", 7)
    assert pca.transform(x).tobytes() == whole.tobytes()


def test_a_sample_is_reproducible_and_enough():
    x = falling(5000)
    some = PCA(8, max_samples=2000).fit(x)
    assert some.components_.tobytes() == PCA(8, max_samples=2000).fit(x).components_.tobytes()
    assert some.components_.tobytes() != PCA(8, max_samples=2000, random_state=1).fit(x).components_.tobytes()
    kept = np.square(some.transform(x)).sum() / np.square(PCA(8).fit_transform(x)).sum()
    assert kept > 0.99


def test_what_is_restored_asks_as_before():
    x = falling(500, mean=1)
    pca = PCA(8).fit(x)
    again = restore(*state(pca))
    for method in ("transform", "transform_query", "query_offset"):
        assert getattr(pca, method)(x).tobytes() == getattr(again, method)(x).tobytes()
    assert list(pca.get_feature_names_out())[:2] == ["pca0", "pca1"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 128}, "n_components is 128; expected an integer from 1 to 48"),
        ({"n_components": 0}, "n_components is 0"),
        ({"n_components": 0.5}, r"n_components is 0\.5"),
        ({"max_samples": 0}, "max_samples is 0"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(InvalidInput, match=message):
        PCA(**parameters).fit(falling(100))


def test_results_beyond_float32_are_refused():
    x = np.random.default_rng(0).standard_normal((100, 256), dtype=np.float32)
    pca = PCA(1).fit(x)
    huge = np.sign(pca.components_) * 2.0**125
    with pytest.raises(InvalidInput, match="the projection of X leaves float32, first at row 1; scale the vectors"):
        pca.transform(np.concatenate([x[:1], huge]))
