"""The collection as its users meet it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pyarrow.compute as pc
import pytest

import isometry as iso
from isometry.collections.manifest import FORMAT_VERSION, MANIFEST
from isometry.collections.state import INDEXES
from isometry.errors import (
    AlreadyExists,
    Damaged,
    DimensionMismatch,
    DuplicateIds,
    FilterError,
    InvalidInput,
    Locked,
    NewerFormat,
    NotFound,
    ReadOnly,
    SchemaMismatch,
    SpaceMismatch,
    SpecError,
)
from isometry.vectors import MultiVectors
from tests.collections.conftest import NOTES


class TestSearch:
    def test_finds_by_meaning_by_words_and_by_both(self, notes):
        assert notes.search("birds of prey that listen", k=1, mode="dense").ids == ["owls"]
        assert set(notes.search("moon", mode="lexical").ids) == {"moths", "tides"}
        hits = notes.search("moon sea", k=2)
        assert hits.mode == "hybrid"
        assert hits.ids[0] == "tides"

    def test_scores_are_cosines_of_the_encoder(self, notes, encoder):
        hits = notes.search("night hunters", k=4, mode="dense")
        texts = {row["id"]: " ".join(filter(None, (row["title"], row["text"]))) for row in NOTES}
        expected = (
            encoder.encode_document([texts[name] for name in hits.ids]) @ encoder.encode_query(["night hunters"])[0]
        )
        assert np.allclose(hits.scores, expected, atol=1e-5)
        assert sorted(hits.scores, reverse=True) == hits.scores.tolist()

    @pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ("year < 2000", {"tides", "owls"}),
            ("year is null", {"moths"}),
            ("title = 'Bread' or array_has(tags, 'bird')", {"bread", "owls"}),
            (pc.field("year") == 2020, {"bread"}),
            ("year = 1", set()),
        ],
    )
    def test_filters_hold_in_every_mode(self, notes, mode, where, expected):
        found = set(notes.search("moon owls water sea lamps bake", mode=mode, where=where).ids)
        assert found == expected

    def test_several_queries_give_a_list_equal_to_one_by_one(self, notes):
        queries = ["moon", "water and salt", "night"]
        for together, query in zip(notes.search(queries, k=3), queries, strict=True):
            alone = notes.search(query, k=3)
            assert together.ids == alone.ids
            assert np.allclose(together.scores, alone.scores, atol=1e-6)
        assert notes.search([]) == []

    def test_a_vector_is_a_query_too(self, points):
        assert points.search([2.0, 1.0], k=9).ids == ["xy", "x", "y"]
        assert [hits.scores.tolist() for hits in points.search(np.eye(2), k=1)] == [[1.0], [1.0]]
        assert points.search(np.array([1.0, 0.5]), k=1).scores.tolist() == [1.5]

    def test_k_beyond_the_number_of_documents_returns_all(self, points):
        assert len(points.search([1.0, 0.0], k=1000)) == 3

    def test_empty_collection_answers_with_nothing(self, tmp_path):
        with iso.create(tmp_path / "empty.iso", dim=2) as collection:
            assert collection.search([1.0, 0.0]).ids == []
            assert collection.search("word").ids == []
            assert len(collection) == 0
            assert collection.verify().ok
            assert collection.delete(["nobody"]) == 0
            assert collection.get(["nobody"]).num_rows == 0
            assert collection.build().documents == 0

    @pytest.mark.parametrize(
        ("query", "options", "error", "words"),
        [
            ("", {}, InvalidInput, "query 0 is empty"),
            ("moon", {"k": 0}, InvalidInput, "k is 0"),
            ("moon", {"k": -3}, InvalidInput, "k is -3"),
            ("moon", {"k": 2.5}, InvalidInput, "k is 2.5"),
            ("moon", {"mode": "dens"}, InvalidInput, "did you mean 'dense'"),
            (None, {}, InvalidInput, "expected a text, a vector"),
            (["a", 3], {}, InvalidInput, "query 1 is int"),
            ([1.0, 2.0], {}, DimensionMismatch, "vector of 2; the collection has 256 dimensions"),
            (np.full(256, np.nan), {}, InvalidInput, "NaN"),
            (np.ones(256), {"mode": "lexical"}, InvalidInput, "the query is a vector"),
            ("moon", {"where": "yeer > 3"}, FilterError, "year"),
            ("moon", {"where": "year >"}, FilterError, "year >"),
        ],
    )
    def test_bad_queries_are_refused(self, notes, query, options, error, words):
        with pytest.raises(error, match=words):
            notes.search(query, **options)

    def test_text_query_without_an_encoder_searches_words(self, points):
        assert points.search("anything").mode == "lexical"
        with pytest.raises(InvalidInput, match="no encoder"):
            points.search("anything", mode="dense")


class TestHits:
    def test_rows_come_with_the_hits(self, notes):
        hits = notes.search("owls", k=1)
        assert hits[0].row == {**NOTES[1]}
        assert next(iter(hits)).id == "owls"
        assert hits.to_arrow().column_names[0] == "_score"
        assert hits.to_pandas()["id"].tolist() == ["owls"]
        assert json.loads(json.dumps(hits.to_dict()))["hits"][0]["row"]["year"] == 1973

    def test_rows_are_those_of_the_version_searched(self, notes):
        hits = notes.search("owls", k=1)
        notes.delete(["owls"])
        notes.optimize()
        assert hits[0].row["title"] == "Owls"

    def test_markup_in_documents_is_shown_as_it_is(self, tmp_path):
        from rich.console import Console

        with iso.create(tmp_path / "m.iso") as collection:
            collection.add({"id": "<b>", "text": "[red]danger[/red] <script>"})
            hits = collection.search("danger")
            assert "&lt;script&gt;" in hits._repr_html_()
            assert "<script>" not in hits._repr_html_()
            console = Console(width=120, file=io.StringIO(), record=True)
            console.print(hits)
            assert "[red]danger[/red]" in console.export_text()
        assert "Hits(1 lexical" in repr(hits)


class TestPassages:
    def test_a_long_document_is_found_by_its_end(self, tmp_path, encoder):
        filler = "Bread is baked from flour and water. " * 400
        with iso.create(tmp_path / "long.iso", encoder=encoder) as collection:
            collection.add(
                [{"id": "long", "text": filler + "Owls hunt mice at night."}, {"id": "short", "text": filler[:500]}]
            )
            assert collection.stats().vectors > 3
            hit = collection.search("owls hunting mice", k=2, mode="dense")[0]
            assert hit.id == "long"
            assert "Owls hunt mice" in hit.passage
            assert len(hit.passage) < len(filler)

    def test_documents_are_never_crowded_out_by_one_with_many_passages(self, tmp_path):
        rng = np.random.default_rng(0)
        many = MultiVectors.from_list(
            [rng.normal([5, 0], 0.01, (300, 2)), [[1.0, 0.0]], np.zeros((0, 2)), [[0.5, 0.0]]]
        )
        with iso.create(tmp_path / "many.iso", metric="dot") as collection:
            collection.add([{"id": name} for name in "abcd"], vectors=many)
            for _ in range(2):
                assert collection.search([1.0, 0.0], k=3).ids == ["a", "b", "d"]
                assert collection.search([1.0, 0.0], k=3, where="id != 'a'").ids == ["b", "d"]
                collection.build()


class TestWriting:
    def test_add_upsert_delete_reopen(self, notes):
        report = notes.upsert(
            [{"id": "owls", "title": "Owls", "text": "Owls sleep by day."}, {"id": "new", "text": "fresh"}]
        )
        assert (report.added, report.replaced) == (1, 1)
        assert notes.delete(["bread", "nobody"]) == 1
        assert notes.delete(where="year = 1687") == 1
        notes.close()
        again = iso.open(notes.path)
        assert sorted(again.get(["owls", "new", "moths", "bread"])["id"].to_pylist()) == ["moths", "new", "owls"]
        assert again.get(["owls"]).to_pylist()[0]["year"] is None
        assert again.search("sleep", mode="lexical").ids == ["owls"]
        assert again.verify().problems == []

    def test_no_ids_name_no_documents(self, notes):
        assert notes.get([]).num_rows == 0
        assert notes.get([]).schema == notes.schema
        assert notes.delete([]) == 0

    def test_ids_come_from_the_content_when_there_are_none(self, tmp_path):
        rows = [{"text": "one"}, {"text": "two"}]
        with iso.create(tmp_path / "a.iso") as a, iso.create(tmp_path / "b.iso") as b:
            a.add(rows)
            b.add(rows[::-1])
            assert sorted(a.search("one two").ids) == sorted(b.search("one two").ids)
            with pytest.raises(DuplicateIds, match="stored already"):
                a.add([{"text": "two"}])
            with pytest.raises(DuplicateIds, match="more than once in one batch"):
                a.add([{"text": "three"}, {"text": "three"}])
            assert len(a) == 2

    def test_another_id_field(self, tmp_path):
        with iso.create(tmp_path / "a.iso", id_field="doi") as collection:
            collection.add([{"doi": "10/1", "text": "x"}])
            assert collection.get(["10/1"])["id"].to_pylist() == ["10/1"]
            with pytest.raises(InvalidInput, match="also have a column 'id'"):
                collection.add([{"doi": "10/2", "id": "five"}])

    def test_nothing_of_a_bad_batch_is_stored(self, notes):
        before = notes.get([row["id"] for row in NOTES]).to_pylist()
        for bad, error in [
            ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], DuplicateIds),
            ([{"id": "fresh", "text": "x"}, {"id": "owls", "text": "y"}], DuplicateIds),
            ([{"id": "a", "text": "x", "year": "late"}], SchemaMismatch),
            ([{"id": "a", "text": "x", "year": 1.5}], SchemaMismatch),
        ]:
            with pytest.raises(error):
                notes.add(bad)
        assert len(notes) == len(NOTES)
        assert notes.get([row["id"] for row in NOTES]).to_pylist() == before

    def test_batches_before_a_bad_one_stay_and_skip_goes_on(self, notes):
        rows = [{"id": f"n{i}", "text": "t"} for i in range(10)]
        with pytest.raises(DuplicateIds):
            notes.add([*rows, {"id": "owls", "text": "again"}], batch_rows=4)
        assert len(notes) == 4 + 8
        report = notes.add([*rows, {"id": "owls", "text": "again"}], batch_rows=4, on_duplicate="skip")
        assert (report.added, report.skipped) == (2, 9)

    def test_new_attributes_are_null_in_older_documents(self, notes):
        notes.add([{"id": "z", "text": "z", "rating": 4.5}])
        assert notes.get(["owls", "z"])["rating"].to_pylist() == [None, 4.5]
        assert notes.search("z", where="rating > 4").ids == ["z"]

    def test_strange_texts_are_kept_as_they_are(self, tmp_path):
        texts = {"quote'\"": 'it\'s "so"', "nul": "a\x00b", "owl🦉": "𝔘 🦉", "big": "word " * 2_000_000}
        with iso.create(tmp_path / "t.iso") as collection:
            collection.add([{"id": name, "text": text} for name, text in texts.items()])
            rows = {row["id"]: row["text"] for row in collection.get(list(texts)).to_pylist()}
            assert rows == texts
            assert collection.search("so", where=pc.field("id") == "quote'\"").ids == ["quote'\""]
            assert collection.delete(list(texts)[:3]) == 3

    @pytest.mark.parametrize(
        ("vectors", "error", "words"),
        [
            (np.ones((1, 2)), InvalidInput, "1 vectors"),
            (np.ones((3, 2)), InvalidInput, "3 vectors"),
            (np.ones((2, 3)), DimensionMismatch, "3 dimensions; expected 2"),
            (np.array([[1, np.inf], [0, 0]]), InvalidInput, "NaN, infinity"),
            (np.array([["a", "b"], ["c", "d"]]), InvalidInput, "dtype"),
        ],
    )
    def test_vectors_that_do_not_fit_are_refused(self, points, vectors, error, words):
        with pytest.raises(error, match=words):
            points.add([{"id": "p"}, {"id": "q"}], vectors=vectors)
        assert len(points) == 3
        with pytest.raises(InvalidInput, match="no vectors and the collection has no encoder"):
            points.add([{"id": "p"}])

    def test_vectors_made_elsewhere_must_be_of_the_same_space(self, notes, encoder):
        rows, vectors = [{"id": "v", "text": "owl"}], encoder.encode_document(["owl"])
        with pytest.raises(SpaceMismatch, match="encoded_by"):
            notes.add(rows, vectors=vectors)
        notes.add(rows, vectors=vectors, encoded_by=encoder)
        assert "v" in notes.search("owl", mode="dense").ids

    def test_missing_text_fields_are_named(self, notes):
        with pytest.raises(InvalidInput, match=r"none of the text fields title, text; its columns are id, abstract"):
            iso.create(notes.path.with_name("other.iso"), encoder="wordllama").add([{"id": "a", "abstract": "b"}])


class TestIndex:
    def test_rows_written_after_a_build_are_found_and_deleted_ones_are_not(self, notes):
        assert notes.build().recall == 1.0
        notes.add([{"id": "bats", "text": "Bats hunt moths at night by echo."}])
        notes.upsert([{"id": "tides", "text": "Low water and ebb."}])
        notes.delete(["moths"])
        for mode in ("dense", "lexical", "hybrid"):
            found = set(notes.search("moon moths night water", k=10, mode=mode).ids)
            assert "moths" not in found
            assert {"bats", "tides"} <= found
        stats = notes.stats()
        assert (stats.documents, stats.unindexed, stats.deleted_in_index) == (4, 2, 2)
        notes.optimize()
        stats = notes.stats()
        assert (stats.documents, stats.unindexed, stats.deleted_in_index, stats.fragments) == (4, 0, 0, 1)

    def test_unknown_spec_is_refused_before_work_begins(self, notes):
        with pytest.raises(SpecError):
            notes.build("Flatt")
        assert notes.stats().spec is None

    def test_old_versions_can_be_opened_and_are_read_only(self, notes):
        old = notes.version
        notes.delete(["owls"])
        then = iso.open(notes.path, version=old)
        assert then.search("owls", mode="lexical").ids == ["owls"]
        with pytest.raises(ReadOnly):
            then.delete(["owls"])
        with pytest.raises(NotFound, match="has no version 999"):
            iso.open(notes.path, version=999)
        notes.optimize(keep=timedelta(0))
        assert notes.versions == [notes.version]


class TestManyProcesses:
    def test_readers_see_what_a_writer_acknowledged(self, notes):
        reader = iso.open(notes.path)
        assert len(reader) == 4
        for n in range(5):
            notes.add([{"id": f"n{n}", "text": "novelty"}])
            assert f"n{n}" in reader.search("novelty", mode="lexical").ids
        notes.build()
        notes.delete(["n0"])
        assert "n0" not in reader.search("novelty", mode="lexical").ids
        assert reader.stats().spec == "Flat"

    def test_a_second_writer_is_refused_and_told_by_whom(self, notes):
        notes.delete(["nobody"])
        second = iso.open(notes.path)
        with pytest.raises(Locked, match=f"process {os.getpid()} on"):
            second.delete(["owls"])
        notes.close()
        assert second.delete(["owls"]) == 1

    def test_the_lock_dies_with_its_owner(self, notes):
        notes.close()
        script = """
            import sys, time, isometry as iso
            c = iso.open(sys.argv[1]); c.delete(["bread"]); print("locked", flush=True); time.sleep(60)
        """
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(notes.path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(Locked, match=f"process {process.pid}"):
            notes.delete(["owls"])
        process.kill()
        process.wait()
        assert notes.delete(["owls"]) == 1
        process.stdout.close()

    def test_threads_search_while_another_writes(self, notes):
        stop = threading.Event()

        def search() -> int:
            asked = 0
            while not stop.is_set():
                for mode in ("dense", "lexical", "hybrid"):
                    hits = notes.search("moon sea owls", k=3, mode=mode, where="id != 'bread'")
                    assert "bread" not in hits.ids
                    assert len(hits.rows) == len(hits) > 0
                    asked += 1
            return asked

        with ThreadPoolExecutor(3) as pool:
            searches = [pool.submit(search) for _ in range(3)]
            for n in range(4):
                notes.add([{"id": f"n{n}", "text": "the moon again"}])
                notes.upsert([{"id": "tides", "text": f"moon and sea {n}"}])
                notes.delete([f"n{n}"])
                notes.optimize()
            stop.set()
            assert all(search.result() > 0 for search in searches)
        assert notes.verify().ok


class TestOpening:
    def test_what_is_not_a_collection(self, tmp_path):
        with pytest.raises(NotFound, match="no such folder"):
            iso.open(tmp_path / "nowhere")
        (tmp_path / "file").write_text("x")
        with pytest.raises(NotFound):
            iso.open(tmp_path / "file")
        with pytest.raises(NotFound, match="not a collection"):
            iso.open(tmp_path)

    def test_create_never_destroys(self, tmp_path, points):
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "data").write_text("x")
        for overwrite in (False, True):
            with pytest.raises(AlreadyExists):
                iso.create(tmp_path / "precious", overwrite=overwrite)
        with pytest.raises(AlreadyExists):
            iso.create(points.path)
        with pytest.raises(Locked):
            iso.create(points.path, overwrite=True)
        points.close()
        assert len(iso.create(points.path, overwrite=True)) == 0
        assert sorted(p.name for p in tmp_path.iterdir()) == ["points.iso", "precious"]

    @pytest.mark.parametrize(
        "options",
        [{"metric": "euclid"}, {"dim": 0}, {"dim": "2"}, {"text_fields": ()}, {"id_field": ""}, {"encoder": 7}],
    )
    def test_bad_settings_leave_nothing_behind(self, tmp_path, options):
        with pytest.raises(InvalidInput):
            iso.create(tmp_path / "c.iso", **options)
        assert list(tmp_path.iterdir()) == []

    def test_newer_format(self, points):
        edit_manifest(points.path, format_version=FORMAT_VERSION + 1)
        with pytest.raises(NewerFormat, match="upgrade"):
            iso.open(points.path)

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "cake"}, {"format_version": "one"}, {"format_version": 0}, {"metric": "x"}, {"dim": -1},
            {"dim": 2.5}, {"segment": "../../etc"}, {"segment": 7}, {"text_fields": "text"}, {"text_fields": [1]},
            {"passages": "no"}, {"encoder": "x"}, {"uuid": None},
        ],
    )  # fmt: skip
    def test_damaged_manifest(self, points, change):
        edit_manifest(points.path, **change)
        with pytest.raises(Damaged):
            iso.open(points.path)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"kind": NaN}'])
    def test_manifest_that_is_no_json(self, points, content):
        (points.path / MANIFEST).write_bytes(content)
        with pytest.raises(Damaged):
            iso.open(points.path)

    def test_damaged_documents_are_reported(self, points):
        for file in (points.path / "documents.lance" / "data").iterdir():
            file.write_bytes(file.read_bytes()[:-50])
        points.close()
        again = iso.open(points.path)
        assert "can't be read" in again.verify().problems[0]
        with pytest.raises(Damaged):
            again.search([1.0, 0.0])

    def test_damaged_index_is_found_by_verify_and_mended_by_optimize(self, points):
        points.build()
        points.close()
        (segment,) = (points.path / INDEXES).iterdir()
        victim = max(segment.rglob("*vectors*"), key=lambda p: p.stat().st_size)
        content = bytearray(victim.read_bytes())
        content[-1] ^= 0xFF
        victim.write_bytes(content)
        problems = points.verify().problems
        assert len(problems) == 1
        assert "optimize" in problems[0]
        points.optimize()
        assert points.verify().ok

    def test_a_lost_index_is_named_and_mended(self, points):
        points.build()
        points.close()
        shutil.rmtree(points.path / INDEXES)
        with pytest.raises((Damaged, NotFound), match="optimize"):
            iso.open(points.path).search([1.0, 0.0])
        iso.open(points.path).optimize()
        assert iso.open(points.path).search([2.0, 1.0], k=1).ids == ["xy"]

    def test_encoder_of_another_space_is_refused(self, notes, encoder):
        class Other:
            kind, dim, max_tokens = "dense", 256, 100

            def encode_query(self, texts):
                return np.ones((len(texts), 256), np.float32)

            encode_document = encode_query

        with pytest.raises(SpaceMismatch, match="wordllama"):
            iso.open(notes.path, encoder=Other())
        assert iso.open(notes.path, encoder=encoder).search("owls", k=1).ids == ["owls"]

    def test_collection_made_with_an_object_asks_for_it(self, tmp_path, encoder):
        iso.create(tmp_path / "o.iso", encoder=encoder).add([{"id": "a", "text": "owl"}])
        with pytest.raises(InvalidInput, match="encoder="):
            iso.open(tmp_path / "o.iso").search("owl")
        assert iso.open(tmp_path / "o.iso").search("owl", mode="lexical").ids == ["a"]


class TestFullDisk:
    def test_nothing_is_lost_when_space_runs_out(self, points):
        """A limit on the size of files stands in for the end of the disk: the same error path, no mount needed."""
        points.close()
        script = """
            import resource, signal, sys
            import numpy as np
            import isometry as iso
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            c = iso.open(sys.argv[1]); c.search([1.0, 0.0])
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            try:
                rows = [{"id": f"big{i}"} for i in range(100_000)]
                c.add(rows, vectors=np.random.rand(100_000, 2), batch_rows=100_000)
            except iso.errors.StorageFull as error:
                print("full:", error)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(points.path)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "full:" in done.stdout
        assert "free some space" in done.stdout
        again = iso.open(points.path)
        assert len(again) == 3
        assert again.verify().ok
        again.add([{"id": "later", "vector": [1.0, 1.0]}])
        assert len(again) == 4


def edit_manifest(path, **change) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps({**manifest, **change}))
