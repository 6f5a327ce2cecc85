"""The documents of a collection as one Lance table: every write is one atomic, durable commit."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import lance
import numpy as np
import pyarrow as pa
from lance.dataset import Index

from isometry.errors import Damaged, StorageFull
from isometry.storage import fsync_path, is_out_of_space
from isometry.vectors import MultiVectors, from_arrow, sparse_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

__all__ = [
    "ID",
    "ROWS_PER_WRITE",
    "SEQ",
    "SPANS",
    "SPANS_TYPE",
    "SPARSE",
    "TOKENS",
    "VECTORS",
    "DocumentTable",
    "is_internal",
    "sparse_vectors_of",
    "vectors_of",
]

ID = "id"
SEQ = "_seq"
"""Which write stored this row: never used twice, so that an index can tell rows that are new, replaced or gone."""
ROWS_PER_WRITE = 1 << 32
"""Numbers that the write which leads to one version may use."""
SPANS = "_spans"
"""Where each passage starts and ends in the document's text, in characters."""
SPANS_TYPE = pa.list_(pa.struct([pa.field("start", pa.int32()), pa.field("end", pa.int32())]))
VECTORS = "_vectors"
"""One vector per passage."""
SPARSE = "_sparse"
"""One sparse vector per document."""
TOKENS = "_tokens"
"""One vector per token, in half precision."""

_FOLDERS = ("data", "_deletions", "_indices", "_transactions", "_versions")


def is_internal(name: str) -> bool:
    """Whether a column is the collection's own rather than the user's."""
    return name.startswith("_")


def vectors_of(rows: pa.Table | pa.RecordBatch, column: str, dim: int | None = None) -> MultiVectors:
    """Return the stored vectors of `rows`, several per document; one without any (null) has none."""
    lists = rows[column]
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    tokens: Any = from_arrow(lists.flatten(), dim, name="stored vectors")
    return MultiVectors(tokens, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))


def sparse_vectors_of(rows: pa.Table | pa.RecordBatch, dim: int) -> csr_array:
    """Return the stored sparse vectors of `rows`; a document without one (null) has an empty row."""
    column = rows[SPARSE]
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return sparse_rows(column, dim, "stored sparse vectors")


class DocumentTable:
    """One version of the table, and the writes that lead to the next.

    Parameters
    ----------
    path : Path
        The table's folder; it comes into being with the first `append`.
    version : int, optional
        Read this version rather than the newest one.
    """

    def __init__(self, path: Path, version: int | None = None) -> None:
        self.path = path
        self._durable: set[str] = set()
        self._dataset: lance.LanceDataset | None = None
        if version is not None or (path / "_versions").is_dir():
            with _storage_errors(path):
                self._dataset = lance.dataset(path, version=version)

    @property
    def version(self) -> int:
        """Number of the version in hand; 0 before the first write."""
        return self._dataset.version if self._dataset is not None else 0

    @cached_property
    def schema(self) -> pa.Schema:
        """All columns, the internal ones included; no columns before the first write."""
        return self._dataset.schema if self._dataset is not None else pa.schema([])

    @cached_property
    def columns(self) -> list[str]:
        """Names of the user's columns."""
        return [name for name in self.schema.names if not is_internal(name)]

    def dim_of(self, column: str) -> int | None:
        """Return the dimensions of the vectors in a column of lists of them; None while there is no such column."""
        return self.schema.field(column).type.value_type.list_size if column in self.schema.names else None

    @cached_property
    def scalar_indexes(self) -> dict[str, str]:
        """The kind of the scalar index over each column that has one: ``"bitmap"`` or ``"btree"``."""
        if self._dataset is None:
            return {}
        with _storage_errors(self.path):
            return {each.field_names[0]: each.index_type.lower() for each in self._dataset.describe_indices()}

    def __len__(self) -> int:
        return self._dataset.count_rows() if self._dataset is not None else 0

    def newest(self) -> DocumentTable:
        """Return the newest version on disk (this object when it is that)."""
        if self._dataset is not None:
            with _storage_errors(self.path):
                if self._dataset.latest_version == self._dataset.version:
                    return self
        return self._reopened()

    def versions(self) -> list[int]:
        """Return the versions that can still be opened, oldest first."""
        return [entry["version"] for entry in self._dataset.versions()] if self._dataset is not None else []

    def scan(self, columns: list[str], where: Any = None) -> pa.Table:
        """Read `columns` of all rows (that match `where`) in storage order: the order that `take` counts in."""
        if self._dataset is None:
            return pa.schema([]).empty_table()
        with _storage_errors(self.path):
            return self._dataset.to_table(columns=columns, filter=where)

    def offsets(self, where: Any, indexed: bool | None = None) -> NDArray[np.int64]:
        """Return where the rows that match are in storage order: what `take` counts in.

        Parameters
        ----------
        where : str or pyarrow.compute.Expression
        indexed : bool, optional
            Whether scalar indexes are asked, or the columns alone. By default the columns are where an index is
            damaged.
        """
        if self._dataset is None:
            return np.empty(0, np.int64)
        try:
            found = self._places(filter=where, use_scalar_index=indexed is not False)
        except Damaged:
            if indexed is not None or not self.scalar_indexes:
                raise
            found = self._places(filter=where, use_scalar_index=False)
        return found if self._offset_at is None else self._offset_at[found]

    def batches(self, columns: list[str], batch_rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """Stream `columns` of all rows in storage order."""
        if self._dataset is not None:
            with _storage_errors(self.path):
                yield from self._dataset.to_batches(columns=columns, batch_size=batch_rows)

    def take(self, offsets: NDArray[np.int64], columns: list[str]) -> pa.Table:
        """Read the rows at the given offsets in storage order, in the order given."""
        if self._dataset is None or len(offsets) == 0:
            known = self.schema
            return pa.schema([known.field(name) for name in columns if name in known.names]).empty_table()
        with _storage_errors(self.path):
            return self._dataset.take(offsets, columns=columns)

    def append(self, rows: pa.Table) -> DocumentTable:
        """Store `rows` and return the version that has them; the first call creates the table."""
        with _storage_errors(self.path):
            if self._dataset is None:
                lance.write_dataset(rows, self.path, mode="create")
            else:
                self._widen(rows.schema)
                fragments = lance.fragment.write_fragments(rows, self._dataset, mode="append")
                self._flush()
                operation = lance.LanceOperation.Append(fragments)
                lance.LanceDataset.commit(self._dataset, operation, read_version=self._dataset.version)
        return self._committed()

    def upsert(self, rows: pa.Table) -> tuple[DocumentTable, int]:
        """Replace the rows whose id is stored, add the others; return the new version and how many were replaced."""
        if self._dataset is None:
            return self.append(rows), 0
        with _storage_errors(self.path):
            self._widen(rows.schema)
            merge = self._dataset.merge_insert(ID).when_matched_update_all().when_not_matched_insert_all()
            replaced = self._merge(merge, rows)
        return self._committed(), replaced

    def fill(self, make: Callable[[NDArray[np.int64]], pa.Table]) -> DocumentTable:
        """Add columns in one commit, from what `make` returns for the sequence numbers of some rows, row for row."""
        schema = make(np.zeros(0, np.int64)).schema

        def rows(batch: pa.RecordBatch) -> pa.RecordBatch:
            made = make(batch[SEQ].to_numpy()).combine_chunks()
            return pa.RecordBatch.from_arrays([made[name].combine_chunks() for name in schema.names], schema=schema)

        assert self._dataset is not None
        with _storage_errors(self.path):
            self._dataset.add_columns(lance.batch_udf(output_schema=schema)(rows), read_columns=[SEQ])
        return self._committed()

    def update(self, rows: pa.Table) -> DocumentTable:
        """Replace what the rows with these sequence numbers have in the columns of `rows`, in one commit."""
        assert self._dataset is not None
        with _storage_errors(self.path):
            self._merge(self._dataset.merge_insert(SEQ).when_matched_update_all(), rows)
        return self._committed()

    def without(self, columns: list[str]) -> DocumentTable:
        """Drop columns and give their bytes back (once older versions are forgotten), in one commit: O(table).

        Scalar indexes, which none of these columns has, are made again in a second commit.
        """
        if self._dataset is None or not columns:
            return self
        kinds = self.scalar_indexes
        with _storage_errors(self.path):
            kept = self._dataset.scanner(columns=[name for name in self.schema.names if name not in columns])
            lance.write_dataset(kept.to_reader(), self.path, mode="overwrite")
        return self._committed().index(kinds)

    def delete(self, where: Any) -> tuple[DocumentTable, int]:
        """Delete the rows that match a filter; return the new version and how many went."""
        if self._dataset is None:
            return self, 0
        with _storage_errors(self.path):
            gone = int(self._dataset.delete(where)["num_deleted_rows"])
        return self._committed(), gone

    def delete_ids(self, ids: pa.Array) -> tuple[DocumentTable, int]:
        """Delete the rows with these ids, in one commit; unknown ids are passed over."""
        if self._dataset is None:
            return self, 0
        with _storage_errors(self.path):
            merge = self._dataset.merge_insert(ID).when_matched_delete()
            gone = int(merge.execute(pa.table({ID: ids}))["num_deleted_rows"])
        return self._committed(), gone

    def index(self, kinds: Mapping[str, str]) -> DocumentTable:
        """Have scalar indexes over these columns and no others, all made anew in one commit.

        Parameters
        ----------
        kinds : mapping of str to str
            ``"bitmap"`` or ``"btree"`` by column.
        """
        if self._dataset is None or not (kinds or self.scalar_indexes):
            return self
        with _storage_errors(self.path):
            parts = [part.fragment_id for part in self._dataset.get_fragments()]
            made = [
                self._dataset.create_index_uncommitted(column, kind.upper(), column, replace=True, fragment_ids=parts)
                for column, kind in kinds.items()
            ]
            self._flush()
            gone = [
                Index(part.uuid, each.name, each.fields, part.dataset_version_at_last_update, part.fragment_ids, 0)
                for each in self._dataset.describe_indices()
                for part in each.segments
            ]
            operation = lance.LanceOperation.CreateIndex(made, gone)
            lance.LanceDataset.commit(self._dataset, operation, read_version=self._dataset.version)
        return self._committed()

    def compact(self) -> DocumentTable:
        """Join small fragments and drop deleted rows, and scalar indexes with them; the order of rows stays."""
        if self._dataset is None:
            return self
        table = self.index({})  # else Lance would write them all anew, and could not where one is damaged
        assert table._dataset is not None
        with _storage_errors(self.path):
            table._dataset.optimize.compact_files(target_rows_per_fragment=1 << 20)
        return table._committed()

    def forget(self, older_than: timedelta) -> int:
        """Delete what only versions older than `older_than` need; return the bytes freed."""
        if self._dataset is None:
            return 0
        with _storage_errors(self.path):
            return int(self._dataset.cleanup_old_versions(older_than).bytes_removed)

    def fragments(self) -> tuple[int, int]:
        """Return the number of fragments and the number of deleted rows that still take space."""
        parts = self._dataset.get_fragments() if self._dataset is not None else []
        return len(parts), sum(part.num_deletions for part in parts)

    @cached_property
    def _starts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the fragments, ascending, and how many rows are stored before each, deleted ones included."""
        assert self._dataset is not None
        parts = self._dataset.get_fragments()
        numbers = np.array([part.fragment_id for part in parts], np.int64)
        before = np.cumsum([0, *(part.physical_rows for part in parts)], dtype=np.int64)[:-1]
        order = np.argsort(numbers)
        return numbers[order], before[order]

    @cached_property
    def _offset_at(self) -> NDArray[np.int64] | None:
        """Where the row at each place is in storage order; None while none is deleted, which leaves them equal."""
        if not self.fragments()[1]:
            return None
        living = self._places()
        offsets = np.full(living.max(initial=-1) + 1, -1, np.int64)
        offsets[living] = np.arange(len(living))
        return offsets

    def _places(self, **options: Any) -> NDArray[np.int64]:
        """Return the places of rows, which count deleted ones too."""
        assert self._dataset is not None
        with _storage_errors(self.path):
            found = self._dataset.scanner(columns=[], with_row_address=True, **options).to_table()
        addresses = found["_rowaddr"].to_numpy()
        numbers, before = self._starts
        place = np.searchsorted(numbers, (addresses >> np.uint64(32)).astype(np.int64))
        return before[place] + (addresses & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def _widen(self, schema: pa.Schema) -> None:
        assert self._dataset is not None
        known = set(self._dataset.schema.names)
        new = [field for field in schema if field.name not in known]
        if new:
            self._dataset.add_columns(pa.schema([field.with_nullable(True) for field in new]))

    def _merge(self, merge: Any, rows: pa.Table) -> int:
        assert self._dataset is not None
        transaction, counts = merge.execute_uncommitted(rows)
        self._flush()
        lance.LanceDataset.commit(self._dataset, transaction)
        return int(counts["num_updated_rows"])

    def _committed(self) -> DocumentTable:
        self._flush()
        return self._reopened()  # Lance has moved the dataset in hand on, but what is cached of it is old

    def _reopened(self) -> DocumentTable:
        table = DocumentTable(self.path)
        table._durable = self._durable
        return table

    def _flush(self) -> None:
        for folder in _FOLDERS:
            self._flush_folder(os.fspath(self.path / folder))
        fsync_path(self.path)

    def _flush_folder(self, folder: str) -> None:
        try:
            new = [entry for entry in os.scandir(folder) if entry.path not in self._durable]
        except FileNotFoundError:
            return
        for entry in new:
            if entry.is_dir():
                self._flush_folder(entry.path)
            else:
                with suppress(FileNotFoundError):
                    fsync_path(entry.path)
            self._durable.add(entry.path)
        if new:
            fsync_path(folder)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, RuntimeError) as error:
        if is_out_of_space(error):
            raise StorageFull(
                f"{path}: no space left; nothing of this write was stored, what was there before is unharmed; "
                "free some space and write again"
            ) from error
        raise Damaged(f"{path} can't be read or written: {_first_line(str(error))}") from error


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0].split(", /", 1)[0][:500]


def folder_bytes(path: Path) -> int:
    """Return the bytes of all files below `path`."""
    return sum(_walk_sizes(str(path)))


def _walk_sizes(path: str) -> Iterable[int]:
    try:
        entries = list(os.scandir(path))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk_sizes(entry.path)
        else:
            try:
                yield entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue
