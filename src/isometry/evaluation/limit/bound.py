"""What any encoder of a given dimension could do on given judgements: free embeddings fitted to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from isometry.errors import check_range
from isometry.evaluation.limit.free import DEFAULT_MEMORY, Fit, Progress, check_memory, fit_embeddings
from isometry.evaluation.limit.graph import relevant_documents

LADDER = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)

_STEPS, _PATIENCE = 5_000, 500


@dataclass(frozen=True)
class Bound:
    """The best ranking of given judgements that was found in d dimensions.

    Attributes
    ----------
    dim : int
    queries, documents : int
        Different rows and columns of the relevance matrix; documents relevant for nothing count as one more document.
    solved : bool
        Unit vectors exist that rank every relevant document above all others: they were found.
    recall : float
        Share of relevant documents among the first |relevant| of their query, by the vectors found; different rows
        and columns count once.
    margin : float
        Smallest lead of a relevant document that was reached; negative when not solved.
    always : bool
        2 * (most relevant documents of a query) <= d: such vectors exist for certain, whatever the documents.
    reason : str
        Why the first fit stopped.
    """

    dim: int
    queries: int
    documents: int
    solved: bool
    recall: float
    margin: float
    always: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def upper_bound(
    qrels: Mapping[str, Mapping[str, int]],
    dim: int,
    *,
    unjudged: bool = True,
    steps: int = _STEPS,
    seed: int = 0,
    memory_bytes: int = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> Bound:
    """Fit free vectors to judgements: can any encoder of this dimension rank them right, and by which margin?

    Parameters
    ----------
    qrels : mapping of query id to mapping of document id to grade
        Above 0 is relevant.
    dim : int
    unjudged : bool
        The collection holds documents that answer no query.
    steps : int
        Most steps of each fit.
    seed : int
    memory_bytes : int
        Refuse to begin when more is needed.
    progress : callable, optional

    Returns
    -------
    Bound

    Raises
    ------
    InvalidInput
        Nothing is relevant.
    TooLarge
        The judgements do not fit into memory as a matrix; the message says how much they need.
    Diverged, MissingExtra
        As `fit_embeddings`.

    Notes
    -----
    Documents that answer the same queries may share one vector, and queries with the same answers too, without changing
    what can be ranked or by which margin; so all documents that answer nothing are one. The result thus speaks about
    the whole collection although only few vectors are fitted.

    Solved is proof: here are such vectors. Not solved proves nothing, since the optimiser may just not have found them.
    And no such vectors say that an encoder could make them from text it has never seen. What they do say: whether more
    dimensions are what is missing.

    First the paper's loss, to a strict order; then the hinge loss from there, for leads of .01, .02, .05, .1, .2, .3,
    .5, until one is not reached.
    """
    check_range("dim", dim, 1)
    check_range("steps", steps, 1)
    rows, documents = _quotient(qrels, unjudged)
    widest = max(map(len, rows))
    check_memory(len(rows), documents, dim, widest, 1, memory_bytes)
    found, reason = None, ""
    for target in (0.0, *LADDER):
        (fit,) = fit_embeddings(
            rows,
            documents,
            dim,
            seeds=(seed,),
            loss="hinge" if target else "infonce",
            margin=target,
            start=[found] if found else None,
            steps=steps,
            patience=_PATIENCE,
            memory_bytes=memory_bytes,
            progress=progress,
        )
        reason = reason or fit.reason
        found = _better(found, fit)
        if not fit.solved and target:
            break
    assert found is not None
    most = max(map(len, relevant_documents(qrels).values()))
    return Bound(dim, len(rows), documents, found.margin > 0, found.recall, found.margin, 2 * most <= dim, reason)


def _better(old: Fit | None, new: Fit) -> Fit:
    return new if old is None or (new.recall, new.margin) > (old.recall, old.margin) else old


def _quotient(qrels: Mapping[str, Mapping[str, int]], unjudged: bool) -> tuple[list[list[int]], int]:
    """Return the relevance matrix without repeated rows and columns: columns of each row, and how many columns."""
    answers: dict[str, list[int]] = {}
    for number, found in enumerate(relevant_documents(qrels).values()):
        for document in found:
            answers.setdefault(document, []).append(number)
    column: dict[tuple[int, ...], int] = {}
    rows: dict[int, list[int]] = {}
    for queries in answers.values():
        if tuple(queries) not in column:
            column[tuple(queries)] = place = len(column)
            for query in queries:
                rows.setdefault(query, []).append(place)
    different = sorted({tuple(row) for row in rows.values()})
    return [list(row) for row in different], len(column) + bool(unjudged)
