"""Scans of tables for many queries, and by look-ups in small tables, find what plain scans find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.kernels.graph import Space
from isometry.kernels.halves import MOST_HALVED, best_of_halves
from isometry.kernels.level import LOOKS_UP
from isometry.kernels.lists import Lists
from isometry.kernels.rows import TableRows, TurnedRows, padded_copy, turned, unturned
from isometry.kernels.scan import LANES, best, best_of_tables


def found(kernel, codes, slots, queries, most, bias=()):
    scores, ids = np.empty((len(queries), most), np.float32), np.empty((len(queries), most), np.int32)
    space = Space(np.asarray(bias, np.float32), np.empty(0, np.float32), np.float32(0))
    kernel(TableRows(padded_copy(codes)), space, slots, queries, scores, ids)
    return scores, ids


def halved(rows, space, slots, queries, scores, ids):
    """Cut the slots into two lists, and look for their best by halves of bytes."""
    lists = Lists(np.array([0, len(slots) // 3, len(slots)]), slots)
    chosen, added = np.ones((2, len(queries)), np.bool_), np.empty((len(queries), 0), np.float32)
    rows = TurnedRows(turned(rows.codes))
    best_of_halves(rows, space, lists, chosen, added, queries, np.empty(0, np.int64), scores, ids)


def sums(small: np.ndarray) -> np.ndarray:
    """Return tables (nq, m, 256) of small ones (nq, m, 2, 16), the low half first."""
    return (small[:, :, 1, :, None] + small[:, :, 0, None, :]).reshape(len(small), -1).astype(np.float32)


@pytest.mark.skipif(not LOOKS_UP, reason="this processor has no instruction that looks up bytes")
@settings(deadline=None)
@given(
    n=st.sampled_from([1, 31, 32, 33, 1500]),
    m=st.sampled_from([1, 2, 7, 16, 33, MOST_HALVED]),
    most=st.sampled_from([1, 10, 2000]),
    different=st.sampled_from([1, 3, 256]),
    shape=st.sampled_from(["normal", "one wide", "constant", "zero", "huge", "far from zero"]),
    left_out=st.sampled_from(["none", "few", "half", "most"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_look_ups_find_what_a_plain_scan_finds(n, m, most, different, shape, left_out, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, different, (n, m)).astype(np.uint8)
    small = rng.standard_normal((3, m, 2, 16))
    if shape == "one wide":
        small[:, 0] *= 1000
    elif shape == "huge":
        small *= 1e30
    elif shape == "far from zero":
        small += 1e3
    elif shape in ("constant", "zero"):
        small[:] = 0.1 if shape == "constant" else 0
    share = {"none": 0, "few": 0.01, "half": 0.5, "most": 0.97}[left_out]
    slots = np.flatnonzero(rng.random(n) >= share).astype(np.int32)
    plain = found(best, codes, slots, sums(small), most)
    seen = found(halved, codes, slots, sums(small), most)
    assert seen[0].tobytes() == plain[0].tobytes()
    assert seen[1].tobytes() == plain[1].tobytes()


@settings(deadline=None)
@given(
    nq=st.sampled_from([1, 2, LANES - 1, LANES, 2 * LANES + 3]),
    m=st.sampled_from([1, 3, 4, 9, 48]),
    most=st.sampled_from([1, 10, 300]),
    different=st.sampled_from([1, 3, 256]),
    shape=st.sampled_from(["normal", "huge", "beyond float32", "zero"]),
    biased=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_sixteen_queries_find_what_each_finds_alone(nq, m, most, different, shape, biased, seed):
    rng = np.random.default_rng(seed)
    n = 200
    codes = rng.integers(0, different, (n, m)).astype(np.uint8)
    scale = {"normal": 1, "huge": 1e36, "beyond float32": 3e38, "zero": 0}[shape]
    tables = (scale * rng.uniform(-1, 1, (nq, 256 * m))).astype(np.float32)
    slots = rng.permutation(n)[: n - 5].astype(np.int32)
    bias = rng.standard_normal(n) if biased else ()
    plain = found(best, codes, slots, tables, most, bias)
    seen = found(best_of_tables, codes, slots, tables, most, bias)
    assert seen[0].tobytes() == plain[0].tobytes()
    assert seen[1].tobytes() == plain[1].tobytes()


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100])
def test_turned_rows_hold_the_same_codes(n):
    codes = np.random.default_rng(n).integers(256, size=(n, 5)).astype(np.uint8)
    groups = turned(codes)
    assert groups.shape == (-(-n // 32), 5, 32)
    assert np.array_equal(unturned(groups)[:n], codes)
    assert not unturned(groups)[n:].any()
