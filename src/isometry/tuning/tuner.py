"""`tune`: memory and quality in, a measured configuration out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from isometry._version import __version__
from isometry.errors import InvalidInput, check_range
from isometry.tuning.halving import Progress, Search
from isometry.tuning.journal import Journal, fingerprint
from isometry.tuning.measuring import Bench
from isometry.tuning.plan import Goal, Plan, latest, memory_bytes
from isometry.tuning.problem import FEWEST_ROWS, prepare

__all__ = ["tune"]


def tune(
    data: Any,
    *,
    memory: str | float | None = None,
    bytes_per_vector: float | None = None,
    recall: float | None = None,
    ndcg_loss: float | None = None,
    latency_ms: float | None = None,
    queries: Any = None,
    qrels: Mapping[Any, Mapping[Any, int]] | None = None,
    metric: str | None = None,
    most_rows: int = 500_000,
    seed: int = 0,
    threads: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Find the configuration that serves vectors best within a budget, by measuring.

    What is bounded is kept to; what is not is made as good as it can be. Memory alone: the most recall. Recall alone:
    the fewest bytes. Both: the lowest latency, and of equally fast ones the smallest.

    Candidates are transforms x codecs x scan or graph x second look. Those that can't fit are never built; all others
    are measured on few vectors, the better ones on more, the last few on all. Nothing is measured on what was fitted:
    queries are those given, or rows that are taken out of what is indexed. One half of them chooses, the other half
    tells what to expect of the choice.

    Parameters
    ----------
    data : Collection or (n, d) array of float
        At least 100 vectors.
    memory : str or number, optional
        For the whole index: ``"200MB"``, ``"1.5 GiB"``, or bytes.
    bytes_per_vector : float, optional
        The same, said for one vector.
    recall : float, optional
        Least recall@10 against exact search over float32.
    ndcg_loss : float, optional
        Most that nDCG@10 may fall below that of exact search; needs `queries` and `qrels`.
    latency_ms : float, optional
        For one query by one thread, the median.
    queries : (m, d) array, list of texts, or mapping of query id to text or vector; optional
        At least 20. Texts need a collection with an encoder. Without queries up to 600 rows (a fifth at most) stand in.
    qrels : mapping of query id to mapping of document id to grade, optional
        Of an array, ids are the positions of queries and vectors.
    metric : {"cosine", "dot", "l2"}, optional
        For arrays, cosine by default; a collection has its own.
    most_rows : int, default 500_000
        More are not indexed here: bytes and latency are then scaled up, and recall is that of a sample.
    seed : int, default 0
    threads : int, optional
        For building and for recall; by default all processors. Latency is that of one thread.
    resume : path, optional
        Folder where measurements are kept as they are made; a run that names it again goes on where the last stopped.
    progress : callable, optional
        Called as ``progress(done, total, what)``.

    Returns
    -------
    Plan
        ``plan.spec`` and ``plan.effort`` when ``plan.met``; else ``plan.nearest``, by bound.

    Raises
    ------
    InvalidInput, DimensionMismatch
        No bound, a bound that makes no sense, too few vectors or queries, NaN or infinity, queries of another
        dimension, `qrels` without `queries`.

    Notes
    -----
    A configuration meets a recall when the low end of the 95 % interval over the choosing queries reaches it, and the
    mean over the other ones too. The interval of the promise is of those others.

    Latency is that of this machine, now. Where memory and recall are bounded it decides between candidates: leave the
    machine alone meanwhile.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = (rng.standard_normal((2000, 8)) @ rng.standard_normal((8, 32))).astype(np.float32)
    >>> plan = tune(x, recall=0.9)
    >>> plan.met, plan.best.recall.mean >= 0.9, plan.best.bytes_per_vector < 4 * 32
    (True, True, True)
    """
    if memory is not None and bytes_per_vector is not None:
        raise InvalidInput("memory and bytes_per_vector are both given; they say the same, so pass one of them")
    if ndcg_loss is not None and qrels is None:
        raise InvalidInput("ndcg_loss is given without qrels; nDCG needs queries and judgements of them")
    most_rows = check_range("most_rows", most_rows, FEWEST_ROWS)
    threads = None if threads is None else check_range("threads", threads, 1)
    seed = check_range("seed", seed, 0)
    total_bytes = None if memory is None else memory_bytes(memory)
    problem = prepare(data, queries=queries, qrels=qrels, metric=metric, seed=seed)
    goal = Goal(
        recall=recall,
        ndcg_loss=ndcg_loss,
        bytes_per_vector=bytes_per_vector if total_bytes is None else total_bytes / problem.total,
        latency_ms=latency_ms,
    )
    bench = Bench(problem, most_rows=most_rows, seed=seed, threads=threads)
    journal = Journal(resume, None if resume is None else fingerprint(*problem.parts(), most_rows, seed, __version__))
    search = Search(bench, journal, progress)
    best = search.best(goal)
    nearest = {}
    if best is None:
        found = {bound: search.best(goal.relaxed(bound)) for bound in goal.bounds}
        nearest = {bound: trial for bound, trial in found.items() if trial is not None}
    return Plan(
        goal=goal,
        n=problem.total,
        dim=problem.x.shape[1],
        metric=problem.metric,
        best=best,
        nearest=nearest,
        trials=latest(search.trials),
        left_out=search.left_out,
        settings={
            "choosing_queries": bench.choosing,
            "promising_queries": len(problem.queries) - bench.choosing,
            "own_queries": queries is not None,
            "rows": bench.sizes,
            "seed": seed,
            "threads": threads,
        },
        seconds=journal.seconds,
    )
