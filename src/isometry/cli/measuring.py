"""Commands that put numbers on things: evaluate, systems, reproduce."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isometry.cli.options import AsJson, CollectionPath, Mode, Where, split_names
from isometry.cli.output import note, print_json, print_pairs, print_table
from isometry.cli.progress import progress

if TYPE_CHECKING:
    from isometry.collections import Collection


class Size(StrEnum):
    """How much of a paper's experiment to run."""

    SMALL = "small"
    FULL = "full"


def evaluate(
    collection: CollectionPath,
    queries: Annotated[Path, typer.Option("--queries", metavar="FILE", help="Queries: .jsonl[.gz] with id and text.")],
    qrels: Annotated[Path, typer.Option("--qrels", metavar="FILE", help="Judgements: query, document, grade in .tsv.")],
    modes: Annotated[
        list[Mode] | None,
        typer.Option(
            "--mode",
            metavar="|".join(Mode),
            help="Way to search; repeat it to compare several with the first. Default: all there are.",
        ),
    ] = None,
    measures: Annotated[
        str, typer.Option("--measures", metavar="NAMES", help="Measures in ir-measures' spelling.")
    ] = "nDCG@10,R@100,RR@10,AP",
    k: Annotated[
        int | None,
        typer.Option("-k", metavar="N", min=1, help="Results per query. Default: as many as the measures look at."),
    ] = None,
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Measure search quality against relevance judgements, with 95 % intervals.

    With several modes the difference of each to the first one is given too, over the same queries.
    """
    import isometry as iso
    from isometry.evaluation import evaluate_collection, read_qrels, read_queries

    texts, _ = read_queries(queries)
    judged, _ = read_qrels(qrels)
    unanswered = len(judged.keys() - texts.keys())
    if unanswered:
        note(f"{unanswered:,} judged queries have no text in {queries}; they count as unanswered.")
    with iso.open(collection) as opened, progress() as report:
        found = evaluate_collection(
            opened,
            texts,
            judged,
            modes=[mode.value for mode in modes or _available(opened)],
            measures=split_names(measures),
            k=k,
            where=where,
            progress=report,
        )
    if as_json:
        print_json({"collection": collection, "queries": len(judged), **found.to_dict()})
        return
    first, *_ = found.measured
    rows = [[mode, *map(str, measured.estimates.values())] for mode, measured in found.measured.items()]
    rows += [[f"{mode} - {first}", *map(str, differences.values())] for mode, differences in found.differences.items()]
    title = f"{len(judged):,} judged queries, mean and 95 % interval"
    print_table({"mode": "left", **dict.fromkeys(found.measured[first].estimates, "wrap")}, rows, title=title)


def _available(collection: Collection) -> list[Mode]:
    by_vectors = {
        Mode.DENSE: collection.encoder,
        Mode.SPARSE: collection.sparse_encoder,
        Mode.MULTI: collection.multi_encoder,
    }
    able = [mode for mode, encoder in by_vectors.items() if encoder is not None]
    return [*able, Mode.LEXICAL, Mode.HYBRID] if able else [Mode.LEXICAL]


def systems(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Tell everything about this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the research systems and what works of them."""
    from isometry.systems import all_systems, get_system

    if name is not None:
        found = get_system(name).to_dict()
        print_json(found) if as_json else print_pairs(found)
    elif as_json:
        print_json([system.to_dict() for system in all_systems()])
    else:
        rows = ([system.name, system.state, system.stage, system.title] for system in all_systems())
        print_table({"name": "left", "state": "left", "stage": "left", "title": "wrap"}, rows)


def reproduce(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A system, as listed by: isometry systems.")],
    size: Annotated[
        Size, typer.Option("--size", metavar="|".join(Size), help="small: minutes on a laptop. full: as in the paper.")
    ] = Size.SMALL,
    data: Annotated[Path | None, typer.Option("--data", metavar="FOLDER", help="Where the data sets are.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed gives the same result.")] = 0,
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Also write the result as JSON.")] = None,
    plots: Annotated[
        Path | None,
        typer.Option("--plots", metavar="FOLDER", help="Also draw its curves as pictures into this folder."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure again what a paper claims, next to its baselines."""
    from isometry.systems import get_system

    with progress() as report:
        result = get_system(name).reproduce(size=size.value, data=data, seed=seed, progress=report)
    if save:
        result.save(save)
        note(f"The result is in {save}.")
    if plots:
        from isometry.evaluation import draw_all

        for picture in draw_all(result, plots):
            note(f"Drawn: {picture}.")
    if as_json:
        print_json(result.to_dict())
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(result)
    else:
        typer.echo(f"{result.to_markdown()}\nClaim: {result.claim}\nVerdict: {result.verdict}. {result.because}")
