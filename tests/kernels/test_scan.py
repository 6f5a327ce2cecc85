"""Scans by look-ups in small tables find what plain scans find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.kernels.graph import Space
from isometry.kernels.level import LOOKS_UP
from isometry.kernels.rows import TableRows, padded_copy
from isometry.kernels.scan import MOST_HALVED, best, best_of_halves

pytestmark = pytest.mark.skipif(not LOOKS_UP, reason="this processor has no instruction that looks up bytes")


def found(kernel, codes, slots, queries, most):
    scores, ids = np.empty((len(queries), most), np.float32), np.empty((len(queries), most), np.int32)
    space = Space(np.empty(0, np.float32), np.empty(0, np.float32), np.float32(0))
    kernel(TableRows(padded_copy(codes)), space, slots, queries, scores, ids)
    return scores, ids


def sums(small: np.ndarray) -> np.ndarray:
    """Return tables (nq, m, 256) of small ones (nq, m, 2, 16), the low half first."""
    return (small[:, :, 1, :, None] + small[:, :, 0, None, :]).reshape(len(small), -1).astype(np.float32)


@settings(deadline=None)
@given(
    n=st.sampled_from([1, 31, 32, 33, 1500]),
    m=st.sampled_from([1, 2, 7, 16, 33, MOST_HALVED]),
    most=st.sampled_from([1, 10, 2000]),
    different=st.sampled_from([1, 3, 256]),
    shape=st.sampled_from(["normal", "one wide", "constant", "zero", "huge", "far from zero"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_look_ups_find_what_a_plain_scan_finds(n, m, most, different, shape, seed):
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
    slots = rng.permutation(n)[: max(1, n - 5)].astype(np.int32)
    plain = found(best, codes, slots, sums(small), most)
    seen = found(best_of_halves, codes, slots, sums(small), most)
    assert seen[0].tobytes() == plain[0].tobytes()
    assert seen[1].tobytes() == plain[1].tobytes()
