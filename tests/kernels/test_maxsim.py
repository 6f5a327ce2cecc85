"""Scores of sets for queries of several vectors, against brute force by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.codecs import LVQ, Binary, Float8, ProductQuantizer
from isometry.kernels.maxsim import _floats_of, _tile_of, matches, maxsim
from isometry.kernels.rows import (
    BFloat16Rows,
    ByteRows,
    Float16Rows,
    Float32Rows,
    NibbleRows,
    TableRows,
    padded_copy,
    values_of,
)

LAYOUTS = {
    "float32": lambda x: Float32Rows(padded_copy(x)),
    "float16": lambda x: Float16Rows(padded_copy(x.astype(np.float16).view(np.uint16))),
    "bfloat16": lambda x: BFloat16Rows(padded_copy((x.view(np.uint32) >> 16).astype(np.uint16))),
    "float8": lambda x: coded(Float8(), x),
    "binary": lambda x: coded(Binary(), x),
    "LVQ8": lambda x: coded(LVQ(8), x),
    "LVQ4": lambda x: coded(LVQ(4), x),
    "LVQ4x8": lambda x: coded(LVQ(4, 8), x),
    "tables": lambda x: TableRows(padded_copy((np.abs(x) * 512).astype(np.uint8))),
}


def coded(codec, x):
    return codec.fine_rows(codec.fit_transform(x))


def made(lengths, d, seed):
    """Return tokens and offsets; tokens have the length 1."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((sum(lengths), d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def by_numpy(query, rows, offsets, candidates):
    """Return (scores, numbers) in float64."""
    values = values_of(rows, query.shape[1]).astype(float)
    scores, numbers = [], []
    for c in candidates:
        products = query.astype(float) @ values[offsets[c] : offsets[c + 1]].T
        empty = products.shape[1] == 0
        scores.append(-np.inf if empty else products.max(axis=1).sum())
        numbers.append(np.full(len(query), -1) if empty else products.argmax(axis=1))
    return np.array(scores), np.array(numbers).reshape(len(candidates), len(query))


@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    m=st.integers(0, 40),
    d=st.sampled_from([2, 16, 33, 128, 130]),
    seed=st.integers(0, 99),
)
@settings(max_examples=120, deadline=None)
def test_scores_are_those_of_brute_force(layout, lengths, m, d, seed):
    x, offsets = made([*lengths, 3], d, seed)
    rng = np.random.default_rng(seed + 1)
    rows = LAYOUTS[layout](x)
    width = 256 * d if isinstance(rows, TableRows) else d
    query = rng.standard_normal((m, width)).astype(np.float32)
    candidates = rng.integers(len(lengths) + 1, size=rng.integers(0, 9))
    expected, numbers = by_numpy(query, rows, offsets, candidates)
    scores = maxsim(query, rows, offsets, candidates)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(expected, rel=1e-5, abs=1e-4)
    seen, products = matches(query, rows, offsets, candidates)
    filled = expected > -np.inf
    assert products.sum(axis=1, dtype=float)[filled] == pytest.approx(scores[filled], rel=1e-6, abs=1e-6)
    values = values_of(rows, width).astype(float)
    for c, row, wanted in zip(candidates, seen, numbers, strict=True):
        if offsets[c] == offsets[c + 1]:
            assert (row == -1).all()
        else:
            chosen, best = (values[offsets[c] + number] for number in (row, wanted))
            assert (query * chosen).sum(axis=1) == pytest.approx((query * best).sum(axis=1), abs=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_and_batches_make_no_difference(layout):
    x, offsets = made([*np.random.default_rng(0).integers(0, 200, 300).tolist(), 10_000, 1], 24, 0)
    rows = LAYOUTS[layout](x)
    query = made([32], 256 * 24 if isinstance(rows, TableRows) else 24, 1)[0]
    candidates = np.random.default_rng(2).permutation(302)
    whole = maxsim(query, rows, offsets, candidates, threads=1)
    found = matches(query, rows, offsets, candidates, threads=1)
    for threads in (2, 5, None):
        assert maxsim(query, rows, offsets, candidates, threads=threads).tobytes() == whole.tobytes()
        again = matches(query, rows, offsets, candidates, threads=threads)
        assert all(one.tobytes() == other.tobytes() for one, other in zip(found, again, strict=True))
    alone = [maxsim(query, rows, offsets, candidates[i : i + 1])[0] for i in range(302)]
    assert np.array(alone).tobytes() == whole.tobytes()


def test_the_first_of_equal_tokens_matches():
    x, offsets = made([20], 16, 0)
    x[5:] = x[5]
    numbers, _ = matches(x[[7, 2]], Float32Rows(padded_copy(x)), offsets, np.array([0]))
    assert numbers.tolist() == [[5, 2]]


@pytest.mark.parametrize("scale", [-1e18, 1e18])
def test_products_may_be_large_or_all_negative(scale):
    x, offsets = made([9], 16, 0)
    rows = Float32Rows(padded_copy(np.abs(x) * np.float32(1e18)))
    query = np.full((3, 16), scale, np.float32)
    scores = maxsim(query, rows, offsets, np.array([0]))
    assert scores == pytest.approx(by_numpy(query, rows, offsets, [0])[0], rel=1e-5)
    assert (np.sign(scores) == np.sign(scale)).all()


def test_coded_rows_score_near_the_vectors():
    x, offsets = made([50] * 40, 128, 0)
    query = made([32], 128, 1)[0]
    exact = maxsim(query, Float32Rows(padded_copy(x)), offsets, np.arange(40))
    for codec, layout, error in ((LVQ(8), ByteRows, 0.002), (LVQ(4), NibbleRows, 0.03)):
        rows = coded(codec, x)
        assert isinstance(rows, layout)
        scores = maxsim(query, rows, offsets, np.arange(40)) + float((query @ codec.mean_).sum())
        assert 0 < np.abs(scores / exact - 1).max() < error


@pytest.mark.parametrize("bits", [4, 8])
def test_product_quantized_rows_score_as_what_they_decode_to(bits):
    x, offsets = made([50] * 40, 96, 0)
    query = made([32], 96, 1)[0]
    codec = ProductQuantizer(24, bits).fit(x)
    codes = codec.transform(x)
    decoded = Float32Rows(padded_copy(codec.inverse_transform(codes)))
    expected = maxsim(query, decoded, offsets, np.arange(40))
    asked, rows = codec.queries(query), codec.fine_rows(codes)
    shift = np.float32((query @ codec.mean_).sum())
    assert maxsim(asked, rows, offsets, np.arange(40)) + shift == pytest.approx(expected, abs=1e-4)
    numbers = matches(asked, rows, offsets, np.arange(40))[0]
    assert (numbers == matches(query, decoded, offsets, np.arange(40))[0]).mean() > 0.999


def test_a_column_of_wide_codes_chooses_of_many():
    rng = np.random.default_rng(0)
    products = rng.standard_normal((20, 1000)).astype(np.float32)
    codes, offsets = rng.integers(1000, size=(90, 1)).astype(np.uint16), np.array([0, 30, 30, 90])
    scores = maxsim(products, TableRows(padded_copy(codes)), offsets, np.array([2, 1, 0]))
    expected = [products[:, codes[first:last, 0]].max(axis=1).sum() for first, last in ((30, 90), (0, 30))]
    assert scores[[0, 2]] == pytest.approx(expected, rel=1e-6)
    assert scores[1] == -np.inf


def test_only_compiled_code_may_call_it():
    with pytest.raises(NotImplementedError, match="compiled code"):
        _floats_of(None, None, None)
    with pytest.raises(NotImplementedError, match="compiled code"):
        _tile_of(None, None, None, None, None)
