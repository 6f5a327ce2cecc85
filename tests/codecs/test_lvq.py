from __future__ import annotations

import numpy as np
import pytest

from isometry.codecs import LVQ, BFloat16, Float16
from isometry.errors import InvalidInput
from isometry.kernels.rows import (
    BFloat16Rows,
    ByteByteRows,
    ByteNibbleRows,
    ByteRows,
    Float16Rows,
    NibbleByteRows,
    NibbleNibbleRows,
    NibbleRows,
)

LAYOUTS = {
    (4, 0): (NibbleRows, NibbleRows),
    (8, 0): (ByteRows, ByteRows),
    (4, 4): (NibbleRows, NibbleNibbleRows),
    (4, 8): (NibbleRows, NibbleByteRows),
    (8, 4): (ByteRows, ByteNibbleRows),
    (8, 8): (ByteRows, ByteByteRows),
}
X = np.random.default_rng(0).standard_normal((200, 384), dtype=np.float32)


@pytest.mark.parametrize("bits", LAYOUTS, ids=str)
def test_rows_have_the_layout_that_kernels_expect(bits):
    codec = LVQ(*bits)
    codes = codec.fit_transform(X)
    assert (type(codec.rows(codes)), type(codec.fine_rows(codes))) == LAYOUTS[bits]
    assert codec.nbytes_per_vector_ == 8 + 48 * sum(bits)


def test_splitting_codes_is_a_slice():
    codec = LVQ(4, 8)
    codes = codec.fit_transform(X)
    rows = codec.fine_rows(codes)
    assert rows.constants.tobytes() == codes[:, :8].tobytes()
    assert np.array_equal(rows.codes, codes[:, 8:200])
    assert np.array_equal(rows.residuals, codes[:, 200:])


def test_the_first_level_is_that_of_one_level():
    one, two = LVQ(4).fit(X), LVQ(4, 8).fit(X)
    assert np.array_equal(one.transform(X), two.transform(X)[:, : one.nbytes_per_vector_])


def test_more_bits_are_nearer():
    errors = [
        np.square(codec.inverse_transform(codec.fit_transform(X)) - X).mean()
        for codec in (LVQ(4), LVQ(8), LVQ(4, 8), LVQ(8, 8))
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.02
    assert errors[-1] < 1e-9


def test_each_vector_has_its_own_scale():
    x = X * np.logspace(-10, 10, len(X), dtype=np.float32)[:, None]
    codec = LVQ(8).fit(np.zeros_like(X))
    error = np.abs(codec.inverse_transform(codec.transform(x)) - x).max(axis=1) / np.abs(x).max(axis=1)
    assert error.max() < 1 / 250


def test_a_constant_vector_is_exact_and_has_code_zero():
    codec = LVQ(4).fit(np.zeros((1, 40)))
    codes = codec.transform(np.full((1, 40), 0.1))
    assert not codes[:, 8:].any()
    assert (codec.inverse_transform(codes) == np.float32(0.1)).all()


@pytest.mark.parametrize("bits", [(5, 0), (8, 2), (0, 0), (True, 0), ("8", 0), (None, 0), (8, None), (16, 0)])
def test_other_bits_are_refused(bits):
    with pytest.raises(InvalidInput, match=r"bits is .* LVQ offers"):
        LVQ(*bits).fit(X)


def test_halves_round_as_ieee_says():
    x = np.array([[1 + 2**-11, 1 + 3 * 2**-11, 65504, -0.0, 2**-24]], np.float32)
    codec = Float16().fit(x)
    codes = codec.transform(x)
    assert isinstance(codec.rows(codes), Float16Rows)
    assert codec.inverse_transform(codes).tolist() == [[1, 1 + 2**-9, 65504, 0, 2**-24]]
    with pytest.raises(InvalidInput, match="magnitude 65505; Float16 holds up to 65504: use BFloat16 or LVQ"):
        codec.transform(x + 1)


def test_bfloat16_rounds_to_nearest_even():
    x = np.array([[1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1e30]], np.float32)
    codec = BFloat16().fit(x)
    codes = codec.transform(x)
    assert isinstance(codec.rows(codes), BFloat16Rows)
    decoded = codec.inverse_transform(codes)[0]
    assert decoded[:3].tolist() == [1, 1 + 2**-6, 1 + 2**-7]
    assert decoded[3] == pytest.approx(-1e30, rel=2**-8)
