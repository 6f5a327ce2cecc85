from __future__ import annotations

import numpy as np
import pytest

from isometry.codecs import Binary
from isometry.kernels.rows import BitRows, values_of
from isometry.testing.estimator import vectors


def error(codec: Binary, x: np.ndarray) -> float:
    decoded = codec.inverse_transform(codec.fit_transform(x))
    return float(np.square(decoded - x).sum() / np.square(x - x.mean(axis=0)).sum())


def test_codes_are_the_signs_and_their_size():
    codec = Binary().fit(np.zeros((1, 9)))
    codes = codec.transform([[1, -1, 2, -2, 3, 0, 1, 1, 7]])
    assert codes.tolist() == [[*np.array([4, -2], "<f4").view(np.uint8), 0b11010101, 1, 0, 0, 0, 0, 0, 0]]
    assert codec.inverse_transform(codes).tolist() == [[2, -2, 2, -2, 2, -2, 2, 2, 2]]


def test_without_a_rotation_queries_stay_as_they_are():
    codec, q = Binary().fit(vectors(20, 0)), vectors(5, 1)
    assert not codec.maps_queries
    assert codec.queries(q) is q
    assert not hasattr(codec, "signs_")


@pytest.mark.parametrize("d", [1, 24, 100, 128])
def test_rotated_it_takes_the_signs_of_rotated_vectors(d):
    x = vectors(50, 0, d)
    codec = Binary(rotate=True).fit(x)
    assert codec.maps_queries
    rows = codec.rows(codec.transform(x))
    assert isinstance(rows, BitRows)
    turned = codec.queries(x - codec.mean_)
    expected = np.where(turned > 0, 1, -1) * np.abs(turned).mean(axis=1, keepdims=True)
    clear = np.abs(turned) > 1e-5
    assert values_of(rows, d)[clear] == pytest.approx(expected[clear], rel=1e-4)
    assert codec.nbytes_per_vector_ == Binary().fit(x).nbytes_per_vector_


def test_scores_are_those_of_decoded_vectors():
    x, q = vectors(50, 0, 100), vectors(5, 1, 100)
    codec = Binary(rotate=True).fit(x)
    codes = codec.transform(x)
    scores = codec.queries(q) @ values_of(codec.rows(codes), 100).T + (q @ codec.mean_)[:, None]
    assert scores == pytest.approx(q @ codec.inverse_transform(codes).T, abs=1e-3)


def test_a_rotation_helps_where_few_dimensions_are_large():
    rng = np.random.default_rng(0)
    even = rng.standard_normal((500, 128)).astype(np.float32)
    uneven = even * (1 + 20 * (np.arange(128) < 8)).astype(np.float32)
    assert error(Binary(), uneven) > 0.7
    for x in (even, uneven):
        assert error(Binary(rotate=True), x) == pytest.approx(1 - 2 / np.pi, abs=0.06)


def test_the_seed_decides_the_rotation():
    x = vectors(50, 0)
    assert np.array_equal(Binary(True).fit_transform(x), Binary(rotate=True, random_state=0).fit_transform(x))
    assert not np.array_equal(Binary(True).fit_transform(x), Binary(True, random_state=1).fit_transform(x))
