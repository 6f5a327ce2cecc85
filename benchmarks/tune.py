"""Does `tune` find what an exhaustive grid finds, in a tenth of its time, and is what it promises true?

    python benchmarks/tune.py [FILE.npy ...] [--data FOLDER] [--vectors FOLDER] [--n N] [--fresh M]
                              [--budgets WORD ...] [--threads T] [--out FOLDER]

Three data sets, or those of the files: sentence embeddings (minilm), latent semantic analysis (lsa), and a synthetic
one. Three budgets each:

    memory      a quarter of a byte per dimension and 40 bytes: the most recall
    recall      recall@10 of .95: the fewest bytes
    both        recall@10 of .90 within two bytes per dimension: the lowest latency

The grid builds and measures everything that `tune` could choose on all vectors, by the same code and with the same
queries. The plan is compared with the grid's best as the grid measured both. Then the plan is built and asked fresh
queries that neither has seen. The part `saved` is written after every budget.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isometry.estimates import Estimate, recall_against_exact
from isometry.evaluation import Environment, Figure, Outcome, Result
from isometry.evaluation.corpora import load_vectors, short_texts, synthetic_vectors
from isometry.indexes import Flat, index_from_spec
from isometry.tuning import Goal, Trial
from isometry.tuning.halving import Search
from isometry.tuning.journal import Journal
from isometry.tuning.measuring import Bench, K
from isometry.tuning.problem import Problem, prepare

os.environ.setdefault("HF_HUB_OFFLINE", "1")

CLAIM = (
    "on three data sets with three budgets each, the plan is within 5 % of the best of an exhaustive grid, in a tenth "
    "of the grid's time, and the recall on fresh queries is inside the interval that was promised"
)
WITHIN, TENTH = 1.05, 0.1


def budgets(dim: int) -> dict[str, Goal]:
    """Return the bounds by name."""
    return {
        "memory": Goal(bytes_per_vector=dim / 4 + 40),
        "recall": Goal(recall=0.95),
        "both": Goal(recall=0.9, bytes_per_vector=2 * dim),
    }


def data_sets(options: argparse.Namespace) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, vectors and fresh queries."""
    if options.files:
        for file in options.files:
            stored = np.load(file, mmap_mode="r", allow_pickle=False)
            order = np.random.default_rng(0).permutation(len(stored))[: options.n + options.fresh]
            rows = np.ascontiguousarray(stored[order], np.float32)
            yield f"{file.stem}-{len(rows) - options.fresh}", rows[: -options.fresh], rows[-options.fresh :]
        return
    texts = short_texts(options.data, n=options.n)
    for space in ("minilm", "lsa"):
        found = load_vectors(space, texts, options.vectors)
        yield f"{space}-{options.n}", np.array(found.x[: options.n]), np.array(found.queries[: options.fresh])
    made = synthetic_vectors(options.n + options.fresh, 256)
    yield f"synthetic-{options.n}", made.x[: options.n], made.x[options.n :]


def value(trial: Trial, objective: str) -> float:
    """Return the quantity that a goal makes as good as it can be."""
    return trial.chosen.mean if objective == "recall" else float(getattr(trial, objective))


def ratio(plan: Trial, best: Trial, objective: str) -> float:
    """Return how much worse the plan is than the best: 1 is as good."""
    mine, theirs = value(plan, objective), value(best, objective)
    return theirs / mine if objective == "recall" else mine / theirs


def searched(problem: Problem, goal: Goal, threads: int | None, *, every: bool) -> tuple[Any, float]:
    """Return what a search finds, and its seconds; nothing is taken over from one to the next."""
    search = Search(Bench(problem, most_rows=len(problem.x), threads=threads), Journal())
    began = time.perf_counter()
    found = search.every(goal) if every else search.best(goal)
    return found, time.perf_counter() - began


def on_fresh(problem: Problem, trial: Trial, fresh: np.ndarray) -> Estimate:
    """Build a configuration and ask it what nobody has asked yet."""
    index = index_from_spec(trial.spec, metric=problem.metric).build(problem.x)
    found, _ = index.search(fresh, K, effort=trial.effort)
    exact, _ = Flat(metric=problem.metric).build(problem.x).search(fresh, K)
    return recall_against_exact(found, exact)


class Record:
    """What has been measured so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.began = options, time.perf_counter()
        self.ours: list[Figure] = []
        self.grid: list[Figure] = []
        self.failures: list[str] = []
        self.runs = 0

    def add(self, data: str, name: str, goal: Goal, plan: Trial, best: Trial, seconds: tuple[float, float]) -> None:
        """Note how a plan compares with the grid."""
        objective = goal.objective
        worse, share = ratio(plan, best, objective), seconds[0] / seconds[1]
        for figures, method, trial, taken in (
            (self.ours, "isometry tune", plan, seconds[0]),
            (self.grid, "exhaustive grid", best, seconds[1]),
        ):
            note = f"{trial.spec}, effort {trial.effort}"
            each = {"data": data, "method": method}
            figures.append(Figure(**each, measure=f"{name}: {objective}", value=value(trial, objective), note=note))
            figures.append(Figure(**each, measure=f"{name}: seconds", value=taken))
        self.ours.append(Figure(data=data, method="isometry tune", measure=f"{name}: times the best", value=worse))
        self.ours.append(Figure(data=data, method="isometry tune", measure=f"{name}: share of the time", value=share))
        self._check(worse <= WITHIN, f"{data} {name}: {worse:.3f} times the best")
        self._check(share <= TENTH, f"{data} {name}: {share:.2f} of the grid's time")
        print(
            f"{data} | {name} | {plan.spec} : {best.spec} | {worse:.3f} | {share:.3f} of {seconds[1]:.0f} s", flush=True
        )

    def promise(self, data: str, name: str, trial: Trial, fresh: Estimate) -> None:
        """Note what a plan promised, and what it kept."""
        each: dict[str, Any] = {"data": data, "method": "isometry tune"}
        self.ours.append(Figure.of(trial.recall, **each, measure=f"{name}: promised recall"))
        self.ours.append(Figure.of(fresh, **each, measure=f"{name}: recall on fresh queries"))
        kept = trial.recall.low <= fresh.mean <= trial.recall.high
        self._check(kept, f"{data} {name}: promised {trial.recall}, fresh queries have {fresh}")
        print(
            f"{data} | {name} | promised {trial.recall} | fresh {fresh} | {'kept' if kept else 'NOT KEPT'}", flush=True
        )

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            self.failures.append(what)

    def save(self) -> None:
        """Write all figures so far."""
        options = self.options
        given = [*map(str, (file.name for file in options.files)), f"--n {options.n}", f"--fresh {options.fresh}"]
        outcome = Outcome(
            verdict="holds" if not self.failures else "partly",
            because="; ".join(self.failures) or f"All of {self.runs} plans are, and keep what they promised.",
            figures=tuple(self.ours),
            baselines=tuple(self.grid),
            settings={"n": options.n, "fresh": options.fresh, "k": K, "load_average": os.getloadavg()},
        )
        result = Result.of(
            outcome,
            name="tune",
            title="Tuning against an exhaustive grid",
            claim=CLAIM,
            environment=Environment.capture(
                seed=0,
                command="python benchmarks/tune.py " + " ".join(given),
                wall_s=time.perf_counter() - self.began,
                threads=options.threads,
            ),
        )
        options.out.mkdir(parents=True, exist_ok=True)
        result.save(options.out / "tune.json")


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.npy")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--fresh", type=int, default=2_000)
    parser.add_argument("--budgets", nargs="+", choices=("memory", "recall", "both"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    record = Record(options)
    for data, x, fresh in data_sets(options):
        problem = prepare(x)
        for name, goal in budgets(x.shape[1]).items():
            if options.budgets and name not in options.budgets:
                continue
            record.runs += 1
            every, grid_s = searched(problem, goal, options.threads, every=True)
            best = min(
                (trial for trial in every if trial.meets(goal)), key=lambda t: t.cost(goal.objective), default=None
            )
            plan, plan_s = searched(problem, goal, options.threads, every=False)
            if best is None or plan is None:
                record.failures.append(f"{data} {name}: grid {best and best.spec}, tune {plan and plan.spec}")
                continue
            same = next((trial for trial in every if trial.spec == plan.spec), plan)
            record.add(data, name, goal, same, best, (plan_s, grid_s))
            record.promise(data, name, plan, on_fresh(problem, plan, fresh))
            record.save()
    record.save()


if __name__ == "__main__":
    main()
