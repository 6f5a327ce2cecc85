"""How fast is the start, where does a cold search spend its time, and what does a warm one cost beside its parts?

    python benchmarks/latency.py [--runs 15] [--rounds 300] [--sizes 10000 100000] [--out FILE]

Import and cold figures are medians over fresh processes that take turns, with Python's own start included. The cold
search is ``isometry search COLLECTION QUERY`` over the documentation of the installed Python with the default encoder;
its stages are timed inside one process per run, and the imports are added up by package (`-X importtime`). Processor
time is given too: other load on the machine hardly changes it.

A warm search is one call of `Collection.search` on an open collection of random 384-dimensional vectors and texts of
Zipf-distributed words. What its parts take (encoder, vector scan, BM25) is measured within the same call, so that the
overhead, the rest of that call, does not depend on how much the parts vary.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import isometry as iso
from isometry.demo import gather
from isometry.encoders import DEFAULT_ENCODER, load_encoder
from isometry.evaluation import Environment, Figure, Outcome, Result
from isometry.indexes import BM25, Flat

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SEED, DIM, K = 0, 384, 10
WORDS, WORDS_PER_TEXT = 30_000, 30
DOCUMENTED = 2000
QUERY = "count how often each item occurs"
FILTER = "year >= 2010"
GOAL_IMPORT_S, GOAL_OVERHEAD_US = 0.3, 1000
COMMAND = "python benchmarks/latency.py"

WITHOUT_PANDAS = """
import sys
class Absent:
    def find_spec(name, path=None, target=None):
        if name == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent)
"""
"""pyarrow loads pandas where it is installed; isometry alone does not install it."""
IMPORTS = {
    "python alone": "pass",
    "import isometry": "import isometry",
    "import isometry.collections": "import isometry.collections",
    "import isometry.collections, pandas not installed": WITHOUT_PANDAS + "import isometry.collections",
    "import isometry.encoders": "import isometry.encoders",
    "import isometry.cli": "import isometry.cli",
}
PROGRAM = "from isometry.cli import main; main()"
STAGES = """
import json, sys, time
marks = []
mark = lambda name: marks.append((name, time.monotonic_ns(), time.process_time_ns()))
mark("python start")
import isometry.cli; mark("import the command line (typer)")
import isometry as iso
import isometry.collections; mark("import collections (lance, pyarrow, numpy)")
import isometry.encoders; mark("import encoders")
opened = iso.open(sys.argv[1]); len(opened); mark("open the collection")
encoder = opened.encoder; mark("load the encoder")
vector = encoder.encode_query([sys.argv[2]])[0]; mark("encode the query")
opened.search(vector, mode="dense"); mark("search by meaning")
opened.search(sys.argv[2], mode="lexical"); mark("search by words")
hits = opened.search(vector, mode="dense"); mark("search by meaning again, warm")
list(hits); mark("read the rows")
print(json.dumps(marks))
"""


# -- fresh processes ---------------------------------------------------------------------------------------------------


Times = tuple[list[float], list[float]]
"""Milliseconds on the clock, and of processor time (of all threads: it may exceed the clock), of several runs."""


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command as from an ordinary shell, where Python keeps compiled modules."""
    shell = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=shell)


def run_once(command: list[str]) -> tuple[float, float]:
    """Return how long a command takes from start to exit, on the clock and in processor time."""
    cpu, began = children_cpu(), time.perf_counter()
    run(command)
    return 1000 * (time.perf_counter() - began), 1000 * (children_cpu() - cpu)


def children_cpu() -> float:
    """Return the processor seconds of all finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_turn(commands: dict[str, list[str]], runs: int) -> dict[str, Times]:
    """Return the times of every run but the first, which warms caches; the commands take turns."""
    taken: dict[str, Times] = {name: ([], []) for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            spent = run_once(command)
            if turn:
                for times, value in zip(taken[name], spent, strict=True):
                    times.append(value)
    return taken


def stages(collection: Path, runs: int) -> dict[str, Times]:
    """Return the times of each stage of a cold search."""
    found: dict[str, Times] = {}
    for _ in range(runs):
        cpu, before = children_cpu(), (time.monotonic_ns(), 0)
        command = [sys.executable, "-c", STAGES, str(collection), QUERY]
        done = run(command)
        end = time.monotonic_ns(), int(1e9 * (children_cpu() - cpu))
        for name, *at in [*json.loads(done.stdout), ("leave", *end)]:
            for times, now, then in zip(found.setdefault(name, ([], [])), at, before, strict=True):
                times.append((now - then) / 1e6)
            before = at
    return found


def imports_by_package(arguments: list[str]) -> dict[str, float]:
    """Return the milliseconds of a command's imports by package, those without one as "standard library"."""
    done = run([sys.executable, "-X", "importtime", "-c", PROGRAM, *arguments])
    spent: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        if not line.startswith("import time:") or "self [us]" in line:
            continue
        own, _, name = line.removeprefix("import time:").split("|")
        package = name.strip().partition(".")[0]
        spent["standard library" if package.lstrip("_") in STANDARD else package] += int(own)
    return {name: micros / 1000 for name, micros in spent.most_common(12)}


STANDARD = {name.lstrip("_") for name in sys.stdlib_module_names} | {"site", "encodings", "sitecustomize"}


def loaded_by_import() -> list[str]:
    """Return which heavy packages `import isometry` loads."""
    code = "import sys, isometry; print(*sorted({'torch', 'lance', 'pyarrow', 'numpy', 'scipy'} & sys.modules.keys()))"
    return run([sys.executable, "-c", code]).stdout.split()


# -- one process -------------------------------------------------------------------------------------------------------


class Parts:
    """Adds up the time spent inside the encoder and the indexes while it watches."""

    def __init__(self, encoder: Any) -> None:
        self.seconds = 0.0
        self._watched = ((type(encoder), "encode_query"), (Flat, "search"), (BM25, "search"))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time every call of a part."""
        patches = [patch.object(owner, name, self._timed(getattr(owner, name))) for owner, name in self._watched]
        for each in patches:
            each.start()
        try:
            yield
        finally:
            for each in patches:
                each.stop()

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


def warm_collection(folder: Path, n: int, encoder: Any) -> Any:
    """Make and build a collection of `n` random vectors, texts and years."""
    rng = np.random.default_rng(SEED)
    vectors = rng.standard_normal((n, DIM), dtype=np.float32)
    ranks = np.minimum(rng.zipf(1.2, (n, WORDS_PER_TEXT)), WORDS)
    rows = [
        {"id": f"d{i}", "text": " ".join(f"word{rank}" for rank in row), "year": 1990 + i % 35}
        for i, row in enumerate(ranks.tolist())
    ]
    collection = iso.create(folder / f"{n}.iso", encoder=encoder)
    collection.add(rows, vectors=vectors, encoded_by=encoder, batch_rows=20_000)
    collection.build()
    return collection


def warm(collection: Any, encoder: Any, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return microseconds in total and above the parts for every kind of search, the kinds taking turns."""
    rng = np.random.default_rng(SEED + 1)
    text = "word40 word700 word9000"
    calls: dict[str, Callable[[np.ndarray], Any]] = {
        "dense, a vector": lambda q: collection.search(q, K),
        "dense, a text": lambda q: collection.search(text, K, mode="dense"),
        "lexical": lambda q: collection.search(text, K, mode="lexical"),
        "hybrid": lambda q: collection.search(text, K, mode="hybrid"),
        "dense, a filter used before": lambda q: collection.search(q, K, where=FILTER),
        "dense, rows read": lambda q: collection.search(q, K).rows,
        "dense, a new filter": lambda q: collection.search(q, K, where=f"year != {rng.integers(10**9)}"),
    }
    parts = Parts(encoder)
    found: dict[str, dict[str, list[float]]] = {name: {"total": [], "overhead": []} for name in calls}
    with parts.watching():
        for turn in range(rounds + 5):
            for name, call in calls.items():
                q = rng.standard_normal(DIM, dtype=np.float32)
                parts.seconds = 0.0
                began = time.perf_counter()
                call(q)
                total = time.perf_counter() - began
                if turn >= 5:
                    found[name]["total"].append(1e6 * total)
                    found[name]["overhead"].append(1e6 * (total - parts.seconds))
    return found


# -- the result --------------------------------------------------------------------------------------------------------


def figure(data: str, method: str, name: str, values: list[float]) -> Figure:
    """Return a median with the interval that holds it (bootstrap, 95 %)."""
    x = np.asarray(values)
    drawn = np.median(x[np.random.default_rng(SEED).integers(0, len(x), (2000, len(x)))], axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Figure(
        data=data,
        method=method,
        measure=name,
        value=round(float(np.median(x)), 2),
        low=round(float(low), 2),
        high=round(float(high), 2),
        n=len(x),
        note=f"fastest {x.min():.4g}",
    )


def both(data: str, taken: dict[str, Times]) -> list[Figure]:
    """Return figures of clock and processor time."""
    measures = ("milliseconds", "cpu_milliseconds")
    return [
        figure(data, name, measure, values)
        for name, times in taken.items()
        for measure, values in zip(measures, times, strict=True)
    ]


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="fresh processes per figure")
    parser.add_argument("--rounds", type=int, default=300, help="warm searches per figure")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latency.json"))
    options = parser.parse_args()
    began = time.perf_counter()
    figures: list[Figure] = []

    taken = in_turn({name: [sys.executable, "-c", code] for name, code in IMPORTS.items()}, options.runs)
    figures += both("import", taken)
    import_s = (statistics.median(taken["import isometry"][0]) - statistics.median(taken["python alone"][0])) / 1000

    encoder = load_encoder(DEFAULT_ENCODER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "python.iso"
        with iso.create(path, encoder=DEFAULT_ENCODER) as collection:
            collection.add(gather(limit=DOCUMENTED))
            collection.build()
        program = [sys.executable, "-c", PROGRAM, "search", str(path), QUERY]
        commands = {f"isometry search, {mode}": [*program, "--mode", mode] for mode in ("dense", "lexical", "hybrid")}
        commands["isometry --help"] = [*program[:3], "--help"]
        figures += both(f"cold, {DOCUMENTED:,} documents", in_turn(commands, options.runs))
        figures += both("cold, by stage", stages(path, options.runs))
        imported = imports_by_package(program[3:])
        figures += [
            Figure(data="cold, imports by package", method=name, measure="milliseconds", value=round(spent, 2))
            for name, spent in imported.items()
        ]

    overheads: dict[int, float] = {}
    for n in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            collection = warm_collection(Path(folder), n, encoder)
            for name, spent in warm(collection, encoder, options.rounds).items():
                for measure, values in spent.items():
                    figures.append(figure(f"warm, {n:,} documents", name, f"{measure}_us", values))
                if name == "dense, a text":
                    overheads[n] = statistics.median(spent["overhead"])
            collection.close()
        print(f"{n:,} documents after {time.perf_counter() - began:.0f} s", flush=True)

    heavy = loaded_by_import()
    good = import_s < GOAL_IMPORT_S and not heavy and max(overheads.values()) < GOAL_OVERHEAD_US
    outcome = Outcome(
        verdict="holds" if good else "does not hold",
        because=(
            f"import isometry adds {1000 * import_s:.0f} ms to Python's start and loads "
            f"{', '.join(heavy) or 'no heavy package'}; a warm dense search takes "
            + ", ".join(f"{spent:.0f} us above its parts at {n:,} documents" for n, spent in overheads.items())
        ),
        figures=tuple(figures),
        settings={
            "runs": options.runs,
            "rounds": options.rounds,
            "k": K,
            "dim": DIM,
            "encoder": f"{encoder.fingerprint}, {getattr(encoder, 'engine', '')}",
            "query": QUERY,
            "load_average": os.getloadavg()[0],
        },
    )
    result = Result.of(
        outcome,
        name="latency",
        title="Start, cold search and warm search",
        claim="import in under 0.3 s without torch; a warm dense search costs under 1 ms beside encoder and exact scan",
        environment=Environment.capture(seed=SEED, command=COMMAND, wall_s=time.perf_counter() - began),
    )
    result.save(options.out)
    from rich.console import Console

    Console(width=160).print(result)


if __name__ == "__main__":
    main()
