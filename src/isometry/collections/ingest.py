"""From a batch of records to rows of the table: ids, attribute types, passages, vectors."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isometry.collections.attributes import coerce, merge_schema
from isometry.collections.table import ID, SEQ, SPANS, VECTORS, internal_fields, is_internal
from isometry.collections.texts import encode_passages
from isometry.errors import DuplicateIds, InvalidInput
from isometry.vectors import MultiVectors, as_dense, from_arrow, to_arrow

if TYPE_CHECKING:
    from isometry.collections.manifest import Manifest
    from isometry.collections.table import DocumentTable
    from isometry.encoders import Encoder, Progress

__all__ = ["VECTOR_FIELD", "check_distinct", "shape_rows", "user_vectors", "with_ids"]

VECTOR_FIELD = "vector"
"""Records may bring their own vectors in a column of this name."""

_ROWS_PER_WRITE = 1 << 32
_SHOWN = 3


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


def user_vectors(records: pa.Table, given: Any, dim: int | None) -> tuple[pa.Table, MultiVectors | None]:
    """Take the caller's own vectors: the argument or the column ``vector``; one or several per record.

    Raises
    ------
    InvalidInput, DimensionMismatch
        Vectors that do not fit the records or the collection.
    """
    name = "vectors"
    if VECTOR_FIELD in records.column_names:
        if given is not None:
            raise InvalidInput(f"vectors are given twice: as an argument and in the column {VECTOR_FIELD!r}; drop one")
        given = from_arrow(records[VECTOR_FIELD], name=VECTOR_FIELD)
        records = records.drop_columns([VECTOR_FIELD])
        name = VECTOR_FIELD
    if given is None:
        return records, None
    if not isinstance(given, MultiVectors):
        dense = as_dense(given, name=name)
        given = MultiVectors(dense, np.arange(len(dense) + 1))
    if len(given) != len(records):
        raise InvalidInput(f"{len(given)} vectors came with {len(records)} records; expected as many")
    as_dense(given.tokens[:1], dim=dim, name=name)
    return records, given


def shape_rows(
    records: pa.Table,
    table: DocumentTable,
    manifest: Manifest,
    encoder: Encoder | None,
    vectors: MultiVectors | None,
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
    encoder : Encoder or None
        Encodes the texts when no vectors are given.
    vectors : MultiVectors or None
        The caller's own.
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
    extra: dict[str, Any] = {SEQ: pa.array(np.arange(n) + (table.version + 1) * _ROWS_PER_WRITE)}
    if vectors is None and encoder is not None:
        present = [name for name in manifest.text_fields if name in rows.column_names]
        if not present:
            raise InvalidInput(
                f"{where} has none of the text fields {', '.join(manifest.text_fields)}; its columns are "
                f"{', '.join(rows.column_names)}; create the collection with text_fields= naming what to encode"
            )
        spans, vectors = encode_passages(encoder, rows, present, manifest.passages, progress)
        extra[SPANS] = [[{"start": start, "end": end} for start, end in cuts] for cuts in spans]
    dim = table.dim or manifest.dim
    if vectors is None and dim is not None:
        raise InvalidInput(
            f"{where} has no vectors and the collection has no encoder to make them; pass vectors= or a column "
            f"{VECTOR_FIELD!r} with {dim} numbers per record"
        )
    if vectors is not None:
        extra[VECTORS] = to_arrow(vectors)
    # An attribute is stored from its first value on: a column of nothing but nulls has no type to keep.
    rows = rows.drop_columns([field.name for field in rows.schema if pa.types.is_null(field.type)])
    for field in internal_fields(vectors.dim if vectors is not None else 1):
        if field.name in extra:
            values = extra[field.name]
            values = values if isinstance(values, pa.Array) else pa.array(values, field.type)
            rows = rows.append_column(field, values.cast(field.type))
        elif field.name in stored.names:
            rows = rows.append_column(stored.field(field.name), pa.nulls(n, stored.field(field.name).type))
    return rows


def _content_hash(row: dict[str, Any]) -> str:
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
