"""The command `tune`: on an array and on a collection, in each form of output."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import isometry as iso
from isometry.cli import app
from isometry.testing.estimator import vectors
from isometry.tuning import Plan, halving

X = vectors(400, 1)


@pytest.fixture(autouse=True)
def few_parts(monkeypatch):
    """Only some of the parts, so that few kernels have to be compiled."""
    monkeypatch.setattr(halving, "parts", lambda: dict.fromkeys(("Flat", "Vamana", "LVQ", "Float16")))


def run(*words: object):
    return CliRunner().invoke(app, ["tune", *map(str, words)])


@pytest.fixture
def array(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return tmp_path / "x.npy"


@pytest.fixture
def notes(tmp_path):
    collection = iso.create(tmp_path / "notes.iso", encoder=None)
    collection.add([{"id": f"n{i}", "text": f"note {i}"} for i in range(len(X))], vectors=X)
    collection.close()
    return tmp_path / "notes.iso"


def test_an_array_is_tuned_and_drawn(array, tmp_path):
    pytest.importorskip("matplotlib")
    kept = tmp_path / "kept"
    words = [array, "--recall", 0.8, "--threads", 1, "--resume", kept]
    result = run(*words, "--html", tmp_path / "t.html", "--png", tmp_path / "t.png", "--save", tmp_path / "t.json")
    assert result.exit_code == 0, result.stderr
    first, plan, *_ = result.stdout.splitlines()
    assert first.endswith("has recall@10 of at least 0.8, with the fewest bytes.")
    assert plan.split("\t")[0] == "plan"
    assert (tmp_path / "t.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    stored = Plan.from_json(tmp_path / "t.json")
    assert stored.spec == plan.split("\t")[1]
    again = json.loads(run(*words, "--json").stdout)
    assert again["best"] == json.loads((tmp_path / "t.json").read_text())["best"]
    assert (again["met"], again["build"]) == (True, None)


def test_a_collection_is_tuned_and_built(notes):
    result = run(notes, "--bytes-per-vector", 60, "--apply")
    assert result.exit_code == 0, result.stderr
    assert "Built LVQ" in result.stdout or "Built Float16" in result.stdout
    assert "--effort" in result.stderr
    with iso.open(notes) as collection:
        spec = collection.stats().spec
        assert f"Built {spec} over 400 documents" in result.stdout
        assert collection.search(X[3], 1).ids == ["n3"]


def test_what_can_not_be_met_is_shown_and_not_built(notes):
    result = run(notes, "--memory", f"{40 * len(X)} bytes", "--recall", 0.99, "--apply")
    assert result.exit_code == 1
    assert result.stdout.startswith("Nothing that was tried has recall@10 of at least 0.99 and at most 40 bytes")
    assert "nearest in recall" in result.stdout
    assert "nearest in bytes" in result.stdout
    assert "Nothing was built" in result.stderr
    with iso.open(notes) as collection:
        assert collection.stats().spec is None


def test_queries_and_judgements_come_from_files(array, tmp_path):
    pytest.importorskip("ir_measures")
    np.save(tmp_path / "q.npy", X[:60] + np.float32(0.01))
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{i}\t{i}\t1\n" for i in range(60)))
    said = json.loads(
        run(
            array, "--ndcg-loss", 0.05, "--queries", tmp_path / "q.npy", "--qrels", tmp_path / "qrels.tsv", "--json"
        ).stdout
    )
    assert said["met"]
    assert said["best"]["ndcg"]["mean"] > 0.9
    assert said["settings"]["own_queries"]


@pytest.mark.parametrize(
    ("words", "told", "status"),
    [
        ([], "no bound is given", 1),
        (["--recall", 3], "recall is 3", 1),
        (["--memory", "much"], "200MB", 1),
        (["--recall", 0.9, "--apply"], "--apply", 2),
        (["--recall", 0.9, "--qrels", "q.tsv"], "--queries", 2),
        (["--recall", 0.9, "--queries", "no.npy"], "no.npy", 1),
        (["--recall", 0.9, "--metric", "hamming"], "hamming", 1),
    ],
)
def test_what_is_wrong_is_explained(array, words, told, status):
    result = run(array, *words)
    assert result.exit_code == status
    assert told in result.stderr
    assert "Traceback" not in result.output


def test_files_that_hold_no_vectors_are_refused(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"not an array")
    assert "can't be read as an array" in run(tmp_path / "x.npy", "--recall", 0.9).stderr
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "can't be read as an array" in run(tmp_path / "x.npy", "--recall", 0.9).stderr
    assert "no file" in run(tmp_path / "absent.npy", "--recall", 0.9).stderr
    assert run(tmp_path / "absent.iso", "--recall", 0.9).exit_code == 1
