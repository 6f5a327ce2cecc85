"""What a configuration costs and finds, measured on vectors that it was not fitted on."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.estimates import Estimate, bootstrap_difference, bootstrap_mean
from isometry.indexes import Flat, index_from_spec
from isometry.tuning.candidates import Candidate
from isometry.tuning.plan import Goal, Trial
from isometry.tuning.problem import Judgements, Problem

__all__ = ["Bench", "K"]

K = 10
EFFORTS = (10, 12, 15, 19, 24, 30, 37, 46, 58, 72, 90, 113, 141, 176, 220, 275, 344, 430, 538, 672, 840, 1050, 1312)
"""What is tried: steps of a quarter, since a finer choice can't be told apart."""
_NEIGHBOURS = 50
_NEAR_SHARE = 0.7
_FEWEST_ROWS, _SHARES = 2000, (1 / 32, 1 / 8)
_FEWEST_QUERIES = 24
_PROBED = (32, 64)
_TIMED, _TIMED_S, _ROUNDS = 100, 1.0, 3
_SATURATED = 0.001
_GRAPH_GROWTH = 0.2
_NEARLY_ALL = 1.5
_TIE = 1e-6

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Sample:
    """Vectors to index, the queries to ask, and how good an answer must be to count as found.

    Attributes
    ----------
    rows : (n,) int64
    x : (n, d) float32
    ids : (nq, 10) int64
        What exact search finds; row numbers of `x`.
    least : (nq, 1) float64
        The score of the last of them.
    """

    rows: NDArray[np.int64]
    x: Floats
    ids: NDArray[np.int64]
    least: NDArray[np.float64]


class Bench:
    """Measures configurations over growing samples of the vectors, always with the same queries.

    The smaller samples hold the 50 nearest neighbours of some of the queries and other vectors at random. What
    competes for the first places is then there as it is among all vectors, so that recall on the sample comes near to
    recall on all; of a sample at random a coarse codec would find the best ten too easily.

    Parameters
    ----------
    problem : Problem
    most_rows : int
        At most this many vectors are indexed here.
    seed : int
    threads : int, optional

    Attributes
    ----------
    choosing : int
        How many of the queries, the first half, choose efforts and configurations; the others tell what the chosen one
        reaches.
    sizes : list of int
        Vectors on each rung; the last one has all there are.
    """

    def __init__(self, problem: Problem, *, most_rows: int, seed: int = 0, threads: int | None = None) -> None:
        self.queries, self.metric, self.total = problem.queries, problem.metric, problem.total
        self.judgements = problem.judgements
        self.seed, self.threads = seed, threads
        x = problem.x
        if len(x) > most_rows:
            kept = np.sort(np.random.default_rng(seed).permutation(len(x))[:most_rows])
            x, self._kept = x[kept], kept
        else:
            self._kept = np.arange(len(x))
        self.x = x
        self.choosing = (len(self.queries) + 1) // 2
        self.sizes = [len(x)]
        for share in reversed(_SHARES):
            size = max(_FEWEST_ROWS, int(len(x) * share))
            if 2 * size <= self.sizes[0]:
                self.sizes.insert(0, size)
        self._samples: dict[int, _Sample] = {}

    @property
    def last(self) -> int:
        """Number of the rung on which everything is indexed."""
        return len(self.sizes) - 1

    # -- before measuring --------------------------------------------------------------------------------------------

    def row_bytes(self, candidate: Candidate) -> float:
        """Return what each vector takes, found by building scans over a few of as many dimensions as its codecs get.

        What they hold in common, such as codebooks, is not in it.

        Raises
        ------
        InvalidInput
            A codec refuses such vectors, or its numbers.
        """
        d = self.x.shape[1]
        taken = self._probed(candidate.codec, candidate.kept(d))
        if candidate.refine:
            around = self._probed("Float32", d) - 4 * d  # ids, which both codes share
            taken += self._probed(candidate.refine, d) - around
        return taken + candidate.link_bytes

    def _probed(self, codec: str, d: int) -> float:
        few, more = (np.ascontiguousarray(self.x[:n, :d]) for n in _PROBED)
        if codec.startswith("RVQ"):  # laid out as PQ is, which is trained in no time
            codec = codec.replace("RVQ", "PQ")
        less, most = (self._build(Candidate(codec).spec, x)[0].nbytes for x in (few, more))
        return (most - less) / (len(more) - len(few))

    # -- measuring ---------------------------------------------------------------------------------------------------

    def measure(self, candidate: Candidate, rung: int, goal: Goal, row_bytes: float) -> Trial:
        """Build a configuration on the sample of a rung and measure it at the effort that the goal wants.

        Raises
        ------
        InvalidInput
            An index refuses its parts.
        """
        sample, whole = self.sample(rung), rung == self.last
        index, build_s = self._build(candidate.spec, sample.x)
        m = self._asked(rung)
        found = _Answers(self, index, sample, slice(0, m))
        doubt = 0 if whole else 1
        efforts = [None] if isinstance(index, Flat) else [e for e in EFFORTS if e <= max(K, len(sample.x) // 2)]
        effort = self._effort(found, goal, doubt, efforts)
        chosen, ndcg, loss = found.estimates(effort)
        recall, chosen_loss = chosen, loss.mean if loss else None
        if whole:
            recall, ndcg, loss = _Answers(self, index, sample, slice(m, None)).estimates(effort)
        n = len(sample.x)
        return Trial(
            spec=candidate.spec,
            effort=effort,
            rows=n,
            whole=whole,
            chosen=chosen,
            recall=recall,
            bytes_per_vector=(index.nbytes + row_bytes * (self.total - n)) / self.total,
            latency_ms=self._latency_of_all(index, effort, candidate),
            build_s=build_s,
            ndcg=ndcg,
            ndcg_loss=loss,
            chosen_ndcg_loss=chosen_loss,
        )

    def sample(self, rung: int) -> _Sample:
        """Return what is indexed on a rung; made when it is first needed."""
        if rung not in self._samples:
            whole = rung == self.last
            rows = np.arange(len(self.x)) if whole else self._near(rung)
            x = self.x if whole else self.x[rows]
            exact = Flat(metric=self.metric).build(x)
            asked = self.queries if whole else self.queries[: self._asked(rung)]
            ids, scores = exact.search(asked, K, threads=self.threads)
            self._samples[rung] = _Sample(rows, x, ids, scores[:, -1:].astype(np.float64))
        return self._samples[rung]

    def _asked(self, rung: int) -> int:
        """Return how many of the choosing queries are asked on a rung: their neighbours must find room in it."""
        if rung == self.last:
            return self.choosing
        return min(self.choosing, max(_FEWEST_QUERIES, int(self.sizes[rung] * _NEAR_SHARE / _NEIGHBOURS)))

    def _near(self, rung: int) -> NDArray[np.int64]:
        m, size = self._asked(rung), self.sizes[rung]
        near = np.zeros(len(self.x), np.bool_)
        near[self._neighbours[:m]] = True
        if self.judgements is not None:
            near[self._judged_rows(self.judgements, m)] = True
        others = np.flatnonzero(~near)
        more = np.random.default_rng([self.seed, rung]).permutation(others)[: max(0, size - int(near.sum()))]
        near[more] = True
        return np.flatnonzero(near)

    @cached_property
    def _neighbours(self) -> NDArray[np.int64]:
        most = max((self._asked(rung) for rung in range(self.last)), default=0)
        ids, _ = Flat(metric=self.metric).build(self.x).search(self.queries[:most], _NEIGHBOURS, threads=self.threads)
        return ids

    def _judged_rows(self, judgements: Judgements, m: int) -> NDArray[np.int64]:
        wanted = {document for query in judgements.queries[:m] for document in judgements.qrels.get(query, ())}
        return np.flatnonzero([judgements.documents[row] in wanted for row in self._kept])

    def documents(self, sample: _Sample) -> list[str]:
        """Return the document of every vector of a sample."""
        assert self.judgements is not None
        return [self.judgements.documents[row] for row in self._kept[sample.rows]]

    def _build(self, spec: str, x: Floats) -> tuple[Any, float]:
        index = index_from_spec(spec, metric=self.metric)
        if self.threads is not None and hasattr(index, "threads"):
            index.threads = self.threads
        began = time.perf_counter()
        index.build(x)
        return index, time.perf_counter() - began

    def _effort(self, found: _Answers, goal: Goal, doubt: int, efforts: Sequence[Any]) -> Any:
        """Return the least effort that keeps the bounds on quality, or that gains next to nothing by more."""
        bounded = goal.recall is not None or goal.ndcg_loss is not None
        if len(efforts) == 1 or (bounded and found.keep(goal, efforts[0], doubt)):
            return efforts[0]
        most = found.recall(efforts[-1]).mean() - _SATURATED
        reached = bounded and found.keep(goal, efforts[-1], doubt)

        def enough(effort: int) -> bool:
            return found.keep(goal, effort, doubt) if reached else bool(found.recall(effort).mean() >= most)

        if enough(efforts[0]):
            return efforts[0]
        if bounded and not reached:
            return efforts[-1]
        least = bisect_left(efforts, True, 1, len(efforts) - 1, key=enough)
        if goal.latency_ms is not None and not bounded:
            limit = goal.latency_ms
            slow = bisect_left(efforts, True, 0, least + 1, key=lambda e: self._latency(found.index, e, 20) > limit)
            least = min(least, max(0, slow - 1))
        return efforts[least]

    def _latency_of_all(self, index: Any, effort: int | None, candidate: Candidate) -> float:
        """Return what a query is expected to take over all vectors: a scan grows with them, a walk hardly."""
        ms, growth = self._latency(index, effort, _TIMED), self.total / len(index)
        if candidate.degree:
            return float(ms * growth**_GRAPH_GROWTH)
        few = np.arange(index.n_rows) < K
        fixed = min(ms, self._latency(index, effort, 10, allowed=few)) if growth > _NEARLY_ALL else 0.0
        return fixed + (ms - fixed) * growth

    def _latency(self, index: Any, effort: int | None, most: int, **options: Any) -> float:
        """Return the median milliseconds of one query by one thread; of each the best of some rounds.

        Other work on a machine only ever adds to what a query takes, and comes in bursts: rounds are apart in time.
        """
        best = np.full(min(most, self.choosing), np.inf)
        index.search(self.queries[:1], K, effort=effort, threads=1, **options)
        began = time.perf_counter()
        for step in range(_ROUNDS * len(best)):
            i = step % len(best)
            start = time.perf_counter()
            index.search(self.queries[i : i + 1], K, effort=effort, threads=1, **options)
            end = time.perf_counter()
            best[i] = min(best[i], end - start)
            if end - began > _TIMED_S and step >= 4:
                break
        return 1000 * float(np.median(best[np.isfinite(best)]))


class _Answers:
    """What an index answers to some of the queries, by effort; each effort is asked once."""

    def __init__(self, bench: Bench, index: Any, sample: _Sample, part: slice) -> None:
        self.bench, self.index, self.sample = bench, index, sample
        self.queries = bench.queries[: len(sample.ids)][part]
        self.exact, self.least = sample.ids[part], sample.least[part]
        self.part = range(len(sample.ids))[part]
        self._known: dict[int | None, NDArray[np.int64]] = {}

    def ids(self, effort: int | None) -> NDArray[np.int64]:
        if effort not in self._known:
            found, _ = self.index.search(self.queries, K, effort=effort, threads=self.bench.threads)
            self._known[effort] = found
        return self._known[effort]

    def recall(self, effort: int | None) -> NDArray[np.float64]:
        """Return the share of the best ten by query; of equally good vectors any will do."""
        found = self.ids(effort)
        scores = _scores(self.bench.metric, self.queries, self.sample.x, found)
        slack = _TIE * np.maximum(1, np.abs(self.least))
        wanted = (self.exact >= 0).sum(1)
        hits = ((found >= 0) & (scores >= self.least - slack)).sum(1)
        return np.minimum(hits / wanted, 1.0)

    def keep(self, goal: Goal, effort: int | None, doubt: int) -> bool:
        """Whether an effort keeps the bounds on quality, on these queries."""
        if goal.recall is not None:
            recall = self.recall(effort)
            if (recall.mean() if doubt else bootstrap_mean(recall).low) < goal.recall:
                return False
        return goal.ndcg_loss is None or float(np.mean(self._losses(effort))) <= goal.ndcg_loss

    def estimates(self, effort: int | None) -> tuple[Estimate, Estimate | None, Estimate | None]:
        """Return recall, nDCG and the loss of nDCG; the last two are None without judgements."""
        recall = bootstrap_mean(self.recall(effort))
        if self.bench.judgements is None:
            return recall, None, None
        ndcg = self._ndcg(self.ids(effort))
        loss = bootstrap_difference(self._exact_ndcg, ndcg)
        return recall, bootstrap_mean(ndcg), Estimate(loss.mean, loss.low, loss.high, loss.n)

    def _losses(self, effort: int | None) -> NDArray[np.float64]:
        return self._exact_ndcg - self._ndcg(self.ids(effort))

    @cached_property
    def _exact_ndcg(self) -> NDArray[np.float64]:
        return self._ndcg(self.exact)

    def _ndcg(self, found: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return nDCG@10 of every judged query; a document stands where the best of its vectors does."""
        from isometry.evaluation import measure

        judgements = self.bench.judgements
        assert judgements is not None
        documents = self._documents
        asked = [judgements.queries[i] for i in self.part]
        qrels = {query: judgements.qrels[query] for query in asked if query in judgements.qrels}
        run: dict[str, dict[str, float]] = {}
        for query, ids in zip(asked, found.tolist(), strict=True):
            ranked = dict.fromkeys(documents[i] for i in ids if i >= 0)
            run[query] = {document: float(K - rank) for rank, document in enumerate(ranked)}
        return measure(run, qrels, ["nDCG@10"], resamples=100).values["nDCG@10"]

    @cached_property
    def _documents(self) -> list[str]:
        return self.bench.documents(self.sample)


def _scores(metric: str, q: Floats, x: Floats, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the exact scores of answers (nq, k)."""
    scores = np.empty(ids.shape, np.float64)
    for i, (one, found) in enumerate(zip(q.astype(np.float64), ids, strict=True)):
        rows = x[found].astype(np.float64)
        if metric == "l2":
            scores[i] = -np.square(rows - one).sum(1)
            continue
        scores[i] = rows @ one
        if metric == "cosine":
            norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(one)
            scores[i] = np.divide(scores[i], norms, out=np.zeros(len(norms)), where=norms > 0)
    return scores
