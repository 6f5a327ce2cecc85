"""How entangled relevance judgements are: the graph of queries that share relevant documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isometry.errors import InvalidInput

_ROWS_AT_ONCE = 4096

Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class QrelGraph:
    """The judgements of a set as a graph: queries are nodes, an edge joins two that share a relevant document.

    Attributes
    ----------
    queries : int
        Those with a relevant document.
    documents : int
        Those relevant for some query.
    judgements : int
        Relevant pairs.
    most_relevant : int
        Relevant documents of the query that has most of them.
    density : float
        Share of all pairs of queries that are joined, 0 to 1. LIMIT has .0855, HotpotQA .000037.
    strength : float
        Mean over queries of the summed weights of its edges; the weight is the Jaccard overlap of the two sets of
        relevant documents. LIMIT has 28.47, SciFact 0.42.
    """

    queries: int
    documents: int
    judgements: int
    most_relevant: int
    density: float
    strength: float

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return asdict(self)


def qrel_graph(qrels: Qrels) -> QrelGraph:
    """Measure how entangled judgements are.

    Parameters
    ----------
    qrels : mapping of query id to mapping of document id to grade
        A grade above 0 is relevant. Queries without a relevant document are left out.

    Raises
    ------
    InvalidInput
        No relevant document at all.

    Notes
    -----
    O(sum over documents of (queries it answers)^2) time; memory for one block of 4,096 queries.

    The paper does not say how its Table 1 counts. With nodes, edges and weights as defined here LIMIT gives exactly its
    figures, .0855 and 28.47.

    References
    ----------
    Weller et al., arXiv:2508.21038, Table 1.
    """
    from scipy.sparse import csr_array

    relevant = relevant_documents(qrels)
    place = {document: i for i, document in enumerate(dict.fromkeys(d for found in relevant.values() for d in found))}
    sizes = np.array([len(found) for found in relevant.values()])
    columns = np.array([place[d] for found in relevant.values() for d in found])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    pairs = csr_array((np.ones(len(columns)), columns, starts), shape=(len(relevant), len(place)))
    edges, strength = 0, 0.0
    for first in range(0, len(relevant), _ROWS_AT_ONCE):
        shared = (pairs[first : first + _ROWS_AT_ONCE] @ pairs.T).tocoo()
        rows = shared.row + first
        other = rows != shared.col
        union = sizes[rows] + sizes[shared.col] - shared.data
        edges += int(np.count_nonzero(other))
        strength += float((shared.data / union)[other].sum())
    m = len(relevant)
    return QrelGraph(
        queries=m,
        documents=len(place),
        judgements=len(columns),
        most_relevant=int(sizes.max()),
        density=edges / (m * (m - 1)) if m > 1 else 0.0,
        strength=strength / m,
    )


def relevant_documents(qrels: Qrels) -> dict[str, list[str]]:
    """Return the ids of the relevant documents by query, for queries that have any.

    Raises
    ------
    InvalidInput
        There is none.
    """
    found = {query: [d for d, grade in grades.items() if grade > 0] for query, grades in qrels.items()}
    found = {query: documents for query, documents in found.items() if documents}
    if not found:
        judgements = sum(map(len, qrels.values()))
        raise InvalidInput(
            f"qrels hold {len(qrels):,} queries and {judgements:,} judgements, none of them above 0; expected at least "
            "one relevant document"
        )
    return found
