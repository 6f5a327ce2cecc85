"""A view: one version of the documents together with the segment that indexes most of them.

Documents are numbered through the segment and on into the *tail*: what was written since the segment was built. The
segment is searched by its index, the tail by a scan; rows that were deleted or replaced are masked. So every search
sees exactly the documents of its version, whatever the index was built from.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from isometry import ranked
from isometry.collections.kinds import DENSE, Kind, damaged_index, kinds_of
from isometry.collections.segment import LEXICAL, joined_ids
from isometry.collections.table import ID, SEQ
from isometry.collections.texts import join_texts
from isometry.collections.where import Where, check_where, filter_errors
from isometry.indexes import BM25
from isometry.indexes.filtering import FilterPlan, filter_plan

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from isometry.collections.manifest import Manifest
    from isometry.collections.segment import Segment
    from isometry.collections.table import DocumentTable

__all__ = ["Found", "View"]

_FILTERS_KEPT = 32


class Found(NamedTuple):
    """Documents found for a batch of queries: each array (nq, k), missing places -1 and -inf."""

    documents: NDArray[np.int64]
    scores: NDArray[np.float32]
    vectors: NDArray[np.int64]
    """The vector of the document that scored best; -1 where one document has one entry."""


class _Words:
    """The texts of documents, as what they are found by; shaped like a `Kind` where it matters here."""

    name = LEXICAL

    def __init__(self, fields: list[str]) -> None:
        self.columns = fields

    def of_rows(self, rows: pa.Table) -> list[str]:
        return join_texts(rows, self.columns)

    def check_index(self, index: Any) -> None:
        """Words have no dimensions."""

    def extended(self, base: BM25 | None, texts: list[str]) -> BM25:
        if base is None:
            return BM25().build(texts)
        more = copy.copy(base)
        more.add(texts)
        return more


class View:
    """Documents that can be searched; never changes once made (what is loaded on demand apart).

    Parameters
    ----------
    table : DocumentTable
        The version to show.
    segment : Segment or None
    manifest : Manifest
        Metric, text fields and dimensions.
    previous : View, optional
        An older view on the same segment, whose tail is reused.
    """

    def __init__(
        self, table: DocumentTable, segment: Segment | None, manifest: Manifest, previous: View | None = None
    ) -> None:
        self.table = table
        self.segment = segment
        self.manifest = manifest
        self.text_fields = [name for name in manifest.text_fields if name in table.columns]
        self.kinds = kinds_of(manifest, table)
        self.passages = manifest.passages
        self._lock = threading.Lock()
        self._filters: OrderedDict[Hashable, Where] = OrderedDict()
        self._masks: OrderedDict[Hashable, NDArray[np.bool_]] = OrderedDict()
        self._indexes: dict[str, Any] = {}
        self._older: dict[str, Any] = {**previous._older, **previous._indexes} if previous is not None else {}
        self._tail_ids: list[str] = list(previous._tail_ids) if previous is not None else []
        self._vectors: Any = previous._vectors if previous is not None else segment.dense if segment else None
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
        within = self.places(documents, vectors)
        several = (np.diff(self._starts)[documents] > 1) & (vectors >= 0)
        column = self.kinds[DENSE].spans
        if column not in self.table.schema.names or not several.any():
            return [None] * len(documents)
        found: list[tuple[int, int] | None] = []
        for row, place, wanted in zip(self.rows(documents, [column])[column].to_pylist(), within, several, strict=True):
            cut = row[place] if wanted and row and place < len(row) else None
            found.append((cut["start"], cut["end"]) if cut else None)
        return found

    def places(self, documents: NDArray[np.int64], vectors: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which vector of its document each vector is, from 0."""
        return vectors - self._starts[documents]

    def draw(self, most: int, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw vectors of the documents shown, all different: return the document and the number of each."""
        mask = self._vector_mask(self._alive)
        there = np.arange(self._starts[-1]) if mask is None else np.flatnonzero(mask)
        vectors = np.sort(random.choice(there, min(most, len(there)), replace=False, shuffle=False))
        return np.searchsorted(self._starts, vectors, side="right") - 1, vectors

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
            matching = self.table.offsets(checked.scan_filter)
        mask = np.zeros(len(self._seq), bool)
        mask[self._document_at[matching]] = True
        with self._lock:
            _remember(self._masks, checked.key, mask)
        return mask

    def _search_passages(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: NDArray[np.bool_] | None,
        effort: int | None,
        threads: int | None,
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
            vectors, scores = self._vectors.search(
                queries, k=min(wanted, total), effort=effort, allowed=vector_mask, threads=threads
            )
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
            why = "words, terms, tokens and documents that no index holds yet are looked at less what does not match"
            plan = FilterPlan("masked", int(np.count_nonzero(allowed)), len(allowed), why=why)
            return [plan] * n_queries
        mask = self._vector_mask(allowed)[: base.n_rows]  # type: ignore[index]
        return [filter_plan(base, query[None], k, mask, effort=effort) for query in queries]

    def search(
        self,
        name: str,
        queries: Any,
        k: int,
        allowed: NDArray[np.bool_] | None,
        effort: int | None = None,
        threads: int | None = None,
    ) -> Found:
        """Find the documents with the best score in the list of this name: a kind of vectors, or ``"lexical"``."""
        if name == DENSE:
            return self._search_passages(queries, k, allowed, effort, threads)
        index = self._index(name)
        k = min(k, len(self._seq))
        if index is None or k == 0:
            return _nothing(queries.shape[0] if hasattr(queries, "shape") else len(queries), k)
        documents, scores = index.search(queries, k=k, effort=effort, allowed=allowed, threads=threads)
        return Found(documents, scores, np.full_like(documents, -1))

    def stored(self, kind: Kind[Any], documents: NDArray[np.int64]) -> Any:
        """Return the stored vectors of documents, of which there is one at least."""
        return kind.of_rows(self.rows(documents, kind.columns))

    def explain_words(self, query: str, documents: NDArray[np.int64]) -> list[list[tuple[str, int, float]]]:
        """Return the words that each document shares with the query, as `BM25.explain` does."""
        index = self._index(LEXICAL)
        return index.explain(query, documents) if index is not None else [[] for _ in documents]

    @cached_property
    def _document_at(self) -> NDArray[np.int64]:
        """The document at each place in the table."""
        documents = np.arange(len(self._seq)) if self._alive is None else np.flatnonzero(self._alive)
        found = np.empty(len(documents), np.int64)
        found[self._row_offset[documents]] = documents
        return found

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
        dense = self.kinds[DENSE]
        there = dense.column in self.table.schema.names
        rows = self.table.take(offsets, [ID, *([dense.column] if there else [])])
        self._seq = np.concatenate([self._seq, seq])
        self._tail_ids += rows[ID].to_pylist()
        lengths = np.zeros(len(rows), np.int64)
        if there:
            own = dense.of_rows(rows)
            lengths = own.lengths
            self._vectors = dense.extended(self._vectors, own)
        self._starts = np.concatenate([self._starts, self._starts[-1] + np.cumsum(lengths)])

    def _vector_mask(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        if allowed is None or self._one_vector_each:
            return allowed
        return np.repeat(allowed, np.diff(self._starts))

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

    def _index(self, name: str) -> Any:
        """Return the index of this name with one row per document, those of the tail among them; None without any."""
        with self._lock:
            if name not in self._indexes:
                self._indexes[name] = self._make_index(name)
            return self._indexes[name]

    def _make_index(self, name: str) -> Any:
        kind: Any = _Words(self.text_fields) if name == LEXICAL else self.kinds.get(name)
        columns = kind.columns if kind is not None else []
        if not columns or not set(columns) <= set(self.table.schema.names) or not len(self._seq):
            return None
        base = self._older.get(name)
        if base is None and self.segment:
            base = self.segment.by_document(name)
            if base is not None and (problem := kind.check_index(base)):
                raise damaged_index(problem)
        documents = np.arange(base.n_rows if base is not None else 0, len(self._seq))
        if base is not None and not len(documents):
            return base
        living = self._row_offset[documents] >= 0
        rows = self.rows(documents[living], columns)
        if not living.all():  # what is gone keeps its number, with nothing to be found by
            rows = rows.take(pa.array(np.cumsum(living) - 1, mask=~living))
        return kind.extended(base, kind.of_rows(rows))


def _remember(kept: OrderedDict[Hashable, Any], key: Hashable, value: Any) -> None:
    kept[key] = value
    while len(kept) > _FILTERS_KEPT:
        kept.popitem(last=False)


def _nothing(n_queries: int, k: int) -> Found:
    documents, scores = ranked.empty(n_queries, k)
    return Found(documents, scores, documents.copy())
