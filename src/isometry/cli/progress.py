"""A progress line with rate and time left, on stderr and only when a person is watching."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Report = Callable[[int, int | None, str], None]


@contextmanager
def progress() -> Iterator[Report | None]:
    """Yield the ``progress`` argument for a long call of the library: a drawing callable, or None off a terminal."""
    if not sys.stderr.isatty():
        yield None
        return

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Description(ProgressColumn):
        """What is being done, as plain text."""

        def render(self, task: Task) -> Text:
            return Text(task.description)

    class Rate(ProgressColumn):
        """Items a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f}/s" if speed else "")

    columns = (Description(), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, object] = {}

        def report(done: int, total: int | None, what: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        yield report


def for_file(report: Report | None, source: str) -> Report | None:
    """Return `report` made to name the file, and to know the number of records of a file that has one per line."""
    if report is None:
        return None
    known_total = _count_lines(Path(source))

    def report_with_file(done: int, total: int | None, what: str) -> None:
        report(done, total or known_total, f"{Path(source).name} {what}")

    return report_with_file


def _count_lines(path: Path) -> int | None:
    """Return the lines of a JSON-lines file (a gigabyte a second, less when compressed); None for other files."""
    if not {".jsonl", ".ndjson"} & set(path.suffixes[-2:]):
        return None
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except (OSError, EOFError, zlib.error):  # the reader will say what is wrong
        return None
