"""Diagnosis: a bound that is proof when reached, advice that follows the numbers, bad judgements refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import isometry as iso
from isometry.cli import app
from isometry.errors import DimensionMismatch, InvalidInput, TooLarge
from isometry.evaluation.limit import (
    RandomSums,
    diagnose,
    diagnose_vectors,
    generate_limit,
    relevance_pattern,
    save_judged,
    upper_bound,
)


def qrels_of(relevant):
    return {f"q{i}": {f"d{j}": 1 for j in row} for i, row in enumerate(relevant.tolist())}


def test_the_bound_knows_equal_rows_and_columns():
    qrels = {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 1, "z": 0}, "c": {"w": 1}}
    found = upper_bound(qrels, 3)
    assert (found.queries, found.documents) == (2, 3)  # x and y are one document; z and the unjudged are another
    assert upper_bound(qrels, 3, unjudged=False).documents == 2
    assert found.solved
    assert found.margin > 0.1


def test_a_reached_bound_is_proof_and_a_missed_one_says_how_far():
    qrels = qrels_of(relevance_pattern("dense", 66))
    easy = upper_bound(qrels, 16)
    assert (easy.solved, easy.recall, easy.always) == (True, 1.0, True)
    hard = upper_bound(qrels, 2, steps=1_500)
    assert (hard.solved, hard.always) == (False, False)
    assert hard.recall < 1
    assert hard.margin <= 0


def test_more_dimensions_give_more_lead():
    qrels = qrels_of(relevance_pattern("dense", 45))
    leads = [upper_bound(qrels, dim).margin for dim in (3, 5, 8)]
    assert leads == sorted(leads)


def test_memory_is_refused_with_the_bytes_it_needs():
    with pytest.raises(TooLarge, match=r"100 queries over 16 documents in 8 dimensions needs [\d,]+ bytes"):
        upper_bound(qrels_of(relevance_pattern("dense", 100)), 8, memory_bytes=10_000)


@pytest.fixture(scope="module")
def likes(tmp_path_factory):
    """A LIMIT-style collection whose encoder is too small for it, and its set."""
    judged = generate_limit(documents=60, queries=100)
    collection = iso.create(tmp_path_factory.mktemp("likes") / "likes.iso", encoder=RandomSums(24, parts="words"))
    collection.add(judged.corpus)
    return collection, judged


def test_words_are_advised_where_words_decide(likes):
    collection, judged = likes
    found = diagnose(collection, judged.queries, judged.qrels)
    assert found.bound.solved
    assert found.measured["lexical"]["Rprec"].mean > found.measured["dense"]["Rprec"].mean
    assert found.gaps["lexical - dense"].low > 0
    assert "mode='lexical'" in " ".join(found.advice)
    assert "what it encodes" in found.advice[1]
    json.dumps(found.to_dict(), allow_nan=False)


def test_good_vectors_are_told_so():
    judged = generate_limit(documents=60, queries=100)
    encoder = RandomSums(2048)
    names = [document["id"] for document in judged.corpus]
    found = diagnose_vectors(
        (names, encoder.encode_document([document["text"] for document in judged.corpus])),
        dict(zip(judged.queries, encoder.encode_query(list(judged.queries.values())), strict=True)),
        judged.qrels,
    )
    assert found.measured["dense"]["Rprec"].mean > 0.95
    assert "close to the bound" in found.advice[1]
    assert not found.gaps


def test_a_sample_of_queries_is_told(likes):
    collection, judged = likes
    found = diagnose(collection, judged.queries, judged.qrels, max_queries=10)
    assert (found.graph.queries, found.skipped) == (10, 90)
    assert any("only 10 judged queries" in line for line in found.advice)


def test_the_command(likes, tmp_path):
    _, judged = likes
    home = save_judged(judged, tmp_path / "set")
    plain = iso.create(tmp_path / "plain.iso")
    plain.add(judged.corpus)
    plain.close()
    words = [
        "diagnose",
        tmp_path / "plain.iso",
        "--queries",
        home / "queries.jsonl.gz",
        "--qrels",
        home / "qrels/test.tsv",
    ]
    result = CliRunner().invoke(app, [*map(str, words), "--dim", "32", "--json"])
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["bound"]["solved"]
    assert list(told["measured"]) == ["lexical"]
    result = CliRunner().invoke(app, [*map(str, words), "--dim", "32", "--max-queries", "5"])
    assert "5 queries" in result.stdout
    assert "- The dimension is not what is missing" in result.stdout
    assert "95 judged queries are left out" in result.stderr
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 1
    assert "pass dim" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("queries", "qrels", "said"),
    [
        ({}, {}, "qrels hold 0 queries"),
        ({"q": "x"}, {"q": {"Nobody": 0}}, "none of them above 0"),
        ({"q": "x"}, {"q": {"Nobody": 1}}, "1 judgements name documents that are not stored .*'Nobody'"),
        ({"query_1": "x"}, {"query_0": {}, "qery_1": {"a": 1}}, "did you mean 'query_1'"),
    ],
)
def test_bad_judgements(likes, queries, qrels, said):
    with pytest.raises(InvalidInput, match=said):
        diagnose(likes[0], queries, qrels)


def test_bad_vectors():
    vectors = {"a": np.ones(3, np.float32), "b": np.zeros(3, np.float32)}
    with pytest.raises(InvalidInput, match="not stored"):
        diagnose_vectors(vectors, {"q": np.ones(3)}, {"q": {"c": 1}})
    with pytest.raises(DimensionMismatch, match="expected one each"):
        diagnose_vectors((["a"], np.ones((2, 3), np.float32)), {"q": np.ones(3)}, {"q": {"a": 1}})
