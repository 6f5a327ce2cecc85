"""Command that finds a configuration for a budget: tune."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isometry.cli.failures import FAILED, explained_interrupt
from isometry.cli.options import AsJson, Threads
from isometry.cli.output import note, print_json, print_table
from isometry.cli.progress import progress
from isometry.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from isometry.tuning import Plan


def tune(
    data: Annotated[
        str, typer.Argument(metavar="COLLECTION", help="Folder of the collection, or an .npy file of vectors.")
    ],
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="SIZE", help="For the whole index, as in 200MB or '1.5 GiB'.")
    ] = None,
    bytes_per_vector: Annotated[
        float | None, typer.Option("--bytes-per-vector", metavar="N", help="The same, said for one vector.")
    ] = None,
    recall: Annotated[
        float | None, typer.Option("--recall", metavar="R", help="Least recall@10 against exact search, as in 0.95.")
    ] = None,
    ndcg_loss: Annotated[
        float | None, typer.Option("--ndcg-loss", metavar="L", help="Most that nDCG@10 may fall; needs judgements.")
    ] = None,
    latency_ms: Annotated[
        float | None, typer.Option("--latency-ms", metavar="MS", help="Of one query by one thread, the median.")
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="Queries: .jsonl[.gz] with id and text, or .npy. Default: some of the rows.",
        ),
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option("--qrels", metavar="FILE", help="Judgements: query, document, grade in .tsv.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="cosine|dot|l2", help="For an .npy file. Default: cosine.")
    ] = None,
    most_rows: Annotated[
        int, typer.Option("--most-rows", metavar="N", min=100, help="Index no more vectors than this while measuring.")
    ] = 500_000,
    apply: Annotated[
        bool, typer.Option("--apply", help="Build the plan, so that the collection uses it from now on.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write the picture to play with, as one page.")
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Also draw the picture.")] = None,
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Also write the plan as JSON.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FOLDER", help="Keep measurements here, and go on from those that are."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed asks the same queries.")] = 0,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Find the index that serves a collection best within a budget, by measuring.

    What is bounded is kept to, what is not is made as good as it can be: --memory alone gives the most recall, --recall
    alone the fewest bytes, both the lowest latency. Recall is measured with vectors that nothing was fitted on.

    When nothing meets all bounds, what comes nearest to each is shown, nothing is built, and the exit status is 1.
    """
    import isometry as iso
    from isometry.tuning import draw, write_html

    is_array = Path(data).suffix == ".npy"
    if apply and is_array:
        raise typer.BadParameter("--apply builds the index of a collection; for an array pass the plan to the library.")
    collection: Any = None if is_array else iso.open(data)
    asked, judged = _read_queries(queries, qrels)
    with progress() as report, explained_interrupt(lambda: _interrupted(resume)):
        plan = iso.tune(
            _array(Path(data)) if is_array else collection,
            memory=memory,
            bytes_per_vector=bytes_per_vector,
            recall=recall,
            ndcg_loss=ndcg_loss,
            latency_ms=latency_ms,
            queries=asked,
            qrels=judged,
            metric=metric,
            most_rows=most_rows,
            seed=seed,
            threads=threads,
            resume=resume,
            progress=report,
        )
    if save:
        plan.to_json(save)
        note(f"The plan is in {save}.")
    if html:
        note(f"The picture to play with is in {write_html(plan, html)}.")
    if png:
        note(f"Drawn: {draw(plan, png)}.")
    built = None
    if apply and plan.met:
        with collection, progress() as report:
            built = collection.build(plan.spec, progress=report)
    if as_json:
        print_json({**plan.to_dict(), "met": plan.met, "build": built.to_dict() if built else None})
    else:
        _print(plan, data)
        if built:
            typer.echo(f"Built {built.spec} over {built.documents:,} documents in {built.seconds:.1f} s.")
    if not plan.met:
        raise typer.Exit(FAILED)


def _print(plan: Plan, data: str) -> None:
    verdict = f"{plan.verdict[0].upper()}{plan.verdict[1:]}."
    heads, rows = plan.table()
    layout = dict.fromkeys(heads, "right") | {"": "left", "spec": "left", "recall@10": "left", "nDCG@10": "left"}
    if not sys.stdout.isatty():
        typer.echo(verdict)
    print_table({head: layout[head] for head in heads}, rows, title=verdict)
    if not plan.met:
        note("Nothing was built: relax a bound, or build one of the nearest.")
    elif plan.effort is not None:
        note(f"Search with it by: isometry search {data} QUERY --effort {plan.effort}")


def _read_queries(queries: Path | None, qrels: Path | None) -> tuple[Any, Any]:
    if qrels is not None and queries is None:
        raise typer.BadParameter("--qrels says what is relevant for which query; give --queries too.")
    from isometry.evaluation import read_qrels, read_queries

    judged = read_qrels(qrels)[0] if qrels else None
    if queries is None:
        return None, judged
    return _array(queries) if queries.suffix == ".npy" else read_queries(queries)[0], judged


def _array(path: Path) -> Any:
    """Return the array in an .npy file, memory-mapped."""
    import numpy as np

    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InvalidInput(f"{path} can't be read as an array: {error}; expected what numpy.save wrote") from None


def _interrupted(resume: Path | None) -> str:
    kept = (
        f"what was measured is in {resume}: the same command goes on from there"
        if resume
        else ("name a folder with --resume to keep what is measured")
    )
    return f"Interrupted. Nothing was changed; {kept}."
