"""Reading everything back: does a collection hold what it claims to hold?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from isometry.collections import scalar_indexes
from isometry.collections.ingest import shown
from isometry.collections.kinds import DENSE, kinds_of
from isometry.collections.migration import MIGRATIONS, Batches, Migration, read_map
from isometry.collections.segment import Segment
from isometry.collections.table import ID, SEQ, DocumentTable, folder_bytes
from isometry.errors import InvalidInput, IsometryError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from isometry.collections.manifest import Manifest

__all__ = ["check_collection"]


def check_collection(documents: Path, indexes: Path, manifest: Manifest) -> dict[str, Any]:
    """Read all documents and the index in use; return the fields of a `VerifyReport`.

    Nothing that is damaged stops the check: it becomes a line in ``problems``. O(size of the collection).
    """
    problems: list[str] = []
    counts = {"documents": 0, "vectors": 0}
    table = segment = None
    try:
        table = DocumentTable(documents)
        problems += _document_problems(table, manifest, counts) + scalar_indexes.problems(table)
    except IsometryError as error:
        problems.append(f"the documents can't be read: {error}")
    try:
        if manifest.segment is not None:
            segment = Segment.open(indexes / manifest.segment, verify=True)
            if table is not None:
                problems += _segment_problems(table, segment, manifest)
    except IsometryError as error:
        problems.append(f"the index can't be used: {error}. Run optimize to build it again")
    if manifest.migration is not None:
        problems += _migration_problems(documents.parent, manifest.migration)
    checked = folder_bytes(segment.path) if segment is not None else 0
    return {"ok": not problems, "problems": problems, **counts, "bytes_checked": checked}


def _document_problems(table: DocumentTable, manifest: Manifest, counts: dict[str, int]) -> list[str]:
    problems: list[str] = []
    if not table.version:
        return problems
    every = kinds_of(manifest, table)
    dense = every[DENSE]
    if manifest.dim not in (None, dense.dim):
        problems.append(f"the vectors have {dense.dim} dimensions; the collection is made for {manifest.dim}")
    keys = table.scan([ID, SEQ])
    for name in (ID, SEQ):
        if keys[name].null_count:
            problems.append(f"{keys[name].null_count} documents have no {name}")
        repeated = len(keys) - pc.count_distinct(keys[name]).as_py()
        if repeated:
            problems.append(f"{repeated} documents share their {name} with another")
    has_spans = dense.spans in table.schema.names
    kinds = [kind for kind in every.values() if kind.column in table.schema.names]
    for batch in table.batches(table.schema.names):
        counts["documents"] += len(batch)
        for kind in kinds:
            where = f"documents from {shown(batch[ID][:1].to_pylist())} on"
            try:
                problems += [f"{where} {problem}" for problem in kind.problems(batch)]
                vectors = kind.of_rows(batch)
            except InvalidInput as error:
                problems.append(f"{where}: {error}")
                continue
            if kind.name != DENSE:
                continue
            counts["vectors"] += len(vectors.tokens)
            if has_spans:
                spans = batch[dense.spans].value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
                unlike = np.flatnonzero((spans >= 0) & (spans != vectors.lengths))
                if len(unlike):
                    names = batch[ID].take(unlike).to_pylist()
                    problems.append(f"documents {shown(names)} have unlike numbers of passages and vectors")
    if counts["documents"] != len(keys):
        problems.append(f"{counts['documents']} documents were read, {len(keys)} have keys")
    return problems


def _migration_problems(collection: Path, migration: Migration) -> list[str]:
    """Read what a migration keeps aside."""
    folder = collection / MIGRATIONS / migration.folder
    try:
        if migration.fit is not None:
            read_map(folder, verify=True)
        if migration.dim is not None and migration.stage != "switched":
            Batches(folder, migration.dim, verify=True)
    except IsometryError as error:
        return [f"the migration can't go on: {error}. The documents are unharmed: roll it back, and begin again"]
    return []


def _segment_problems(table: DocumentTable, segment: Segment, manifest: Manifest) -> list[str]:
    """Compare the index with the documents it says it holds; those deleted since then are not looked at."""
    problems: list[str] = []
    for name, values in (("seq", segment.seq), ("starts", segment.starts)):
        if (np.diff(values) < (1 if name == "seq" else 0)).any():
            problems.append(f"the index has its {name} out of order; run optimize to build it again")
    if problems or not table.version:
        return problems
    keys = table.scan([ID, SEQ])
    seq: NDArray[np.int64] = keys[SEQ].to_numpy()
    place = np.searchsorted(segment.seq, seq)
    inside = place < len(segment)
    inside[inside] = segment.seq[place[inside]] == seq[inside]
    stored = keys[ID].filter(inside).to_pylist()
    unlike = [name for name, row in zip(stored, place[inside].tolist(), strict=True) if segment.id(row) != name]
    if unlike:
        problems.append(f"the index has other ids than the documents {shown(unlike)}; run optimize to build it again")
    if segment.version == table.version and inside.sum() != len(segment):
        problems.append(f"the index holds {len(segment)} documents of which {inside.sum()} are there")
    for name, kind in kinds_of(manifest, table).items():
        if name != DENSE:  # opening it compares its size with that of the segment
            index = segment.by_document(name)
            problem = index and kind.check_index(index)
            problems += [problem] if problem else []
        elif kind.column in table.schema.names:
            parts = [kind.of_rows(batch).lengths for batch in table.batches([kind.column])]
            lengths = np.concatenate([np.zeros(0, np.int64), *parts])
            if not np.array_equal(np.diff(segment.starts)[place[inside]], lengths[inside]):
                problems.append(
                    "the index has other numbers of vectors than the documents; run optimize to build it again"
                )
    return problems
