"""Keep a library of papers: fill it, ask filtered questions, change it, reopen it, check it.

The papers are the ACL Anthology as a Parquet file (or a folder with papers.parquet) with the columns id, title,
abstract, authors (a list), year, venue, award and others; every column becomes an attribute to filter by.

    python examples/acl_anthology.py path/to/papers.parquet --limit 2000 --encoder wordllama

Without --limit all papers are stored (the default encoder takes about half an hour for 90,000 on two cores). --to keeps
the collection, --json FILE writes the timings as a result file.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import isometry as iso
from isometry.encoders import DEFAULT_ENCODER
from isometry.evaluation import Environment, Figure, Outcome, Result

T = TypeVar("T")
LATE = 100
TIMES = 5


class Timings:
    """Prints what happens, how long it takes, and remembers it."""

    def __init__(self, data: str) -> None:
        self.data = data
        self.figures: list[Figure] = []

    def step(self, what: str, action: Callable[[], T], papers: int | None = None) -> T:
        """Do something once; with `papers`, its rate is a figure too."""
        began = time.perf_counter()
        found = action()
        seconds = time.perf_counter() - began
        self.keep(what, "seconds", seconds)
        if papers:
            self.keep(what, "papers_per_second", papers / seconds)
        print(f"{seconds:9.2f} s  {what}{f' ({papers / seconds:,.0f} papers/s)' if papers else ''}")
        return found

    def keep(self, what: str, measure: str, value: float) -> None:
        """Remember a figure."""
        self.figures.append(Figure(data=self.data, method=what, measure=measure, value=round(value, 4)))


def read_papers(path: Path, limit: int | None) -> pa.Table:
    """Return the papers, newest first; with `limit` only so many, and only those with an abstract."""
    papers = pq.read_table(path / "papers.parquet" if path.is_dir() else path)
    if limit is not None:
        papers = papers.filter(pc.is_valid(papers["abstract"]))
    return papers.sort_by([("year", "descending"), ("id", "ascending")]).slice(0, limit)


def most_common(values: Iterable[str]) -> str:
    """Return the most common value."""
    return Counter(values).most_common(1)[0][0]


def quoted(text: str) -> str:
    """Return a text as it stands in a filter."""
    return "'" + text.replace("'", "''") + "'"


def questions(papers: pa.Table) -> list[tuple[str, Any]]:
    """Return texts with filters on year, venue, authors and award; the last one is a typed expression."""
    venue = quoted(most_common(papers["venue"].to_pylist()))
    author = quoted(most_common(name for names in papers["authors"].to_pylist() for name in names or ()))
    middle = int(pc.quantile(papers["year"], 0.5)[0].as_py())
    return [
        ("translation between languages with little training data", None),
        ("translation between languages with little training data", f"year >= {middle} and venue = {venue}"),
        ("do language models understand what they read", f"array_has(authors, {author})"),
        ("detecting hateful posts", "award is not null"),
        ("summaries of long documents", (pc.field("year") == middle) & pc.field("abstract").is_valid()),
    ]


def ask(library: iso.Collection, number: int, text: str, where: Any, timings: Timings) -> None:
    """Ask one question in every mode, and print the best answers and the median time of each."""
    print(f"\n{text!r}" + (f", where {where}" if where is not None else ""))
    for mode in ("dense", "lexical", "hybrid"):
        seconds = []
        for _ in range(TIMES):
            began = time.perf_counter()
            hits = library.search(text, k=3, mode=mode, where=where)
            seconds.append(time.perf_counter() - began)
        milliseconds = 1000 * statistics.median(seconds)
        timings.keep(f"question {number}, {mode}", "milliseconds", milliseconds)
        best = "; ".join(f"{hit.row['title']:.50} ({hit.row['venue']} {hit.row['year']})" for hit in hits)
        print(f"  {mode:8} {milliseconds:7.1f} ms  {best or 'nothing'}")


def main() -> None:
    """Go through the life of a collection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("papers", type=Path, nargs="?", default=Path("../shared/data/acl_anthology/papers.parquet"))
    parser.add_argument("--limit", type=int, metavar="N", help="only the N newest papers with an abstract")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where to keep the collection; default: nowhere")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the timings as a result file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        live(options, options.to or Path(scratch) / "papers.iso")


def live(options: argparse.Namespace, path: Path) -> None:
    """Fill, ask, change, reopen and check the collection in `path`."""
    began = time.perf_counter()
    papers = read_papers(options.papers, options.limit)
    n_late = min(LATE, len(papers) // 2)
    late, early = papers.slice(0, n_late), papers.slice(n_late)
    timings = Timings(f"{len(papers):,} papers")

    library = timings.step(
        "create",
        lambda: iso.create(path, encoder=options.encoder, text_fields=("title", "abstract"), overwrite=True),
    )
    timings.step("add", lambda: library.add(early, batch_rows=4096), papers=len(early))
    report = timings.step("build", library.build)
    print(f"{'':12} {report.documents:,} documents, {report.vectors:,} vectors, recall@10 {report.recall:.4f}")
    asked = questions(early)
    for number, (text, where) in enumerate(asked, start=1):
        ask(library, number, text, where, timings)

    print("\nWhat was written is found at once, before any index is built again:")
    timings.step("add late", lambda: library.add(late), papers=len(late))
    newest = late.slice(0, 1).to_pylist()[0]
    check(library.search(newest["title"], k=1).ids, [newest["id"]])
    marked = newest | {"title": "A study of purple zebras", "award": "Best zebra"}
    timings.step("upsert one", lambda: library.upsert([marked]))
    check(library.search("purple zebras", k=1, where="award = 'Best zebra'").ids, [newest["id"]])
    timings.step("delete one by id", lambda: library.delete(ids=[newest["id"]]))
    check(library.search("purple zebras", k=1, where="award = 'Best zebra'").ids, [])
    venue = most_common(late["venue"].to_pylist())
    gone = timings.step("delete by filter", lambda: library.delete(where=f"venue = {quoted(venue)}"))
    print(f"{'':12} {gone:,} papers of the venue {venue}")
    of_venue = pc.and_(pc.equal(papers["venue"], venue), pc.not_equal(papers["id"], newest["id"]))
    check(gone, pc.sum(of_venue).as_py())
    expected = len(papers) - 1 - gone
    check(len(library), expected)
    library.close()

    reopened = timings.step("reopen", lambda: iso.open(path))
    check(len(reopened), expected)
    timings.step("first question", lambda: reopened.search("parsing", k=3))
    timings.step("optimize", reopened.optimize)
    verified = timings.step("verify", reopened.verify)
    check((verified.ok, verified.documents), (True, expected))
    stats = reopened.stats()
    encoder = str(reopened.encoder.fingerprint)  # type: ignore[union-attr]
    reopened.close()
    megabytes = {"documents": stats.bytes_documents / 1e6, "index": stats.bytes_index / 1e6}
    for what, value in megabytes.items():
        timings.keep(what, "megabytes", value)
    print(f"{expected:,} papers in {sum(megabytes.values()):,.1f} MB, {time.perf_counter() - began:.1f} s in all")

    if options.json:
        limit = f" --limit {options.limit}" if options.limit else ""
        command = f"python examples/acl_anthology.py PAPERS{limit} --encoder {options.encoder} --json FILE"
        outcome = Outcome(
            verdict="holds",
            because="every answer, count and verification above was checked",
            figures=tuple(timings.figures),
            settings={
                "questions": [[text, str(where)] for text, where in asked],
                "encoder": encoder,
                "recall@10": report.recall,
                "vectors": report.vectors,
                "late": n_late,
            },
        )
        wall_s = time.perf_counter() - began
        Result.of(
            outcome,
            name="acl_anthology",
            title="The life of a collection of papers",
            claim="add, filtered search, upsert, delete, reopen and verify on real papers",
            environment=Environment.capture(seed=0, command=command, wall_s=wall_s),
        ).save(options.json)


def check(found: object, expected: object) -> None:
    """Stop when the collection does not answer as it must."""
    if found != expected:
        raise SystemExit(f"found {found!r}, expected {expected!r}")


if __name__ == "__main__":
    main()
