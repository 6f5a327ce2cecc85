"""How fast is search over learned sparse vectors at a given accuracy, and how do build, bytes and growth stand?

    python benchmarks/sparse.py [SECTION ...] --data FOLDER [--vectors FOLDER] [--space splade|synthetic] [--n N]
                                [--texts N] [--queries N] [--neighbours N] [--engines WORD ...] [--rounds R]
                                [--out FOLDER]

SECTION is one of these; without any, both are measured:

    throughput  time per query at accuracy@10 .90, .95, .97 and .99 and exact, one thread; of single calls at .95 the
                median and the 99th percentile; build seconds, bytes per vector as saved
    growth      the same at .95 for n = 10,000 to 300,000, with fitted exponents

`FOLDER` of --data holds the data sets whose short texts are encoded by the bundled sparse encoder, once, into the
folder of --vectors (by default in the user's cache). All engines run in one process over the same vectors. Each tries
all its settings, and of those that reach an accuracy the fastest counts; then these are timed in turns, medians over
the rounds. Times are processor time of the whole process, so that other work on the machine counts less, and a second
thread would count double. Every part is saved as soon as it is measured.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isometry.evaluation import Plot, Result
from isometry.evaluation.corpora import short_texts
from isometry.evaluation.result import Verdict
from isometry.evaluation.sparse_vectors import SparseSet, load_sparse, synthetic_sparse
from isometry.evaluation.throughput import mean_recall, medians, take_turns
from record import Curves, Record, growing, measure_sections, options_of
from sparse_peers import BUILDS, Build, K, Setting, SparseEngine, engines

os.environ.setdefault("HF_HUB_OFFLINE", "1")

TARGETS = (0.90, 0.95, 0.97, 0.99)
SIZES = (10_000, 30_000, 100_000, 300_000)
PEERS_UP_TO = 100_000
THREADS = 2
PLATEAU = 0.0005
SWAPPED = 1 / 3
CLAIMS = {
    "throughput": "at accuracy@10 .95 at least ten times as fast as exact evaluation; at each accuracy at most .8 of "
    "pyseismic-lsr's time per query, with fewer bytes per vector",
    "growth": "time per query grows slower than n, build time and bytes as n",
}


class Found(NamedTuple):
    """The fastest setting that reaches an accuracy."""

    engine: SparseEngine
    setting: Setting
    accuracy: float
    seconds: float


def record_of(section: str, options: argparse.Namespace) -> Record:
    """Return a section's record, without figures yet."""
    space = "" if options.space == "splade" else f"-{options.space}"
    words = ["python benchmarks/sparse.py", section, "--data FOLDER", f"--space {options.space}", f"--n {options.n}"]
    words += [f"--queries {options.queries}", f"--rounds {options.rounds}"]
    if section == "growth":
        words.append(f"--most {options.most}")
    if options.neighbours:
        words.append(f"--neighbours {options.neighbours}")
    if options.engines:
        words.append("--engines " + " ".join(f"'{word}'" for word in options.engines))
    return Record(
        f"sparse-{section}{space}{options.suffix}",
        f"Sparse search: {section}",
        CLAIMS[section],
        " ".join(words),
        options.out,
        {"k": K, "rounds": options.rounds, "queries": options.queries, "clock": "processor time of the process"},
    )


def load(options: argparse.Namespace) -> SparseSet:
    """Return the vectors that the options name."""
    if options.space == "synthetic":
        return synthetic_sparse(options.n, queries=options.queries)
    vectors = load_sparse(short_texts(options.data, n=options.texts), options.vectors)
    return vectors.head(min(options.n, len(vectors)), queries=options.queries)


def warm(several: list[SparseEngine]) -> None:
    """Build and search little, so that no kernel is compiled or read within a time."""
    little = synthetic_sparse(1_000, queries=8)
    for engine in several:
        build = type(engine)(engine.how) if hasattr(engine, "how") else type(engine)()
        build.build(little.x, THREADS)
        build.take(little.queries)
        for rail in build.rails():
            build.search(rail[0])


def built(several: list[SparseEngine], vectors: SparseSet, record: Record, data: str) -> Iterator[SparseEngine]:
    """Build each engine and give it the queries; an engine that fails is left out."""
    for engine in several:
        where = f"{data}; {engine.built_as}" if engine.built_as else data
        gc.collect()
        start = time.process_time()
        try:
            engine.build(vectors.x, THREADS)
            seconds = time.process_time() - start
            record.add(where, engine.name, "build s", seconds, note=f"processor seconds of {THREADS} threads")
            record.add(where, engine.name, "bytes per vector", engine.serialized_bytes() / len(vectors), note="saved")
            engine.take(vectors.queries)
        except Exception as problem:  # a peer may fail in its own way; the others go on
            record.left_out(f"{engine.name} {engine.built_as}", f"{type(problem).__name__}: {problem}"[:300])
            continue
        record.save()
        yield engine


def swept(engine: SparseEngine, exact: np.ndarray, targets: tuple[float, ...]) -> dict[float, Found]:
    """Return the fastest setting for each accuracy: of a rail, whose settings get slower, the first that reaches it."""
    best: dict[float, Found] = {}
    for rail in engine.rails():
        before = 0.0
        for setting in rail:
            start = time.process_time()
            answers = engine.search(setting)
            seconds = time.process_time() - start
            accuracy = mean_recall(engine.ids(answers), exact)
            for target in targets:
                if before < target <= accuracy and (target not in best or seconds < best[target].seconds):
                    best[target] = Found(engine, setting, accuracy, seconds)
            if accuracy >= targets[-1] or accuracy - before < PLATEAU:
                break
            before = max(before, accuracy)
    return best


def fastest(
    several: Iterator[SparseEngine], exact: np.ndarray, targets: tuple[float, ...]
) -> dict[tuple[str, float], Found]:
    """Return for each name and accuracy (1 stands for exact) the fastest of all builds and settings."""
    best: dict[tuple[str, float], Found] = {}
    for engine in several:
        found = swept(engine, exact, targets)
        if engine.exact is not None:
            accuracy = mean_recall(engine.ids(engine.search(engine.exact)), exact)
            found[1.0] = Found(engine, engine.exact, accuracy, np.inf)
        for target, each in found.items():
            key = engine.name, target
            if key not in best or each.seconds < best[key].seconds:
                best[key] = each
    return best


def measure_of(target: float) -> str:
    """Return what the time at an accuracy is called."""
    return "µs exact" if target == 1 else f"µs at {target:g}"


def timed(best: dict[tuple[str, float], Found], record: Record, data: str, rounds: int, nq: int) -> None:
    """Add the time per query of the fastest settings, all of one accuracy in turns."""
    for target in sorted({target for _, target in best}):
        entries = {name: found for (name, at), found in best.items() if at == target}
        calls = {name: lambda f=found: f.engine.search(f.setting) for name, found in entries.items()}
        times = take_turns(calls, rounds=rounds, clock=time.process_time)
        for name, seconds in medians(times).items():
            found, each = entries[name], 1e6 * times[name] / nq
            note = f"accuracy {found.accuracy:.4f}; {found.engine.words(found.setting)}".removesuffix("; ")
            ends = {"low": float(each.min()), "high": float(each.max())}
            record.add(data, name, measure_of(target), 1e6 * seconds / nq, note=note, **ends)
        record.save()


def throughput(options: argparse.Namespace) -> Result:
    """Time per query at an accuracy, and of single calls."""
    record, vectors = record_of("throughput", options), load(options)
    several, missing = engines([build._replace(neighbours=options.neighbours) for build in BUILDS], options.engines)
    if options.space == "synthetic":
        several = [each for each in several if not each.built_as or each.how[:-1] == BUILDS[0][:-1]]
    for name in missing:
        record.left_out(name, "not installed")
    data = f"{vectors.name}, n={len(vectors):,}"
    record.settings["vectors"] = {
        "non-zeros of a vector": vectors.x.nnz / len(vectors),
        "non-zeros of a query": vectors.queries.nnz / vectors.queries.shape[0],
        "columns": vectors.dim,
    }
    warm(several)
    exact = vectors.exact(K)
    best = fastest(built(several, vectors, record, data), exact, TARGETS)
    timed(best, record, data, options.rounds, vectors.queries.shape[0])
    for (name, target), found in best.items():
        if built_as := found.engine.built_as * (target == 0.95):
            for measure in ("build s", "bytes per vector"):
                value = record.value(name, measure, f"{data}; {built_as}")
                record.add(data, name, measure, value, note=f"as is fastest at {target:g}: {built_as}")
    singles(best, record, data, options.rounds)
    record.plots = [plot_of(record, best, data)]
    return record.save(*judge_throughput(record, data))


def singles(best: dict[tuple[str, float], Found], record: Record, data: str, rounds: int) -> None:
    """Add the time of one query a call: the settings of .95, or exact ones where there are no others."""
    names = dict.fromkeys(name for name, _ in best)
    chosen = {name: best.get((name, 0.95), best.get((name, 1.0))) for name in names}
    taken: dict[str, list[float]] = {name: [] for name, found in chosen.items() if found is not None}
    for turn in range(rounds + 1):
        for name in taken:
            found = chosen[name]
            for i in range(len(found.engine.rows)):
                start = time.thread_time_ns()
                found.engine.ask(i, found.setting)
                if turn:
                    taken[name].append((time.thread_time_ns() - start) / 1000)
    for name, times in taken.items():
        how = "accuracy .95" if (name, 0.95) in best else "exact"
        for share in (50, 99):
            value = float(np.percentile(times, share))
            record.add(f"{data}; one query a call", name, f"p{share} µs", value, note=f"{how}, processor time")


def plot_of(record: Record, best: dict[tuple[str, float], Found], data: str) -> Plot:
    """Return time per query against accuracy."""
    curves: dict[str, list[list[float]]] = {}
    for (name, target), found in sorted(best.items()):
        if (value := record.value(name, measure_of(target), data)) is not None:
            curves.setdefault(name, []).append([found.accuracy, value])
    return Plot(
        name="accuracy",
        title=f"Time per query at an accuracy, {data}, one thread",
        x_label="accuracy@10",
        y_label="µs per query",
        curves=curves,
        log_y=True,
    )


def judge_throughput(record: Record, data: str) -> tuple[Verdict, str]:
    """Compare the faster of ours with exact evaluation and with the authors' code."""
    ours, peer, exact = ("isometry Inverted", "isometry Seismic"), "pyseismic-lsr", "SciPy product"

    def best(measure: str) -> tuple[str, float] | None:
        known = {name: value for name in ours if (value := record.value(name, measure, data)) is not None}
        return min(known.items(), key=lambda each: each[1]) if known else None

    words, good = [], []
    whole = record.value(exact, "µs exact", data)
    if whole is not None and (found := best("µs at 0.95")):
        words.append(f"at .95 {found[0]} is {whole / found[1]:.0f} times as fast as {exact}")
        good.append(whole / found[1] >= 10)
    for target in TARGETS:
        found, theirs = best(measure_of(target)), record.value(peer, measure_of(target), data)
        if found and theirs:
            words.append(f"at {target:g} {found[0]} takes {found[1]:.0f} µs and {peer} {theirs:.0f}")
            good.append(found[1] <= 0.8 * theirs)
    weights = [record.value(name, "bytes per vector", data) for name in (*ours, peer)]
    if weights[0] and weights[2]:
        told_weights = ", ".join(
            f"{name} {value:,.0f}" for name, value in zip((*ours, peer), weights, strict=True) if value
        )
        words.append(f"bytes per vector: {told_weights}")
        good.append(weights[0] < weights[2])
    if not good:
        return "not measured", f"On {data} nothing could be compared."
    verdict: Verdict = "holds" if all(good) else "partly" if any(good) else "does not hold"
    return verdict, f"On {data}, one thread: {'; '.join(words)}."


def growth(options: argparse.Namespace) -> Result:
    """Time per query, build time and bytes as n grows."""
    record, vectors = record_of("growth", options), load(options)
    record.settings["wider"] = (
        f"rows beyond {len(vectors):,} are real ones with about a third of their terms changed for those of another"
    )
    several = engines([Build()], options.engines or ["isometry", "pyseismic-lsr", "SciPy"])[0]
    warm(several)
    seen: Curves = {}
    for n in sorted(size for size in SIZES if size <= options.most):
        part = SparseSet(vectors.name, widened(vectors.x, n), vectors.queries, vectors.folder)
        data = f"{part.name}, n={n:,}"
        exact = part.exact(K)
        those = [each for each in several if n <= PEERS_UP_TO or each.module in ("isometry", "scipy")]
        best = fastest(built(those, part, record, data), exact, (0.95,))
        timed(best, record, data, options.rounds, part.queries.shape[0])
        for engine in those:
            where = f"{data}; {engine.built_as}" if engine.built_as else data
            for measure in ("build s", "bytes per vector", measure_of(0.95), measure_of(1)):
                value = record.value(engine.name, measure, where if measure[0] == "b" else data)
                if value is not None:
                    seen.setdefault(measure, {}).setdefault(engine.name, []).append([float(n), value])
        record.save()
    words = growing(record, vectors.name, seen)
    slow, long, heavy = (
        [f.value for f in record.figures if f.measure.startswith(f"exponent of {kind}") and "isometry" in f.method]
        for kind in ("µs", "build s", "bytes")
    )
    if not slow:
        return record.save("not measured", "Fewer than two sizes were measured.")
    holds = max(slow) < 1 and max(long) < 1.2 and max(heavy) < 0.1
    return record.save("holds" if holds else "partly", "; ".join(words) + ".")


def widened(x: Any, n: int, seed: int = 0) -> Any:
    """Return `n` rows: those of `x`, then real ones of which about a third of the terms are another row's."""
    from scipy.sparse import csr_array

    from isometry.vectors import concat

    if n <= x.shape[0]:
        return x[:n]
    rng = np.random.default_rng(seed)
    parts, missing = [x], n - x.shape[0]
    while missing:
        count = min(missing, x.shape[0])

        def some(rows: Any, share: float) -> Any:
            kept = rows.data * (rng.random(rows.nnz) < share)
            thin = csr_array((kept.astype(np.float32), rows.indices, rows.indptr), shape=rows.shape)
            thin.eliminate_zeros()
            return thin

        mine, other = (x[np.sort(rng.permutation(x.shape[0])[:count])] for _ in range(2))
        parts.append(csr_array(some(mine, 1 - SWAPPED).maximum(some(other[rng.permutation(count)], SWAPPED))))
        missing -= count
    return concat(parts)


SECTIONS = {each.__name__: each for each in (throughput, growth)}


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--space", choices=("splade", "synthetic"), default="splade")
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--texts", type=int, default=100_000, help="texts to encode; --n takes the first of them")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest size of growth")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--neighbours", type=int, default=0, help="near rows that both codes of Seismic keep of a row")
    parser.add_argument("--engines", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--suffix", default="", help="added to the result's name")
    measure_sections(options_of(parser, SECTIONS), SECTIONS)


if __name__ == "__main__":
    main()
