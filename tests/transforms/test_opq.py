from __future__ import annotations

import numpy as np
import pytest

from isometry.codecs import ProductQuantizer
from isometry.errors import InvalidInput
from isometry.transforms import OPQ
from isometry.transforms.opq import _dealt


def rows(n: int, d: int = 24, seed: int = 0) -> np.ndarray:
    """Vectors whose variances fall fast, along directions that are no axes."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))[0]
    return ((rng.standard_normal((n, d)) * 0.8 ** np.arange(d)) @ turn + 0.5).astype(np.float32)


X = rows(2000)


def error(z: np.ndarray, m: int) -> float:
    codec = ProductQuantizer(m)
    return float(np.square(codec.inverse_transform(codec.fit_transform(z)) - z).sum(axis=1).mean())


def test_it_turns_and_nothing_else():
    opq = OPQ(4, n_iter=3).fit(X)
    assert np.allclose(opq.components_ @ opq.components_.T, np.eye(24), atol=1e-5)
    assert np.allclose(opq.inverse_transform(opq.transform(X)), X, atol=1e-5)
    q = rows(5, seed=1)
    scores = opq.transform_query(q) @ opq.transform(X).T + opq.query_offset(q)[:, None]
    assert np.allclose(scores, q @ X.T, atol=1e-4)


def test_product_quantization_loses_less_after_it():
    plain, dealt, turned = error(X, 4), error(OPQ(4, n_iter=0).fit_transform(X), 4), error(OPQ(4).fit_transform(X), 4)
    assert dealt < 0.9 * plain
    assert turned < dealt


def test_fewer_dimensions_are_the_leading_ones():
    opq = OPQ(3, 9).fit(X)
    assert opq.transform(X).shape == (2000, 9)
    assert opq.n_components_ == 9
    assert np.allclose(opq.components_ @ opq.components_.T, np.eye(9), atol=1e-5)
    leading = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2][:9]
    assert np.allclose(np.linalg.svd(leading @ opq.components_.T)[1], 1, atol=1e-3)


def test_variances_are_dealt_out_evenly():
    values = 2.0 ** -np.arange(12)
    numbers = _dealt(values, np.array([0, 4, 8, 12]))
    assert sorted(numbers) == list(range(12))
    products = np.log2(values)[numbers].reshape(3, 4).sum(axis=1)
    assert products.max() - products.min() <= 3
    assert sorted(_dealt(np.zeros(5), np.array([0, 2, 4, 5]))) == list(range(5))


def test_uneven_subspaces_and_few_bits():
    opq = OPQ(5, bits=4).fit(X)
    assert error(opq.transform(X), 5) < error(X, 5)


def test_the_seed_decides():
    one, two = (OPQ(4, random_state=3, max_samples=500).fit(X).components_ for _ in range(2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_subspaces": 25}, "n_subspaces is 25, but there are 24 dimensions to cut; use at most 24"),
        ({"n_subspaces": 9, "n_components": 8}, "n_subspaces is 9, but there are 8 dimensions"),
        ({"n_subspaces": 0}, "n_subspaces is 0"),
        ({"n_components": 25}, "n_components is 25"),
        ({"bits": 6}, "bits is 6; OPQ offers 4, 8"),
        ({"n_iter": -1}, "n_iter is -1"),
        ({"max_samples": 0}, "max_samples is 0"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    with pytest.raises(InvalidInput, match=message):
        OPQ(**parameters).fit(X)
