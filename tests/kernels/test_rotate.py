"""The fast rotation, against matrices made of the same signs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from isometry.kernels.rotate import random_signs, rotate, rotate_back

DIMENSIONS = [1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 63, 96, 127, 128, 129, 255, 384]


def matrix(signs: np.ndarray) -> np.ndarray:
    """Return the (d, d) matrix that `rotate` multiplies columns by."""
    rounds, d = signs.shape
    m = 2 ** (d.bit_length() - 1)
    whole = np.eye(d)
    for step in range(rounds):
        begin = 0 if step % 2 == 0 else d - m
        mixed = np.eye(d)
        mixed[begin : begin + m, begin : begin + m] = hadamard(m) / np.sqrt(m)
        whole = mixed @ np.diag(signs[step]) @ whole
        if m < d and step == 1:
            half = np.eye(d)
            for i in range(d // 2):
                j = d - d // 2 + i
                half[np.ix_([i, j], [i, j])] = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
            whole = half @ whole
    return whole


@pytest.mark.parametrize("d", DIMENSIONS)
def test_it_is_the_product_of_its_parts(d):
    signs = random_signs(d, np.random.default_rng(d))
    expected = matrix(signs)
    assert expected @ expected.T == pytest.approx(np.eye(d), abs=1e-12)
    assert rotate(np.eye(d, dtype=np.float32), signs) == pytest.approx(expected.T, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.integers(0, 40), st.integers(0, 2**31))
def test_back_is_back_and_lengths_stay(d, n, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d), dtype=np.float32)
    signs = random_signs(d, rng)
    turned = rotate(x, signs)
    size = 1e-6 * np.linalg.norm(x, axis=1, keepdims=True)
    assert (np.abs(rotate_back(turned, signs) - x) <= size).all()
    assert (
        np.abs(np.linalg.norm(turned, axis=1, keepdims=True) - np.linalg.norm(x, axis=1, keepdims=True)) <= size
    ).all()


@pytest.mark.parametrize("turn", [rotate, rotate_back])
@pytest.mark.parametrize("d", [1, 24, 128, 384])
def test_a_row_is_the_same_alone_and_on_any_number_of_threads(turn, d):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3 * 2**18 // d // 2 + 7 if d > 1 else 100, d), dtype=np.float32)
    signs = random_signs(d, rng)
    whole = turn(x, signs, threads=1)
    for threads in (2, 4):
        assert whole.tobytes() == turn(x, signs, threads=threads).tobytes()
    for rows in (slice(0, 1), slice(5, 6), slice(3, 30), slice(-5, None)):
        assert whole[rows].tobytes() == turn(x[rows], signs).tobytes()
    assert turn(x[:0], signs).shape == (0, d)


@pytest.mark.parametrize("d", [64, 65, 96, 127, 192, 255, 256, 384, 511])
def test_what_lay_in_one_value_lies_in_all(d):
    turned = rotate(np.eye(d, dtype=np.float32), random_signs(d, np.random.default_rng(d)))
    assert np.abs(turned).max() * np.sqrt(d) < 6
    fourth = np.power(turned, 4).mean(axis=1) * d * d
    assert np.median(fourth) < 4  # 3 for normal numbers
    half = np.square(turned[:, : d // 2]).sum(axis=1)
    assert half == pytest.approx(np.full(d, 0.5), abs=0.3)


def test_nothing_on_the_way_is_larger_than_the_row():
    x = np.full((1, 384), 2.0**118, np.float32)
    signs = np.ones((4, 384), np.int8)
    assert np.isfinite(rotate(x, signs)).all()
    assert np.isfinite(rotate(x * 2.0**5 * np.eye(384, dtype=np.float32), signs)).all()


def test_rotations_differ():
    one, same, other = (random_signs(96, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert set(np.unique(one).tolist()) == {-1, 1}
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
