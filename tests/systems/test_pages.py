"""Pages of the docs: one per system, from what is written down and measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from isometry.errors import InvalidInput, NotFound
from isometry.evaluation import Figure, Outcome, Plot
from isometry.systems import all_systems, get_system
from isometry.systems.pages import all_pages, page


def measure_nothing(*, seed: int, size: str, data: Path | None, progress: Any) -> Outcome:
    figure = Figure(data="tiny", method="ours", measure="R@10", value=0.5 + seed, paper=0.6)
    plot = Plot(name="curve", title="A [curve]", x_label="x", y_label="y", curves={"a": [[0, 1]]})
    return Outcome(verdict="holds", because=f"{size} is enough.", figures=(figure,), plots=(plot,))


WORKING = dataclasses.replace(get_system("limit"), parts=("isometry.indexes.Flat",), experiment=measure_nothing)


def test_every_system_has_a_page_and_a_row_in_the_index() -> None:
    pages = all_pages()
    assert set(pages) == {"index", *(system.name for system in all_systems())}
    for system in all_systems():
        assert f"({system.name}.md)" in pages["index"]
        assert pages[system.name].startswith("# ")


def test_pages_have_no_trailing_noise() -> None:
    for text in all_pages().values():
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        assert "\n\n\n" not in text
        assert all(line == line.rstrip() for line in text.splitlines())


def test_a_planned_system_says_what_is_missing() -> None:
    text = page(get_system("crisp"))
    assert "State: **planned**" in text
    assert "Planned: its parts or its experiment are still missing" in text
    assert "`isometry.learning.pooling.TokenClusters` (planned)" in text


def test_a_measured_system_shows_table_picture_verdict_and_command(tmp_path: Path) -> None:
    result = WORKING.reproduce(size="full", seed=0, data=tmp_path)
    text = page(WORKING, result)
    for part in (
        "Verdict: **holds**. full is enough.",
        "| tiny | ours | 0.5 (paper 0.6) |",
        "![A \\[curve]](limit-curve.png)",
        "isometry reproduce limit --size full --seed 0 --data FOLDER",
    ):
        assert part in text
    assert "isometry reproduce limit" in page(WORKING)


def test_reproduce_checks_its_arguments_and_fills_in_the_environment(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="size is 'huge'"):
        WORKING.reproduce(size="huge")
    with pytest.raises(InvalidInput, match="seed is -1"):
        WORKING.reproduce(seed=-1)
    with pytest.raises(NotFound, match="not a folder"):
        WORKING.reproduce(data=tmp_path / "none")
    result = WORKING.reproduce(seed=2)
    assert (result.name, result.claim, result.environment.seed) == ("limit", WORKING.claim, 2)
    assert result.figures == WORKING.reproduce(seed=2).figures


def test_results_are_read_from_their_folder(tmp_path: Path) -> None:
    WORKING.reproduce().save(tmp_path / "limit.json")
    assert "| holds |" in all_pages(tmp_path)["index"]


def test_kept_results_are_current() -> None:
    kept = Path(__file__).parents[2] / "benchmarks" / "results" / "systems"
    known = {system.name for system in all_systems() if system.state == "works"}
    assert {path.stem for path in kept.glob("*.json")} <= known
    all_pages(kept)
