"""Vectors enter the form of their metric and scores leave it as NumPy says, also where squares leave float32."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.indexes.base import LARGEST_NORM, SMALLEST_NORM
from isometry.kernels.metric import enter, leave

NONE = np.empty(0, np.float32)


def entered(x, centre=NONE, unit=False):
    out, norms = np.empty_like(x), np.empty(len(x), np.float32)
    sound = enter(x, centre, unit, SMALLEST_NORM, LARGEST_NORM, out, norms)
    return sound, out, norms


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((50, 83)).astype(np.float32)


def test_norms_and_unit_vectors(x):
    sound, out, norms = entered(x, unit=True)
    expected = np.linalg.norm(x.astype(np.float64), axis=1)
    assert sound
    np.testing.assert_allclose(norms, expected, rtol=1e-7)
    np.testing.assert_allclose(out, x / expected[:, None], rtol=3e-7)


def test_vectors_are_centred_to_the_bit(x):
    sound, out, _ = entered(x, centre=x[3])
    assert sound
    assert np.array_equal(out, x - x[3])


def test_norms_alone(x):
    norms = np.empty(len(x), np.float32)
    assert enter(x, NONE, False, SMALLEST_NORM, LARGEST_NORM, np.empty((0, x.shape[1]), np.float32), norms)
    np.testing.assert_allclose(norms, np.linalg.norm(x, axis=1), rtol=1e-6)


def test_a_vector_is_the_same_alone_and_among_others(x):
    _, out, norms = entered(x, unit=True)
    for i in range(len(x)):
        _, alone, norm = entered(x[i : i + 1], unit=True)
        assert np.array_equal(alone[0], out[i])
        assert norm[0] == norms[i]


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1e17])
def test_squares_may_leave_float32(x, size):
    sound, out, norms = entered(x * np.float32(size), unit=True)
    assert sound
    np.testing.assert_allclose(norms, np.linalg.norm(x.astype(np.float64), axis=1) * size, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-6)


def test_what_is_next_to_nothing_becomes_zero(x):
    x[4] = 0
    x[5] = 1e-45
    _, out, _ = entered(x, unit=True)
    assert not out[4:6].any()
    assert out[3].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**63])
def test_what_can_not_be_compared_is_told(x, value):
    x[7, 2] = value
    assert not entered(x, unit=True)[0]


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("more", [False, True])
def test_scores(x, squared, more):
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((len(x), 5)).astype(np.float32) * 100
    scores[2, 3:] = -np.inf
    added = rng.standard_normal(len(x)).astype(np.float32) if more else NONE
    expected = scores.astype(np.float64) + (added[:, None] if more else 0)
    if squared:
        expected = np.minimum(2 * expected - (x.astype(np.float64) ** 2).sum(1)[:, None], 0)
    leave(scores, added, squared, x)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-4)
    if not squared and not more:
        assert np.array_equal(scores, expected)
