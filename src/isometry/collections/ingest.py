"""From a batch of records to rows of the table: ids, attribute types, passages, vectors."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isometry.collections.attributes import coerce, merge_schema
from isometry.collections.table import ID, SEQ, SPANS, SPARSE, VECTORS, internal_fields, is_internal
from isometry.collections.texts import encode_passages, encode_whole
from isometry.errors import DuplicateIds, InvalidInput
from isometry.indexes.sparse import check_weights
from isometry.vectors import MultiVectors, as_dense, as_sparse, from_arrow, take, to_arrow

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from isometry.collections.manifest import Manifest
    from isometry.collections.table import DocumentTable
    from isometry.encoders import Encoder, Progress

__all__ = ["VECTOR_FIELDS", "Encoders", "Given", "check_distinct", "shape_rows", "user_vectors", "with_ids"]

VECTOR_FIELD, SPARSE_FIELD = VECTOR_FIELDS = ("vector", "sparse_vector")
"""Records may bring their own vectors in columns of these names."""

_ROWS_PER_WRITE = 1 << 32
_SHOWN = 3


class Given(NamedTuple):
    """The caller's own vectors; of each kind None where there are none."""

    dense: Any = None
    sparse: Any = None

    def rows(self, rows: slice | NDArray[np.int64]) -> Given:
        """Return the vectors of some records."""
        return Given(*(None if vectors is None else take(vectors, rows) for vectors in self))

    def counts(self) -> dict[str, int]:
        """Return how many there are, by what the caller calls them."""
        named = zip(("vectors", "sparse_vectors"), self, strict=True)
        return {
            name: vectors.shape[0] if hasattr(vectors, "shape") else len(vectors)
            for name, vectors in named
            if vectors is not None
        }


class Encoders(NamedTuple):
    """What encodes the texts of a batch; of each kind None where vectors are given, or not wanted."""

    dense: Encoder | None
    sparse: Encoder | None


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


def user_vectors(records: pa.Table, given: Given, dim: int | None, sparse_dim: int | None) -> tuple[pa.Table, Given]:
    """Take the caller's own vectors: the arguments or the columns ``vector`` and ``sparse_vector``.

    Returns
    -------
    records : pa.Table
        Without these columns.
    given : Given
        Dense ones as `MultiVectors`, one or several per record; sparse ones as a CSR array, one per record.

    Raises
    ------
    InvalidInput, DimensionMismatch
        Vectors that do not fit the records or the collection.
    """
    dense, sparse = given
    dense, name, records = _column_or(dense, "vectors", VECTOR_FIELD, None, records)
    if dense is not None:
        if not isinstance(dense, MultiVectors):
            one_each = as_dense(dense, name=name)
            dense = MultiVectors(one_each, np.arange(len(one_each) + 1))
        as_dense(dense.tokens[:1], dim=dim, name=name)
    if sparse_dim is not None:
        sparse, name, records = _column_or(sparse, "sparse_vectors", SPARSE_FIELD, sparse_dim, records)
    if sparse is not None:
        sparse = as_weights(sparse, sparse_dim, name)
    for name, count in Given(dense, sparse).counts().items():
        if count != len(records):
            raise InvalidInput(f"{count} {name} came with {len(records)} records; expected as many")
    return records, Given(dense, sparse)


def _column_or(given: Any, name: str, field: str, dim: int | None, records: pa.Table) -> tuple[Any, str, pa.Table]:
    """Return the vectors of an argument or a column, what to call them, and the records without the column."""
    if field not in records.column_names:
        return given, name, records
    if given is not None:
        raise InvalidInput(f"{name} are given twice: as an argument and in the column {field!r}; drop one")
    return from_arrow(records[field], dim=dim, name=field), field, records.drop_columns([field])


def as_weights(x: Any, dim: int | None, name: str) -> csr_array:
    """Return sparse vectors as a collection stores them: canonical, with weights above 0.

    Raises
    ------
    InvalidInput, DimensionMismatch
        What no sparse index takes, and where the collection has no sparse vectors.
    """
    if dim is None:
        raise InvalidInput(
            f"{name} are given, but the collection has no sparse vectors; create it with sparse_dim= (the size of the "
            "vocabulary) or sparse_encoder="
        )
    return check_weights(as_sparse(x, dim=dim, name=name), name)


def shape_rows(
    records: pa.Table,
    table: DocumentTable,
    manifest: Manifest,
    encoders: Encoders,
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
    encoders : Encoders
        Encode the texts where no vectors are given.
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
    extra: dict[str, Any] = {SEQ: pa.array(np.arange(n) + (table.version + 1) * _ROWS_PER_WRITE)}
    vectors, weights = given
    present = [name for name in manifest.text_fields if name in rows.column_names]
    if any(encoders) and not present:
        raise InvalidInput(
            f"{where} has none of the text fields {', '.join(manifest.text_fields)}; its columns are "
            f"{', '.join(rows.column_names)}; create the collection with text_fields= naming what to encode"
        )
    if vectors is None and encoders.dense is not None:
        spans, vectors = encode_passages(encoders.dense, rows, present, manifest.passages, progress)
        extra[SPANS] = [[{"start": start, "end": end} for start, end in cuts] for cuts in spans]
    dim = table.dim or manifest.dim
    if vectors is None and dim is not None:
        raise InvalidInput(
            f"{where} has no vectors and the collection has no encoder to make them; pass vectors= or a column "
            f"{VECTOR_FIELD!r} with {dim} numbers per record"
        )
    if vectors is not None:
        extra[VECTORS] = to_arrow(vectors)
    if weights is None and encoders.sparse is not None:
        weights = encode_whole(encoders.sparse, rows, present, manifest.passages, progress)
        weights = as_weights(weights, manifest.sparse_dim, f"what {encoders.sparse.fingerprint} made of {where}")
    if weights is None and manifest.sparse_dim is not None:
        raise InvalidInput(
            f"{where} has no sparse vectors and the collection has no encoder to make them; pass sparse_vectors= or a "
            f"column {SPARSE_FIELD!r} with indices and values"
        )
    if weights is not None:
        extra[SPARSE] = to_arrow(weights)
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
