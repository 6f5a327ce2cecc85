"""Put measured numbers into the pages, so that none is typed by hand.

A page asks for the figures of ``benchmarks/results/NAME.json`` by two comment lines; what stands between them is
written by this script. Words after the name keep only those measures; ``across NAME`` puts the data sets of one measure
side by side, without intervals:

    <!-- figures: search-quality nDCG@10 -->
    <!-- end of figures -->
    <!-- figures: search-quality across nDCG@10 -->
    <!-- end of figures -->

``beside DATA | MEASURE | MEASURE ...`` gives a row per method and a column per measure of one data set, or of what it
is a part of (what stands before ``;``):

    <!-- figures: dense-throughput beside minilm 384-d, n=100,000; 1 thread, batch 1,000 | QPS at 0.95 | build s -->
    <!-- end of figures -->

Run ``python docs/figures.py`` to rewrite the pages, or with ``--check`` to fail when one is out of date.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

from isometry.evaluation import Figure, Result

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(<!-- figures: (\S+)([^\n]*?) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def with_figures(text: str) -> str:
    """Return a page's text with all its figures as the result files have them."""
    return BLOCK.sub(lambda block: f"{block[1]}{table_of(block[2], block[3])}{block[4]}", text)


def table_of(name: str, wanted: str) -> str:
    """Return the figures of one result as a Markdown table, with where and how they were measured."""
    result = Result.load(RESULTS / f"{name}.json")
    measures = wanted.split()

    def kept(figures: tuple[Figure, ...]) -> tuple[Figure, ...]:
        return tuple(figure for figure in figures if not measures or figure.measure in measures)

    if measures[:1] == ["across"]:
        table = across(result, wanted.strip().removeprefix("across").strip())
    elif measures[:1] == ["beside"]:
        data, *columns = (part.strip() for part in wanted.strip().removeprefix("beside").split("|"))
        table = beside(result, data, columns)
    else:
        table = replace(result, figures=kept(result.figures), baselines=kept(result.baselines)).to_markdown()
    where = result.environment
    origin = f"`{where.command}`; {where.processor}, {where.threads} threads, seed {where.seed}, {where.date[:10]}"
    return f"\n{table}\n{result.title}. {origin}. All of it: `benchmarks/results/{name}.json`.\n\n"


def across(result: Result, measure: str) -> str:
    """Return one measure as a table of methods by data sets."""
    methods: dict[str, dict[str, str]] = {}
    for note, figures in (("", result.figures), (" (baseline)", result.baselines)):
        for figure in figures:
            if figure.measure == measure and figure.value is not None:
                methods.setdefault(figure.method + note, {})[figure.data] = (
                    f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.3f}"
                )
    sets = list(dict.fromkeys(data for row in methods.values() for data in row))
    lines = [f"| {measure} | {' | '.join(sets)} |", f"| --- |{' ---: |' * len(sets)}"]
    lines += [f"| {method} | {' | '.join(row.get(data, '') for data in sets)} |" for method, row in methods.items()]
    return "\n".join(lines) + "\n"


def beside(result: Result, data: str, measures: list[str]) -> str:
    """Return measures of one data set as a table of methods by measures."""
    rows: dict[str, dict[str, str]] = {}
    for note, figures in (("", result.figures), (" (baseline)", result.baselines)):
        for figure in figures:
            if figure.measure in measures and figure.data in (data, data.split(";")[0]) and figure.value is not None:
                text = f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.3g}"
                rows.setdefault(figure.method + note, {})[figure.measure] = text
    lines = [f"| {data} | {' | '.join(measures)} |", f"| --- |{' ---: |' * len(measures)}"]
    lines += [f"| {method} | {' | '.join(row.get(name, '') for name in measures)} |" for method, row in rows.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Rewrite the pages, or only look; the number of pages that were out of date is the exit status of a check."""
    stale = {page: new for page in PAGES if (new := with_figures(old := page.read_text("utf-8"))) != old}
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(f"{page.relative_to(ROOT)} has old figures; run: python docs/figures.py", file=sys.stderr)
        return len(stale)
    for page, text in stale.items():
        page.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
