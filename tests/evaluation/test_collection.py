"""Evaluating a collection: on a small fake, and on a real one against bm25s alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isometry.errors import DimensionMismatch, InvalidInput
from isometry.evaluation import evaluate_collection, load_judged, run_collection

pytest.importorskip("ir_measures")

QUERIES = {"q1": "one", "q2": "two", "q3": "unjudged"}
QRELS = {"q1": {"d1": 1}, "q2": {"d2": 1}}
ANSWERS = {"good": {"one": ["d1", "d2"], "two": ["d2"]}, "bad": {"one": ["d2", "d1"], "two": []}}


@dataclass
class Answer:
    ids: list[str]
    scores: Any


class Fake:
    def __init__(self) -> None:
        self.asked: list[tuple] = []

    def search(self, query: list[str], k: int = 10, *, mode: str | None = None, where: Any = None) -> list[Answer]:
        self.asked.append((query, k, mode, where))
        found = [ANSWERS[mode or "good"][text][:k] for text in query]
        return [Answer(ids, -np.arange(len(ids), dtype=np.float32)) for ids in found]


def test_modes_are_compared_with_the_first() -> None:
    fake, told = Fake(), []
    found = evaluate_collection(
        fake,
        QUERIES,
        QRELS,
        modes=["bad", "good", "bad"],
        measures=["RR@10"],
        where="x",
        progress=lambda *a: told.append(a),
    )
    assert fake.asked == [(["one", "two"], 10, "bad", "x"), (["one", "two"], 10, "good", "x")]
    assert {mode: each["RR@10"].mean for mode, each in found.measured.items()} == {"bad": 0.25, "good": 1.0}
    assert found.differences["good"]["RR@10"].mean == 0.75
    assert set(found.seconds) == {"bad", "good"}
    assert told[0] == (2, 2, "bad queries")
    plain = found.to_dict()
    assert plain["difference_to"] == "bad"
    assert plain["modes"]["good"]["RR@10"]["mean"] == 1.0


def test_queries_without_a_text_count_as_unanswered() -> None:
    found = evaluate_collection(Fake(), {"q1": "one"}, QRELS, modes=["good"], measures=["RR@10"], k=1)
    assert found.measured["good"].per_query("RR@10") == {"q1": 1.0, "q2": 0.0}
    assert found.differences == {}


def test_many_queries_are_asked_in_batches() -> None:
    fake = Fake()
    run = run_collection(fake, {f"q{i}": "one" for i in range(300)}, mode=None, k=5)
    assert [len(asked[0]) for asked in fake.asked] == [256, 44]
    assert list(run["q299"]) == ["d1", "d2"]


def test_bad_input() -> None:
    for modes in ([], "good"):
        with pytest.raises(InvalidInput, match="modes"):
            evaluate_collection(Fake(), QUERIES, QRELS, modes=modes)
    with pytest.raises(InvalidInput, match="none of the 2 judged queries"):
        evaluate_collection(Fake(), {"q9": "one"}, QRELS, modes=["good"])
    with pytest.raises(InvalidInput, match="k is 0"):
        evaluate_collection(Fake(), QUERIES, QRELS, modes=["good"], k=0)

    class Short(Fake):
        def search(self, *args: Any, **settings: Any) -> list[Answer]:
            return []

    with pytest.raises(DimensionMismatch, match="2 queries were asked and 0"):
        evaluate_collection(Short(), QUERIES, QRELS, modes=["good"])


def test_a_real_collection(shared_data: Path, tmp_path: Path) -> None:
    import isometry as iso

    judged = load_judged(shared_data / "med")
    with iso.create(tmp_path / "med.iso") as collection:
        collection.add(judged.corpus)
        found = evaluate_collection(collection, judged.queries, judged.qrels, modes=["lexical"])
    assert 0.6 < found.measured["lexical"]["nDCG@10"].mean < 0.75
