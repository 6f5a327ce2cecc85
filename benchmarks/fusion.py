"""Which fusion of dense and BM25 hits serves hybrid search best, and does hybrid beat the better of both?

    python benchmarks/fusion.py --data FOLDER [--sets cranfield cacm ...] [--encoders NAME ...] [--out FILE]

`FOLDER` holds judged sets in the BEIR layout. Every set is stored as a collection; the 1,000 best hits by meaning and
by words are fused in every way, the default of `Collection.search` first, and compared query by query with that default
and with the better single list of each set (chosen with the judgements in hand, which no user has). A strong and a weak
encoder show how a choice depends on the balance of both lists.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import isometry as iso
from isometry.encoders import DEFAULT_ENCODER, load_encoder
from isometry.evaluation import (
    Environment,
    Figure,
    JudgedSet,
    Measured,
    Outcome,
    Result,
    measure,
    run_collection,
    run_from_arrays,
)
from isometry.rerank import reciprocal_rank_fusion, score_fusion
from quality import SETS, load

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ENCODERS = (DEFAULT_ENCODER, "wordllama")
MEASURES = ("nDCG@10", "R@100")
SINGLE = ("dense", "BM25")
DEPTH, DEEPEST = 100, 1000
SEED = 0
COMMAND = "python benchmarks/fusion.py --data FOLDER"

Run = dict[str, dict[str, float]]
Lists = tuple[np.ndarray, np.ndarray]
Fuse = Callable[[Lists, Lists], Lists]


def deep_lists(judged: JudgedSet, encoder: Any) -> dict[str, Run]:
    """Return the hits of both modes through a collection."""
    with tempfile.TemporaryDirectory() as folder, iso.create(f"{folder}/set.iso", encoder=encoder) as collection:
        collection.add(judged.corpus)
        collection.build()
        return {mode: run_collection(collection, judged.queries, mode=mode, k=DEEPEST) for mode in ("dense", "lexical")}


def fusions() -> Iterator[tuple[str, Fuse]]:
    """Yield every variant: (dense list, lexical list) -> fused list. The first one is the default."""

    def rrf(depth: int, **options: Any) -> Fuse:
        return lambda dense, words: reciprocal_rank_fusion([cut(dense, depth), cut(words, depth)], k=DEPTH, **options)

    def scores(depth: int, **options: Any) -> Fuse:
        return lambda dense, words: score_fusion([cut(dense, depth), cut(words, depth)], k=DEPTH, **options)

    yield "RRF, depth 100, constant 60", rrf(100)
    for depth in (50, 200, 1000):
        yield f"RRF, depth {depth}, constant 60", rrf(depth)
    for constant in (5, 20):
        yield f"RRF, depth 100, constant {constant}", rrf(100, constant=constant)
    for share in (0.3, 0.7):
        yield f"RRF, depth 100, constant 60, dense {share:g}", rrf(100, weights=[share, 1 - share])
    for kind in ("min-max", "z-score", "relative"):
        for depth in (100, 1000):
            yield f"{kind}, depth {depth}", scores(depth, normalization=kind)
        for share in (0.3, 0.4, 0.6, 0.7):
            yield f"{kind}, depth 100, dense {share:g}", scores(100, normalization=kind, weights=[share, 1 - share])


def cut(lists: Lists, depth: int) -> Lists:
    """Return the first places of every list."""
    return lists[0][:, :depth], lists[1][:, :depth]


def as_lists(run: Run, documents: dict[str, int]) -> Lists:
    """Return a run as arrays, padded with -1 and -inf."""
    width = max(map(len, run.values()))
    ids, scores = np.full((len(run), width), -1), np.full((len(run), width), -np.inf, np.float32)
    for row, found in enumerate(run.values()):
        ids[row, : len(found)] = [documents[name] for name in found]
        scores[row, : len(found)] = list(found.values())
    return ids, scores


def fuse_set(judged: JudgedSet, deep: dict[str, Run]) -> dict[str, Measured]:
    """Return the measures of both single lists and of every fusion on one set."""
    names = [document["id"] for document in judged.corpus]
    place = {name: row for row, name in enumerate(names)}
    dense, words = as_lists(deep["dense"], place), as_lists(deep["lexical"], place)
    lists = dict(zip(SINGLE, (dense, words), strict=True)) | {name: fuse(dense, words) for name, fuse in fusions()}
    return {
        method: measure(run_from_arrays(list(judged.queries), names, *found), judged.qrels, MEASURES, seed=SEED)
        for method, found in lists.items()
    }


def over_sets(per_set: list[np.ndarray]) -> tuple[float, float, float]:
    """Return the mean of the sets' means with a 95 % interval: queries are drawn anew within each set."""
    counts = draws(tuple(map(len, per_set)))
    means = np.mean([drawn @ x.astype(np.float32) / len(x) for drawn, x in zip(counts, per_set, strict=True)], axis=0)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(np.mean([x.mean() for x in per_set])), float(low), float(high)


@cache
def draws(sizes: tuple[int, ...], resamples: int = 10_000) -> list[np.ndarray]:
    """Return for each set how often each of its queries is drawn, once for all comparisons: (resamples, n) each."""
    rng = np.random.default_rng(SEED)
    return [rng.multinomial(n, np.full(n, 1 / n), resamples).astype(np.float32) for n in sizes]


Found = dict[str, dict[str, Measured]]
"""What was measured, by set and method."""


class Comparison:
    """All methods over all sets with one encoder."""

    def __init__(self, encoder: str, found: Found) -> None:
        self.encoder, self.found, self.sets = encoder.rpartition("/")[2], found, list(found)
        self.default, *self.others = (name for name, _ in fusions())

    def better_single(self, each: str) -> str:
        """Return the mode with the higher nDCG@10 on one set."""
        return max(SINGLE, key=lambda method: self.found[each][method]["nDCG@10"].mean)

    def gains(self, method: str, name: str, base: str | None = None) -> list[np.ndarray]:
        """Return what each query of each set gains over a method, by default over the better single mode."""
        return [
            self.found[s][method].values[name] - self.found[s][base or self.better_single(s)].values[name]
            for s in self.sets
        ]

    def figures(self) -> list[Figure]:
        """Return every method's means over the sets."""
        figures = []
        for method in (*SINGLE, self.default, *self.others):
            columns = {name: [self.found[s][method].values[name] for s in self.sets] for name in MEASURES}
            if method != self.default:
                for name in MEASURES:
                    columns[f"{name}-over-default"] = self.gains(method, name, self.default)
            if method not in SINGLE:
                columns["nDCG@10-over-better-single"] = self.gains(method, "nDCG@10")
            for name, values in columns.items():
                mean, low, high = over_sets(values)
                data = f"{len(self.sets)} sets, {self.encoder}"
                figures.append(
                    Figure(data=data, method=method, measure=name, value=mean, low=low, high=high, n=len(self.sets))
                )
        return figures

    def better_than_default(self) -> set[str]:
        """Return the fusions whose interval of the difference in nDCG@10 lies above 0."""
        return {name for name in self.others if over_sets(self.gains(name, "nDCG@10", self.default))[1] > 0}

    def held_out(self) -> tuple[float, float, float]:
        """Return the gain over the default of the fusion that is best on all other sets, each set in turn."""
        methods = [self.default, *self.others]
        gains = []
        for left_out in self.sets:
            rest = [s for s in self.sets if s != left_out] or self.sets
            best = max(methods, key=lambda m: sum(self.found[s][m]["nDCG@10"].mean for s in rest))
            measured = self.found[left_out]
            gains.append(measured[best].values["nDCG@10"] - measured[self.default].values["nDCG@10"])
        return over_sets(gains)

    def details(self) -> dict[str, Any]:
        """Return means and differences set by set."""
        return {
            s: {
                "better single mode": self.better_single(s),
                "means": {
                    method: {name: estimate.mean for name, estimate in measured.estimates.items()}
                    for method, measured in self.found[s].items()
                },
                "nDCG@10 over the default": {
                    name: self.found[s][name].difference(self.found[s][self.default], "nDCG@10").to_dict()
                    for name in self.others
                },
            }
            for s in self.sets
        }


def shown(estimate: tuple[float, float, float]) -> str:
    """Return a difference with its interval."""
    return "{:+.4f} [{:+.4f}, {:+.4f}]".format(*estimate)


def outcome_of(comparisons: list[Comparison]) -> Outcome:
    """Say which default the figures support."""
    default = comparisons[0].default
    better = set.intersection(*(each.better_than_default() for each in comparisons))
    ahead = [over_sets(each.gains(default, "nDCG@10"))[1] > 0 for each in comparisons]
    sentences = [
        f"{each.encoder}: {default} gains {shown(over_sets(each.gains(default, 'nDCG@10')))} nDCG@10 over the better "
        f"of dense and BM25; choosing the fusion on the other sets gains {shown(each.held_out())} over it."
        for each in comparisons
    ]
    sentences.append(f"Better than the default with every encoder: {', '.join(sorted(better)) or 'none'}.")
    return Outcome(
        verdict="does not hold" if not any(ahead) else "holds" if all(ahead) and not better else "partly",
        because=" ".join(sentences),
        figures=tuple(figure for each in comparisons for figure in each.figures()),
        settings={"by set": {each.encoder: each.details() for each in comparisons}},
    )


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of judged sets in the BEIR layout")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/fusion.json"))
    options = parser.parse_args()
    began = time.perf_counter()
    comparisons = []
    for name in options.encoders:
        encoder = load_encoder(name)
        found: Found = {}
        for each in options.sets:
            judged = load(options.data, each)
            found[judged.name] = fuse_set(judged, deep_lists(judged, encoder))
            print(f"{name}, {judged} after {time.perf_counter() - began:.0f} s", flush=True)
        comparisons.append(Comparison(name, found))
    result = Result.of(
        outcome_of(comparisons),
        name="fusion",
        title="Ways to fuse dense and BM25 hits",
        claim="reciprocal rank fusion of 100 hits each is a good default",
        environment=Environment.capture(seed=SEED, command=COMMAND, wall_s=time.perf_counter() - began),
    )
    result.save(options.out)
    from rich.console import Console

    Console(width=200).print(result)


if __name__ == "__main__":
    main()
