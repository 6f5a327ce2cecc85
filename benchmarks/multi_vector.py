"""How fast is late interaction at a given quality, in how many bytes, and how does it grow?

    python benchmarks/multi_vector.py [SECTION ...] --data FOLDER [--plaid PYTHON] [--n N] [--judged NAME ...]
                                      [--queries N] [--most N] [--engines WORD ...] [--rounds R] [--out FOLDER]

SECTION is one of these; without any, both are measured:

    search   on judged sets, time per query at an nDCG@10 that is at most half a point below that of all tokens in
             float16 and an exact MaxSim; on short texts, time per query at a recall@10 of .90 and .95 of it; bytes per
             document as saved, build seconds
    growth   for n = 1,000 to 100,000 short texts: time per query at a recall of .90, build seconds, bytes, and what
             share of an import the encoder takes

Tokens are those of the bundled encoder, shortened to 128 numbers (see `isometry.evaluation.token_sets`). `--plaid`
names the Python of an environment that has fast-plaid, whose pins clash with ours: it then takes part, over pipes. Each
engine tries all its settings, and of those that are good enough the fastest counts; then these are timed in turns,
medians over the rounds: all queries in one call, one thread, processor time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isometry.evaluation import Result, measure, run_from_arrays
from isometry.evaluation.result import Verdict
from isometry.evaluation.throughput import mean_recall, medians
from isometry.evaluation.token_sets import TokenSets, judged_tokens, late_encoder, short_text_tokens
from multi_vector_peers import EXACT, Engine, K, Setting, engines
from record import Curves, Record, growing, measure_sections, options_of

os.environ.setdefault("HF_HUB_OFFLINE", "1")

MEASURE, SLACK = "nDCG@10", 0.005
RECALLS = (0.90, 0.95)
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
THREADS = 2
CLAIMS = {
    "search": "at equal nDCG@10 at least twice as fast as PLAID on a CPU, in at most a quarter of the bytes of tokens "
    "in float16, at a loss below one point",
    "growth": "time per query grows slower than n, build time and bytes as n",
}


class Good(NamedTuple):
    """The fastest setting that is good enough."""

    engine: Engine
    setting: Setting
    value: float
    seconds: float


def record_of(section: str, options: argparse.Namespace) -> Record:
    """Return a section's record, without figures yet."""
    words = ["python benchmarks/multi_vector.py", section, "--data FOLDER", f"--n {options.n}"]
    words += ["--judged", *options.judged, f"--queries {options.queries}", f"--rounds {options.rounds}"]
    words += ["--plaid PYTHON"] * (options.plaid is not None) + [f"--most {options.most}"] * (section == "growth")
    words += ["--engines " + " ".join(f"'{word}'" for word in options.engines)] if options.engines else []
    settings = {"k": K, "rounds": options.rounds, "queries": options.queries, "clock": "processor time"}
    return Record(
        f"multi_vector-{section}{options.suffix}",
        f"Multi-vector search: {section}",
        CLAIMS[section],
        " ".join(words),
        options.out,
        settings,
    )


def built(several: list[Engine], sets: TokenSets, record: Record, data: str) -> list[Engine]:
    """Build each engine; one that fails is left out."""
    there = []
    for engine in several:
        try:
            seconds, nbytes = engine.build(sets, THREADS)
        except Exception as problem:  # a peer may fail in its own way; the others go on
            record.left_out(engine.name, f"{type(problem).__name__}: {problem}"[:300])
            continue
        record.add(data, engine.name, "build s", seconds, note=f"processor seconds of {THREADS} threads")
        record.add(data, engine.name, "bytes per document", nbytes / len(sets.documents), note="saved")
        there.append(engine)
    return there


def swept(engine: Engine, value: Callable[[np.ndarray], float], targets: tuple[float, ...]) -> dict[float, Good]:
    """Return the fastest setting for each target: of a rail, whose settings get slower, the first that reaches it."""
    best: dict[float, Good] = {}
    for rail in engine.rails():
        before = -np.inf
        for setting in rail:
            ids, seconds = engine.search(setting)
            reached = value(ids)
            for target in targets:
                if before < target <= reached and (target not in best or seconds < best[target].seconds):
                    best[target] = Good(engine, setting, reached, seconds)
            before = max(before, reached)
            if before >= targets[-1]:
                break
    return best


def timed(good: dict[str, Good], record: Record, data: str, measure_name: str, rounds: int, nq: int) -> None:
    """Add the time per query of the fastest settings, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in good}
    for turn in range(rounds + 1):
        for name, found in good.items():
            seconds = found.engine.search(found.setting)[1]
            if turn:
                taken[name].append(1000 * seconds / nq)
    for name, value in medians(taken).items():
        found = good[name]
        note = f"reached {found.value:.4f} with {found.engine.words(found.setting)}"
        record.add(
            data, name, measure_name, value, note=note, low=float(min(taken[name])), high=float(max(taken[name]))
        )
    record.save()


def quality(sets: TokenSets, ids: np.ndarray) -> float:
    """Return nDCG@10 of ids in the order found."""
    run = run_from_arrays(sets.query_ids, sets.document_ids, ids, -np.arange(ids.size).reshape(ids.shape))
    return measure(run, sets.qrels, [MEASURE]).estimates[MEASURE].mean


def search(options: argparse.Namespace) -> Result:
    """Time per query at a quality, bytes and build time."""
    record = record_of("search", options)
    several = [judged_tokens(options.data / name, options.queries, progress=progress) for name in options.judged]
    if options.n:
        several.append(short_text_tokens(options.data, options.n, options.queries, progress=progress))
    words, checks = [], []
    with tempfile.TemporaryDirectory() as folder:
        for sets in several:
            data = f"{sets.name}, {len(sets.documents):,} documents"
            record.settings[data] = {"tokens": len(sets.documents.tokens), "of a query": sets.queries.lengths.mean()}
            there = built(engines(options.plaid, Path(folder), options.engines), sets, record, data)
            exact = there[0].search(())[0]
            if sets.qrels:
                best = quality(sets, exact)
                record.add(data, EXACT, MEASURE, best)
                for engine in there:
                    record.add(data, engine.name, f"{MEASURE}, most effort", quality(sets, engine.most()))
                at = {best - SLACK: f"ms at {MEASURE} - {SLACK:g}"}
                value: Callable[[np.ndarray], float] = lambda ids, sets=sets: quality(sets, ids)  # noqa: E731
            else:
                for engine in there:
                    record.add(data, engine.name, "recall@10, most effort", mean_recall(engine.most(), exact))
                at = {target: measure_of(target) for target in RECALLS}
                value = lambda ids, exact=exact: mean_recall(ids, exact)  # noqa: E731
            found = {engine.name: swept(engine, value, tuple(at)) for engine in there}
            for target, name in at.items():
                good = {engine: each[target] for engine, each in found.items() if target in each}
                timed(good, record, data, name, options.rounds, len(sets.queries))
                said, held = compared(record, data, name)
                words.append(said)
                checks += held
            for engine in there:
                engine.close()
    verdict: Verdict = (
        "not measured" if not checks else "holds" if all(checks) else "partly" if any(checks) else "does not hold"
    )
    return record.save(verdict, "; ".join(word for word in words if word) + ".")


def compared(record: Record, data: str, name: str) -> tuple[str, list[bool]]:
    """Compare the fastest of ours that keeps a quarter of the bytes with exact search and with fast-plaid."""
    times = {f.method: f.value for f in record.figures if f.data == data and f.measure == name}
    weights = {f.method: f.value for f in record.figures if f.data == data and f.measure == "bytes per document"}
    whole = weights.get(EXACT, np.inf)
    light = {m: ms for m, ms in times.items() if m.startswith("isometry FDE") and weights[m] <= whole / 4}
    heavy = {m: ms for m, ms in times.items() if m.startswith("isometry FDE")}
    plaid = {m: ms for m, ms in times.items() if m.startswith("fast-plaid")}
    if not heavy:
        return f"{data}: no encoding reaches the quality", [False]
    best = min(heavy, key=heavy.__getitem__)
    said = f"{data}, {name}: {best} {heavy[best]:.2f} in {weights[best]:,.0f} bytes per document"
    said += f", exact {times[EXACT]:.2f} in {whole:,.0f}"
    checks = []
    if light:
        small = min(light, key=light.__getitem__)
        said += f"; in at most a quarter of the bytes {small} {light[small]:.2f} in {weights[small]:,.0f}"
    checks.append(bool(light))
    if plaid:
        rival = min(plaid, key=plaid.__getitem__)
        said += f"; {rival} {plaid[rival]:.2f} in {weights[rival]:,.0f}"
        checks.append(heavy[best] <= plaid[rival] / 2)
    return said, checks


def measure_of(target: float) -> str:
    """Return what the time at a recall is called."""
    return f"ms at recall {target:g}"


def growth(options: argparse.Namespace) -> Result:
    """Time per query, build time and bytes as n grows, and what the encoder takes of an import."""
    record = record_of("growth", options)
    sizes = [size for size in SIZES if size <= options.most]
    target = RECALLS[0]
    texts = short_text_tokens(options.data, sizes[-1], options.queries, progress=progress)
    seen: Curves = {}
    for n in sizes:
        sets = TokenSets(texts.name, texts.documents[:n], texts.queries)
        data = f"{sets.name}, n={n:,}"
        several = built(engines(None, Path(), options.engines or ["exact", "LVQ4", "Vamana"]), sets, record, data)
        exact = several[0].search(())[0]
        recall: Callable[[np.ndarray], float] = lambda ids, exact=exact: mean_recall(ids, exact)  # noqa: E731
        found = {engine.name: swept(engine, recall, (target,)) for engine in several}
        good = {name: each[target] for name, each in found.items() if each}
        timed(good, record, data, measure_of(target), options.rounds, len(sets.queries))
        for measure_name in ("build s", "bytes per document", measure_of(target)):
            for engine in several:
                if (value := record.value(engine.name, measure_name, data)) is not None:
                    seen.setdefault(measure_name, {}).setdefault(engine.name, []).append([float(n), value])
        record.save()
    words = growing(record, texts.name, seen)
    slow = [f.value for f in record.figures if f.measure.startswith("exponent of ms") and "FDE" in f.method]
    long = [f.value for f in record.figures if f.measure.startswith("exponent of build") and "FDE" in f.method]
    words += [
        f"encoding takes {100 * part:.0f} % of the time until {name} can be searched"
        for name, part in encoding(record, options, texts)
    ]
    holds = bool(slow) and min(slow) < 1 and max(long) < 1.2
    return record.save("holds" if holds else "partly", "; ".join(words) + ".")


def encoding(record: Record, options: argparse.Namespace, texts: TokenSets) -> list[tuple[str, float]]:
    """Add the processor seconds that encoding 1,000 texts takes, and its share of encoding and building."""
    from isometry.evaluation.corpora import short_texts

    some = short_texts(options.data, n=options.most).base[:1_000]
    encoder = late_encoder()
    encoder.encode_document(some[:32])
    start = time.process_time()
    encoder.encode_document(some)
    each = (time.process_time() - start) / len(some)
    record.add(texts.name, "isometry encoder", "ms per text", 1000 * each, note="processor time")
    n, shares = len(texts.documents), []
    for figure in [f for f in record.figures if f.measure == "build s" and f.data.endswith(f"n={n:,}")]:
        part = n * each / (n * each + figure.value)
        record.add(figure.data, figure.method, "share of encoding", part, note="of encoding and building")
        shares.append((figure.method, part))
    return shares


def progress(done: int, total: int | None, what: str) -> None:
    """Print how far encoding is."""
    print(f"encoded {done:,} of {total:,} {what}", flush=True)


SECTIONS = {each.__name__: each for each in (search, growth)}


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--plaid", type=Path, help="Python of an environment that has fast-plaid")
    parser.add_argument("--n", type=int, default=10_000, help="short texts; 0 for none")
    parser.add_argument("--judged", nargs="*", default=["cranfield", "nfcorpus"])
    parser.add_argument("--queries", type=int, default=200, help="most queries of a set")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest size of growth")
    parser.add_argument("--engines", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--suffix", default="", help="added to the result's name")
    measure_sections(options_of(parser, SECTIONS), SECTIONS)


if __name__ == "__main__":
    main()
