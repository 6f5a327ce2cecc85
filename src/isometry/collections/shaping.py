"""Rows and foreign Arrow tables become tables of stored types; what can't be stored is named with its place.

Whole columns are converted at once by Arrow; only a column where that fails is looked at value by value.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isometry.collections import attributes
from isometry.collections.attributes import show, type_words
from isometry.errors import BadRecord, InvalidInput, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_REPORTED = 100
MAX_ID_LENGTH = 1024
ALTERNATIVE_ID = "_id"
_MISSING: Any = object()


@dataclass
class ReadReport:
    """What reading a source met so far; it is filled while the batches are consumed.

    Attributes
    ----------
    rows : int
        Records handed on.
    bad : int
        Records left out because they could not be read (only with ``on_error="skip"``).
    bad_lines : list of (int, str)
        Line, row or record number and reason of the first `MAX_REPORTED` of them.
    total : int or None
        Number of records in the source, when it is known beforehand.
    fraction : float or None
        Share of a file that was read, 0 to 1, when it is known.
    """

    rows: int = 0
    bad: int = 0
    bad_lines: list[tuple[int, str]] = field(default_factory=list)
    total: int | None = None
    fraction: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and the first bad lines as plain JSON values."""
        return {"rows": self.rows, "bad": self.bad, "bad_lines": [list(line) for line in self.bad_lines]}


@dataclass(frozen=True)
class Place:
    """Where records come from, in the words of an error: ``papers.jsonl, line 7``."""

    source: str
    unit: str = "line"

    def at(self, number: int) -> str:
        """Name one record."""
        return f"{self.source}, {self.unit} {number}"


@dataclass
class _Column:
    """What is known of a column: its type and which record showed it first."""

    dtype: pa.DataType
    seen: str = ""


_Problems = dict[int, tuple[type[InvalidInput], str]]


class Shaper:
    """Turn the records of one source into tables of stored types.

    Parameters
    ----------
    place : Place
    report : ReadReport
    on_error : {"raise", "skip"}
        Whether the first bad record ends the work or is counted and left out.
    id_field : str
        Name of the id column in the result. A column `_id` is taken for it where `id_field` is absent.
    text_fields : sequence of str
        Columns that hold text whatever their values look like.
    vector_fields : sequence of str
        Columns whose numbers are handed on as they are.
    schema : pa.Schema or None
        Columns whose types are fixed already.
    """

    def __init__(
        self,
        place: Place,
        report: ReadReport,
        *,
        on_error: str = "raise",
        id_field: str = "id",
        text_fields: Sequence[str] = (),
        vector_fields: Sequence[str] = ("vector",),
        schema: pa.Schema | None = None,
    ) -> None:
        self.place = place
        self.report = report
        self.skip = on_error == "skip"
        self.id_field = id_field
        self.vector_fields = vector_fields
        known = dict.fromkeys(text_fields, attributes.STRING)
        known.update((column.name, column.type) for column in schema or () if attributes.attribute_type(column.type))
        self.columns = {name: _Column(dtype) for name, dtype in known.items()}

    def refuse(self, number: int, reason: str, error: type[InvalidInput] = BadRecord) -> None:
        """Raise `error` for the record `number`, or count it when bad records are skipped."""
        if not self.skip:
            raise error(f"{self.place.at(number)}: {reason}")
        self.report.bad += 1
        if len(self.report.bad_lines) < MAX_REPORTED:
            self.report.bad_lines.append((number, reason))

    def rows(self, rows: list[dict[str, Any]], numbers: list[int]) -> pa.Table:
        """Turn dictionaries into a table; missing keys are null. O(rows x columns)."""
        while rows:
            problems: _Problems = {}
            names = list(dict.fromkeys(chain.from_iterable(rows)))
            self._check_row_names(rows, names, problems)
            columns: dict[str, pa.Array] = {}
            if not problems:
                for name in self._plain_names(names):
                    values = [row.get(name) for row in rows]
                    if name in self.vector_fields:
                        columns[name] = _vectors(name, values, problems)
                    else:
                        columns[name] = self._column(name, values, numbers, problems)
                if ALTERNATIVE_ID in names or self.id_field in names:
                    columns = {self.id_field: self._row_ids(rows, problems), **columns}
            if not problems:
                return self._settled(columns, numbers, len(rows))
            rows, numbers = self._drop(rows, numbers, problems)
        return pa.table({})

    def table(self, table: pa.Table, numbers: list[int]) -> pa.Table:
        """Turn an Arrow table of foreign types, whose rows have these numbers, into one of stored types."""
        while table.num_rows:
            problems: _Problems = {}
            self._check_table_names(table.column_names)
            columns: dict[str, pa.Array] = {}
            for name in self._plain_names(table.column_names):
                if name in self.vector_fields:
                    columns[name] = table[name]
                else:
                    columns[name] = self._foreign_column(name, table[name], problems)
            if ALTERNATIVE_ID in table.column_names or self.id_field in table.column_names:
                columns = {self.id_field: self._table_ids(table, problems), **columns}
            if not problems:
                return self._settled(columns, numbers, table.num_rows)
            positions = [row for row in range(table.num_rows) if row not in problems]
            _, numbers = self._drop([None] * table.num_rows, numbers, problems)
            table = table.take(pa.array(positions, pa.int64()))
        return pa.table({})

    # --- names -------------------------------------------------------------------------------------------------------

    def _plain_names(self, names: list[str]) -> list[str]:
        return [name for name in names if name not in (self.id_field, ALTERNATIVE_ID)]

    def _check_row_names(self, rows: list[dict[str, Any]], names: list[Any], problems: _Problems) -> None:
        accepted = [*self.columns, self.id_field]
        for name in names:
            if name in self.columns or name in (self.id_field, ALTERNATIVE_ID):
                continue
            reason = attributes.column_error(name, accepted)
            if reason is None and len(accepted) >= attributes.MAX_COLUMNS:
                reason = f"{show(name)} would be column {len(accepted) + 1}; at most {attributes.MAX_COLUMNS} fit"
            if reason is None:
                accepted.append(name)
                continue
            for position, row in enumerate(rows):
                if name in row:
                    problems.setdefault(position, (BadRecord, reason))
        for position, row in enumerate(rows):
            if not row:
                problems[position] = (BadRecord, "the record is empty; expected an object with at least one value")

    def _check_table_names(self, names: list[str]) -> None:
        accepted = [*self.columns, self.id_field]
        for name in names:
            if name in self.columns or name in (self.id_field, ALTERNATIVE_ID):
                continue
            if (reason := attributes.column_error(name, accepted)) is not None:
                raise SchemaMismatch(f"{self.place.source}: {reason}")
            accepted.append(name)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SchemaMismatch(f"{self.place.source}: the column {twice!r} occurs more than once; rename one of them")
        if len(accepted) > attributes.MAX_COLUMNS:
            raise SchemaMismatch(
                f"{self.place.source} would make {len(accepted)} columns; at most {attributes.MAX_COLUMNS} fit"
            )

    # --- columns -----------------------------------------------------------------------------------------------------

    def _column(self, name: str, values: list[Any], numbers: list[int], problems: _Problems) -> pa.Array:
        """Convert the values of one column, all at once where Arrow can, else one by one."""
        array = _infer(values)
        if array is not None:
            array, misfits = attributes.normalise(array)
            if not len(misfits):
                return self._fit(name, array, values, problems)
        return self._one_by_one(name, values, numbers, problems)

    def _foreign_column(self, name: str, column: pa.ChunkedArray, problems: _Problems) -> pa.Array:
        try:
            column.validate(full=True)
            array, misfits = attributes.normalise(column)
        except (pa.ArrowException, SchemaMismatch) as error:
            raise SchemaMismatch(f"{self.place.source}: column {name!r}: {error}") from None
        for row in misfits:
            problems.setdefault(int(row), (BadRecord, f"{name!r} is {column[row]}, which is beyond 64 bits"))
        return self._fit(name, array, array, problems)

    def _fit(self, name: str, array: pa.Array, values: Sequence[Any], problems: _Problems) -> pa.Array:
        """Bring an array into the column's known type and note the rows that do not fit."""
        column = self.columns.get(name)
        if column is None or column.dtype == attributes.NULL:
            return array
        fitted, misfits = attributes.fit(array, column.dtype)
        for row in misfits.tolist():
            problems.setdefault(row, (SchemaMismatch, self._mismatch(name, _plain(values[row]), column)))
        return fitted

    def _mismatch(self, name: str, value: Any, column: _Column) -> str:
        held = column.seen or f"the column holds {type_words(column.dtype)}"
        return f"{name!r} is {show(value)} ({type(value).__name__}), but {held}; change the value or leave it out"

    def _one_by_one(self, name: str, values: list[Any], numbers: list[int], problems: _Problems) -> pa.Array:
        """Convert value by value; the first value, or what is known of the column, says which type is right."""
        singles: list[pa.Array] = []
        for row, value in enumerate(values):
            single = _infer([value])
            misfits: Any = ()
            if single is not None:
                single, misfits = attributes.normalise(single)
            if single is None or len(misfits):
                problems.setdefault(row, (BadRecord, f"{name!r} {_why_not(value)}"))
                single = pa.nulls(1)
            singles.append(single)
        column = self.columns.get(name)
        if column is None or column.dtype == attributes.NULL:
            first = next((row for row, single in enumerate(singles) if single.type != attributes.NULL), None)
            if first is None:
                return pa.nulls(len(values))
            dtype = singles[first].type
            numeric = (attributes.INTEGER, attributes.FLOAT)
            if dtype in numeric and any(single.type == attributes.FLOAT for single in singles):
                dtype = attributes.FLOAT
            column = _Column(dtype, self._seen(numbers[first], dtype, values[first]))
        for row, single in enumerate(singles):
            singles[row], misfits = attributes.fit(single, column.dtype)
            if len(misfits):
                problems.setdefault(row, (SchemaMismatch, self._mismatch(name, values[row], column)))
        return pa.concat_arrays(singles)

    def _seen(self, number: int, dtype: pa.DataType, value: Any) -> str:
        return f"{self.place.unit} {number} has {show(_plain(value), 30)} and so the column holds {type_words(dtype)}"

    # --- ids ---------------------------------------------------------------------------------------------------------

    def _row_ids(self, rows: list[dict[str, Any]], problems: _Problems) -> pa.Array:
        """Return ids as text; a record without one has null, an unusable one is a problem."""
        ids: list[str | None] = []
        for position, row in enumerate(rows):
            value, other = row.get(self.id_field, _MISSING), row.get(ALTERNATIVE_ID, _MISSING)
            if self.id_field == ALTERNATIVE_ID or value is _MISSING:
                value, other = other, _MISSING
            text, reason = (None, None) if value is _MISSING else _id_text(value)
            if reason is None and other is not _MISSING and _id_text(other)[0] != text:
                reason = f"{self.id_field!r} is {show(value)} and {ALTERNATIVE_ID!r} is {show(other)}; keep one of them"
            if reason is not None:
                problems.setdefault(position, (BadRecord, reason))
                text = None
            ids.append(text)
        return pa.array(ids, pa.string())

    def _table_ids(self, table: pa.Table, problems: _Problems) -> pa.Array:
        names = [name for name in (self.id_field, ALTERNATIVE_ID) if name in table.column_names]
        dtype = table.schema.field(names[0]).type
        if pa.types.is_dictionary(dtype):
            dtype = dtype.value_type
        if len(set(names)) > 1:
            raise SchemaMismatch(f"{self.place.source} has both {names[0]!r} and {names[1]!r}; keep one of them")
        if not (pa.types.is_integer(dtype) or attributes.attribute_type(dtype) in (attributes.STRING, attributes.NULL)):
            raise SchemaMismatch(f"{self.place.source}: the id column {names[0]!r} holds {dtype}; expected text")
        ids = table[names[0]].combine_chunks().cast(pa.string())
        length = pc.fill_null(pc.utf8_length(pc.utf8_trim_whitespace(ids)), 0)
        odd = pc.or_(pc.equal(length, 0), pc.greater(length, MAX_ID_LENGTH))
        for position in np.flatnonzero(odd.to_numpy(zero_copy_only=False)).tolist():
            reason = _id_text(ids[position].as_py())[1]
            if reason is not None:
                problems.setdefault(position, (BadRecord, reason))
        return ids

    # --- results -----------------------------------------------------------------------------------------------------

    def _settled(self, columns: dict[str, pa.Array], numbers: list[int], n_rows: int) -> pa.Table:
        """Remember the types of new columns and count the rows."""
        for name, array in columns.items():
            if name == self.id_field or name in self.vector_fields:
                continue
            column = self.columns.get(name)
            if column is None or column.dtype == attributes.NULL:
                seen = ""
                if array.type != attributes.NULL:
                    row = array.is_valid().index(True).as_py()
                    seen = self._seen(numbers[row], array.type, array[row])
                self.columns[name] = _Column(array.type, seen)
        self.report.rows += n_rows
        return pa.table(columns)

    def _drop(self, rows: list[Any], numbers: list[int], problems: _Problems) -> tuple[list[Any], list[int]]:
        for position in sorted(problems):
            error, reason = problems[position]
            self.refuse(numbers[position], reason, error)
        kept = [position for position in range(len(rows)) if position not in problems]
        return [rows[position] for position in kept], [numbers[position] for position in kept]


def _infer(values: list[Any]) -> pa.Array | None:
    """Let Arrow find the type of all values; None where it can't, or where its choice would lose something."""
    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError, RecursionError):
        return None
    if attributes.attribute_type(array.type) is None:
        return None
    if pa.types.is_date(array.type) and len(values) > 1 and any(isinstance(v, datetime.datetime) for v in values):
        return None
    if pa.types.is_list(array.type) and any(isinstance(v, set | frozenset) for v in values):
        return None
    return array


def _vectors(name: str, values: list[Any], problems: _Problems) -> pa.Array:
    """Return lists of numbers as they are; integers become floats so that batches agree."""
    try:
        array = pa.array([list(v) if getattr(v, "ndim", 1) > 1 else v for v in values])
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError, RecursionError):
        array = None
    if array is not None and _holds_numbers(array.type):
        if pa.types.is_list(array.type) and pa.types.is_integer(array.type.value_type):
            array = array.cast(pa.list_(pa.float64()))
        return array
    for position, value in enumerate(values):
        if len(values) == 1:
            problems[position] = (BadRecord, f"{name!r} is {show(value)}; expected a list of numbers")
        else:
            alone: _Problems = {}
            _vectors(name, [value], alone)
            if alone:
                problems[position] = alone[0]
    if not problems:
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        raise SchemaMismatch(f"{name!r} mixes vectors of different kinds ({', '.join(kinds)}); give all the same kind")
    return pa.nulls(len(values))


def _holds_numbers(dtype: pa.DataType) -> bool:
    """Whether this is null, or a list (of lists) or struct of numbers: any of the shapes of an embedding."""
    if pa.types.is_struct(dtype):
        return dtype.num_fields > 0 and all(_holds_numbers(dtype.field(i).type) for i in range(dtype.num_fields))
    if pa.types.is_list(dtype):
        inner = dtype.value_type
        return pa.types.is_floating(inner) or pa.types.is_integer(inner) or _holds_numbers(inner)
    return pa.types.is_null(dtype)


def _id_text(value: Any) -> tuple[str | None, str | None]:
    """Return an id as text, or the reason why it is none."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(value), None
    if not isinstance(value, str):
        return None, f"the id is {show(value)} ({type(value).__name__}); expected text or an integer"
    if not value.strip():
        return None, f"the id is {value!r}, which is empty; give the record an id or leave the field out"
    if len(value) > MAX_ID_LENGTH:
        return None, f"the id {show(value)} has {len(value)} characters; at most {MAX_ID_LENGTH} are allowed"
    if not _is_utf8(value):
        return None, f"the id {show(value)} holds a lone surrogate, which UTF-8 can't store"
    return value, None


def _why_not(value: Any) -> str:
    """Say why Arrow could not store a value."""
    if isinstance(value, (int, np.integer)):
        return f"is {show(value)}, which is beyond 64 bits; store it as text"
    if isinstance(value, str):
        return f"is {show(value)}, which holds a lone surrogate that UTF-8 can't store; repair the text"
    if isinstance(value, dict):
        return f"is the nested object {show(value)}; attributes hold {attributes.SUPPORTED}; give it flat columns"
    if isinstance(value, (list, tuple, np.ndarray)):
        odd = next((item for item in value if not (item is None or (isinstance(item, str) and _is_utf8(item)))), None)
        return f"is a list with {show(odd)} ({type(odd).__name__}); lists may hold only text"
    return f"is {show(value)} of type {type(value).__name__}; attributes hold {attributes.SUPPORTED}"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any) -> Any:
    return value.as_py() if isinstance(value, pa.Scalar) else value
