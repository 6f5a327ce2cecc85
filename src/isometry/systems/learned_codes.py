"""What experiments with learned codes share: the sets, trials over several seeds, and how they are told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.systems.data import require

if TYPE_CHECKING:
    from isometry.estimates import Difference
    from isometry.evaluation import Figure
    from isometry.evaluation.result import Verdict
    from isometry.evaluation.training_sets import TrainingSet

SETS = {"newsgroup threads": "newsgroups20/bydate.parquet", "nfcorpus": "nfcorpus"}
OVERLAP = "overlap@10"
EXACT = "exact search of floats"
_PLACES = 100


class Check(NamedTuple):
    """A claim, whether it holds, and the figures that say so."""

    claim: str
    holds: bool
    words: str


@dataclass
class Trials:
    """Values by query of everything that was tried, over all seeds."""

    values: dict[tuple[str, str, str], list[NDArray[np.float64]]] = field(default_factory=dict)
    nbytes: dict[str, float] = field(default_factory=dict)

    def add(self, data: TrainingSet, method: str, index: Any, queries: Any = None) -> None:
        """Search for the queries of a set (or what became of them), and keep what that is worth."""
        ids, scores = index.search(data.queries if queries is None else queries, k=min(_PLACES, len(data.x)))
        found = data.judge(ids, scores).values | {OVERLAP: data.overlap(ids)}
        for measure, each in found.items():
            self.values.setdefault((data.name, method, measure), []).append(each)
        self.nbytes[method] = index.bytes_per_vector

    def of(self, data: str, method: str, measure: str) -> NDArray[np.float64]:
        """Return a value by query: the mean over seeds."""
        return np.mean(self.values[data, method, measure], axis=0)

    def mean(self, data: str, method: str, measure: str) -> float:
        """Return the mean over queries and seeds."""
        return float(self.of(data, method, measure).mean())

    def gap(self, data: str, one: str, other: str, measure: str) -> Difference:
        """Return how much more one method has than another over the same queries."""
        from isometry.estimates import bootstrap_difference

        return bootstrap_difference(self.of(data, one, measure), self.of(data, other, measure))

    def told(self, data: str, measure: str, *methods: str) -> str:
        """Return the means of some methods in words."""
        return ", ".join(f"{method} {self.mean(data, method, measure):.3f}" for method in methods)

    def figures(self) -> Iterator[Figure]:
        """Yield mean and interval of everything, and what a vector takes."""
        from isometry.estimates import bootstrap_mean
        from isometry.evaluation import Figure

        for (data, method, measure), runs in self.values.items():
            spread = f"{len(runs)} seeds, {min(r.mean() for r in runs):.4f} to {max(r.mean() for r in runs):.4f}"
            estimate = bootstrap_mean(np.mean(runs, axis=0))
            yield Figure.of(estimate, data=data, method=method, measure=measure, note=spread if len(runs) > 1 else "")
        for method, size in self.nbytes.items():
            yield Figure(data="all sets", method=method, measure="bytes per vector", value=size)


def load_sets(data: Path | None) -> list[TrainingSet]:
    """Return both sets as vectors of a static encoder, which can be had for all of them in a minute."""
    from isometry.encoders import load_encoder
    from isometry.evaluation.training_sets import load_news_threads, load_split_set

    news, split = require(data, *SETS.values())
    encoder = load_encoder("wordllama")
    return [load_news_threads(news, encoder), load_split_set(split, encoder)]


def flat(x: NDArray[np.float32], **parts: Any) -> Any:
    """Return an index that scans codes of x, by inner product."""
    from isometry.indexes import CompressedFlat

    return CompressedFlat(metric="dot", **parts).build(x)


def exact(x: NDArray[np.float32]) -> Any:
    """Return an index of floats."""
    from isometry.codecs import Float32

    return flat(x, codec=Float32())


def rotated(
    data: TrainingSet, m: int, seed: int
) -> tuple[Any, NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return a fitted OPQ, and documents, queries to learn from and queries to judge by behind it."""
    from isometry.transforms import OPQ

    opq = OPQ(m, random_state=seed).fit(data.x)
    queries = (opq.transform_query(each) for each in (data.learn_queries, data.queries))
    return opq, opq.transform(data.x), *queries


def summed_up(checks: list[Check]) -> tuple[Verdict, str]:
    """Return a verdict and the claims in words."""
    kept = sum(check.holds for check in checks)
    verdict: Verdict = "holds" if kept == len(checks) else "partly" if kept else "does not hold"
    words = [f"{each.claim}: {'holds' if each.holds else 'does not hold'} ({each.words})" for each in checks]
    return verdict, "; ".join(words) + "."
