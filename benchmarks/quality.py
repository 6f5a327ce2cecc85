"""How well are documents found, and is that what independent tools find?

    python benchmarks/quality.py --data FOLDER [--sets cranfield cacm med nfcorpus ...] [--out benchmarks/results]

`FOLDER` holds judged sets in the BEIR layout. Every set is stored as a collection and searched by meaning, by words
and by both. Two results are written:

quality.json
    nDCG@10, R@100 and RR@10 with 95 % intervals, beside sentence-transformers (its InformationRetrievalEvaluator, the
    same weights in float32), bm25s used directly with the same stemmer and stop words, and both fused by hand. All
    are measured by `isometry.evaluation`.
agreement.json
    The same searches measured by independent code: the InformationRetrievalEvaluator's own figures, and its measures
    applied to the results of bm25s. It knows relevant and irrelevant only, so grades above 0 count as 1 here, and it
    puts the smaller id first among equal scores, where isometry follows trec_eval (larger id first): both orders are
    measured.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import isometry as iso
from isometry.encoders import DEFAULT_ENCODER, load_encoder
from isometry.encoders.resolving import carried_folder
from isometry.evaluation import (
    Environment,
    Figure,
    JudgedSet,
    Outcome,
    Result,
    document_text,
    figures_of,
    load_judged,
    measure,
    run_collection,
)
from isometry.indexes.words import stop_words_of

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SETS = ("cranfield", "cacm", "med", "nfcorpus", "cosqa_dev", "xquad", "adi")
MEASURES = ("nDCG@10", "R@100", "RR@10")
DEPTH = 100
SEED = 0
RRF_CONSTANT = 60
ROUNDING = 5e-4
"""Figures that differ by less print alike with three digits."""
COMMAND = "python benchmarks/quality.py --data FOLDER"

BY_TREC = "change when ties go by trec_eval's rule"

Run = dict[str, dict[str, float]]


# -- our side ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """One way to keep and search a set: its name in the tables, the collection it needs, the mode."""

    name: str
    precision: str
    passages: bool
    mode: str


WAYS = (
    Way("dense", "auto", False, "dense"),
    Way("dense, float32", "float32", False, "dense"),
    Way("dense, passages", "auto", True, "dense"),
    Way("BM25", "auto", False, "lexical"),
    Way("hybrid", "auto", False, "hybrid"),
    Way("hybrid, float32", "float32", False, "hybrid"),
    Way("hybrid, passages", "auto", True, "hybrid"),
)


def search_set(judged: JudgedSet, encoders: dict[str, Any]) -> dict[str, Run]:
    """Return the runs of every way."""
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision, passages in dict.fromkeys((way.precision, way.passages) for way in WAYS):
            path = Path(folder) / f"{precision}-{passages}.iso"
            with iso.create(path, encoder=encoders[precision], passages=passages) as collection:
                collection.add(judged.corpus)
                collection.build()
                for way in WAYS:
                    if (way.precision, way.passages) == (precision, passages):
                        runs[way.name] = run_collection(collection, judged.queries, mode=way.mode, k=DEPTH)
    return {way.name: runs[way.name] for way in WAYS}


# -- the independent side ----------------------------------------------------------------------------------------------


class Independent:
    """What sentence-transformers and bm25s find and measure on one set, without a line of isometry."""

    def __init__(self, judged: JudgedSet, model: Any) -> None:
        from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

        self.texts: dict[str, Any] = {document["id"]: document_text(document) for document in judged.corpus}
        queries: dict[str, Any] = {**judged.queries}
        relevant = {q: {d for d, grade in grades.items() if grade > 0} for q, grades in judged.qrels.items()}
        self.evaluator: Any = InformationRetrievalEvaluator(
            queries,
            self.texts,
            relevant,
            ndcg_at_k=[10],
            mrr_at_k=[10],
            accuracy_at_k=[10],
            precision_recall_at_k=[100],
            map_at_k=[100],
            write_csv=False,
            write_predictions=True,
        )
        with tempfile.TemporaryDirectory() as folder:
            figures = self.evaluator(model, output_path=folder)
            (predictions,) = Path(folder).glob("*.jsonl")
            lines = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
        dense = {line["query_id"]: {hit["corpus_id"]: hit["score"] for hit in line["results"]} for line in lines}
        self.dense = {query: dense[query] for query in judged.queries}
        self.own_figures = {
            name: float(next(value for key, value in figures.items() if key.endswith(theirs)))
            for name, theirs in (("nDCG@10", "ndcg@10"), ("R@100", "recall@100"), ("RR@10", "mrr@10"))
        }
        self.words = self._words(judged.queries)
        self.both = {query: fuse_by_hand(self.dense[query], self.words[query]) for query in judged.queries}

    def _words(self, queries: dict[str, str]) -> Run:
        import bm25s
        import Stemmer

        options: dict[str, Any] = {
            "stopwords": stop_words_of("english"),
            "stemmer": Stemmer.Stemmer("english"),
            "show_progress": False,
        }
        index = bm25s.BM25()
        index.index(bm25s.tokenize(list(self.texts.values()), **options), show_progress=False)
        ids = np.array(list(self.texts))
        found, scores = index.retrieve(
            bm25s.tokenize(list(queries.values()), **options), corpus=ids, k=min(DEPTH, len(ids)), show_progress=False
        )
        return {
            query: {str(d): float(s) for d, s in zip(row, given, strict=True) if s > 0}
            for query, row, given in zip(queries, found, scores, strict=True)
        }

    def measured(self, run: Run) -> dict[str, float]:
        """Return what the evaluator's measures say of a run."""
        hits = [[{"corpus_id": d, "score": s} for d, s in run[q].items()] for q in self.evaluator.queries_ids]
        found = self.evaluator.compute_metrics(hits)
        return {
            "nDCG@10": float(found["ndcg@k"][10]),
            "R@100": float(found["recall@k"][100]),
            "RR@10": float(found["mrr@k"][10]),
        }


def fuse_by_hand(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """Return reciprocal-rank fusion as the paper writes it."""
    total: dict[str, float] = {}
    for scores in (first, second):
        for rank, document in enumerate(sorted(scores, key=lambda d: -scores[d]), start=1):
            total[document] = total.get(document, 0.0) + 1 / (RRF_CONSTANT + rank)
    best = sorted(total, key=lambda d: -total[d])[:DEPTH]
    return {document: total[document] for document in best}


# -- how far both agree ------------------------------------------------------------------------------------------------

PAIRS = (
    ("dense, float32", "dense"),
    ("dense", "dense"),
    ("BM25", "words"),
    ("hybrid, float32", "both"),
    ("hybrid", "both"),
)
"""Which of our ways is compared with which independent run."""


def agreement(judged: JudgedSet, runs: dict[str, Run], other: Independent) -> list[dict[str, Any]]:
    """Return one row per pair and measure: both figures, and what lies between them."""
    binary = {q: {d: int(grade > 0) for d, grade in grades.items()} for q, grades in judged.qrels.items()}
    empty = {document for document, text in other.texts.items() if not text}
    rows = []
    for ours, theirs in PAIRS:
        run, reference = runs[ours], getattr(other, theirs)
        as_they_order = measure(ties_by_id(run), binary, MEASURES, seed=SEED, resamples=100)
        as_we_order = measure(run, binary, MEASURES, seed=SEED, resamples=100)
        independent = other.measured(reference)
        if theirs == "dense" and independent != other.own_figures:
            raise RuntimeError(f"{judged.name}: the evaluator's figures are not those of its predictions")
        lists = compared_lists(run, reference, empty)
        rows += [
            {
                "set": judged.name,
                "ours": ours,
                "measure": name,
                "isometry": as_they_order[name].mean,
                "independent": independent[name],
                "difference": as_they_order[name].mean - independent[name],
                BY_TREC: as_we_order[name].mean - as_they_order[name].mean,
                **lists,
            }
            for name in MEASURES
        ]
    return rows


def ties_by_id(run: Run) -> Run:
    """Return a run with equal scores ordered as the evaluator orders them, smaller id first, by new scores."""
    return {
        query: {d: float(-place) for place, d in enumerate(sorted(found, key=lambda d: (-found[d], d)))}
        for query, found in run.items()
    }


def compared_lists(run: Run, reference: Run, empty: set[str]) -> dict[str, Any]:
    """Return in how many queries the lists differ, and by how much scores at the same rank do.

    Equal scores at every rank mean that the lists differ in the order of ties only.
    """
    gap, different, different_top = 0.0, 0, 0
    for query, theirs in reference.items():
        mine = run.get(query, {})
        a, b = sorted(mine, key=lambda d: (-mine[d], d)), sorted(theirs, key=lambda d: (-theirs[d], d))
        different += set(a) != set(b)
        different_top += a[:10] != b[:10]
        scores = [[scores[d] for d in order] for scores, order in ((mine, a), (theirs, b))]
        gap = max([gap, *(abs(x - y) for x, y in zip(*scores, strict=False))])
    return {
        "queries with another top 10": different_top,
        "queries with another set of 100": different,
        "greatest difference of scores at a rank": gap,
        "empty documents the other found": sum(d in empty for found in reference.values() for d in found),
    }


# -- the whole ---------------------------------------------------------------------------------------------------------


def load(data: Path, name: str) -> JudgedSet:
    """Read a set; of the multilingual one the English part, as the default encoder reads English."""
    judged = load_judged(data / name, on_unknown="drop")
    if name != "xquad":
        return judged
    return replace(
        judged,
        name="xquad, English",
        corpus=[document for document in judged.corpus if document["id"].startswith("en-")],
        queries={query: text for query, text in judged.queries.items() if query.startswith("en-")},
        qrels={query: grades for query, grades in judged.qrels.items() if query.startswith("en-")},
    )


def quality_outcome(figures: list[Figure], baselines: list[Figure], settings: dict[str, Any]) -> Outcome:
    """Compare each of our figures with its counterpart."""
    theirs = {(each.data, each.method, each.measure): each.value for each in baselines}
    pairs = {"dense": "sentence-transformers", "BM25": "bm25s", "hybrid": "both, fused by hand"}
    gaps = {
        (each.data, each.method, each.measure): each.value - theirs[each.data, pairs[each.method], each.measure]
        for each in figures
        if each.method in pairs
    }
    worst = max(gaps, key=lambda key: abs(gaps[key]))
    return Outcome(
        verdict="holds" if abs(gaps[worst]) < 0.005 else "does not hold",
        because=(
            f"the greatest of {len(gaps)} differences between the default way (bfloat16 where the processor has it) "
            f"and the independent float32 figures is {gaps[worst]:+.4f}: {', '.join(worst)} (see agreement.json)"
        ),
        figures=tuple(figures),
        baselines=tuple(baselines),
        settings=settings,
    )


def agreement_outcome(rows: list[dict[str, Any]]) -> Outcome:
    """Put both sides next to each other."""
    exact = [row for row in rows if row["ours"] in ("dense, float32", "BM25", "hybrid, float32")]
    fast = [row for row in rows if row["ours"] == "dense"]

    def worst(of: list[dict[str, Any]]) -> dict[str, Any]:
        return max(of, key=lambda row: abs(row["difference"]))

    a, b = worst(exact), worst(fast)
    names = {"dense": "InformationRetrievalEvaluator", "words": "bm25s", "both": "both, fused by hand"}
    figures = [
        Figure(data=row["set"], method=row["ours"], measure=row["measure"], value=row["isometry"]) for row in rows
    ]
    baselines = {
        (row["set"], names[theirs], row["measure"]): row["independent"]
        for row in rows
        for ours, theirs in PAIRS
        if row["ours"] == ours
    }
    return Outcome(
        verdict="holds" if abs(a["difference"]) < ROUNDING else "partly",
        because=(
            f"{sum(abs(row['difference']) < ROUNDING for row in exact)} of {len(exact)} figures in float32 differ by "
            f"less than {ROUNDING:g}; the greatest difference is {a['difference']:+.5f} ({a['set']}, {a['ours']}, "
            f"{a['measure']}). On the default fast path dense search differs by at most {abs(b['difference']):.4f} "
            f"({b['set']}, {b['measure']}). Ordering ties by trec_eval's rule instead changes a figure by at most "
            f"{max(abs(row[BY_TREC]) for row in rows):.4f}."
        ),
        figures=tuple(figures),
        baselines=tuple(
            Figure(data=data, method=method, measure=name, value=value)
            for (data, method, name), value in baselines.items()
        ),
        settings={"rows": rows},
    )


def write(folder: Path, outcomes: dict[str, Outcome], wall_s: float) -> list[Result]:
    """Save each outcome with its name, claim and environment."""
    environment = Environment.capture(seed=SEED, command=COMMAND, wall_s=wall_s)
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for name, outcome in outcomes.items():
        title, claim = CLAIMS[name]
        results.append(Result.of(outcome, name=name, title=title, claim=claim, environment=environment))
        results[-1].save(folder / f"{name}.json")
    return results


CLAIMS = {
    "quality": (
        "Quality of search through a collection",
        "a collection finds what sentence-transformers and bm25s find",
    ),
    "agreement": (
        "The same searches measured by independent code, relevant or not",
        "figures are equal within rounding",
    ),
}


def main() -> None:
    """Measure, print and write both results; what is done so far is written after every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of judged sets in the BEIR layout")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the results")
    options = parser.parse_args()

    from rich.console import Console
    from sentence_transformers import SentenceTransformer

    began = time.perf_counter()
    model = SentenceTransformer(str(carried_folder(DEFAULT_ENCODER) or DEFAULT_ENCODER), device="cpu")
    encoders = {precision: load_encoder(DEFAULT_ENCODER, precision=precision) for precision in ("auto", "float32")}
    figures: list[Figure] = []
    baselines: list[Figure] = []
    rows: list[dict[str, Any]] = []
    sets: list[str] = []
    for name in options.sets:
        judged = load(options.data, name)
        runs = search_set(judged, encoders)
        other = Independent(judged, model)
        for way, run in runs.items():
            figures += figures_of(measure(run, judged.qrels, MEASURES, seed=SEED), data=judged.name, method=way)
        references = {"sentence-transformers": other.dense, "bm25s": other.words, "both, fused by hand": other.both}
        for method, run in references.items():
            baselines += figures_of(measure(run, judged.qrels, MEASURES, seed=SEED), data=judged.name, method=method)
        rows += agreement(judged, runs, other)
        sets.append(judged.name)
        settings = {
            "sets": sets,
            "encoder": DEFAULT_ENCODER,
            "engines": {precision: getattr(encoder, "engine", "") for precision, encoder in encoders.items()},
            "depth": DEPTH,
        }
        outcomes = {
            "quality": quality_outcome(figures, baselines, settings),
            "agreement": agreement_outcome(rows),
        }
        results = write(options.out, outcomes, time.perf_counter() - began)
        print(f"{judged} after {time.perf_counter() - began:.0f} s", flush=True)
    for result in results:
        Console(width=200).print(result)


if __name__ == "__main__":
    main()
