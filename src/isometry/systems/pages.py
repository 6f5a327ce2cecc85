"""The docs page of every system, made from the registry and from the results that were measured."""

from __future__ import annotations

from pathlib import Path

from isometry.evaluation import Result, picture_name
from isometry.evaluation.tables import escape
from isometry.systems import all_systems
from isometry.systems.base import STAGES, System


def all_pages(results: Path | None = None) -> dict[str, str]:
    """Return the Markdown of every page by name, the list of systems as ``index``.

    Parameters
    ----------
    results : Path, optional
        Folder with ``<name>.json`` files as `Result.save` writes them; a page without one says how to make it.
    """
    found = {system.name: _result(system, results) for system in all_systems()}
    pages = {system.name: page(system, found[system.name]) for system in all_systems()}
    return {"index": index(found)} | pages


def page(system: System, result: Result | None = None) -> str:
    """Return the page of one system."""
    sections = [
        f"# {escape(system.title)}",
        escape(system.summary),
        f"[{escape(system.paper.title)}]({system.paper.url}). {escape(_citation(system))}",
        f"State: **{system.state}** · Stage: {system.stage} · Rooms: {', '.join(system.rooms)}",
        "## The claim",
        escape(system.claim),
    ]
    if system.first_look:
        sections += ["## What a first look found", escape(system.first_look)]
    sections += ["## Measured again", *_measured(system, result)]
    sections += ["## Parts", _parts(system)]
    sections += ["## Before you rely on it", "\n".join(f"- {escape(pitfall)}" for pitfall in system.pitfalls)]
    return "\n\n".join(sections) + "\n"


def index(results: dict[str, Result | None]) -> str:
    """Return the list of systems, by stage.

    Parameters
    ----------
    results : dict of str to Result or None
        By the system's name.
    """
    sections = [
        "# The systems",
        "Published methods as compositions of the library's parts. Each page holds the paper's claim, what reading it "
        "found, and, for those that work, the claim measured again by one command next to its baselines.",
    ]
    systems = all_systems()
    for stage in STAGES:
        members = [system for system in systems if system.stage == stage]
        if not members:
            continue
        rows = ["| system | state | verdict on its claim |", "| --- | --- | --- |"]
        for system in members:
            result = results.get(system.name)
            verdict = result.verdict if result else ""
            rows.append(f"| [{escape(system.title)}]({system.name}.md) | {system.state} | {verdict} |")
        sections += [f"## {stage.capitalize()}", "\n".join(rows)]
    return "\n\n".join(sections) + "\n"


def _measured(system: System, result: Result | None) -> list[str]:
    if system.state == "planned":
        return ["Planned: its parts or its experiment are still missing, so nothing has been measured yet."]
    if result is None:
        return ["No result is kept with the documentation yet.", _command(f"isometry reproduce {system.name}")]
    table = result.to_markdown()
    pictures = [f"![{escape(plot.title)}]({picture_name(result, plot)})" for plot in result.plots]
    return [
        f"Verdict: **{result.verdict}**. {escape(result.because)}",
        *([table.rstrip()] if table else []),
        *pictures,
        f"Measured on {escape(str(result.environment))}.",
        _command(result.environment.command),
    ]


def _parts(system: System) -> str:
    missing = set(system.missing_parts())
    return "\n".join(f"- `{part}`{' (planned)' if part in missing else ''}" for part in system.parts)


def _citation(system: System) -> str:
    paper = system.paper
    venue = f"{paper.venue}, " if paper.venue else ""
    source = f"arXiv:{paper.arxiv}" if paper.arxiv else f"doi:{paper.doi}"
    note = f" ({paper.note})" if paper.note else ""
    return f"{paper.authors.rstrip('.')}. {venue}{paper.year}, {source}{note}."


def _command(command: str) -> str:
    return f"```\n{command}\n```"


def _result(system: System, results: Path | None) -> Result | None:
    path = None if results is None else results / f"{system.name}.json"
    return Result.load(path) if path is not None and path.is_file() else None
