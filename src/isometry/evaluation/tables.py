"""The figures of a result as a table: one row per data set and method, one column per measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from isometry.evaluation.result import Figure, Outcome, Result


def as_rows(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of an outcome's figures, baselines last within their data set.

    A cell holds the value, its interval and the paper's number where they are known.
    """
    measures = list(dict.fromkeys(figure.measure for figure in (*outcome.figures, *outcome.baselines)))
    cells: dict[tuple[str, str, bool], dict[str, str]] = {}
    for baseline, figures in ((False, outcome.figures), (True, outcome.baselines)):
        for figure in figures:
            cells.setdefault((figure.data, figure.method, baseline), {})[figure.measure] = _cell(figure)
    order = list(dict.fromkeys(data for data, _, _ in cells))
    rows = [
        [data, f"{method} (baseline)" if baseline else method, *(found.get(measure, "") for measure in measures)]
        for (data, method, baseline), found in sorted(cells.items(), key=lambda item: order.index(item[0][0]))
    ]
    return ["data", "method", *measures], rows


def as_markdown(outcome: Outcome) -> str:
    """Return the figures as a Markdown table; empty when there are none."""
    header, rows = as_rows(outcome)
    if not rows:
        return ""
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)], *rows]
    return "\n".join(f"| {' | '.join(escape(cell) for cell in line)} |" for line in lines) + "\n"


def as_rich(result: Result) -> RenderableType:
    """Return what a terminal or notebook shows of a result."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    header, rows = as_rows(result)
    table = Table(title=Text(result.title))
    for number, name in enumerate(header):
        table.add_column(Text(name), justify="left" if number < 2 else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    colour = {"holds": "green", "partly": "yellow", "does not hold": "red"}.get(result.verdict, "dim")
    return Group(
        table,
        Text.assemble(("Claim: ", "bold"), result.claim),
        Text.assemble(("Verdict: ", "bold"), (result.verdict, colour), f". {result.because}"),
        Text(str(result.environment), style="dim"),
    )


def escape(text: str) -> str:
    """Keep Markdown from reading a cell as anything but text."""
    for mark in "\\`*_|<[":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def number(value: float) -> str:
    """Write a number with four figures, large ones with thousands separators."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _cell(figure: Figure) -> str:
    parts = [number(figure.value)]
    if figure.low is not None and figure.high is not None:
        parts.append(f"[{number(figure.low)}, {number(figure.high)}]")
    if figure.paper is not None:
        parts.append(f"(paper {number(figure.paper)})")
    return " ".join(parts)
