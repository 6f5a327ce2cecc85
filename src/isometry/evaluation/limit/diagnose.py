"""Where search over one's own judgements falls short: of what any encoder could do, or of what words already do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from isometry.errors import DimensionMismatch, InvalidInput, check_range, did_you_mean
from isometry.estimates import Difference
from isometry.evaluation.collection import run_collection
from isometry.evaluation.limit.bound import Bound, upper_bound
from isometry.evaluation.limit.free import DEFAULT_MEMORY, Progress
from isometry.evaluation.limit.graph import QrelGraph, qrel_graph, relevant_documents
from isometry.evaluation.measures import Measured, Run, measure, run_from_arrays

MEASURES = ("Rprec", "R@10", "R@100")

_IDS_AT_ONCE = 1_000
_ENTANGLED = 0.02
_NOTHING, _CLOSE, _FRAGILE = 0.005, 0.95, 0.01


class Diagnosable(Protocol):
    """What `diagnose` needs of a collection."""

    @property
    def dim(self) -> int | None:
        """Dimensions of the vectors, if any."""

    @property
    def encoder(self) -> Any:
        """What turns texts into vectors, or None."""

    def __len__(self) -> int: ...

    def get(self, ids: Sequence[str]) -> Any:
        """Return a table of the documents with these ids."""

    def search(self, query: list[str], k: int = 10, *, mode: str | None = None, where: Any = None) -> list[Any]:
        """Return one object with ``ids`` and ``scores``, best first, per query."""
        ...


@dataclass(frozen=True)
class Diagnosis:
    """What stands between a collection and its judgements.

    Attributes
    ----------
    graph : QrelGraph
        How entangled the judgements are.
    bound : Bound
        What any encoder of this dimension could do.
    measured : dict of str to Measured
        By mode ("dense", "lexical", "hybrid"): Rprec, R@10 and R@100 over the queries with a relevant document. Rprec
        is the share of the relevant among the first |relevant|; it is 1 exactly when the order is right.
    gaps : dict of str to Difference
        "lexical - dense" and "hybrid - dense" in Rprec, paired by query.
    advice : tuple of str
        In plain words, the most important first.
    skipped : int
        Judged queries left out because nothing is relevant for them.
    """

    graph: QrelGraph
    bound: Bound
    measured: dict[str, Measured]
    gaps: dict[str, Difference] = field(hash=False)
    advice: tuple[str, ...] = ()
    skipped: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "graph": self.graph.to_dict(),
            "bound": self.bound.to_dict(),
            "measured": {mode: found.to_dict() for mode, found in self.measured.items()},
            "gaps": {name: gap.to_dict() for name, gap in self.gaps.items()},
            "advice": list(self.advice),
            "skipped": self.skipped,
        }


def diagnose(
    collection: Diagnosable,
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    dim: int | None = None,
    max_queries: int | None = None,
    seed: int = 0,
    memory_bytes: int = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> Diagnosis:
    """Tell whether judgements are beyond the dimension, beyond the encoder, or beyond neither.

    Parameters
    ----------
    collection : Collection
    queries : mapping of query id to text
    qrels : mapping of query id to mapping of document id to grade
        Above 0 is relevant.
    dim : int, optional
        Dimension of the bound; default that of the collection.
    max_queries : int, optional
        Look at this many judged queries, drawn at random. A bound over fewer queries is easier to reach.
    seed : int
    memory_bytes : int
        For the bound; more than needed is refused before anything is computed.
    progress : callable, optional

    Returns
    -------
    Diagnosis

    Raises
    ------
    InvalidInput
        Empty judgements, a judged query without text, a judged document that is not stored, or no dimension is known.
    TooLarge
        The judgements do not fit into memory as a matrix.
    """
    relevant = _sample({query: qrels[query] for query in relevant_documents(qrels)}, max_queries, seed)
    _check_known(relevant, queries, collection)
    dimension = dim if dim is not None else collection.dim
    if dimension is None:
        raise InvalidInput("the collection has no vectors, so there is no dimension to judge; pass dim, such as 384")
    judged = sum(
        1 for _ in dict.fromkeys(d for grades in relevant.values() for d, grade in grades.items() if grade > 0)
    )
    bound = upper_bound(
        relevant,
        dimension,
        unjudged=len(collection) > judged,
        seed=seed,
        memory_bytes=memory_bytes,
        progress=progress,
    )
    depth = max(100, max(map(len, relevant.values())))
    asked = {query: queries[query] for query in relevant}
    modes = ("dense", "lexical", "hybrid") if collection.encoder is not None else ("lexical",)
    runs = {mode: run_collection(collection, asked, mode=mode, k=depth, progress=progress) for mode in modes}
    return _conclude(runs, relevant, bound, len(qrels) - len(relevant), seed)


def diagnose_vectors(
    documents: Mapping[str, NDArray[np.float32]] | tuple[Sequence[str], NDArray[np.float32]],
    queries: Mapping[str, NDArray[np.float32]] | tuple[Sequence[str], NDArray[np.float32]],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    metric: str = "cosine",
    max_queries: int | None = None,
    seed: int = 0,
    memory_bytes: int = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> Diagnosis:
    """Do what `diagnose` does for vectors alone; without texts there are no words to compare with.

    Parameters
    ----------
    documents, queries : (ids, (n, d) float32), or mapping of id to (d,) vector
    qrels : mapping of query id to mapping of document id to grade
    metric : {"cosine", "dot", "l2"}
    max_queries, seed, memory_bytes, progress
        As for `diagnose`.

    Raises
    ------
    InvalidInput, DimensionMismatch, TooLarge
        As `diagnose`; also vectors that do not fit each other.
    """
    from isometry.indexes import Flat

    document_ids, stored = _named(documents, "documents")
    query_ids, asked = _named(queries, "queries")
    relevant = _sample({query: qrels[query] for query in relevant_documents(qrels)}, max_queries, seed)
    _check_ids(relevant, set(query_ids), set(document_ids))
    index = Flat(metric=metric).build(stored)
    place = {name: row for row, name in enumerate(query_ids)}
    depth = min(len(document_ids), max(100, max(map(len, relevant.values()))))
    ids, scores = index.search(asked[[place[query] for query in relevant]], k=depth)
    run = run_from_arrays(list(relevant), document_ids, ids, scores)
    judged = {d for grades in relevant.values() for d, grade in grades.items() if grade > 0}
    bound = upper_bound(
        relevant,
        stored.shape[1],
        unjudged=len(document_ids) > len(judged),
        seed=seed,
        memory_bytes=memory_bytes,
        progress=progress,
    )
    return _conclude({"dense": run}, relevant, bound, len(qrels) - len(relevant), seed)


def _conclude(
    runs: Mapping[str, Run], qrels: Mapping[str, Mapping[str, int]], bound: Bound, skipped: int, seed: int
) -> Diagnosis:
    graph = qrel_graph(qrels)
    measured = {mode: measure(run, qrels, MEASURES, seed=seed) for mode, run in runs.items()}
    gaps = {
        f"{mode} - dense": found.difference(measured["dense"], "Rprec")
        for mode, found in measured.items()
        if mode != "dense" and "dense" in measured
    }
    return Diagnosis(graph, bound, measured, gaps, tuple(_advice(graph, bound, measured, gaps)), skipped)


def _advice(
    graph: QrelGraph, bound: Bound, measured: Mapping[str, Measured], gaps: Mapping[str, Difference]
) -> list[str]:
    said = [_about_dimension(graph, bound)]
    if "dense" in measured:
        said.append(_about_encoder(bound, measured["dense"]["Rprec"].mean))
    if gaps:
        said.append(_about_modes(measured, gaps))
    if graph.queries < 50:
        said.append(f"There are only {graph.queries} judged queries: judge more before acting on differences.")
    return said


def _about_dimension(graph: QrelGraph, bound: Bound) -> str:
    tangle = (
        f"{graph.density:.2%} of all pairs of queries share a relevant document"
        + (" (LIMIT: 8.55 %)" if graph.density >= _ENTANGLED else "")
        + f", and a query has up to {graph.most_relevant}"
    )
    if bound.solved and bound.margin < _FRAGILE:
        return (
            f"The dimension is tight: {tangle}. Vectors of {bound.dim} dimensions that rank all of it right were "
            f"found, but with a lead of only {bound.margin:.4f}, which coarse compression would erase. More "
            "dimensions, or several vectors per document, would give room."
        )
    if bound.solved:
        return (
            f"The dimension is not what is missing: {tangle}, and {bound.dim} dimensions can rank all of it right, "
            f"with a lead of at least {bound.margin:.2f}. Whether an encoder can find such vectors from the text alone "
            "is another question."
        )
    certain = (
        "They do exist (twice the relevant documents of any query are fewer than the dimensions), at a smaller lead."
        if bound.always
        else "That is no proof that there are none."
    )
    return (
        f"The dimension may be what is missing: {tangle}, and the search for vectors of {bound.dim} dimensions that "
        f"rank all of it right ended at {bound.recall:.1%} ({bound.reason}). {certain} Try multi-vector or sparse "
        "search."
    )


def _about_encoder(bound: Bound, reached: float) -> str:
    room = bound.recall - reached
    if reached >= _CLOSE * bound.recall:
        return (
            f"The encoder reaches {reached:.1%} of the relevant documents at the top, close to the bound of "
            f"{bound.recall:.1%}."
        )
    return (
        f"The encoder puts {reached:.1%} of the relevant documents at the top where {bound.recall:.1%} is possible in "
        f"its dimension: {room:.1%} are lost by what it encodes, not by how many numbers it uses."
    )


def _about_modes(measured: Mapping[str, Measured], gaps: Mapping[str, Difference]) -> str:
    words, both = gaps["lexical - dense"], gaps["hybrid - dense"]
    values = {mode: found["Rprec"].mean for mode, found in measured.items()}
    if words.low > _NOTHING and values["lexical"] >= values["hybrid"] - _NOTHING:
        return (
            f"Words decide this set: {values['lexical']:.1%} by words, {values['dense']:.1%} by meaning, and fusing "
            f"both ({values['hybrid']:.1%}) gains nothing. Use mode='lexical', or an encoder that keeps words apart "
            "(sparse, multi-vector); a longer dense vector alone will not help."
        )
    if both.low > _NOTHING and values["hybrid"] > max(values["lexical"], values["dense"]):
        return (
            f"Words and meaning find different documents: {values['hybrid']:.1%} together, {values['dense']:.1%} by "
            f"meaning and {values['lexical']:.1%} by words. Use mode='hybrid'."
        )
    if words.high < -_NOTHING:
        return (
            f"Meaning carries this set: {values['dense']:.1%} against {values['lexical']:.1%} by words, and fusing "
            f"gives {values['hybrid']:.1%}. Use mode='dense'; to gain more, fine-tune the encoder or rerank."
        )
    return (
        f"Meaning ({values['dense']:.1%}), words ({values['lexical']:.1%}) and both ({values['hybrid']:.1%}) do not "
        "differ beyond chance on these queries. Fine-tuning or reranking is more likely to help than another way of "
        "searching."
    )


def _sample(qrels: dict[str, Mapping[str, int]], max_queries: int | None, seed: int) -> dict[str, Mapping[str, int]]:
    if max_queries is None or check_range("max_queries", max_queries, 1) >= len(qrels):
        return qrels
    names = list(qrels)
    kept = np.sort(np.random.default_rng(check_range("seed", seed, 0)).choice(len(names), max_queries, replace=False))
    return {names[i]: qrels[names[i]] for i in kept}


def _check_known(qrels: Mapping[str, Mapping[str, int]], queries: Mapping[str, str], collection: Diagnosable) -> None:
    wanted = list(dict.fromkeys(d for grades in qrels.values() for d, grade in grades.items() if grade > 0))
    stored: set[str] = set()
    for first in range(0, len(wanted), _IDS_AT_ONCE):
        stored.update(collection.get(wanted[first : first + _IDS_AT_ONCE])["id"].to_pylist())
    _check_ids(qrels, set(queries), stored)


def _check_ids(qrels: Mapping[str, Mapping[str, int]], queries: set[str], documents: set[str]) -> None:
    unasked = [query for query in qrels if query not in queries]
    if unasked:
        raise InvalidInput(
            f"{len(unasked):,} of {len(qrels):,} judged queries have no text (first: {unasked[0]!r}"
            f"{did_you_mean(unasked[0], queries)}); expected queries and judgements of the same set"
        )
    missing = [d for grades in qrels.values() for d, grade in grades.items() if grade > 0 and d not in documents]
    if missing:
        raise InvalidInput(
            f"{len(missing):,} judgements name documents that are not stored (first: {missing[0]!r}); add them, or "
            "leave those judgements out"
        )


def _named(vectors: Any, name: str) -> tuple[list[str], NDArray[np.float32]]:
    from isometry.vectors import as_dense

    if isinstance(vectors, Mapping):
        rows: Any = np.stack([np.asarray(row) for row in vectors.values()]) if vectors else []
        ids = list(vectors)
    else:
        ids, rows = list(vectors[0]), vectors[1]
    found = as_dense(rows, name=name)
    if len(ids) != len(found) or len(set(ids)) < len(ids):
        raise DimensionMismatch(
            f"{name} hold {len(set(ids))} different ids and {len(found)} vectors; expected one each"
        )
    return ids, found
