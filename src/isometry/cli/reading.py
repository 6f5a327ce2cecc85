"""Commands that only look: search, stats, verify."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isometry.cli.failures import FAILED
from isometry.cli.options import AsJson, CollectionPath, Effort, SearchMode, Threads, Where, split_names
from isometry.cli.output import note, print_json, print_pairs, print_table, readable, readable_bytes
from isometry.errors import InvalidInput, did_you_mean

if TYPE_CHECKING:
    from isometry.collections import Collection, Hits, TermMatch, TokenMatch

_LINES_AT_ONCE = 64
_SNIPPET = 160
_TERMS = 8


def search(
    collection: CollectionPath,
    queries: Annotated[
        list[str], typer.Argument(metavar="QUERY", help="One or more texts; - reads one query per line of stdin.")
    ],
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="Most hits per query.")] = 10,
    where: Where = None,
    mode: SearchMode = None,
    effort: Effort = None,
    threads: Threads = None,
    show: Annotated[
        str | None, typer.Option("--show", metavar="FIELDS", help="Fields to show beside the text: year,venue.")
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Show which terms query and hit share and what each adds, which token answers which, and how a "
            "filter was gone about.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find the best documents for a query, among those that match a filter.

    In a pipe the hits come as tab-separated lines: query, rank, score, id, text, then the fields of --show, then with
    --explain the terms and tokens. With --json each query gives one line of JSON.
    """
    import isometry as iso

    with iso.open(collection) as opened:
        fields = split_names(show)
        unknown = [name for name in fields if name not in opened.schema.names]
        if unknown:
            known = opened.schema.names
            raise InvalidInput(
                f"--show names {unknown[0]!r}; the fields are {', '.join(known)}{did_you_mean(unknown[0], known)}"
            )
        mapped = None
        for texts in _batches(queries):
            found = opened.search(
                texts, k, mode=mode and mode.value, where=where, effort=effort, threads=threads, explain=explain
            )
            for text, hits in zip(texts, found, strict=True):
                if as_json:
                    print_json({"query": text, **hits.to_dict(explain=explain)}, indent=None)
                else:
                    _print_hits(text, hits, opened, fields, explain)
                mapped = hits.mapped
        if mapped is not None:
            note(f"{mapped[0].upper()}{mapped[1:]}: less is found than after isometry migrate {collection}")


def _batches(queries: Iterable[str]) -> Iterator[list[str]]:
    """Yield the queries in batches that are encoded together; a person typing gets an answer after each line."""
    if list(queries) != ["-"]:
        yield list(queries)
        return
    lines = (line.strip() for line in sys.stdin)
    texts = (line for line in lines if line)
    while batch := list(islice(texts, 1 if sys.stdin.isatty() else _LINES_AT_ONCE)):
        yield batch


def _print_hits(query: str, hits: Hits, collection: Collection, fields: list[str], explain: bool) -> None:
    rows = [
        [str(rank), f"{hit.score:.4f}", hit.id, _text(hit, collection), *(readable(hit.row[name]) for name in fields)]
        for rank, hit in enumerate(hits, start=1)
    ]
    layout = {"": "right", "score": "right", "id": "left", "text": "wrap"} | dict.fromkeys(fields, "left")
    if explain:
        layout["because"] = "wrap"
        reasons = zip(hits.terms, hits.tokens, strict=True)
        rows = [[*row, _reasons(*reason)] for row, reason in zip(rows, reasons, strict=True)]
    if hits.plan is not None:
        note(f"Filter for {query!r}: {hits.plan}")
    if not sys.stdout.isatty():
        print_table({"query": "left", **layout}, ([query, *row] for row in rows))
    elif rows:
        print_table(layout, rows, title=f"{query}  ({hits.mode})")
    else:
        note(f"No hit for {query!r} ({hits.mode}).")


def _reasons(terms: list[TermMatch], tokens: list[TokenMatch]) -> str:
    """Return what query and hit share, what adds most first: ``sea 1.46 x 2.15 = 3.14 (sparse)``, ``sea~tide 0.72``."""
    shown = [f"{t.term} {t.query:.3g} x {t.document:.3g} = {t.product:.3g} ({t.mode})" for t in terms]
    nearest = sorted(tokens, key=lambda token: -token.similarity)
    pairs = [f"{t.query}~{t.document} {t.similarity:.3g}" for t in nearest]
    return ", ".join(said for some in (shown, pairs) for said in [*some[:_TERMS], *["…"][: len(some) > _TERMS]])


def _text(hit: Any, collection: Collection) -> str:
    """Return what of the document to show: the passage that matched, or the opening of its text."""
    parts = [hit.passage] if hit.passage else [hit.row.get(name) for name in collection.text_fields]
    text = " ".join(str(part) for part in parts if part)
    return text if len(text) <= _SNIPPET or not sys.stdout.isatty() else f"{text[: _SNIPPET - 1]}…"


def stats(collection: CollectionPath, as_json: AsJson = False) -> None:
    """Show size, index, encoder and attributes of a collection."""
    import isometry as iso

    with iso.open(collection) as opened:
        found = opened.stats().to_dict()
    if as_json:
        print_json(found)
        return
    for name in ("bytes_documents", "bytes_index"):
        found[name] = readable_bytes(found[name])
    print_pairs(found)


def verify(collection: CollectionPath, as_json: AsJson = False) -> None:
    """Read everything back and compare checksums; the exit status is 1 when something is wrong."""
    import isometry as iso

    with iso.open(collection) as opened:
        report = opened.verify()
    if as_json:
        print_json(report.to_dict())
    elif report.ok:
        typer.echo(
            f"{collection} is sound: {report.documents:,} documents, {report.vectors:,} vectors and "
            f"{readable_bytes(report.bytes_checked)} of index files checked in {report.seconds:.1f} s."
        )
    else:
        typer.echo(f"{collection} has {len(report.problems)} problems:")
        for problem in report.problems:
            typer.echo(f"- {problem}")
    if not report.ok:
        raise typer.Exit(FAILED)
