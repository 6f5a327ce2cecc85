"""Results on stdout: a table on a terminal, tab-separated lines in a pipe, JSON on request; remarks on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import typer

# C0 and C1 controls: a document must not be able to move the cursor or recolour the terminal it is shown on.
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\N{REPLACEMENT CHARACTER}")
_CONTROLS |= dict.fromkeys(map(ord, "\t\n\r"), " ")


def printable(text: str) -> str:
    """Return `text` on one line, harmless to a terminal: white space becomes a blank, other controls become ``�``."""
    return text.translate(_CONTROLS)


def note(text: str) -> None:
    """Say something to the person, not to the next program in the pipe."""
    typer.echo(text, err=True)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print one JSON document; NaN and infinity, which JSON lacks, become null."""
    typer.echo(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=indent))


def _plain(value: Any) -> Any:
    """Reduce reports and rows (NumPy scalars, dates, nested containers) to what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return str(value)


def print_table(columns: Mapping[str, str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print rows of text.

    Parameters
    ----------
    columns : mapping of str to str
        Heading -> ``"left"``, ``"right"`` or ``"wrap"``. Only wrapped columns may take several lines.
    rows : iterable of sequences of str
        One text per column; shown as it is, never read as markup.
    title : str, optional
        Shown above the table on a terminal only.
    """
    if sys.stdout.isatty():
        _print_for_people(columns, rows, title)
    else:
        for row in rows:
            typer.echo("\t".join(map(printable, row)))


def _print_for_people(columns: Mapping[str, str], rows: Iterable[Sequence[str]], title: str | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(printable(title)) if title else None,
        title_justify="left",
        show_header=any(heading.strip() for heading in columns),
    )
    for heading, layout in columns.items():
        justify = "right" if layout == "right" else "left"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=layout != "wrap")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(file=sys.stdout).print(table)


def print_pairs(pairs: Mapping[str, Any], *, title: str | None = None) -> None:
    """Print names and values, one a line; nested mappings are spelled ``outer.inner``."""
    print_table({"": "left", " ": "wrap"}, [(name, readable(value)) for name, value in flattened(pairs)], title=title)


def flattened(pairs: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return (dotted name, value) of nested mappings, in order."""
    flat: list[tuple[str, Any]] = []
    for name, value in pairs.items():
        if isinstance(value, Mapping):
            flat += flattened(value, f"{prefix}{name}.")
        else:
            flat.append((f"{prefix}{name}", value))
    return flat


def readable(value: Any) -> str:
    """Return a value in few words: ``2019``, ``0.8312``, ``yes``, ``a, b``, and nothing for None."""
    value = _plain(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 100 else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(readable, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def readable_bytes(count: float) -> str:
    """Return ``12.3 MB`` (powers of ten) for a number of bytes."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return f"{count:.3g} TB"
