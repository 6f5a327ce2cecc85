"""What is kept of a vector in so many bytes, beside faiss at the same bytes?

    python benchmarks/compression.py [--data FOLDER] [--vectors FOLDER] [--n N] [--texts T] [--bytes B ...]
                                     [--judged NAME ...] [--methods WORD ...] [--rounds R] [--clock wall|cpu]
                                     [--keep] [--suffix TEXT] [--out FOLDER]

Codecs of isometry and faiss are trained and filled with the same vectors, in one process, at 4 to 192 bytes per vector.
Measured are recall@10 of the exact ten nearest neighbours by scanning the codes alone, nDCG@10 on judged sets, the
seconds to train and to encode (2 threads, or 1 where there is one processor), and queries per second of the scan (1
thread, 100 queries a call, methods of one size taking turns, medians). What takes more bytes than the budget does not
count. `--methods` keeps those whose name holds one of the words. With `--clock cpu`, for a machine that does other
work, all seconds are processor time, of all threads together. With `--keep`, figures of the result file that this run
does not measure stay in it; its settings say which runs it is made of.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from isometry.evaluation import Environment, Figure, Outcome, Plot, Result
from isometry.evaluation.corpora import VectorSet, load_vectors, short_texts
from isometry.evaluation.judged_vectors import JudgedVectors, load_judged_vectors
from isometry.evaluation.result import Verdict
from isometry.evaluation.throughput import mean_recall, medians, take_turns
from isometry.indexes import index_from_spec
from isometry.threads import processors
from record import CLOCKS

os.environ.setdefault("HF_HUB_OFFLINE", "1")

K, BATCH = 10, 100
THREADS = min(2, processors())
Clock = Callable[[], float]
RUNS = "runs, of which the last to measure a figure counts"
BUDGETS = (4, 8, 16, 32, 48, 96, 192)
OURS = {
    4: ("RVQ4", "OPQ4,PQ4x8"),
    8: ("RVQ8", "OPQ8,PQ8x8", "OPQ16,PQ16x4"),
    16: ("RVQ16", "OPQ16,PQ16x8", "OPQ32,PQ32x4", "PCA64,RaBitQ1"),
    32: ("OPQ32,PQ32x8", "OPQ64,PQ64x4", "PCA192,RaBitQ1"),
    48: ("OPQ48,PQ48x8", "OPQ96,PQ96x4", "PCA320,RaBitQ1", "PCA96,Int4"),
    96: ("OPQ96,PQ96x8", "OPQ192,PQ192x4", "PCA320,RaBitQ2", "PCA192,Int4", "PCA96,Int8", "PCA92,Float8"),
    192: ("OPQ192,PQ192x8", "Int4", "PCA352,RaBitQ4", "PCA192,Int8", "PCA188,Float8"),
}
FAISS = {
    4: ("PQ4x8", "OPQ4,PQ4x8", "RQ4x8"),
    8: ("PQ8x8", "OPQ8,PQ8x8", "RQ8x8"),
    16: ("PQ16x8", "OPQ16,PQ16x8", "RQ16x8", "PCAR64,RaBitQ"),
    32: ("PQ32x8", "OPQ32,PQ32x8", "PCAR192,RaBitQ"),
    48: ("PQ48x8", "OPQ48,PQ48x8", "PCAR320,RaBitQ", "PCAR96,SQ4"),
    96: ("PQ96x8", "OPQ96,PQ96x8", "PCAR192,SQ4", "PCAR96,SQ8", "PCAR304,RaBitQ2"),
    192: ("PQ192x8", "OPQ192,PQ192x8", "SQ4", "PCAR192,SQ8", "PCAR344,RaBitQ4"),
}
CLAIM = (
    "at equal bytes never more than a point of recall@10 below faiss's best, above it at most budgets; training and "
    "encoding at least 3 times faster than faiss's OPQ; scans at least as fast"
)


@dataclass
class Method:
    """One way to keep vectors in a budget, trained and filled."""

    name: str
    budget: int
    index: Any = None
    nbytes: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    def fill(self, x: NDArray[np.float32], clock: Clock) -> None:
        """Train on vectors and encode them."""
        raise NotImplementedError

    def search(self, q: NDArray[np.float32], threads: int = THREADS) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return ids and scores of the ten best by the codes."""
        raise NotImplementedError


class Ours(Method):
    """A specification over a scan."""

    def fill(self, x: NDArray[np.float32], clock: Clock) -> None:
        start = clock()
        self.index = index_from_spec(f"{self.name.removeprefix('isometry ')},Flat", metric="dot").build(x)
        self.seconds["train and encode"] = clock() - start
        self.nbytes = self.index.bytes_per_vector

    def search(self, q: NDArray[np.float32], threads: int = THREADS) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.index.search(q, K, effort=50, threads=threads)


class Faiss(Method):
    """An index of faiss's factory."""

    def fill(self, x: NDArray[np.float32], clock: Clock) -> None:
        faiss.omp_set_num_threads(THREADS)
        self.index = faiss.index_factory(x.shape[1], self.name.removeprefix("faiss "), faiss.METRIC_INNER_PRODUCT)
        start = clock()
        self.index.train(x)
        self.seconds["train"] = clock() - start
        self.index.add(x)
        self.seconds["train and encode"] = clock() - start
        self.nbytes = self.index.sa_code_size()

    def search(self, q: NDArray[np.float32], threads: int = THREADS) -> tuple[NDArray[Any], NDArray[Any]]:
        faiss.omp_set_num_threads(threads)
        scores, ids = self.index.search(q, K)
        return ids.astype(np.int64), scores


def main() -> None:
    """Measure and save."""
    options = _options()
    began, clock = time.perf_counter(), CLOCKS[options.clock]
    figures: list[Figure] = []
    name = f"compression{options.suffix}"
    path = options.out / f"{name}.json"
    known = Result.load(path) if options.keep else None

    def note(data: str, method: str, measure: str, value: float, **more: Any) -> None:
        figures.append(Figure(data=data, method=method, measure=measure, value=float(value), **more))
        print(f"{time.perf_counter() - began:7.0f} s  {data} | {method} | {measure}: {value:,.4g}", flush=True)

    def save() -> None:
        everything = _together(known, figures)
        budgets = sorted({_budget(figure) for figure in everything})
        verdict, because = _judge(everything, budgets)
        command = _command(options)
        environment = Environment.capture(seed=0, command=command, wall_s=time.perf_counter() - began)
        run = {
            "command": command,
            "date": environment.date,
            "load_average": os.getloadavg(),
            "clock": options.clock,
            "budgets": options.bytes,
        }
        outcome = Outcome(
            verdict=verdict,
            because=because,
            figures=tuple(figure for figure in everything if figure.method.startswith("isometry")),
            baselines=tuple(figure for figure in everything if not figure.method.startswith("isometry")),
            plots=(_plot(everything),),
            settings={"k": K, "rounds": options.rounds, "budgets": budgets, RUNS: [*_runs(known), run]},
        )
        options.out.mkdir(parents=True, exist_ok=True)
        result = Result.of(outcome, name=name, title="Compression at equal bytes", claim=CLAIM, environment=environment)
        result.save(path)

    texts = short_texts(options.data, n=options.texts)
    vectors = load_vectors("minilm", texts, options.vectors).head(options.n, queries=1_000)
    vectors = VectorSet(vectors.name, np.array(vectors.x), np.array(vectors.queries), vectors.training, vectors.folder)
    judged = [load_judged_vectors(options.data / name, keep=options.vectors) for name in options.judged]
    for budget in options.bytes:
        _equal_bytes(_methods(budget, options.methods), budget, vectors, options.rounds, clock, note)
        for each in judged:
            _judged(_methods(budget, options.methods), budget, each, clock, note)
        save()


def _methods(budget: int, wanted: list[str] | None) -> list[Method]:
    several: list[Method] = [Ours(f"isometry {spec}", budget) for spec in OURS[budget]]
    several += [Faiss(f"faiss {factory}", budget) for factory in FAISS[budget]]
    return [each for each in several if not wanted or any(word in each.name for word in wanted)]


def _equal_bytes(methods: list[Method], budget: int, vectors: VectorSet, rounds: int, clock: Clock, note: Any) -> None:
    """Measure recall and time of every method of a budget."""
    data, exact = f"{vectors.name}, n={len(vectors):,}, {budget} bytes", vectors.exact(K)
    ready = []
    for method in methods:
        method.fill(vectors.x, clock)
        over = method.nbytes > budget
        note(data, method.name, "bytes per vector", method.nbytes, note="over the budget" if over else "")
        note(data, method.name, "recall@10", mean_recall(method.search(vectors.queries)[0], exact))
        for what, seconds in method.seconds.items():
            note(data, method.name, f"{what} s", seconds)
        ready.append(method)
    q = vectors.queries[:BATCH]
    calls = {method.name: lambda method=method: method.search(q, 1) for method in ready}
    for name, seconds in medians(take_turns(calls, rounds=rounds, clock=clock)).items():
        note(data, name, "QPS of the scan", len(q) / seconds)


def _judged(methods: list[Method], budget: int, judged: JudgedVectors, clock: Clock, note: Any) -> None:
    """Measure nDCG@10 of every method of a budget, trained on the documents."""
    for method in methods:
        method.fill(judged.x, clock)
        found = judged.judge(*method.search(judged.queries))["nDCG@10"]
        note(f"{judged.name}, {budget} bytes", method.name, "nDCG@10", found.mean, low=found.low, high=found.high)


def _together(known: Result | None, figures: list[Figure]) -> list[Figure]:
    """Return the figures of this run and those of earlier ones that it did not measure, by budget and method."""
    found = {_identity(each): each for each in ((*known.figures, *known.baselines) if known else ())}
    found |= {_identity(each): each for each in figures}
    order = {name: i for i, name in enumerate(each.name for budget in BUDGETS for each in _methods(budget, None))}
    return sorted(found.values(), key=lambda each: (_budget(each), order[each.method]))


def _identity(figure: Figure) -> tuple[str, str, str]:
    return figure.data, figure.method, figure.measure


def _budget(figure: Figure) -> int:
    return int(figure.data.split()[-2])


def _runs(known: Result | None) -> list[dict[str, Any]]:
    """Return the runs that a result is made of."""
    if known is None:
        return []
    alone = {"command": known.environment.command, "date": known.environment.date}
    alone |= {key: value for key, value in known.settings.items() if key not in ("k", "rounds")}
    return list(known.settings.get(RUNS, [alone]))


def _command(options: argparse.Namespace) -> str:
    parts = ["python benchmarks/compression.py --data FOLDER", f"--n {options.n} --rounds {options.rounds}"]
    parts += [f"--texts {options.texts}", "--bytes " + " ".join(map(str, options.bytes))]
    parts += [f"--clock {options.clock}"] if options.clock != "wall" else []
    parts += ["--methods " + " ".join(options.methods)] if options.methods else []
    parts += [f"--suffix={options.suffix}"] if options.suffix else []
    return " ".join(parts + ["--keep"] * options.keep)


def _judge(figures: list[Figure], budgets: list[int]) -> tuple[Verdict, str]:
    """Compare the best of ours with the best of faiss, budget by budget."""
    value = {(figure.data, figure.method, figure.measure): figure.value for figure in figures}
    told, good = [], []
    for budget in budgets:
        found = [f for f in figures if f.measure == "recall@10" and f.data.endswith(f", {budget} bytes")]
        fits = [f for f in found if value[f.data, f.method, "bytes per vector"] <= budget]
        ours, theirs = (
            max((f for f in fits if f.method.startswith(side)), key=lambda f: f.value, default=None)
            for side in ("isometry", "faiss")
        )
        if ours is None or theirs is None:
            continue
        speed = [value[f.data, f.method, "QPS of the scan"] for f in (ours, theirs)]
        told.append(
            f"at {budget} bytes {ours.method.split()[-1]} keeps {ours.value:.3f} and faiss's best, "
            f"{theirs.method.split()[-1]}, {theirs.value:.3f} (scan {speed[0] / speed[1]:.2f} times as fast)"
        )
        good += [ours.value >= theirs.value - 0.01, speed[0] >= speed[1]]
        pairs = [(f, f.method.replace("isometry", "faiss")) for f in found if f.method.startswith("isometry OPQ")]
        faster = [
            value[f.data, other, "train and encode s"] / value[f.data, f.method, "train and encode s"]
            for f, other in pairs
            if (f.data, other, "train and encode s") in value
        ]
        if faster:
            told[-1] += f", OPQ trained and encoded {max(faster):.1f} times as fast"
            good.append(max(faster) >= 3)
    if not good:
        return "not measured", "Nothing could be compared yet."
    return ("holds" if all(good) else "partly" if any(good) else "does not hold"), "; ".join(told) + "."


def _plot(figures: list[Figure]) -> Plot:
    """Draw the best recall of both at each size."""
    curves: dict[str, list[list[float]]] = {}
    for side in ("isometry", "faiss"):
        best: dict[str, list[float]] = {}
        for figure in figures:
            if figure.measure == "recall@10" and figure.method.startswith(side):
                size = float(figure.data.split()[-2])
                best[figure.data] = [size, max(figure.value, best.get(figure.data, [0.0, 0.0])[1])]
        curves[side] = list(best.values())
    return Plot(
        name="recall",
        title="Recall@10 by the codes alone, best of each",
        x_label="bytes per vector",
        y_label="recall@10",
        curves=curves,
        log_x=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--texts", type=int, default=200_000, help="texts to encode; --n takes the first of them")
    parser.add_argument("--bytes", type=int, nargs="+", default=list(BUDGETS), choices=BUDGETS)
    parser.add_argument("--judged", nargs="*", default=["nfcorpus"])
    parser.add_argument("--methods", nargs="+", metavar="WORD")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: processor time, for busy machines")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--suffix", default="", help="added to the result's name, e.g. -small")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
