"""What a document's attributes may hold, and how values of a new batch meet the columns that are stored.

====================  =============================  ============================================================
stored type           from Python and JSON           from Arrow, Parquet, pandas, polars
====================  =============================  ============================================================
``string``            str                            string, large_string, string_view, dictionary of them
``int64``             int within 64 bits             every integer type (a value above 2**63 - 1 is refused)
``float64``           float, float with int          every float type; NaN is a missing value and becomes null
``bool``              bool                           bool
``date32``            datetime.date                  date32, date64
``timestamp[us]``     datetime.datetime              every timestamp; in UTC if zoned, cut to microseconds
``list<string>``      list or tuple of str and None  every list type whose items are text
``null``              only None so far               null; the column gets its type with its first value
====================  =============================  ============================================================

A value of one type may enter a column of another only where nothing is lost: whole numbers enter a float column up
to 2**53, floats that are whole numbers enter an integer column (pandas turns integers with gaps into floats), and
ISO 8601 text enters a date or timestamp column (JSON and CSV have no dates). Everything else is a `SchemaMismatch`.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isometry.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

STRING, INTEGER, FLOAT, BOOLEAN = pa.string(), pa.int64(), pa.float64(), pa.bool_()
DATE, TIMESTAMP, STRINGS, NULL = pa.date32(), pa.timestamp("us"), pa.list_(pa.string()), pa.null()

WORDS = {
    STRING: "text",
    INTEGER: "integers",
    FLOAT: "floats",
    BOOLEAN: "booleans",
    DATE: "dates",
    TIMESTAMP: "timestamps",
    STRINGS: "lists of text",
    NULL: "nulls",
}

MAX_COLUMNS = 1000
MAX_NAME_LENGTH = 255
LARGEST_EXACT_FLOAT = 2**53
SUPPORTED = "text, integers, floats, booleans, dates, timestamps and lists of text"


def type_words(dtype: pa.DataType) -> str:
    """Say in words what a column of this type holds."""
    return WORDS.get(dtype, str(dtype))


def show(value: Any, limit: int = 60) -> str:
    """Return the ``repr`` of a value, cut so that an error message stays readable."""
    try:
        text = repr(value[: limit + 1] if isinstance(value, (str, bytes)) else value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= limit else text[:limit] + "…"


def attribute_type(dtype: pa.DataType) -> pa.DataType | None:
    """Return the stored type for an Arrow type, or None when an attribute can't hold it."""
    types = pa.types
    if types.is_dictionary(dtype):
        dtype = dtype.value_type
    if types.is_null(dtype):
        return NULL
    if types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype):
        return STRING
    if types.is_boolean(dtype):
        return BOOLEAN
    if types.is_integer(dtype):
        return INTEGER
    if types.is_floating(dtype):
        return FLOAT
    if types.is_date(dtype):
        return DATE
    if types.is_timestamp(dtype):
        return TIMESTAMP
    is_list = (
        types.is_list(dtype)
        or types.is_large_list(dtype)
        or types.is_fixed_size_list(dtype)
        or types.is_list_view(dtype)
        or types.is_large_list_view(dtype)
    )
    if is_list and attribute_type(dtype.value_type) in (STRING, NULL):
        return STRINGS
    return None


def column_error(name: Any, others: Iterable[str] = ()) -> str | None:
    """Say why `name` can't be a column beside `others`, or return None when it can.

    A name is any text of 1 to 255 characters without control characters, dots and backticks (Lance addresses nested
    fields with dots and quotes names with backticks). Names that begin with an underscore belong to the library.
    Names are case-sensitive, but two names that differ only in case are refused, because SQL folds the case of
    unquoted names.
    """
    if not isinstance(name, str):
        return f"the column name {show(name)} is of type {type(name).__name__}; expected text"
    if not name.strip():
        return f"the column name {name!r} is empty; give the column a name"
    if len(name) > MAX_NAME_LENGTH:
        return f"the column name {show(name)} has {len(name)} characters; at most {MAX_NAME_LENGTH} are allowed"
    if name.startswith("_"):
        return f"the column name {name!r} is reserved (it begins with an underscore); rename it"
    if any(character in ".`" or unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return f"the column name {name!r} holds a dot, a backtick or a control character; rename it"
    folded = name.lower()
    twin = next((other for other in others if other != name and other.lower() == folded), None)
    if twin is not None:
        return f"the column name {name!r} differs from {twin!r} only in case; rename one of them"
    return None


def normalise(column: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int64]]:
    """Turn a column into its stored type and tell which rows do not fit it.

    Parameters
    ----------
    column : Arrow array or chunked array of any type that `attribute_type` knows, n values

    Returns
    -------
    (array, rows)
        The array in its stored type, with NaN turned into null, and the positions of the values that it can't hold
        (unsigned integers above 2**63 - 1), which are null in the array. O(n).

    Raises
    ------
    SchemaMismatch
        An attribute can't hold values of this type at all.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    target = attribute_type(array.type)
    if target is None:
        raise SchemaMismatch(f"values of the Arrow type {array.type} can't be stored; attributes hold {SUPPORTED}")
    if pa.types.is_dictionary(array.type):
        array = array.dictionary.cast(target).take(array.indices)
    if pa.types.is_uint64(array.type):
        return keep(array, pc.less_equal(array, pa.scalar(2**63 - 1, pa.uint64())), target)
    cuts_nanoseconds = pa.types.is_timestamp(array.type) and array.type.unit == "ns"
    array = array.cast(target, safe=not cuts_nanoseconds)
    if target == FLOAT and pc.any(pc.is_nan(array)).as_py():
        array = pc.if_else(pc.is_nan(array), None, array)
    return array, np.empty(0, np.int64)


def keep(array: pa.Array, fits: pa.BooleanArray, target: pa.DataType) -> tuple[pa.Array, NDArray[np.int64]]:
    """Cast the values that fit, make the others null, and return both the array and the positions of the others."""
    misfits = np.flatnonzero(pc.fill_null(fits, True).to_numpy(zero_copy_only=False) == 0)
    if len(misfits):
        array = pc.if_else(fits, array, None)
    return array.cast(target), misfits


def fit(array: pa.Array, target: pa.DataType) -> tuple[pa.Array, NDArray[np.int64]]:
    """Bring an array of one stored type into a column of another, as far as nothing is lost.

    Parameters
    ----------
    array : Arrow array of a stored type, n values
    target : Arrow type
        The stored type of the column.

    Returns
    -------
    (array, rows)
        The array as `target`, and the positions of the values that do not fit, which are null in it. O(n).
    """
    source = array.type
    if source == target:
        return array, np.empty(0, np.int64)
    if source == INTEGER and target == FLOAT:
        exact = pc.and_(
            pc.greater_equal(array, -LARGEST_EXACT_FLOAT),
            pc.less_equal(array, LARGEST_EXACT_FLOAT),
        )
        return keep(array, exact, target)
    if source == FLOAT and target == INTEGER:
        exact = pc.and_(
            pc.equal(array, pc.floor(array)),
            pc.less_equal(pc.abs(array), float(LARGEST_EXACT_FLOAT)),
        )
        return keep(array, exact, target)
    if source == STRING and target in (DATE, TIMESTAMP):
        return parse_dates(array, target)
    if source == NULL:
        return pa.nulls(len(array), target), np.empty(0, np.int64)
    return pa.nulls(len(array), target), np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False))


def parse_dates(array: pa.StringArray, target: pa.DataType) -> tuple[pa.Array, NDArray[np.int64]]:
    """Read ISO 8601 text as dates or timestamps (a zone is turned into UTC); the others become null misfits."""
    zoned = pa.timestamp("us", tz="UTC")

    def parse(values: pa.Array) -> pa.Array:
        if target == DATE:
            return values.cast(DATE)
        try:
            return values.cast(TIMESTAMP)
        except pa.ArrowInvalid:
            return values.cast(zoned).cast(TIMESTAMP)

    try:
        return parse(array), np.empty(0, np.int64)
    except pa.ArrowInvalid:
        pass
    pieces, misfits = [], []
    for row in range(len(array)):
        value = array.slice(row, 1)
        try:
            pieces.append(parse(value))
        except pa.ArrowInvalid:
            pieces.append(pa.nulls(1, target))
            misfits.append(row)
    return pa.concat_arrays(pieces), np.array(misfits, np.int64)


def merge_schema(stored: pa.Schema | None, table: pa.Table, where: str) -> pa.Schema:
    """Return the schema of a collection after `table` joins it.

    Parameters
    ----------
    stored : schema or None
        The attributes stored so far; None for a new collection. Every field is an attribute.
    table : pa.Table
        The new rows, attributes only.
    where : str
        What the rows are called in an error, such as a file name.

    Returns
    -------
    pa.Schema
        The stored fields in their order, then the new ones, all nullable. A field of type null takes the type of
        its first value. Columns that `table` lacks stay as they are.

    Raises
    ------
    SchemaMismatch
        A column name is not allowed, there are more than `MAX_COLUMNS`, or a value does not fit the stored type.
    """
    fields = {field.name: field for field in stored} if stored is not None else {}
    for name in table.column_names:
        if (reason := column_error(name, fields)) is not None:
            raise SchemaMismatch(f"{where}: {reason}")
        if table.column_names.count(name) > 1:
            raise SchemaMismatch(f"{where}: the column {name!r} occurs more than once; rename one of them")
        known = fields.get(name)
        array = fitted(table[name], known.type if known is not None else NULL, name, where)
        if known is None or known.type == NULL:
            fields[name] = pa.field(name, array.type, nullable=True)
    if len(fields) > MAX_COLUMNS:
        raise SchemaMismatch(
            f"{where}: the collection would have {len(fields)} columns; at most {MAX_COLUMNS} are allowed; "
            "keep rarely used values together in one text column"
        )
    return pa.schema(list(fields.values()), metadata=stored.metadata if stored is not None else None)


def coerce(table: pa.Table, schema: pa.Schema, where: str = "the table") -> pa.Table:
    """Return `table` with exactly the columns and types of `schema`; absent columns are null.

    Raises
    ------
    SchemaMismatch
        A value does not fit its column, or the table has a column that the schema lacks; `merge_schema` first.
    """
    if unknown := [name for name in table.column_names if name not in schema.names]:
        raise SchemaMismatch(f"{where}: the column {unknown[0]!r} is not in the schema; merge the schemas first")
    columns = [
        fitted(table[field.name], field.type, field.name, where)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def fitted(column: pa.ChunkedArray, target: pa.DataType, name: str, where: str) -> pa.Array:
    """Normalise a column and fit it to `target` (null: any type), or raise `SchemaMismatch` naming the first misfit."""
    try:
        array, misfits = normalise(column)
    except (SchemaMismatch, pa.ArrowInvalid) as error:
        raise SchemaMismatch(f"{where}: column {name!r}: {error}") from None
    if len(misfits):
        raise SchemaMismatch(f"{where}: {misfit(name, column[misfits[0]].as_py(), int(misfits[0]) + 1, INTEGER)}")
    if target == NULL:
        return array
    result, misfits = fit(array, target)
    if len(misfits):
        raise SchemaMismatch(f"{where}: {misfit(name, array[misfits[0]].as_py(), int(misfits[0]) + 1, target)}")
    return result


def misfit(name: str, value: Any, row: int, target: pa.DataType) -> str:
    """Say that the value of one row does not fit its column."""
    return (
        f"row {row}: {name!r} is {show(value)} ({type(value).__name__}), but the column holds {type_words(target)}; "
        "change the value or leave it out"
    )
