"""From a batch of records to rows of the table: ids, attribute types, passages, vectors."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isometry.collections.attributes import coerce, merge_schema
from isometry.collections.kinds import DENSE, KINDS, Kind, lacking
from isometry.collections.table import ID, ROWS_PER_WRITE, SEQ, SPANS_TYPE, is_internal
from isometry.errors import DuplicateIds, InvalidInput
from isometry.vectors import take

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from isometry.collections.manifest import Manifest
    from isometry.collections.table import DocumentTable
    from isometry.encoders import Encoder, Progress

__all__ = ["Given", "check_distinct", "counts", "parts", "shape_rows", "spans_column", "user_vectors", "with_ids"]

Given: TypeAlias = "dict[str, Any]"
"""The caller's own vectors, by kind; nothing for a kind of which there are none."""

_SHOWN = 3


def parts(given: Given, rows: slice | NDArray[np.int64]) -> Given:
    """Return the vectors of some records."""
    return {name: take(vectors, rows) for name, vectors in given.items()}


def counts(given: Given) -> dict[str, int]:
    """Return how many vectors there are, by what the caller calls them."""
    return {
        KINDS[name].called("vectors"): vectors.shape[0] if hasattr(vectors, "shape") else len(vectors)
        for name, vectors in given.items()
    }


def with_ids(records: pa.Table, id_field: str) -> pa.Table:
    """Return the records with the id in the first column, named ``id``.

    Records without an id column get the hash of their content, so that reading the same input again gives the same
    ids.

    Raises
    ------
    InvalidInput
        The id field has another name and ``id`` is taken by an attribute.
    """
    if id_field in records.column_names:
        place = records.column_names.index(id_field)
        ids, records = records.column(place), records.remove_column(place)
    else:
        ids = pa.chunked_array([pa.nulls(len(records), pa.string())])
    if ids.null_count:
        unnamed = pc.indices_nonzero(pc.is_null(ids))
        names = pa.array([_content_hash(row) for row in records.take(unnamed).to_pylist()], pa.string())
        ids = pc.replace_with_mask(ids.combine_chunks(), pc.is_null(ids).combine_chunks(), names)
    if ID in records.column_names:
        raise InvalidInput(
            f"the ids come from {id_field!r} but the records also have a column {ID!r}; "
            f"rename it, or create the collection with id_field={ID!r}"
        )
    return records.add_column(0, pa.field(ID, pa.string(), nullable=False), ids.cast(pa.string()))


def check_distinct(ids: pa.Array | pa.ChunkedArray) -> None:
    """Raise `DuplicateIds` when an id occurs twice in one batch: O(n)."""
    counts = pc.value_counts(ids)
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    if twice:
        raise DuplicateIds(
            f"{len(twice)} ids occur more than once in one batch: {shown(twice)}; ids must be distinct "
            "(for records without ids: drop the identical ones)"
        )


def shown(ids: list[str]) -> str:
    """Return the first few ids for an error message."""
    return ", ".join(f"{i[:80]!r}" for i in ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")


def user_vectors(records: pa.Table, given: Given, kinds: Mapping[str, Kind[Any]]) -> tuple[pa.Table, Given]:
    """Take the caller's own vectors: the arguments, or the columns such as ``vector`` and ``sparse_vector``.

    Parameters
    ----------
    records : pa.Table
    given : Given
    kinds : mapping of str to Kind
        Those that the collection has; columns for others are left alone.

    Returns
    -------
    records : pa.Table
        Without these columns.
    given : Given
        As `Kind.taken` returns them.

    Raises
    ------
    InvalidInput, DimensionMismatch
        Vectors that do not fit the records or the collection.
    """
    own: Given = {}
    for key, vectors in given.items():
        if key not in kinds:
            raise lacking(KINDS[key], KINDS[key].called("vectors"))
        own[key] = kinds[key].taken(vectors, KINDS[key].called("vectors"))
    for key, kind in kinds.items():
        field = kind.called("vector")
        if field not in records.column_names:
            continue
        if key in own:
            raise InvalidInput(
                f"{kind.called('vectors')} are given twice: as an argument and in the column {field!r}; drop one"
            )
        own[key] = kind.taken(kind.from_column(records[field], field), field)
        records = records.drop_columns([field])
    for name, count in counts(own).items():
        if count != len(records):
            raise InvalidInput(f"{count} {name} came with {len(records)} records; expected as many")
    return records, own


def shape_rows(
    records: pa.Table,
    table: DocumentTable,
    manifest: Manifest,
    kinds: Mapping[str, Kind[Any]],
    encoders: Mapping[str, Encoder],
    given: Given,
    where: str,
    progress: Progress | None = None,
) -> pa.Table:
    """Return the rows that the table stores for one batch of records.

    Parameters
    ----------
    records : pa.Table
        With ids, without vectors.
    table : DocumentTable
        The version that the write starts from: sequence numbers are derived from it, so that none is used twice.
    manifest : Manifest
    kinds : mapping of str to Kind
        Those that the collection has.
    encoders : mapping of str to Encoder
        By kind: what encodes the texts where no vectors are given.
    given : Given
        The caller's own, as `user_vectors` returns them.
    where : str
        What to call the batch in an error.
    progress : callable, optional

    Raises
    ------
    SchemaMismatch
        An attribute holds a value of another type than the column has.
    InvalidInput
        No text field where the encoder needs one, or no vectors where the collection takes the caller's own.
    """
    stored = table.schema
    own = [field for field in stored if not is_internal(field.name)]
    rows = coerce(records, merge_schema(pa.schema(own) if own else None, records, where))
    n = len(rows)
    columns: dict[str, pa.Array] = {SEQ: pa.array(np.arange(n) + (table.version + 1) * ROWS_PER_WRITE)}
    present = [name for name in manifest.text_fields if name in rows.column_names]
    if encoders and not present:
        raise InvalidInput(
            f"{where} has none of the text fields {', '.join(manifest.text_fields)}; its columns are "
            f"{', '.join(rows.column_names)}; create the collection with text_fields= naming what to encode"
        )
    for key, kind in kinds.items():
        vectors = given.get(key)
        if vectors is None and key in encoders:
            made, spans = kind.encode(encoders[key], rows, present, manifest.passages, progress)
            vectors = kind.taken(made, f"what {encoders[key].fingerprint} made of {where}")
            if spans is not None:
                columns[kind.spans] = spans_column(spans)
        if vectors is not None:
            columns[kind.column] = kind.to_column(vectors)
        elif kind.dim is not None:
            raise InvalidInput(
                f"{where} has no {kind.words} and the collection has no encoder to make them; pass "
                f"{kind.called('vectors')}= or a column {kind.called('vector')!r} {kind.form.format(dim=kind.dim)}"
            )
    # An attribute is stored from its first value on: a column of nothing but nulls has no type to keep.
    rows = rows.drop_columns([field.name for field in rows.schema if pa.types.is_null(field.type)])
    own_columns = [SEQ, kinds[DENSE].spans, *(kind.column for kind in kinds.values())]
    # Columns of another generation are filled with nulls: vectors of its space are not made here.
    for name in dict.fromkeys([*own_columns, *filter(is_internal, stored.names)]):
        if name in columns:
            rows = rows.append_column(pa.field(name, columns[name].type, nullable=name != SEQ), columns[name])
        elif name in stored.names:
            rows = rows.append_column(stored.field(name), pa.nulls(n, stored.field(name).type))
    return rows


def spans_column(spans: list[list[tuple[int, int]]]) -> pa.Array:
    """Return where passages are as the table of documents keeps it."""
    return pa.array([[{"start": start, "end": end} for start, end in cuts] for cuts in spans], SPANS_TYPE)


def _content_hash(row: dict[str, Any]) -> str:
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
