from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from isometry.codecs import LVQ
from isometry.errors import InvalidInput
from isometry.kernels.project import project
from isometry.transforms import LeanVec
from isometry.transforms.leanvec import METHODS
from isometry.transforms.projections import (
    closed_form,
    eigenvector_search,
    frank_wolfe,
    loss,
    principal_directions,
)

DIM, SHORT = 128, 32


def basis(seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((DIM, DIM)))[0]


def synthetic(shift: float, n: int, seed: int, dim: int = DIM) -> np.ndarray:
    """Vectors with a spectrum that falls, along directions that are turned away from those of shift 0."""
    spectrum = np.arange(1, dim + 1) ** -0.6
    turned = basis(1) if shift == 0 else np.linalg.qr((1 - shift) * basis(1) + shift * basis(2))[0]
    return ((np.random.default_rng(seed).standard_normal((n, dim)) * spectrum) @ turned.T).astype(np.float32)


def recall(leanvec: LeanVec, x: np.ndarray, queries: np.ndarray, of: int = 50) -> float:
    """recall@10 of the `of` best by projection."""
    exact = np.argsort(-(queries @ x.T), axis=1)[:, :10]
    found = np.argsort(-(leanvec.transform_query(queries) @ leanvec.transform(x).T), axis=1)[:, :of]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), found.tolist(), strict=True)]))


@pytest.fixture(scope="module", params=[0.0, 0.5, 1.0])
def case(request):
    """One distribution of queries, and every method fitted to it."""
    shift = request.param
    x, queries, test = synthetic(0, 5000, 0), synthetic(shift, 4000, 1), synthetic(shift, 200, 2)
    fitted = {method: LeanVec(SHORT, method=method).fit(x, queries=queries) for method in METHODS}
    losses = {method: leanvec.loss(x, test) for method, leanvec in fitted.items()}
    recalls = {method: recall(leanvec, x, test) for method, leanvec in fitted.items()}
    return shift, fitted, losses, recalls


def test_the_closed_form_loses_least(case):
    _, fitted, _, _ = case
    best = fitted["closed_form"].loss_
    for method, leanvec in fitted.items():
        assert best <= leanvec.loss_ + 1e-9, method
    assert fitted["eigenvector_search"].loss_ <= fitted["pca"].loss_ + 1e-9


def test_learning_from_queries_pays_when_they_differ_from_the_data_and_costs_nothing_when_not(case):
    """The shape of the side check in the specification, on queries that were not learned from."""
    shift, _, losses, recalls = case
    if shift == 0:
        assert max(losses.values()) - min(losses.values()) < 0.005
        assert max(recalls.values()) - min(recalls.values()) < 0.005
    elif shift == 1:
        assert losses["closed_form"] < losses["frank_wolfe"] < losses["eigenvector_search"] < losses["pca"] - 0.1
        assert recalls["closed_form"] > recalls["pca"] + 0.08
    else:
        assert max(losses["closed_form"], losses["frank_wolfe"], losses["eigenvector_search"]) < losses["pca"]
        assert recalls["closed_form"] >= recalls["pca"]


def test_the_formula_of_the_loss_is_the_mean_square_error():
    x, q = synthetic(0, 400, 3), synthetic(1, 300, 4)
    leanvec = LeanVec(SHORT, center=False).fit(x, queries=q)
    exact = q.astype(float) @ x.T
    error = leanvec.transform_query(q).astype(float) @ leanvec.transform(x).T - exact
    assert leanvec.loss(x, q) == pytest.approx(np.sqrt(np.square(error).mean() / np.square(exact).mean()), rel=1e-4)


def test_no_pair_of_this_rank_is_better_than_the_closed_form():
    rng = np.random.default_rng(0)
    k_q, k_x = (m @ m.T for m in rng.standard_normal((2, 20, 30)))
    a, b = closed_form(k_q, k_x, 6)
    best = loss(a, b, k_q, k_x)
    for _ in range(50):
        near = loss(a + 0.01 * rng.standard_normal(a.shape), b + 0.01 * rng.standard_normal(b.shape), k_q, k_x)
        assert near >= best
    for other in (principal_directions(k_q, k_x, 6), eigenvector_search(k_q, k_x, 6), frank_wolfe(k_q, k_x, 6, rng)):
        assert loss(*other, k_q, k_x) >= best


def test_the_closed_form_is_balanced_and_nested():
    rng = np.random.default_rng(0)
    k_q, k_x = (m @ m.T for m in rng.standard_normal((2, 20, 30)))
    a, b = closed_form(k_q, k_x, 20)
    assert np.allclose(np.diag(a @ k_q @ a.T), np.diag(b @ k_x @ b.T))
    assert np.allclose(a.T @ b, np.eye(20))
    short_a, short_b = closed_form(k_q, k_x, 7)
    assert np.allclose(a[:7], short_a)
    assert np.allclose(b[:7], short_b)


def test_learning_from_queries_like_the_data_gives_the_principal_directions():
    k_x = np.diag([9.0, 4.0, 1.0, 0.5])
    a, b = closed_form(3 * k_x, k_x, 2)
    assert np.allclose(a / a[0, 0], np.eye(2, 4))
    assert np.allclose(b / b[0, 0], np.eye(2, 4))


def test_balancing_keeps_few_bits_from_hurting():
    """Without it, 4 bits lose several points of recall where queries are like the data."""
    x, q, test = synthetic(0, 5000, 0), synthetic(0, 4000, 1), synthetic(0, 200, 2)
    leanvec = LeanVec(SHORT).fit(x, queries=q)
    codec = LVQ(4)
    short = codec.fit_transform(leanvec.transform(x))
    exact = np.argsort(-(test @ x.T), axis=1)[:, :10]
    scores = leanvec.transform_query(test) @ codec.inverse_transform(short).T
    found = np.argsort(-scores, axis=1)[:, :50]
    assert np.mean([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)]) > 0.98


def test_without_queries_it_is_pca():
    x = synthetic(0, 2000, 0)
    leanvec, pca = LeanVec(8).fit(x), PCA(8).fit(x)
    assert np.abs(leanvec.components_ @ pca.components_.T) == pytest.approx(np.eye(8), abs=1e-3)
    assert leanvec.query_components_ is not leanvec.components_
    assert np.array_equal(leanvec.query_components_, leanvec.components_)
    assert leanvec.inverse_transform(leanvec.transform(x)) == pytest.approx(
        pca.inverse_transform(pca.transform(x)), abs=1e-4
    )


def test_a_large_mean_takes_no_direction():
    x = synthetic(0, 2000, 0) + 10
    far, near = LeanVec(8).fit(x), LeanVec(8).fit(x - x.mean(axis=0))
    assert np.abs(far.components_ @ near.components_.T) == pytest.approx(np.eye(8), abs=0.02)


def test_rotating_keeps_inner_products():
    x, q = synthetic(0, 500, 0), synthetic(1, 500, 1)
    straight, turned = (LeanVec(8, rotate=rotate).fit(x, queries=q) for rotate in (False, True))
    assert turned.transform_query(q) @ turned.transform(x).T == pytest.approx(
        straight.transform_query(q) @ straight.transform(x).T, abs=1e-4
    )
    assert turned.loss_ == straight.loss_
    assert not np.allclose(turned.components_, straight.components_)


@pytest.mark.parametrize("m", [10, 60, 128])
def test_few_queries_do_not_mislead(m):
    """Shrunk, they are no worse than none where they are like the data, and help where they are not."""
    x = synthetic(0, 3000, 0)
    blind = LeanVec(SHORT).fit(x)
    for shift in (0, 1):
        q, test = synthetic(shift, m, 1), synthetic(shift, 300, 2)
        shrunk, trusting = (LeanVec(SHORT, shrinkage=share).fit(x, queries=q) for share in ("auto", 0.0))
        if shift == 0:
            assert shrunk.loss(x, test) < min(trusting.loss(x, test), blind.loss(x, test) + 0.004)
        else:
            assert shrunk.loss(x, test) < blind.loss(x, test) - 0.04


def test_inner_products_with_restored_vectors_are_the_scores():
    x, q = synthetic(0, 500, 0), synthetic(1, 500, 1)
    leanvec = LeanVec(SHORT).fit(x, queries=q)
    short = leanvec.transform(x)
    difference = q @ leanvec.inverse_transform(short).T - leanvec.transform_query(q) @ short.T
    assert np.ptp(difference, axis=1).max() < 1e-3  # one number per query


def test_the_number_of_dimensions_is_chosen_on_held_out_queries():
    x, q, test = synthetic(0, 5000, 0), synthetic(1, 4000, 1), synthetic(1, 300, 2)
    leanvec = LeanVec().fit(x, queries=q)
    d = leanvec.n_components_
    assert d % 16 == 0
    assert d < DIM
    assert recall(leanvec, x, test) > 0.96
    assert recall(LeanVec(d - 16).fit(x, queries=q), x, test) < 0.985
    assert LeanVec().fit(x).n_components_ <= d
    assert LeanVec().fit(x[:500]).n_components_ == DIM


def test_a_sample_is_enough():
    x, q = synthetic(0, 5000, 0), synthetic(1, 4000, 1)
    whole, some = LeanVec(SHORT).fit(x, queries=q), LeanVec(SHORT, max_samples=2000).fit(x, queries=q)
    assert some.loss(x, q) < whole.loss(x, q) + 0.02


def test_many_rows_are_projected_as_few():
    x = synthetic(0, 5003, 0)
    leanvec = LeanVec(SHORT).fit(x)
    whole = leanvec.transform(x)
    for rows in (slice(0, 1), slice(2047, 2050), slice(5000, None), slice(1, 5000, 3)):
        assert leanvec.transform(x[rows]).tobytes() == whole[rows].tobytes()
    assert whole == pytest.approx(x @ leanvec.components_.T, abs=1e-5)
    assert project(x[:0], leanvec.components_).shape == (0, SHORT)


def test_it_works_in_a_pipeline_and_names_its_features():
    x = synthetic(0, 500, 0)
    piped = make_pipeline(Normalizer(), LeanVec(4)).set_output(transform="pandas").fit(x).transform(x)
    assert list(piped.columns) == ["leanvec0", "leanvec1", "leanvec2", "leanvec3"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "n_components is 0; expected an integer from 1 to 128"),
        ({"n_components": 129}, "n_components is 129"),
        ({"n_components": 2.5}, "n_components is 2.5"),
        ({"method": "fw"}, "method is 'fw'; expected one of closed_form, pca"),
        ({"shrinkage": "some"}, "shrinkage is 'some'; expected 'auto' or a number from 0 to 1"),
        ({"shrinkage": 2}, "shrinkage is 2"),
        ({"shrinkage": float("nan")}, "shrinkage is nan"),
        ({"regularization": 0}, "regularization is 0; expected a number > 0"),
        ({"max_samples": 0}, "max_samples is 0"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(InvalidInput, match=message):
        LeanVec(**parameters).fit(synthetic(0, 10, 0))


def test_results_beyond_float32_are_refused():
    x = synthetic(0, 200, 0)
    leanvec = LeanVec(4).fit(x)
    huge = np.sign(leanvec.components_[:1]) * 2.0**125
    with pytest.raises(InvalidInput, match="the projection of X leaves float32, first at row 1; scale the vectors"):
        leanvec.transform(np.concatenate([x[:1], huge]))


def test_plain_queries_are_checked_without_scikit_learn(monkeypatch):
    x = synthetic(0, 2000, 0)
    leanvec = LeanVec(SHORT).fit(x)
    expected = leanvec.transform_query(x[:3].tolist())
    monkeypatch.setattr("sklearn.utils.validation.check_array", lambda *_, **__: pytest.fail("asked scikit-learn"))
    assert leanvec.transform_query(x[:3]).tobytes() == expected.tobytes()
    for bad, words in ((np.nan, "NaN"), (np.inf, "inf"), (np.float32(2.0**126), "2\\^125")):
        with pytest.raises(InvalidInput, match=words):
            leanvec.transform_query(np.full((1, DIM), bad, np.float32))
