from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from isometry.codecs import Float4, Int
from isometry.errors import InvalidInput
from isometry.estimators import restore, state
from isometry.indexes.spec import parse_spec
from isometry.kernels.rows import Float4Rows

X = np.random.default_rng(0).standard_normal((500, 96), dtype=np.float32)
UNIT = X / np.linalg.norm(X, axis=1, keepdims=True)
SCALES = ("vector", "global", "none")
NUMBERS = [0, 0.5, 1, 1.5, 2, 3, 4, 6]


def decoded(codec, x):
    return codec.inverse_transform(codec.transform(x))


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-8, 8, width=32)))
@settings(max_examples=100, deadline=None)
def test_a_plain_cast_is_that_of_ml_dtypes(x):
    ours = decoded(Float4("none").fit(x), x)
    theirs = np.clip(x, -6, 6).astype(ml_dtypes.float4_e2m1fn).astype(np.float32)
    assert np.array_equal(ours, theirs)


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from(("vector", "global")),
)
@settings(max_examples=100, deadline=None)
def test_a_scaled_one_is_off_by_a_sixth_of_the_largest(x, scale):
    codec = Float4(scale).fit(x)
    codes = codec.transform(x)
    scales = codec.fine_rows(codes).scales
    error = np.abs(codec.inverse_transform(codes) - x)
    assert (error <= scales + 1e-6 * np.abs(x) + 2.0**-100).all()
    assert (error <= np.abs(x) / 3 + scales / 4 + 2.0**-100).all()


def test_numbers_between_two_become_the_even_one():
    middles = np.array([[0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 100.0]], np.float32)
    codec = Float4("none").fit(middles)
    for sign in (1, -1):
        assert decoded(codec, sign * middles).tolist() == [[sign * v for v in (0, 1, 1, 2, 2, 4, 4, 6)]]
        assert decoded(codec, sign * np.array([NUMBERS], np.float32)).tolist() == [[sign * v for v in NUMBERS]]
        for towards in (0.0, 1e9):
            near = sign * np.nextafter(middles, np.float32(towards))
            theirs = np.clip(near, -6, 6).astype(ml_dtypes.float4_e2m1fn).astype(np.float32)
            assert np.array_equal(decoded(codec, near), theirs)


def test_a_plain_cast_loses_unit_vectors_altogether():
    assert not np.abs(decoded(Float4("none").fit(UNIT), UNIT * 0.5)).any()
    errors = {scale: np.square(decoded(Float4(scale).fit(UNIT), UNIT) - UNIT).sum(axis=1).mean() for scale in SCALES}
    assert errors["vector"] < errors["global"] < 0.03
    assert errors["none"] > 0.7


def test_each_vector_has_its_own_scale():
    x = X * np.logspace(-10, 10, len(X), dtype=np.float32)[:, None]
    codec = Float4().fit(np.zeros_like(X))
    error = np.abs(decoded(codec, x) - x).max(axis=1) / np.abs(x).max(axis=1)
    assert error.max() <= 1 / 6 + 1e-6


def test_what_is_beyond_the_learned_scale_saturates():
    codec = Float4("global").fit([[3.0, -1.5]])
    assert codec.scale_ == 0.5
    with np.errstate(over="raise"):
        assert decoded(codec, [[1e30, -1e30], [3.1, -2.9]]).tolist() == [[3, -3], [3, -3]]
    assert np.isfinite(decoded(Float4("global").fit([[1e-29, 0.0]]), [[1e37, -1e37]])).all()


@pytest.mark.parametrize("scale", SCALES)
def test_rows_have_the_layout_that_kernels_expect(scale):
    for d in (1, 7, 96, 129):
        x = np.resize(X, (20, d))
        codec = Float4(scale).fit(x)
        assert codec.nbytes_per_vector_ == -(-d // 2) + 4 * (scale == "vector")
        assert isinstance(codec.fine_rows(codec.transform(x)), Float4Rows)


def test_it_survives_storage_and_is_named_in_specs():
    for scale in SCALES:
        codec = Float4(scale).fit(X)
        again = restore(*state(codec))
        assert again.inverse_transform(again.transform(X)).tobytes() == decoded(codec, X).tobytes()
    for text in ("Float4,Flat", "Float8,Flat", "Float16,Flat -> Float4"):
        assert str(parse_spec(text)) == text


@pytest.mark.parametrize("scale", ["row", None, 1.0, True])
def test_another_scale_is_refused(scale):
    with pytest.raises(InvalidInput, match=r"scale is .* expected one of vector, global, none"):
        Float4(scale).fit(X)


def test_steps_of_one_size_lose_less_where_values_are_spread_like_a_bell():
    ours, int4 = (np.square(decoded(codec.fit(X), X) - X).mean() for codec in (Float4(), Int(4, "vector")))
    assert int4 < 1.1 * ours
