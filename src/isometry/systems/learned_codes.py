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
    from isometry.evaluation import Figure, Outcome, Plot
    from isometry.evaluation.result import Verdict
    from isometry.evaluation.training_sets import TrainingSet
    from isometry.systems.base import Progress

SETS = {"newsgroup threads": "newsgroups20/bydate.parquet", "nfcorpus": "nfcorpus"}
OVERLAP = "overlap@10"
EXACT = "exact search of floats"
ENCODER = "wordllama"
_PLACES = 100
_RABITQ_HEADER = 8


class Check(NamedTuple):
    """A claim, what became of it, and the figures that say so."""

    claim: str
    verdict: Verdict
    words: str


def graded(holds: bool, partly: bool = False) -> Verdict:
    """Return the verdict on a claim that holds, or of which only the lesser part does."""
    return "holds" if holds else "partly" if partly else "does not hold"


@dataclass
class Trials:
    """Values by query of everything that was tried, over all seeds."""

    values: dict[tuple[str, str, str], list[NDArray[np.float64]]] = field(default_factory=dict)
    nbytes: dict[str, float] = field(default_factory=dict)

    def add(self, data: TrainingSet, method: str, index: Any, queries: Any = None, effort: int | None = None) -> None:
        """Search for the queries of a set (or what became of them), and keep what that is worth."""
        asked = data.queries if queries is None else queries
        ids, scores = index.search(asked, k=min(_PLACES, len(data.x)), effort=effort)
        found = data.judge(ids, scores) | {OVERLAP: data.overlap(ids)}
        for measure, each in found.items():
            self.values.setdefault((data.name, method, measure), []).append(each)
        self.nbytes[method] = index.bytes_per_vector

    def join(self, name: str, parts: list[str]) -> None:
        """Take sets, which no longer stand alone, for one that has the queries of all."""
        methods = [(method, measure) for data, method, measure in self.values if data == parts[0]]
        for method, measure in methods:
            runs = zip(*(self.values.pop((part, method, measure)) for part in parts), strict=True)
            self.values[name, method, measure] = [np.concatenate(run) for run in runs]

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

    def ratio(self, data: str, one: str, other: str, measure: str) -> float:
        """Return how many times as much one method has as another."""
        return self.mean(data, one, measure) / max(self.mean(data, other, measure), 1e-9)

    def figures(self) -> Iterator[Figure]:
        """Yield mean and interval of everything, and what a vector takes."""
        from isometry.estimates import bootstrap_means
        from isometry.evaluation import Figure

        for data in dict.fromkeys(data for data, _, _ in self.values):
            found = {key: runs for key, runs in self.values.items() if key[0] == data}
            estimates = bootstrap_means([np.mean(runs, axis=0) for runs in found.values()])
            for ((_, method, measure), runs), estimate in zip(found.items(), estimates, strict=True):
                means = [run.mean() for run in runs]
                note = f"{len(runs)} seeds, {min(means):.4f} to {max(means):.4f}" if len(runs) > 1 else ""
                yield Figure.of(estimate, data=data, method=method, measure=measure, note=note)
            for method in dict.fromkeys(method for _, method, _ in found):
                yield Figure(data=data, method=method, measure="bytes per vector", value=self.nbytes[method])


def load_sets(data: Path | None) -> list[TrainingSet]:
    """Return both sets as vectors of a static encoder, which can be had for all of them in a minute."""
    from isometry.encoders import load_encoder
    from isometry.evaluation.training_sets import load_news_threads, load_split_set

    news, split = require(data, *SETS.values())
    encoder = load_encoder(ENCODER)
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
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return documents, queries to learn from and queries to judge by behind an OPQ for m sub-spaces."""
    from isometry.transforms import OPQ

    opq = OPQ(m, random_state=seed).fit(data.x)
    return opq.transform(data.x), opq.transform_query(data.learn_queries), opq.transform_query(data.queries)


class Start(NamedTuple):
    """What trainers begin from: a set behind an OPQ, and a product quantizer of it.

    Attributes
    ----------
    data : TrainingSet
    m, seed : int
    codec : ProductQuantizer
    x, taught, asked : (n, d) float32
        Documents, queries to learn from, and queries to judge by, as `rotated` returns them.
    """

    data: TrainingSet
    m: int
    seed: int
    codec: Any
    x: NDArray[np.float32]
    taught: NDArray[np.float32]
    asked: NDArray[np.float32]


def starts(
    trials: Trials, sets: list[TrainingSet], sizes: tuple[int, ...], seeds: range, progress: Progress | None
) -> Iterator[Start]:
    """Yield a start for every set, size in bytes and seed, when everything that is not trained was tried on it."""
    from isometry.codecs import ProductQuantizer

    for each in sets:
        trials.add(each, EXACT, exact(each.x))
        for m in sizes:
            add_untrained(trials, each, m)
            for seed in seeds:
                if progress is not None:
                    progress(0, None, f"{m} bytes on {each.name}, seed {seed}")
                x, taught, asked = rotated(each, m, seed)
                codec = ProductQuantizer(m, random_state=seed).fit(x)
                trials.add(each, f"OPQ, {m} bytes", flat(x, codec=codec), asked)
                yield Start(each, m, seed, codec, x, taught, asked)


def add_untrained(trials: Trials, data: TrainingSet, m: int) -> None:
    """Try what needs no training by gradients, as near to m bytes as its header lets it come."""
    from isometry.codecs import ProductQuantizer, RaBitQ, RecurrentBinary
    from isometry.transforms import PCA

    trials.add(data, f"PQ, {m} bytes", flat(data.x, codec=ProductQuantizer(m)))
    trials.add(data, f"ITQ, {8 * m} bits", flat(data.x, codec=RecurrentBinary(8 * m, bits=1)))
    bits = (m - _RABITQ_HEADER) // 8 * 64
    if 0 < bits <= data.x.shape[1]:
        trials.add(data, f"PCA and RaBitQ, {m} bytes", flat(data.x, transform=PCA(bits), codec=RaBitQ(1)))


def summed_up(checks: list[Check]) -> tuple[Verdict, str]:
    """Return a verdict and the claims in words."""
    found = {check.verdict for check in checks}
    words = [f"{each.claim}: {each.verdict} ({each.words})" for each in checks]
    return graded(found == {"holds"}, found != {"does not hold"}), "; ".join(words) + "."


def outcome(
    ours: str, trials: Trials, sets: list[TrainingSet], checks: list[Check], settings: dict[str, Any], *plots: Plot
) -> Outcome:
    """Return what an experiment found; methods whose names begin with `ours` are no baselines."""
    from isometry.evaluation import Outcome

    verdict, because = summed_up(checks)
    figures = list(trials.figures())
    return Outcome(
        verdict=verdict,
        because=because,
        figures=tuple(figure for figure in figures if figure.method.startswith(ours)),
        baselines=tuple(figure for figure in figures if not figure.method.startswith(ours)),
        plots=plots,
        settings={
            "documents, queries to learn from, queries to judge by": {
                each.name: [len(each.x), len(each.learn_queries), len(each.queries)] for each in sets
            },
            "encoder": ENCODER,
            **settings,
        },
    )
