"""User-written filters, checked before a scan: SQL text or a pyarrow expression over the attributes.

SQL text is the condition after ``WHERE`` in Lance's dialect. Names are found whatever their case; names with spaces or
other signs stand in backticks; text stands in single (or double) quotes, a quote inside is doubled::

    year >= 2019 and venue = 'ACL'              `first author` like 'O''%'         venue in ('ACL', 'EMNLP')
    day between date '2020-01-01' and date '2020-12-31'      added >= timestamp '2024-05-01 12:00:00'
    array_has(authors, 'Ada')                   venue is null                      lower(title) like '%graph%'

A comparison with a missing value is neither true nor false, so ``venue != 'ACL'`` and ``not (venue = 'ACL')`` both
leave out rows without a venue; add ``or venue is null`` to keep them.

A `pyarrow.compute.Expression` is typed and therefore the safe way for values that come from elsewhere:
``(pc.field("year") >= 2019) & pc.field("venue").isin(names)``. Names are matched exactly, dates are Python dates, and
nulls behave as in SQL. Lance takes the functions in `EXPRESSION_FUNCTIONS`; others need SQL text.

Only what depends on the row alone is allowed: no aggregates, subqueries, clocks or random numbers. Planning is left
to Lance; the look at the tokens before it refuses what Lance would silently ignore (text after the condition), crash
on (placeholders, very deep nesting) or take in another meaning than the user's (double-quoted column names).
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from isometry.collections.attributes import attribute_type, show, type_words
from isometry.errors import FilterError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

__all__ = ["EXPRESSION_FUNCTIONS", "FUNCTIONS", "Where", "check_where", "filter_errors"]

MAX_LENGTH = 65_536
MAX_HEIGHT = 100
"""Deepest nesting and longest chain of operators; Lance's planner overflows the stack at about three times as much."""
MAX_DEPTH = 40
MAX_EXPRESSION_BYTES = 2**28
"""Arrow's Substrait writer doubles the size of an expression with every level of nesting."""

FUNCTIONS = frozenset(
    {
        "abs",
        "array_contains",
        "array_has",
        "array_has_all",
        "array_has_any",
        "array_length",
        "btrim",
        "cardinality",
        "cast",
        "ceil",
        "char_length",
        "character_length",
        "coalesce",
        "concat",
        "contains",
        "date_part",
        "date_trunc",
        "empty",
        "ends_with",
        "floor",
        "isnan",
        "left",
        "length",
        "list_contains",
        "list_has",
        "list_has_all",
        "list_has_any",
        "lower",
        "ltrim",
        "make_array",
        "mod",
        "nullif",
        "octet_length",
        "regexp_like",
        "reverse",
        "right",
        "round",
        "rtrim",
        "sign",
        "split_part",
        "sqrt",
        "starts_with",
        "strpos",
        "substr",
        "substring",
        "to_date",
        "to_timestamp",
        "trim",
        "try_cast",
        "upper",
    }
)
"""Functions of SQL text: those that look at one row, change nothing and make no large values."""

EXPRESSION_FUNCTIONS = frozenset(
    {
        "abs",
        "add",
        "add_checked",
        "coalesce",
        "divide",
        "divide_checked",
        "ends_with",
        "if_else",
        "invert",
        "is_in",
        "is_nan",
        "is_null",
        "is_valid",
        "match_substring",
        "multiply",
        "multiply_checked",
        "negate",
        "negate_checked",
        "starts_with",
        "subtract",
        "subtract_checked",
    }
)
"""Functions of a pyarrow expression that Lance takes in their meaning, besides comparisons and ``& | ~``."""

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*') | (?P<double>"(?:[^"]|"")*") | (?P<name>`[^`]*`) | (?P<word>\w+)
      | (?P<comment>--|/\*) | (?P<cast>::) | (?P<space>\s+) | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_BEFORE_PARENTHESIS = frozenset(
    {
        "all",
        "and",
        "any",
        "between",
        "case",
        "decimal",
        "else",
        "in",
        "is",
        "like",
        "not",
        "or",
        "then",
        "timestamp",
        "when",
    }
)
_CLOCKS = frozenset(
    {
        "current_date",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
        "now",
        "today",
    }
)
_VALUES = re.compile(r'"(?:[^"\\]|\\.)*"|\{value_set=.*?\], null_matching_behavior=\w+\}', re.DOTALL)
_PREFIX = "SELECT 1 FROM t WHERE ("
_LANCE_NOISE = re.compile(r", /\S*?\.rs:\d+:\d+\)?|^(Invalid user input|Schema error|Not supported|External error): ")


@dataclass(frozen=True)
class Where:
    """A filter that was checked against a schema.

    Attributes
    ----------
    scan_filter : str or pyarrow.compute.Expression
        What ``lance.LanceDataset.scanner(filter=...)`` takes. Text stands in parentheses, so that it can be combined.
    key : hashable
        Equal for equal filters, for caches.
    """

    scan_filter: str | pc.Expression
    key: Hashable

    def __str__(self) -> str:
        return str(self.scan_filter)


def check_where(where: str | pc.Expression | None, schema: pa.Schema) -> Where | None:
    """Check a filter against the attributes and return what the scanner takes; None stays None.

    Parameters
    ----------
    where : str, pyarrow.compute.Expression or None
        A condition, see the head of this module.
    schema : pa.Schema
        The columns that users may name. Columns that begin with an underscore are out of reach.

    Returns
    -------
    Where or None

    Raises
    ------
    FilterError
        The filter is too long or too deep, can't be parsed, names an unknown column or function, compares unlike
        types or is no condition. The message quotes the filter, says where it fails and what is known.

    Notes
    -----
    About 1 ms, as Lance plans the filter over an empty table of the same schema. Errors that depend on values, such as
    a division by zero, appear in the scan only: wrap that in `filter_errors`.
    """
    if where is None:
        return None
    visible = pa.schema([field for field in schema if not field.name.startswith("_")])
    if isinstance(where, str):
        _check_text(where, visible)
        checked = Where(f"({where})", ("sql", where))
    elif isinstance(where, pc.Expression):
        checked = Where(where, ("expression", _check_expression(where)))
    else:
        raise FilterError(
            f'where is {show(where)} of type {type(where).__name__}; expected SQL text such as "year >= 2019" or a '
            'pyarrow expression such as pc.field("year") >= 2019'
        )
    try:
        _empty_dataset(visible).scanner(filter=checked.scan_filter).explain_plan()
    except (ValueError, RuntimeError, pa.ArrowException, OSError) as error:
        raise FilterError(_explain(str(error), str(where), visible)) from None
    return checked


@contextmanager
def filter_errors(where: Where | None) -> Iterator[None]:
    """Turn errors that a filter causes on stored values (division by zero, failed casts) into `FilterError`."""
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        if where is None or "applying filter expression" not in str(error):
            raise
        reason = _clean(str(error)).rpartition("Arrow error: ")[2]
        raise FilterError(f"the filter {show(str(where), 200)} fails on a stored value: {reason}") from None


@lru_cache(maxsize=16)
def _empty_dataset(schema: pa.Schema) -> Any:
    """Return an empty in-memory table on which Lance can plan."""
    import lance

    fields = [field if attribute_type(field.type) else pa.field(field.name, pa.binary()) for field in schema]
    return lance.write_dataset(pa.schema(fields).empty_table(), "memory://")


def _check_text(text: str, schema: pa.Schema) -> None:
    """Refuse what Lance's parser would ignore, misread or crash on."""
    if len(text) > MAX_LENGTH:
        raise FilterError(f"the filter has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    if not text.strip():
        raise FilterError('the filter is empty; give a condition such as "year >= 2019", or None for all rows')
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FilterError(f"the filter {show(text)} holds a lone surrogate, which UTF-8 can't store") from None

    def fail(position: int, reason: str) -> FilterError:
        return FilterError(f"the filter {show(text, 200)} fails at character {position + 1}: {reason}")

    tokens = [match for match in _TOKEN.finditer(text) if match.lastgroup != "space"]
    columns = {name.lower(): name for name in schema.names}
    open_at: list[int] = []
    heights, chains = [0], [0]
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        kind, value, at = token.lastgroup, token[0], token.start()
        calls = following is not None and following[0] == "("
        chains[-1] += 1
        if kind == "comment":
            raise fail(at, f"comments ({value}) are not allowed")
        if kind == "double" and value[1:-1].lower() in columns:
            name = columns[value[1:-1].lower()]
            raise fail(at, f"double quotes hold text here; the column is written `{name}`, text as '{name}'")
        if kind in ("word", "name") and value.strip("`").startswith("_"):
            raise fail(at, f"{value} is reserved; the columns are {_listed(schema)}")
        if kind == "name" and calls:
            raise fail(at, f"{value} can't be called; functions stand without backticks")
        if kind == "word":
            _check_word(value, calls, following, token, columns, fail)
            if value.lower() in ("and", "or"):
                heights[-1], chains[-1] = max(heights[-1], chains[-1]), 0
        if kind == "sign":
            if value in "'\"`":
                raise fail(at, f"the quote {value} is never closed; double a quote that belongs to the text")
            if value in ";$?@#{}\\:~" or not (value.isprintable() or value.isspace()):
                raise fail(at, f"{value!r} is not allowed outside quotes")
            if value == "(":
                open_at.append(at)
                heights.append(0)
                chains.append(0)
            elif value == ")":
                if not open_at:
                    raise fail(at, "this closing parenthesis was never opened")
                open_at.pop()
                inner = max(heights.pop(), chains.pop())
                chains[-1] += inner
            elif value == ",":
                heights[-1], chains[-1] = max(heights[-1], chains[-1]), 0
        if len(open_at) > MAX_DEPTH or sum(chains) > MAX_HEIGHT:
            raise fail(at, "the condition is nested too deeply; use 'in (...)' or split it with and / or")
    if open_at:
        raise fail(open_at[-1], "this parenthesis is never closed")


def _check_word(value: str, calls: bool, following: Any, token: Any, columns: dict[str, str], fail: Any) -> None:
    """Refuse unknown functions, clocks and literals with a prefix."""
    word, at = value.lower(), token.start()
    prefixes = following is not None and following.lastgroup == "text" and following.start() == token.end()
    if prefixes and word in ("n", "x", "b", "r", "e", "u", "rb", "br"):
        raise fail(at, f"{value}'...' is not allowed; write the text without the prefix")
    if word in _CLOCKS and word not in columns:
        raise fail(at, f"{value} changes between calls; put the date or time itself, as in date '2024-12-31'")
    if calls and word not in FUNCTIONS and word not in _BEFORE_PARENTHESIS:
        raise fail(at, f"{value} is not an allowed function{did_you_mean(word, FUNCTIONS)}")


def _check_expression(expression: pc.Expression) -> bytes:
    """Refuse what Lance would take in another meaning; return bytes that are equal for equal expressions."""
    printed = str(expression)
    shape = _VALUES.sub('""', printed)
    shown = show(printed, 200)
    for function in re.findall(r"\b([a-z_0-9]+)\(", shape):
        if function not in EXPRESSION_FUNCTIONS:
            raise FilterError(
                f"the filter {shown} uses {function}, which can't be passed on; use SQL text"
                f"{did_you_mean(function, EXPRESSION_FUNCTIONS)}"
            )
    if "ignore_case=true" in shape or "nan_is_null=true" in shape:
        raise FilterError(f"the filter {shown} sets an option that can't be passed on; use SQL text, as in lower(...)")
    if "FieldPath(" in shape or "FieldRef." in shape:
        raise FilterError(f"the filter {shown} names a column by position or inside another; name a whole column")
    depth = deepest = 0
    for sign in re.findall(r"[()]", shape):
        depth += 1 if sign == "(" else -1
        deepest = max(deepest, depth)
    key = bytes(expression.__reduce__()[1][0])
    if len(key) << deepest > MAX_EXPRESSION_BYTES:
        raise FilterError(
            f"the filter {shown} is nested {deepest} deep, which is too much; use isin(...) for many values of "
            "one column, or SQL text"
        )
    return key


def _explain(error: str, where: str, schema: pa.Schema) -> str:
    """Say in the user's terms what Lance or Arrow found wrong."""
    head = f"the filter {show(where, 200)}"
    if found := re.search(r'No field named ("(?:[^"]|"")*"|[^\s,]+?)\.?(?: |$)|FieldRef\.Name\((.*?)\) in ', error):
        name = (found[1] or found[2]).rstrip(".").strip('"').replace('""', '"')
        return f"{head} names the unknown column {name!r}{did_you_mean(name, schema.names)}; columns: {_listed(schema)}"
    if found := re.search(r"Received literal (.*?) and could not convert to literal of type '(.*?)[('{]", error + "'"):
        return f"{head} compares {_literal(found[1])} with {_lance_type(found[2])}"
    if found := re.search(r"no kernel matching input types \((.*?)\)|type of values set: (.*)", error):
        return f"{head} compares unlike types: {found[1] or found[2]}"
    if "unsafe casts" in error:
        return f"{head} compares a column with a value of another type; give a value of the column's own type"
    if "return a boolean" in error or "must return BOOLEAN" in error:
        return f'{head} is no condition; expected one that is true or false, such as "year >= 2019"'
    if found := re.search(r"\(sql parser error: (.*?)\), /|tokenizing statement: .*\((.*?)\), /", error, re.DOTALL):
        reason = found[1] or found[2]
        if place := re.search(r" at Line: 1, Column: (\d+)", reason):
            reason = reason.replace(place[0], f" at character {max(1, int(place[1]) - len(_PREFIX))}")
        if ")" not in where:
            reason = reason.replace("found: )", "found: the end").replace("Expected: ),", "Expected: the end,")
        return f"{head} can't be parsed: {reason.replace('EOF', 'the end')}"
    return f"{head} is not understood: {_clean(error)}"


def _literal(literal: str) -> str:
    found = re.fullmatch(r"(\w+)\((.*)\)", literal, re.DOTALL)
    return found[2] if found else literal


def _lance_type(name: str) -> str:
    if name == "Date32":
        return "dates; write date '2024-12-31'"
    if name == "Timestamp":
        return "timestamps; write timestamp '2024-12-31 12:00:00'"
    if name == "List":
        return "lists of text; write array_has(column, 'value')"
    words = {"Int64": "integers", "Float64": "floats", "Utf8": "text; quote it", "Boolean": "booleans", "Null": "nulls"}
    return words.get(name, name)


def _clean(error: str) -> str:
    """Strip the Rust source positions and the stacked prefixes from an error."""
    previous = None
    while previous != error:
        previous, error = error, _LANCE_NOISE.sub("", error).strip()
    return re.split(r"\n| No function matches", error, maxsplit=1)[0][:500]


def _listed(schema: pa.Schema) -> str:
    names = [f"{field.name} ({type_words(field.type)})" for field in schema]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
