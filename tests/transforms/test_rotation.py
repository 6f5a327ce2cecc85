from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from isometry.errors import DimensionMismatch, InvalidInput
from isometry.transforms import Hadamard, Rotation

BOTH = pytest.mark.parametrize("make", [Rotation, Hadamard], ids=["Rotation", "Hadamard"])


@BOTH
@settings(max_examples=25, deadline=None)
@given(d=st.integers(1, 200), seed=st.integers(0, 2**31 - 1))
def test_scores_stay_and_it_can_be_undone(make, d, seed):
    x = np.random.default_rng(seed).standard_normal((20, d), dtype=np.float32)
    rotation = make(random_state=seed).fit(x)
    turned = rotation.transform(x)
    assert turned @ turned.T == pytest.approx(x @ x.T, abs=1e-5 * d)
    assert rotation.inverse_transform(turned) == pytest.approx(x, abs=1e-5)


@BOTH
def test_only_the_seed_and_the_number_of_dimensions_matter(make):
    x = np.random.default_rng(0).standard_normal((10, 96))
    one = make().fit(x).transform(x)
    assert one.tobytes() == make().fit(7 * x[:1]).transform(x).tobytes()
    assert one.tobytes() == make(random_state=0).fit_transform(x).tobytes()
    assert not np.allclose(one, make(random_state=1).fit_transform(x))


@BOTH
def test_large_values_are_spread(make):
    x = np.random.default_rng(0).standard_normal((2000, 100)) * np.r_[np.full(5, 10.0), np.full(95, 0.1)]
    variances = make().fit_transform(x).var(axis=0)
    assert variances.max() < 6 * variances.mean()
    assert variances.sum() == pytest.approx(x.var(axis=0).sum(), rel=1e-4)


def test_every_direction_is_as_likely():
    """Without the signs, a QR decomposition favours some matrices: its diagonal is not symmetric about 0."""
    drawn = np.array([Rotation(random_state=seed).fit(np.zeros((1, 3))).components_ for seed in range(400)])
    for i in range(3):
        for j in range(3):
            assert kstest(drawn[:, i, j], "uniform", (-1, 2)).pvalue > 1e-4  # a value of a uniform point of the sphere


@BOTH
def test_it_has_nothing_to_set_in_a_specification_and_names_its_features(make):
    x = np.random.default_rng(0).standard_normal((10, 3))
    assert make.spec_fields == ()
    frame = make().set_output(transform="pandas").fit(x).transform(x)
    assert list(frame.columns) == [f"{make.__name__.lower()}{i}" for i in range(3)]


@BOTH
def test_vectors_too_long_for_float32_are_refused(make):
    rotation = make().fit(np.zeros((1, 512)))
    signs = np.sign(rotation.inverse_transform(np.eye(1, 512, dtype=np.float32)))
    with pytest.raises(InvalidInput, match="leaves float32, first at row 1; scale the vectors"):
        rotation.transform(np.vstack([np.zeros(512), signs * 2.0**125]))


@BOTH
def test_undoing_checks_its_input(make):
    rotation = make().fit(np.zeros((1, 24)))
    with pytest.raises(DimensionMismatch):
        rotation.inverse_transform(np.zeros((3, 23), np.float32))
    for bad in (np.full((3, 24), np.nan, np.float32), np.zeros(24, np.float32), "rows"):
        with pytest.raises(InvalidInput):
            rotation.inverse_transform(bad)
