"""What scores must hold beside the numbers, which `test_simd` compares at every level of instructions."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.codecs import LVQ
from isometry.kernels import reference
from isometry.kernels.compiled import kernel
from isometry.kernels.rows import ByteRows, Float32Rows, padded, padded_copy
from isometry.kernels.score import QUERY_SPARE, decode, prepare, score, score_fine, touch


@kernel
def ask(rows, query, spare, slot):
    d = len(query)
    values, codes = np.zeros(d + spare, np.float32), np.zeros(d + spare, np.int8)
    values[:d] = query
    return score(rows, prepare(rows, values, codes), slot)


def test_rows_beyond_two_gigabytes_are_where_they_are():
    rows = ByteRows(padded((70_000, 2**15), np.uint8), padded((70_000, 2), np.float32))  # memory is only taken if used
    query = np.random.default_rng(0).standard_normal(2**15).astype(np.float32)
    rows.codes[-1] = np.arange(2**15) % 251
    rows.constants[-1] = 0.5, -3
    expected = reference.score(ByteRows(rows.codes[-1:], rows.constants[-1:]), query)[0]
    for slot in (np.int64(69_999), np.int32(69_999)):
        assert ask(rows, query, QUERY_SPARE, slot) == pytest.approx(expected, rel=1e-4, abs=0.1)


@pytest.mark.parametrize("d", [1, 5, 17, 100, 129])
def test_the_next_row_counts_nothing(d):
    """Kernels read past a row's end, where the query is zero."""
    x = np.random.default_rng(d).standard_normal((2, d)).astype(np.float32)
    query = np.random.default_rng(d + 1).standard_normal(d).astype(np.float32)
    plain = Float32Rows(padded_copy(x))
    lvq = LVQ(4).fit(x)
    coded = lvq.rows(lvq.transform(x))
    before = ask(plain, query, QUERY_SPARE, 0), ask(coded, query, QUERY_SPARE, 0)
    plain.values[1] = 3e37
    coded.codes[1] = 255
    assert (ask(plain, query, QUERY_SPARE, 0), ask(coded, query, QUERY_SPARE, 0)) == before


def test_a_rounded_query_is_near():
    x = np.random.default_rng(0).standard_normal((50, 384)).astype(np.float32)
    query = np.random.default_rng(1).standard_normal(384).astype(np.float32)
    lvq = LVQ(8).fit(x)
    rows = lvq.rows(lvq.transform(x))
    exact, rounded = reference.score_fine(rows, query), reference.score(rows, query)
    assert 0 < np.abs(rounded - exact).max() < 0.04 * np.linalg.norm(x, axis=1).max()


def test_a_query_of_whole_multiples_is_not_rounded():
    query = np.float32(0.013) * np.random.default_rng(0).integers(-15, 16, 300).astype(np.float32)
    codes, scale = reference.quantise(query)
    assert np.allclose(scale * codes, query, rtol=1e-6)
    assert np.abs(codes).max() == 15
    query[7] *= np.float32(1.01)
    assert np.abs(reference.quantise(query)[0]).max() == 127


@pytest.mark.parametrize("function", [prepare, score, score_fine, decode, touch])
def test_only_compiled_code_may_call_them(function):
    with pytest.raises(NotImplementedError, match="compiled code"):
        function(None, None, None) if function is not touch else function(None, None)
