"""Alignment: what each method can and can't undo, and what it says of itself."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.errors import DimensionMismatch, InvalidInput
from isometry.transforms import Alignment
from isometry.transforms.align import FEWEST_PAIRS, retrieval_kept


def pairs(n, new, old, seed=0, noise=0.0, bend=0.0):
    """Return (new, old) vectors of one set of items; the old ones are a map of the new, bent and noisy if asked."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, new)) * np.linspace(2, 0.5, new) + 1
    across = np.random.default_rng(9).standard_normal((new, old)) / np.sqrt(new)
    y = x @ across
    y += bend * np.abs(x @ across[:, ::-1]) + noise * rng.standard_normal(y.shape) + 3
    return x.astype(np.float32), y.astype(np.float32)


def kept(align, x, y, base):
    return retrieval_kept(align.transform(x), y, base).mean


@pytest.mark.parametrize(("new", "old"), [(16, 16), (24, 16), (16, 24)])
def test_a_rotation_and_a_scale_are_undone_by_procrustes(new, old):
    rng = np.random.default_rng(1)
    few = rng.standard_normal((300, min(new, old)))
    turn = np.linalg.qr(rng.standard_normal((max(new, old), min(new, old))))[0]
    x, y = (few if each == few.shape[1] else few @ turn.T for each in (new, old))
    y = 5 * y + 2
    align = Alignment("procrustes").fit(x[:200], y[:200])
    assert np.allclose(align.transform(x[200:]), y[200:], atol=1e-4)
    assert align.kept_ == 1
    if new == old:
        product = align.components_ @ align.components_.T
        assert np.allclose(product, 25 * np.eye(16), atol=1e-3)


def test_a_linear_map_needs_the_linear_method():
    x, y = pairs(600, 24, 16, noise=0.01)
    new, old, base = x[400:], y[400:], y[:400]
    found = {m: kept(Alignment(m).fit(x[:400], y[:400]), new, old, base) for m in ("procrustes", "linear")}
    assert found["procrustes"] < found["linear"] - 0.1
    assert found["linear"] > 0.9


def test_what_is_bent_needs_the_network_and_best_finds_out():
    x, y = pairs(1500, 12, 8, bend=1.0)
    fitted = Alignment(hidden=64).fit(x[:1200], y[:1200])
    assert fitted.method_ == "mlp"
    linear = Alignment("linear").fit(x[:1200], y[:1200])
    assert kept(fitted, x[1200:], y[1200:], y[:1200]) > kept(linear, x[1200:], y[1200:], y[:1200]) + 0.05


def test_the_share_kept_that_is_told_is_that_of_new_pairs():
    x, y = pairs(3000, 24, 16, noise=0.3)
    fitted = Alignment("linear").fit(x[:2000], y[:2000])
    found = retrieval_kept(fitted.transform(x[2000:]), y[2000:], y[:1600]).mean
    assert fitted.kept_low_ - 0.02 <= found <= fitted.kept_high_ + 0.05
    assert fitted.kept_ == pytest.approx(found, abs=0.05)


def test_unrelated_spaces_keep_about_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1000, 16)), rng.standard_normal((1000, 16))
    assert Alignment(hidden=16).fit(x, y).kept_ < 0.1


def test_identical_and_opposite_spaces():
    x, _ = pairs(200, 16, 16)
    for y in (x, -x):
        fitted = Alignment().fit(x, y)
        assert fitted.method_ == "procrustes"
        assert fitted.kept_ == 1
        assert np.allclose(fitted.transform(x), y, atol=1e-4)


def test_few_pairs_are_told():
    x, y = pairs(FEWEST_PAIRS - 1, 24, 16)
    with pytest.warns(UserWarning, match="learned from 39 pairs"):
        fitted = Alignment().fit(x, y)
    assert fitted.kept_ is None
    assert fitted.method_ == "procrustes"


def test_pairs_that_are_zero_do_not_spoil_the_others():
    x, y = pairs(400, 16, 16)
    x[::4] = y[::4] = 0
    fitted = Alignment("linear").fit(x, y)
    assert np.isfinite(fitted.transform(x)).all()
    assert 0 < fitted.kept_ < 1


def test_same_seed_same_map():
    x, y = pairs(300, 16, 8, bend=0.5)
    one, other = (Alignment("mlp", hidden=16, random_state=3).fit(x, y) for _ in range(2))
    assert np.array_equal(one.transform(x), other.transform(x))
    assert not np.array_equal(one.output_, Alignment("mlp", hidden=16, random_state=4).fit(x, y).output_)


def test_bad_parameters():
    x, y = pairs(100, 8, 8)
    with pytest.raises(InvalidInput, match="method is 'rotate'"):
        Alignment("rotate").fit(x, y)
    with pytest.raises(InvalidInput, match="regularization is -1"):
        Alignment(regularization=-1).fit(x, y)
    with pytest.raises(DimensionMismatch, match="X has 100 rows and y 99"):
        Alignment().fit(x, y[:-1])
    with pytest.raises(InvalidInput, match="y is far larger than X"):
        Alignment("linear", regularization=0).fit(x * np.float32(1e-30), y * np.float32(1e20))
    with pytest.raises(DimensionMismatch, match="mapped is"):
        retrieval_kept(x, y[:, :-1], y)
    with pytest.raises(InvalidInput, match="100 vectors search 0"):
        retrieval_kept(x, y, y[:0])


def test_kept_by_hand():
    base = np.eye(4)
    target = np.array([[3.0, 2, 1, 0]])
    assert retrieval_kept(target, target, base, k=2).mean == 1
    assert retrieval_kept([[3.0, 0, 1, 0]], target, base, k=2).mean == 0.5
    assert retrieval_kept([[0.0, 0, 1, 2]], target, base, k=2).mean == 0
