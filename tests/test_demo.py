"""The documents of the demo: gathered from sources, bounded, the same every time, nothing imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isometry import demo
from isometry.errors import InvalidInput

FIELDS = {"id", "title", "text", "kind", "module", "package", "origin", "signature", "lines", "raises"}
FIELDS |= {"is_async", "deprecated"}

GATHER = """
import json, sys
from isometry.demo import gather
entries = gather()
assert not {"torch", "numpy", "rich"} & sys.modules.keys(), "a package was imported"
json.dump(entries, sys.stdout)
"""


@pytest.fixture(scope="module")
def two_runs():
    """What two fresh interpreters print: a test runner replaces parts of `sys`, and its imports prove nothing."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", GATHER], stdout=subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": seed}
        )
        for seed in ("1", "2")
    ]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    return outputs


@pytest.fixture(scope="module")
def entries(two_runs):
    return json.loads(two_runs[0])


def test_every_run_gathers_the_same(two_runs):
    assert two_runs[0] == two_runs[1]


def test_entries_fill_the_limit_with_every_kind_and_origin(entries):
    assert len(entries) == 6000
    assert {entry["origin"] for entry in entries} == {"stdlib", "installed"}
    assert {entry["kind"] for entry in entries} == {"module", "class", "function", "method"}
    assert len({entry["package"] for entry in entries}) > 100


def test_entries_are_uniform_unique_and_sorted(entries):
    assert all(set(entry) == FIELDS for entry in entries)
    ids = [entry["id"] for entry in entries]
    assert ids == sorted(set(ids))
    for entry in entries:
        assert demo.MIN_TEXT <= len(entry["text"]) <= demo.MAX_TEXT
        assert "\n" not in entry["text"]
        assert entry["id"].startswith(entry["module"])
        assert entry["module"].split(".")[0] == entry["package"]
        entry["text"].encode("utf-8")


def test_known_functions_are_described(entries):
    by_id = {entry["id"]: entry for entry in entries}
    rmtree = by_id["shutil.rmtree"]
    assert rmtree["text"].startswith("Recursively delete a directory tree.")
    assert rmtree["signature"].startswith("rmtree(path, ignore_errors=False")
    assert rmtree["lines"] > 5
    assert by_id["asyncio.tasks.wait_for"]["is_async"]
    assert by_id["math.gcd"]["lines"] is None, "compiled functions have no source"


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "many"])
def test_a_limit_that_is_no_positive_integer_is_refused(limit):
    with pytest.raises(InvalidInput, match="limit"):
        demo.gather(limit)


def write(path: Path, source: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    return path


def test_a_source_is_read_into_entries(tmp_path):
    source = '''"""What the module is good for."""
import sys

if sys.platform == "plan9":
    def chosen(a, b=1, *rest, c: int) -> str:
        """Choose between things, once."""
        raise ValueError(a)
else:
    def chosen(a):
        """Choose between things, twice."""

class Box(dict):
    """A box that keeps what is put into it.

    Details follow.
    """
    async def open(self):
        """Open the box without waiting."""
        raise
    def _hidden(self):
        """Not shown to anybody at all."""
    def silent(self): ...

def _private():
    """Not shown to anybody at all."""
'''
    found = list(demo._of_file(write(tmp_path / "m.py", source), "m", "installed"))
    assert [entry["id"] for entry in found] == ["m", "m.chosen", "m.chosen", "m.Box", "m.Box.open"]
    chosen, box, opened = found[1], found[3], found[4]
    assert chosen["signature"] == "chosen(a, b=1, *rest, c: int) -> str"
    assert chosen["raises"] == ["ValueError"]
    assert box["text"] == "A box that keeps what is put into it. Details follow."
    assert (opened["kind"], opened["is_async"], opened["raises"]) == ("method", True, [])


@pytest.mark.parametrize(
    "source",
    [
        b"def broken(:\n",
        b"\x00\x01\x02",
        b"# coding: no-such-codec\n",
        b"\xff\xfe not utf-8",
        b"x = " + b"(" * 10_000,
        b'"""' + b"a" * (demo.MAX_SOURCE_BYTES + 1) + b'"""',
    ],
    ids=["syntax", "binary", "codec", "encoding", "nesting", "size"],
)
def test_sources_that_cannot_be_read_are_passed_over(tmp_path, source):
    assert list(demo._of_file(write(tmp_path / "bad.py", source), "bad", "installed")) == []


def test_half_a_surrogate_pair_does_not_reach_the_text(tmp_path):
    source = '"""A lone \\ud800 surrogate in the middle of the text."""\n'
    (entry,) = demo._of_file(write(tmp_path / "m.py", source), "m", "installed")
    entry["text"].encode("utf-8")


def test_private_test_and_linked_folders_are_left_out(tmp_path):
    doc = '"""Some words that are long enough."""\n'
    for folder in ("", "sub", "_private", "tests", "no_init"):
        write(tmp_path / "pkg" / folder / "a.py", doc)
        if folder != "no_init":
            write(tmp_path / "pkg" / folder / "__init__.py", doc)
    (tmp_path / "pkg" / "loop").symlink_to(tmp_path / "pkg")
    modules = [module for _, module in demo._sources(tmp_path / "pkg", "pkg")]
    assert modules == ["pkg", "pkg.a", "pkg.sub", "pkg.sub.a"]


def test_a_long_docstring_keeps_whole_paragraphs():
    short, long = "First paragraph.", "word " * 200
    assert demo._opening(f"{short}\n\n{long}") == short
    cut = demo._opening(long)
    assert len(cut) <= demo.MAX_TEXT
    assert cut.endswith("word…")
