"""Command that changes the encoder of a collection: migrate."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isometry.cli.failures import explained_interrupt
from isometry.cli.options import AsJson, BatchRows, CollectionPath
from isometry.cli.output import note, print_json, printable
from isometry.cli.progress import progress
from isometry.cli.writing import described

if TYPE_CHECKING:
    from isometry.collections import Collection, MigrationReport


class Until(StrEnum):
    """How far a migration goes."""

    PLANNED = "planned"
    SERVING = "serving"
    SWITCHED = "switched"


class Method(StrEnum):
    """Kinds of maps."""

    BEST = "best"
    PROCRUSTES = "procrustes"
    LINEAR = "linear"
    MLP = "mlp"


def migrate(
    collection: CollectionPath,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", metavar="NAME", help="The new model. None: go on with the migration under way."),
    ] = None,
    sample: Annotated[
        int,
        typer.Option("--sample", metavar="N", min=0, help="Stored passages to learn the map from; 0: no map."),
    ] = 5000,
    method: Annotated[Method, typer.Option("--method", metavar="|".join(Method), help="Kind of map.")] = Method.BEST,
    build: Annotated[
        str | None,
        typer.Option("--build", metavar="SPEC", help="Index over the new vectors. Default: what was asked for before."),
    ] = None,
    until: Annotated[
        Until,
        typer.Option(
            "--until",
            metavar="|".join(Until),
            help="How far to go: only measure the map, answer queries through it, or encode all documents too.",
        ),
    ] = Until.SWITCHED,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to what was before.")] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Free what only a rollback needs; there is no way back from there.")
    ] = False,
    batch_rows: BatchRows = 1024,
    as_json: AsJson = False,
) -> None:
    """Go over to another encoder without encoding all documents first, or go on doing so.

    A map from the new model's queries onto the stored vectors is learned, and what retrieval it keeps is printed before
    anything changes. Then queries go through it while the documents are encoded anew, batch by batch; after an
    interruption the same command goes on. At last the new vectors take over in one step. --rollback leads back from any
    stage, until --finish.
    """
    import isometry as iso

    if rollback and finish:
        raise typer.BadParameter("--rollback goes back and --finish gives up the way back; give one of them.")
    if (rollback or finish) and encoder is not None:
        raise typer.BadParameter(f"--{'rollback' if rollback else 'finish'} ends a migration; leave --encoder out.")
    with iso.open(collection) as opened, explained_interrupt(lambda: _interrupted(opened)):
        if rollback or finish:
            _leave(opened, rollback, yes, as_json)
            return
        with progress() as report:
            plan = opened.migrate(
                encoder,
                until="planned",
                sample=sample,
                method=method.value,
                spec=build,
                batch_rows=batch_rows,
                progress=report,
            )
        if plan.stage == "planned" and until != "planned":
            if not as_json:
                typer.echo(told(plan))
            if not yes and not _agreed("Answer queries through the map, and encode the documents anew?"):
                note(f"Nothing has changed. Go on with: isometry migrate {collection} --yes")
                if as_json:
                    print_json(plan.to_dict())
                return
        done = plan
        if plan.stage != "switched" and until != "planned":
            with progress() as report:
                done = opened.migrate(until=until.value, batch_rows=batch_rows, progress=report)
        print_json(done.to_dict()) if as_json else typer.echo(told(done))


def told(report: MigrationReport) -> str:
    """Return a few sentences about a migration."""
    way = f"{report.previous or 'your own vectors'} to {report.encoder}"
    kept, (low, high) = report.kept, report.kept_interval or (0.0, 0.0)
    quality = (
        f"A {report.method} map, learned from {report.pairs - report.judged:,} passages, finds {kept:.3f} "
        f"[{low:.3f}, {high:.3f}] of the ten nearest documents of {report.judged:,} others."
        if kept is not None
        else "There is no map."
    )
    said = [f"{report.stage.capitalize()}: {way}."]
    if report.stage != "switched":
        said.append(quality)
        left = report.documents - report.embedded
        rate = f", about {_duration(report.seconds_left)}" if report.seconds_left is not None else ""
        said.append(f"{left:,} of {report.documents:,} documents have to be encoded{rate}.")
        if report.textless:
            said.append(f"{report.textless:.1%} of the vectors have no text and will have no successor.")
    if report.stage == "planned":
        said.append("Nothing has changed yet.")
    elif report.stage == "serving":
        said.append("Queries go through the map." if report.mapped else "The old encoder serves until the switch.")
    elif report.build is not None:
        said.append(described(report.build))
    if report.stage == "switched":
        said.append("What was before is kept: --rollback leads back to it, --finish frees it.")
    return printable(" ".join(said))


def _leave(opened: Collection, rollback: bool, yes: bool, as_json: bool) -> None:
    if rollback:
        with progress() as report:
            opened.rollback_migration(progress=report)
    else:
        if not yes and not _agreed("Free the old vectors and their index? There is no way back from here."):
            raise typer.BadParameter("--finish can't be undone; to do it without being asked add --yes.")
        opened.finish_migration()
    now: dict[str, Any] = {"encoder": opened.stats().encoder, "documents": len(opened)}
    if as_json:
        print_json(now)
    else:
        done = "Rolled back" if rollback else "Finished"
        typer.echo(printable(f"{done}: {opened.path} is searched by {now['encoder'] or 'your own vectors'}."))


def _agreed(question: str) -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and typer.confirm(question)


def _interrupted(opened: Collection) -> str:
    report = opened.migration
    if report is None:
        return "Interrupted. Nothing has changed."
    return f"Interrupted. {told(report)} Go on with: isometry migrate {opened.path}"


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 100 * size or unit == "h":
            return f"{seconds / size:.0f} {unit}"
    raise AssertionError("the loop returns")
