from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from isometry.codecs import LVQ, Int
from isometry.codecs.integer import halved, unhalved
from isometry.errors import InvalidInput
from isometry.estimators import restore, state
from isometry.indexes.spec import index_from_spec, parse_spec
from isometry.kernels.rows import ByteRows, NibbleRows, SignedByteRows, SignedNibbleRows, values_of

X = np.random.default_rng(0).standard_normal((2000, 96), dtype=np.float32) * np.logspace(-2, 0, 96, dtype=np.float32)
RANGES = ("dimension", "global", "vector")
BITS = (4, 8)


def mse(codec, x=X):
    return float(np.square(codec.inverse_transform(codec.transform(x)) - x).mean())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("ranges", RANGES)
def test_a_row_is_its_codes(bits, ranges):
    layouts = {("vector", 8): ByteRows, ("vector", 4): NibbleRows}
    for d in (1, 7, 16, 96, 129):
        x = np.resize(X, (20, d))
        codec = Int(bits, ranges).fit(x)
        assert codec.nbytes_per_vector_ == -(-d * bits // 8) + 4 * (ranges == "vector")
        rows = codec.fine_rows(codec.transform(x))
        assert type(rows) is layouts.get((ranges, bits), SignedByteRows if bits == 8 else SignedNibbleRows)


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from(BITS),
    st.sampled_from(RANGES),
)
@settings(max_examples=100, deadline=None)
def test_inside_the_range_a_value_is_off_by_half_a_step(x, bits, ranges):
    codec = Int(bits, ranges, clip="none").fit(x)
    codes = codec.transform(x)
    rows = codec.fine_rows(codes)
    step = rows.constants[:, :1] if ranges == "vector" else codec.step_
    rounding = 4 * np.finfo(np.float32).eps * (np.abs(x) + np.abs(x).max(axis=0) + np.abs(x).max())
    assert (np.abs(codec.inverse_transform(codes) - x) <= step / 2 + rounding + 2.0**-100).all()


@given(
    arrays(np.float32, (6, 5), elements=st.floats(-1e3, 1e3, width=32)),
    arrays(np.float32, (4, 5), elements=st.floats(-(2.0**120), 2.0**120, width=32)),
    st.sampled_from(BITS),
    st.sampled_from(("dimension", "global")),
    st.sampled_from(("none", "best")),
)
@settings(max_examples=100, deadline=None)
def test_outside_the_range_it_becomes_the_nearest_end(x, later, bits, ranges, clip):
    codec = Int(bits, ranges, clip).fit(x)
    half = np.float32(2 ** (bits - 1))
    low, high = codec.mean_ - half * codec.step_, codec.mean_ + (half - 1) * codec.step_
    nearest = np.clip(later, low, high)
    with np.errstate(over="raise"):
        decoded = codec.inverse_transform(codec.transform(later))
    rounding = 4 * np.finfo(np.float32).eps * (np.abs(codec.mean_) + half * codec.step_)
    assert (np.abs(decoded - nearest) <= codec.step_ * 0.501 + rounding + 2.0**-100).all()
    outside = (later < low) | (later > high)
    assert (np.abs(decoded - nearest) <= rounding + 2.0**-100)[outside].all()


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.integers(0, 15)))
def test_halves_come_back(codes):
    packed = halved(codes)
    assert packed.shape == (len(codes), -(-codes.shape[1] // 2))
    assert np.array_equal(unhalved(packed, codes.shape[1]), codes)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("ranges", RANGES)
def test_scores_are_those_of_the_decoded_vectors(bits, ranges):
    codec = Int(bits, ranges).fit(X)
    codes, q = codec.transform(X), X[:7]
    scores = codec.queries(q) @ values_of(codec.fine_rows(codes), 96).T + (q @ codec.mean_)[:, None]
    assert scores == pytest.approx(q @ codec.inverse_transform(codes).T, abs=1e-3)


def test_the_best_range_loses_less():
    for ranges in RANGES:
        best, none = Int(4, ranges, "best").fit(X), Int(4, ranges, "none").fit(X)
        assert mse(best) < 0.95 * mse(none), ranges
        assert mse(Int(4, ranges).fit(X)) == mse(best)
        assert mse(Int(8, ranges).fit(X)) == mse(Int(8, ranges, "none").fit(X))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("ranges", ["dimension", "global"])
def test_the_best_range_is_never_worse(bits, ranges):
    x = np.random.default_rng(2).standard_t(3, (20_000, 24)).astype(np.float32)
    assert mse(Int(bits, ranges, "best").fit(x), x) <= 1.001 * mse(Int(bits, ranges, "none").fit(x), x)


def test_no_other_range_loses_less():
    """Against a fine grid over both ends, of skewed values."""
    x = np.random.default_rng(1).gamma(1.0, size=(3000, 1)).astype(np.float32)
    found = mse(Int(4).fit(x), x)
    for low in np.linspace(0, 0.5, 11):
        for high in np.linspace(1, x.max(), 60):
            step = (high - low) / 15
            codes = np.clip(np.rint((x - low) / step), 0, 15)
            assert found <= 1.03 * np.square(codes * step + low - x).mean()


def test_an_outlier_does_not_widen_the_steps_of_all():
    x = X.copy()
    x[7] *= 6
    best, none = Int(4).fit(x), Int(4, clip="none").fit(x)
    assert mse(best, x) < 0.6 * mse(none, x)
    assert mse(best) < 0.5 * mse(none)


def test_a_range_per_dimension_suits_dimensions_of_unlike_size_best():
    errors = [mse(Int(4, ranges).fit(X)) for ranges in RANGES]
    assert errors[0] < 0.5 * min(errors[1:])
    assert errors[0] < mse(LVQ(4).fit(X))


@pytest.mark.parametrize("bits", BITS)
def test_a_constant_dimension_is_exact(bits):
    x = X.copy()
    x[:, 5] = 0.1
    codec = Int(bits).fit(x)
    assert codec.step_[5] == 0
    assert (codec.inverse_transform(codec.transform(x))[:, 5] == np.float32(0.1)).all()
    assert (codec.inverse_transform(codec.transform(x + 9))[:, 5] == np.float32(0.1)).all()
    assert np.isfinite(codec.queries(x)).all()


def test_a_global_range_is_one():
    codec = Int(ranges="global").fit(X)
    assert len(np.unique(codec.step_)) == len(np.unique(codec.mean_)) == 1
    assert codec.step_[0] == pytest.approx((X.max() - X.min()) / 255)


@pytest.mark.parametrize("bits", BITS)
def test_a_vector_range_needs_nothing_learned(bits):
    x = X * np.logspace(-10, 10, len(X), dtype=np.float32)[:, None]
    codec = Int(bits, "vector").fit(np.zeros_like(X))
    error = np.linalg.norm(codec.inverse_transform(codec.transform(x)) - x, axis=1) / np.linalg.norm(x, axis=1)
    assert error.max() < {4: 0.3, 8: 0.02}[bits]
    assert not codec.inverse_transform(codec.transform(np.zeros_like(x))).any()


def test_it_survives_storage_and_is_named_in_specs():
    for ranges in RANGES:
        codec = Int(4, ranges).fit(X)
        again = restore(*state(codec))
        assert again.transform(X).tobytes() == codec.transform(X).tobytes()
    assert [str(parse_spec(text)) for text in ("Int8,Flat", "Int4,Flat", "Flat -> Int8")] == [
        "Int8,Flat",
        "Int4,Flat",
        "Flat -> Int8",
    ]
    assert str(index_from_spec("Int,Flat").spec) == "Int8,Flat"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bits": 5}, "bits is 5; Int offers 4, 8"),
        ({"bits": True}, "bits is True"),
        ({"bits": "8"}, "bits is '8'"),
        ({"ranges": "row"}, "ranges is 'row'; expected one of dimension, global, vector"),
        ({"clip": True}, "clip is True; expected one of auto, none, best"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(InvalidInput, match=message):
        Int(**parameters).fit(X)
