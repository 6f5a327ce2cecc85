"""A segment: everything searchable of one version of the table, in one folder that never changes.

``rows``
    Which documents, in the order of their sequence numbers, where they are in the table, and which vectors are theirs.
``dense``
    The vector index over all passages; absent when the documents have no vectors.
``sparse``
    The index over the documents' sparse vectors; absent when the collection has none.
``lexical``
    The BM25 index over all texts; absent when there is no text.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.collections.table import (
    ID,
    SEQ,
    SPARSE,
    VECTORS,
    DocumentTable,
    folder_bytes,
    sparse_vectors_of,
    vectors_of,
)
from isometry.collections.texts import join_texts
from isometry.errors import Damaged, SpecError
from isometry.estimates import Estimate, recall_against_exact
from isometry.indexes import BM25, default_spec, index_from_spec, load_index
from isometry.indexes.levelled import Levelled
from isometry.indexes.sparse import SparseIndex
from isometry.storage import Folder, read_folder, write_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from isometry.collections.manifest import Manifest
    from isometry.encoders import Progress
    from isometry.indexes import Index

__all__ = ["Cost", "Segment", "build_segment", "sparse_index"]

ROWS, DENSE, SPARSE_INDEX, LEXICAL = "rows", "dense", "sparse", "lexical"
DEFAULT_SPARSE_SPEC = "Inverted"
"""Exact, and up to some hundred thousand texts the faster one too (benchmarks/sparse.py)."""
ROWS_KIND = "segment-rows"
RECALL_K = 10
RECALL_QUERIES = 100
_FEWEST_LEARNED = 10 * RECALL_QUERIES
_ROUNDED = 1e-3
"""Weights in half precision may change places with scores that differ by this share of the largest."""


@dataclass(frozen=True)
class Cost:
    """What an index costs against a scan of the full vectors.

    Attributes
    ----------
    recall, low, high : float
        Share of the exact ten nearest neighbours that it returns, and its 95 % interval.
    queries : int
        Stored vectors that were asked for; none counts itself, and no transform or codec learned from them.
    bytes_per_vector : float
        On disk.
    """

    recall: float
    low: float
    high: float
    queries: int
    bytes_per_vector: float

    @classmethod
    def of(cls, rows: Folder, name: str) -> Cost | None:
        """Return what is noted in the folder of a segment under a name; None where nothing is."""
        if name not in rows.parameters:
            return None
        noted = rows.parameter(name, dict)
        numbers = [noted.get(field.name) for field in fields(cls)]
        if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            raise rows.damaged(f"its {name} is {noted!r:.80}")
        return cls(**{field.name: noted[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class Segment:
    """An opened segment; its arrays are memory-mapped.

    Attributes
    ----------
    path : Path
    version : int
        Version of the table it was built from.
    spec, sparse_spec : str or None
        The index over vectors and the one over sparse vectors, as specification strings.
    seq : (n,) int64
        Sequence numbers of the documents, ascending.
    row_offset : (n,) int64
        Where each document is in the table at `version`, in storage order.
    starts : (n + 1,) int64
        Document ``i`` owns the vectors ``starts[i]`` to ``starts[i + 1]`` of `dense`.
    dense : Index or None
    cost, sparse_cost : Cost or None
        What `dense` and `sparse` cost against full precision and a full scan, as measured when they were built.
    """

    path: Path
    version: int
    spec: str | None
    sparse_spec: str | None
    seq: NDArray[np.int64]
    row_offset: NDArray[np.int64]
    starts: NDArray[np.int64]
    dense: Index | None
    cost: Cost | None
    sparse_cost: Cost | None
    _id_starts: NDArray[np.int64]
    _id_bytes: NDArray[np.uint8]

    @classmethod
    def open(cls, path: Path, verify: bool = False) -> Segment:
        """Open the segment in `path`; `verify` compares every checksum.

        Raises
        ------
        Damaged, NewerFormat, NotFound
            As `isometry.storage.read_folder`; also when the parts do not fit each other.
        """
        rows = read_folder(path / ROWS, kind=ROWS_KIND, verify=verify)
        dense = load_index(path / DENSE, verify=verify) if (path / DENSE).is_dir() else None
        for name in (SPARSE_INDEX, LEXICAL) if verify else ():
            if (path / name).is_dir():
                load_index(path / name, verify=True)
        seq = rows.array("seq", np.int64, (None,))
        n = len(seq)
        segment = cls(
            path=path,
            version=rows.parameter("version", int),
            spec=dense.spec if dense is not None else None,
            sparse_spec=rows.parameter("sparse_spec", str) if "sparse_spec" in rows.parameters else None,
            seq=seq,
            row_offset=rows.array("row_offset", np.int64, (n,)),
            starts=rows.array("starts", np.int64, (n + 1,)),
            dense=dense,
            cost=Cost.of(rows, "cost"),
            sparse_cost=Cost.of(rows, "sparse_cost"),
            _id_starts=rows.array("id_starts", np.int64, (n + 1,)),
            _id_bytes=rows.array("id_bytes", np.uint8, (None,)),
        )
        vectors = dense.n_rows if dense is not None else 0
        if segment.starts[-1] != vectors or segment._id_starts[-1] != len(segment._id_bytes):
            raise Damaged(f"{path}: the parts of the index do not fit each other; run optimize to build it again")
        return segment

    def __len__(self) -> int:
        return len(self.seq)

    def id(self, document: int) -> str:
        """Return the id of a document by its number in the segment."""
        start, end = self._id_starts[document : document + 2]
        try:
            return bytes(self._id_bytes[start:end]).decode()
        except UnicodeDecodeError:
            raise Damaged(f"{self.path / ROWS}: id {document} is not text; run optimize to build it again") from None

    @cached_property
    def lexical(self) -> BM25 | None:
        """The BM25 index, opened when first asked for."""
        return self._by_document(LEXICAL)

    @cached_property
    def sparse(self) -> SparseIndex | None:
        """The index over sparse vectors, opened when first asked for."""
        return self._by_document(SPARSE_INDEX)

    def _by_document(self, name: str) -> Any:
        """Return an index with one row per document, if there is one."""
        folder = self.path / name
        index = load_index(folder) if folder.is_dir() else None
        if index is not None and index.n_rows != len(self):
            raise Damaged(
                f"{folder} holds {index.n_rows} rows for {len(self)} documents; run optimize to build it again"
            )
        return index


def sparse_index(spec: str | None) -> SparseIndex:
    """Return a new, empty index over sparse vectors.

    Raises
    ------
    SpecError
        The specification can't be read, or is of an index over vectors of another kind.
    """
    index = index_from_spec(spec or DEFAULT_SPARSE_SPEC, metric="dot")
    if not isinstance(index, SparseIndex):
        raise SpecError(f"sparse_spec is {spec!r}, which does not index sparse vectors; expected Inverted or Seismic")
    return index


def build_segment(
    table: DocumentTable,
    manifest: Manifest,
    spec: str | None,
    sparse_spec: str | None,
    path: Path,
    progress: Progress | None = None,
) -> Segment:
    """Index every document of `table` into the new folder `path`.

    Parameters
    ----------
    table : DocumentTable
    manifest : Manifest
        Metric, text fields and dimension.
    spec : str, optional
        Vector index to build, such as ``"Flat"``; by default what serves so many vectors.
    sparse_spec : str, optional
        Index over sparse vectors, if the collection has them; by default ``"Inverted"``.
    path : Path
        Must not exist; is removed again when building fails.
    progress : callable, optional
        Called as ``progress(done, total, what)``.

    Returns
    -------
    Segment
        Its `cost` is that of the vector index against a float64 scan, over up to 100 stored vectors as queries; so is
        its `sparse_cost`.

    Notes
    -----
    Reads the table once: O(n d) time and memory for the vectors, plus the cost of the indexes themselves.
    """
    report = progress or (lambda done, total, what: None)
    path.mkdir(parents=True)
    try:
        seq, ids, texts, starts, vectors, weights = _read(table, manifest, report)
        order = np.argsort(seq, kind="stable")
        noted: dict[str, Any] = {}
        if len(vectors):
            if not np.array_equal(order, np.arange(len(order))):
                vectors = vectors[_passages_of(order, starts)]
            index = index_from_spec(spec or default_spec(*vectors.shape), metric=manifest.metric)
            asked = np.random.default_rng(0).permutation(len(vectors))[:RECALL_QUERIES]
            learns = isinstance(index, Levelled) and len(vectors) >= _FEWEST_LEARNED
            (index.build(vectors, held_out=asked) if learns else index.build(vectors)).save(path / DENSE)
            noted |= _noted("cost", _recall(index, vectors, asked, manifest.metric), path / DENSE, len(vectors))
        if weights is not None:
            weights = weights[order]
            sparse = sparse_index(sparse_spec).build(weights)
            sparse.save(path / SPARSE_INDEX)
            noted["sparse_spec"] = sparse.spec
            noted |= _noted("sparse_cost", _sparse_recall(sparse, weights), path / SPARSE_INDEX, len(order))
        blobs = [ids[row].encode() for row in order]
        write_folder(
            path / ROWS,
            kind=ROWS_KIND,
            parameters={"version": table.version, **noted},
            arrays={
                "seq": seq[order],
                "row_offset": order,
                "starts": np.concatenate([[0], np.cumsum(np.diff(starts)[order])]),
                "id_starts": np.cumsum([0, *map(len, blobs)]),
                "id_bytes": np.frombuffer(b"".join(blobs), np.uint8),
            },
        )
        report(len(seq), len(seq), "documents indexed")
        if any(texts):
            BM25().build([texts[row] for row in order]).save(path / LEXICAL)
        return Segment.open(path)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _read(
    table: DocumentTable, manifest: Manifest, report: Progress
) -> tuple[NDArray[np.int64], list[str], list[str], NDArray[np.int64], NDArray[np.float32], csr_array | None]:
    from isometry.vectors import concat

    total = len(table)
    fields = [name for name in manifest.text_fields if name in table.columns]
    has_vectors = VECTORS in table.schema.names
    has_weights = SPARSE in table.schema.names and manifest.sparse_dim is not None
    stored = [name for name, there in ((VECTORS, has_vectors), (SPARSE, has_weights)) if there]
    columns = [SEQ, ID, *(name for name in fields if name != ID), *stored]
    seq: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    ids: list[str] = []
    texts: list[str] = []
    lengths: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    vectors: list[NDArray[np.float32]] = [np.zeros((0, table.dim or 1), np.float32)]
    weights: list[Any] = []
    for batch in table.batches(columns):
        seq.append(batch[SEQ].to_numpy())
        ids += batch[ID].to_pylist()
        texts += join_texts(batch, fields)
        if has_vectors:
            own = vectors_of(batch)
            lengths.append(own.lengths)
            vectors.append(own.tokens)
        else:
            lengths.append(np.zeros(len(batch), np.int64))
        if has_weights:
            weights.append(sparse_vectors_of(batch, manifest.sparse_dim or 0))
        report(len(ids), total, "documents read")
    starts = np.cumsum(np.concatenate(lengths))
    sparse: Any = concat(weights) if weights else None
    return np.concatenate(seq), ids, texts, starts, np.concatenate(vectors), sparse


def _passages_of(documents: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the vector numbers of `documents`, document after document."""
    lengths = np.diff(starts)[documents]
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts[documents] - (ends - lengths), lengths)


def _noted(name: str, recall: Estimate | None, folder: Path, n: int) -> dict[str, Any]:
    """Return what the segment notes of an index: its recall, and its bytes per row on disk."""
    if recall is None:
        return {}
    return {name: asdict(Cost(recall.mean, recall.low, recall.high, recall.n, folder_bytes(folder) / n))}


def _sparse_recall(index: SparseIndex, weights: csr_array) -> Estimate | None:
    """Compare the index with SciPy's product, for stored vectors as queries of which none counts itself as found."""
    rows = np.random.default_rng(0).permutation(np.flatnonzero(np.diff(weights.indptr)))[:RECALL_QUERIES]
    k = min(RECALL_K, weights.shape[0] - 1)
    if not len(rows) or k < 1:
        return None
    ids, _ = index.search(weights[rows], k=k + 1)
    found = np.array([[*hits[hits != row], *[-1] * (k + 1)][:k] for row, hits in zip(rows, ids, strict=True)])
    best, scores = np.empty((2, len(rows), k))
    reached = np.empty((len(rows), k))
    for start in range(0, len(rows), 10):
        part = slice(start, start + 10)
        exact = (weights @ weights[rows[part]].T).toarray().T
        exact[np.arange(len(exact)), rows[part]] = 0
        order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
        scores[part] = np.take_along_axis(exact, order, axis=1)
        best[part] = np.where(scores[part] > 0, order, -1)
        reached[part] = np.where(found[part] >= 0, np.take_along_axis(exact, found[part].clip(0), axis=1), 0)
    if not (best >= 0).any():
        return None
    tolerance = _ROUNDED * float(scores.max())
    return recall_against_exact(found, best.astype(np.int64), scores=reached, exact_scores=scores, tolerance=tolerance)


def _recall(index: Index, vectors: NDArray[np.float32], rows: NDArray[np.int64], metric: str) -> Estimate | None:
    """Compare the index with a scan in double precision that shares no code with it.

    The vectors in `rows` are the queries, and none may count itself as found; None when there is only one vector.
    """
    if len(vectors) < 2:
        return None
    k = min(RECALL_K, len(vectors) - 1)
    found, _ = index.search(vectors[rows], k=k + 1)
    found = np.array([[*hits[hits != row], *[-1] * (k + 1)][:k] for row, hits in zip(rows, found, strict=True)])
    exact = np.concatenate([_exact(vectors[rows[i : i + 10]], vectors, metric) for i in range(0, len(rows), 10)])
    exact[np.arange(len(rows)), rows] = -np.inf
    best = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(exact, best, axis=1)
    reached = np.where(found >= 0, np.take_along_axis(exact, found.clip(0), axis=1), -np.inf)
    tolerance = 1e-5 * max(1.0, float(np.abs(scores).max()))
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


def joined_ids(segment: Segment | None, extra: Sequence[str], documents: NDArray[np.int64]) -> list[str]:
    """Return the ids of documents numbered through the segment and on into `extra`."""
    n = len(segment) if segment else 0
    return [segment.id(d) if segment and d < n else extra[d - n] for d in documents.tolist()]
