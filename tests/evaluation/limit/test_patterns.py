"""Patterns of relevance and the graph of judgements: by hand, by brute force, and the paper's Table 1."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.errors import InvalidInput
from isometry.evaluation import read_qrels
from isometry.evaluation.limit import PATTERNS, all_subsets, qrel_graph, relevance_pattern


def test_patterns_by_hand():
    assert relevance_pattern("dense", 4).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2]]
    assert relevance_pattern("cycle", 4).tolist() == [[0, 1], [1, 2], [2, 3], [0, 3]]
    assert relevance_pattern("disjoint", 3).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert relevance_pattern("dense", 1_000).max() == 45


@pytest.mark.parametrize("pattern", PATTERNS)
def test_rows_are_k_different_documents(pattern):
    found = relevance_pattern(pattern, 30, k=3, seed=1)
    assert found.shape == (30, 3)
    assert (np.diff(found, axis=1) > 0).all()
    np.testing.assert_array_equal(found, relevance_pattern(pattern, 30, k=3, seed=1))


def test_all_subsets_are_all_of_them():
    assert all_subsets(5, 3).tolist() == [list(row) for row in combinations(range(5), 3)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dens", 3), "did you mean 'dense'"),
        (("random", 3, 2, 3), "k is 3 but there are 2 documents"),
        (("dense", 4, 3), "3 documents have 3 sets of 2"),
        (("disjoint", 4, 7), "have 3 sets of 2 in the disjoint"),
        (("dense", 0), "queries is 0"),
    ],
)
def test_bad_patterns(arguments, said):
    with pytest.raises(InvalidInput, match=said):
        relevance_pattern(*arguments)


qrels = st.dictionaries(
    st.sampled_from("qrstuv"), st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2), min_size=1), min_size=1
)


@given(qrels)
def test_the_graph_is_brute_force(judged):
    sets = [{d for d, grade in grades.items() if grade > 0} for grades in judged.values()]
    sets = [found for found in sets if found]
    if not sets:
        with pytest.raises(InvalidInput, match="none of them above 0"):
            qrel_graph(judged)
        return
    overlaps = [len(a & b) / len(a | b) for a, b in combinations(sets, 2)]
    graph = qrel_graph(judged)
    assert graph.density == pytest.approx(np.mean([x > 0 for x in overlaps]) if overlaps else 0)
    assert graph.strength == pytest.approx(2 * sum(overlaps) / len(sets))
    assert (graph.queries, graph.documents) == (len(sets), len(set().union(*sets)))
    assert (graph.judgements, graph.most_relevant) == (sum(map(len, sets)), max(map(len, sets)))


@pytest.mark.parametrize("name", ["limit", "limit-small"])
def test_golden_graph_of_limit(shared_data, name):
    """Table 1: density .0855, average query strength 28.47."""
    graph = qrel_graph(read_qrels(shared_data / "limit" / f"{name}.qrels.jsonl.gz")[0])
    assert round(graph.density, 4) == 0.0855
    assert round(graph.strength, 2) == 28.47
    assert (graph.queries, graph.documents, graph.judgements) == (1_000, 46, 2_000)


def test_no_judgements():
    with pytest.raises(InvalidInput, match="qrels hold 0 queries"):
        qrel_graph({})
