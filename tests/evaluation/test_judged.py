"""The BEIR loader: every layout it accepts, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from isometry.errors import BadRecord, Damaged, DuplicateIds, InvalidInput, IsometryError, NotFound
from isometry.evaluation import document_text, find_splits, load_judged, read_qrels

DOCUMENTS = [
    {"_id": "d1", "title": "One", "text": "first", "year": 2020},
    {"_id": "d2", "title": "", "text": "second", "metadata": {"venue": "ACL", "id": "x"}},
    {"_id": 3, "title": None, "text": "third", "metadata": {}},
]
QUERIES = [{"_id": "q1", "text": "first?"}, {"_id": "q2", "text": "second?"}, {"_id": "q3", "text": "unjudged"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\nq2\t3\t0\n"


def lines(records: list) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "tiny"
    write(home / "corpus.jsonl.gz", lines(DOCUMENTS))
    write(home / "queries.jsonl", lines(QUERIES))
    write(home / "qrels.tsv", QRELS)
    return home


def test_reads_a_beir_folder(folder: Path) -> None:
    judged = load_judged(folder)
    assert judged.name == "tiny"
    assert list(judged.corpus) == [
        {"id": "d1", "title": "One", "text": "first", "year": 2020},
        {"id": "d2", "title": "", "text": "second", "venue": "ACL"},
        {"id": "3", "title": "", "text": "third"},
    ]
    assert len(judged.corpus) == 3
    assert judged.queries == {"q1": "first?", "q2": "second?"}
    assert judged.qrels == {"q1": {"d1": 1}, "q2": {"d2": 2, "3": 0}}
    assert judged.report.unjudged_queries == 1
    assert repr(judged) == "JudgedSet('tiny': 3 documents, 2 queries, 3 judgements)"


def test_corpus_can_be_walked_again(folder: Path) -> None:
    corpus = load_judged(folder).corpus
    assert list(corpus) == list(corpus)


def test_document_text_joins_title_and_text() -> None:
    assert document_text({"title": "One", "text": "first"}) == "One first"
    assert document_text({"title": "", "text": "first"}) == "first"
    assert document_text({"text": None}) == ""


@pytest.mark.parametrize("name", ["qrels/dev.tsv", "qrels/dev.tsv.gz", "qrels_dev.tsv.gz", "qrels_dev.jsonl"])
def test_split_files(folder: Path, name: str) -> None:
    text = lines([{"query-id": "q3", "corpus-id": "d1", "score": 1}]) if "jsonl" in name else "q3\td1\t1\n"
    write(folder / name, text)
    assert find_splits(folder) == ["dev"]
    judged = load_judged(folder, "dev")
    assert (judged.split, judged.qrels) == ("dev", {"q3": {"d1": 1}})
    write(folder / "queries_dev.jsonl", lines([{"_id": "q3", "text": "of the split"}]))
    assert load_judged(folder, "dev").queries == {"q3": "of the split"}


def test_without_a_plain_file_test_is_the_split(folder: Path) -> None:
    (folder / "qrels.tsv").unlink()
    write(folder / "qrels/train.tsv", "q1\td2\t1\n")
    assert load_judged(folder).qrels == {"q1": {"d2": 1}}
    write(folder / "qrels/dev.tsv", "q1\td2\t1\n")
    with pytest.raises(InvalidInput, match="judgements for dev, train"):
        load_judged(folder)
    write(folder / "qrels/test.tsv", QRELS)
    assert len(load_judged(folder).qrels) == 2


def test_files_named_after_the_set(tmp_path: Path) -> None:
    for name, records in (("corpus", DOCUMENTS), ("queries", QUERIES)):
        write(tmp_path / f"box/small.{name}.jsonl.gz", lines(records))
        write(tmp_path / f"box/box.{name}.jsonl.gz", lines(records[:1]))
    judgement = {"query-id": "q1", "corpus-id": "d1", "score": 1}
    write(tmp_path / "box/small.qrels.jsonl.gz", lines([judgement]))
    write(tmp_path / "box/box.qrels.jsonl", lines([judgement]))
    assert (load_judged(tmp_path / "box/small").name, len(load_judged(tmp_path / "box/small").corpus)) == ("small", 3)
    assert len(load_judged(tmp_path / "box").corpus) == 1


@pytest.mark.parametrize("text", ["q1 0 d1 1\nq2 0 d2 2\n", "q1\t0\td1\t1\nq2\t0\td2\t2\n", "q1\td1\t1.0\nq2\td2\t2\n"])
def test_other_judgement_forms(folder: Path, text: str) -> None:
    write(folder / "qrels.tsv", text)
    assert load_judged(folder).qrels == {"q1": {"d1": 1}, "q2": {"d2": 2}}


def test_ids_may_hold_blanks(tmp_path: Path) -> None:
    path = write(tmp_path / "q.tsv", "query-id\tcorpus-id\tscore\nq 1\tGeneva Durben\t1\nq 1\tGeneva Durben\t1\n")
    assert read_qrels(path) == ({"q 1": {"Geneva Durben": 1}}, 1)


def test_documents_from_elsewhere(folder: Path) -> None:
    (folder / "corpus.jsonl.gz").unlink()
    assert len(load_judged(folder, corpus=DOCUMENTS).corpus) == 3
    elsewhere = write(folder.parent / "more.jsonl", lines(DOCUMENTS))
    assert len(load_judged(folder, corpus=elsewhere).corpus) == 3
    with pytest.raises(NotFound, match=r"no corpus .* the folder holds qrels.tsv, queries.jsonl"):
        load_judged(folder)


def test_unknown_ids_are_an_error_or_counted(folder: Path) -> None:
    write(folder / "qrels.tsv", QRELS + "q1\td9\t1\nnobody\td1\t1\n")
    with pytest.raises(InvalidInput, match=r"1 of 3 judged queries .*'nobody'.* 1 judgements .*'d9'"):
        load_judged(folder)
    kept = load_judged(folder, on_unknown="keep")
    assert kept.qrels["q1"] == {"d1": 1, "d9": 1}
    dropped = load_judged(folder, on_unknown="drop")
    assert dropped.qrels["q1"] == {"d1": 1}
    for judged in (kept, dropped):
        assert "nobody" not in judged.qrels
        assert (judged.report.unknown_queries, judged.report.unknown_documents) == (1, 1)


def test_duplicate_ids_are_an_error_or_skipped(folder: Path) -> None:
    write(folder / "corpus.jsonl.gz", lines([*DOCUMENTS, {"_id": "d1", "text": "again"}]))
    with pytest.raises(DuplicateIds, match=r"line 4: document id 'd1' occurs already on line 1"):
        load_judged(folder)
    write(folder / "queries.jsonl", lines([*QUERIES, {"_id": "q1", "text": "again"}]))
    judged = load_judged(folder, on_duplicate="skip")
    assert judged.queries["q1"] == "first?"
    assert [document["text"] for document in judged.corpus] == ["first", "second", "third"]
    assert (judged.report.duplicate_documents, judged.report.duplicate_queries) == (1, 1)
    write(folder / "qrels.tsv", "q1\td1\t1\nq1\td1\t2\n")
    with pytest.raises(DuplicateIds, match=r"line 2: .* grade 2 here and 1 earlier"):
        load_judged(folder, on_duplicate="skip")


@pytest.mark.parametrize(
    ("name", "text", "error", "match"),
    [
        ("corpus.jsonl", '{"_id": "d1", "text": "x"}\n{"_id": ', BadRecord, r"corpus.jsonl line 2: not valid JSON"),
        ("corpus.jsonl", "[1]\n", BadRecord, "line 1: a JSON list"),
        ("corpus.jsonl", '{"text": "x"}\n', BadRecord, "line 1: _id is None"),
        ("corpus.jsonl", '{"_id": true, "text": "x"}\n', BadRecord, "line 1: _id is True"),
        ("corpus.jsonl", '{"_id": "d", "text": 5}\n', BadRecord, "line 1: text of document 'd' is 5"),
        ("queries.jsonl", '{"_id": "q1"}\n', BadRecord, "line 1: query 'q1' has text None"),
        ("qrels.tsv", "", InvalidInput, "holds no judgement"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\n", InvalidInput, "holds no judgement"),
        ("qrels.tsv", "q1\td1\t1\nq1\td2\n", BadRecord, "line 2: 2 columns"),
        ("qrels.tsv", "q1\td1\t1\nq1\td2\tgood\n", BadRecord, "line 2: grade is 'good'"),
        ("qrels.tsv", "q1\td1\t1\nq1\td2\t0.5\n", BadRecord, "line 2: grade is '0.5'"),
        ("qrels.tsv", "q1\td1\t1\nq1\td2\tinf\n", BadRecord, "line 2: grade is 'inf'"),
    ],
)
def test_bad_files_name_the_line(folder: Path, name: str, text: str, error: type[IsometryError], match: str) -> None:
    write(folder / name, text)
    with pytest.raises(error, match=match):
        load_judged(folder)


def test_bad_jsonl_judgement_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="line 1: 'score' is missing"):
        read_qrels(write(tmp_path / "qrels.jsonl", '{"query-id": "q", "corpus-id": "d"}\n'))


def test_damaged_and_undecodable_files(folder: Path) -> None:
    whole = (folder / "corpus.jsonl.gz").read_bytes()
    (folder / "corpus.jsonl.gz").write_bytes(whole[:-12])
    with pytest.raises(Damaged, match=r"corpus.jsonl.gz is damaged"):
        load_judged(folder)
    (folder / "corpus.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(Damaged, match="is damaged"):
        load_judged(folder)
    (folder / "corpus.jsonl.gz").unlink()
    (folder / "corpus.jsonl").write_bytes(b'{"_id": "a", "text": "x"}\n{"_id": "\xff"}\n')
    with pytest.raises(BadRecord, match="line 2: not UTF-8"):
        load_judged(folder)


@pytest.mark.parametrize(
    ("missing", "match"), [("queries.jsonl", "no queries"), ("qrels.tsv", "no judgements"), (".", "not a folder")]
)
def test_missing_files_are_named(folder: Path, missing: str, match: str) -> None:
    if missing == ".":
        folder = folder / "nowhere"
    else:
        (folder / missing).unlink()
    with pytest.raises(NotFound, match=match):
        load_judged(folder)


def test_unknown_split_lists_the_splits(folder: Path) -> None:
    write(folder / "qrels_dev.tsv", QRELS)
    with pytest.raises(NotFound, match=r"qrels/deev.tsv, qrels_deev.tsv.*splits: dev"):
        load_judged(folder, "deev")


@pytest.mark.parametrize(
    ("name", "documents", "queries"),
    [("cranfield", 1_400, 225), ("med", 1_033, 30), ("cacm", 3_204, 52), ("limit/limit-small", 46, 1_000)],
)
def test_real_sets(shared_data: Path, name: str, documents: int, queries: int) -> None:
    judged = load_judged(shared_data / name)
    assert (len(judged.corpus), len(judged.queries)) == (documents, queries)


def test_real_split(shared_data: Path) -> None:
    with pytest.raises(DuplicateIds, match="PLAIN-1"):
        load_judged(shared_data / "nfcorpus", "dev")
    assert len(load_judged(shared_data / "nfcorpus", "dev", on_duplicate="skip").queries) == 324
