"""Do filtered searches keep their recall, and how fast are they beside other engines?

    python benchmarks/filters.py [SECTION ...] --data FOLDER [--vectors FOLDER] [--n N] [--queries Q] [--sets WORD ...]
                                 [--spec SPEC] [--rounds R] [--suffix TEXT] [--out FOLDER]

SECTION is one of these; without any, all of them are measured:

    cells       queries per second at recall@10 .95 by kind of filter and share of rows that pass, .001 to .9: the
                planner, each of its strategies alone, filtering after a search, and other engines; on papers with
                their own attributes, and on sentence embeddings with values that lean with the queries and against
    collection  `collection.search(where=...)` from end to end: the first time a filter is asked, and again
    churn       20 times 5 % deleted and as much added: filtered and unfiltered recall and speed beside a fresh build
    ceiling     the planner beside a graph built over nothing but the rows that pass, for filters of one label and of a
                range: the most that a build which knows the filters could gain
    labels      an index that was told of an attribute beside one that was not, for filters of one of its values, also
                with another condition, and without a filter; and what the links cost
    predicates  from the text of a filter to the rows that pass: read from the columns, and from scalar indexes of Lance

All engines run in one process on one thread over the same vectors, each at the least effort that reaches the recall,
timed in turns by processor time, medians over the rounds. Recall is the share of the matching rows there are, up to 10.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import isometry as iso
from isometry.evaluation import Result
from isometry.evaluation.corpora import load_vectors, short_texts
from isometry.evaluation.fanns import (
    LEANINGS,
    SELECTIVITIES,
    Asked,
    Filter,
    Speed,
    compare,
    leaning,
    load_papers,
    one_region,
    paper_filters,
)
from isometry.evaluation.fanns.filters import PAPERS
from isometry.evaluation.memory import PeakMemory
from isometry.evaluation.result import Verdict
from isometry.evaluation.throughput import mean_recall, medians, take_turns
from isometry.indexes import Flat
from isometry.systems.fanns import POST, methods_of
from record import Record, measure_sections, options_of

os.environ.setdefault("HF_HUB_OFFLINE", "1")

K, TARGET, USUAL, MOST = 10, 0.95, 64, 1024
PLANNER, WAYS = "planner", ("scan", "bridge", "walk")
HNSW_M, WINDOW = 32, 128
SETS = ("papers", "embeddings")
CYCLES, TURNOVER = 20, 0.05
CHURNED = (None, 0.05, 0.3)
CLAIMS = {
    "cells": "the planner has at least 0.9 of the best strategy's queries per second in 90 % of cells, is never below "
    "recall .9, ahead of the other engines in 90 % of cells, and nothing ever breaks a filter",
    "collection": "a filter that was asked before costs a search next to nothing",
    "churn": "after 20 cycles of 5 % deleted and added, recall is within .01 of a fresh build, speed within 20 %",
    "ceiling": "an index built for its filters can't be twice as fast as the planner over one that knows none",
    "labels": "links among the rows of a label make filters of it at least 1.5 times as fast where .05 to .5 of the "
    "rows have it, and take nothing from the planner elsewhere, or from a search without a filter",
    "predicates": "scalar indexes find the rows that pass in at most half the time that the columns take",
}
ABSENT = {
    "lancedb": "not installed",
    "qdrant_client": "its local mode has no index: it looks at every payload in Python",
    "pyvsag": "its Python search takes no filter in this version",
    "usearch": "its Python search takes no filter",
}
KNOWN = ("equality", "range")
LABELLED, KNOWN_FROM = 512, 0.05
BUILT_FOR = (0.01, 0.05, 0.2)
INDEXES, COLUMNS = "isometry, scalar indexes", "isometry, columns"
NUMBERS = "isometry, columns and the numbers of rows"
MANY_PAPERS = 500_000


def record_of(section: str, options: argparse.Namespace) -> Record:
    """Return a section's record, without figures yet."""
    command = f"python benchmarks/filters.py {section} --data FOLDER --n {options.n} --queries {options.queries}"
    if section == "cells":
        command += f" --sets {' '.join(options.sets)}"
    command += f" --spec '{options.spec}' --rounds {options.rounds}"
    if options.suffix:
        command += f" --suffix={options.suffix}"
    settings = {"k": K, "target": TARGET, "clock": "processor time, one thread", "rounds": options.rounds}
    name, title = f"filters-{section}{options.suffix}", f"Filtered search: {section}"
    return Record(name, title, CLAIMS[section], command, options.out, settings)


def embeddings(options: argparse.Namespace) -> Any:
    """Return sentence embeddings that were encoded before, in memory."""
    vectors = load_vectors("minilm", short_texts(options.data, n=100_000), options.vectors)
    return vectors.name, np.array(vectors.x[: 2 * options.n]), np.array(vectors.queries)


@contextmanager
def built(record: Record, data: str, name: str, n: int) -> Iterator[None]:
    """Note the processor time and the most memory that building an index takes."""
    start = time.process_time()
    with PeakMemory() as peak:
        yield
    record.add(data, name, "build s", time.process_time() - start)
    if peak.nbytes is not None:
        record.add(data, name, "most bytes per vector while building", peak.nbytes / n)


class Peers:
    """Other engines over the same vectors, which are asked for the rows that pass a mask."""

    def __init__(self, x: np.ndarray, filters: list[Filter], record: Record, data: str, home: str) -> None:
        import faiss
        import hnswlib

        faiss.omp_set_num_threads(1)
        n, d = x.shape
        self.lists = int(2 ** np.round(np.log2(2 * np.sqrt(n))))
        self.flat = faiss.IndexFlatIP(d)
        self.ivf = faiss.index_factory(d, f"IVF{self.lists},Flat", faiss.METRIC_INNER_PRODUCT)
        self.hnsw = faiss.IndexHNSWFlat(d, HNSW_M, faiss.METRIC_INNER_PRODUCT)
        self.hnsw.hnsw.efConstruction = WINDOW
        for name, index in (("Flat", self.flat), ("IVF", self.ivf), ("HNSW32", self.hnsw)):
            with built(record, data, f"faiss {name}", n):
                index.train(x)
                index.add(x)
        with built(record, data, "hnswlib M=32", n):
            self.hnswlib = hnswlib.Index(space="ip", dim=d)
            self.hnswlib.init_index(max_elements=n, M=HNSW_M, ef_construction=WINDOW, random_seed=0)
            self.hnswlib.add_items(x, np.arange(n), num_threads=1)
        self.columns = {each.mask.tobytes(): f"filter_{i}" for i, each in enumerate(filters)}
        self.table = None
        if importlib.util.find_spec("lancedb"):
            columns = {name: np.frombuffer(mask, bool) for mask, name in self.columns.items()}
            with built(record, data, "lancedb IVF1_HNSW_SQ", n):
                self.table = lance_table(x, columns, home)

    def methods(self, q: np.ndarray, mask: np.ndarray) -> dict[str, Callable[[int], np.ndarray]]:
        """Return every engine's search, from an effort to ids; the bitmap is made anew in every call, as in ours."""
        import faiss

        def search(index: Any, **settings: Any) -> np.ndarray:
            bits = np.packbits(mask, bitorder="little")
            kind = settings.pop("kind")
            return index.search(q, K, params=kind(sel=faiss.IDSelectorBitmap(bits), **settings))[1]

        def graph(effort: int) -> np.ndarray:
            self.hnswlib.set_ef(effort)
            passes = mask.tolist().__getitem__
            try:
                return self.hnswlib.knn_query(q, K, num_threads=1, filter=passes)[0].astype(np.int64)
            except RuntimeError:  # it has no way to return fewer than k
                return np.full((len(q), K), -1, np.int64)

        def table(effort: int) -> np.ndarray:
            assert self.table is not None
            where = self.columns[mask.tobytes()]
            found = np.full((len(q), K), -1, np.int64)
            for i, one in enumerate(q):
                asked = self.table.search(one).where(where, prefilter=True).distance_type("dot").limit(K)
                rows = asked.nprobes(1).ef(effort).refine_factor(1).select(["row", "_distance"]).to_arrow()
                found[i, : len(rows)] = rows["row"].to_numpy()
            return found

        lance = {"lancedb IVF1_HNSW_SQ, where": table} if self.table is not None else {}
        return lance | {
            "faiss Flat, IDSelector": lambda effort: search(self.flat, kind=faiss.SearchParameters),
            "faiss IVF, IDSelector": lambda effort: search(
                self.ivf, kind=faiss.SearchParametersIVF, nprobe=min(effort - K + 1, self.lists)
            ),
            "faiss HNSW32, IDSelector": lambda effort: search(
                self.hnsw, kind=faiss.SearchParametersHNSW, efSearch=effort
            ),
            "hnswlib M=32, filter": graph,
        }


def lance_table(x: np.ndarray, columns: dict[str, np.ndarray], home: str) -> Any:
    """Return an indexed table of lancedb with the vectors and columns that say which rows pass which filter."""
    import lancedb
    import pyarrow as pa
    from lancedb.index import HnswSq

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
    rows = pa.table({"row": np.arange(len(x)), "vector": vectors} | columns)
    table = lancedb.connect(home).create_table("vectors", rows)
    table.create_index("vector", config=HnswSq(distance_type="dot", num_partitions=1))
    return table


def cells(options: argparse.Namespace) -> Result:
    """Every kind of filter at every selectivity: ours and others at the same recall."""
    record = record_of("cells", options)
    for name, why in ABSENT.items():
        if why != "not installed" or importlib.util.find_spec(name) is None:
            record.left_out(name, why)
    found: list[dict[str, Any]] = []
    record.settings["cells"] = found
    for name, x, q, filters in sets(options):
        data = f"{name}, n={len(x):,}"
        with built(record, data, f"isometry {options.spec}", len(x)):
            index = iso.index_from_spec(options.spec, metric="dot").build(x)
        flat = Flat(metric="dot").build(x)
        with tempfile.TemporaryDirectory() as home:
            peers = Peers(x, filters, record, data, home)
            for each in filters:
                exact = flat.search(q, K, allowed=each.mask)[0]
                ours = {f"isometry {way}": search for way, search in methods_of(index, q, each.mask).items()}
                found.append(cell(record, data, each, exact, ours, peers.methods(q, each.mask), options.rounds))
                record.save()
    return record.save(*judge(found))


def sets(options: argparse.Namespace) -> Any:
    """Yield (name, vectors, queries, filters)."""
    if "papers" in options.sets:
        vectors, papers = load_papers(options.data, options.n, queries=options.queries, folder=options.vectors)
        filters = [each for share in SELECTIVITIES for each in paper_filters(papers, share)]
        yield vectors.name, np.array(vectors.x), np.array(vectors.queries), sorted(filters, key=lambda each: each.kind)
    if "embeddings" not in options.sets:
        return
    name, x, q = embeddings(options)
    x, q = np.ascontiguousarray(x[: options.n]), one_region(q[: 5 * options.queries])
    leanings = [Filter(k, s, "", leaning(x, q, k) < s) for k in LEANINGS for s in SELECTIVITIES]
    yield name, x, q, leanings


def cell(
    record: Record, data: str, each: Filter, exact: np.ndarray, ours: Any, theirs: Any, rounds: int
) -> dict[str, Any]:
    """Measure one filter."""
    speeds = compare(
        ours | theirs, Asked(each.mask, exact, TARGET), least=K, most=MOST, rounds=rounds,
        fixed=["faiss Flat, IDSelector"],
    )  # fmt: skip
    where = f"{data}; {each.kind}"
    for name, speed in speeds.items():
        if speed.reached:
            note = f"effort {speed.effort}, recall {speed.recall:.3f}, {each.share:.2%} pass"
            record.add(where, name, f"QPS, {each.wanted:g}", speed.qps, note=note)
        else:
            record.left_out(f"{name}; {where}, {each.wanted:g}", f"recall {speed.recall:.3f} at effort {speed.effort}")
    alone = {name: mean_recall(search(USUAL), exact) for name, search in ours.items()}
    for name, value in alone.items():
        record.add(where, name, f"recall at effort {USUAL}, {each.wanted:g}", value)
    return {
        "data": where, "where": each.where[:200], "wanted": each.wanted, "share": each.share,
        "best of ours": fastest({n: s for n, s in speeds.items() if n in ours and not n.endswith(PLANNER)}),
        "best of the others": fastest({n: s for n, s in speeds.items() if n in theirs}),
        "planner": speeds[f"isometry {PLANNER}"].qps, "recall": alone[f"isometry {PLANNER}"],
        "post-filter": alone[f"isometry {POST}"],
        "violations": {n: s.violations for n, s in speeds.items() if s.violations},
        "short": speeds[f"isometry {PLANNER}"].short,
    }  # fmt: skip


def fastest(speeds: dict[str, Speed]) -> tuple[str, float] | None:
    """Return the fastest of those that reached the recall."""
    reached = {name: speed.qps for name, speed in speeds.items() if speed.reached}
    best = max(reached, key=lambda name: reached[name], default=None)
    return None if best is None else (best, reached[best])


def judge(found: list[dict[str, Any]]) -> tuple[Verdict, str]:
    """Compare the planner with the best of ours and of the others."""
    near = sum(each["planner"] >= 0.9 * each["best of ours"][1] for each in found)
    ahead = sum(
        each["best of the others"] is None or each["planner"] >= each["best of the others"][1] for each in found
    )
    lowest = min(found, key=lambda each: each["recall"])
    broken = [each["violations"] for each in found if each["violations"]]
    short = sum(each["short"] for each in found)
    good = (near >= 0.9 * len(found), ahead >= 0.9 * len(found), lowest["recall"] >= 0.9, not broken and not short)
    words = (
        f"Of {len(found)} cells the planner has at least 0.9 of the best strategy's speed in {near} and is ahead of "
        f"the other engines in {ahead}. Its recall at effort {USUAL} is never below {lowest['recall']:.3f} "
        f"({lowest['data']}, {lowest['wanted']:g}). Ids that break a filter: {broken or 'none'}; lists that were too "
        f"short: {short}."
    )
    return "holds" if all(good) else "partly" if any(good) else "does not hold", words


def collection(options: argparse.Namespace) -> Result:
    """Search a collection with a filter: the first time, and again."""
    record = record_of("collection", options)
    vectors, papers = load_papers(options.data, options.n, queries=options.queries, folder=options.vectors)
    q, data = vectors.queries[: min(50, options.queries)], f"{vectors.name}, n={len(vectors):,}"
    method = f"isometry {options.spec}"
    ratios = []
    with tempfile.TemporaryDirectory() as home:
        made = iso.create(f"{home}/papers.iso", metric="dot")
        made.add(papers, vectors=np.array(vectors.x))
        made.build(options.spec)
        plain = each_ms(lambda one: made.search(one), q)
        record.add(f"{data}; no filter", method, "ms, asked again", plain, note="one query a call")
        for share in SELECTIVITIES:
            for each in paper_filters(papers, share):
                fresh = iso.open(f"{home}/papers.iso")
                fresh.search(q[0])
                start = time.process_time()
                fresh.search(q[0], where=each.where)
                first = 1000 * (time.process_time() - start)
                again = each_ms(lambda one, where=each.where: fresh.search(one, where=where), q)  # noqa: B023
                plan = fresh.search(q[0], where=each.where, explain=True).plan
                where = f"{data}; {each.kind}, {share:g}"
                record.add(where, method, "ms, asked first", first, note=f"{each.share:.2%} pass, {plan.strategy}")
                record.add(where, method, "ms, asked again", again, note="one query a call")
                ratios.append(again / plain)
                fresh.close()
        made.close()
    words = (
        f"A search with a filter that was asked before takes {np.median(ratios):.2f} times one without "
        f"({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} filters)."
    )
    return record.save("holds" if np.median(ratios) <= 1.5 else "does not hold", words)


def each_ms(search: Callable[[np.ndarray], Any], q: np.ndarray) -> float:
    """Return the median milliseconds of a search by one query; the first two do not count."""
    taken = []
    for one in q:
        start = time.process_time()
        search(one)
        taken.append(1000 * (time.process_time() - start))
    return float(np.median(taken[2:]))


def churn(options: argparse.Namespace) -> Result:
    """Recall and speed under filters while rows come and go."""
    record, (name, x, q) = record_of("churn", options), embeddings(options)
    n = min(options.n, len(x) // 2)
    step = round(TURNOVER * n)
    x, q = x[: n + CYCLES * step], q[: options.queries]
    index = iso.index_from_spec(options.spec, metric="dot").build(x[:n])
    truth, rng = Flat(metric="dot").build(x), np.random.default_rng(0)
    live = np.arange(len(x)) < n
    spent = 0.0
    for cycle in range(CYCLES):
        gone = rng.choice(np.flatnonzero(live), step, replace=False)
        new = slice(n + cycle * step, n + (cycle + 1) * step)
        start = time.process_time()
        index.remove(gone)
        index.add(x[new])
        spent += time.process_time() - start
        live[gone], live[new] = False, True
    rows = np.flatnonzero(live)
    fresh = iso.index_from_spec(options.spec, metric="dot").build(x[rows])
    order, good, words = rng.random(len(x)), [], []
    data, method = f"{name}, n={n:,}", f"isometry {options.spec}"
    record.add(data, method, "s per cycle", spent / CYCLES, note="processor time")
    for share in CHURNED:
        mask = None if share is None else order < share
        exact = truth.search(q, K, allowed=live if mask is None else live & mask)[0]
        calls = {
            "worn": lambda mask=mask: index.search(q, K, allowed=mask, threads=1)[0],
            "fresh": lambda mask=mask: rows[
                fresh.search(q, K, allowed=None if mask is None else mask[rows], threads=1)[0]
            ],
        }
        recall = {which: mean_recall(call(), exact) for which, call in calls.items()}
        times = medians(take_turns(calls, rounds=options.rounds, clock=time.process_time))
        label = "no filter" if share is None else f"{share:g} pass"
        for which in calls:
            record.add(f"{data}; {label}", f"{method}, {which}", "recall@10", recall[which], note=f"effort {USUAL}")
            record.add(f"{data}; {label}", f"{method}, {which}", "QPS", len(q) / times[which])
        good.append(recall["worn"] >= recall["fresh"] - 0.01 and times["worn"] <= 1.2 * times["fresh"])
        words.append(
            f"{label}: recall {recall['worn']:.4f} against {recall['fresh']:.4f} built afresh, time "
            f"{times['worn'] / times['fresh']:.2f} of it"
        )
    verdict: Verdict = "holds" if all(good) else "partly" if any(good) else "does not hold"
    return record.save(verdict, f"After {CYCLES} cycles, " + "; ".join(words) + ".")


def ceiling(options: argparse.Namespace) -> Result:
    """Search with a filter one index over all rows, and one over the rows that pass alone."""
    record = record_of("ceiling", options)
    vectors, papers = load_papers(options.data, options.n, queries=options.queries, folder=options.vectors)
    x, q, data = np.array(vectors.x), np.array(vectors.queries), f"{vectors.name}, n={len(vectors):,}"
    index, flat = iso.index_from_spec(options.spec, metric="dot").build(x), Flat(metric="dot").build(x)
    gains = {}
    for share in BUILT_FOR:
        for each in (each for each in paper_filters(papers, share) if each.kind in KNOWN):
            rows = np.flatnonzero(each.mask)
            start = time.process_time()
            own = iso.index_from_spec(options.spec, metric="dot").build(x[rows])
            taken = time.process_time() - start
            methods = {
                "isometry planner": methods_of(index, q, each.mask)[PLANNER],
                "isometry, built for it": lambda effort, own=own, rows=rows: rows[
                    own.search(q, K, effort=effort, threads=1)[0]
                ],
            }
            asked = Asked(each.mask, flat.search(q, K, allowed=each.mask)[0], TARGET)
            speeds = compare(methods, asked, least=K, most=MOST, rounds=options.rounds)
            where = f"{data}; {each.kind}"
            for name, speed in speeds.items():
                note = f"effort {speed.effort}, recall {speed.recall:.3f}, {each.share:.2%} pass"
                record.add(where, name, f"QPS, {share:g}", speed.qps, note=note)
            record.add(where, "isometry, built for it", f"build s, {share:g}", taken)
            planner, best = (speeds[name].qps for name in methods)
            gains[f"{each.kind}, {share:g}"] = best / planner
    told = ", ".join(f"{name}: {gain:.2f}" for name, gain in gains.items())
    return record.save(
        "holds" if max(gains.values()) < 2 else "partly" if min(gains.values()) < 2 else "does not hold",
        f"Times the planner's queries per second, with a graph of its own for every filter: {told}.",
    )


def labels(options: argparse.Namespace) -> Result:
    """Search for one label an index with links of labels, and one without."""
    record = record_of("labels", options)
    vectors, papers = load_papers(options.data, options.n, queries=options.queries, folder=options.vectors)
    x, q, data = np.array(vectors.x), np.array(vectors.queries), f"{vectors.name}, n={len(vectors):,}"
    authors = np.array(papers["n_authors"].fill_null(-1))
    indexes = {}
    for name, declared in (("plain", None), ("labelled", {"n_authors": authors})):
        start = time.process_time()
        indexes[name] = iso.index_from_spec(options.spec, metric="dot").build(x, labels=declared)
        record.add(data, f"isometry, {name}", "build s", time.process_time() - start)
        record.add(data, f"isometry, {name}", "bytes per vector", indexes[name].nbytes / len(x))
    flat, half = Flat(metric="dot").build(x), np.random.default_rng(0).random(len(x)) < 0.5
    values, counts = np.unique(authors[authors >= 0], return_counts=True)
    gains: dict[str, list[tuple[float, float]]] = {"one label": [], "one label, half of it": []}
    everything = np.ones(len(x), np.bool_)
    questions = [("no filter", 1.0, everything)]
    for value in values[counts >= LABELLED].tolist():
        mask = authors == value
        questions += [
            (kind, float(mask.mean()), mask & other) for kind, other in zip(gains, (everything, half), strict=True)
        ]
    slower = 1.0
    for kind, share, mask in questions:
        exact = flat.search(q, K, allowed=mask)[0]
        methods = {f"isometry, {name}": methods_of(index, q, mask)[PLANNER] for name, index in indexes.items()}
        speeds = compare(methods, Asked(mask, exact, TARGET), least=K, most=MOST, rounds=options.rounds)
        for name, speed in speeds.items():
            usual = mean_recall(methods[name](USUAL), exact)
            note = f"effort {speed.effort}, recall {speed.recall:.3f}; {usual:.3f} at effort {USUAL}"
            record.add(f"{data}; {kind}", name, f"QPS, {share:.3f} have the label", speed.qps, note=note)
        gain = speeds["isometry, labelled"].qps / speeds["isometry, plain"].qps
        if kind in gains:
            gains[kind].append((share, gain))
        slower = min(slower, gain)
    good = [gain >= 1.5 for share, gain in gains["one label"] if share >= KNOWN_FROM] + [slower >= 0.9]
    told = "; ".join(
        f"{kind}: {', '.join(f'{gain:.2f} (of {share:.3f})' for share, gain in found)}" for kind, found in gains.items()
    )
    ratio = record.value("isometry, labelled", "build s"), record.value("isometry, plain", "build s")
    words = f"Times the queries per second without links of labels: {told}. Never below {slower:.2f}; the build took "
    return record.save(
        "holds" if all(good) else "partly" if any(good) else "does not hold",
        words + f"{(ratio[0] or 0) / (ratio[1] or 1):.2f} times as long.",
    )


def predicates(options: argparse.Namespace) -> Result:
    """Find the rows that pass filters in a table of papers, without and with scalar indexes."""
    import lance
    import pyarrow as pa
    import pyarrow.parquet as pq

    from isometry.collections.scalar_indexes import chosen
    from isometry.collections.table import DocumentTable

    record = record_of("predicates", options)
    papers = pq.read_table(options.data / PAPERS, columns=["id", "authors", "n_authors", "year", "venue"])
    filters = [each.where for share in SELECTIVITIES for each in paper_filters(papers, share)]
    filters.append("array_has(authors, 'Christopher D. Manning')")
    gains = []
    for n in (len(papers), MANY_PAPERS):
        rows = pa.concat_tables([papers] * -(-n // len(papers))).slice(0, n)
        data = f"ACL Anthology, {n:,} rows"
        with tempfile.TemporaryDirectory() as home:
            table = DocumentTable(Path(home) / "papers").append(rows.append_column("_seq", pa.array(np.arange(n))))
            start = time.process_time()
            kinds = chosen(table)
            table = table.index(kinds)
            told = ", ".join(f"{column}: {kind}" for column, kind in kinds.items())
            record.add(data, INDEXES, "build s", time.process_time() - start, note=told)
            plain = lance.dataset(table.path)
            calls = {
                NUMBERS: lambda where: plain.to_table(columns=["_seq"], filter=where, use_scalar_index=False),  # noqa: B023
                COLUMNS: lambda where: table.offsets(where, indexed=False),  # noqa: B023
                INDEXES: lambda where: table.offsets(where, indexed=True),  # noqa: B023
            }
            for where in filters:
                taken = {name: predicate_ms(call, where) for name, call in calls.items()}
                for name, ms in taken.items():
                    record.add(f"{data}; {where[:80]}", name, "ms of processor time", ms)
                gains.append([taken[COLUMNS] / taken[INDEXES], taken[NUMBERS] / taken[INDEXES]])
    (middle, before), least, most = np.median(gains, axis=0), np.min(gains, axis=0)[0], np.max(gains, axis=0)[0]
    words = (
        f"Over {len(gains)} filters, columns take {middle:.2f} times what scalar indexes take at the median "
        f"({least:.2f} to {most:.2f}); where each row's number is read as well, {before:.2f} times."
    )
    return record.save("holds" if middle >= 2 else "does not hold", words)


def predicate_ms(find: Callable[[str], Any], where: str) -> float:
    """Return the median milliseconds to find the rows that pass; the first time does not count."""
    taken = []
    for _ in range(6):
        start = time.process_time()
        find(where)
        taken.append(1000 * (time.process_time() - start))
    return float(np.median(taken[1:]))


SECTIONS = {each.__name__: each for each in (cells, collection, churn, ceiling, labels, predicates)}


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, help="what cells searches")
    parser.add_argument("--spec", default="LVQ8,Vamana64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--suffix", default="", help="added to the result's name, e.g. -large")
    measure_sections(options_of(parser, SECTIONS), SECTIONS)


if __name__ == "__main__":
    main()
