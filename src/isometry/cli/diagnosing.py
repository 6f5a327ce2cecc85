"""Command that tells what stands between a collection and its judgements: diagnose."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isometry.cli.options import AsJson, CollectionPath
from isometry.cli.output import note, print_json, print_table
from isometry.cli.progress import progress

if TYPE_CHECKING:
    from isometry.evaluation.limit import Diagnosis


def diagnose(
    collection: CollectionPath,
    queries: Annotated[Path, typer.Option("--queries", metavar="FILE", help="Queries: .jsonl[.gz] with id and text.")],
    qrels: Annotated[Path, typer.Option("--qrels", metavar="FILE", help="Judgements: query, document, grade in .tsv.")],
    dim: Annotated[
        int | None,
        typer.Option("--dim", metavar="D", min=1, help="Dimension to judge. Default: that of the collection."),
    ] = None,
    max_queries: Annotated[
        int | None, typer.Option("--max-queries", metavar="N", min=1, help="Look at a random sample of this many.")
    ] = None,
    memory_mb: Annotated[
        int, typer.Option("--memory-mb", metavar="MB", min=1, help="Most memory for the bound.")
    ] = 4_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed gives the same result.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Tell whether missed documents are beyond the dimension, beyond the encoder, or only a better mode away.

    Free vectors of the collection's dimension are fitted to the judgements: what any encoder could do at best. The
    encoder, BM25 and both together are measured against that.
    """
    import isometry as iso
    from isometry.evaluation import read_qrels, read_queries
    from isometry.evaluation.limit import diagnose as look

    texts, _ = read_queries(queries)
    judged, _ = read_qrels(qrels)
    with iso.open(collection) as opened, progress() as report:
        found = look(
            opened,
            texts,
            judged,
            dim=dim,
            max_queries=max_queries,
            seed=seed,
            memory_bytes=memory_mb * 1_000_000,
            progress=report,
        )
    if found.skipped:
        note(
            f"{found.skipped:,} judged queries are left out: nothing is relevant for them, or they are not in the "
            "sample."
        )
    if as_json:
        print_json({"collection": collection, **found.to_dict()})
        return
    _print(found)


def _print(found: Diagnosis) -> None:
    graph, bound = found.graph, found.bound
    names = list(next(iter(found.measured.values())).estimates)
    rows = [["bound", f"{bound.recall:.4f}", *[""] * (len(names) - 1)]]
    rows += [[mode, *map(str, measured.estimates.values())] for mode, measured in found.measured.items()]
    rows += [[name, str(gap), *[""] * (len(names) - 1)] for name, gap in found.gaps.items()]
    title = (
        f"{graph.queries:,} queries, {graph.documents:,} relevant documents, {graph.density:.2%} of the pairs of "
        f"queries share one; bound in {bound.dim} dimensions, lead {bound.margin:.3f}"
    )
    if not sys.stdout.isatty():
        typer.echo(title)
    print_table({"": "left", **dict.fromkeys(names, "wrap")}, rows, title=title)
    for line in found.advice:
        typer.echo(f"- {line}")
