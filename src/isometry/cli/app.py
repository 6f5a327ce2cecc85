"""The list of commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from isometry._version import __version__
from isometry.cli import diagnosing, measuring, migrating, preparing, reading, tour, tuning, writing
from isometry.cli.failures import Guarded

app = typer.Typer(
    name="isometry",
    cls=Guarded,
    help="Keep the meaning, drop the bytes: search, filter, compress and measure vector embeddings.",
    epilog="Start with: isometry demo",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _paragraphs(docstring: str) -> str:
    """Return a docstring with one line per paragraph, so that help fits any width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in docstring.split("\n\n"))


for panel, commands in {
    "Start": (tour.demo, writing.index, reading.search),
    "Change a collection": (writing.add, writing.delete, writing.build, tuning.tune, writing.optimize),
    "Change its encoder": (migrating.migrate,),
    "Look at a collection": (reading.stats, reading.verify, measuring.evaluate, diagnosing.diagnose),
    "Research": (measuring.systems, measuring.reproduce),
    "This machine": (preparing.warmup,),
}.items():
    for command in commands:
        app.command(rich_help_panel=panel, help=_paragraphs(command.__doc__ or ""))(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"isometry {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Keep the meaning, drop the bytes: search, filter, compress and measure vector embeddings."""


def main() -> None:
    """Run the command line; the exit status is 0, 1 (failed), 2 (wrong usage) or 130 (interrupted)."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:  # a document may hold characters that this terminal's encoding lacks
            reconfigure(errors="replace")
    app()
