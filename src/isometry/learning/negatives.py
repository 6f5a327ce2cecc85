"""Hard negatives: what an index finds for a query, and nobody judged relevant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from isometry import ranked
from isometry.codecs import ProductQuantizer
from isometry.errors import DimensionMismatch, InvalidInput, check_range

__all__ = ["LiveIndex", "Searchable", "best_of", "hard_negatives", "positives_of"]


class Searchable(Protocol):
    """Any of our indexes."""

    def search(self, q: Any, k: int = 10) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return ids and scores, best first; what is missing has the id -1."""


class LiveIndex:
    """All codes of a corpus, searched with the centroids that a quantizer has at the moment.

    Parameters
    ----------
    codec : ProductQuantizer
        Fitted. It is asked anew in every search, so that its ``codebooks_`` may change in between.
    codes : (n, nbytes_per_vector_) uint8
        They stay what they are.

    Notes
    -----
    A search looks at all codes: O(n) per query and byte. Scores are inner products with the decoded vectors, less the
    product of query and mean, which is the same for all.
    """

    def __init__(self, codec: ProductQuantizer, codes: NDArray[np.uint8]) -> None:
        self._codec = codec
        self._rows = codec.fine_rows(codes)
        self._n = len(codes)

    def __len__(self) -> int:
        return self._n

    def search(self, q: Any, k: int = 10) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ids and scores (nq, k) of the best rows; what is missing is -1 and -inf."""
        from isometry.kernels.scan import products

        check_range("k", k, 1)
        queries = np.ascontiguousarray(q, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self._codec.n_features_in_:
            raise DimensionMismatch(f"q is {queries.shape}; expected (nq, {self._codec.n_features_in_})")
        scores = np.empty((len(queries), self._n), np.float32)
        products(self._rows, self._codec.queries(queries), scores)
        most = min(k, self._n)
        ids, found = ranked.empty(len(queries), k)
        if most:
            ids[:, :most], found[:, :most] = best_of(scores, most)
        return ids, found


def best_of(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the k best columns of every row of scores (nq, n), n >= k, and these scores; equal ones by smaller id."""
    ids = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    found = np.take_along_axis(scores, ids, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(found, order, axis=1)


def hard_negatives(
    index: Searchable, queries: NDArray[np.float32], positives: Sequence[NDArray[np.int64]], k: int
) -> NDArray[np.int64]:
    """Return the k best ids of every query that are not among its positives.

    Parameters
    ----------
    index : Searchable
        Searched as it is now: mining again after some training gives negatives that are hard by then.
    queries : (n, d) float32
    positives : sequence of n arrays of int64
        As `positives_of` returns.
    k : int

    Returns
    -------
    (n, k) int64
        Best first; -1 where the index holds no more.
    """
    if len(queries) != len(positives):
        raise DimensionMismatch(f"there are {len(queries)} queries and {len(positives)} sets of positives")
    most = check_range("k", k, 1) + max((len(each) for each in positives), default=0)
    ids, _ = index.search(queries, k=most)
    out = np.full((len(queries), k), -1, np.int64)
    for row, found, known in zip(out, ids, positives, strict=True):
        kept = found[(found >= 0) & ~np.isin(found, known)][:k]
        row[: len(kept)] = kept
    return out


def positives_of(labels: Iterable[Iterable[int]] | None, n: int, n_documents: int) -> list[NDArray[np.int64]]:
    """Return the relevant rows of every query, each once, in order.

    Raises
    ------
    InvalidInput
        No labels, another number of them than queries, or a row that does not exist.
    """
    if labels is None:
        raise InvalidInput("labels are None; this training needs to know which documents are relevant to which query")
    found = [np.unique(np.fromiter(each, np.int64)) for each in labels]
    if len(found) != n:
        raise DimensionMismatch(f"there are {n} queries and labels for {len(found)}; expected them for each")
    rows = np.concatenate([*found, np.zeros(0, np.int64)])
    if len(rows) and not 0 <= rows.min() <= rows.max() < n_documents:
        raise InvalidInput(f"labels name rows {rows.min()} to {rows.max()}; expected 0 to {n_documents - 1}")
    if not len(rows):
        raise InvalidInput("no query has a relevant document; expected labels for some of them")
    return found
