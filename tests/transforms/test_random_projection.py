from __future__ import annotations

import numpy as np
import pytest
from sklearn.random_projection import GaussianRandomProjection

from isometry.errors import InvalidInput
from isometry.transforms import RandomProjection

X = np.random.default_rng(0).standard_normal((200, 256), dtype=np.float32)


def test_it_is_scikit_learns():
    theirs = GaussianRandomProjection(64, random_state=3).fit_transform(X)
    assert RandomProjection(64, random_state=3).fit_transform(X) == pytest.approx(theirs, abs=1e-4)


def test_inner_products_survive_on_average():
    scores = np.mean([(y := RandomProjection(64, random_state=i).fit_transform(X)) @ y.T for i in range(30)], axis=0)
    assert np.abs(scores - X @ X.T).mean() < 256 / np.sqrt(64 * 30)


def test_more_components_lose_less():
    losses = []
    for d in (16, 64, 256):
        y = RandomProjection(d).fit_transform(X)
        losses.append(np.abs(y @ y.T - X @ X.T).mean())
    assert losses == sorted(losses, reverse=True)


def test_the_data_is_not_asked():
    one, other = RandomProjection(8).fit(X), RandomProjection(8).fit(X[:1] * 0)
    assert one.components_.tobytes() == other.components_.tobytes()
    assert one.components_.tobytes() != RandomProjection(8, random_state=1).fit(X).components_.tobytes()
    assert RandomProjection().fit(X).n_components_ == 128
    assert RandomProjection().fit(X[:, :1]).n_components_ == 1


@pytest.mark.parametrize("n_components", [0, 257, 0.5, "auto"])
def test_bad_parameters_are_named(n_components):
    with pytest.raises(InvalidInput, match=f"n_components is {n_components!r}; expected an integer from 1 to 256"):
        RandomProjection(n_components).fit(X)
