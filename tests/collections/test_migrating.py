"""Changing the encoder: what each stage serves, what a kill leaves, the way back, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import isometry as iso
from isometry.collections.manifest import MANIFEST
from isometry.collections.migration import MIGRATIONS
from isometry.errors import Damaged, InvalidInput, NotFound, ReadOnly, SpaceMismatch, SpecError
from tests.collections.encoders import Short, documents, whole

pytest.importorskip("wordllama")

ROWS = documents()
QUERIES = ["sort a list", "arc tangent of x", "delete a file", "standard deviation", "upper case letters"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def collection(tmp_path):
    """Documents whose vectors are of a short encoder; the new one is wordllama, by name."""
    with iso.create(tmp_path / "c.iso", encoder=Short()) as made:
        made.add(ROWS)
        made.build()
        yield made


def found(collection, **options) -> list[list[str]]:
    return [hits.ids for hits in collection.search(QUERIES, k=5, mode="dense", **options)]


def vectors(collection) -> dict[str, np.ndarray]:
    view = collection._state.view()
    own = view.stored(view.kinds["dense"], every := np.flatnonzero(view._row_offset >= 0))
    return dict(zip(view.ids(every), own, strict=True))


def same_vectors(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.allclose(one[name], other[name], atol=1e-6) for name in one)


def afresh(tmp_path, rows=ROWS, encoder=None):
    """Return what a collection made with the encoder finds, wordllama by default, and its vectors."""
    with iso.create(tmp_path / "fresh.iso", encoder=encoder or whole()) as made:
        made.add(rows)
        return found(made), vectors(made)


class TestStages:
    def test_a_plan_tells_what_is_kept_and_changes_nothing(self, collection):
        before, manifest = found(collection), json.loads((collection.path / MANIFEST).read_text())
        report = collection.migrate("wordllama", until="planned")
        assert (report.stage, report.mapped, report.embedded, report.documents) == ("planned", False, 0, len(ROWS))
        low, high = report.kept_interval
        assert 0.3 < low <= report.kept <= high <= 1
        assert report.judged == report.pairs // 5
        assert found(collection) == before
        after = json.loads((collection.path / MANIFEST).read_text())
        assert {name: after[name] for name in manifest if name != "format_version"} == {
            name: value for name, value in manifest.items() if name != "format_version"
        }
        assert collection.search(QUERIES[0]).mapped is None

    def test_a_plan_is_made_once(self, collection):
        first = collection.migrate("wordllama", until="planned", sample=100)
        folder = next((collection.path / MIGRATIONS).iterdir())
        again = collection.migrate("wordllama", until="planned", sample=100)
        assert again.kept == first.kept
        assert [folder] == list((collection.path / MIGRATIONS).iterdir())
        other = collection.migrate("wordllama", until="planned", sample=90, method="procrustes")
        assert (other.pairs, other.method) == (90, "procrustes")

    def test_queries_of_the_new_encoder_search_old_vectors(self, collection, tmp_path):
        before, wanted = vectors(collection), afresh(tmp_path)[0]
        report = collection.migrate("wordllama", until="serving")
        assert report.mapped
        assert same_vectors(vectors(collection), before)
        (hits,) = collection.search(QUERIES[:1], k=5, mode="dense")
        assert "wordllama" in hits.mapped
        assert hits.to_dict()["mapped"] == hits.mapped
        assert collection.search(QUERIES[0], mode="lexical").mapped is None
        assert collection.stats().migration["stage"] == "serving"
        shared = [len(set(a) & set(b)) / 5 for a, b in zip(found(collection), wanted, strict=True)]
        assert np.mean(shared) > 0.5

    def test_after_the_switch_all_is_as_if_made_with_the_new_encoder(self, collection, tmp_path):
        wanted, own = afresh(tmp_path)
        report = collection.migrate("wordllama", sample=0)
        assert (report.stage, report.embedded, report.method, report.build.recall) == ("switched", len(ROWS), None, 1.0)
        assert found(collection) == wanted
        assert same_vectors(vectors(collection), own)
        assert (collection.dim, collection.stats().unindexed) == (256, 0)
        assert collection.verify().problems == []
        collection.close()
        with iso.open(collection.path) as again:  # by name: the old encoder, an object, is not needed any more
            assert found(again) == wanted
            again.add([{"id": "new", "text": "sort a list in place, ascending"}])
            assert again.search("sort a list in place", k=1, mode="dense").ids == ["new"]

    def test_readers_follow_every_stage(self, collection, tmp_path):
        reader = iso.open(collection.path, encoder=Short())
        before = found(reader)
        collection.migrate("wordllama", until="serving")
        assert reader.search(QUERIES[0]).mapped is not None
        collection.migrate()
        assert found(reader) == afresh(tmp_path)[0]
        collection.rollback_migration()
        assert found(reader) == before

    def test_long_texts_keep_passages_of_their_own(self, tmp_path):
        rows = [
            {"id": str(i), "title": f"T{i}", "text": " ".join(row["text"] for row in ROWS[i : i + 5])}
            for i in range(90)
        ]
        with iso.create(tmp_path / "long.iso", encoder=Short()) as collection:
            collection.add(rows)
            passages = collection.stats().vectors
            assert passages > 3 * len(rows)
            report = collection.migrate("wordllama", sample=200)
            assert report.pairs > 150
            assert collection.stats().vectors == len(rows)  # wordllama reads eight times as much
            assert same_vectors(vectors(collection), afresh(tmp_path, rows)[1])
            collection.rollback_migration()
            assert collection.stats().vectors == passages
            hit = collection.search(QUERIES[0], k=1, mode="dense")[0]
            assert hit.passage
            assert len(hit.passage) < len(hit.row["text"])


class TestWritesMeanwhile:
    def test_what_is_written_between_the_stages_is_not_lost(self, collection, tmp_path):
        rows = {row["id"]: row for row in ROWS}
        collection.migrate("wordllama", until="serving")
        step(collection, rows, 0)
        with pytest.raises(KeyboardInterrupt):
            collection.migrate(batch_rows=40, progress=stop_after(2))
        assert collection.migration.embedded == 80
        step(collection, rows, 1)
        collection.optimize()
        collection.migrate()
        step(collection, rows, 2)
        assert vectors(collection).keys() == rows.keys()
        assert same_vectors(vectors(collection), afresh(tmp_path, list(rows.values()))[1])
        assert collection.verify().problems == []
        collection.finish_migration(keep=timedelta(0))
        assert same_vectors(vectors(collection), afresh(tmp_path / "again", list(rows.values()))[1])

    def test_other_threads_write_while_documents_are_encoded(self, collection, tmp_path):
        rows = {row["id"]: row for row in ROWS}
        steps = iter(range(100))

        def write(done: int, total: int, what: str) -> None:
            if what == "documents embedded" and (number := next(steps)) < 4:
                thread = threading.Thread(target=step, args=(collection, rows, number))
                thread.start()
                thread.join()

        collection.migrate("wordllama", sample=0, batch_rows=30, progress=write)
        assert len(rows) != len(ROWS)
        assert same_vectors(vectors(collection), afresh(tmp_path, list(rows.values()))[1])

    def test_one_thread_migrates_at_a_time_and_a_rollback_stops_it(self, collection):
        def meddle(done: int, total: int, what: str) -> None:
            if what == "documents embedded":
                with pytest.raises(InvalidInput, match="another thread"):
                    collection.migrate()
                collection.rollback_migration()

        with pytest.raises(InvalidInput, match="ended meanwhile"):
            collection.migrate("wordllama", sample=0, batch_rows=30, progress=meddle)
        assert collection.migration is None
        assert collection.dim == 64


class TestRollback:
    @pytest.mark.parametrize("stage", ["planned", "serving", "interrupted", "switched"])
    def test_leads_back_from_every_stage(self, collection, stage):
        before, own, manifest = found(collection), vectors(collection), (collection.path / MANIFEST).read_text()
        if stage == "interrupted":
            with pytest.raises(KeyboardInterrupt):
                collection.migrate("wordllama", batch_rows=40, progress=stop_after(1))
        else:
            collection.migrate("wordllama", until=stage)
        collection.rollback_migration()
        assert found(collection) == before
        assert same_vectors(vectors(collection), own)
        assert (collection.path / MANIFEST).read_text() == manifest
        assert list((collection.path / MIGRATIONS).iterdir()) == []
        assert collection.verify().problems == []
        assert collection.migrate("wordllama").stage == "switched"  # and forth again

    def test_documents_written_after_the_switch_get_old_vectors(self, collection, tmp_path):
        rows = {row["id"]: row for row in ROWS}
        collection.migrate("wordllama")
        for number in range(2):
            step(collection, rows, number)
        collection.rollback_migration(batch_rows=2)
        assert same_vectors(vectors(collection), afresh(tmp_path, list(rows.values()), Short())[1])
        assert collection.verify().problems == []

    def test_there_is_none_after_the_end(self, collection):
        with pytest.raises(InvalidInput, match="no migration to roll back"):
            collection.rollback_migration()
        with pytest.raises(InvalidInput, match="none to finish"):
            collection.finish_migration()
        collection.migrate("wordllama", sample=0)
        after = found(collection)
        collection.finish_migration(keep=timedelta(0))
        assert collection.migration is None
        with pytest.raises(InvalidInput, match="no migration to roll back"):
            collection.rollback_migration()
        assert found(collection) == after
        names = collection._state.view().table.schema.names
        assert [name for name in names if name.startswith(("_vectors", "_spans"))] == ["_vectors_1", "_spans_1"]
        collection.migrate(Short(32), sample=0)
        collection.finish_migration(keep=timedelta(0))
        assert collection.dim == 32
        assert collection.verify().problems == []

    def test_versions_from_before_the_switch_show_what_they_had(self, collection):
        version, before = collection.version, found(collection)
        collection.migrate("wordllama")
        with iso.open(collection.path, version=version, encoder=Short()) as then:
            assert found(then) == before
            with pytest.raises(ReadOnly):
                then.migrate("wordllama")
        collection.finish_migration()
        with pytest.raises(NotFound, match="from before its encoder was changed"):
            iso.open(collection.path, version=version)


SCRIPT = """
    import os, signal, sys
    import isometry as iso
    from isometry.collections.manifest import Manifest
    from isometry.collections.table import DocumentTable
    from tests.collections.encoders import Short

    path, action, where = sys.argv[1:]

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def progress(done, total, what):
        if what == where and done > 50:
            die()

    write = Manifest.write
    if where == "manifest":
        ends = lambda self: self.migration is None or self.migration.since
        Manifest.write = lambda self, folder: die() if ends(self) else write(self, folder)
    if where == "columns":
        DocumentTable.without = die
    with iso.open(path, encoder=Short()) as collection:
        if action == "migrate":
            collection.migrate("wordllama", sample=60, batch_rows=40, progress=progress)
        elif action == "roll back":
            collection.rollback_migration(batch_rows=40, progress=progress)
        else:
            collection.finish_migration()
    print("not killed")
"""


def killed(path: Path, action: str, where: str) -> None:
    """Do something in another process that is killed on the way."""
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), action, where]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}/src"}
    )
    assert done.returncode == -9, (done.stdout, done.stderr)


class TestKills:
    def test_a_kill_on_the_way_to_the_switch_loses_nothing(self, collection, tmp_path):
        """Killed after a batch, with the columns in the table, with the index built: each goes on from where it was."""
        before, wanted = found(collection), afresh(tmp_path)
        collection.close()
        for where, embedded in (
            ("texts", 0),
            ("documents embedded", 80),
            ("documents read", 150),
            ("documents indexed", 150),
            ("manifest", 150),
        ):
            killed(collection.path, "migrate", where)
            with iso.open(collection.path, encoder=Short()) as again:
                report = again.migration
                assert (report.embedded if report else 0) == embedded, where
                assert again.verify().problems == [], where
                assert len(again) == len(ROWS)
                if report is None:
                    assert found(again) == before
                else:
                    assert again.search(QUERIES[0]).mapped
                assert again.delete(["nobody"]) == 0  # the lock died with its holder
        with iso.open(collection.path) as again:
            assert again.migrate().stage == "switched"
            assert found(again) == wanted[0]
            assert same_vectors(vectors(again), wanted[1])
            assert again.verify().problems == []

    def test_a_kill_on_the_way_back_loses_nothing(self, collection, tmp_path):
        rows = {row["id"]: row for row in ROWS}
        collection.migrate("wordllama")
        later = [{"id": f"later {row['id']}", "text": row["text"][::-1]} for row in ROWS[:90]]
        collection.add(later)
        rows |= {row["id"]: row for row in later}
        after = found(collection)
        collection.close()
        killed(collection.path, "roll back", "documents embedded")
        killed(collection.path, "roll back", "manifest")
        with iso.open(collection.path, encoder=Short()) as again:
            assert again.migration.stage == "switched"
            assert found(again) == after
            assert again.verify().problems == []
        killed(collection.path, "roll back", "columns")
        with iso.open(collection.path, encoder=Short()) as again:
            assert again.migration is None
            assert same_vectors(vectors(again), afresh(tmp_path, list(rows.values()), Short())[1])
            assert "_vectors_1" in again._state.view().table.schema.names
            again.upsert(later[:1])
            again.optimize()
            assert "_vectors_1" not in again._state.view().table.schema.names
            assert again.verify().problems == []

    def test_a_kill_on_the_way_to_the_end_loses_nothing(self, collection):
        collection.migrate("wordllama", sample=0)
        after = found(collection)
        collection.close()
        killed(collection.path, "finish", "columns")
        with iso.open(collection.path) as again:
            assert again.migration is None
            assert found(again) == after
            again.optimize()
            assert "_vectors" not in again._state.view().table.schema.names
            assert again.verify().problems == []


class TestSpaces:
    def test_anti_aligned_and_equal_spaces_lose_nothing(self, tmp_path):
        with iso.create(tmp_path / "c.iso", encoder=Short()) as collection:
            collection.add(ROWS)
            report = collection.migrate(Short(64, -1), until="serving", method="procrustes")
            assert report.kept > 0.99
            assert found(collection) == afresh(tmp_path, encoder=Short())[0]

    def test_vectors_of_your_own_gain_an_encoder(self, tmp_path):
        encoder = iso.load_encoder(Short())
        own = encoder.encode_document([f"{row['title']} {row['text']}" for row in ROWS])
        with iso.create(tmp_path / "own.iso", metric="dot") as collection:
            collection.add(ROWS, vectors=own)
            with pytest.raises(InvalidInput, match="no encoder"):
                collection.search(QUERIES[0], mode="dense")
            report = collection.migrate("wordllama", until="serving")
            assert report.previous is None
            assert len(found(collection)[0]) == 5
            assert collection.add([{"id": "more"}], vectors=own[:1]).added == 1
            collection.migrate()
            assert len(vectors(collection)["more"]) == 0  # it has no text
            collection.add([{"id": "later", "text": "a text"}])
            with pytest.raises(InvalidInput, match=r"1 documents .* no vectors of your own, 'later'"):
                collection.rollback_migration()
            collection.delete(["later"])
            collection.rollback_migration()
            assert len(vectors(collection)["more"]) == 1
            assert collection.search(own[3], k=1).ids == [ROWS[3]["id"]]

    def test_a_collection_of_words_gains_vectors(self, tmp_path):
        with iso.create(tmp_path / "words.iso") as collection:
            collection.add(ROWS)
            with pytest.raises(InvalidInput, match="sample=0"):
                collection.migrate("wordllama")
            collection.migrate("wordllama", sample=0)
            assert found(collection) == afresh(tmp_path)[0]
            collection.rollback_migration()
            assert collection.dim is None
            assert collection.search(QUERIES[0], mode="lexical").ids

    def test_an_empty_collection_changes_at_once(self, tmp_path):
        with iso.create(tmp_path / "empty.iso", encoder=Short()) as collection:
            assert collection.migrate("wordllama", sample=0).stage == "switched"
            collection.finish_migration()
            collection.add(ROWS)
            assert found(collection) == afresh(tmp_path)[0]

    def test_texts_that_say_nothing_teach_nothing(self, tmp_path):
        rows = [*ROWS, *({"id": f"empty {i}", "text": "" if i % 2 else "\u200b"} for i in range(20))]
        with iso.create(tmp_path / "c.iso", encoder=Short()) as collection:
            collection.add(rows)
            stored = collection.stats().vectors
            report = collection.migrate("wordllama")
            assert report.pairs <= stored - 9  # ten vectors are of one text that can't be seen, or of none
            assert (report.documents, report.embedded) == (len(rows), len(rows))


class TestRefusals:
    @pytest.mark.parametrize(
        ("encoder", "options", "error", "words"),
        [
            (None, {}, InvalidInput, "name the new encoder"),
            ("nobody/knows-this", {}, NotFound, "no encoder 'nobody/knows-this'"),
            ("wordllama-tokens", {}, InvalidInput, "multi encoder"),
            (7, {}, InvalidInput, "no encoder"),
            ("wordllama", {"sample": 49}, InvalidInput, "at least 50"),
            ("wordllama", {"sample": -1}, InvalidInput, "sample is -1"),
            ("wordllama", {"method": "magic"}, InvalidInput, "method"),
            ("wordllama", {"until": "done"}, InvalidInput, "until"),
            ("wordllama", {"batch_rows": 0, "sample": 0}, InvalidInput, "batch_rows"),
            ("wordllama", {"spec": "Flatt"}, SpecError, "Flatt"),
        ],
    )
    def test_nothing_changes(self, collection, encoder, options, error, words):
        before = found(collection)
        with pytest.raises(error, match=words):
            collection.migrate(encoder, **options)
        assert found(collection) == before
        assert not collection.search(QUERIES[0]).mapped

    def test_the_same_encoder(self, collection):
        with pytest.raises(InvalidInput, match="already"):
            collection.migrate(Short())

    def test_another_migration_while_one_is_under_way(self, collection):
        collection.migrate("wordllama", until="serving", sample=60)
        with pytest.raises(InvalidInput, match="on its way to wordllama"):
            collection.migrate(Short(32))
        collection.migrate()
        assert collection.migrate("wordllama").stage == "switched"
        with pytest.raises(InvalidInput, match="finish that migration, or roll it back"):
            collection.migrate(Short(32))

    def test_no_text(self, tmp_path):
        with iso.create(tmp_path / "points.iso", dim=2) as points:
            points.add([{"id": str(i)} for i in range(60)], vectors=np.random.default_rng(0).random((60, 2)))
            with pytest.raises(InvalidInput, match="no text to encode"):
                points.migrate("wordllama")
            points.upsert([{"id": "0", "text": ""}], vectors=np.ones((1, 2)))
            with pytest.raises(InvalidInput, match="has a text in text"):
                points.migrate("wordllama")

    def test_an_encoder_of_neither_space(self, collection):
        collection.migrate("wordllama", until="serving", sample=60)
        for fits in (Short(), "wordllama"):
            assert iso.open(collection.path, encoder=fits).dim == 64
        with pytest.raises(SpaceMismatch, match="migrate"):
            iso.open(collection.path, encoder=Short(32))

    @pytest.mark.parametrize(
        "change",
        [
            {"stage": "half"}, {"encoder": 3}, {"dim": -1}, {"generation": None}, {"segment": "../x"},
            {"folder": "../x"}, {"folder": None}, {"asked": None}, {"fit": {}}, {"since": 3}, {"spec": 4},
        ],
    )  # fmt: skip
    def test_a_damaged_manifest(self, collection, change):
        collection.migrate("wordllama", until="serving", sample=60)
        collection.close()
        manifest = json.loads((collection.path / MANIFEST).read_text())
        manifest["migration"] |= change
        (collection.path / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(Damaged):
            iso.open(collection.path)

    def test_a_damaged_map_or_batch_is_found_by_verify(self, collection):
        with pytest.raises(KeyboardInterrupt):
            collection.migrate("wordllama", sample=60, batch_rows=40, progress=stop_after(1))
        (folder,) = (collection.path / MIGRATIONS).iterdir()
        for part in ("map", "batch-000000"):
            victim = max((folder / part).glob("*.npy"), key=lambda path: path.stat().st_size)
            content = bytearray(victim.read_bytes())
            content[-1] ^= 0xFF
            victim.write_bytes(content)
            assert "roll it back" in collection.verify().problems[0]
            content[-1] ^= 0xFF
            victim.write_bytes(content)
        assert collection.verify().ok


def step(collection, rows: dict[str, dict], number: int) -> None:
    """Add, replace and delete, in the collection and in `rows`."""
    new = [{"id": f"new {number} {i}", "title": "New", "text": f"{ROWS[i]['text']} and {number}"} for i in range(5)]
    changed = [{**ROWS[10 * number + i], "text": f"changed in step {number}: {ROWS[i]['text']}"} for i in range(5)]
    gone = [ROWS[100 + 5 * number + i]["id"] for i in range(3)]
    collection.add(new)
    collection.upsert(changed)
    assert collection.delete(gone) == 3
    rows |= {row["id"]: row for row in (*new, *changed)}
    for name in gone:
        del rows[name]


def stop_after(batches: int):
    count = iter(range(10_000))

    def progress(done: int, total: int, what: str) -> None:
        if what == "documents embedded" and next(count) + 1 == batches:
            raise KeyboardInterrupt

    return progress
