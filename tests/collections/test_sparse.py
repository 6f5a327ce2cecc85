"""Sparse vectors in a collection: encoded or brought along, searched, fused, explained, kept apart."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array

import isometry as iso
from isometry.collections.manifest import FORMAT_VERSION, MANIFEST
from isometry.encoders import load_encoder
from isometry.errors import (
    Damaged,
    DimensionMismatch,
    InvalidInput,
    NewerFormat,
    SpaceMismatch,
    SpecError,
)
from tests.collections.conftest import NOTES

TERMS = 4099


class Words:
    """Weighs each word by how often it occurs; the column is a hash of the word."""

    kind, dim, max_tokens = "sparse", TERMS, 16
    vocabulary = tuple(f"term {column}" for column in range(TERMS))

    def encode_document(self, texts):
        out = np.zeros((len(texts), TERMS), np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace(".", "").replace(";", "").replace(",", "").split():
                out[row, column(word)] += 1
        return csr_array(out)

    encode_query = encode_document


def column(word: str) -> int:
    return zlib.crc32(word.encode()) % TERMS


@pytest.fixture
def words():
    return load_encoder(Words())


@pytest.fixture
def both(tmp_path, encoder, words):
    """Four documents, encoded densely and sparsely."""
    with iso.create(tmp_path / "both.iso", encoder="wordllama", sparse_encoder=words) as collection:
        collection.add(NOTES)
        yield collection


@pytest.fixture
def weighted(tmp_path):
    """Own sparse vectors, no encoder."""
    with iso.create(tmp_path / "weighted.iso", sparse_dim=6) as collection:
        rows = [("a", [1, 3], [1.0, 2.5]), ("b", [], []), ("c", [1], [2.0])]
        collection.add([{"id": i, "sparse_vector": {"indices": at, "values": w}} for i, at, w in rows])
        yield collection


def one(columns, size=6):
    return csr_array(np.isin(np.arange(size), columns)[None].astype(np.float32))


class TestSearch:
    def test_scores_are_products_and_terms_say_why(self, both, words):
        hits = both.search("the moon moon night", k=9, mode="sparse")
        assert hits.mode == "sparse"
        texts = {row["id"]: " ".join(filter(None, (row["title"], row["text"]))) for row in NOTES}
        query = words.encode_query(["the moon moon night"])
        wanted = {
            name: float((words.encode_document([text]) @ query.T).toarray()[0, 0]) for name, text in texts.items()
        }
        assert dict(zip(hits.ids, hits.scores.tolist(), strict=True)) == {n: s for n, s in wanted.items() if s > 0}
        for score, terms in zip(hits.scores, hits.terms, strict=True):
            assert sum(term.product for term in terms) == score
            assert [term.product for term in terms] == sorted((term.product for term in terms), reverse=True)
        moon = next(term for term in hits.terms[0] if term.term == f"term {column('moon')}")
        assert (moon.query, moon.mode) == (2.0, "sparse")

    def test_hybrid_takes_all_that_there_is(self, both):
        hits = both.search("owls hunt the moon", k=4)
        assert hits.mode == "hybrid"
        places = {
            mode: both.search("owls hunt the moon", k=4, mode=mode).ids for mode in ("dense", "sparse", "lexical")
        }
        fused = {name: sum(1 / (61 + ids.index(name)) for ids in places.values() if name in ids) for name in hits.ids}
        assert np.allclose(hits.scores, list(fused.values()))
        assert {term.mode for terms in hits.terms for term in terms} == {"sparse", "lexical"}
        assert hits.to_dict(explain=True)["hits"][0]["terms"][0].keys() == {
            "term",
            "query",
            "document",
            "mode",
            "product",
        }
        assert "terms" not in hits.to_dict()["hits"][0]

    def test_words_explain_lexical_hits_and_nothing_explains_dense_ones(self, both):
        hits = both.search("moons and lamps", mode="lexical")
        assert {term.term for term in hits.terms[0]} == {"moon", "lamp"}
        for score, terms in zip(hits.scores, hits.terms, strict=True):
            assert sum(term.product for term in terms) == pytest.approx(score, rel=1e-5)
        assert both.search("moons", k=2, mode="dense").terms == [[], []]

    @pytest.mark.parametrize("built", [False, True])
    def test_filters_hold(self, both, built):
        if built:
            both.build()
        assert set(both.search("the moon water", mode="sparse", where="year < 2000").ids) == {"tides"}
        assert both.search("the moon water", mode="sparse", where="year = 1").ids == []

    def test_a_sparse_vector_is_a_query(self, weighted):
        (hits,) = weighted.search(one([1, 3]))
        assert (hits.ids, hits.scores.tolist(), hits.mode) == (["a", "c"], [3.5, 2.0], "sparse")
        assert hits.terms[1][0].term == "[1]"
        assert weighted.search(coo_array(one([1])))[0].ids == ["c", "a"]
        single = weighted.search(coo_array(([2.0], ([1],)), shape=(6,)))
        assert (single.ids, single.scores.tolist()) == (["c", "a"], [4.0, 2.0])
        assert weighted.search(csr_array((2, 6), dtype=np.float32))[0].ids == []

    @pytest.mark.parametrize(
        ("query", "options", "error", "words_"),
        [
            (one([1], 7), {}, DimensionMismatch, "sparse vector of 7; the collection has 6 terms"),
            (one([1]), {"mode": "dense"}, InvalidInput, "query is a sparse vector"),
            (one([1]), {"mode": "hybrid"}, InvalidInput, "query is a sparse vector"),
            ("moon", {"mode": "sparse"}, InvalidInput, "no encoder to turn a text"),
            (one([1]) * np.nan, {}, InvalidInput, "NaN"),
        ],
    )
    def test_bad_queries_are_refused(self, weighted, query, options, error, words_):
        with pytest.raises(error, match=words_):
            weighted.search(query, **options)

    def test_nothing_explains_no_hits(self, tmp_path, words):
        weights = iso.create(tmp_path / "weights", sparse_dim=3)
        texts = iso.create(tmp_path / "texts", sparse_encoder=words)
        for hits in (weights.search(csr_array((1, 3), dtype=np.float32))[0], texts.search("owls")):
            assert hits.ids == []
            assert hits.terms == []

    def test_what_a_collection_lacks_is_said(self, notes, points):
        with pytest.raises(InvalidInput, match="no sparse encoder; its modes for texts are dense, lexical"):
            notes.search("moon", mode="sparse")
        with pytest.raises(DimensionMismatch, match="the collection has no sparse vectors"):
            points.search(one([1]))

    def test_a_sparse_encoder_alone(self, tmp_path, words):
        with iso.create(tmp_path / "s.iso", encoder=words) as collection:
            assert collection.search("moon").ids == []
            collection.add(NOTES)
            assert (collection.dim, collection.sparse_dim, collection.encoder) == (None, TERMS, None)
            assert collection.search("moon").mode == "hybrid"
            report = collection.build()
            assert (report.vectors, report.recall, report.sparse_spec) == (0, None, "Inverted")
            assert report.sparse_recall_queries == 4
            with pytest.raises(InvalidInput, match="no dense encoder; its modes for texts are sparse, lexical"):
                collection.search("moon", mode="dense")


class TestWriting:
    def test_what_is_added_replaced_and_deleted_is_searched_at_once(self, both):
        both.build()
        assert both.search("zeppelin", mode="sparse").ids == []
        both.upsert([{"id": "owls", "text": "zeppelin"}])
        both.add([{"id": "new", "text": "zeppelin zeppelin"}, {"id": "mute", "text": ""}])
        assert both.search("zeppelin", mode="sparse").ids == ["new", "owls"]
        both.delete(["new"])
        assert both.search("zeppelin", mode="sparse").ids == ["owls"]
        assert both.verify().problems == []
        both.optimize()
        assert both.search("zeppelin", mode="sparse").ids == ["owls"]
        assert both.verify().problems == []

    def test_opens_again(self, both, words):
        both.build(sparse_spec="Seismic(100,0.2)")
        found = both.search("the moon", mode="sparse").ids
        with pytest.raises(InvalidInput, match=r"isometry.open\(path, sparse_encoder=\.\.\.\)"):
            iso.open(both.path).search("the moon", mode="sparse")
        for options in ({"sparse_encoder": words}, {"encoder": words}):
            again = iso.open(both.path, **options)
            assert again.search("the moon", mode="sparse").ids == found
        stats = again.stats()
        assert (stats.sparse_spec, stats.sparse_dim) == ("Seismic(100,0.2)", TERMS)
        assert stats.sparse_encoder == str(words.fingerprint)
        both.optimize()
        assert both.stats().sparse_spec == "Seismic(100,0.2)", "asked for once, built again"

    def test_long_texts_are_encoded_as_a_whole(self, tmp_path, words):
        text = " ".join(f"word{i % 40}" for i in range(400)) + " the end"
        for passages, found in ((True, ["long"]), (False, [])):
            with iso.create(tmp_path / f"{passages}.iso", encoder=words, passages=passages) as collection:
                collection.add([{"id": "long", "text": text}])
                assert len(collection) == 1
                last = csr_array(([1.0], ([0], [column("end")])), shape=(1, TERMS))
                assert collection.search(last)[0].ids == found

    def test_both_kinds_may_be_brought_along(self, tmp_path, words):
        with iso.create(tmp_path / "own.iso", dim=2, sparse_dim=TERMS, metric="dot") as collection:
            weights = words.encode_document(["moon", "sea"])
            collection.add([{"id": "a"}, {"id": "b"}], vectors=np.eye(2), sparse_vectors=weights)
            collection.add([{"id": "c"}], vectors=[[1.0, 1.0]], sparse_vectors=weights[:1].tocoo())
            assert collection.search([0.0, 1.0], k=1).ids == ["b"]
            assert collection.search(words.encode_query(["moon"]))[0].ids == ["a", "c"]
            with pytest.raises(InvalidInput, match="has no sparse vectors and the collection has no encoder"):
                collection.add([{"id": "d"}], vectors=[[1.0, 1.0]])
            with pytest.raises(InvalidInput, match="has no vectors and the collection has no encoder"):
                collection.add([{"id": "d"}], sparse_vectors=weights[:1])
            with pytest.raises(InvalidInput, match="2 sparse_vectors came with 1 records"):
                collection.add([{"id": "d"}], vectors=[[1.0, 1.0]], sparse_vectors=weights)
            assert len(collection) == 3

    @pytest.mark.parametrize(
        ("weights", "error", "words_"),
        [
            ([[0, 0, -1.5, 0, 0, 0]], InvalidInput, "row 0 has the weight -1.5"),
            ([[0, 0, np.inf, 0, 0, 0]], InvalidInput, "NaN or infinite"),
            ([[1.0] * 7], DimensionMismatch, "7 dimensions; expected 6"),
        ],
    )
    def test_bad_weights_are_refused_and_nothing_is_stored(self, weighted, weights, error, words_):
        before = weighted.version
        with pytest.raises(error, match=words_):
            weighted.add([{"id": "bad"}], sparse_vectors=csr_array(np.array(weights, np.float32)))
        row = {"indices": np.flatnonzero(weights[0]).tolist(), "values": [w for w in weights[0] if w]}
        with pytest.raises(error):
            weighted.add([{"id": "bad", "sparse_vector": row}])
        assert weighted.version == before

    @pytest.mark.parametrize(
        ("row", "words_"),
        [
            ({"indices": [1, 2], "values": [1.0]}, "unlike numbers of indices and values"),
            ({"indices": [-1], "values": [1.0]}, "columns from -1"),
            ({"indices": [0.5], "values": [1.0]}, "expected integers"),
            ([1.0, 2.0], "sparse_vector"),
            ("moon", "sparse_vector"),
        ],
    )
    def test_bad_columns_are_refused(self, weighted, row, words_):
        with pytest.raises((InvalidInput, DimensionMismatch), match=words_):
            weighted.add([{"id": "bad", "sparse_vector": row}])
        assert len(weighted) == 3

    def test_odd_but_clear_input_is_stored(self, weighted):
        twice = csr_array((np.array([1.0, 2.0, 0.0]), np.array([4, 4, 0]), np.array([0, 3])), shape=(1, 6))
        weighted.add([{"id": "twice"}], sparse_vectors=twice)
        weighted.add([{"id": "unsorted", "sparse_vector": {"indices": [5, 4], "values": [1, 2]}}])
        assert [h.scores.tolist() for h in weighted.search(one([4]))] == [[3.0, 2.0]]

    def test_a_collection_without_sparse_vectors_takes_none(self, points, notes):
        with pytest.raises(InvalidInput, match="the collection has no sparse vectors; create it with sparse_dim="):
            points.add([{"id": "new", "vector": [1, 0]}], sparse_vectors=one([1]))

    def test_an_encoder_with_negative_weights_is_refused(self, tmp_path):
        class Negative(Words):
            def encode_document(self, texts):
                return super().encode_document(texts) * -1

        with iso.create(tmp_path / "n.iso", sparse_encoder=Negative()) as collection:
            with pytest.raises(InvalidInput, match=r"what Negative@\w+ made of batch 1 row 0 has the weight -"):
                collection.add(NOTES)
            assert len(collection) == 0


class TestSpaces:
    def test_own_vectors_must_come_from_the_collections_encoder(self, both, encoder, words):
        record, weights = {"id": "own", "text": "moon"}, words.encode_document(["zeppelin"])
        with pytest.raises(SpaceMismatch, match="sparse vectors are made by Words"):
            both.add([record], sparse_vectors=weights)
        with pytest.raises(SpaceMismatch, match="can't be compared"):
            both.add([record], sparse_vectors=weights, encoded_by=load_encoder(Words(), name="other"))
        both.add([record], sparse_vectors=weights, encoded_by=words)
        assert both.search("zeppelin", mode="sparse").ids == ["own"]
        dense = encoder.encode_document(["owls"])
        with pytest.raises(SpaceMismatch):
            both.add([{"id": "two", "text": "x"}], vectors=dense, sparse_vectors=weights, encoded_by=words)
        both.add([{"id": "two", "text": "x"}], vectors=dense, sparse_vectors=weights, encoded_by=[words, encoder])
        assert both.search("zeppelin", mode="sparse").ids == ["own", "two"]

    def test_another_encoder_is_refused(self, both):
        with pytest.raises(SpaceMismatch):
            iso.open(both.path, sparse_encoder=load_encoder(Words(), name="other"))

    def test_bad_settings_are_refused(self, tmp_path, words, encoder):
        for options, error, words_ in (
            ({"encoder": words, "sparse_encoder": words}, InvalidInput, "one encoder of each kind"),
            ({"sparse_encoder": encoder}, InvalidInput, "sparse_encoder takes a sparse one"),
            ({"sparse_encoder": words, "sparse_dim": 5}, DimensionMismatch, "sparse_dim is 5"),
            ({"sparse_dim": 0}, InvalidInput, "sparse_dim is 0"),
        ):
            with pytest.raises(error, match=words_):
                iso.create(tmp_path / "bad.iso", **options)
        assert not (tmp_path / "bad.iso").exists()

    @pytest.mark.parametrize("spec", ["Flat", "Seismc", "LVQ8,Flat", ""])
    def test_specs_that_do_not_index_sparse_vectors_are_refused(self, both, spec):
        if spec:
            with pytest.raises(SpecError):
                both.build(sparse_spec=spec)
        both.build(sparse_spec="Seismic(50,0.3)")
        assert both.stats().sparse_spec == "Seismic(50,0.3)"


class TestFiles:
    def test_older_versions_read_what_has_no_sparse_vectors(self, notes, both):
        assert json.loads((notes.path / MANIFEST).read_text())["format_version"] == 1
        assert not any("sparse" in name for name in json.loads((notes.path / MANIFEST).read_text()))
        assert json.loads((both.path / MANIFEST).read_text())["format_version"] == 2

    @pytest.mark.parametrize(
        "change",
        [{"sparse_dim": 0}, {"sparse_dim": "6"}, {"sparse_dim": None, "sparse_encoder": {}}, {"sparse_spec": 3}],
    )
    def test_a_damaged_manifest_is_refused(self, weighted, change):
        path = weighted.path / MANIFEST
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        with pytest.raises(Damaged):
            iso.open(weighted.path)
        path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": FORMAT_VERSION + 1}))
        with pytest.raises(NewerFormat):
            iso.open(weighted.path)

    def test_an_index_of_another_size_is_found_out(self, weighted):
        weighted.build()
        path = weighted.path / MANIFEST
        path.write_text(json.dumps({**json.loads(path.read_text()), "sparse_dim": 7}))
        with iso.open(weighted.path) as opened:
            assert any("6 terms, the collection 7" in problem for problem in opened.verify().problems)
            with pytest.raises(Damaged, match="6 terms, the collection 7"):
                opened.search(one([1], 7))

    def test_a_damaged_index_is_found_and_built_again(self, weighted):
        weighted.build()
        (folder,) = (weighted.path / "indexes").iterdir()
        for file in (folder / "sparse").glob("*.npy"):
            file.write_bytes(file.read_bytes()[:-1] + b"\x07")
        assert not weighted.verify().ok
        weighted.optimize()
        assert weighted.verify().ok
        assert weighted.search(one([1]))[0].ids == ["c", "a"]
