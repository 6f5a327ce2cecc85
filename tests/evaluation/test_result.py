"""Results: what is saved is what is loaded, what is shown, and that a damaged file never passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from isometry.errors import Damaged, InvalidInput, MissingExtra, NewerFormat, NotFound
from isometry.evaluation import Environment, Estimate, Figure, Outcome, Plot, Result, draw_all, figures_of, measure


@pytest.fixture
def result() -> Result:
    ours = Figure.of(Estimate(0.5, 0.4, 0.6, 30), data="tiny", method="dense", measure="nDCG@10", paper=0.55)
    outcome = Outcome(
        verdict="partly",
        because="0.5 against 0.25 [of BM25].",
        figures=(ours, Figure(data="tiny", method="dense", measure="documents", value=12_345, note="counted")),
        baselines=(Figure(data="tiny", method="BM25", measure="nDCG@10", value=0.25),),
        plots=(Plot(name="recall", title="R", x_label="d", y_label="recall", curves={"a": [[1, 0.5], [2, 0.75]]}),),
        settings={"dims": [1, 2], "tau": 0.1},
    )
    environment = Environment.capture(seed=3, command="isometry reproduce tiny", wall_s=1.25)
    return Result.of(outcome, name="tiny", title="A tiny system", claim="It works.", environment=environment)


def test_round_trip(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "tiny.json")
    assert Result.load(tmp_path / "tiny.json") == result


def test_environment_tells_where_it_was_measured(result: Result) -> None:
    environment = result.environment
    assert environment.packages["numpy"]
    assert environment.cores >= 1
    assert environment.threads == environment.cores
    assert "seed 3" in str(environment)
    assert Environment.capture(seed=0, command="", wall_s=0, threads=1).threads == 1


def test_markdown(result: Result) -> None:
    assert result.to_markdown() == (
        "| data | method | nDCG@10 | documents |\n"
        "| --- | --- | ---: | ---: |\n"
        "| tiny | dense | 0.5 \\[0.4, 0.6] (paper 0.55) | 12,345 |\n"
        "| tiny | BM25 (baseline) | 0.25 |  |\n"
    )


def test_rich_shows_everything_and_reads_no_markup(result: Result) -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(result)
    shown = console.export_text()
    for part in ("A tiny system", "0.5 [0.4, 0.6] (paper 0.55)", "BM25 (baseline)", "partly", "[of BM25]", "seed 3"):
        assert part in shown


def test_figures_of_a_run() -> None:
    measured = measure({"q": {"d": 1.0}}, {"q": {"d": 1}}, ["RR@10", "AP"])
    figures = figures_of(measured, data="tiny", method="x", paper={"AP": 0.9})
    assert [(figure.measure, figure.value, figure.paper, figure.n) for figure in figures] == [
        ("RR@10", 1.0, None, 1),
        ("AP", 1.0, 0.9, 1),
    ]


def test_pictures(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    (picture,) = draw_all(result, tmp_path / "new")
    assert picture.name == "tiny-recall.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"isometry\[plot\]"):
        draw_all(result, tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"value": float("nan")}, "value of m of x on d is nan"),
        ({"low": 0.1}, "one end"),
        ({"paper": float("inf")}, "paper of m"),
    ],
)
def test_figures_are_checked(change: dict, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        Figure(**{"data": "d", "method": "x", "measure": "m", "value": 1.0} | change)


def test_outcomes_are_checked() -> None:
    figure = Figure(data="d", method="x", measure="m", value=1.0)
    with pytest.raises(InvalidInput, match="two figures are called"):
        Outcome(verdict="holds", because="b", figures=(figure,), baselines=(figure,))
    with pytest.raises(InvalidInput, match="did you mean 'holds'"):
        Outcome(verdict="hold", because="b", figures=())
    with pytest.raises(InvalidInput, match="because is empty"):
        Outcome(verdict="holds", because="", figures=())
    with pytest.raises(InvalidInput, match="curve 'a'"):
        Plot(name="p", title="", x_label="", y_label="", curves={"a": [[1.0]]})
    with pytest.raises(InvalidInput, match="plot name"):
        Plot(name="../p", title="", x_label="", y_label="", curves={})


def damage(record: dict[str, Any], path: tuple, value: Any) -> dict[str, Any]:
    spot = record
    for key in path[:-1]:
        spot = spot[key]
    if value is ...:
        del spot[path[-1]]
    else:
        spot[path[-1]] = value
    return record


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kind",), "other"),
        (("format",), 0),
        (("format",), "1"),
        (("name",), ...),
        (("name",), 3),
        (("verdict",), "sure"),
        (("verdict",), ["holds"]),
        (("figures",), {}),
        (("figures", 0), 1),
        (("figures", 0, "value"), "0.5"),
        (("figures", 0, "value"), True),
        (("figures", 0, "value"), None),
        (("figures", 0, "high"), None),
        (("figures", 0, "n"), 1.5),
        (("plots", 0, "curves", "a"), [[1, "x"]]),
        (("plots", 0, "curves", "a"), 5),
        (("plots", 0, "name"), "../x"),
        (("settings",), []),
        (("environment",), None),
        (("environment", "seed"), "0"),
        (("environment", "wall_s"), ...),
    ],
)
def test_a_damaged_file_is_refused(result: Result, tmp_path: Path, path: tuple, value: Any) -> None:
    file = tmp_path / "r.json"
    file.write_text(json.dumps(damage(json.loads(json.dumps(result.to_dict())), path, value)))
    with pytest.raises(Damaged):
        Result.load(file)


def test_other_files_are_refused(result: Result, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Result.load(tmp_path / "none.json")
    file = tmp_path / "r.json"
    file.write_text("[]")
    with pytest.raises(Damaged):
        Result.load(file)
    file.write_text(json.dumps(result.to_dict() | {"format": 2}))
    with pytest.raises(NewerFormat, match="upgrade"):
        Result.load(file)
