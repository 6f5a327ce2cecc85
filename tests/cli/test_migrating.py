"""`isometry migrate`: what it prints, asks, refuses, and leaves behind."""

from __future__ import annotations

import json
import re

import pytest

import isometry as iso
from tests.collections.encoders import Short, documents
from tests.test_cli import isometry, on_a_terminal

pytest.importorskip("wordllama")


@pytest.fixture
def papers(tmp_path):
    """A collection whose encoder can't be loaded by name any more, as if its model were gone."""
    with iso.create(tmp_path / "papers.iso", encoder=Short()) as collection:
        collection.add(documents(120))
        collection.build()
    return tmp_path / "papers.iso"


def test_measures_first_then_serves_then_switches_then_goes_back(papers):
    result = isometry("migrate", papers, "--encoder", "wordllama")
    assert result.exit_code == 0, result.stderr
    kept = re.search(r"finds (0\.\d{3}) \[(0\.\d{3}), ([01]\.\d{3})\] of the ten nearest documents", result.stdout)
    assert float(kept[2]) <= float(kept[1]) <= float(kept[3])
    assert "Planned: short-64" in result.stdout
    assert "Nothing has changed" in result.stderr
    assert isometry("search", papers, "sort a list", "--mode", "lexical").exit_code == 0
    assert isometry("search", papers, "sort a list", "--mode", "dense").exit_code == 1  # the old model is gone

    result = isometry("migrate", papers, "--until", "serving", "--yes")
    assert "Queries go through the map" in result.stdout
    found = isometry("search", papers, "sort a list", "--mode", "dense")
    assert "Queries of wordllama@" in found.stderr
    assert "isometry migrate" in found.stderr
    assert json.loads(isometry("stats", papers, "--json").stdout)["migration"]["stage"] == "serving"
    assert "migration.kept\t" in isometry("stats", papers).stdout

    result = isometry("migrate", papers)
    assert "Switched: short-64" in result.stdout
    assert "recall@10 1.0000" in result.stdout
    found = isometry("search", papers, "sort a list", "--mode", "dense")
    assert found.stderr == ""

    result = isometry("migrate", papers, "--rollback")
    assert f"Rolled back: {papers} is searched by short-64" in result.stdout
    assert isometry("verify", papers).exit_code == 0


def test_as_json_and_to_the_end(papers):
    plan = json.loads(isometry("migrate", papers, "--encoder", "wordllama", "--until", "planned", "--json").stdout)
    assert (plan["stage"], plan["embedded"], plan["documents"]) == ("planned", 0, 120)
    assert plan["judged"] == plan["pairs"] // 5
    done = isometry("migrate", papers, "--yes", "--json", "--batch-rows", 50)
    assert json.loads(done.stdout)["build"]["documents"] == 120
    refused = isometry("migrate", papers, "--finish")
    assert refused.exit_code == 2
    ended = json.loads(isometry("migrate", papers, "--finish", "--yes", "--json").stdout)
    assert ended["encoder"].startswith("wordllama@")
    assert json.loads(isometry("stats", papers, "--json").stdout)["migration"] is None


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        ([], 1, "name the new encoder"),
        (["--rollback"], 1, "no migration to roll back"),
        (["--finish", "--yes"], 1, "none to finish"),
        (["--rollback", "--finish"], 2, "one of them"),
        (["--rollback", "--encoder", "wordllama"], 2, "leave --encoder out"),
        (["--encoder", "no/such-model"], 1, "no encoder 'no/such-model'"),
        (["--encoder", "wordllama", "--sample", 10], 1, "at least 50"),
        (["--encoder", "wordllama", "--sample", -1], 2, "sample"),
        (["--encoder", "wordllama", "--until", "done"], 2, "until"),
    ],
)
def test_refusals(papers, words, status, why):
    result = isometry("migrate", papers, *words)
    assert result.exit_code == status
    assert why in re.sub(r"[\s│]+", " ", result.stderr)


def test_asks_a_person(papers):
    for answer, stage in (("n", "planned"), ("y", "switched")):
        seen = on_a_terminal("migrate", papers, "--encoder", "wordllama", typed=f"{answer}\n")
        assert "encode the documents anew?" in seen
        assert json.loads(isometry("stats", papers, "--json").stdout)["migration"]["stage"] == stage
