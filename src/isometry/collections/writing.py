"""Adding and replacing documents: batch after batch, each one atomic commit."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isometry.collections.ingest import (
    Given,
    check_distinct,
    counts,
    parts,
    shape_rows,
    shown,
    user_vectors,
    with_ids,
)
from isometry.collections.kinds import kinds_of
from isometry.collections.records import ReadReport, read
from isometry.collections.table import ID
from isometry.errors import DuplicateIds, InvalidInput, check_choice, check_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from isometry.collections.manifest import Manifest
    from isometry.collections.space import Space
    from isometry.collections.table import DocumentTable
    from isometry.encoders import Progress

__all__ = ["Writing"]

ON_DUPLICATE = ("error", "skip", "replace")


@dataclass
class Writing:
    """One call of `add` or `upsert`: its options, and what it has done so far.

    Attributes
    ----------
    batch_rows : int
        Documents per commit.
    on_error : {"raise", "skip"}
    on_duplicate : {"error", "skip", "replace"}
    added, replaced, skipped, batches : int
    reading : ReadReport
    """

    manifest: Manifest
    spaces: Mapping[str, Space]
    batch_rows: int
    on_error: str
    on_duplicate: str
    added: int = 0
    replaced: int = 0
    skipped: int = 0
    batches: int = 0
    reading: ReadReport = field(default_factory=ReadReport)

    def __post_init__(self) -> None:
        check_range("batch_rows", self.batch_rows, 1)
        check_choice("on_error", self.on_error, ("raise", "skip"))
        check_choice("on_duplicate", self.on_duplicate, ON_DUPLICATE)

    def run(self, table: DocumentTable, source: Any, vectors: Given, progress: Progress | None) -> None:
        """Read `source` and commit it to `table`, one batch at a time.

        Parameters
        ----------
        table : DocumentTable
            The newest version; the caller holds the writer lock.
        source : any source that `records.read` takes
        vectors : Given
            The caller's own, one entry per record.
        progress : callable, optional
            Called as ``progress(done, total, "documents")`` after each batch.
        """
        expected = counts(vectors)
        for name, count in expected.items():
            self._check_count(source, name, count)
        known = table.scan([ID])[ID].combine_chunks() if table.version else pa.array([], pa.string())
        done = 0
        for records in self._batches(table, source):
            given = parts(vectors, slice(done, done + len(records)))
            done += len(records)
            kinds = kinds_of(self.manifest, table)
            records, own = user_vectors(with_ids(records, self.manifest.id_field), given, kinds)
            check_distinct(records[ID])
            if self.on_duplicate != "replace":
                records, own = self._without_stored(records, own, known)
            if len(records):
                encoders = {
                    name: encoder
                    for name in kinds
                    if name not in own and (encoder := self.spaces[name].encoder) is not None
                }
                rows = shape_rows(records, table, self.manifest, kinds, encoders, own, f"batch {self.batches + 1}")
                table = self._commit(table, rows)
                known = pa.concat_arrays([known, *rows[ID].chunks])
            if progress is not None:
                progress(done, self.reading.total, "documents")
        for name, count in expected.items():
            if done != count:
                raise InvalidInput(
                    f"{count} {name} came with {done} records; the records are stored: check that each has its own"
                )

    def _batches(self, table: DocumentTable, source: Any) -> Iterator[pa.Table]:
        attributes = [table.schema.field(name) for name in table.columns]
        return read(
            source,
            batch_rows=self.batch_rows,
            on_error=self.on_error,
            report=self.reading,
            id_field=self.manifest.id_field,
            text_fields=self.manifest.text_fields,
            vector_fields=[kind.called("vector") for kind in kinds_of(self.manifest).values()],
            schema=pa.schema(attributes) if attributes else None,
        )

    def _commit(self, table: DocumentTable, rows: pa.Table) -> DocumentTable:
        replaced = 0
        if self.on_duplicate == "replace":
            table, replaced = table.upsert(rows)
        else:
            table = table.append(rows)
        self.batches += 1
        self.replaced += replaced
        self.added += len(rows) - replaced
        return table

    def _without_stored(self, records: pa.Table, vectors: Given, known: pa.Array) -> tuple[pa.Table, Given]:
        """Refuse, or leave out, records whose id is stored: O(number of stored ids)."""
        ids = records[ID].combine_chunks()
        stored = known.filter(pc.is_in(known, value_set=ids))
        if not len(stored):
            return records, vectors
        if self.on_duplicate == "error":
            raise DuplicateIds(
                f"{len(stored)} ids are stored already: {shown(stored.to_pylist())}; use upsert to replace those "
                "documents, or on_duplicate='skip' to leave them as they are"
            )
        new = np.flatnonzero(~pc.is_in(ids, value_set=stored).to_numpy(zero_copy_only=False))
        self.skipped += len(records) - len(new)
        return records.take(new), parts(vectors, new)

    def _check_count(self, source: Any, name: str, count: int) -> None:
        """Compare the numbers of records and vectors before anything is stored, where the source tells its size."""
        if self.on_error == "skip":
            raise InvalidInput(
                f"on_error='skip' would shift records against {name}=; put them in a column {name.removesuffix('s')!r}"
            )
        if isinstance(source, str | os.PathLike) or not (isinstance(source, dict) or hasattr(source, "__len__")):
            return
        n = 1 if isinstance(source, dict) else len(source)
        if n != count:
            raise InvalidInput(f"{count} {name} came with {n} records; expected as many")
