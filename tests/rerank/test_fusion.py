from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.errors import InvalidInput
from isometry.rerank import reciprocal_rank_fusion, score_fusion
from isometry.rerank.fusion import NORMALIZATIONS


@st.composite
def ranked_lists(draw, positive=False):
    """Return 1 to 4 lists for the same 1 to 3 queries, padded with -1, some scores equal."""
    nq = draw(st.integers(1, 3))
    value = st.integers(1 if positive else -4, 8).map(lambda n: n / 2)
    lists = []
    for _ in range(draw(st.integers(1, 4))):
        width = draw(st.integers(1, 6))
        ids, scores = np.full((nq, width), -1), np.full((nq, width), -np.inf, np.float32)
        for query in range(nq):
            hits = draw(st.dictionaries(st.integers(0, 9), value, max_size=width))
            order = sorted(hits, key=lambda item: (-hits[item], item))
            ids[query, : len(order)] = order
            scores[query, : len(order)] = [hits[item] for item in order]
        lists.append((ids, scores))
    return lists


def in_order(totals):
    rounded = {item: np.float32(total) for item, total in totals.items()}
    return sorted(rounded, key=lambda item: (-rounded[item], item)), rounded


def check(fused, lists, give):
    """Compare with `give(list number, rank, score, scores of the list)` added up in plain Python."""
    ids, scores = fused
    for query in range(len(ids)):
        totals = defaultdict(float)
        for i, (list_ids, list_scores) in enumerate(lists):
            hits = [(item, float(s)) for item, s in zip(list_ids[query], list_scores[query], strict=True) if item >= 0]
            for rank, (item, score) in enumerate(hits, 1):
                totals[int(item)] += give(i, rank, score, [s for _, s in hits])
        found = ids[query][ids[query] >= 0].tolist()
        assert sorted(found) == sorted(totals)
        order, rounded = in_order(totals)
        np.testing.assert_allclose(scores[query][: len(found)], [rounded[item] for item in order], rtol=1e-6)
        assert (ids[query][len(found) :] == -1).all()
        assert np.isneginf(scores[query][len(found) :]).all()
        # Ties by smaller id, as the scores that are returned have them.
        assert found == sorted(found, key=lambda item: (-scores[query][found.index(item)], item))


@given(ranked_lists(), st.sampled_from([1.0, 60, 1000]), st.lists(st.floats(0, 3), min_size=4, max_size=4))
def test_reciprocal_ranks(lists, constant, weights):
    weights = weights[: len(lists)]
    fused = reciprocal_rank_fusion(lists, constant=constant, weights=weights)
    check(fused, lists, lambda i, rank, *_: weights[i] / (constant + rank))


def min_max(score, scores):
    return (score - min(scores)) / (max(scores) - min(scores)) if max(scores) > min(scores) else 1.0


def z_score(score, scores):
    return (score - min(scores)) / np.std(scores) if max(scores) > min(scores) else 1.0


def relative(score, scores):
    return max(score, 0) / max(scores) if max(scores) > 0 else 0.0


@pytest.mark.parametrize(("name", "formula"), [*zip(NORMALIZATIONS, (min_max, z_score, relative), strict=True)])
@given(lists=ranked_lists())
def test_scores(name, formula, lists):
    fused = score_fusion(lists, normalization=name)
    check(fused, lists, lambda i, rank, score, scores: formula(score, scores))


@pytest.mark.parametrize("fuse", [reciprocal_rank_fusion, score_fusion])
@given(lists=ranked_lists())
def test_invariances(fuse, lists):
    whole = fuse(lists)
    shorter = fuse(lists, k=2)
    width = min(2, whole[0].shape[1])
    np.testing.assert_array_equal(shorter[0][:, :width], whole[0][:, :width])
    doubled = fuse(lists, weights=[2.0] * len(lists))
    np.testing.assert_array_equal(doubled[0], whole[0])
    np.testing.assert_array_equal(doubled[1], 2 * whole[1])
    ids, _ = fuse(lists[:1], k=1)
    np.testing.assert_array_equal(ids[:, 0], lists[0][0][:, 0])


def test_one_query_is_a_batch_of_one():
    rng = np.random.default_rng(0)
    lists = [(np.argsort(rng.random((40, 100)), axis=1)[:, :30], -np.sort(-rng.random((40, 30)))) for _ in range(3)]
    for fuse in (reciprocal_rank_fusion, score_fusion):
        batch = fuse(lists, k=20)
        for i in range(40):
            alone = fuse([(ids[i : i + 1], scores[i : i + 1]) for ids, scores in lists], k=20)
            np.testing.assert_array_equal(alone[0][0], batch[0][i])


def test_nothing_found():
    nothing = np.full((2, 3), -1), np.full((2, 3), -np.inf)
    for fuse in (reciprocal_rank_fusion, score_fusion):
        assert fuse([nothing, nothing])[0].shape == (2, 0)
        assert (fuse([nothing, nothing], k=2)[0] == -1).all()


GOOD = np.array([[1, 2]]), np.array([[2.0, 1.0]])


@pytest.mark.parametrize(
    ("lists", "options", "message"),
    [
        ([], {}, "no lists"),
        ([GOOD, None], {}, r"lists\[1\]"),
        ([(GOOD[0], GOOD[1][0])], {}, "one shape"),
        ([(GOOD[1], GOOD[1])], {}, "integers and floats"),
        ([GOOD, (np.zeros((2, 1), int), np.zeros((2, 1)))], {}, "queries"),
        ([(np.array([[1, 1]]), GOOD[1])], {}, "id 1 twice for query 0"),
        ([GOOD], {"weights": [1, 2]}, "1 numbers"),
        ([GOOD], {"weights": [-1]}, "weights"),
        ([GOOD], {"weights": [np.nan]}, "weights"),
        ([GOOD], {"weights": "heavy"}, "weights"),
        ([GOOD], {"k": 0}, "k is 0"),
    ],
)
@pytest.mark.parametrize("fuse", [reciprocal_rank_fusion, score_fusion])
def test_bad_input(fuse, lists, options, message):
    with pytest.raises(InvalidInput, match=message):
        fuse(lists, **options)


def test_bad_options():
    for constant in (0, -1, np.nan, np.inf, "60"):
        with pytest.raises(InvalidInput, match="constant"):
            reciprocal_rank_fusion([GOOD], constant=constant)
    with pytest.raises(InvalidInput, match="did you mean 'min-max'"):
        score_fusion([GOOD], normalization="minmax")
    with pytest.raises(InvalidInput, match="NaN"):
        score_fusion([(GOOD[0], np.array([[np.nan, 1.0]]))])
