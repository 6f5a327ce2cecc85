"""Arguments and options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

CollectionPath = Annotated[
    str, typer.Argument(metavar="COLLECTION", help="Folder of the collection, as in papers.iso.")
]
Sources = Annotated[
    list[str],
    typer.Argument(metavar="FILE", help="Records: .jsonl, .json, .csv, .tsv (each also .gz), .parquet or .arrow."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="FILTER", help="Only records that match, as in \"year >= 2019 and venue = 'ACL'\"."
    ),
]
BatchRows = Annotated[
    int,
    typer.Option(
        "--batch-rows", metavar="N", min=1, help="Records per commit: what is lost at most when the power goes."
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", min=1, help="Threads to search with. Default: all cores.")
]
Effort = Annotated[
    int | None,
    typer.Option("--effort", metavar="N", min=1, help="How hard an approximate index works. Default: as it was built."),
]


class OnError(StrEnum):
    """What a record that can't be read does to the rest of its file."""

    RAISE = "raise"
    SKIP = "skip"


class Mode(StrEnum):
    """Ways to search."""

    DENSE = "dense"
    SPARSE = "sparse"
    MULTI = "multi"
    LEXICAL = "lexical"
    HYBRID = "hybrid"


SkipBad = Annotated[
    OnError,
    typer.Option(
        "--on-error",
        metavar="|".join(OnError),
        help="A record that can't be read stops the command, or is skipped and counted.",
    ),
]
SearchMode = Annotated[
    Mode | None,
    typer.Option(
        "--mode",
        metavar="|".join(Mode),
        help="Way to search. Default: the best one that the collection is equipped for.",
    ),
]


def split_names(text: str | None) -> list[str]:
    """Return the names in ``a,b,c``; none for None."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]
