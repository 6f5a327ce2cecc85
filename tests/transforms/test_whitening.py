from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA as ScikitPCA

from isometry.errors import InvalidInput
from isometry.transforms import Whitening

DIM = 32


def falling(n: int, seed: int = 0, base: float = 0.8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(9).standard_normal((DIM, DIM)))[0]
    return ((rng.standard_normal((n, DIM)) * base ** np.arange(DIM)) @ turn + 1).astype(np.float32)


def test_it_is_scikit_learns():
    x = falling(2000)
    ours = Whitening(8, regularization=0).fit(x)
    theirs = ScikitPCA(8, whiten=True, svd_solver="full").fit(x.astype(np.float64))
    assert ours.transform(x) == pytest.approx(theirs.transform(x), abs=1e-3)


def test_all_directions_count_the_same():
    x = falling(2000)
    y = Whitening(regularization=0).fit_transform(x)
    assert np.cov(y.T) == pytest.approx(np.eye(DIM), abs=1e-3)
    assert y.mean(axis=0) == pytest.approx(np.zeros(DIM), abs=1e-3)


def test_regularization_holds_small_directions_back():
    x = falling(2000)
    variances = [Whitening(regularization=share).fit_transform(x).var(axis=0) for share in (0.0, 1e-3, 1.0, 1e9)]
    assert (np.diff([each[-1] for each in variances]) < 0).all()
    assert variances[1][0] == pytest.approx(1, abs=0.01)
    assert variances[3][1] / variances[3][0] == pytest.approx(0.8**2, rel=0.1)  # the directions as they were


@pytest.mark.parametrize("regularization", [0.0, 1e-3])
def test_what_is_whitened_can_be_restored(regularization):
    x = falling(2000, base=0.9)
    whitening = Whitening(regularization=regularization).fit(x)
    assert whitening.inverse_transform(whitening.transform(x)) == pytest.approx(x, abs=1e-3)
    short = Whitening(8, regularization=regularization).fit(x)
    assert short.transform(x) == pytest.approx(whitening.transform(x)[:, :8], abs=1e-4)
    assert np.square(short.inverse_transform(short.transform(x)) - x).sum() < np.square(x - x.mean(axis=0)).sum()


def test_it_says_that_it_changes_the_similarity():
    assert Whitening.redefines
    assert not hasattr(Whitening, "transform_query")


@pytest.mark.parametrize("regularization", [0.0, 1e-3])
def test_directions_without_variance_do_no_harm(regularization):
    x = falling(500) * (np.arange(DIM) % 2).astype(np.float32)
    whitening = Whitening(regularization=regularization).fit(x)
    assert np.abs(whitening.transform(x)).max() < 10
    later = whitening.transform(falling(500, 1))
    assert np.isfinite(later).all()
    for still in (np.full((5, 4), 0.1), np.zeros((1, 4))):
        constant = Whitening(regularization=regularization).fit(still)
        assert (constant.deviations_ == 1).all()
        assert not constant.transform(still).any()


def test_more_directions_than_rows():
    x = falling(5)
    whitening = Whitening(20).fit(x)
    assert whitening.transform(x).shape == (5, 20)
    assert whitening.inverse_transform(whitening.transform(x)) == pytest.approx(x, abs=1e-4)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 33}, "n_components is 33; expected an integer from 1 to 32"),
        ({"n_components": 0}, "n_components is 0"),
        ({"regularization": -1}, "regularization is -1; expected a number >= 0"),
        ({"regularization": float("nan")}, "regularization is nan"),
        ({"regularization": float("inf")}, "regularization is inf"),
        ({"regularization": "some"}, "regularization is 'some'"),
        ({"regularization": True}, "regularization is True"),
        ({"max_samples": 0}, "max_samples is 0"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(InvalidInput, match=message):
        Whitening(**parameters).fit(falling(100))


def test_results_beyond_float32_are_refused():
    whitening = Whitening().fit(falling(100) * np.float32(1e-20))
    with pytest.raises(InvalidInput, match="leaves float32, first at row 0"):
        whitening.transform(falling(3) * np.float32(1e30))
