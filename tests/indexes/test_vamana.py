from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isometry.codecs import LVQ, Float16
from isometry.errors import DimensionMismatch, InvalidInput, TooLarge
from isometry.indexes import METRICS, Flat, Vamana, index_from_spec, levelled, load_index
from isometry.indexes import vamana as module

SPECS = [
    "Vamana16", "LVQ8,Vamana16", "LVQ4x8,Vamana16", "LeanVec16,LVQ8,Vamana16 -> Float16", "LVQ8,Vamana(16,128,32)",
]  # fmt: skip


def clustered(n, d, seed, clusters=20):
    """Return vectors around centres that are the same for every seed."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(d).standard_normal((clusters, d))
    return (centres[rng.integers(clusters, size=n)] + 0.6 * rng.standard_normal((n, d))).astype(np.float32)


def recall(index, exact, queries, k=10, **options):
    found, expected = index.search(queries, k, **options)[0], exact.search(queries, k, **_only_mask(options))[0]
    hits = sum(len(set(a) & set(b) - {-1}) for a, b in zip(found.tolist(), expected.tolist(), strict=True))
    return hits / np.count_nonzero(expected >= 0)


def _only_mask(options):
    return {name: value for name, value in options.items() if name == "allowed"}


def unreached(index):
    """Return the slots in use that no walk can come to."""
    slots = index._slots
    seen = set(index._entries.tolist())
    todo = list(seen)
    while todo:
        for other in index._graph[todo.pop()].tolist():
            if other >= 0 and other not in seen:
                seen.add(other)
                todo.append(other)
    return set(index._twins.leaders(slots.used()).tolist()) - seen


def assert_sound(index):
    """The graph links distinct rows that exist, none to itself, and leads to all of them."""
    leaders = set(index._twins.leaders(index._slots.used()).tolist())
    for slot in range(len(index._graph)):
        links = [other for other in index._graph[slot].tolist() if other >= 0]
        assert index._graph[slot].tolist()[: len(links)] == links
        assert len(set(links)) == len(links)
        assert slot not in links
        assert set(links) <= leaders
        assert not links or slot in leaders
    assert not unreached(index)


# -- what is built -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS)
def test_the_graph_is_the_same_for_any_number_of_threads(spec):
    x = clustered(1500, 32, 0)

    def bytes_of(threads):
        index = index_from_spec(spec, metric="dot")
        index.threads = threads
        index.build(x[:1000])
        index.add(x[1000:])
        index.remove(np.arange(0, 1500, 7))
        codes = index._codes.codes.tobytes() if index.link_bits else b""
        return index._graph.tobytes(), index._entries.tobytes(), index._levels.walk[0].tobytes(), codes

    first = bytes_of(1)
    assert all(bytes_of(threads) == first for threads in (1, 2, 3))


def test_another_seed_builds_another_graph():
    x = clustered(500, 8, 0)
    assert Vamana(seed=1).build(x)._graph.tobytes() != Vamana(seed=2).build(x)._graph.tobytes()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("degree", [2, 5, 16])
def test_every_row_can_be_reached_after_any_change(metric, degree):
    x = clustered(600, 6, 1)
    x[100:110] *= 30  # under dot, rows that nothing leads to by itself
    x[200:220] = x[0]
    index = Vamana(metric=metric, degree=degree, window=16).build(x)
    assert_sound(index)
    index.remove(np.random.default_rng(0).permutation(600)[:250])
    assert_sound(index)
    index.add(clustered(300, 6, 2))
    assert_sound(index)
    index.remove(int(index._slots.row_ids[index._entries[0]]))
    assert_sound(index)


def test_walks_begin_at_rows_that_are_in_the_graph_and_miss_none():
    x = clustered(6000, 16, 5)
    x[::3] = x[0]
    index = index_from_spec("LVQ8,Vamana16", metric="l2").build(x)
    there = set(range(6000))
    for change in ("build", "remove", "add"):
        if change == "remove":
            gone = np.random.default_rng(0).permutation(6000)[:3000]
            index.remove(gone)
            there -= set(gone.tolist())
        elif change == "add":
            there |= set(index.add(clustered(2000, 16, 6)).tolist())
        starts = index._starts().tolist()
        assert starts[0] == index._entries[0]
        assert len(starts) > 2
        assert set(starts) <= set(index._twins.leaders(index._slots.used()).tolist())
        assert set(index.search(x[:1], len(there), effort=len(there))[0][0].tolist()) == there


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("spec", "least"),
    [
        ("Vamana16", 0.97), ("LVQ8,Vamana16", 0.95), ("LVQ4x8,Vamana16", 0.95), ("LVQ4x8,Vamana(16,128,32)", 0.9),
        ("RaBitQ4,Vamana(16,128,32) -> LVQ8", 0.9),
    ],
)  # fmt: skip
def test_finds_what_exact_search_finds(metric, spec, least):
    x, q = clustered(3000, 32, 3), clustered(100, 32, 4)
    index = index_from_spec(spec, metric=metric).build(x)
    exact = Flat(metric=metric).build(x)
    assert recall(index, exact, q) >= least
    assert recall(index, exact, q, effort=256) >= recall(index, exact, q, effort=10)


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_those_of_the_metric(metric):
    x, q = clustered(500, 24, 3), clustered(20, 24, 4)
    ids, scores = Vamana(metric=metric, degree=16).build(x).search(q, 5)
    expected_ids, expected = Flat(metric=metric).build(x).search(q, 5)
    same = ids == expected_ids
    assert same.mean() > 0.95
    np.testing.assert_allclose(scores[same], expected[same], rtol=1e-5, atol=1e-5)


def test_example_queries_reach_the_transform():
    x, q = clustered(400, 16, 0), clustered(100, 16, 1) * np.linspace(3, 0.01, 16, dtype=np.float32)
    without, with_ = (
        index_from_spec("LeanVec4,Vamana8 -> Float16", metric="dot").build(x, queries=examples)
        for examples in (None, q)
    )
    exact = Flat(metric="dot").build(x)
    assert recall(with_, exact, q, effort=20) > recall(without, exact, q, effort=20)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_and_change_nothing(value):
    x = clustered(50, 8, 0)
    bad = x[:5].copy()
    bad[3, 2] = value
    index = Vamana(degree=4).build(x)
    before = index.search(x[:3])
    for call in (index.build, index.add, index.search, Vamana().build):
        with pytest.raises(InvalidInput, match="row 3"):
            call(bad)
    with pytest.raises(InvalidInput, match="queries"):
        index.build(x, queries=bad)
    assert np.array_equal(index.search(x[:3])[0], before[0])
    assert index.n_rows == 50


def test_vectors_too_long_to_square_are_refused():
    with pytest.raises(InvalidInput, match=r"row 1 has norm 4e\+37; at most .*: scale the vectors down"):
        Vamana(metric="l2").build(np.array([[1.0, 1], [4e37, 0]]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e-10, 1e17])
def test_tiny_and_huge_vectors_have_neighbours(size, metric):
    x = clustered(100, 8, 0) * np.float32(size)
    if metric == "cosine" or size > 1e-19:  # products of smaller ones are zero in float32
        ids, _ = Vamana(metric=metric, degree=8).build(x).search(x, 1, effort=100)
        assert np.array_equal(ids, Flat(metric=metric).build(x).search(x, 1)[0])


@pytest.mark.parametrize("spec", SPECS[:3])
@pytest.mark.parametrize("metric", METRICS)
def test_zero_vectors_score_zero_and_hide_nothing(metric, spec):
    x = clustered(300, 32, 0)
    x[::3] = 0
    index = index_from_spec(spec, metric=metric).build(x)
    ids, scores = index.search(x[1:20:3], 1, effort=300)
    assert np.array_equal(ids[:, 0], np.arange(1, 20, 3)) or metric == "dot"
    ids, scores = index.search(np.zeros((1, 32)), 300, effort=300)
    assert np.array_equal(np.sort(ids[0]), np.arange(300))
    if metric != "l2":
        assert np.abs(scores).max() < 1e-6


@pytest.mark.parametrize("spec", SPECS[:3])
def test_a_zero_vector_takes_no_links_from_the_others(spec):
    """Under cosine it was nearer to all of them than they are to each other."""
    x, q = clustered(2000, 48, 0, clusters=50), clustered(200, 48, 1, clusters=50)
    exact = Flat().build(x)
    without, with_one = (
        index_from_spec(spec).build(rows) for rows in (x, np.vstack([x, np.zeros((1, 48), np.float32)]))
    )
    assert recall(with_one, exact, q, effort=10) > recall(without, exact, q, effort=10) - 0.03


@pytest.mark.parametrize("spec", SPECS[:3])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_fewer_vectors_than_links(metric, spec, n):
    x = np.random.default_rng(n).standard_normal((n, 32)).astype(np.float32)
    index = index_from_spec(spec, metric=metric).build(x)
    ids, scores = index.search(x, k=8)
    assert np.array_equal(np.sort(ids[:, :n]), np.tile(np.arange(n), (n, 1)))
    assert (ids[:, n:] == -1).all()
    assert np.isneginf(scores[:, n:]).all()
    assert np.isfinite(scores[:, :n]).all()
    assert_sound(index)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spec", SPECS[:3])
def test_equal_vectors_are_all_found(metric, spec):
    index = index_from_spec(spec, metric=metric).build(np.full((500, 20), 0.3, np.float32))
    ids, scores = index.search(np.ones((2, 20)), 500)
    assert np.array_equal(ids, np.tile(np.arange(500), (2, 1)))
    assert len(np.unique(scores)) == 1
    assert index.remove(np.arange(0, 500, 2)) == 250
    assert np.array_equal(index.search(np.ones((1, 20)), 250)[0][0], np.arange(1, 500, 2))


def test_duplicates_by_the_thousand_hide_nobody():
    x = clustered(4000, 16, 5)
    x[np.random.default_rng(0).permutation(4000)[:3000]] = x[0]
    index, exact = Vamana(metric="l2", degree=8).build(x), Flat(metric="l2").build(x)
    others = np.flatnonzero((x != x[0]).any(1))
    assert recall(index, exact, x[others[:100]], k=1) == 1
    assert recall(index, exact, clustered(50, 16, 6), k=10) >= 0.95
    ids, _ = index.search(x[:1], 10)
    assert np.array_equal(ids[0], np.flatnonzero((x == x[0]).all(1))[:10])
    mask = np.zeros(4000, np.bool_)
    mask[np.flatnonzero((x == x[0]).all(1))[::2]] = True
    assert recall(index, exact, clustered(20, 16, 6), k=5, allowed=mask) == 1


@pytest.mark.parametrize("spec", SPECS[:3])
@pytest.mark.parametrize("metric", METRICS)
def test_one_dimension(metric, spec):
    x = np.linspace(-2, 3, 200, dtype=np.float32)[:, None]
    index = index_from_spec(spec, metric=metric).build(x)
    ids, scores = index.search(np.array([[1.0], [-1.0]]), 1, effort=200)
    _, exact = Flat(metric=metric).build(x).search(np.array([[1.0], [-1.0]]), 1)
    np.testing.assert_allclose(scores, exact, atol=0.02)
    assert ids.min() >= 0


@pytest.mark.parametrize("spec", SPECS[:3])
def test_many_dimensions(spec):
    x = np.random.default_rng(0).standard_normal((60, 8192)).astype(np.float32)
    index = index_from_spec(spec, metric="l2").build(x)
    ids, scores = index.search(x, 1)
    assert np.array_equal(ids[:, 0], np.arange(60))
    assert np.abs(scores).max() < (1e-2 if spec == "Vamana16" else 8192 * 0.05)


def test_more_memory_than_there_is_is_refused_before_trying(monkeypatch):
    monkeypatch.setattr(levelled, "_free_memory", lambda: 16 * 2**30)
    monkeypatch.setattr(module, "as_dense", lambda x, **_: x)
    huge = np.broadcast_to(np.float32(0), (3_000_000, 1024))  # n * d is beyond 2^31; takes no memory
    with pytest.raises(TooLarge, match=re.escape("3000000 vectors of 1024 dimensions need about")) as error:
        Vamana().build(huge)
    assert "16.0 GiB are free" in str(error.value)
    monkeypatch.setattr("isometry.indexes.compressed.as_dense", lambda x, **_: x)
    with pytest.raises(TooLarge, match=r"in the index LVQ8,Flat, and 16\.0 GiB are free"):
        index_from_spec("LVQ8,Flat").build(huge)
    with pytest.raises(TooLarge, match=r"more than one graph holds.*use several indexes"):
        Vamana().build(np.broadcast_to(np.float32(0), (2**31, 1)))


def test_an_addition_without_memory_changes_nothing(monkeypatch):
    x = clustered(100, 8, 0)
    index = Vamana(degree=4).build(x)
    before = index.search(x[:5])
    monkeypatch.setattr(levelled, "_free_memory", lambda: 1000)
    with pytest.raises(TooLarge, match="are free: build several smaller indexes"):
        index.add(x)
    assert np.array_equal(index.search(x[:5])[0], before[0])
    assert index.n_rows == 100


def test_where_the_system_tells_no_free_memory_nothing_is_refused(monkeypatch):
    monkeypatch.setattr("builtins.open", lambda *_: (_ for _ in ()).throw(FileNotFoundError()))
    assert levelled._free_memory() is None
    monkeypatch.undo()
    assert levelled._free_memory() > 2**20


def test_more_hits_than_rows_and_less_effort_than_hits():
    x = clustered(40, 8, 0)
    index = Vamana(degree=4).build(x)
    ids, scores = index.search(x[:3], 100, effort=1)
    assert np.array_equal(np.sort(ids[:, :40]), np.tile(np.arange(40), (3, 1)))
    assert (ids[:, 40:] == -1).all()
    assert np.isneginf(scores[:, 40:]).all()
    assert (index.search(x[:3], 20, effort=5)[0] >= 0).all()


@pytest.mark.parametrize(
    "options", [{"k": 0}, {"k": 1.5}, {"effort": 0}, {"threads": 0}, {"allowed": np.ones(3, bool)}]
)
def test_senseless_searches_are_refused(options):
    with pytest.raises(InvalidInput):
        Vamana().build(clustered(50, 4, 0)).search(np.zeros((1, 4)), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "euclid"}, {"degree": 1}, {"degree": 2000}, {"window": 3}, {"alpha": 0.9}, {"alpha": "1"},
        {"alpha": float("nan")}, {"seed": -1}, {"threads": 0}, {"link_bits": 8}, {"link_bits": 40},
        {"link_bits": 2**14},
    ],
)  # fmt: skip
def test_senseless_options_are_refused(options):
    with pytest.raises(InvalidInput):
        Vamana(**options)


def test_before_anything_is_built():
    index = Vamana()
    assert len(index) == index.n_rows == 0
    for call in (lambda: index.search(np.zeros((1, 3))), lambda: index.remove([0]), lambda: index.dim):
        with pytest.raises(InvalidInput, match="holds nothing yet"):
            call()
    assert index.add(clustered(5, 3, 0)).tolist() == [0, 1, 2, 3, 4]


def test_another_dimension_is_refused():
    index = Vamana(degree=4).build(clustered(20, 6, 0))
    for call in (index.add, index.search):
        with pytest.raises(DimensionMismatch):
            call(np.zeros((2, 5)))


# -- masks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["Vamana16", "LVQ4x8,Vamana16"])
def test_masks_keep_recall_and_return_all_they_can(spec):
    x, q = clustered(4000, 24, 7), clustered(30, 24, 8)
    index, exact = index_from_spec(spec, metric="l2").build(x), Flat(metric="l2").build(x)
    rng = np.random.default_rng(0)
    for share in (0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 0.99):
        allowed = rng.random(4000) < share
        ids, _ = index.search(q, 10, allowed=allowed)
        assert (np.count_nonzero(ids >= 0, axis=1) == min(10, allowed.sum())).all()
        assert allowed[ids[ids >= 0]].all()
        assert recall(index, exact, q, allowed=allowed) >= 0.95, share


def test_masks_that_follow_the_clusters_keep_recall():
    x, q = clustered(3000, 16, 7), clustered(30, 16, 8)
    index, exact = Vamana(degree=16).build(x), Flat().build(x)
    far = (x @ x[0]) < np.quantile(x @ x[0], 0.15)
    assert recall(index, exact, q, allowed=far) >= 0.95


def test_masks_that_exclude_all_or_nothing():
    x = clustered(200, 8, 0)
    index = Vamana(degree=8).build(x)
    ids, scores = index.search(x[:4], allowed=np.zeros(200, np.bool_))
    assert (ids == -1).all()
    assert np.isneginf(scores).all()
    for a, b in zip(index.search(x[:4], allowed=np.ones(200, np.bool_)), index.search(x[:4]), strict=True):
        assert np.array_equal(a, b)
    index.remove(np.arange(100))
    ids, _ = index.search(x[:4], allowed=np.arange(200) < 100)
    assert (ids == -1).all()


# -- changes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_churn_leaves_recall_as_in_a_fresh_build(metric):
    rng = np.random.default_rng(0)
    x, q = clustered(7000, 24, 9), clustered(300, 24, 10)
    index = index_from_spec("LVQ8,Vamana16", metric=metric).build(x[:3000])
    alive = np.arange(3000)
    for cycle in range(20):
        gone = rng.choice(alive, 150, replace=False)
        assert index.remove(gone) == 150
        ids = index.add(x[3000 + 150 * cycle : 3150 + 150 * cycle])
        alive = np.concatenate([np.setdiff1d(alive, gone), ids])
    assert_sound(index)
    assert len(index._graph) == 3000  # slots are used again
    fresh = index_from_spec("LVQ8,Vamana16", metric=metric).build(x[alive])
    exact, exact_now = Flat(metric=metric).build(x[:6000]), Flat(metric=metric).build(x[alive])
    exact.remove(np.setdiff1d(np.arange(6000), alive))
    for effort in (30, 64):
        assert recall(index, exact, q, effort=effort) >= recall(fresh, exact_now, q, effort=effort) - 0.01


@pytest.mark.parametrize("spec", SPECS)
def test_removing_all_and_adding_again(spec):
    x = clustered(100, 32, 0)
    index = index_from_spec(spec, metric="l2").build(x)
    assert index.remove(np.arange(100)) == 100
    assert index.remove([3, 4]) == 0
    assert len(index) == 0
    assert (index.search(x[:2])[0] == -1).all()
    assert np.array_equal(index.add(x), np.arange(100, 200))
    ids, _ = index.search(x, 1, effort=100)
    assert (ids[:, 0] - 100 == np.arange(100)).mean() >= (0.9 if "LeanVec" in spec else 1)
    assert_sound(index)


def exact_scores(x, q, metric):
    x, q = x.astype(float), q.astype(float)
    if metric == "l2":
        return -np.square(q[:, None] - x).sum(2)
    if metric == "dot":
        return q @ x.T
    norms = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    return np.divide(q @ x.T, norms, out=np.zeros_like(norms), where=norms > 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), metric=st.sampled_from(METRICS), seed=st.integers(0, 10**6))
def test_any_history_equals_brute_force(data, metric, seed, tmp_path):
    """Build, add, remove, save and search in any order; a beam as wide as the index misses nothing."""
    rng = np.random.default_rng(seed)
    d = data.draw(st.integers(1, 5))

    def draw(n):
        return rng.integers(-2, 3, (n, d)).astype(np.float32)

    x = draw(data.draw(st.integers(0, 40)))
    index = Vamana(metric=metric, degree=data.draw(st.sampled_from([2, 4])), window=8).build(x)
    alive = np.ones(len(x), np.bool_)
    for step in data.draw(st.lists(st.sampled_from(["add", "remove", "save", "mask"]), max_size=8)):
        allowed = None
        if step == "add":
            new = draw(data.draw(st.integers(0, 20)))
            assert np.array_equal(index.add(new), np.arange(len(x), len(x) + len(new)))
            x, alive = np.concatenate([x, new]), np.append(alive, np.ones(len(new), np.bool_))
        elif step == "remove" and len(x):
            gone = np.flatnonzero(rng.random(len(x)) < data.draw(st.sampled_from([0.1, 0.5, 1.0])))
            assert index.remove(gone) == alive[gone].sum()
            alive[gone] = False
        elif step == "save":
            index.save(tmp_path / "x.index", overwrite=True)
            index = load_index(tmp_path / "x.index")
        elif step == "mask":
            allowed = rng.random(len(x)) < 0.5
        assert len(index) == alive.sum()
        assert index.n_rows == len(x)
        if alive.any():
            assert_sound(index)
        q, k = draw(3), data.draw(st.sampled_from([1, 5, 100]))
        ids, scores = index.search(q, k, effort=200, allowed=allowed)
        wanted = alive if allowed is None else alive & allowed
        expected = np.where(wanted, exact_scores(x, q, metric), -np.inf)
        for i in range(3):
            count = min(k, int(wanted.sum()))
            found = ids[i, :count]
            assert (ids[i, count:] == -1).all()
            assert len(set(found.tolist())) == count
            assert wanted[found].all()
            np.testing.assert_allclose(scores[i, :count], expected[i, found], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(scores[i, :count], np.sort(expected[i])[::-1][:count], rtol=1e-5, atol=1e-5)


# -- keeping -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spec", [*SPECS, "LVQ8,Vamana8x40 -> LVQ4x4", "BFloat16,Vamana8"])
def test_a_saved_index_answers_and_changes_as_the_one_in_memory(spec, metric, tmp_path):
    x = clustered(300, 32, 0)
    x[50:60] = x[0]
    index = index_from_spec(spec, metric=metric).build(x)
    index.remove(np.arange(0, 300, 11))
    index.save(tmp_path / "x.index")
    opened = load_index(tmp_path / "x.index", verify=True)
    assert (opened.spec, opened.metric, opened.dim, len(opened)) == (spec, metric, 32, len(index))
    for one in (index, opened):
        one.add(clustered(40, 32, 1))
        one.remove([1, 2, 50])
    assert opened._graph.tobytes() == index._graph.tobytes()
    for a, b in zip(index.search(x[:20], allowed=np.arange(340) > 9), opened.search(x[:20], allowed=np.arange(340) > 9),
                    strict=True):  # fmt: skip
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("spec", "metric", "mode", "more"),
    [
        ("Vamana2", "cosine", "verified", ()),
        ("LVQ4x4,Vamana2", "l2", "unverified", ()),
        ("LVQ8,Vamana2", "dot", "unverified", ("labelled",)),
        ("Vamana(2,128,16)", "l2", "unverified", ()),
    ],
)
def test_no_flipped_byte_crashes(spec, metric, mode, more, tmp_path):
    """Small files are checked whenever they are opened; large ones only for what would lead a walk astray."""
    command = [sys.executable, Path(__file__).with_name("damage.py"), tmp_path, spec, metric, mode, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert not found["other"]
    assert found["refused"] > 1000
    assert mode == "unverified" or not found["changed"]


# -- codes beside links ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_codes_follow_the_graph_through_any_change(metric, tmp_path):
    x = clustered(400, 32, 0)
    x[300:310] = x[7]
    index = index_from_spec("LVQ8,Vamana(40,128,32)", metric=metric).build(x)
    rng = np.random.default_rng(0)
    for turn in range(4):
        index.remove(rng.permutation(index.n_rows)[:120])
        index.add(clustered(90, 32, turn + 1))
        if turn == 1:
            index.save(tmp_path / "x.index")
            index = load_index(tmp_path / "x.index")
        codes, graph = index._codes, index._graph
        anew = index._uncoded(index._levels).following(index._levels, graph, graph[:0], True, None)
        assert np.array_equal(codes.codes, anew.codes)


def test_rows_of_few_values_have_no_codes():
    x = clustered(200, 8, 0)
    index = Vamana(degree=8, link_bits=64).build(x)
    assert index._codes is None
    assert np.array_equal(index.search(x[:9])[0], Vamana(degree=8).build(x).search(x[:9])[0])


def test_codecs_that_look_scores_up_are_refused_before_anything_is_linked():
    index = index_from_spec("PQ4,Vamana(8,128,16) -> LVQ8")
    with pytest.raises(InvalidInput, match="looks scores up in tables"):
        index.build(clustered(300, 32, 0))


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        "Vamana", "Vamana64", "Vamana32x200", "LVQ8,Vamana16", "LVQ4x8,Vamana16x64", "LVQ8,Vamana32 -> LVQ4x4",
        "LVQ8,Vamana(64,128,512)",
        "LeanVec12,LVQ8,Vamana16 -> Float16", "LeanVec,Float16,Vamana32 -> BFloat16",
    ],
)  # fmt: skip
def test_specifications_are_printed_back(spec, tmp_path):
    index = index_from_spec(spec, metric="dot")
    assert index.spec == (f"Vamana{Vamana().degree}" if spec == "Vamana" else spec)
    assert index_from_spec(index.spec).spec == index.spec


def test_a_specification_is_what_the_parts_say():
    index = index_from_spec("LVQ4x8,Vamana16x64 -> Float16", metric="l2")
    same = Vamana(metric="l2", degree=16, window=64, codec=LVQ(4, 8), refine=Float16())
    assert index.spec == same.spec
    assert repr(index) == "Vamana('LVQ4x8,Vamana16x64 -> Float16', metric='l2'): empty"
    assert repr(index.build(clustered(30, 4, 0))).endswith("30 vectors of 4 dimensions")


def test_the_parts_that_are_handed_over_stay_as_they_were():
    codec = LVQ(8)
    Vamana(codec=codec).build(clustered(30, 4, 0))
    assert not hasattr(codec, "mean_")


@pytest.mark.parametrize("code", ["import isometry", "import isometry; isometry.index_from_spec('Flat')"])
def test_what_needs_no_compiler_loads_none(code):
    code += "; import sys; print([name for name in ('numba', 'llvmlite', 'sklearn') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
