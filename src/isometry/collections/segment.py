"""A segment: everything searchable of one version of the table, in one folder that never changes.

``rows``
    Which documents, in the order of their sequence numbers, where they are in the table, and which vectors are theirs.
``dense``
    The vector index over all passages; absent when the documents have no vectors.
``sparse``
    The index over the documents' sparse vectors; absent when the collection has none.
``multi``
    The index over the documents' tokens; absent when no document has any.
``lexical``
    The BM25 index over all texts; absent when there is no text.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from isometry.collections.costs import Cost
from isometry.collections.kinds import DENSE, KINDS, Kind, kinds_of
from isometry.collections.table import ID, SEQ, DocumentTable
from isometry.collections.texts import join_texts
from isometry.errors import Damaged
from isometry.indexes import BM25, load_index
from isometry.storage import read_folder, write_folder
from isometry.vectors import concat, take

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from isometry.collections.manifest import Manifest
    from isometry.encoders import Progress
    from isometry.indexes import Index

__all__ = ["LEXICAL", "Segment", "build_segment"]

ROWS, LEXICAL = "rows", "lexical"
ROWS_KIND = "segment-rows"


@dataclass(frozen=True)
class Segment:
    """An opened segment; its arrays are memory-mapped.

    Attributes
    ----------
    path : Path
    version : int
        Version of the table it was built from.
    specs : dict of str to str
        The index over each kind of vectors that has one, as specification strings.
    costs : dict of str to Cost
        What they cost against full precision and a full scan, as measured when they were built.
    labels : dict of str to int
        Attributes that the vector index links rows by, and how many of their values have links.
    seq : (n,) int64
        Sequence numbers of the documents, ascending.
    row_offset : (n,) int64
        Where each document is in the table at `version`, in storage order.
    starts : (n + 1,) int64
        Document ``i`` owns the vectors ``starts[i]`` to ``starts[i + 1]`` of `dense`.
    dense : Index or None
    """

    path: Path
    version: int
    specs: dict[str, str]
    costs: dict[str, Cost]
    labels: dict[str, int]
    seq: NDArray[np.int64]
    row_offset: NDArray[np.int64]
    starts: NDArray[np.int64]
    dense: Index | None
    _id_starts: NDArray[np.int64]
    _id_bytes: NDArray[np.uint8]
    _opened: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

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
        for name in (*KINDS, LEXICAL) if verify else ():
            if name != DENSE and (path / name).is_dir():
                load_index(path / name, verify=True)
        specs: dict[str, str] = {} if dense is None else {DENSE: dense.spec}
        for kind in KINDS.values():
            if (noted := kind.called("spec")) in rows.parameters:
                specs[kind.name] = rows.parameter(noted, str)
        costs = {kind.name: Cost.noted(rows, kind.called("cost")) for kind in KINDS.values()}
        seq = rows.array("seq", np.int64, (None,))
        n = len(seq)
        segment = cls(
            path=path,
            version=rows.parameter("version", int),
            specs=specs,
            costs={name: cost for name, cost in costs.items() if cost is not None},
            labels=getattr(dense, "labels", {}),
            seq=seq,
            row_offset=rows.array("row_offset", np.int64, (n,)),
            starts=rows.array("starts", np.int64, (n + 1,)),
            dense=dense,
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

    def by_document(self, name: str) -> Any:
        """Return the index of this name with one row per document, opened when first asked for; None without one."""
        with self._guard:
            if name not in self._opened:
                folder = self.path / name
                index = load_index(folder) if folder.is_dir() else None
                if index is not None and index.n_rows != len(self):
                    raise Damaged(
                        f"{folder} holds {index.n_rows} rows for {len(self)} documents; run optimize to build it again"
                    )
                self._opened[name] = index
            return self._opened[name]


def build_segment(
    table: DocumentTable,
    manifest: Manifest,
    specs: Mapping[str, str | None],
    path: Path,
    progress: Progress | None = None,
) -> Segment:
    """Index every document of `table` into the new folder `path`.

    Parameters
    ----------
    table : DocumentTable
    manifest : Manifest
        Metric, text fields and dimensions.
    specs : mapping of str to str or None
        Index to build over each kind of vectors, such as ``"Flat"``; by default what serves so many.
    path : Path
        Must not exist; is removed again when building fails.
    progress : callable, optional
        Called as ``progress(done, total, what)``.

    Returns
    -------
    Segment
        Its `costs` are those of each index against an exact scan, over up to 100 stored vectors as queries.

    Notes
    -----
    Reads the table once: time and memory in proportion to all vectors, plus the cost of the indexes themselves.
    """
    report = progress or (lambda done, total, what: None)
    path.mkdir(parents=True)
    try:
        kinds = [kind for kind in kinds_of(manifest, table).values() if kind.column in table.schema.names]
        seq, ids, texts, vectors, labels = _read(table, manifest, kinds, report)
        order = np.argsort(seq, kind="stable")
        sorted_already = np.array_equal(order, np.arange(len(order)))
        noted: dict[str, Any] = {}
        starts = np.zeros(len(order) + 1, np.int64)
        for kind in (kind for kind in kinds if kind.name in vectors):
            own: Any = vectors.pop(kind.name)
            own = own if sorted_already else take(own, order)
            made = kind.build(own, specs.get(kind.name), path / kind.name, {n: c[order] for n, c in labels.items()})
            if kind.name == DENSE:
                starts = own.offsets
            elif made is not None:
                noted[kind.called("spec")] = made.spec
            if made is not None and made.cost is not None:
                noted[kind.called("cost")] = made.cost.to_dict()
        blobs = [ids[row].encode() for row in order]
        write_folder(
            path / ROWS,
            kind=ROWS_KIND,
            parameters={"version": table.version, **noted},
            arrays={
                "seq": seq[order],
                "row_offset": order,
                "starts": starts,
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
    table: DocumentTable, manifest: Manifest, kinds: list[Kind[Any]], report: Progress
) -> tuple[NDArray[np.int64], list[str], list[str], dict[str, Any], dict[str, NDArray[np.int64]]]:
    """Return sequence numbers, ids and texts of all documents, their vectors by kind, and their labels by attribute.

    All are in storage order.
    """
    total = len(table)
    fields = [name for name in manifest.text_fields if name in table.columns]
    seq: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    ids: list[str] = []
    texts: list[str] = []
    vectors: dict[str, list[Any]] = {kind.name: [] for kind in kinds}
    columns = [SEQ, ID, *(name for name in fields if name != ID), *(kind.column for kind in kinds)]
    for batch in table.batches(columns):
        seq.append(batch[SEQ].to_numpy())
        ids += batch[ID].to_pylist()
        texts += join_texts(batch, fields)
        for kind in kinds:
            vectors[kind.name].append(kind.of_rows(batch))
        report(len(ids), total, "documents read")
    labels = {name: _codes(table, name) for name in manifest.labels if name in table.columns}
    return np.concatenate(seq), ids, texts, {name: concat(parts) for name, parts in vectors.items() if parts}, labels


def _codes(table: DocumentTable, name: str) -> NDArray[np.int64]:
    """Return a number for the value of each document, in storage order; -1 where it has none."""
    column = table.scan([name])[name].combine_chunks().dictionary_encode()
    codes: NDArray[np.int64] = pc.fill_null(column.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def joined_ids(segment: Segment | None, extra: Sequence[str], documents: NDArray[np.int64]) -> list[str]:
    """Return the ids of documents numbered through the segment and on into `extra`."""
    n = len(segment) if segment else 0
    return [segment.id(d) if segment and d < n else extra[d - n] for d in documents.tolist()]
