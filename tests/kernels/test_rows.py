from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isometry.codecs import LVQ
from isometry.kernels.encode import HEADER, encode, encode_reference
from isometry.kernels.rows import (
    ALIGNMENT,
    code_bytes,
    pack_nibbles,
    padded,
    padded_copy,
    unpack_nibbles,
    values_of,
)

LEVELS = [(4, 0), (8, 0), (4, 4), (4, 8), (8, 4), (8, 8)]
shapes = st.tuples(st.integers(1, 6), st.integers(1, 300))
values = st.floats(-1e3, 1e3, width=32) | st.floats(-(2.0**125), 2.0**125, width=32)


@given(arrays(np.uint8, shapes, elements=st.integers(0, 15)))
def test_nibbles_come_back(codes):
    packed = pack_nibbles(codes)
    assert packed.shape == (len(codes), code_bytes(codes.shape[1], 4))
    assert np.array_equal(unpack_nibbles(packed, codes.shape[1]), codes)


@pytest.mark.parametrize("d", [1, 16, 17, 31, 32, 33, 100, 127, 128, 129, 160, 256, 384])
def test_nibbles_lie_where_the_layout_says(d):
    for j in range(d):
        codes = np.zeros((1, d), np.uint8)
        codes[0, j] = 9
        packed = pack_nibbles(codes)[0]
        block, i = divmod(j, 128)
        half = 16 * -(-min(128, d - 128 * block) // 32)
        high, i = divmod(i, half)
        assert packed[64 * block + i] == (9 << 4 if high else 9)
        assert np.count_nonzero(packed) == 1


def test_rows_of_codes_take_few_bytes():
    assert [code_bytes(d, 8) for d in (1, 16, 17, 384)] == [16, 16, 32, 384]
    assert [code_bytes(d, 4) for d in (1, 32, 33, 128, 160, 384)] == [16, 16, 32, 64, 80, 192]
    assert code_bytes(384, 0) == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=3), st.sampled_from([np.uint8, np.uint16, np.float32]))
def test_arrays_start_on_a_cache_line_and_end_in_zeros(shape, dtype):
    array = padded(tuple(shape), dtype)
    array[...] = 1
    assert array.shape == tuple(shape)
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    if array.size:
        assert array.ctypes.data % ALIGNMENT == 0
        after = np.lib.stride_tricks.as_strided(array.reshape(-1).view(np.uint8), (array.nbytes + 64,), (1,))
        assert not after[array.nbytes :].any()
    assert np.array_equal(padded_copy(array), array)


@given(arrays(np.float32, shapes, elements=values), st.sampled_from(LEVELS))
def test_the_kernel_gives_the_bytes_of_the_reference(x, bits):
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    assert encode(x, mean, *bits).tobytes() == encode_reference(x, mean, *bits).tobytes()


@given(arrays(np.float32, shapes, elements=values), st.sampled_from(LEVELS))
def test_codes_are_within_half_a_step(x, bits):
    codec = LVQ(*bits).fit(x)
    codes = codec.transform(x)
    step = codec.rows(codes).constants[:, 0].astype(np.float64)
    finest = step / (2 ** bits[1] - 1) if bits[1] else step
    exact = x.astype(np.float64) - codec.mean_
    # What float32 rounds: a few units in the last place of the range and of the values themselves.
    slack = 2.0**-21 * np.ptp(exact, axis=1) + 2.0**-22 * np.abs(exact).max(axis=1) + 2.0**-99
    error = np.abs(values_of(codec.fine_rows(codes), x.shape[1]) - exact).max(axis=1)
    assert (error <= finest / 2 + slack).all()


@pytest.mark.parametrize("bits", LEVELS)
def test_the_number_of_threads_does_not_show(bits):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5000, 200), dtype=np.float32)
    mean = x.mean(axis=0)
    reference = encode(x, mean, *bits, threads=1)
    for threads in (2, 4, None):
        assert encode(x, mean, *bits, threads=threads).tobytes() == reference.tobytes()
    assert reference.tobytes() == encode_reference(x, mean, *bits).tobytes()


def test_padding_has_code_zero():
    x = np.random.default_rng(0).standard_normal((10, 33), dtype=np.float32)
    codes = LVQ(8, 8).fit_transform(x)
    assert not codes[:, HEADER + 33 : HEADER + 48].any()
    assert not codes[:, HEADER + 48 + 33 :].any()
