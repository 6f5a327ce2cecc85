"""The registry: one row per system, every field filled, parts of working systems resolve."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from isometry.errors import InvalidInput, NotBuilt, NotFound
from isometry.systems import Paper, System, all_systems, get_system, require
from isometry.systems.base import STAGES

ROWS = {  # name: state
    "muvera": "works",
    "seismic": "works",
    "leanvec": "works",
    "fanns": "works",
    "rag-storage": "works",
    "bebr": "works",
    "jpq": "works",
    "distill-vq": "works",
    "crisp": "planned",
    "lr2vq": "planned",
    "table-compression": "planned",
    "unified-embedding": "planned",
    "optembed": "planned",
    "frozen-unicode": "planned",
    "nv-embed": "planned",
    "kalm-embedding-v2": "planned",
    "peg": "planned",
    "t-vec": "planned",
    "e2rank": "planned",
    "sesa": "planned",
    "text-vectors": "planned",
    "embedding-survey": "planned",
    "vlm2vec": "planned",
    "vlm2vec-v2": "planned",
    "rzenembed": "planned",
    "pdf-embedding": "planned",
    "imaginator": "planned",
    "image-volume-ssl": "planned",
    "healthcare-alignment": "planned",
    "fastrp": "planned",
    "ngcf": "planned",
    "ebv": "planned",
    "resgen": "planned",
    "limit": "works",
    "restore": "planned",
    "debias": "planned",
}

SYSTEMS = all_systems()
each_system = pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)


def test_the_registry_is_the_table() -> None:
    assert {system.name: system.state for system in SYSTEMS} == ROWS


def test_systems_come_in_the_order_of_the_stages() -> None:
    places = [STAGES.index(system.stage) for system in SYSTEMS]
    assert places == sorted(places)


@each_system
def test_a_system_is_found_by_its_name_and_lives_in_a_file_of_that_name(system: System) -> None:
    assert get_system(system.name) is system
    assert import_module(f"isometry.systems.{system.name.replace('-', '_')}").SYSTEM is system


@each_system
def test_what_is_written_down_is_complete(system: System) -> None:
    assert system.claim.endswith(".")
    assert system.summary.endswith(".")
    assert len(system.pitfalls) >= 3
    assert all(part.startswith("isometry.") for part in system.parts)
    assert {part.split(".")[1] for part in system.parts} <= set(system.rooms)


@each_system
def test_parts_of_working_systems_exist(system: System) -> None:
    if system.state == "works":
        assert system.missing_parts() == ()


@each_system
def test_a_planned_system_says_so(system: System) -> None:
    if system.state == "works":
        return
    with pytest.raises(NotBuilt, match=f"{system.name} is planned"):
        system.reproduce()


@each_system
def test_as_plain_data(system: System) -> None:
    plain = system.to_dict()
    assert plain["state"] == system.state
    assert plain["paper"]["url"].startswith("https://")
    assert "experiment" not in plain


@pytest.mark.parametrize("name", ["muverra", "distill_vq", "", "../limit"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(InvalidInput, match="there is no system"):
        get_system(name)


def test_a_near_name_is_offered() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'muvera'"):
        get_system("muverra")


def test_the_registry_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'scipy', 'lance', 'pyarrow', 'ir_measures', 'sentence_transformers'}"
    code = f"import sys, isometry.systems as s; s.all_systems(); print(sorted({heavy} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_fields_are_checked() -> None:
    paper = Paper(title="T", authors="A, B, et al.", year=2020, arxiv="2001.00001", venue="V")
    assert str(paper) == "A, B, et al. T. 2020, V, arXiv:2001.00001."
    fields = {
        "name": "x",
        "title": "X",
        "summary": "S.",
        "stage": "search",
        "paper": paper,
        "rooms": ("indexes",),
        "parts": ("isometry.indexes.Flat",),
        "claim": "C.",
        "pitfalls": ("P.",),
    }
    assert System(**fields).state == "planned"
    for wrong in ({"name": "No Good"}, {"stage": "sarch"}, {"claim": ""}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            System(**fields | wrong)
    with pytest.raises(InvalidInput, match="neither"):
        Paper(title="T", authors="A", year=2020)
    with pytest.raises(InvalidInput, match=r"arxiv is '20\.1'"):
        Paper(title="T", authors="A", year=2020, arxiv="20.1")


def test_required_data_is_found_or_all_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert require(tmp_path, "a.txt") == [tmp_path / "a.txt"]
    with pytest.raises(NotFound, match=r"lacks b.txt, c \(from the moon\); the experiment needs 3"):
        require(tmp_path, "a.txt", "b.txt", "c", source="from the moon")
    with pytest.raises(NotFound, match=r"needs a.txt; say which folder .* --data FOLDER"):
        require(None, "a.txt")
