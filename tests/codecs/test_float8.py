from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from isometry.codecs import Float8
from isometry.errors import InvalidInput
from isometry.estimators import restore, state
from isometry.kernels.rows import Float8E4M3Rows, Float8E5M2Rows

TYPES = {"e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2}
LARGEST = {"e4m3": 448.0, "e5m2": 57344.0}
BITS = {"e4m3": 4, "e5m2": 3}
SMALLEST = {"e4m3": 2.0**-9, "e5m2": 2.0**-16}
X = np.random.default_rng(0).standard_normal((500, 96), dtype=np.float32)
FORMATS = st.sampled_from(list(TYPES))
VECTORS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-1e6, 1e6, width=32))


def decoded(codec, x):
    return codec.inverse_transform(codec.transform(x))


@given(VECTORS, FORMATS)
@settings(max_examples=100, deadline=None)
def test_a_plain_cast_is_that_of_ml_dtypes_but_saturates(x, format):
    codec = Float8(format, scaled=False).fit(x)
    clipped = np.clip(x, -LARGEST[format], LARGEST[format])
    assert codec.scale_ == 1
    assert codec.transform(x).tobytes() == clipped.astype(TYPES[format]).tobytes()
    assert np.array_equal(decoded(codec, x), clipped.astype(TYPES[format]).astype(np.float32))


@given(VECTORS, FORMATS, st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_error_is_relative_down_to_the_smallest_number(x, format, power_of_two):
    codec = Float8(format, power_of_two=power_of_two).fit(x)
    error = np.abs(decoded(codec, x) - x)
    assert (error <= np.abs(x) * (2.0 ** -BITS[format] + 1e-6) + codec.scale_ * SMALLEST[format] / 2 + 2.0**-100).all()


@given(VECTORS, FORMATS)
@settings(max_examples=100, deadline=None)
def test_a_power_of_two_leaves_floats_of_the_format_as_they_are(x, format):
    floats = np.clip(x, -LARGEST[format], LARGEST[format]).astype(TYPES[format]).astype(np.float32)
    floats[:, 0] = LARGEST[format]
    for factor in (2.0**-20, 1.0, 2.0**20):
        codec = Float8(format, power_of_two=True).fit(floats * np.float32(factor))
        assert codec.scale_ == factor
        assert np.array_equal(decoded(codec, floats * np.float32(factor)), floats * np.float32(factor))


@pytest.mark.parametrize("format", TYPES)
def test_the_scale_is_what_was_learned(format):
    reach = np.abs(X).max()
    exact, power = Float8(format).fit(X), Float8(format, power_of_two=True).fit(X)
    assert exact.scale_ == pytest.approx(reach / LARGEST[format])
    assert np.log2(power.scale_) % 1 == 0
    assert exact.scale_ <= power.scale_ < 2 * exact.scale_
    assert decoded(exact, X).max() == pytest.approx(X.max(), rel=0.1)
    plain = Float8(format, scaled=False, power_of_two=True).fit(X)
    assert plain.scale_ == 1


@pytest.mark.parametrize("format", TYPES)
@pytest.mark.parametrize("scaled", [True, False])
def test_what_is_too_large_saturates_and_is_never_nan(format, scaled):
    codec = Float8(format, scaled=scaled).fit([[1e-29, -1.0]])
    with np.errstate(all="raise", under="ignore"):
        far = decoded(codec, [[2.0**125, -(2.0**125)], [500, -60000]])
    largest = codec.scale_ * LARGEST[format]
    assert far[0].tolist() == pytest.approx([largest, -largest])
    assert np.isfinite(far).all()
    tiny = Float8(format, scaled=scaled).fit([[1e-29, -1e-29]])
    assert np.isfinite(decoded(tiny, [[2.0**125, -(2.0**125)]])).all()


def test_every_finite_byte_decodes_as_in_ml_dtypes():
    for format, kind in TYPES.items():
        values = np.arange(256, dtype=np.uint8).view(kind).astype(np.float32)
        codes = np.flatnonzero(np.isfinite(values)).astype(np.uint8)[None]
        codec = Float8(format, scaled=False).fit(np.ones((1, codes.size)))
        assert np.array_equal(codec.inverse_transform(codes)[0], values[codes[0]])
        assert codec.transform(values[codes]).tobytes() == codes.tobytes()


@pytest.mark.parametrize("format", TYPES)
def test_rounding_is_right_next_to_every_middle(format):
    values = np.arange(128, dtype=np.uint8).view(TYPES[format]).astype(np.float32)
    values = values[np.isfinite(values)]
    middles = (values[1:] + values[:-1]) / 2
    x = np.concatenate([values, middles, np.nextafter(middles, np.float32(0)), np.nextafter(middles, np.float32(1e9))])
    x = np.concatenate([x, -x])[None]
    codec = Float8(format, scaled=False).fit(x)
    assert codec.transform(x).tobytes() == x.astype(TYPES[format]).tobytes()


def test_it_survives_storage_and_files_without_the_newer_parameter():
    codec = Float8("e5m2", power_of_two=True).fit(X)
    kind, parameters, stored = state(codec)
    assert decoded(restore(kind, parameters, stored), X).tobytes() == decoded(codec, X).tobytes()
    old = {name: value for name, value in parameters.items() if name != "power_of_two"}
    assert decoded(restore(kind, old, stored), X).tobytes() == decoded(codec, X).tobytes()


def test_layouts_follow_the_format():
    for format, layout in {"e4m3": Float8E4M3Rows, "e5m2": Float8E5M2Rows}.items():
        codec = Float8(format).fit(X)
        assert isinstance(codec.fine_rows(codec.transform(X)), layout)
        assert codec.nbytes_per_vector_ == 96


@pytest.mark.parametrize("format", ["e3m4", None, 8])
def test_another_format_is_refused(format):
    with pytest.raises(InvalidInput, match=r"format is .* expected one of e4m3, e5m2"):
        Float8(format).fit(X)
