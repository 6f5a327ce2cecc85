"""Intervals, paired differences and recall, against SciPy and counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isometry.errors import DimensionMismatch, InvalidInput
from isometry.estimates import bootstrap_difference, bootstrap_mean, bootstrap_means, recall_against_exact


def test_interval_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).beta(2, 3, size=200)
    ours = bootstrap_mean(values, seed=3)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, random_state=np.random.default_rng(7)
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=2e-3)
    assert ours.n == 200


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        estimate = bootstrap_mean(random.normal(0.3, 0.2, size=60), seed=seed, resamples=500)
        covered += estimate.low <= 0.3 <= estimate.high
    assert 0.90 <= covered / 300 <= 0.98


def test_same_seed_same_interval_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).random(50)
    once = bootstrap_mean(values, seed=5)
    monkeypatch.setattr("isometry.estimates._CELLS_AT_ONCE", 1_000)
    assert bootstrap_mean(values, seed=5) == once
    assert bootstrap_mean(values, seed=6) != once


def test_several_columns_give_what_each_gives_alone() -> None:
    columns = list(np.random.default_rng(3).random((3, 40)))
    assert bootstrap_means(columns, seed=2) == [bootstrap_mean(column, seed=2) for column in columns]
    assert bootstrap_means([]) == []
    with pytest.raises(DimensionMismatch, match=r"\[1, 2\] queries"):
        bootstrap_means([[1.0], [1.0, 2.0]])


@pytest.mark.parametrize("values", [[0.5], [0.25] * 7])
def test_no_spread_gives_a_point(values: list[float]) -> None:
    estimate = bootstrap_mean(values)
    assert (estimate.low, estimate.high) == (estimate.mean, estimate.mean)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_interval_is_ordered_and_inside_the_values(values: list[float], seed: int) -> None:
    estimate = bootstrap_mean(values, seed=seed, resamples=200)
    assert min(values) <= estimate.low <= estimate.high <= max(values)


@pytest.mark.parametrize(
    ("values", "match"),
    [([], "empty"), ([1.0, np.nan], "nan at place 1"), ([[1.0]], r"shape \(1, 1\)"), (["a"], "numbers")],
)
def test_bad_values_are_named(values: list, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        bootstrap_mean(values)


@pytest.mark.parametrize("setting", [{"resamples": 10}, {"confidence": 1.0}, {"confidence": float("nan")}])
def test_bad_settings_are_named(setting: dict) -> None:
    with pytest.raises(InvalidInput, match=next(iter(setting))):
        bootstrap_mean([1.0, 2.0], **setting)


def test_difference_finds_a_small_steady_gain() -> None:
    random = np.random.default_rng(4)
    baseline = random.random(100)
    better = baseline + 0.02 + random.normal(0, 0.02, size=100)
    difference = bootstrap_difference(better, baseline)
    assert difference.low > 0
    assert difference.p_value < 0.001
    assert bootstrap_mean(better).low < bootstrap_mean(baseline).high


def test_difference_p_value_is_near_the_t_test() -> None:
    random = np.random.default_rng(8)
    a, b = random.normal(0.05, 0.3, 150), random.normal(0, 0.3, 150)
    assert bootstrap_difference(a, b).p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)


def test_difference_is_antisymmetric() -> None:
    random = np.random.default_rng(9)
    a, b = random.random(40), random.random(40)
    one, other = bootstrap_difference(a, b), bootstrap_difference(b, a)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
    assert one.p_value == other.p_value


def test_no_difference_has_p_one() -> None:
    assert bootstrap_difference([0.1, 0.2], [0.1, 0.2]).p_value == 1.0


def test_difference_needs_the_same_queries() -> None:
    with pytest.raises(DimensionMismatch, match="3 queries and baseline 2"):
        bootstrap_difference([1, 2, 3], [1, 2])


def test_recall_by_hand() -> None:
    recall = recall_against_exact([[1, 2, 3], [4, 4, -1], [7, 8, 9]], [[3, 2, 9], [4, 5, -1], [-1, -1, -1]])
    assert recall.mean == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert recall.n == 2


def test_recall_with_ties() -> None:
    ids, exact = np.array([[1, 5]]), np.array([[1, 2]])
    assert recall_against_exact(ids, exact).mean == 0.5
    tied = recall_against_exact(ids, exact, scores=[[0.9, 0.5]], exact_scores=[[0.9, 0.5]])
    assert tied.mean == 1.0
    near = recall_against_exact(ids, exact, scores=[[0.9, 0.499]], exact_scores=[[0.9, 0.5]], tolerance=0.01)
    assert near.mean == 1.0


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_recall_equals_sets(seed: int) -> None:
    random = np.random.default_rng(seed)
    ids = random.integers(-1, 12, size=(6, 5))
    exact = np.stack([random.permutation(12)[:4] for _ in range(6)])
    expected = [len(set(a.tolist()) & set(b.tolist())) / 4 for a, b in zip(ids, exact, strict=True)]
    assert recall_against_exact(ids, exact).mean == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(
    ("ids", "exact", "match"),
    [
        ([[1]], [[1], [2]], "1 queries and exact_ids 2"),
        ([1], [[1]], r"ids has shape \(1,\)"),
        ([[1.0]], [[1]], "float64"),
        ([[1]], [[-1]], "no query"),
    ],
)
def test_bad_ids_are_named(ids: list, exact: list, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        recall_against_exact(ids, exact)


def test_recall_needs_both_scores() -> None:
    with pytest.raises(InvalidInput, match="only one"):
        recall_against_exact([[1]], [[1]], scores=[[1.0]])
    with pytest.raises(InvalidInput, match="NaN"):
        recall_against_exact([[1]], [[1]], scores=[[np.nan]], exact_scores=[[1.0]])
