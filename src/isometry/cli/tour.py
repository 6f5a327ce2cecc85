"""The first two minutes: a real collection from the documentation of the installed Python, searched in several ways."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isometry.cli.failures import explained_interrupt
from isometry.cli.options import AsJson
from isometry.cli.output import print_json, print_table, readable_bytes
from isometry.cli.progress import progress

if TYPE_CHECKING:
    from isometry.collections import Collection, Hits


@dataclass(frozen=True)
class Question:
    """One search of the tour, and what a newcomer should see in it."""

    query: str
    mode: str
    where: str | None
    lesson: str


QUESTIONS = (
    Question(
        "a random password nobody can guess",
        "lexical",
        None,
        "Words: 'nobody' and 'random' are found, and mean something else.",
    ),
    Question(
        "a random password nobody can guess",
        "dense",
        None,
        "Meaning: the documentation says 'cryptographically strong' and 'tokens'.",
    ),
    Question(
        "IncompleteReadError",
        "lexical",
        None,
        "An exact name is where words beat meaning: all that mention it, and nothing else.",
    ),
    Question(
        "run a coroutine with a timeout",
        "hybrid",
        None,
        "Both rankings fused: a safe default when you don't know what will be asked.",
    ),
    Question(
        "open a compressed file",
        "hybrid",
        "origin = 'stdlib' and kind = 'function' and array_has(raises, 'ValueError')",
        "A filter is exact: what fails it never takes the place of a hit.",
    ),
    Question(
        "wait until something is finished",
        "dense",
        "is_async and lines < 40",
        "Numbers, booleans, dates and lists can be compared too.",
    ),
)
HITS = 4


def demo(
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="COLLECTION", help="Folder to keep the collection in. Default: removed at the end."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=50, max=100_000, help="Most entries to read.")
    ] = 6000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the collection named by --to.")] = False,
    as_json: AsJson = False,
) -> None:
    """Search the documentation of the Python on this machine: no download, one to two minutes.

    It reads the docstrings of the standard library and of the installed packages, stores them with their attributes,
    and asks the same collection by meaning, by words and with filters.
    """
    hint = "Interrupted. Run it again with --limit 1000 for a shorter tour."
    with explained_interrupt(lambda: hint), _folder(to) as folder:
        figures = _run(folder, limit, overwrite, as_json)
    if as_json:
        print_json(figures)
    else:
        _print_next_steps(to)


@contextmanager
def _folder(to: str | None) -> Iterator[Path]:
    if to is not None:
        Path(to).parent.mkdir(parents=True, exist_ok=True)
        yield Path(to)
        return
    with tempfile.TemporaryDirectory(prefix="isometry-demo-") as scratch:
        yield Path(scratch, "python-docs.iso")


def _run(folder: Path, limit: int, overwrite: bool, as_json: bool) -> dict[str, Any]:
    import isometry as iso
    from isometry.demo import gather
    from isometry.encoders import DEFAULT_ENCODER

    def say(text: str) -> None:
        if not as_json:
            typer.echo(text)

    started = time.perf_counter()
    entries = gather(limit)
    gathered = time.perf_counter() - started
    packages = len({entry["package"] for entry in entries})
    python = f"Python {platform.python_version()}"
    say(f"Read {len(entries):,} entries of {packages} packages of {python} in {gathered:.1f} s.")

    with iso.create(folder, encoder=DEFAULT_ENCODER, overwrite=overwrite) as docs:
        with progress() as report:
            added = docs.add(entries, progress=report)
            built = docs.build(progress=report)
        rate = added.added / added.seconds
        model = docs.encoder.fingerprint.name if docs.encoder else "no encoder"
        say(f"Encoded and stored them in {added.seconds:.1f} s ({rate:.0f} a second) with {model}.")
        if built.recall is not None and built.recall_interval is not None:
            low, high = built.recall_interval
            say(
                f"Built the index {built.spec} in {built.seconds:.1f} s: recall@10 {built.recall:.4f} "
                f"[{low:.4f}, {high:.4f}] against exact search over {built.recall_queries} of the vectors."
            )
        stats = docs.stats()
        size = stats.bytes_documents + stats.bytes_index
        say(
            f"On disk: {readable_bytes(size)} ({readable_bytes(stats.bytes_documents)} documents and vectors, "
            f"{readable_bytes(stats.bytes_index)} index)."
        )
        answers = [_ask(docs, question, as_json) for question in QUESTIONS]
    return {
        "entries": len(entries),
        "packages": packages,
        "seconds_gather": gathered,
        "seconds_add": added.seconds,
        "entries_per_second": rate,
        "build": built.to_dict(),
        "bytes": size,
        "seconds": time.perf_counter() - started,
        "questions": answers,
    }


def _ask(docs: Collection, question: Question, as_json: bool) -> dict[str, Any]:
    started = time.perf_counter()
    hits = docs.search(question.query, HITS, mode=question.mode, where=question.where)
    milliseconds = 1000 * (time.perf_counter() - started)
    if not as_json:
        _print_answer(question, hits, milliseconds)
    asked = {"query": question.query, "mode": question.mode, "where": question.where}
    return {**asked, "milliseconds": milliseconds, "ids": hits.ids, "scores": hits.scores}


def _print_answer(question: Question, hits: Hits, milliseconds: float) -> None:
    condition = f"  where {question.where}" if question.where else ""
    typer.echo(f"\n“{question.query}”  {question.mode}{condition}  ({milliseconds:.0f} ms)")
    typer.echo(f"  {question.lesson}")
    rows = [[f"{hit.score:.3f}", hit.id, hit.row["kind"], hit.row["text"][:80]] for hit in hits]
    print_table({"score": "right", "id": "left", "kind": "left", "text": "wrap"}, rows)


def _print_next_steps(kept: str | None) -> None:
    typer.echo("\nGo on:")
    if kept:
        typer.echo(f"""  isometry search {kept} "parse a date" --where "origin = 'stdlib'" -k 5""")
        typer.echo(f"  isometry stats {kept}")
    else:
        typer.echo("  isometry demo --to python-docs.iso              keep the collection, to search it yourself")
    typer.echo("  isometry index papers.jsonl.gz --to papers.iso  a collection from your own records")
    typer.echo("""  isometry search papers.iso "graph neural networks" --where "year >= 2019" -k 5""")
    typer.echo("  isometry --help                                 everything else")
