"""What is tuned for: vectors to index, and queries that none of them was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.collections import Collection
from isometry.collections.kinds import DENSE, kinds_of
from isometry.collections.manifest import Manifest
from isometry.collections.state import DOCUMENTS
from isometry.collections.table import ID, DocumentTable
from isometry.errors import InvalidInput, check_choice
from isometry.indexes import METRICS
from isometry.vectors import as_dense

__all__ = ["FEWEST_ROWS", "Judgements", "Problem", "prepare"]

FEWEST_ROWS = 100
_FEWEST_QUERIES, _MOST_QUERIES = 20, 2000
_MOST_HELD_OUT = 600

Floats = NDArray[np.float32]
Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Judgements:
    """Which documents are relevant.

    Attributes
    ----------
    documents : sequence of str
        The document of every vector.
    queries : sequence of str
        Id of every query.
    qrels : mapping of query id to mapping of document id to grade
    """

    documents: Sequence[str]
    queries: Sequence[str]
    qrels: Qrels


@dataclass(frozen=True)
class Problem:
    """What a tuning run works on.

    Attributes
    ----------
    x : (n, d) float32
        What may be indexed.
    queries : (m, d) float32
        None of them is in `x`; in random order.
    metric : str
    total : int
        How many vectors there will be.
    judgements : Judgements or None
        Of the rows of `x` and the queries.
    """

    x: Floats
    queries: Floats
    metric: str
    total: int
    judgements: Judgements | None = None

    def parts(self) -> tuple[Any, ...]:
        """Return everything that a measurement depends on."""
        judged = self.judgements
        return (
            self.x,
            self.queries,
            self.metric,
            self.total,
            judged and [judged.queries, judged.documents, judged.qrels],
        )


def prepare(
    data: Any,
    *,
    queries: Any = None,
    qrels: Mapping[Any, Mapping[Any, int]] | None = None,
    metric: str | None = None,
    seed: int = 0,
) -> Problem:
    """Read vectors and queries; parameters and errors as for `isometry.tune`.

    Without queries a fifth of the rows, at most 600, is taken out to stand in for them.
    """
    if qrels is not None and queries is None:
        raise InvalidInput("qrels are given without queries; pass the queries that they judge")
    if isinstance(data, Collection):
        if metric not in (None, data.metric):
            raise InvalidInput(f"metric is {metric!r}; the collection compares by {data.metric!r}, leave metric out")
        metric = data.metric
        x, documents = _stored(data)
    else:
        metric = check_choice("metric", "cosine" if metric is None else metric, METRICS)
        x, documents = as_dense(data, name="data"), None
    if len(x) < FEWEST_ROWS:
        raise InvalidInput(
            f"there are {len(x)} vectors; tuning needs at least {FEWEST_ROWS}, and so few are best left to 'Flat'"
        )
    random = np.random.default_rng(seed)
    if queries is None:
        held = random.permutation(len(x))[: min(_MOST_HELD_OUT, max(_FEWEST_QUERIES, len(x) // 5))]
        kept = np.setdiff1d(np.arange(len(x)), held)
        return Problem(x[kept], x[held], metric, len(x))
    ids, asked = _asked(data, queries, x.shape[1])
    if len(asked) < _FEWEST_QUERIES:
        raise InvalidInput(
            f"there are {len(asked)} queries; one half chooses and the other half promises, so at least "
            f"{_FEWEST_QUERIES} are needed: leave queries out to have rows stand in for them"
        )
    order = random.permutation(len(asked))[:_MOST_QUERIES]
    judgements = None
    if qrels is not None:
        names = [str(row) for row in range(len(x))] if documents is None else documents
        order, judgements = _judged(qrels, names, ids, order)
    return Problem(x, asked[order], metric, len(x), judgements)


def _stored(collection: Collection) -> tuple[Floats, list[str]]:
    """Return the vectors of a collection, and the document of each."""
    table = DocumentTable(collection.path / DOCUMENTS, version=collection.version or None)
    dense = kinds_of(Manifest.read(collection.path).as_of(table.version), table)[DENSE]
    if dense.column not in table.schema.names:
        raise InvalidInput(f"{collection.path} has no vectors, so there is nothing to tune: it is searched by words")
    vectors: list[Floats] = [np.zeros((0, dense.dim or 1), np.float32)]
    documents: list[str] = []
    for batch in table.batches([ID, dense.column]):
        own = dense.of_rows(batch)
        vectors.append(own.tokens)
        documents += [name for name, n in zip(batch[ID].to_pylist(), own.lengths, strict=True) for _ in range(n)]
    return np.concatenate(vectors), documents


def _asked(data: Any, queries: Any, d: int) -> tuple[list[str], Floats]:
    """Return ids and vectors of queries in any of their forms."""
    items: Any
    if isinstance(queries, Mapping):
        ids, items = [str(name) for name in queries], list(queries.values())
    else:
        items = queries if isinstance(queries, np.ndarray) else list(queries)
        ids = [str(i) for i in range(len(items))]
    if len(items) and isinstance(items[0], str):
        encoder = data.encoder if isinstance(data, Collection) else None
        if encoder is None:
            raise InvalidInput("queries are texts, but there is no encoder to turn them into vectors; pass vectors")
        items = encoder.encode_query(list(items))
    return ids, as_dense(items if len(items) else np.zeros((0, d)), dim=d, name="queries")


def _judged(
    qrels: Mapping[Any, Mapping[Any, int]], documents: Sequence[str], ids: Sequence[str], order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Judgements]:
    """Return the judged queries among those in `order`, and the judgements with all names as texts."""
    known = {str(query): {str(name): grade for name, grade in grades.items()} for query, grades in qrels.items()}
    judged = np.array([i for i in order if known.get(ids[i])], np.int64)
    there = set(documents)
    if not any(name in there for i in judged for name in known[ids[i]]):
        raise InvalidInput("qrels judge none of the queries with any of the documents; are they of the same set?")
    if len(judged) < _FEWEST_QUERIES:
        raise InvalidInput(f"only {len(judged)} of the queries are judged; expected at least {_FEWEST_QUERIES}")
    asked = [ids[i] for i in judged]
    return judged, Judgements(documents, asked, {query: known[query] for query in asked})
