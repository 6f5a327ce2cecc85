"""A collection behaves like a dict with brute-force search, whatever is done to it in whatever order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scipy.sparse import csr_array

import isometry as iso
from isometry.errors import DuplicateIds, InvalidInput

DIM = 3
IDS = st.sampled_from([f"doc-{i}" for i in range(12)] + ["ü 'quoted\" 🦉", "0"])
WORDS = st.sampled_from(["tide", "moon", "harbour", "owl", "", "moon owl"])
DOCUMENT = st.fixed_dictionaries(
    {"text": WORDS, "year": st.one_of(st.none(), st.integers(0, 3))},
    optional={"tags": st.lists(st.sampled_from(["a", "b"]), max_size=2)},
)
VECTOR = st.lists(st.integers(-2, 2), min_size=DIM, max_size=DIM)
BATCH = st.dictionaries(IDS, st.tuples(DOCUMENT, VECTOR), min_size=1, max_size=5)


class CollectionMachine(RuleBasedStateMachine):
    """Every rule is done to the collection and to a dict of (document, vector).

    Where the collection has sparse vectors, that of a document is what is positive in its vector. Where it has token
    vectors, a document has its vector and, if its first number is positive, the one turned round; if negative, none.
    """

    @initialize(metric=st.sampled_from(["cosine", "dot", "l2"]), sparse=st.booleans(), multi=st.booleans())
    def make(self, metric: str, sparse: bool, multi: bool) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "c.iso"
        dims = {"dim": DIM, "sparse_dim": DIM if sparse else None, "multi_dim": DIM if multi else None}
        self.collection = iso.create(self.path, metric=metric, **dims)
        self.model: dict[str, tuple[dict, list[int]]] = {}

    def teardown(self) -> None:
        if hasattr(self, "collection"):
            self.collection.close()
            self.folder.cleanup()

    @rule(batch=BATCH)
    def add(self, batch) -> None:
        taken = set(batch) & set(self.model)
        try:
            report = self.collection.add(self.records(batch))
        except DuplicateIds as error:
            if not taken:
                raise AssertionError("a batch of new ids was refused") from error
        else:
            assert not taken
            assert report.added == len(batch)
            self.model.update(batch)

    @rule(batch=BATCH)
    def add_what_is_new(self, batch) -> None:
        report = self.collection.add(self.records(batch), on_duplicate="skip")
        assert report.skipped == len(set(batch) & set(self.model))
        self.model = {**batch, **self.model}

    @rule(batch=BATCH)
    def upsert(self, batch) -> None:
        report = self.collection.upsert(self.records(batch))
        assert report.replaced == len(set(batch) & set(self.model))
        assert report.added + report.replaced == len(batch)
        self.model.update(batch)

    @rule(ids=st.lists(IDS, max_size=4, unique=True))
    def delete(self, ids) -> None:
        assert self.collection.delete(ids) == len(set(ids) & set(self.model))
        for name in ids:
            self.model.pop(name, None)

    @precondition(lambda self: "year" in self.collection.schema.names)
    @rule(year=st.integers(0, 3))
    def delete_by_filter(self, year) -> None:
        gone = [name for name, (document, _) in self.model.items() if document["year"] == year]
        assert self.collection.delete(where=f"year = {year}") == len(gone)
        for name in gone:
            del self.model[name]

    @rule()
    def build(self) -> None:
        report = self.collection.build()
        assert report.documents == len(self.model)
        assert report.recall in (None, 1.0)
        assert report.sparse_recall in (None, 1.0)
        assert report.multi_recall in (None, 1.0)

    @rule()
    def optimize(self) -> None:
        self.collection.optimize()

    @rule()
    def reopen(self) -> None:
        self.collection.close()
        self.collection = iso.open(self.path)

    @rule(query=VECTOR, k=st.integers(1, 20), year=st.one_of(st.none(), st.integers(0, 3)))
    def search_by_vector(self, query, k, year) -> None:
        if year is not None and "year" not in self.collection.schema.names:
            return
        where = None if year is None else f"year = {year}"
        hits = self.collection.search(np.array(query, np.float32), k=k, where=where)
        scores = {
            name: score(self.collection.metric, query, vector)
            for name, (document, vector) in self.model.items()
            if year is None or document["year"] == year
        }
        assert len(hits) == min(k, len(scores))
        assert set(hits.ids) <= set(scores)
        assert len(set(hits.ids)) == len(hits)
        assert np.allclose(hits.scores, sorted(scores.values(), reverse=True)[:k], atol=1e-5)
        assert np.allclose(hits.scores, [scores[name] for name in hits.ids], atol=1e-5)
        for hit in hits:
            assert hit.row["text"] == self.model[hit.id][0]["text"]

    @rule(query=VECTOR, k=st.integers(1, 20), year=st.one_of(st.none(), st.integers(0, 3)))
    def search_by_terms(self, query, k, year) -> None:
        asked = csr_array(np.maximum([query], 0).astype(np.float32))
        if self.collection.sparse_dim is None:
            with pytest.raises(InvalidInput, match="no sparse vectors"):
                self.collection.search(asked)
            return
        if year is not None and "year" not in self.collection.schema.names:
            return
        where = None if year is None else f"year = {year}"
        (hits,) = self.collection.search(asked, k=k, where=where, effort=1000)
        scores = {
            name: float(np.maximum(query, 0) @ np.maximum(vector, 0))
            for name, (document, vector) in self.model.items()
            if year is None or document["year"] == year
        }
        best = sorted((score for score in scores.values() if score > 0), reverse=True)[:k]
        assert hits.scores.tolist() == best
        assert [scores[name] for name in hits.ids] == best
        assert [sum(term.product for term in terms) for terms in hits.terms] == best

    @rule(query=st.lists(VECTOR, max_size=3), k=st.integers(1, 20))
    def search_by_tokens(self, query, k) -> None:
        asked = np.array(query, np.float32).reshape(-1, DIM)
        if self.collection.multi_dim is None:
            with pytest.raises(InvalidInput, match="no token vectors"):
                self.collection.search(asked, mode="multi")
            return
        hits = self.collection.search(asked, k=k, mode="multi")
        metric = "cosine" if self.collection.metric == "cosine" else "dot"
        scores = {
            name: sum(max(score(metric, q, x) for x in tokens) for q in query)
            for name, (_, vector) in self.model.items()
            if query and (tokens := tokens_of(vector))
        }
        # Half precision changes no sum of integers, but that of cosines in the third place.
        best = sorted(scores.values(), reverse=True)[:k]
        assert np.allclose(hits.scores, best, atol=2e-3)
        assert np.allclose([scores[name] for name in hits.ids], best, atol=4e-3)
        added = [sum(match.similarity for match in matches) for matches in hits.tokens]
        assert np.allclose(added, [scores[name] for name in hits.ids], atol=1e-5)

    @rule(word=st.sampled_from(["moon", "owl", "harbour"]))
    def search_by_word(self, word) -> None:
        hits = self.collection.search(word, k=50, mode="lexical")
        assert set(hits.ids) == {name for name, (document, _) in self.model.items() if word in document["text"]}

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "collection"):
            return
        assert len(self.collection) == len(self.model)
        rows = {row["id"]: row for row in self.collection.get(list(self.model)).to_pylist()}
        assert rows.keys() == self.model.keys()
        for name, (document, _) in self.model.items():
            assert {key: value for key, value in rows[name].items() if value is not None and key != "id"} == {
                key: value for key, value in document.items() if value is not None
            }

    @rule()
    def verify(self) -> None:
        assert self.collection.verify().problems == []

    def records(self, batch: dict) -> list[dict]:
        rows = [{"id": name, **document, "vector": vector} for name, (document, vector) in batch.items()]
        for row in rows if self.collection.sparse_dim is not None else ():
            columns = np.flatnonzero(np.array(row["vector"]) > 0).tolist()
            row["sparse_vector"] = {"indices": columns, "values": [row["vector"][column] for column in columns]}
        for row in rows if self.collection.multi_dim is not None else ():
            row["multi_vector"] = tokens_of(row["vector"])
        return rows


def tokens_of(vector: list[int]) -> list[list[int]]:
    return [vector, vector[::-1]] if vector[0] > 0 else [vector] if vector[0] == 0 else []


def score(metric: str, q: list[int], x: list[int]) -> float:
    a, b = np.array(q, float), np.array(x, float)
    if metric == "l2":
        return -float(((a - b) ** 2).sum())
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b) if metric == "dot" else float(a @ b / norms) if norms else 0.0


TestCollection = CollectionMachine.TestCase
TestCollection.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
