"""Command that does ahead what would make a first search slow: warmup."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from isometry.cli.options import AsJson
from isometry.cli.output import note, print_json, readable_bytes
from isometry.cli.progress import progress


def warmup(
    specs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SPEC]...", help="Only for these indexes, e.g. 'LVQ8,Vamana32 -> Float16'. Default: for all."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", min=1, help="Processes to use. Default: all processors.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile the search kernels now, so that no first search has to wait for it.

    They are compiled once for a machine and a version of isometry, and kept in the folder that is printed.
    ISOMETRY_CACHE chooses another one.
    """
    from isometry.indexes.warmup import every_spec, warm_up
    from isometry.kernels.compiled import kernel_folder
    from isometry.kernels.level import LEVEL

    chosen = specs or every_spec()
    if not as_json:
        note(f"Compiling for {len(chosen)} indexes; this may take minutes, once.")
    start = time.perf_counter()
    with progress() as report:
        warm_up(chosen, threads=threads, progress=report)
    seconds = time.perf_counter() - start
    folder = kernel_folder()
    sizes = [file.stat().st_size for file in folder.rglob("*.nbc")]
    if as_json:
        print_json({
            "specs": chosen, "level": LEVEL, "seconds": seconds, "folder": folder, "kernels": len(sizes),
            "bytes": sum(sizes),
        })  # fmt: skip
    elif sizes:
        typer.echo(
            f"Ready in {seconds:.1f} s, level {LEVEL}: {len(sizes)} kernels, {readable_bytes(sum(sizes))} in {folder}"
        )
    else:
        typer.echo(f"Compiled in {seconds:.1f} s, level {LEVEL}, but nothing could be kept in {folder}")
