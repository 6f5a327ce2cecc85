"""An index with a tail answers like one index over everything."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.collections.tail import Tailed
from isometry.indexes import Flat, MaxSim
from isometry.vectors import MultiVectors

RNG = np.random.default_rng(0)
DENSE = RNG.standard_normal((60, 8)).astype(np.float32)
SETS = MultiVectors.from_list([RNG.standard_normal((n, 8)) for n in RNG.integers(0, 6, 60)])


@pytest.mark.parametrize(("make", "rows"), [(Flat, DENSE), (MaxSim, SETS)], ids=["dense", "multi"])
@pytest.mark.parametrize("cuts", [(0, 60), (40, 50, 60), (40, 40, 60), (60,), (0, 1, 2, 60)], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_both_parts_are_searched_as_one(make, rows, cuts, masked):
    first, *others = cuts
    tailed = Tailed(make().build(rows[:first]) if first else None, make)
    assert tailed.n_rows == first
    for start, stop in zip(cuts, others, strict=False):
        before, tailed = tailed, tailed.with_more(rows[start:stop])
        assert (before.n_rows, tailed.n_rows) == (start, stop)
    allowed = np.arange(60) % 3 > 0 if masked else None
    found, scores = tailed.search(rows[:5], k=70, allowed=allowed)
    expected, best = make().build(rows).search(rows[:5], k=70, allowed=allowed)
    there = expected >= 0
    assert np.array_equal(found >= 0, there)
    assert np.array_equal(found[there], expected[there])
    assert np.allclose(scores[there], best[there], atol=1e-5)


def test_nothing_finds_nothing():
    tailed = Tailed(None, Flat).with_more(DENSE[:0])
    ids, scores = tailed.search(DENSE[:2], k=3)
    assert (ids == -1).all()
    assert np.isneginf(scores).all()
