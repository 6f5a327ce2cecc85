"""How fast is dense search at a given recall, and how do build, bytes, growth, churn and start-up stand?

    python benchmarks/dense.py [SECTION ...] --data FOLDER [--vectors FOLDER] [--space minilm|lsa]
                               [--view same|names|static] [--n N] [--engines WORD ...] [--specs SPEC ...]
                               [--rounds R] [--clock wall|cpu] [--out FOLDER]

SECTION is one of these; without any, all of them are measured:

    throughput  queries per second at recall@10 .90, .95 and .99, by 1 and 2 threads, one query or 1,000 a call;
                build seconds with 2 threads; bytes per vector as saved
    growth      the same at .95 for n = 10,000 to 1,000,000, with fitted exponents
    churn       20 times 5 % deleted and as much added: recall and speed beside an index built afresh
    cold        the first call ever (kernels are compiled) and the first call of a later process
    latency     one query a call, n = 100,000: p50, p99, and what Python adds to the search itself
    scan        exact and quantised scans beside faiss and beside the time to read the bytes once

`FOLDER` of --data holds the data sets whose short texts are encoded, once, into the folder of --vectors (by default in
the user's cache). All engines run in one process over the same vectors. Effort is tuned for each engine by the same
bisection to the least that reaches the recall, then all are timed in turns, medians over the rounds. Every part is
saved as soon as it is measured. `--engines` keeps the engines whose names hold one of the words. With `--clock cpu`,
for a machine that does other work, all seconds are processor time (of a build, that of its threads together), and
nothing is timed by 2 threads.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from isometry.errors import SpecError
from isometry.evaluation import Plot, Result
from isometry.evaluation.corpora import (
    SPACES,
    VIEWS,
    VectorSet,
    load_vectors,
    short_texts,
    synthetic_vectors,
    widened,
)
from isometry.evaluation.result import Verdict
from isometry.evaluation.throughput import least_effort, mean_recall, medians, take_turns
from peers import OURS, Engine, Hnswlib, K, Ours, engines, resident_bytes
from record import CLOCKS, Curves, Record, growing, measure_sections, options_of

os.environ.setdefault("HF_HUB_OFFLINE", "1")

TARGETS = (0.90, 0.95, 0.99)
BATCH = 1_000
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
PEERS_UP_TO = 300_000
TEXTS = 200_000
CYCLES, TURNOVER = 20, 0.05
NOISE = 0.35
CACHES = ("ISOMETRY_CACHE", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
CLAIMS = {
    "throughput": "at recall@10 .95 and .99 at least twice the best peer's queries per second at no more than half its "
    "bytes, built at least as fast as hnswlib",
    "growth": "time per query grows much slower than n, build time hardly faster than n",
    "churn": "after 20 cycles of 5 % deleted and added, recall@10 is within .01 of an index built afresh, and speed "
    "within 20 %",
    "cold": "the compilation is paid once per machine; a later process starts in well under a second",
    "latency": "the Python layer adds less than 30 microseconds to a query",
    "scan": "exact scans are at least as fast as the best peer's, and within twice the time to read the bytes",
}


def record_of(section: str, options: argparse.Namespace) -> Record:
    """Return a section's record, without figures yet."""
    return Record(
        f"dense-{section}{options.suffix}",
        f"Dense search: {section}",
        CLAIMS[section],
        command(section, options),
        options.out,
        {"k": K, "rounds": options.rounds, "clock": options.clock},
    )


def command(section: str, options: argparse.Namespace) -> str:
    """Return how to run this again."""
    parts = ["python benchmarks/dense.py", section, "--data FOLDER", f"--space {options.space}"]
    parts += [f"--view {options.view}", f"--n {options.n}", f"--rounds {options.rounds}"]
    for name, usual in (("texts", TEXTS), ("most", SIZES[-1]), ("queries", BATCH), ("clock", "wall")):
        if (given := getattr(options, name)) != usual:
            parts.append(f"--{name} {given}")
    if options.suffix:
        parts.append(f"--suffix={options.suffix}")
    for name in ("specs", "engines"):
        if given := getattr(options, name):
            parts.append(f"--{name} " + " ".join(f"'{each}'" for each in given))
    return " ".join(parts)


def load(options: argparse.Namespace) -> VectorSet:
    """Return the vectors that the options name."""
    if options.space == "synthetic":
        return synthetic_vectors(options.n, options.dim, shift=0.0 if options.view == "same" else 0.5)
    texts = short_texts(options.data, n=options.texts)
    began = time.perf_counter()

    def progress(done: int, total: int | None, what: str) -> None:
        print(f"{time.perf_counter() - began:7.0f} s  encoded {done:,} of {total:,} {what}", flush=True)

    vectors = load_vectors(
        options.space, texts, options.vectors, view=options.view, dim=options.dim or 1024, progress=progress
    )
    # Out of the file and into memory, where pages that are read for the first time can't count as an engine's.
    in_memory = (np.array(each) for each in (vectors.x, vectors.queries, vectors.training))
    return VectorSet(vectors.name, *in_memory, vectors.folder)


def built(
    several: list[Engine], vectors: VectorSet, record: Record, threads: int, data: str
) -> Iterator[tuple[Engine, dict[float, int]]]:
    """Build each engine and find the effort of every recall; an engine that fails is left out."""
    exact, clock = vectors.exact(K), CLOCKS[record.settings["clock"]]
    for engine in several:
        gc.collect()
        memory, start = resident_bytes(), clock()
        try:
            engine.build(vectors.x, vectors.training, threads)
            seconds = clock() - start
            gc.collect()
            record.add(data, engine.name, "build s", seconds, note=f"{threads} threads")
            record.add(data, engine.name, "bytes per vector", engine.serialized_bytes() / len(vectors), note="saved")
            grown = (resident_bytes() - memory) / len(vectors)
            record.add(data, engine.name, "resident bytes per vector", grown, note="growth of the process")
            reached = efforts(engine, vectors.queries, exact, record, data)
        except Exception as problem:  # a peer may fail in its own way; the others go on
            record.left_out(engine.name, f"{type(problem).__name__}: {problem}"[:300])
            continue
        record.save()
        yield engine, reached


def efforts(
    engine: Engine, q: np.ndarray, exact: np.ndarray, record: Record, data: str, targets: tuple[float, ...] = TARGETS
) -> dict[float, int]:
    """Return the least effort by recall, for those that can be reached."""

    def search(effort: int) -> np.ndarray:
        engine.prepare(effort, len(os.sched_getaffinity(0)))
        return engine.search(q)

    found = {}
    for target, reached in least_effort(search, exact, targets, least=engine.least, most=engine.most).items():
        if reached is None:
            record.left_out(f"{engine.name} at {target:g} on {data}", f"not reached by an effort of {engine.most}")
        else:
            found[target] = reached.effort
            note = f"recall {reached.recall:.4f}"
            record.add(data, engine.name, f"effort at {target:g}", reached.effort, note=note)
    return found


def one_by_one(engine: Engine, q: np.ndarray, clients: int) -> Callable[[], None]:
    """Return a call that searches every query alone, from `clients` Python threads."""
    rows = [q[i : i + 1] for i in range(len(q))]

    def run(share: list[np.ndarray]) -> None:
        for row in share:
            engine.search(row)

    if clients == 1:
        return lambda: run(rows)
    pool = ThreadPoolExecutor(clients)
    return lambda: list(pool.map(run, [rows[i::clients] for i in range(clients)])) and None


def throughput(options: argparse.Namespace) -> Result:
    """Queries per second at a recall, engines taking turns."""
    record, vectors = record_of("throughput", options), load(options).head(options.n, queries=options.queries)
    several, missing = engines(tuple(options.specs or OURS), options.engines)
    for name in missing:
        record.left_out(name, "not installed")
    data = f"{vectors.name}, n={len(vectors):,}"
    ready = list(built(several, vectors, record, 2, data))
    q = vectors.queries[:BATCH]
    for threads in threads_of(options):
        for target in TARGETS:
            for batch in (len(q), 1):
                calls, before = {}, {}
                for engine, reached in ready:
                    if target in reached:
                        at, alone = reached[target], batch == 1
                        calls[engine.name] = (
                            one_by_one(engine, q, threads) if alone else lambda engine=engine: engine.search(q)
                        )
                        before[engine.name] = lambda engine=engine, at=at, alone=alone, threads=threads: engine.prepare(
                            at, 1 if alone else threads
                        )
                times = take_turns(calls, rounds=options.rounds, before=before, clock=CLOCKS[options.clock])
                for name, seconds in medians(times).items():
                    spread = len(q) / times[name]
                    ends = {"low": float(spread.min()), "high": float(spread.max())}
                    record.add(
                        f"{data}; {regime(threads, batch)}", name, f"QPS at {target:g}", len(q) / seconds, **ends
                    )
                record.save()
    return record.save(*judge_throughput(record, f"{data}; {regime(1, len(q))}"))


def threads_of(options: argparse.Namespace) -> tuple[int, ...]:
    """Return the numbers of threads to time searches by; processor time says nothing of more than one."""
    return (1,) if options.clock == "cpu" else (1, 2)


def regime(threads: int, batch: int) -> str:
    """Return threads and queries per call in words."""
    return f"{threads} thread{'s' * (threads > 1)}, batch {batch:,}"


def judge_throughput(record: Record, where: str) -> tuple[Verdict, str]:
    """Compare the best of ours with the best peer, one thread, whole batch."""
    names = list(dict.fromkeys(figure.method for figure in record.figures))
    ours, peers = ([n for n in names if n.startswith("isometry") is mine] for mine in (True, False))
    told, good = [], []
    for target in (0.95, 0.99):
        speeds = {n: v for n in names if (v := record.value(n, f"QPS at {target:g}", where)) is not None}
        rivals = {n: speeds[n] for n in peers if n in speeds}
        if not rivals or not any(n in speeds for n in ours):
            continue
        rival = max(rivals, key=lambda n: rivals[n])
        best = max((n for n in ours if n in speeds), key=lambda n: speeds[n])
        ratio = speeds[best] / rivals[rival]
        weight = (record.value(best, "bytes per vector") or 0) / (record.value(rival, "bytes per vector") or 1)
        told.append(
            f"at {target:g} {best} answers {speeds[best]:,.0f} queries per second and {rival} {rivals[rival]:,.0f} "
            f"({ratio:.2f} times) with {weight:.2f} of its bytes"
        )
        good += [ratio >= 2, weight <= 0.5]
    builds = {n: v for n in names if (v := record.value(n, "build s")) is not None}
    if (reference := builds.get("hnswlib M=32")) and (mine := [builds[n] for n in ours if n in builds]):
        told.append(f"our builds took {min(mine):.0f} to {max(mine):.0f} s and hnswlib's {reference:.0f} s")
        good.append(max(mine) <= reference)
    if not told:
        return "not measured", f"On {where} nothing could be compared."
    verdict: Verdict = "holds" if all(good) else "partly" if any(good) else "does not hold"
    return verdict, f"On {where}: {'; '.join(told)}."


def growth(options: argparse.Namespace) -> Result:
    """Speed, build time and bytes as n grows."""
    record, vectors = record_of("growth", options), load(options)
    record.settings["wider"] = f"rows beyond {len(vectors):,} are real ones plus {NOISE} of a real difference"
    specs = tuple(options.specs or ("LVQ8,Vamana32", "LVQ8,Vamana64"))
    wanted = options.engines or [*(f"isometry {spec}" for spec in specs), "hnswlib M=32", "faiss HNSW32 SQ8"]
    seen: Curves = {}
    for n in sorted(size for size in SIZES if size <= options.most):
        x = widened(vectors.x, n, share=NOISE)
        part = VectorSet(vectors.name, x, vectors.queries[: options.queries], vectors.training, vectors.folder)
        data, q = f"{vectors.name}, n={n:,}", part.queries[:BATCH]
        several = engines(specs, wanted)[0]
        for engine, reached in built(
            [e for e in several if isinstance(e, Ours) or n <= PEERS_UP_TO], part, record, 2, data
        ):
            measured = {m: record.value(engine.name, m, data) for m in ("build s", "bytes per vector")}
            if 0.95 in reached:
                engine.prepare(reached[0.95], 1)
                times = take_turns(
                    {engine.name: lambda engine=engine, q=q: engine.search(q)},
                    rounds=options.rounds,
                    clock=CLOCKS[options.clock],
                )
                measured["QPS at 0.95"] = len(q) / medians(times)[engine.name]
                record.add(data, engine.name, "QPS at 0.95", measured["QPS at 0.95"], note="1 thread")
            for measure, value in measured.items():
                if value is not None:
                    seen.setdefault(measure, {}).setdefault(engine.name, []).append([float(n), value])
            record.save()
    words = growing(record, vectors.name, seen)
    slow = [f.value for f in record.figures if f.measure == "exponent of QPS at 0.95" and "isometry" in f.method]
    long = [f.value for f in record.figures if f.measure == "exponent of build s" and "isometry" in f.method]
    if not slow or not long:
        return record.save("not measured", "Fewer than two sizes were measured.")
    holds = min(slow) > -0.5 and max(long) < 1.3
    return record.save("holds" if holds else "does not hold", "; ".join(words) + ".")


def churn(options: argparse.Namespace) -> Result:
    """Recall and speed while rows come and go."""
    from isometry.indexes import Flat

    record, vectors = record_of("churn", options), load(options)
    n = min(options.n, len(vectors) // 2)
    step = round(TURNOVER * n)
    x, q = np.ascontiguousarray(vectors.x[: n + CYCLES * step]), vectors.queries[: options.queries]
    data = f"{vectors.name}, n={n:,}"
    truth = Flat(metric="dot").build(x)
    specs = tuple(options.specs or ("LVQ8,Vamana64", "LVQ8,Vamana32", "Vamana64"))
    several: list[Engine] = [*(Ours(spec) for spec in specs), Hnswlib(32)]
    several = [e for e in several if not options.engines or any(word in e.name for word in options.engines)]
    clock, good, told = CLOCKS[options.clock], [], []
    for engine in several:
        rng = np.random.default_rng(0)
        live = np.zeros(len(x), bool)
        live[:n] = True
        engine.build(x[:n], vectors.training, 2)
        exact = truth.search(q, K, allowed=live)[0]
        at = efforts(engine, q, exact, record, data, (0.95,)).get(0.95)
        if at is None:
            continue
        curve, spent = [], 0.0
        for cycle in range(1, CYCLES + 1):
            gone = rng.choice(np.flatnonzero(live), step, replace=False)
            new = np.arange(n + (cycle - 1) * step, n + cycle * step)
            start = clock()
            if isinstance(engine, Hnswlib):
                for row in gone:
                    engine.index.mark_deleted(row)
                engine.index.add_items(x[new], new, num_threads=2, replace_deleted=True)
            else:
                engine.index.remove(gone)
                engine.index.add(x[new])
            spent += clock() - start
            live[gone], live[new] = False, True
            engine.prepare(at, 2)
            exact = truth.search(q, K, allowed=live)[0]
            curve.append([float(cycle), mean_recall(engine.search(q), exact)])
            record.add(data, engine.name, f"recall@10 after {cycle} cycles", curve[-1][1], note=f"effort {at}")
        rows = np.flatnonzero(live)
        fresh = type(engine)(engine.spec if isinstance(engine, Ours) else 32)  # type: ignore[arg-type]
        start = clock()
        fresh.build(x[rows], vectors.training, 2)
        rebuilt = clock() - start
        fresh.prepare(at, 2)
        best = mean_recall(rows[np.clip(fresh.search(q), 0, None)], exact)
        pair = {"worn": engine, "fresh": fresh}
        times = take_turns(
            {which: lambda each=each: each.search(q) for which, each in pair.items()},
            rounds=options.rounds,
            before={which: lambda each=each, at=at: each.prepare(at, 1) for which, each in pair.items()},
            clock=CLOCKS[options.clock],
        )
        speed = {which: len(q) / seconds for which, seconds in medians(times).items()}
        record.add(data, engine.name, "recall@10 built afresh", best)
        for which, value in speed.items():
            record.add(data, engine.name, f"QPS {which}", value, note=f"1 thread, effort {at}")
        record.add(data, engine.name, "s per cycle", spent / CYCLES, note=f"built afresh in {rebuilt:.1f} s")
        record.plots.append(
            Plot(
                name=f"recall-{len(record.plots)}",
                title=f"{engine.name}: recall@10 while rows come and go",
                x_label="cycles of 5 %",
                y_label="recall@10",
                curves={"worn": curve, "built afresh": [[1.0, best], [float(CYCLES), best]]},
            )
        )
        record.save()
        if isinstance(engine, Ours):
            good.append(curve[-1][1] >= best - 0.01 and speed["worn"] >= 0.8 * speed["fresh"])
            told.append(
                f"{engine.name}: recall {curve[-1][1]:.4f} against {best:.4f} built afresh, "
                f"{speed['worn']:,.0f} against {speed['fresh']:,.0f} queries per second"
            )
    if not told:
        return record.save("not measured", "None of ours could be measured.")
    return record.save("holds" if all(good) else "partly" if any(good) else "does not hold", "; ".join(told) + ".")


COLD = """
import json, sys, time
clock = time.{clock}
began = clock()
import numpy as np
times = {{"import numpy": clock() - began}}
def lap(name, start):
    times[name] = clock() - start
start = clock(); import isometry as iso; lap("import isometry", start)
heavy = sorted(name for name in ("numba", "sklearn", "torch") if name in sys.modules)
x = np.load({vectors!r})
start = clock(); index = iso.index_from_spec({spec!r}, metric="dot").build(x); lap("build", start)
start = clock(); index.search(x[:1], 10); lap("first search", start)
start = clock(); index.search(x[:1], 10); lap("second search", start)
start = clock(); index.search(x[:64], 10); lap("first batch", start)
index.save({folder!r}, overwrite=True)
print(json.dumps([times, heavy]))
"""
LATER = """
import json, sys, time
clock = time.{clock}
began = clock()
import numpy as np
import isometry as iso
times = {{"import isometry": clock() - began}}
def lap(name, start):
    times[name] = clock() - start
q = np.load({vectors!r})[:64]
start = clock(); index = iso.load_index({folder!r}); lap("load", start)
start = clock(); index.search(q[:1], 10); lap("first search", start)
start = clock(); index.search(q[:1], 10); lap("second search", start)
times["from start to first answer"] = clock() - began
print(json.dumps([times, []]))
"""


def cold(options: argparse.Namespace) -> Result:
    """Start-up with an empty kernel cache and with a filled one, each in its own process."""
    record = record_of("cold", options)
    n = min(options.n, 2_000)
    x = synthetic_vectors(n, options.dim or 384).x
    data, told, slowest = f"synthetic {x.shape[1]}-d, n={n:,}", [], 0.0
    for spec in options.specs or ("LVQ8,Vamana64", "Vamana64", "LVQ4x8,Vamana64"):
        with tempfile.TemporaryDirectory() as home:
            np.save(f"{home}/x.npy", x)
            names = {
                "clock": CLOCKS[options.clock].__name__,
                "spec": spec,
                "vectors": f"{home}/x.npy",
                "folder": f"{home}/index",
            }
            # Wherever the kernels keep what was compiled, it is under one of these.
            caches = {name: f"{home}/{name}" for name in CACHES}
            runs = [("first ever", COLD), ("later process", COLD)] + [("later process, saved index", LATER)] * 3
            laps: dict[str, list[dict[str, float]]] = {}
            try:
                for which, code in runs:
                    times, heavy = in_new_process(code.format(**names), caches)
                    laps.setdefault(which, []).append(times)
                    if heavy:
                        record.left_out(f"light import, {spec}", f"`import isometry` imported {', '.join(heavy)}")
            except RuntimeError as problem:
                record.left_out(spec, str(problem)[-300:])
                continue
        for which, several in laps.items():
            for lap in several[0]:
                seconds = statistics.median(each[lap] for each in several)
                record.add(f"{data}; {which}", f"isometry {spec}", f"{lap} s", seconds)
        start = laps["later process, saved index"]
        answer = statistics.median(each["from start to first answer"] for each in start)
        slowest = max(slowest, answer)
        first = sum(laps["first ever"][0][lap] for lap in ("build", "first search", "first batch"))
        told.append(f"{spec}: {first:.1f} s of first calls ever, then {answer:.2f} s from import to the first answer")
        record.save()
    warm = [str(Path(sys.executable).with_name("isometry")), "warmup"]
    with tempfile.TemporaryDirectory() as home:
        caches = dict.fromkeys(CACHES, home)
        clock = time.perf_counter if options.clock == "wall" else children_s
        start = clock()
        done = subprocess.run(warm, env=os.environ | caches, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            record.add("all kernels", "isometry warmup", "s", clock() - start)
        else:
            record.left_out("isometry warmup", f"exit status {done.returncode}")
    if not told:
        return record.save("not measured", "No index could be started.")
    return record.save("holds" if slowest < 1 else "does not hold", "; ".join(told) + ".")


def children_s() -> float:
    """Return the processor seconds of all processes that were started here and have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


def in_new_process(code: str, caches: dict[str, str]) -> tuple[dict[str, float], list[str]]:
    """Run `code` with its own caches and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | caches, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    times, heavy = json.loads(done.stdout.splitlines()[-1])
    return times, heavy


def latency(options: argparse.Namespace) -> Result:
    """One query a call, and what the Python layer adds."""
    record = record_of("latency", options)
    vectors = load(options).head(min(options.n, 100_000), queries=options.queries)
    specs = tuple(options.specs or ("LVQ8,Vamana64", "LVQ8,Vamana32", "Vamana64"))
    several, _ = engines(specs, options.engines or [*(f"isometry {s}" for s in specs), "hnswlib M=32", "faiss HNSW32"])
    data, added, clock = f"{vectors.name}, n={len(vectors):,}", {}, CLOCKS[options.clock]
    q = vectors.queries
    rows = [q[i : i + 1] for i in range(len(q))]
    for engine, reached in built(several, vectors, record, 2, data):
        if 0.95 not in reached:
            continue
        engine.prepare(reached[0.95], 1)
        calls = np.array([one_call(engine, rows, clock) for _ in range(options.rounds + 1)])[1:]
        whole = take_turns({"batch": lambda engine=engine: engine.search(q)}, rounds=options.rounds, clock=clock)
        inside = 1e6 * medians(whole)["batch"] / len(q)
        alone = np.median(calls, axis=0)
        for share in (50, 99):
            record.add(data, engine.name, f"p{share} µs at 0.95", float(np.percentile(calls, share)), note="1 thread")
        record.add(data, engine.name, "µs per query of a batch", inside, note="1 thread")
        added[engine.name] = float(alone.mean()) - inside
        record.add(data, engine.name, "µs added to a single query", added[engine.name], note="mean call less batch")
        few = type(engine).__name__ == "Ours" and few_vectors(engine.spec, vectors, clock)  # type: ignore[attr-defined]
        if few:
            record.add("64 vectors", engine.name, "p50 µs", few, note="next to no search: the cost of a call")
        record.save()
    ours = {name: value for name, value in added.items() if name.startswith("isometry")}
    if not ours:
        return record.save("not measured", "None of ours could be measured.")
    few_all = [f.value for f in record.figures if f.data == "64 vectors"]
    worst = max(*ours.values(), *few_all) if few_all else max(ours.values())
    told = ", ".join(f"{name} {value:.0f}" for name, value in added.items())
    return record.save(
        "holds" if worst < 30 else "does not hold",
        f"Microseconds that a single call takes beyond its share of a batch: {told}; a search of 64 vectors takes "
        f"{', '.join(f'{value:.0f}' for value in few_all) or 'no time that was measured'} in all.",
    )


def one_call(engine: Engine, rows: list[np.ndarray], clock: Callable[[], float]) -> list[float]:
    """Return the microseconds of every query alone."""
    taken = []
    for row in rows:
        start = clock()
        engine.search(row)
        taken.append(1e6 * (clock() - start))
    return taken


def few_vectors(spec: str, vectors: VectorSet, clock: Callable[[], float]) -> float:
    """Return the median microseconds of a search among 64 vectors."""
    small = Ours(spec)
    small.build(np.ascontiguousarray(vectors.x[:64]), vectors.training, 1)
    small.prepare(K, 1)
    rows = [vectors.queries[i : i + 1] for i in range(min(500, len(vectors.queries)))]
    one_call(small, rows, clock)
    return float(np.median(one_call(small, rows, clock)))


def scan(options: argparse.Namespace) -> Result:
    """Scans of all vectors beside the time to read them."""
    record, vectors = record_of("scan", options), load(options).head(options.n, queries=options.queries)
    x, exact = np.ascontiguousarray(vectors.x), vectors.exact(K)
    n, dim = x.shape
    data = f"{vectors.name}, n={n:,}"
    searches = dict(scanners(x, options, record))
    for name, search in searches.items():
        found = mean_recall(search(vectors.queries, 2), exact)
        record.add(data, name, "recall@10", found)
    sizes = {"32 bits": 4 * dim, "16 bits": 2 * dim, "8 bits": dim, "4 bits": dim // 2}
    cells = {bits: np.ones(n * width // 4, np.float32) for bits, width in sizes.items()}
    for threads in threads_of(options):
        for batch in (1, 64):
            q = np.ascontiguousarray(vectors.queries[:batch])
            calls: dict[str, Callable[[], Any]] = {
                f"floor: read {bits} a number": reader(values, threads) for bits, values in cells.items()
            }
            calls |= {name: lambda s=s, q=q, t=threads: s(q, t) for name, s in searches.items()}
            rounds = take_turns(calls, rounds=3 * options.rounds, clock=CLOCKS[options.clock])
            # Nothing reads faster than the fastest round, so that one is the floor.
            times = medians({n: v if not n.startswith("floor") else v[v == v.min()][:1] for n, v in rounds.items()})
            for name, seconds in times.items():
                if batch == 1 or not name.startswith("floor"):
                    record.add(f"{data}; {regime(threads, batch)}", name, "ms per query", 1000 * seconds / batch)
            if batch == 1:
                for name, bits in ((name, bits_of(name)) for name in searches):
                    ratio = times[name] / times[f"floor: read {bits} a number"]
                    record.add(f"{data}; {regime(threads, 1)}", name, "times the floor", ratio, note=bits)
            record.save()
    return record.save(*judge_scan(record, list(searches), data))


def bits_of(name: str) -> str:
    """Return how wide a scanner's numbers are, from its name."""
    for words, bits in ((("LVQ4", "SQ4"), "4 bits"), (("LVQ8", "SQ8"), "8 bits"), (("16",), "16 bits")):
        if any(word in name for word in words):
            return bits
    return "32 bits"


def scanners(
    x: np.ndarray, options: argparse.Namespace, record: Record
) -> Iterator[tuple[str, Callable[[np.ndarray, int], np.ndarray]]]:
    """Yield every scanner over `x`: from queries and threads to ids."""
    import faiss

    import isometry as iso

    for spec in options.specs or ("Flat", "Float16,Flat", "LVQ8,Flat", "LVQ4,Flat"):
        try:
            index = iso.index_from_spec(spec, metric="dot").build(x)
        except SpecError as problem:
            record.left_out(spec, str(problem))
            continue
        yield f"isometry {spec}", lambda q, t, index=index: index.search(q, K, threads=t)[0]

    def peer(index: Any) -> Callable[[np.ndarray, int], np.ndarray]:
        index.train(x)
        index.add(x)

        def search(q: np.ndarray, threads: int) -> np.ndarray:
            faiss.omp_set_num_threads(threads)
            faiss.cvar.distance_compute_blas_threshold = 1 if len(q) >= 16 else 2**30
            return index.search(q, K)[1]

        return search

    yield "faiss IndexFlatIP", peer(faiss.IndexFlatIP(x.shape[1]))
    kinds = {"SQfp16": "QT_fp16", "SQ8": "QT_8bit", "SQ4": "QT_4bit"}
    for name, kind in kinds.items():
        yield (
            f"faiss {name}",
            peer(
                faiss.IndexScalarQuantizer(x.shape[1], getattr(faiss.ScalarQuantizer, kind), faiss.METRIC_INNER_PRODUCT)
            ),
        )


def reader(values: np.ndarray, threads: int) -> Callable[[], Any]:
    """Return a call that reads an array once: its maximum, each thread its part."""
    if threads == 1:
        return values.max
    pool, parts = ThreadPoolExecutor(threads), np.array_split(values, threads)
    return lambda: list(pool.map(np.max, parts))


def judge_scan(record: Record, names: list[str], data: str) -> tuple[Verdict, str]:
    """Compare each of ours with the faiss scan of the same width, and with the floor."""
    good, told = [], []
    for name in (name for name in names if name.startswith("isometry")):
        rivals = [each for each in names if each.startswith("faiss") and bits_of(each) == bits_of(name)]
        for where in (f"{data}; {regime(1, batch)}" for batch in (1, 64)):
            mine = record.value(name, "ms per query", where)
            best = min(v for each in rivals if (v := record.value(each, "ms per query", where)) is not None)
            if mine is not None:
                good.append(mine <= best)
                told.append(f"{name} {mine:.3g} ms and {rivals[0]} {best:.3g} ms ({where.rpartition(', ')[2]})")
        floor = record.value(name, "times the floor", f"{data}; {regime(1, 1)}")
        if floor is not None:
            good.append(floor <= 2)
            told.append(f"{floor:.2f} times the floor")
    if not good:
        return "not measured", "None of ours could be measured."
    return "holds" if all(good) else "partly" if any(good) else "does not hold", "One thread: " + "; ".join(told) + "."


SECTIONS = {each.__name__: each for each in (throughput, growth, churn, cold, latency, scan)}


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--space", choices=(*SPACES, "synthetic"), default="minilm")
    parser.add_argument("--view", choices=VIEWS, default="same")
    parser.add_argument("--dim", type=int, default=None, help="dimensions of lsa (1024) and synthetic (384)")
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--texts", type=int, default=TEXTS, help="texts to encode; --n takes the first of them")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest size of growth")
    parser.add_argument("--queries", type=int, default=BATCH)
    parser.add_argument("--engines", nargs="+")
    parser.add_argument("--specs", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: processor time, for busy machines")
    parser.add_argument("--suffix", default="", help="added to the result's name, e.g. -lsa")
    options = options_of(parser, SECTIONS)
    if options.space == "synthetic":
        options.dim = options.dim or 384
    measure_sections(options, SECTIONS)


if __name__ == "__main__":
    main()
