"""What an index costs against full precision: its recall of what an exact scan finds, and its bytes.

The scans are NumPy's and SciPy's; they share no code with the indexes that they judge. Stored vectors are the queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.estimates import Estimate, recall_against_exact

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from isometry.storage import Folder
    from isometry.vectors import MultiVectors

__all__ = ["Cost", "dense_recall", "queries_of", "sparse_recall", "token_recall"]

RECALL_K = 10
RECALL_QUERIES = 100
QUERY_TOKENS = 32
_FEWEST_QUERIES = 10
_MOST_PRODUCTS = 1e11
"""What asking stored documents by all their tokens may cost: some seconds."""
_BLOCK = 10
_TOKENS_AT_ONCE = 1 << 16
_HALF = 1e-3
"""What is kept in half precision may change places with scores that differ by this share of the largest."""


@dataclass(frozen=True)
class Cost:
    """What an index costs against a scan of the full vectors.

    Attributes
    ----------
    recall, low, high : float
        Share of the exact ten nearest neighbours that it returns, and its 95 % interval.
    queries : int
        Stored vectors, or documents, that were asked for; none counts itself, and of dense vectors no transform or
        codec learned from them.
    bytes_per_vector : float
        On disk.
    """

    recall: float
    low: float
    high: float
    queries: int
    bytes_per_vector: float

    @classmethod
    def of(cls, recall: Estimate | None, nbytes: int, n: int) -> Cost | None:
        """Return the cost of an index over n vectors; None where no recall could be measured."""
        return None if recall is None else cls(recall.mean, recall.low, recall.high, recall.n, nbytes / n)

    @classmethod
    def noted(cls, rows: Folder, name: str) -> Cost | None:
        """Return what is noted in the folder of a segment under a name; None where nothing is."""
        if name not in rows.parameters:
            return None
        noted = rows.parameter(name, dict)
        numbers = [noted.get(field.name) for field in fields(cls)]
        if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            raise rows.damaged(f"its {name} is {noted!r:.80}")
        return cls(**{field.name: noted[field.name] for field in fields(cls)})

    def to_dict(self) -> dict[str, Any]:
        """Return what `noted` reads."""
        return asdict(self)


def queries_of(rows: NDArray[np.int64], most: int = RECALL_QUERIES) -> NDArray[np.int64]:
    """Return some of the rows, to be asked for."""
    return np.random.default_rng(0).permutation(rows)[:most]


def dense_recall(index: Any, vectors: NDArray[np.float32], asked: NDArray[np.int64], metric: str) -> Estimate | None:
    """Compare an index with a scan in double precision."""

    def search(k: int) -> NDArray[np.int64]:
        return index.search(vectors[asked], k=k)[0]

    def exact(some: NDArray[np.int64]) -> NDArray[np.float64]:
        return _exact(vectors[some], vectors, metric)

    return _recall(search, exact, asked, len(vectors), rounded=1e-5, least=1.0)


def sparse_recall(index: Any, weights: csr_array) -> Estimate | None:
    """Compare an index with SciPy's product; what shares no term with the query is no neighbour."""
    asked = queries_of(np.flatnonzero(np.diff(weights.indptr)))

    def search(k: int) -> NDArray[np.int64]:
        return index.search(weights[asked], k=k)[0]

    def exact(some: NDArray[np.int64]) -> NDArray[np.float64]:
        products = (weights @ weights[some].T).toarray().T.astype(np.float64)
        return np.where(products > 0, products, -np.inf)

    return _recall(search, exact, asked, weights.shape[0], rounded=_HALF)


def token_recall(index: Any, sets: MultiVectors, metric: str) -> Estimate | None:
    """Compare an index with MaxSim of all tokens in single precision.

    A query has up to 32 tokens of a stored document, evenly spread. There are fewer of them where a scan takes long,
    ten at least.
    """
    from isometry.vectors import MultiVectors

    there = np.flatnonzero(sets.lengths)
    affordable = int(_MOST_PRODUCTS / (QUERY_TOKENS * max(1, sets.tokens.size)))
    asked = queries_of(there, min(RECALL_QUERIES, max(_FEWEST_QUERIES, affordable)))
    each = {row: _spread(sets[row]) for row in asked.tolist()}
    tokens = sets.tokens
    if metric == "cosine":
        norms = np.linalg.norm(tokens, axis=1, keepdims=True)
        tokens = np.divide(tokens, norms, out=np.zeros_like(tokens), where=norms > 0)
    owned = MultiVectors(tokens, sets.offsets)[there]

    def search(k: int) -> NDArray[np.int64]:
        return index.search(list(each.values()), k=k)[0]

    def exact(some: NDArray[np.int64]) -> NDArray[np.float64]:
        scores = np.full((len(some), len(sets)), -np.inf)
        for place, row in enumerate(some.tolist()):
            query = each[row].astype(np.float64)
            if metric == "cosine":
                lengths = np.linalg.norm(query, axis=1, keepdims=True)
                query = np.divide(query, lengths, out=np.zeros_like(query), where=lengths > 0)
            scores[place, there] = _maxsim(query.astype(np.float32), owned)
        return scores

    return _recall(search, exact, asked, len(sets), rounded=_HALF)


def _spread(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    places = np.linspace(0, len(tokens) - 1, min(QUERY_TOKENS, len(tokens))).astype(np.int64)
    return tokens[places]


def _maxsim(query: NDArray[np.float32], sets: MultiVectors) -> NDArray[np.float64]:
    """Return the sum, over the query's tokens, of the largest product with a token of each set; none is empty."""
    scores = np.empty(len(sets))
    first = 0
    while first < len(sets):
        last = max(first + 1, int(np.searchsorted(sets.offsets, sets.offsets[first] + _TOKENS_AT_ONCE, "right")) - 1)
        start, stop = sets.offsets[first], sets.offsets[last]
        products = query @ sets.tokens[start:stop].T
        best = np.maximum.reduceat(products, sets.offsets[first:last] - start, axis=1)
        scores[first:last] = best.sum(axis=0, dtype=np.float64)
        first = last
    return scores


def _recall(
    search: Callable[[int], NDArray[np.int64]],
    exact: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    asked: NDArray[np.int64],
    n: int,
    *,
    rounded: float,
    least: float = 0.0,
) -> Estimate | None:
    """Return the recall of the nearest of n rows, of which no query counts itself as found; None without neighbours.

    Parameters
    ----------
    search : callable
        Returns what the index finds for the rows asked for, (nq, k).
    exact : callable
        Returns the scores (b, n) of all rows for some of those asked for; -inf for what is no neighbour.
    asked : (nq,) int64
    n : int
    rounded, least : float
        Scores that differ by this share of the largest, or of `least`, may change places.
    """
    k = min(RECALL_K, n - 1)
    if not len(asked) or k < 1:
        return None
    ids = search(k + 1)
    found = np.array([[*hits[hits != row], *[-1] * (k + 1)][:k] for row, hits in zip(asked, ids, strict=True)])
    best, scores, reached = np.empty((len(asked), k), np.int64), *np.empty((2, len(asked), k))
    for start in range(0, len(asked), _BLOCK):
        part = slice(start, start + _BLOCK)
        all_scores = exact(asked[part])
        all_scores[np.arange(len(all_scores)), asked[part]] = -np.inf
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
        scores[part] = np.take_along_axis(all_scores, order, axis=1)
        best[part] = np.where(np.isfinite(scores[part]), order, -1)
        reached[part] = np.where(found[part] >= 0, np.take_along_axis(all_scores, found[part].clip(0), axis=1), -np.inf)
    there = best >= 0
    if not there.any():
        return None
    tolerance = rounded * max(least, float(np.abs(scores[there]).max()))
    return recall_against_exact(found, best, scores=reached, exact_scores=scores, tolerance=tolerance)


def _exact(queries: NDArray[np.float32], vectors: NDArray[np.float32], metric: str) -> NDArray[np.float64]:
    q, x = queries.astype(np.float64), vectors
    products = np.concatenate([q @ x[i : i + 65536].astype(np.float64).T for i in range(0, len(x), 65536)], axis=1)
    if metric == "dot":
        return products
    squares = np.concatenate([np.square(x[i : i + 65536], dtype=np.float64).sum(1) for i in range(0, len(x), 65536)])
    if metric == "l2":
        return 2 * products - squares - np.square(q).sum(1)[:, None]
    norms = np.sqrt(np.square(q).sum(1)[:, None] * squares)
    return np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
