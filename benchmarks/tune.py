"""Does `tune` find what an exhaustive grid finds, in a tenth of its time, and is what it promises true?

    python benchmarks/tune.py [FILE.npy ...] [--data FOLDER] [--vectors FOLDER] [--n N] [--texts T] [--fresh M]
                              [--sets NAME ...] [--budgets WORD ...] [--threads T] [--clock wall|cpu] [--keep]
                              [--again] [--out FOLDER]

Three data sets, or those of the files: sentence embeddings (minilm), latent semantic analysis (lsa), and a synthetic
one. Three budgets each:

    memory      a quarter of a byte per dimension and 40 bytes: the most recall
    recall      recall@10 of .95: the fewest bytes
    both        recall@10 of .90 within two bytes per dimension: the lowest latency

The grid builds and measures everything that `tune` could choose on all vectors, by the same code and with the same
queries. The plan is compared with the grid's best as the grid measured both; latencies, which a slow minute changes,
are taken once more, of both in turn. Then the plan is built and asked fresh queries that neither has seen. With
`--clock cpu`, for a machine that does other work, the time of both is processor time. What is known is saved after
every budget. With `--keep`, what the result file holds of other budgets stays in it; its settings say which runs it is
made of. With `--again`, nothing but the latencies of plans that it holds is measured.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
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
from record import CLOCKS

os.environ.setdefault("HF_HUB_OFFLINE", "1")

CLAIM = (
    "on three data sets with three budgets each, the plan is within 5 % of the best of an exhaustive grid, in a tenth "
    "of the grid's time, and the recall on fresh queries is inside the interval that was promised"
)
WITHIN, TENTH = 1.05, 0.1
BUDGETS, SETS = ("memory", "recall", "both"), ("minilm", "lsa", "synthetic")
OURS, GRID = "isometry tune", "exhaustive grid"
LATENCY, EFFORT = "latency_ms", ", effort "
ROUNDS, ASKED = 7, 200
RUNS = "runs, of which the last to measure a figure counts"


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
    for space in options.sets:
        if space == "synthetic":
            made = synthetic_vectors(options.n + options.fresh, 256)
            yield f"{space}-{options.n}", made.x[: options.n], made.x[options.n :]
            continue
        found = load_vectors(space, short_texts(options.data, n=options.texts or options.n), options.vectors)
        yield f"{space}-{options.n}", np.array(found.x[: options.n]), np.array(found.queries[: options.fresh])


def value(trial: Trial, objective: str) -> float:
    """Return the quantity that a goal makes as good as it can be."""
    return trial.chosen.mean if objective == "recall" else float(getattr(trial, objective))


def ratio(plan: Trial, best: Trial, objective: str) -> float:
    """Return how much worse the plan is than the best: 1 is as good."""
    mine, theirs = value(plan, objective), value(best, objective)
    return theirs / mine if objective == "recall" else mine / theirs


def searched(
    problem: Problem, goal: Goal, threads: int | None, clock: Callable[[], float], *, every: bool
) -> tuple[Any, float]:
    """Return what a search finds, and its seconds; nothing is taken over from one to the next."""
    search = Search(Bench(problem, most_rows=len(problem.x), threads=threads), Journal())
    began = clock()
    found = search.every(goal) if every else search.best(goal)
    return found, clock() - began


def alternately(problem: Problem, notes: list[str]) -> list[float]:
    """Return milliseconds of one query by one thread for configurations as figures note them, asked in turn."""
    indexes, efforts = [], []
    for note in notes:
        spec, _, effort = note.rpartition(EFFORT)
        indexes.append(index_from_spec(spec, metric=problem.metric).build(problem.x))
        efforts.append(None if effort == "None" else int(effort))
    taken = np.empty((ROUNDS, len(notes), min(ASKED, len(problem.queries))))
    for round_, i in itertools.product(range(ROUNDS), range(len(notes))):
        for j in range(taken.shape[2]):
            began = time.perf_counter()
            indexes[i].search(problem.queries[j : j + 1], K, effort=efforts[i], threads=1)
            taken[round_, i, j] = time.perf_counter() - began
    return [1000 * float(each) for each in np.median(taken.min(0), 1)]


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
        self.path = options.out / "tune.json"
        known = Result.load(self.path) if options.keep or options.again else None
        self.figures = {_identity(each): each for each in ((*known.figures, *known.baselines) if known else ())}
        self.runs = _runs(known)
        self.without: list[str] = []

    def add(self, data: str, name: str, goal: Goal, plan: Trial, best: Trial, seconds: tuple[float, float]) -> None:
        """Note how a plan compares with the grid."""
        objective = goal.objective
        worse, share = ratio(plan, best, objective), seconds[0] / seconds[1]
        for method, trial, taken in ((OURS, plan, seconds[0]), (GRID, best, seconds[1])):
            note = f"{trial.spec}{EFFORT}{trial.effort}"
            each = {"data": data, "method": method}
            self._note(Figure(**each, measure=f"{name}: {objective}", value=value(trial, objective), note=note))
            self._note(Figure(**each, measure=f"{name}: seconds", value=taken))
        each = {"data": data, "method": OURS}
        self._note(Figure(**each, measure=f"{name}: times the best", value=worse))
        self._note(Figure(**each, measure=f"{name}: share of the time", value=share))
        print(
            f"{data} | {name} | {plan.spec} : {best.spec} | {worse:.3f} | {share:.3f} of {seconds[1]:.0f} s", flush=True
        )

    def time_again(self, data: str, name: str, problem: Problem) -> None:
        """Take the latencies of a plan and of the grid's best anew, in turn."""
        measure = f"{name}: {LATENCY}"
        known = [self.figures[data, method, measure] for method in (OURS, GRID)]
        times = alternately(problem, [figure.note for figure in known])
        for figure, ms in zip(known, times, strict=True):
            self._note(replace(figure, value=ms))
        worse = self.figures[data, OURS, f"{name}: times the best"]
        self._note(replace(worse, value=times[0] / times[1]))
        print(f"{data} | {name} | {times[0]:.4f} and {times[1]:.4f} ms in turn", flush=True)

    def promise(self, data: str, name: str, trial: Trial, fresh: Estimate) -> None:
        """Note what a plan promised, and what it kept."""
        each: dict[str, Any] = {"data": data, "method": OURS}
        self._note(Figure.of(trial.recall, **each, measure=f"{name}: promised recall"))
        self._note(Figure.of(fresh, **each, measure=f"{name}: recall on fresh queries"))
        print(f"{data} | {name} | promised {trial.recall} | fresh {fresh}", flush=True)

    def _note(self, figure: Figure) -> None:
        self.figures[_identity(figure)] = figure

    def save(self) -> None:
        """Write all figures so far."""
        options = self.options
        command, figures = _command(options), list(self.figures.values())
        environment = Environment.capture(
            seed=0, command=command, wall_s=time.perf_counter() - self.began, threads=options.threads
        )
        run = {"command": command, "date": environment.date, "load_average": os.getloadavg()}
        broken = [*_broken(figures), *self.without]
        plans = sum(figure.measure.endswith(": share of the time") for figure in figures)
        outcome = Outcome(
            verdict="partly" if broken else "holds",
            because="; ".join(broken) or f"All of {plans} plans are, and keep what they promised.",
            figures=tuple(figure for figure in figures if figure.method == OURS),
            baselines=tuple(figure for figure in figures if figure.method != OURS),
            settings={"n": options.n, "fresh": options.fresh, "k": K, "plans": plans, RUNS: [*self.runs, run]},
        )
        result = Result.of(
            outcome, name="tune", title="Tuning against an exhaustive grid", claim=CLAIM, environment=environment
        )
        options.out.mkdir(parents=True, exist_ok=True)
        result.save(self.path)


def _identity(figure: Figure) -> tuple[str, str, str]:
    return figure.data, figure.method, figure.measure


def _broken(figures: list[Figure]) -> list[str]:
    """Return in words where a plan is worse, slower or less true than the claim has it."""
    ours = {(figure.data, figure.measure): figure for figure in figures if figure.method == OURS}
    told = []
    for (data, measure), figure in ours.items():
        name, _, what = measure.partition(": ")
        if what == "times the best" and figure.value > WITHIN:
            told.append(f"{data} {name}: {figure.value:.3f} times the best")
        if what == "share of the time" and figure.value > TENTH:
            told.append(f"{data} {name}: {figure.value:.2f} of the grid's time")
        if what == "recall on fresh queries":
            promised = ours[data, f"{name}: promised recall"]
            low, high = promised.low or 0.0, promised.high or 1.0
            if not low <= figure.value <= high:
                told.append(f"{data} {name}: promised {low:.4f} to {high:.4f}, fresh queries have {figure.value:.4f}")
    return told


def _runs(known: Result | None) -> list[dict[str, Any]]:
    """Return the runs that a result is made of."""
    if known is None:
        return []
    if RUNS in known.settings:
        return list(known.settings[RUNS])
    alone = {"command": known.environment.command, "date": known.environment.date}
    return [alone | {"load_average": known.settings["load_average"]}]


def _command(options: argparse.Namespace) -> str:
    parts = ["python benchmarks/tune.py", *(file.name for file in options.files)]
    parts += [f"--n {options.n}", f"--fresh {options.fresh}"]
    parts += [f"--texts {options.texts}"] if options.texts else []
    parts += ["--sets " + " ".join(options.sets)] if tuple(options.sets) != SETS else []
    parts += ["--budgets " + " ".join(options.budgets)] if options.budgets else []
    parts += [f"--threads {options.threads}"] if options.threads else []
    parts += [f"--clock {options.clock}"] if options.clock != "wall" else []
    return " ".join(parts + ["--keep"] * options.keep + ["--again"] * options.again)


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.npy")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--texts", type=int, help="texts to encode, of which --n are taken; without, as many as --n")
    parser.add_argument("--fresh", type=int, default=2_000)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--budgets", nargs="+", choices=BUDGETS)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: processor time, for busy machines")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument(
        "--again", action="store_true", help="measure nothing but latencies of what the result file holds"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    record, clock = Record(options), CLOCKS[options.clock]
    for data, x, fresh in data_sets(options):
        problem = prepare(x)
        for name, goal in budgets(x.shape[1]).items():
            if options.budgets and name not in options.budgets:
                continue
            if options.again:
                if goal.objective == LATENCY:
                    record.time_again(data, name, problem)
                continue
            every, grid_s = searched(problem, goal, options.threads, clock, every=True)
            best = min(
                (trial for trial in every if trial.meets(goal)), key=lambda t: t.cost(goal.objective), default=None
            )
            plan, plan_s = searched(problem, goal, options.threads, clock, every=False)
            if best is None or plan is None:
                record.without.append(f"{data} {name}: grid {best and best.spec}, tune {plan and plan.spec}")
                continue
            same = next((trial for trial in every if trial.spec == plan.spec), plan)
            record.add(data, name, goal, same, best, (plan_s, grid_s))
            if goal.objective == LATENCY:
                record.time_again(data, name, problem)
            record.promise(data, name, plan, on_fresh(problem, plan, fresh))
            record.save()
    record.save()


if __name__ == "__main__":
    main()
