from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from isometry.errors import Damaged, DimensionMismatch, InvalidInput
from isometry.indexes import METRICS, Flat, load_index
from isometry.indexes import flat as module
from isometry.storage import read_folder, write_folder


def exact(x, q, k, metric, allowed=None):
    """Return the answer from a full matrix of scores, computed in float64 and rounded to float32."""
    x, q = x.astype(np.float64), q.astype(np.float64)
    if metric == "l2":
        scores = -np.square(q[:, None] - x).sum(axis=2)
    else:
        scores = q @ x.T
        if metric == "cosine":
            with np.errstate(divide="ignore", invalid="ignore"):
                scores /= np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1)
            scores = np.nan_to_num(scores)
    scores = scores.astype(np.float32)
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, ids, axis=1)
    ids[np.isneginf(scores)] = -1
    missing = max(0, k - x.shape[0])
    return np.pad(ids, ((0, 0), (0, missing)), constant_values=-1), np.pad(
        scores, ((0, 0), (0, missing)), constant_values=-np.inf
    )


def assert_exact(index, x, q, k, metric, allowed=None, **options):
    ids, scores = index.search(q, k, allowed=allowed, **options)
    expected_ids, expected_scores = exact(x, q, k, metric, allowed)
    np.testing.assert_allclose(scores, expected_scores, rtol=3e-7, atol=1e-7)
    different = ids != expected_ids
    if different.any():  # the reference rounds too: only neighbours it can't tell apart may be swapped
        assert np.isclose(scores[different], expected_scores[different], rtol=3e-7, atol=1e-7).all()
        assert different.mean() < 0.02


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [None, 0.05, 0.6])
@pytest.mark.parametrize(
    ("n", "d", "nq", "k"), [(3000, 64, 1, 10), (3000, 96, 3, 10), (2000, 100, 40, 7), (4000, 5, 300, 50)]
)
def test_equals_brute_force(metric, share, n, d, nq, k):
    rng = np.random.default_rng(n + d)
    x = rng.standard_normal((n, d)).astype(np.float32)
    x[::7] = x[0]
    x[3] = 0
    q = rng.standard_normal((nq, d)).astype(np.float32)
    q[0] = x[0]
    allowed = None if share is None else rng.random(n) < share
    assert_exact(Flat(metric=metric).build(x), x, q, k, metric, allowed)


@pytest.mark.parametrize("metric", METRICS)
def test_equals_scikit_learn(metric):
    rng = np.random.default_rng(1)
    x, q = rng.standard_normal((500, 32)), rng.standard_normal((30, 32))
    name = {"l2": "sqeuclidean", "cosine": "cosine", "dot": lambda a, b: -float(a @ b)}[metric]
    oracle = NearestNeighbors(n_neighbors=10, metric=name, algorithm="brute").fit(x.astype(np.float32))
    np.testing.assert_array_equal(
        Flat(metric=metric).build(x).search(q)[0], oracle.kneighbors(q.astype(np.float32), return_distance=False)
    )


@settings(max_examples=150, deadline=None)
@given(data=st.data(), metric=st.sampled_from(METRICS), seed=st.integers(0, 10**6))
def test_any_history_equals_brute_force(data, metric, seed):
    """Build, add, remove and search in any order, on coarse values so that ties abound."""
    rng = np.random.default_rng(seed)
    d = data.draw(st.integers(1, 5))
    coarse = lambda n: rng.integers(-2, 3, (n, d)).astype(np.float32)  # noqa: E731
    x = coarse(data.draw(st.integers(0, 30)))
    index, alive = Flat(metric=metric).build(x), np.ones(len(x), bool)
    for _ in range(data.draw(st.integers(0, 4))):
        if data.draw(st.booleans()) and len(x):
            gone = rng.integers(0, len(x), data.draw(st.integers(0, 5)))
            assert index.remove(gone) == alive[gone[np.unique(gone, return_index=True)[1]]].sum()
            alive[gone] = False
        else:
            more = coarse(data.draw(st.integers(0, 10)))
            np.testing.assert_array_equal(index.add(more), np.arange(len(x), len(x) + len(more)))
            x, alive = np.concatenate([x, more]), np.concatenate([alive, np.ones(len(more), bool)])
    q = coarse(data.draw(st.integers(1, 4)))
    k = data.draw(st.integers(1, 40))
    allowed = (rng.random(len(x)) < 0.5) if data.draw(st.booleans()) else None
    ids, scores = index.search(q, k, allowed=allowed)
    expected = exact(x, q, k, metric, alive if allowed is None else alive & allowed)
    np.testing.assert_allclose(scores, expected[1], rtol=3e-7, atol=1e-7)
    if metric != "cosine":  # whole numbers: the reference is exact, ties included
        np.testing.assert_array_equal(ids, expected[0])


@pytest.mark.parametrize("metric", METRICS)
def test_blocks_do_not_show(metric, monkeypatch):
    rng = np.random.default_rng(2)
    x, q = rng.standard_normal((5000, 20)).astype(np.float32), rng.standard_normal((50, 20)).astype(np.float32)
    allowed = rng.random(5000) < 0.2
    reference = [Flat(metric=metric).build(x).search(q, 30, allowed=mask) for mask in (None, allowed, ~allowed)]
    monkeypatch.setattr(module, "block_rows", lambda _: 333)
    monkeypatch.setattr(module, "_QUERIES", 7)
    monkeypatch.setattr(module, "_PAIRS", 100)
    monkeypatch.setattr(module, "_EXACT_BYTES", 1000)
    index = Flat(metric=metric).build(x[:1234])
    for start in range(1234, 5000, 555):
        index.add(x[start : start + 555])
    for mask, expected in zip((None, allowed, ~allowed), reference, strict=True):
        for got, want in zip(index.search(q, 30, allowed=mask), expected, strict=True):
            np.testing.assert_array_equal(got, want)


def test_l2_of_near_points_far_from_the_origin():
    """The expanded square loses all digits here; the exact second look must not."""
    rng = np.random.default_rng(3)
    x = (1e4 + rng.standard_normal((2000, 16))).astype(np.float32)
    index = Flat(metric="l2").build(x)
    assert_exact(index, x, x[:20], 5, "l2")
    ids, scores = index.search(x[:20], 1)
    np.testing.assert_array_equal(ids[:, 0], np.arange(20))
    assert not scores.any()
    assert not np.signbit(scores).any()


def test_all_rows_equal_is_answered_in_bounded_memory():
    index = Flat().build(np.ones((50_000, 8), np.float32))
    ids, scores = index.search(np.ones((300, 8), np.float32), 3)
    np.testing.assert_array_equal(ids, np.tile([0, 1, 2], (300, 1)))
    np.testing.assert_array_equal(scores, np.ones((300, 3)))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1.0, 1e15])
def test_any_scale(metric, scale):
    rng = np.random.default_rng(4)
    x = (rng.standard_normal((300, 12)) * scale).astype(np.float32)
    assert_exact(Flat(metric=metric).build(x), x, x[:5], 4, metric)


def test_cosine_of_zero_vectors_is_zero():
    x = np.array([[0, 0], [1, 0], [-1, 0]], np.float32)
    ids, scores = Flat().build(x).search([[1, 0], [0, 0]], 3)
    np.testing.assert_array_equal(ids, [[1, 0, 2], [0, 1, 2]])
    np.testing.assert_array_equal(scores, [[1, 0, -1], [0, 0, 0]])


def test_vectors_too_long_to_square_are_refused():
    good = np.ones((2, 3), np.float32)
    bad = np.array([[1, 1, 1], [0, 2.0**63, 0]], np.float32)
    for metric in METRICS:
        index = Flat(metric=metric).build(good)
        for call in (Flat(metric=metric).build, index.add, index.search):
            with pytest.raises(InvalidInput, match="row 1 has norm"):
                call(bad)


def test_a_memory_map_is_used_in_place(tmp_path):
    x = np.random.default_rng(5).standard_normal((100, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    index = Flat().build(mapped)
    assert np.shares_memory(index._rows.parts[0], mapped)
    index.add(x[:1])
    assert np.shares_memory(index._rows.parts[0], mapped)
    assert index.search(x[:1], 2)[0].tolist() == [[0, 100]]


def test_loading_and_adding_do_not_copy_what_is_on_disk(tmp_path):
    x = np.random.default_rng(6).standard_normal((100, 8)).astype(np.float32)
    Flat().build(x).save(tmp_path / "index")
    index = load_index(tmp_path / "index")
    assert not index._rows.parts[0].flags.owndata
    index.add(x[:3])
    assert [len(part) for part in index._rows.parts] == [100, 3]


def test_dimensions_are_checked():
    index = Flat().build(np.ones((3, 4)))
    for call in (index.search, index.add):
        with pytest.raises(DimensionMismatch):
            call(np.ones((2, 5)))


def test_metric_is_checked():
    with pytest.raises(InvalidInput, match="did you mean 'cosine'"):
        Flat(metric="cosin")


@pytest.mark.parametrize(
    ("parameters", "arrays"),
    [
        ({"metric": "l3"}, {}),
        ({"metric": None}, {}),
        ({"largest_norm": "x"}, {}),
        ({"largest_norm": -1.0}, {}),
        ({}, {"vectors": np.ones((3, 4))}),
        ({}, {"vectors": np.ones((3, 0), np.float32)}),
        ({}, {"vectors": np.ones(3, np.float32)}),
        ({}, {"terms": np.ones(2, np.float32)}),
        ({}, {"alive": np.ones(4, bool)}),
        ({}, {"alive": np.ones(3, np.int8)}),
    ],
)
def test_folders_that_do_not_fit_together(tmp_path, parameters, arrays):
    Flat().build(np.ones((3, 4))).save(tmp_path / "good")
    good = read_folder(tmp_path / "good")
    write_folder(tmp_path / "bad", "Flat", good.parameters | parameters, good.arrays | arrays)
    with pytest.raises(Damaged):
        load_index(tmp_path / "bad")
