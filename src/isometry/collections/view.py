"""A view: one version of the documents together with the segment that indexes most of them.

Documents are numbered through the segment and on into the *tail*: what was written since the segment was built. The
segment is searched by its index, the tail by a scan; rows that were deleted or replaced are masked. So every search
sees exactly the documents of its version, whatever the index was built from.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isometry import ranked
from isometry.collections.segment import joined_ids, sparse_index
from isometry.collections.table import ID, SEQ, SPANS, SPARSE, VECTORS, sparse_vectors_of, vectors_of
from isometry.collections.texts import join_texts
from isometry.collections.where import Where, check_where, filter_errors
from isometry.errors import Damaged
from isometry.indexes import BM25, Flat
from isometry.indexes.filtering import FilterPlan, filter_plan

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from isometry.collections.segment import Segment
    from isometry.collections.table import DocumentTable
    from isometry.indexes.sparse import SparseIndex

__all__ = ["Found", "View"]

_FILTERS_KEPT = 32


class Found(NamedTuple):
    """Documents found for a batch of queries: each array (nq, k), missing places -1 and -inf."""

    documents: NDArray[np.int64]
    scores: NDArray[np.float32]
    vectors: NDArray[np.int64]
    """The vector of the document that scored best; -1 where one document has one entry."""


class View:
    """Documents that can be searched; never changes once made (what is loaded on demand apart).

    Parameters
    ----------
    table : DocumentTable
        The version to show.
    segment : Segment or None
    metric : str
    text_fields : sequence of str
    sparse_dim : int or None
        Terms of sparse vectors; None where there are none.
    previous : View, optional
        An older view on the same segment, whose tail is reused.
    """

    def __init__(
        self,
        table: DocumentTable,
        segment: Segment | None,
        metric: str,
        text_fields: Sequence[str],
        sparse_dim: int | None = None,
        previous: View | None = None,
    ) -> None:
        self.table = table
        self.segment = segment
        self.metric = metric
        self.text_fields = [name for name in text_fields if name in table.columns]
        self.sparse_dim = sparse_dim
        self._lock = threading.Lock()
        self._filters: OrderedDict[Hashable, Where] = OrderedDict()
        self._masks: OrderedDict[Hashable, NDArray[np.bool_]] = OrderedDict()
        self._lexical: BM25 | None = None
        self._previous_lexical: BM25 | None = None
        self._sparse: SparseIndex | None = None
        self._previous_sparse: SparseIndex | None = None
        if previous is not None:
            self._previous_lexical = previous._lexical if previous._lexical is not None else previous._previous_lexical
            self._previous_sparse = previous._sparse if previous._sparse is not None else previous._previous_sparse
        self._tail_ids: list[str] = list(previous._tail_ids) if previous is not None else []
        self._tail_vectors: NDArray[np.float32] | None = previous._tail_vectors if previous is not None else None
        self._tail: Flat | None = previous._tail if previous is not None else None
        self._seq: NDArray[np.int64] = np.zeros(0, np.int64)
        self._starts: NDArray[np.int64] = np.zeros(1, np.int64)
        self._alive: NDArray[np.bool_] | None = None
        if previous is not None:
            self._seq, self._starts = previous._seq, previous._starts
        elif segment is not None:
            self._seq, self._starts = segment.seq, segment.starts
        if segment is not None and not previous and segment.version == table.version:
            self._row_offset = segment.row_offset
        else:
            self._read_changes()
        self._one_vector_each = bool(np.array_equal(self._starts, np.arange(len(self._starts))))

    def __len__(self) -> int:
        return len(self._seq) if self._alive is None else int(np.count_nonzero(self._alive))

    @property
    def segment_name(self) -> str | None:
        """Folder name of the segment; None when nothing is indexed."""
        return self.segment.path.name if self.segment is not None else None

    @property
    def n_vectors(self) -> int:
        """Number of vectors of the documents shown."""
        if self._alive is None:
            return int(self._starts[-1])
        return int(np.diff(self._starts)[self._alive].sum())

    @property
    def n_tail(self) -> int:
        """Number of documents that are scanned because no index holds them yet."""
        n = len(self.segment) if self.segment else 0
        return len(self._seq) - n if self._alive is None else int(np.count_nonzero(self._alive[n:]))

    @property
    def n_dead(self) -> int:
        """Number of documents in the segment that are deleted or replaced."""
        if self._alive is None or self.segment is None:
            return 0
        return len(self.segment) - int(np.count_nonzero(self._alive[: len(self.segment)]))

    def ids(self, documents: NDArray[np.int64]) -> list[str]:
        """Return the ids of documents."""
        return joined_ids(self.segment, self._tail_ids, documents)

    def rows(self, documents: NDArray[np.int64], columns: list[str]) -> Any:
        """Return the given columns of documents as an Arrow table, in the order given."""
        return self.table.take(self._row_offset[documents], columns)

    def spans(self, documents: NDArray[np.int64], vectors: NDArray[np.int64]) -> list[tuple[int, int] | None]:
        """Return where the passage of each vector is in its document; None where the text is one passage."""
        within = vectors - self._starts[documents]
        several = (np.diff(self._starts)[documents] > 1) & (vectors >= 0)
        if SPANS not in self.table.schema.names or not several.any():
            return [None] * len(documents)
        found: list[tuple[int, int] | None] = []
        for row, place, wanted in zip(self.rows(documents, [SPANS])[SPANS].to_pylist(), within, several, strict=True):
            cut = row[place] if wanted and row and place < len(row) else None
            found.append((cut["start"], cut["end"]) if cut else None)
        return found

    def allowed(self, where: Any) -> NDArray[np.bool_] | None:
        """Return which documents exist and match a filter; None means all of them. Cached per filter.

        Raises
        ------
        FilterError
            The filter can't be read, or fails on a stored value.
        """
        if where is None:
            return self._alive
        with self._lock:
            checked = self._filters.get(where) if isinstance(where, str) else None
        if checked is None:
            checked = check_where(where, self.table.schema)
            assert checked is not None
        with self._lock:
            if isinstance(where, str):
                _remember(self._filters, where, checked)
            if checked.key in self._masks:
                self._masks.move_to_end(checked.key)
                return self._masks[checked.key]
        with filter_errors(checked):
            matching = self.table.scan([SEQ], checked.scan_filter)[SEQ].to_numpy()
        mask = np.zeros(len(self._seq), bool)
        mask[np.searchsorted(self._seq, matching)] = True
        with self._lock:
            _remember(self._masks, checked.key, mask)
        return mask

    def search_dense(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: NDArray[np.bool_] | None,
        effort: int | None = None,
        threads: int | None = None,
    ) -> Found:
        """Find the documents whose best vector scores highest.

        Asks the index for more vectors until k different documents are among them, so a document with many good
        passages never crowds out others.
        """
        total = int(self._starts[-1])
        k = min(k, len(self._seq))
        if total == 0 or k == 0:
            return _nothing(len(queries), k)
        vector_mask = self._vector_mask(allowed)
        wanted = k if self._one_vector_each else min(total, k + k * total // len(self._seq))
        while True:
            vectors, scores = self._search_vectors(queries, min(wanted, total), vector_mask, effort, threads)
            found = self._best_per_document(vectors, scores, k)
            short = (found.documents[:, -1] < 0) & (vectors[:, -1] >= 0)
            if wanted >= total or not short.any():
                return found
            wanted *= 4

    def filter_plans(
        self,
        queries: NDArray[np.float32] | None,
        n_queries: int,
        k: int,
        allowed: NDArray[np.bool_] | None,
        effort: int | None = None,
    ) -> list[FilterPlan]:
        """Return how each query is searched among the documents that are allowed; None for queries without vectors."""
        allowed = np.ones(len(self._seq), bool) if allowed is None else allowed
        base = self.segment.dense if self.segment and queries is not None else None
        if base is None or queries is None:
            why = "words, terms and documents that no index holds yet are looked at less what does not match"
            plan = FilterPlan("masked", int(np.count_nonzero(allowed)), len(allowed), why=why)
            return [plan] * n_queries
        mask = self._vector_mask(allowed)[: base.n_rows]  # type: ignore[index]
        return [filter_plan(base, query[None], k, mask, effort=effort) for query in queries]

    def search_lexical(self, queries: list[str], k: int, allowed: NDArray[np.bool_] | None) -> Found:
        """Find the documents with the highest BM25 score; only those that share a word with the query."""
        index = self._lexical_index()
        k = min(k, len(self._seq))
        if index is None or k == 0:
            return _nothing(len(queries), k)
        documents, scores = index.search(queries, k=k, allowed=allowed)
        return Found(documents, scores, np.full_like(documents, -1))

    def search_sparse(
        self,
        queries: csr_array,
        k: int,
        allowed: NDArray[np.bool_] | None,
        effort: int | None = None,
        threads: int | None = None,
    ) -> Found:
        """Find the documents with the highest product of weights; only those that share a term with the query."""
        index = self._sparse_index()
        k = min(k, len(self._seq))
        if index is None or k == 0:
            return _nothing(queries.shape[0], k)
        documents, scores = index.search(queries, k=k, effort=effort, allowed=allowed, threads=threads)
        return Found(documents, scores, np.full_like(documents, -1))

    def weights(self, documents: NDArray[np.int64]) -> csr_array:
        """Return the stored sparse vectors of documents."""
        if not len(documents):  # a collection without documents has no column of them yet
            from scipy.sparse import csr_array

            return csr_array((0, self.sparse_dim or 0), dtype=np.float32)
        return sparse_vectors_of(self.rows(documents, [SPARSE]), self.sparse_dim or 0)

    def explain_words(self, query: str, documents: NDArray[np.int64]) -> list[list[tuple[str, int, float]]]:
        """Return the words that each document shares with the query, as `BM25.explain` does."""
        index = self._lexical_index()
        return index.explain(query, documents) if index is not None else [[] for _ in documents]

    def _read_changes(self) -> None:
        """Find what is new, replaced or gone since the documents known so far, by sequence number."""
        now = self.table.scan([SEQ])[SEQ].to_numpy() if self.table.version else np.zeros(0, np.int64)
        place = np.searchsorted(self._seq, now)
        known = np.zeros(len(now), bool)
        inside = place < len(self._seq)
        known[inside] = self._seq[place[inside]] == now[inside]
        new = np.flatnonzero(~known)
        new = new[np.argsort(now[new], kind="stable")]
        n_before = len(self._seq)
        if len(new):
            self._extend_tail(new, now[new])
        self._row_offset = np.full(len(self._seq), -1, np.int64)
        self._row_offset[place[known]] = np.flatnonzero(known)
        self._row_offset[n_before:] = new
        alive = self._row_offset >= 0
        self._alive = None if alive.all() else alive

    def _extend_tail(self, offsets: NDArray[np.int64], seq: NDArray[np.int64]) -> None:
        columns = [ID, *([VECTORS] if VECTORS in self.table.schema.names else [])]
        rows = self.table.take(offsets, columns)
        self._seq = np.concatenate([self._seq, seq])
        self._tail_ids += rows[ID].to_pylist()
        lengths = np.zeros(len(rows), np.int64)
        if VECTORS in columns:
            own = vectors_of(rows)
            lengths = own.lengths
            old = self._tail_vectors
            self._tail_vectors = own.tokens if old is None else np.concatenate([old, own.tokens])
            if len(self._tail_vectors):
                self._tail = Flat(metric=self.metric).build(self._tail_vectors)
        self._starts = np.concatenate([self._starts, self._starts[-1] + np.cumsum(lengths)])

    def _vector_mask(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        if allowed is None or self._one_vector_each:
            return allowed
        return np.repeat(allowed, np.diff(self._starts))

    def _search_vectors(
        self,
        queries: NDArray[np.float32],
        k: int,
        mask: NDArray[np.bool_] | None,
        effort: int | None,
        threads: int | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Search the index and the tail; join both lists."""
        parts = []
        base = self.segment.dense if self.segment else None
        n_base = base.n_rows if base is not None else 0
        if base is not None:
            allowed = None if mask is None else mask[:n_base]
            parts.append(base.search(queries, k=k, effort=effort, allowed=allowed, threads=threads))
        if self._tail is not None:
            allowed = None if mask is None else mask[n_base:]
            ids, scores = self._tail.search(queries, k=k, allowed=allowed, threads=threads)
            parts.append((np.where(ids >= 0, ids + n_base, -1), scores))
        if len(parts) == 1:
            return parts[0]
        ids = np.concatenate([part[0] for part in parts], axis=1)
        scores = np.concatenate([part[1] for part in parts], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def _best_per_document(self, vectors: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Found:
        if self._one_vector_each:
            return Found(vectors[:, :k], scores[:, :k], vectors[:, :k])
        documents = np.where(vectors >= 0, np.searchsorted(self._starts, vectors, side="right") - 1, -1)
        found = _nothing(len(vectors), k)
        for row in range(len(vectors)):
            _, first = np.unique(documents[row], return_index=True)
            first = np.sort(first[documents[row][first] >= 0])[:k]
            found.documents[row, : len(first)] = documents[row, first]
            found.scores[row, : len(first)] = scores[row, first]
            found.vectors[row, : len(first)] = vectors[row, first]
        return found

    def _lexical_index(self) -> BM25 | None:
        with self._lock:
            if self._lexical is None:
                self._lexical = self._make_lexical_index()
            return self._lexical

    def _make_lexical_index(self) -> BM25 | None:
        if not self.text_fields or not len(self._seq):
            return None
        base = self._previous_lexical
        if base is None and self.segment:
            base = self.segment.lexical
        documents = np.arange(len(base) if base is not None else 0, len(self._seq))
        texts = [""] * len(documents)
        living = np.flatnonzero(self._row_offset[documents] >= 0)
        for place, text in zip(
            living, join_texts(self.rows(documents[living], self.text_fields), self.text_fields), strict=True
        ):
            texts[place] = text
        if base is None:
            return BM25().build(texts)
        if not texts:
            return base
        extended = copy.copy(base)
        extended.add(texts)
        return extended

    def _sparse_index(self) -> SparseIndex | None:
        with self._lock:
            if self._sparse is None:
                self._sparse = self._make_sparse_index()
            return self._sparse

    def _make_sparse_index(self) -> SparseIndex | None:
        """Return the index of the segment with the rows that came later, which it scans."""
        from scipy.sparse import csr_array

        if self.sparse_dim is None or SPARSE not in self.table.schema.names or not len(self._seq):
            return None
        base = self._previous_sparse
        if base is None and self.segment:
            base = self.segment.sparse
        if base is not None and base.dim != self.sparse_dim:
            raise Damaged(
                f"the sparse index has {base.dim} terms, the collection {self.sparse_dim}; run optimize to build it "
                "again"
            )
        if base is None:
            base = sparse_index(None).build(csr_array((0, self.sparse_dim), dtype=np.float32))
        documents = np.arange(base.n_rows, len(self._seq))
        if not len(documents):
            return base
        living = self._row_offset[documents] >= 0
        stored = self.weights(documents[living])
        lengths = np.zeros(len(documents), np.int64)
        lengths[living] = np.diff(stored.indptr)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        extended = copy.copy(base)
        extended.add(csr_array((stored.data, stored.indices, starts), shape=(len(documents), self.sparse_dim)))
        return extended


def _remember(kept: OrderedDict[Hashable, Any], key: Hashable, value: Any) -> None:
    kept[key] = value
    while len(kept) > _FILTERS_KEPT:
        kept.popitem(last=False)


def _nothing(n_queries: int, k: int) -> Found:
    documents, scores = ranked.empty(n_queries, k)
    return Found(documents, scores, documents.copy())
