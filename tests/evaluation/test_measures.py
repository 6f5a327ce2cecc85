"""Measures: hand-computed cases, pytrec_eval and sentence-transformers as independent judges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.errors import DimensionMismatch, InvalidInput, MissingExtra
from isometry.evaluation import DEFAULT_MEASURES, measure, needed_depth, run_from_arrays

pytrec_eval = pytest.importorskip("pytrec_eval")

QRELS = {"a": {"d1": 2, "d2": 1, "d3": 0}, "b": {"d4": 1}, "none": {"d1": 0}}
RUN = {"a": {"d3": 3.0, "d2": 2.0, "d1": 1.0}, "b": {"d1": 1.0}, "unjudged": {"d1": 1.0}}


def test_by_hand() -> None:
    measured = measure(RUN, QRELS)
    gain = (1 / math.log2(3) + 2 / math.log2(4)) / (2 / math.log2(2) + 1 / math.log2(3))
    assert measured.per_query("nDCG@10") == pytest.approx({"a": gain, "b": 0.0, "none": 0.0})
    assert measured.per_query("RR@10") == {"a": 0.5, "b": 0.0, "none": 0.0}
    assert measured.per_query("R@100") == {"a": 1.0, "b": 0.0, "none": 0.0}
    assert measured.per_query("AP") == pytest.approx({"a": (1 / 2 + 2 / 3) / 2, "b": 0.0, "none": 0.0})
    assert measured["nDCG@10"].mean == pytest.approx(gain / 3)
    assert measured["nDCG@10"].n == 3


def test_other_spellings() -> None:
    measured = measure(RUN, QRELS, ["MRR@10", "MAP", "Success@1", "P@2"])
    assert list(measured.values) == ["RR@10", "AP", "Success@1", "P@2"]
    assert measured["MAP"] == measured["AP"]
    with pytest.raises(InvalidInput, match=r"nDCG@10 was not measured; known here: RR@10, AP"):
        measured["nDCG@10"]


def test_ties_go_to_the_later_document_id_in_every_measure() -> None:
    for order in (["x1", "x2"], ["x2", "x1"]):
        measured = measure({"q": dict.fromkeys(order, 1.0)}, {"q": {"x1": 1}})
        assert measured["RR@10"].mean == measured["AP"].mean == 0.5


def runs() -> st.SearchStrategy:
    documents = st.sampled_from([f"d{i}" for i in range(12)])
    # Few distinct scores: many ties.
    run = st.dictionaries(documents, st.integers(0, 4).map(lambda x: x / 4), min_size=1, max_size=12)
    grades = st.dictionaries(documents, st.integers(0, 3), min_size=1, max_size=8)
    queries = st.sampled_from("abcde")
    return st.tuples(st.dictionaries(queries, run, min_size=1), st.dictionaries(queries, grades, min_size=1))


@given(runs())
@settings(max_examples=150, deadline=None)
def test_equals_pytrec_eval(pair: tuple) -> None:
    run, qrels = pair
    if not set(run) & set(qrels):
        return
    ours = measure(run, qrels, ["nDCG@5", "R@5", "RR", "AP", "P@5", "Success@5"], resamples=100)
    names = {"nDCG@5": "ndcg_cut_5", "R@5": "recall_5", "RR": "recip_rank", "AP": "map", "P@5": "P_5"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.5", "recall.5", "recip_rank", "map", "P.5"}).evaluate(run)
    for name, theirs_name in names.items():
        expected = {query: theirs.get(query, {}).get(theirs_name, 0.0) for query in qrels}
        assert ours.per_query(name) == pytest.approx(expected, abs=1e-6)


def test_equals_the_evaluator_of_sentence_transformers() -> None:
    evaluation = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
    random = np.random.default_rng(0)
    documents = [f"d{i}" for i in range(200)]
    scores = random.permutation(40 * 200).reshape(40, 200) / 8000
    relevant = {f"q{i}": set(random.choice(documents, size=1 + i % 5, replace=False).tolist()) for i in range(40)}
    evaluator = evaluation.InformationRetrievalEvaluator(
        queries=dict.fromkeys(relevant, "?"), corpus=dict.fromkeys(documents, "."), relevant_docs=relevant
    )
    ranked = [
        [{"corpus_id": documents[j], "score": scores[i, j]} for j in np.argsort(-scores[i])[:100]] for i in range(40)
    ]
    theirs = evaluator.compute_metrics(ranked)
    order = np.argsort(-scores, axis=1)[:, :100]
    run = run_from_arrays(list(relevant), documents, order, np.take_along_axis(scores, order, axis=1))
    ours = measure(run, {query: dict.fromkeys(found, 1) for query, found in relevant.items()}, ["nDCG@10", "RR@10"])
    assert ours["nDCG@10"].mean == pytest.approx(theirs["ndcg@k"][10])
    assert ours["RR@10"].mean == pytest.approx(theirs["mrr@k"][10])


@given(runs(), st.permutations("abcde"))
@settings(max_examples=30, deadline=None)
def test_order_of_input_does_not_matter(pair: tuple, order: list[str]) -> None:
    run, qrels = pair
    if not set(run) & set(qrels):
        return
    shuffled = {query: dict(reversed(run[query].items())) for query in order if query in run}
    one, other = measure(run, qrels, resamples=100), measure(shuffled, qrels, resamples=100)
    assert one.estimates == other.estimates


def test_difference_is_paired() -> None:
    better = {"a": {"d1": 3.0, "d2": 2.0}, "b": {"d4": 1.0}, "none": {}}
    difference = measure(better, QRELS).difference(measure(RUN, QRELS), "AP")
    assert difference.mean == pytest.approx((1 - 7 / 12 + 1) / 3)
    with pytest.raises(DimensionMismatch, match="1 queries are in only one"):
        measure(better, QRELS).difference(measure(RUN, {"a": QRELS["a"], "b": QRELS["b"]}), "AP")


@pytest.mark.parametrize(
    ("run", "qrels", "match"),
    [
        (RUN, {}, "qrels are empty"),
        ({"z": {"d1": 1.0}}, QRELS, "answers none of the 3 judged queries"),
        ({"a": {"d1": math.nan}}, QRELS, "NaN score for query 'a'"),
    ],
)
def test_bad_input(run: dict, qrels: dict, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        measure(run, qrels)


@pytest.mark.parametrize("name", ["foo@1", "nDCG@", "nDCG@0", "nDCG@10+1", "", "__import__('os')"])
def test_unknown_measures_are_named(name: str) -> None:
    with pytest.raises(InvalidInput, match="not a measure"):
        measure(RUN, QRELS, [name])


def test_measures_must_be_a_list() -> None:
    with pytest.raises(InvalidInput, match="single string"):
        measure(RUN, QRELS, "nDCG@10")
    with pytest.raises(InvalidInput, match="empty"):
        measure(RUN, QRELS, [])


def test_without_ir_measures_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ir_measures", None)
    with pytest.raises(MissingExtra, match=r"isometry\[evaluate\]"):
        measure(RUN, QRELS)


def test_needed_depth() -> None:
    assert needed_depth(["nDCG@10", "R@100"]) == 100
    assert needed_depth(DEFAULT_MEASURES) == 1000


def test_run_from_arrays() -> None:
    run = run_from_arrays(["q"], ["a", "b"], np.array([[1, -1]]), np.array([[0.5, -np.inf]], dtype=np.float32))
    assert run == {"q": {"b": 0.5}}
    with pytest.raises(InvalidInput, match="reach 2 but there are 2"):
        run_from_arrays(["q"], ["a", "b"], np.array([[2]]), np.zeros((1, 1), dtype=np.float32))
    with pytest.raises(DimensionMismatch, match="1 query ids"):
        run_from_arrays(["q"], ["a"], np.zeros((2, 1), dtype=int), np.zeros((2, 1), dtype=np.float32))
