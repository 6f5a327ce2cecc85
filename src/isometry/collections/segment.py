"""A segment: everything searchable of one version of the table, in one folder that never changes.

``rows``
    Which documents, in the order of their sequence numbers, where they are in the table, and which vectors are theirs.
``dense``
    The vector index over all passages; absent when the documents have no vectors.
``lexical``
    The BM25 index over all texts; absent when there is no text.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.collections.table import ID, SEQ, VECTORS, DocumentTable, folder_bytes, vectors_of
from isometry.collections.texts import join_texts
from isometry.errors import Damaged
from isometry.estimates import Estimate, recall_against_exact
from isometry.indexes import BM25, default_spec, index_from_spec, load_index
from isometry.indexes.levelled import Levelled
from isometry.storage import Folder, read_folder, write_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from isometry.collections.manifest import Manifest
    from isometry.encoders import Progress
    from isometry.indexes import Index

__all__ = ["Cost", "Segment", "build_segment"]

ROWS, DENSE, LEXICAL = "rows", "dense", "lexical"
ROWS_KIND = "segment-rows"
RECALL_K = 10
RECALL_QUERIES = 100
_FEWEST_LEARNED = 10 * RECALL_QUERIES


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
    def of(cls, rows: Folder) -> Cost | None:
        """Return what is noted in the folder of a segment; None in those of isometry 0.1."""
        if "cost" not in rows.parameters:
            return None
        noted = rows.parameter("cost", dict)
        numbers = [noted.get(field.name) for field in fields(cls)]
        if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            raise rows.damaged(f"its cost is {noted!r:.80}")
        return cls(**{field.name: noted[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class Segment:
    """An opened segment; its arrays are memory-mapped.

    Attributes
    ----------
    path : Path
    version : int
        Version of the table it was built from.
    spec : str or None
        The vector index, as a spec string.
    seq : (n,) int64
        Sequence numbers of the documents, ascending.
    row_offset : (n,) int64
        Where each document is in the table at `version`, in storage order.
    starts : (n + 1,) int64
        Document ``i`` owns the vectors ``starts[i]`` to ``starts[i + 1]`` of `dense`.
    dense : Index or None
    cost : Cost or None
        What `dense` costs against full precision, as measured when it was built.
    """

    path: Path
    version: int
    spec: str | None
    seq: NDArray[np.int64]
    row_offset: NDArray[np.int64]
    starts: NDArray[np.int64]
    dense: Index | None
    cost: Cost | None
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
        if verify and (path / LEXICAL).is_dir():
            load_index(path / LEXICAL, verify=True)
        seq = rows.array("seq", np.int64, (None,))
        n = len(seq)
        segment = cls(
            path=path,
            version=rows.parameter("version", int),
            spec=dense.spec if dense is not None else None,
            seq=seq,
            row_offset=rows.array("row_offset", np.int64, (n,)),
            starts=rows.array("starts", np.int64, (n + 1,)),
            dense=dense,
            cost=Cost.of(rows),
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
        folder = self.path / LEXICAL
        index: Any = load_index(folder) if folder.is_dir() else None
        if index is not None and len(index) != len(self):
            raise Damaged(
                f"{folder} holds {len(index)} texts for {len(self)} documents; run optimize to build it again"
            )
        return index


def build_segment(
    table: DocumentTable, manifest: Manifest, spec: str | None, path: Path, progress: Progress | None = None
) -> Segment:
    """Index every document of `table` into the new folder `path`.

    Parameters
    ----------
    table : DocumentTable
    manifest : Manifest
        Metric, text fields and dimension.
    spec : str, optional
        Vector index to build, such as ``"Flat"``; by default what serves so many vectors.
    path : Path
        Must not exist; is removed again when building fails.
    progress : callable, optional
        Called as ``progress(done, total, what)``.

    Returns
    -------
    Segment
        Its `cost` is that of the vector index against a float64 scan, over up to 100 stored vectors as queries.

    Notes
    -----
    Reads the table once: O(n d) time and memory for the vectors, plus the cost of the index itself.
    """
    report = progress or (lambda done, total, what: None)
    path.mkdir(parents=True)
    try:
        seq, ids, texts, starts, vectors = _read(table, manifest, report)
        order = np.argsort(seq, kind="stable")
        noted = {}
        if len(vectors):
            if not np.array_equal(order, np.arange(len(order))):
                vectors = vectors[_passages_of(order, starts)]
            index = index_from_spec(spec or default_spec(*vectors.shape), metric=manifest.metric)
            asked = np.random.default_rng(0).permutation(len(vectors))[:RECALL_QUERIES]
            learns = isinstance(index, Levelled) and len(vectors) >= _FEWEST_LEARNED
            (index.build(vectors, held_out=asked) if learns else index.build(vectors)).save(path / DENSE)
            recall = _recall(index, vectors, asked, manifest.metric)
            if recall is not None:
                size = folder_bytes(path / DENSE) / len(vectors)
                noted["cost"] = asdict(Cost(recall.mean, recall.low, recall.high, recall.n, size))
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
) -> tuple[NDArray[np.int64], list[str], list[str], NDArray[np.int64], NDArray[np.float32]]:
    total = len(table)
    fields = [name for name in manifest.text_fields if name in table.columns]
    has_vectors = VECTORS in table.schema.names
    columns = [SEQ, ID, *(name for name in fields if name != ID), *([VECTORS] if has_vectors else [])]
    seq: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    ids: list[str] = []
    texts: list[str] = []
    lengths: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    vectors: list[NDArray[np.float32]] = [np.zeros((0, table.dim or 1), np.float32)]
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
        report(len(ids), total, "documents read")
    return np.concatenate(seq), ids, texts, np.cumsum(np.concatenate(lengths)), np.concatenate(vectors)


def _passages_of(documents: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the vector numbers of `documents`, document after document."""
    lengths = np.diff(starts)[documents]
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts[documents] - (ends - lengths), lengths)


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
