"""Commands that change a collection: index, add, delete, build, optimize."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isometry.cli.failures import explained_interrupt
from isometry.cli.options import AsJson, BatchRows, CollectionPath, OnError, SkipBad, Sources, Where, split_names
from isometry.cli.output import note, print_json, printable, readable_bytes
from isometry.cli.progress import Report, for_file, progress
from isometry.errors import AlreadyExists, NotFound

if TYPE_CHECKING:
    from isometry.collections import Collection
    from isometry.collections.reports import AddReport, BuildReport

_WORTH_INDEXING = 2000

Spec = Annotated[
    str | None, typer.Argument(metavar="SPEC", help="Index to build, as in Flat. Default: the one that fits the size.")
]


SparseSpec = Annotated[
    str | None,
    typer.Option("--build-sparse", metavar="SPEC", help="Index to build over sparse vectors, as in Seismic(4000,0.2)."),
]


MultiSpec = Annotated[
    str | None,
    typer.Option(
        "--build-multi",
        metavar="SPEC",
        help="Index to build over token vectors, as in 'FDE(20,5,16),LVQ4,Flat -> PQ32'.",
    ),
]


Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="FIELDS",
        help="Fields that many searches ask one value of: a graph links the documents of each. None: ''.",
    ),
]


def index(
    sources: Sources,
    to: Annotated[str, typer.Option("--to", metavar="COLLECTION", help="Folder to create, as in papers.iso.")],
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help="Model of sentence-transformers, name or path; none: search by words. Default: all-MiniLM-L6-v2.",
        ),
    ] = None,
    sparse_encoder: Annotated[
        str | None,
        typer.Option(
            "--sparse-encoder", metavar="NAME", help="Model of weighted terms (SPLADE) beside it, as in splade-tiny."
        ),
    ] = None,
    multi_encoder: Annotated[
        str | None,
        typer.Option("--multi-encoder", metavar="NAME", help="Model of a vector per token (ColBERT) beside it."),
    ] = None,
    metric: Annotated[
        str, typer.Option("--metric", metavar="cosine|dot|l2", help="How vectors are compared.")
    ] = "cosine",
    id_field: Annotated[str, typer.Option("--id", metavar="FIELD", help="Field that holds the id.")] = "id",
    text: Annotated[
        str, typer.Option("--text", metavar="FIELDS", help="Fields that hold the text to search, joined in this order.")
    ] = "title,text",
    no_passages: Annotated[
        bool, typer.Option("--no-passages", help="Cut texts that are longer than the model reads, don't split them.")
    ] = False,
    on_error: SkipBad = OnError.RAISE,
    batch_rows: BatchRows = 1024,
    build: Annotated[
        str | None, typer.Option("--build", metavar="SPEC", help="Index to build. Default: the one that fits the size.")
    ] = None,
    build_sparse: SparseSpec = None,
    build_multi: MultiSpec = None,
    no_build: Annotated[
        bool, typer.Option("--no-build", help="Build no index: searches read all documents until there is one.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run: skip what is stored.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing collection.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a searchable collection out of files of records.

    Each batch is stored for good before the next one starts. After an interruption the same command with --resume goes
    on where it stopped. An index is built at the end, and its recall against exact search is printed.
    """
    import isometry as iso

    if resume and overwrite:
        raise typer.BadParameter("--resume keeps what is stored and --overwrite drops it; give one of them.")
    _check_exist(sources)
    goes_on = resume and Path(to).exists()
    if goes_on:
        collection = iso.open(to)
    else:
        from isometry.encoders import DEFAULT_ENCODER

        try:
            collection = iso.create(
                to,
                encoder=None if encoder == "none" else encoder or DEFAULT_ENCODER,
                sparse_encoder=sparse_encoder,
                multi_encoder=multi_encoder,
                metric=metric,
                id_field=id_field,
                text_fields=tuple(split_names(text)),
                passages=not no_passages,
                overwrite=overwrite,
            )
        except AlreadyExists as error:
            ways_out = " (here: --resume goes on with it, --overwrite replaces it)" if Path(to).is_dir() else ""
            raise AlreadyExists(f"{error}{ways_out}") from None
    with collection:
        try:
            with progress() as report:
                added = _ingest(
                    collection,
                    sources,
                    report,
                    on_error=on_error.value,
                    on_duplicate="skip" if goes_on else "error",
                    batch_rows=batch_rows,
                )
                specs = {"sparse_spec": build_sparse, "multi_spec": build_multi}
                built = None if no_build else collection.build(build, **specs, progress=report)
        except Exception:
            if not goes_on and not len(collection):  # nothing was stored: leave no empty collection in the way
                collection.close()
                shutil.rmtree(to, ignore_errors=True)
            raise
        _print_added(collection, sources, added, built, as_json)


def add(
    collection: CollectionPath,
    sources: Sources,
    upsert: Annotated[bool, typer.Option("--upsert", help="Replace documents whose id is stored already.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Skip documents whose id is stored already.")] = False,
    on_error: SkipBad = OnError.RAISE,
    batch_rows: BatchRows = 1024,
    as_json: AsJson = False,
) -> None:
    """Add records to a collection; with --upsert, replace those that are stored already."""
    import isometry as iso

    if upsert and resume:
        raise typer.BadParameter("--upsert replaces stored documents and --resume skips them; give one of them.")
    _check_exist(sources)
    settings: dict[str, Any] = {"on_error": on_error.value, "batch_rows": batch_rows}
    if not upsert:
        settings["on_duplicate"] = "skip" if resume else "error"
    with iso.open(collection) as opened, progress() as report:
        added = _ingest(opened, sources, report, upsert=upsert, **settings)
        _print_added(opened, sources, added, None, as_json)


def _check_exist(sources: list[str]) -> None:
    """Refuse a misspelt file name before anything is created or written."""
    for source in sources:
        if not Path(source).exists():
            raise NotFound(f"there is no file {source}")


def _ingest(
    collection: Collection, sources: list[str], report: Report | None, *, upsert: bool = False, **settings: Any
) -> list[AddReport]:
    write = collection.upsert if upsert else collection.add

    def explain() -> str:
        return (
            f"Interrupted. {len(collection):,} documents are stored in {collection.path}, "
            f"every finished batch among them. Go on with: {_resuming_command()}"
        )

    with explained_interrupt(explain):
        return [write(source, progress=for_file(report, source), **settings) for source in sources]


def _resuming_command() -> str:
    """Return this command line, made to go on where it stopped."""
    words = ["isometry", *(word for word in sys.argv[1:] if word != "--overwrite")]
    if "--resume" not in words and "--upsert" not in words:
        words.append("--resume")
    return shlex.join(words)


def _print_added(
    collection: Collection, sources: list[str], reports: list[AddReport], built: BuildReport | None, as_json: bool
) -> None:
    total = {
        name: sum(getattr(report, name) for report in reports)
        for name in ("added", "replaced", "skipped", "bad", "batches", "seconds")
    }
    problems = [
        {"file": source, "record": place, "problem": reason}
        for source, report in zip(sources, reports, strict=True)
        for place, reason in report.problems
    ]
    if as_json:
        build = built.to_dict() if built else None
        path = str(collection.path)
        print_json({**total, "problems": problems, "documents": len(collection), "path": path, "build": build})
        return
    for skipped in problems:
        note(printable("Skipped {file}:{record}: {problem}".format(**skipped)))
    written = total["added"] + total["replaced"]
    counts = [f"{total['added']:,} added"]
    counts += [f"{total[name]:,} {name}" for name in ("replaced", "skipped") if total[name]]
    counts += [f"{total['bad']:,} unreadable"] if total["bad"] else []
    rate = f", {written / total['seconds']:,.0f} a second" if written and total["seconds"] else ""
    typer.echo(
        f"{', '.join(counts)} in {total['seconds']:.1f} s{rate}. {collection.path} holds {len(collection):,} documents."
    )
    if built:
        typer.echo(described(built))
    elif (unindexed := collection.stats().unindexed) >= _WORTH_INDEXING:
        typer.echo(
            f"{unindexed:,} of them are not indexed yet; for quicker searches: isometry optimize {collection.path}"
        )


def delete(
    collection: CollectionPath,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Documents to delete.")] = None,
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Delete documents by id, or all that match a filter."""
    import isometry as iso

    if not ids and where is None:
        raise typer.BadParameter("name the documents to delete: ids, or a filter with --where.")
    if ids and where is not None:
        raise typer.BadParameter("give ids or --where, not both.")
    with iso.open(collection) as opened:
        deleted = opened.delete(ids=ids or None, where=where)
        left = len(opened)
    if as_json:
        print_json({"deleted": deleted, "documents": left})
    else:
        typer.echo(f"{deleted:,} deleted. {collection} holds {left:,} documents.")


def build(
    collection: CollectionPath,
    spec: Spec = None,
    sparse_spec: SparseSpec = None,
    multi_spec: MultiSpec = None,
    labels: Labels = None,
    as_json: AsJson = False,
) -> None:
    """Build an index over all documents and print the recall it reaches."""
    import isometry as iso

    with iso.open(collection) as opened, progress() as report, explained_interrupt(_index_unchanged):
        names = None if labels is None else split_names(labels)
        built = opened.build(spec, sparse_spec=sparse_spec, multi_spec=multi_spec, labels=names, progress=report)
    print_json(built.to_dict()) if as_json else typer.echo(described(built))


def _index_unchanged() -> str:
    return "Interrupted. The documents are untouched and the index is the one from before."


def described(built: BuildReport) -> str:
    """Return one sentence about the indexes: what they are, their recall, their size."""
    cost = built.to_dict()
    kinds = [kind for kind in ("", "sparse_", "multi_") if cost[f"{kind}recall"] is not None]
    said = [_measured(cost, kind) for kind in kinds] or [f"{built.spec}: no vectors to measure recall on"]
    size = readable_bytes(built.nbytes)
    return f"{'; '.join(said)}; {built.documents:,} documents, {size}, built in {built.seconds:.1f} s."


def _measured(cost: dict[str, Any], kind: str) -> str:
    low, high = cost[f"{kind}recall_interval"]
    return (
        f"{cost[f'{kind}spec']}: recall@10 {cost[f'{kind}recall']:.4f} [{low:.4f}, {high:.4f}] against exact search "
        f"over {cost[f'{kind}recall_queries']:,} queries, {cost[f'{kind}bytes_per_vector']:,.0f} bytes per "
        f"{'token' if kind == 'multi_' else 'vector'}"
    )


def optimize(collection: CollectionPath, as_json: AsJson = False) -> None:
    """Bring the index up to date, merge small files and free what is no longer used."""
    import isometry as iso

    with iso.open(collection) as opened, explained_interrupt(_index_unchanged):
        report = opened.optimize()
    if as_json:
        print_json(report.to_dict())
        return
    typer.echo(described(report.build))
    typer.echo(
        f"{report.fragments_before:,} files of documents became {report.fragments_after:,}; "
        f"{readable_bytes(report.bytes_before)} became {readable_bytes(report.bytes_after)}."
    )
