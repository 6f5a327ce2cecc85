"""What a benchmark has measured so far: figures that are printed as they come, and saved after every part."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from isometry.evaluation import Environment, Figure, Outcome, Plot, Result
from isometry.evaluation.result import Verdict
from isometry.evaluation.throughput import exponent
from isometry.kernels.level import LEVEL

__all__ = ["CLOCKS", "Curves", "Record", "growing", "measure_sections", "options_of", "told"]

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""What `--clock` may name; processor time, of all threads together, is fair on a busy machine."""

Curves = dict[str, dict[str, list[list[float]]]]
"""Points of size and value, by measure and method."""


class Record:
    """Figures of one section of a benchmark.

    Parameters
    ----------
    name, title, claim, command : str
        As in `Result`.
    out : Path
        Folder of the result's file.
    settings : dict
        JSON data to keep with the figures.
    """

    def __init__(self, name: str, title: str, claim: str, command: str, out: Path, settings: dict[str, Any]) -> None:
        self.name, self.title, self.claim, self.command, self.out = name, title, claim, command, out
        self.began = time.perf_counter()
        self.figures: list[Figure] = []
        self.plots: list[Plot] = []
        self.settings: dict[str, Any] = settings | {"kernels": LEVEL, "load_average": os.getloadavg()}

    def add(self, data: str, method: str, measure: str, value: float, **more: Any) -> None:
        """Note one figure."""
        self.figures.append(Figure(data=data, method=method, measure=measure, value=float(value), **more))
        print(f"{self.elapsed:7.0f} s  {data} | {method} | {measure}: {value:,.4g} {more.get('note', '')}", flush=True)

    def left_out(self, what: str, why: str) -> None:
        """Note what could not be measured."""
        self.settings.setdefault("left out", {})[what] = why
        print(f"{self.elapsed:7.0f} s  left out: {what}: {why}", flush=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    def value(self, method: str, measure: str, data: str | None = None) -> float | None:
        """Return a figure's value; None where there is none."""
        for figure in self.figures:
            if (figure.method, figure.measure) == (method, measure) and data in (None, figure.data):
                return figure.value
        return None

    def save(self, verdict: Verdict = "not measured", because: str = "The run has not come to its end yet.") -> Result:
        """Write all figures so far."""
        ours = tuple(figure for figure in self.figures if figure.method.startswith("isometry"))
        peers = tuple(figure for figure in self.figures if not figure.method.startswith("isometry"))
        outcome = Outcome(
            verdict=verdict,
            because=because,
            figures=ours,
            baselines=peers,
            plots=tuple(self.plots),
            settings=self.settings | {"load_average at the end": os.getloadavg()},
        )
        result = Result.of(
            outcome,
            name=self.name,
            title=self.title,
            claim=self.claim,
            environment=Environment.capture(seed=0, command=self.command, wall_s=self.elapsed),
        )
        self.out.mkdir(parents=True, exist_ok=True)
        result.save(self.out / f"{result.name}.json")
        return result


def growing(record: Record, name: str, seen: Curves) -> list[str]:
    """Add the exponents of measures that were seen at several sizes, and draw them; returns ours in words."""
    words = []
    for measure, curves in seen.items():
        for method, points in curves.items():
            if len(points) > 1:
                power = exponent(*np.array(points).T)
                record.add(name, method, f"exponent of {measure}", power, note=f"{len(points)} sizes")
                if method.startswith("isometry"):
                    words.append(f"{method}: {measure} ~ n^{power:.2f}")
    record.plots = [
        Plot(
            name=measure.split()[0].lower(),
            title=f"{measure} as n grows, {name}",
            x_label="vectors",
            y_label=measure,
            curves=curves,
            log_x=True,
            log_y=True,
        )
        for measure, curves in seen.items()
    ]
    return words


@contextmanager
def told(section: str) -> Iterator[None]:
    """Print how long a section took."""
    began = time.perf_counter()
    yield
    print(f"{section}: {(time.perf_counter() - began) / 60:.1f} minutes")


Sections = Mapping[str, Callable[[argparse.Namespace], Result]]
"""What measures each section of a benchmark, by its name."""


def options_of(parser: argparse.ArgumentParser, sections: Sections) -> argparse.Namespace:
    """Return the options, with the `sections` that were asked for and the folder `out`; ends where one is unknown."""
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    unknown = set(options.sections) - set(sections)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(sections)}")
    return options


def measure_sections(options: argparse.Namespace, sections: Sections) -> None:
    """Measure the sections that were asked for, or all, and print what they find."""
    from rich.console import Console

    for section in options.sections or sections:
        with told(section):
            Console(width=200).print(sections[section](options))
