"""k-means and nearest centroids, against brute force by NumPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.kernels.kmeans import assign, cut, decode, train, training_rows, unit_scale


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, d))
    return ((centres[rng.integers(20, size=n)] + rng.standard_normal((n, d)) / 4) / 8).astype(np.float32)


def distances(x: np.ndarray, codebooks: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Squared distances (n, m, k) in every sub-space."""
    parts = [slice(*edge) for edge in pairwise(edges)]
    wide, words = x.astype(float), codebooks.astype(float)
    return np.stack([np.square(wide[:, None, p] - words[None, :, p]).sum(axis=2) for p in parts], axis=1)


@given(d=st.integers(1, 40), share=st.floats(0, 1), k=st.sampled_from([16, 256]), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_no_other_centroid_is_nearer(d, share, k, seed):
    edges = cut(d, max(1, round(share * d)))
    rng = np.random.default_rng(seed)
    x, codebooks, mean = (rng.standard_normal(shape).astype(np.float32) for shape in ((37, d), (k, d), d))
    codes = assign(x, codebooks, edges, mean)
    assert codes.dtype == np.uint8
    assert codes.max() < k
    all_of_them = distances(x - mean, codebooks, edges)
    chosen = np.take_along_axis(all_of_them, codes[:, :, None].astype(np.intp), axis=2)[:, :, 0]
    assert (chosen <= all_of_them.min(axis=2) + 1e-5 * (1 + chosen)).all()
    expected = np.hstack([codebooks[codes[:, s], edges[s] : edges[s + 1]] for s in range(len(edges) - 1)])
    assert np.array_equal(decode(codes, codebooks, edges), expected)


@pytest.mark.parametrize(("d", "m"), [(1, 1), (7, 3), (384, 48), (10, 10)])
def test_cuts_are_even_but_for_one(d, m):
    widths = np.diff(cut(d, m))
    assert widths.sum() == d
    assert len(widths) == m
    assert widths.max() - widths.min() <= 1
    assert (np.diff(widths) <= 0).all()


@pytest.mark.parametrize("k", [16, 256])
def test_the_number_of_threads_and_of_rows_makes_no_difference(k):
    x, edges = rows(1500, 30), cut(30, 7)
    trained = [train(x, edges, k, n_iter=5, rng=np.random.default_rng(0), threads=threads) for threads in (1, 2, 4)]
    assert trained[0].tobytes() == trained[1].tobytes() == trained[2].tobytes()
    codes = [assign(x, trained[0], edges, threads=threads) for threads in (1, 2, 4)]
    assert codes[0].tobytes() == codes[1].tobytes() == codes[2].tobytes()
    one_by_one = np.concatenate([assign(x[i : i + 1], trained[0], edges) for i in range(50)])
    assert np.array_equal(codes[0][:50], one_by_one)


def test_iterations_are_those_of_lloyd():
    x, edges = rows(400, 12), cut(12, 3)
    start = x[:16]
    expected = start.astype(float)
    for _ in range(4):
        nearest = distances(x, expected, edges).argmin(axis=2)
        for s in range(3):
            part = slice(edges[s], edges[s + 1])
            assert len(np.unique(nearest[:, s])) == 16
            expected[:, part] = [x[nearest[:, s] == c, part].mean(axis=0, dtype=float) for c in range(16)]
    assert np.allclose(train(x, edges, 16, n_iter=4, start=start), expected, atol=1e-5)


def test_training_lowers_the_error():
    x, edges = rows(3000, 16), cut(16, 4)
    errors = []
    for n_iter in (1, 2, 6, 20):
        codebooks = train(x, edges, 16, n_iter=n_iter, rng=np.random.default_rng(0))
        errors.append(distances(x, codebooks, edges).min(axis=2).sum())
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(("n", "different"), [(1, 1), (5, 5), (256, 256), (3000, 256), (3000, 3)])
def test_few_rows_are_kept_exactly(n, different):
    x = rows(different, 10)[np.arange(n) % different]
    edges = cut(10, 3)
    for start in (None, np.zeros((256, 10), np.float32)):
        rng = np.random.default_rng(0) if start is None else None
        codebooks = train(x, edges, 256, n_iter=10, rng=rng, start=start)
        if start is None or different < 10:
            assert np.array_equal(decode(assign(x, codebooks, edges), codebooks, edges), x)
        assert np.isfinite(codebooks).all()


def test_rows_are_drawn_and_scaled():
    x = rows(100, 4) * np.float32(1e30)
    mean = x.mean(axis=0)
    drawn, scale = training_rows(x, mean, 60, np.random.default_rng(0))
    assert drawn.shape == (60, 4)
    assert 0.5 < np.abs(training_rows(x, mean, 1000, np.random.default_rng(0))[0]).max() <= 1
    assert {row.tobytes() for row in drawn * scale} <= {row.tobytes() for row in x - mean}
    assert len(np.unique(drawn, axis=0)) == 60


@pytest.mark.parametrize("value", [0, 1e-40, 1e-30, 1, 3, 2.0**126])
def test_scales_are_powers_of_two_that_bound(value):
    scale = unit_scale(np.array([value, -value / 2], np.float32))
    assert np.frexp(scale)[0] == 0.5
    assert np.float32(value) <= scale
    assert scale <= max(2 * value, 2.0**-100)


def test_values_far_from_all_centroids_are_assigned():
    codebooks = np.array([[-1e-30], [1e-30]], np.float32).repeat(8, axis=0)
    x = np.array([[-(2.0**125)], [2.0**125]], np.float32)
    assert assign(x, codebooks, cut(1, 1)).ravel().tolist() == [0, 8]
