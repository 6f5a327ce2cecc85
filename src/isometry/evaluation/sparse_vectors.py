"""Sparse vectors for benchmarks: short texts through the bundled sparse encoder, and a generator of the like."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput, check_range
from isometry.evaluation.corpora import JUDGED, digest_arrays, digest_texts, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scipy.sparse import csr_array

    from isometry.encoders.base import Progress
    from isometry.evaluation.corpora import ShortTexts

__all__ = ["BundledSparse", "SparseSet", "best_products", "load_sparse", "synthetic_sparse"]

SHARD_ROWS = 10_000
_KEPT = 100
_QUERY_BLOCK = 64
_BLOCK = 8_192
# Shape of the synthetic sets; tests/evaluation/test_sparse_vectors.py holds what they are chosen for.
_TOPIC_TERMS = 400
_TEXTS_PER_TOPIC = 250
_TOPICAL = 0.6
_SPREAD = 1.6
_LEVEL = -2.0
_LENGTHS = 0.25


@dataclass(frozen=True, eq=False)
class SparseSet:
    """Sparse vectors and queries to judge with.

    Attributes
    ----------
    name : str
    x : (n, vocabulary) csr_array
        Canonical, float32, no negative weight.
    queries : (nq, vocabulary) csr_array
    folder : Path or None
        Where exact neighbours are kept; None keeps nothing.
    """

    name: str
    x: csr_array
    queries: csr_array
    folder: Path | None = None

    @property
    def dim(self) -> int:
        """Number of columns: the size of the vocabulary."""
        return int(self.x.shape[1])

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def head(self, n: int, queries: int | None = None) -> SparseSet:
        """Return the set with only the first `n` vectors, and only the first `queries` to judge with."""
        check_range("n", n, 1, len(self))
        return SparseSet(self.name, self.x[:n], self.queries[:queries], self.folder)

    def exact(self, k: int = 10) -> NDArray[np.int64]:
        """Return the ids of the best `k` (at most 100) by inner product for every query: made once, then kept.

        Best first, equal scores by smaller id; -1 where fewer than `k` rows share a term with the query.
        """
        check_range("k", k, 1, _KEPT)
        return self._exact[0][:, :k].astype(np.int64)

    def exact_scores(self, k: int = 10) -> NDArray[np.float32]:
        """Return the inner products of `exact`; minus infinity where there is no row."""
        check_range("k", k, 1, _KEPT)
        return self._exact[1][:, :k].astype(np.float32)

    @cached_property
    def _exact(self) -> NDArray[np.float64]:
        parts = (part for x in (self.x, self.queries) for part in (x.indptr, x.indices, x.data))
        return kept(self.folder, f"exact-sparse-{digest_arrays(*parts)}", self._scan)

    def _scan(self) -> NDArray[np.float64]:
        """Return ids and scores, as one array so that they are kept together: O(queries x postings of their terms)."""
        columns = self.x.T.tocsr()
        found = np.empty((2, self.queries.shape[0], _KEPT))
        found[0], found[1] = -1, -np.inf
        for row, best in enumerate(best_products(self.queries, columns, _KEPT)):
            found[:, row, : len(best[0])] = best
        return found


def best_products(
    queries: csr_array, columns: csr_array, k: int
) -> Iterator[tuple[NDArray[np.integer], NDArray[np.floating]]]:
    """Yield the ids and inner products of the best `k` rows for each query, by SciPy's product of sparse matrices.

    Best first, equal products by smaller id; fewer where fewer rows share a term. `columns` is the transpose of the
    rows, as CSR. O(postings of the queries' terms).
    """
    for start in range(0, queries.shape[0], _QUERY_BLOCK):
        scores = queries[start : start + _QUERY_BLOCK] @ columns
        for first, last in zip(scores.indptr[:-1], scores.indptr[1:], strict=True):
            ids, values = scores.indices[first:last], scores.data[first:last]
            if len(values) > k:
                near = values >= np.partition(values, len(values) - k)[len(values) - k]
                ids, values = ids[near], values[near]
            best = np.lexsort((ids, -values))[:k]
            yield ids[best], values[best]


def load_sparse(texts: ShortTexts, folder: Path | None = None, *, progress: Progress | None = None) -> SparseSet:
    """Return short texts as vectors of the bundled sparse encoder; what was made once is read from `folder`.

    Parameters
    ----------
    texts : ShortTexts
        All of `base` is searched; the first 2,000 of `queries` are to judge with.
    folder : Path, optional
        Where vectors are kept, in shards of 10,000 texts; by default in the user's cache folder. What is interrupted
        goes on with the next shard, and more of the same texts share the shards of fewer.
    progress : callable, optional
        Called with (done, total, what) while texts are encoded.

    Raises
    ------
    NotFound, MissingExtra
        The model, or what runs it, is not installed.
    """
    from isometry.cache import cache_folder

    home = cache_folder() / "benchmarks" if folder is None else folder
    home.mkdir(parents=True, exist_ok=True)
    encode = BundledSparse(home, progress)
    queries = encode(texts.queries[:JUDGED], role="query")
    return SparseSet("splade-tiny", encode(texts.base), queries, home)


class BundledSparse:
    """Encodes with the bundled sparse encoder, keeping what it made shard by shard.

    Parameters
    ----------
    home : Path
        Holds a file per shard, named by its texts and the encoder's fingerprint.
    progress : callable, optional
        Called with (done, total, "texts") after each shard.
    """

    def __init__(self, home: Path, progress: Progress | None) -> None:
        from isometry.encoders import DEFAULT_SPARSE_ENCODER, load_encoder

        self._home, self._progress, self._encoder = home, progress, load_encoder(DEFAULT_SPARSE_ENCODER)

    def __call__(self, texts: list[str], role: str = "document") -> csr_array:
        """Return one row per text."""
        from isometry.vectors import concat

        shards = []
        for start in range(0, len(texts), SHARD_ROWS):
            shards.append(self._shard(texts[start : start + SHARD_ROWS], role))
            if self._progress is not None:
                self._progress(min(len(texts), start + SHARD_ROWS), len(texts), "texts")
        return concat(shards)

    def _shard(self, texts: list[str], role: str) -> csr_array:
        from scipy.sparse import csr_array

        from isometry.vectors import as_sparse

        digest = self._encoder.fingerprint.digest
        path = self._home / f"splade-{digest_texts(texts, f'{digest} {role}')}.npz"
        if not path.is_file():
            encode = self._encoder.encode_query if role == "query" else self._encoder.encode_document
            x = as_sparse(encode(texts), dim=self._encoder.dim, name="the encoder's output")
            aside = path.with_suffix(f".{os.getpid()}.npz")
            np.savez(aside, data=x.data, indices=x.indices, indptr=x.indptr)
            os.replace(aside, path)
        with np.load(path, allow_pickle=False) as shard:
            parts = (shard["data"], shard["indices"], shard["indptr"])
        return csr_array(parts, shape=(len(texts), self._encoder.dim))


def synthetic_sparse(
    n: int, *, vocabulary: int = 30_522, nnz: int = 120, query_nnz: int = 32, queries: int = 1_000, seed: int = 0
) -> SparseSet:
    r"""Draw sparse vectors as a learned sparse encoder makes them: topics, damped weights, few of which weigh most.

    A text has a topic and draws its terms from it and from the whole vocabulary, both by Zipf's law. The weight of a
    term is :math:`\log(1 + e^s)`, where :math:`s` is normal around a level that falls with its rank in the topic.
    Queries are short texts on the same topics.

    Parameters
    ----------
    n : int
    vocabulary : int
        Columns, at least 1,000.
    nnz, query_nnz : int
        Non-zeros per vector in the middle; the numbers vary by about a quarter.
    queries : int
    seed : int

    Raises
    ------
    InvalidInput
        A setting is out of range.
    """
    check_range("n", n, 1)
    check_range("vocabulary", vocabulary, 1_000, np.iinfo(np.int32).max)
    check_range("queries", queries, 1)
    for name, value in (("nnz", nnz), ("query_nnz", query_nnz)):
        if not 1 <= value <= _TOPIC_TERMS // 2:
            raise InvalidInput(f"{name} is {value!r}; expected a number from 1 to {_TOPIC_TERMS // 2}")
    rng = np.random.default_rng(seed)
    topics = _Topics(max(8, n // _TEXTS_PER_TOPIC), vocabulary, rng)
    name = f"synthetic sparse, {nnz} of {vocabulary:,} terms"
    return SparseSet(name, topics.draw(n, nnz, rng), topics.draw(queries, query_nnz, rng))


class _Topics:
    """Topics, each a list of terms, and the texts on them."""

    def __init__(self, count: int, vocabulary: int, rng: np.random.Generator) -> None:
        self._count, self._vocabulary = count, vocabulary
        self._names = rng.permutation(vocabulary).astype(np.int32)  # rank in the vocabulary -> column
        self._terms = self._zipf(rng.random((count, _TOPIC_TERMS)), vocabulary)

    def draw(self, n: int, nnz: int, rng: np.random.Generator) -> csr_array:
        """Return `n` texts of about `nnz` terms: O(n nnz)."""
        from isometry.vectors import concat

        return concat([self._block(min(_BLOCK, n - start), nnz, rng) for start in range(0, n, _BLOCK)])

    def _block(self, n: int, nnz: int, rng: np.random.Generator) -> csr_array:
        from scipy.sparse import csr_array

        from isometry.encoders.terms import heaviest

        drawn = 3 * nnz  # equal ones fall together
        topic = self._zipf(rng.random(n), self._count)
        topical = rng.random((n, drawn)) < _TOPICAL
        rank = self._zipf(rng.random((n, drawn)), _TOPIC_TERMS)
        term = np.where(
            topical, self._terms[topic[:, None], rank], self._zipf(rng.random((n, drawn)), self._vocabulary)
        )
        column = self._names[term]
        # One level per (text, term), drawn with it: of equal terms the first counts.
        level = _LEVEL - np.where(topical, 0.25 * np.log1p(rank), 1.0)
        weight = np.log1p(np.exp(level + _SPREAD * rng.standard_normal((n, drawn)))).astype(np.float32)
        order = np.argsort(column, axis=1, kind="stable")
        column, weight = np.take_along_axis(column, order, 1), np.take_along_axis(weight, order, 1)
        new = np.ones((n, drawn), bool)
        new[:, 1:] = column[:, 1:] != column[:, :-1]
        offsets = np.concatenate([[0], np.cumsum(new.sum(1))]).astype(np.int32)
        limits = np.maximum(1, np.rint(nnz * np.exp(_LENGTHS * rng.standard_normal(n)))).astype(np.int64)
        return heaviest(csr_array((weight[new], column[new], offsets), shape=(n, self._vocabulary)), limits)

    @staticmethod
    def _zipf(u: NDArray[np.float64], size: int) -> NDArray[np.int64]:
        """Return ranks below `size` with a probability of about 1 / (1 + rank), of numbers uniform in 0 to 1."""
        return np.minimum(np.exp(u * np.log1p(size)).astype(np.int64) - 1, size - 1)
