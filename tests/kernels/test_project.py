"""Rows times a matrix: NumPy's product, and a row's own whatever comes with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.kernels.project import project


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 140), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32))
def test_it_is_the_product_and_a_row_is_the_same_alone(n, dim, d, seed):
    rng = np.random.default_rng(seed)
    x, components = (rng.standard_normal((rows, dim)).astype(np.float32) for rows in (n, d))
    out = project(x, components)
    np.testing.assert_allclose(out, x.astype(np.float64) @ components.T.astype(np.float64), rtol=1e-4, atol=1e-5)
    some = rng.integers(0, n)
    assert np.array_equal(project(x[some : some + 1], components)[0], out[some])
    assert np.array_equal(project(x[some:], components), out[some:])


def test_many_rows_by_several_threads_in_any_layout():
    rng = np.random.default_rng(0)
    x, components = rng.standard_normal((5000, 100)).astype(np.float32), rng.standard_normal((16, 100))
    out = project(x, components.astype(np.float32))
    assert np.array_equal(project(np.asfortranarray(x), components.T.astype(np.float32).T), out)
    np.testing.assert_allclose(out, x @ components.T, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(0, 8, 3), (3, 8, 0)])
def test_nothing_times_something(shape):
    n, dim, d = shape
    assert project(np.empty((n, dim), np.float32), np.empty((d, dim), np.float32)).shape == (n, d)


@pytest.mark.filterwarnings("error")
def test_what_leaves_float32_is_infinite_without_a_warning():
    x = np.full((3, 20), 1e30, np.float32)
    assert np.isinf(project(x, x)).all()
