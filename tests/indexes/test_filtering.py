"""Search among the rows that pass: every strategy, the choice between them, and what they must never do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isometry.errors import InvalidInput
from isometry.indexes import Flat, Vamana, index_from_spec, load_index
from isometry.indexes.filtering import STRATEGIES, WalkCosts, choose, filter_plan

N = 6000


def clustered(n, d, seed, clusters=20):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(d).standard_normal((clusters, d))
    return (centres[rng.integers(clusters, size=n)] + 0.6 * rng.standard_normal((n, d))).astype(np.float32)


@pytest.fixture(scope="module")
def x():
    return clustered(N, 24, 0)


@pytest.fixture(scope="module")
def q():
    return clustered(40, 24, 1)


@pytest.fixture(scope="module")
def index(x):
    return index_from_spec("LVQ8,Vamana32", metric="l2").build(x)


@pytest.fixture(scope="module")
def exact(x):
    return Flat(metric="l2").build(x)


def recall(found, wanted):
    hits = sum(len(set(a) & set(b) - {-1}) for a, b in zip(found.tolist(), wanted.tolist(), strict=True))
    return hits / np.count_nonzero(wanted >= 0)


def masks(x, q, share):
    """Return rows at random, rows that the queries are near, and rows that they are far from."""
    likeness = x @ (q.mean(0) - x.mean(0))
    return {
        "random": np.random.default_rng(3).random(N) < share,
        "near": likeness >= np.quantile(likeness, 1 - share),
        "far": likeness <= np.quantile(likeness, share),
    }


@pytest.mark.parametrize("strategy", [None, *STRATEGIES])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
def test_every_strategy_finds_k_that_pass(index, exact, x, q, share, strategy):
    for name, mask in masks(x, q[:8], share).items():
        ids, scores = index.search(q[:8], 10, allowed=mask, strategy=strategy)
        wanted, of = exact.search(q[:8], 10, allowed=mask)
        assert (ids >= 0).all()
        assert mask[ids].all()
        assert (np.diff(scores, axis=1) <= 0).all()
        if strategy in (None, "scan"):
            assert recall(ids, wanted) >= 0.9, name
        if strategy == "scan":
            np.testing.assert_allclose(scores, of, rtol=0.02, atol=0.02)


def test_one_effort_finds_about_as_much_whichever_way_a_query_goes(index, exact, x, q):
    for share in (0.4, 0.6, 0.9):
        mask = masks(x, q, share)["random"]
        wanted = exact.search(q, 10, allowed=mask)[0]
        found = [recall(index.search(q, 10, effort=12, allowed=mask, strategy=way)[0], wanted) for way in STRATEGIES]
        assert max(found[1:]) - min(found[1:]) < 0.1, (share, found)


def test_far_from_all_that_passes_a_query_bridges_twice_as_wide():
    rng = np.random.default_rng(0)
    x, q = (rng.standard_normal((rows, 32)).astype(np.float32) for rows in (N, 20))
    q += 1.5 * np.sign(q.mean(0))
    index, exact = index_from_spec("LVQ8,Vamana32", metric="l2").build(x), Flat(metric="l2").build(x)
    rows = masks(x, q, 0.5)
    wanted = exact.search(q, allowed=rows["far"])[0]
    assert recall(index.search(q, effort=20, allowed=rows["far"], strategy="bridge")[0], wanted) > 0.9
    assert index.plan(q, effort=20, allowed=rows["far"], strategy="bridge").queries["bridge"] == len(q)


def test_a_walk_with_more_effort_finds_what_it_came_past_early(index, exact, x, q):
    for mask in masks(x, q, 0.1).values():
        wanted = exact.search(q, 10, allowed=mask)[0]
        assert recall(index.search(q, 10, effort=400, allowed=mask, strategy="walk")[0], wanted) > 0.97


def test_the_planner_scans_few_and_walks_among_many(index, q):
    order = np.random.default_rng(0).random(N)
    few, half, most = (index.plan(q, allowed=order < share, effort=16) for share in (0.01, 0.5, 0.95))
    assert few.strategy == "scan"
    assert (few.matching, few.rows, few.near_share, few.correlation) == (int((order < 0.01).sum()), N, None, None)
    assert few.costs["scan"] < few.costs["bridge"] < few.costs["walk"]
    for plan in (few, half, most):
        assert plan.strategy == min(plan.costs, key=plan.costs.get)
        assert str(plan).startswith(f"{plan.strategy}: ")
        assert plan.to_dict()["selectivity"] == plan.matching / N
    assert most.strategy == "walk"
    assert sum(most.queries.values()) == len(q)
    assert 0.8 < most.correlation < 1.2


def test_the_plan_tells_whether_a_filter_runs_with_the_queries_or_against(index, x, q):
    region = q[np.argsort(-(q @ (q[0] - x.mean(0))))[:8]]
    found = masks(x, region, 0.5)
    near, far = (index.plan(region, allowed=found[name], strategy="bridge").correlation for name in ("near", "far"))
    assert near > 1.3 > 1 > 0.8 > far


def test_the_answer_does_not_depend_on_how_it_is_asked(index, x, q):
    for share in (0.02, 0.4, 0.9):
        for mask in masks(x, q, share).values():
            together = index.search(q, 10, allowed=mask, threads=2)
            alone = [index.search(q[i : i + 1], 10, allowed=mask, threads=1) for i in range(len(q))]
            for i, (ids, scores) in enumerate(alone):
                assert np.array_equal(ids[0], together[0][i])
                assert np.array_equal(scores[0], together[1][i])


def test_a_mask_that_is_changed_in_place_is_seen(index, x, q):
    mask = np.ones(N, np.bool_)
    mask[::2] = False
    index.search(q, allowed=mask)
    mask[:] = ~mask
    ids, _ = index.search(q, allowed=mask)
    assert (ids % 2 == 0).all()
    for i in range(20):  # more filters than are remembered
        assert (index.search(q, 3, allowed=np.arange(N) % 20 == i)[0] % 20 == i).all()


def test_costs_are_counted_at_build_kept_on_disk_and_the_same_again(index, x, q, tmp_path):
    assert index._costs != WalkCosts.usual(32)
    assert Vamana(metric="l2", degree=32, threads=1, codec=index._parts["codec"]).build(x)._costs == index._costs
    index.save(tmp_path / "x.index")
    loaded = load_index(tmp_path / "x.index")
    assert loaded._costs == index._costs
    mask = np.random.default_rng(0).random(N) < 0.5
    assert loaded.plan(q, allowed=mask) == index.plan(q, allowed=mask)
    assert Vamana(degree=8).build(x[:100])._costs == WalkCosts.usual(8)


@pytest.mark.parametrize("number", ["a", float("nan"), None, True, 10**400])
@pytest.mark.parametrize("count", [0, 9, 10])
def test_damaged_costs_are_refused(number, count):
    numbers = [1.0] * (count - 1) + [number] * (count > 0)
    with pytest.raises(InvalidInput, match="expected 10 numbers"):
        WalkCosts.parse(numbers, 8)


def test_the_choice_follows_the_work():
    costs = WalkCosts.usual(64)
    ways = [choose(costs, m, 10**6, 64, 64, 400) for m in (10, 1000, 100_000, 990_000)]
    assert [way.scans for way in ways] == [True, True, False, False]
    assert ways[2].bridge_from < 0.1 < ways[2].walk_from < 0.99, "a tenth pass: bridge; nearly all pass: walk"
    assert choose(costs, 60, 10**6, 64, 64, 400).scans, "no walk for fewer rows than are looked for"
    assert [choose(costs, 6000, 10**6, 10, 64, terms).scans for terms in (32, 1000)] == [True, False]
    with pytest.raises(InvalidInput, match="strategy is 'pre'"):
        choose(costs, 10, 100, 64, 64, 400, "pre")


@pytest.mark.parametrize(
    "options",
    [
        {"allowed": np.ones(N - 1, np.bool_)},
        {"allowed": np.ones(N + 1, np.bool_)},
        {"allowed": np.ones((N, 1), np.bool_)},
        {"allowed": np.ones(N, np.int64)},
        {"allowed": np.ones(N, np.bool_), "strategy": "post"},
        {"allowed": np.ones(N, np.bool_), "strategy": 1},
    ],
)
def test_bad_filters_are_refused(index, q, options):
    with pytest.raises(InvalidInput):
        index.search(q, **options)
    with pytest.raises(InvalidInput):
        index.plan(q, **options)


@pytest.mark.parametrize("strategy", [None, *STRATEGIES])
def test_filters_that_pass_nothing_or_everything(index, q, strategy):
    ids, scores = index.search(q, 5, allowed=np.zeros(N, np.bool_), strategy=strategy)
    assert (ids == -1).all()
    assert np.isneginf(scores).all()
    assert index.plan(q, allowed=np.zeros(N, np.bool_)).matching == 0
    everything = index.search(q, 5, allowed=np.ones(N, np.bool_), strategy=strategy)[0]
    assert recall(everything, index.search(q, 5)[0]) > 0.95
    assert index.plan(q, allowed=np.ones(N, np.bool_)).why == "every row passes"
    three = np.isin(np.arange(N), [5, 77, 4000])
    ids, _ = index.search(q, 5, allowed=three, strategy=strategy)
    assert (np.sort(ids, axis=1) == [-1, -1, 5, 77, 4000]).all()


def test_duplicates_and_removed_rows_keep_to_the_filter():
    x = clustered(5000, 16, 5)
    x[np.random.default_rng(0).permutation(5000)[:2000]] = x[0]
    index = Vamana(metric="l2", degree=16).build(x)
    index.remove(np.arange(0, 5000, 5))
    alive = np.arange(5000) % 5 != 0
    exact = Flat(metric="l2").build(x)
    for strategy in (None, *STRATEGIES):
        for share in (0.1, 0.5, 0.9):
            mask = np.random.default_rng(1).random(5000) < share
            ids, scores = index.search(x[:20], 10, allowed=mask, strategy=strategy)
            assert (mask & alive)[ids].all()
            if strategy is None:
                wanted = exact.search(x[:20], 10, allowed=mask & alive)[1]
                np.testing.assert_allclose(scores[:, 0], wanted[:, 0], rtol=1e-4, atol=1e-4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    share=st.floats(0.001, 0.999),
    k=st.sampled_from([1, 10, 200]),
    effort=st.integers(1, 80),
)
def test_nothing_that_does_not_pass_is_ever_returned(index, q, seed, share, k, effort):
    rng = np.random.default_rng(seed)
    mask = rng.random(N) < share
    for strategy in (None, *STRATEGIES):
        ids, scores = index.search(q[:3], k, effort=effort, allowed=mask, strategy=strategy)
        hits = ids >= 0
        assert (hits.sum(1) == min(k, mask.sum())).all()
        assert mask[ids[hits]].all()
        assert all(len(set(row[row >= 0].tolist())) == np.count_nonzero(row >= 0) for row in ids)
        assert np.isfinite(scores[hits]).all()


def test_churn_under_a_filter_leaves_recall_as_in_a_fresh_build(x, q):
    rng = np.random.default_rng(0)
    more = clustered(5 * 300, 24, 9)
    whole = np.concatenate([x, more])
    index = index_from_spec("LVQ8,Vamana32", metric="l2").build(x)
    alive = np.zeros(len(whole), np.bool_)
    alive[:N] = True
    for cycle in range(5):
        gone = rng.choice(np.flatnonzero(alive), 300, replace=False)
        index.remove(gone)
        new = index.add(more[cycle * 300 : (cycle + 1) * 300])
        alive[gone], alive[new] = False, True
    mask = rng.random(len(whole)) < 0.4
    rows = np.flatnonzero(alive)
    fresh = index_from_spec("LVQ8,Vamana32", metric="l2").build(whole[rows])
    wanted = Flat(metric="l2").build(whole).search(q, 10, allowed=mask & alive)[0]
    worn = recall(index.search(q, 10, allowed=mask)[0], wanted)
    again = recall(rows[fresh.search(q, 10, allowed=mask[rows])[0]], wanted)
    assert worn >= again - 0.02
    assert (mask & alive)[index.search(q, 10, allowed=mask)[0]].all()


@pytest.mark.parametrize("spec", ["Flat", "LVQ8,Flat"])
def test_an_index_without_a_choice_says_so(spec, x, q):
    index = index_from_spec(spec, metric="l2").build(x)
    plan = filter_plan(index, q, 5, np.arange(N) < 60)
    assert (plan.strategy, plan.matching, plan.selectivity) == ("masked", 60, 0.01)
    assert "one way" in plan.why
