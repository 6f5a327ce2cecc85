"""Comma- and tab-separated files: one pass finds the column types, a second yields typed batches.

Types are decided over the whole file, so that a late value can't contradict an early guess: a column is `int64` when
every value is a whole number without leading zeros within 64 bits, `float64` when every value is a number and at
least one has a point or an exponent, `bool` when every value is true or false, and text otherwise (ISO dates stay
text, zip codes and long numbers keep their digits). An empty field is null; a quoted empty one (``""``) is empty text.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from isometry.collections import attributes
from isometry.errors import BadRecord, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    Refuse = Callable[[int, str], None]

BLOCK_BYTES = 32 * 2**20

_INTEGER = r"^-?(0|[1-9][0-9]{0,18})$"
_WHOLE = r"^[-+]?[0-9]+$"
_NUMBER = r"^[-+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]+)?$"
_BOOLEAN = r"^([Tt]rue|TRUE|[Ff]alse|FALSE)$"


class CsvFile:
    """A file of separated values with a header.

    Parameters
    ----------
    source : str
        Name in errors.
    open_stream : callable
        Opens the file's bytes from the start; called three times.
    delimiter : str
        Fields of comma-separated files may be quoted with ``"``; tab-separated ones know no quotes.
    refuse : callable
        Takes (line, reason) of each row that can't be read; may raise.
    text_columns : collection of str
        Columns that are text whatever they look like.
    """

    def __init__(
        self,
        source: str,
        open_stream: Callable[[], BinaryIO],
        delimiter: str,
        refuse: Refuse,
        text_columns: Collection[str],
    ) -> None:
        self.source = source
        self.open_stream = open_stream
        self.delimiter = delimiter
        self.quoted = delimiter == ","
        self.refuse = refuse
        self.text_columns = text_columns
        self.names = self._header()

    def batches(self) -> Iterator[tuple[pa.Table, list[int]]]:
        """Yield tables of at most one block of `BLOCK_BYTES`, each with the line on which its rows begin."""
        guesses = {name: _Guess() for name in self.names if name not in self.text_columns}
        for table, _ in self._texts(lambda line, reason: None):
            for name, guess in guesses.items():
                guess.look(table[name])
        types = {name: guesses[name].dtype() if name in guesses else attributes.STRING for name in self.names}
        for table, lines in self._texts(self.refuse):
            yield pa.table({name: _typed(table[name], types[name]) for name in self.names}), lines

    def _header(self) -> list[str]:
        with io.TextIOWrapper(self.open_stream(), encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            dialect = "excel" if self.quoted else _Unquoted
            try:
                names = next(csv.reader(text, dialect), None)
            except csv.Error as error:
                raise BadRecord(f"{self.source}, line 1: the header can't be read: {error}") from None
        if not names:
            raise InvalidInput(f"{self.source} has no header; the first line must name the columns")
        for position, name in enumerate(names):
            if "\0" in name or any("\udc80" <= character <= "\udcff" for character in name):
                raise BadRecord(f"{self.source}, line 1: the header is not UTF-8; save the file as UTF-8")
            if not name.strip():
                raise InvalidInput(
                    f"{self.source}: column {position + 1} has no name in the header; name it or drop it "
                    "(pandas: to_csv(..., index=False))"
                )
            if names.index(name) < position:
                raise InvalidInput(f"{self.source}: the header names {name!r} twice; rename one of them")
        if len(names) == 1 and any(other in names[0] for other in ";\t|,"):
            raise InvalidInput(
                f"{self.source}: the header is one column, {names[0]!r}; expected columns separated by "
                f"{self.delimiter!r}; convert the file (tab-separated files are named .tsv)"
            )
        return names

    def _texts(self, refuse: Refuse) -> Iterator[tuple[pa.Table, list[int]]]:
        """Yield every block as text columns with the line numbers of its rows."""
        ragged: dict[int, pacsv.InvalidRow] = {}

        def set_aside(row: pacsv.InvalidRow) -> str:
            ragged[row.number] = row
            return "skip"

        record, line, tail = 2, 2, _Tail(self.open_stream())
        with tail:
            last: pa.Table | None = None
            for block in self._blocks(tail, set_aside):
                table = pa.table([block.column(i) for i in range(len(self.names))], names=self.names)
                breaks = _line_breaks(table)
                lines, empty = [], _is_empty(table)
                for extra, blank in zip(breaks.tolist(), empty.tolist(), strict=True):
                    while record in ragged:
                        line += self._ragged(ragged.pop(record), line, refuse)
                        record += 1
                    lines.append(0 if blank else line)
                    line += 1 + extra
                    record += 1
                last = table if table.num_rows else last
                yield _decode(table, lines, refuse)
            for row in [ragged[number] for number in sorted(ragged)]:
                line += self._ragged(row, line, refuse)
        if self.quoted and last is not None:
            self._check_closed(last, tail.end, line)

    def _blocks(self, stream: _Tail, set_aside: Callable[[pacsv.InvalidRow], str]) -> Iterator[pa.RecordBatch]:
        try:
            yield from pacsv.open_csv(
                stream,
                read_options=pacsv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.delimiter,
                    quote_char='"' if self.quoted else False,
                    newlines_in_values=self.quoted,
                    ignore_empty_lines=False,
                    invalid_row_handler=set_aside,
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(self.names, pa.binary()),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            if "straddling" in str(error):
                raise BadRecord(
                    f"{self.source} has a row longer than {BLOCK_BYTES // 2**20} MiB, or a quote that is never closed"
                ) from None
            raise BadRecord(f"{self.source}: {error}") from None

    def _ragged(self, row: pacsv.InvalidRow, line: int, refuse: Refuse) -> int:
        """Refuse a row with the wrong number of fields, and return how many lines it takes."""
        if row.text.strip():
            refuse(
                line,
                f"{row.actual_columns} fields where the header has {row.expected_columns}: "
                f"{attributes.show(row.text)}; quote fields that hold {self.delimiter!r}"
                if self.quoted
                else f"{row.actual_columns} fields where the header has {row.expected_columns}: "
                f"{attributes.show(row.text)}",
            )
        return 1 + (row.text.count("\n") if self.quoted else 0)

    def _check_closed(self, last: pa.Table, end: bytes, line: int) -> None:
        """Refuse a file whose last field swallowed lines because its quote is never closed."""
        value = last.column(last.num_columns - 1)[-1].as_py() or b""
        if b"\n" in value and not end.rstrip(b"\r\n").endswith(b'"'):
            opened = line - 1 - value.count(b"\n")
            raise BadRecord(
                f"{self.source}, line {opened}: a quote is opened and never closed; "
                "double the quotes inside quoted fields"
            )


class _Unquoted(csv.excel_tab):
    """Tab-separated values as their standard has them: a quote is a character like others."""

    quoting = csv.QUOTE_NONE


class _Guess:
    """Which types still fit every value of a column."""

    def __init__(self) -> None:
        self.fits = {attributes.INTEGER: True, attributes.FLOAT: True, attributes.BOOLEAN: True}
        self.values = False
        self.fraction = False

    def look(self, column: pa.ChunkedArray) -> None:
        self.values |= column.null_count < len(column)
        for dtype, pattern in (
            (attributes.INTEGER, _INTEGER),
            (attributes.FLOAT, _NUMBER),
            (attributes.BOOLEAN, _BOOLEAN),
        ):
            if self.fits[dtype]:
                self.fits[dtype] = _all(pc.match_substring_regex(column, pattern))
        if self.fits[attributes.INTEGER]:
            try:
                column.cast(attributes.INTEGER)
            except pa.ArrowInvalid:
                self.fits[attributes.INTEGER] = False
        if self.fits[attributes.FLOAT] and not self.fits[attributes.INTEGER]:
            whole = pc.match_substring_regex(column, _WHOLE)
            self.fraction |= not _all(whole)
            odd = pc.and_(whole, pc.invert(pc.match_substring_regex(column, _INTEGER)))
            self.fits[attributes.FLOAT] = not pc.any(odd).as_py()

    def dtype(self) -> pa.DataType:
        if not self.values:
            return attributes.NULL
        if self.fits[attributes.INTEGER]:
            return attributes.INTEGER
        if self.fits[attributes.FLOAT] and self.fraction:
            return attributes.FLOAT
        return attributes.BOOLEAN if self.fits[attributes.BOOLEAN] else attributes.STRING


class _Tail(io.RawIOBase):
    """Pass bytes through and remember the last ones."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.end = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.end = (self.end + data[-8:])[-8:]
        return data

    def close(self) -> None:
        self.stream.close()
        super().close()


def _all(matches: pa.ChunkedArray) -> bool:
    return pc.all(matches).as_py() is not False


def _typed(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    if dtype == attributes.NULL:
        return pa.chunked_array([pa.nulls(len(column))])
    if dtype == attributes.BOOLEAN:
        return pc.utf8_lower(column).cast(dtype)
    return column.cast(dtype)


def _line_breaks(table: pa.Table) -> np.ndarray:
    """Count the line breaks inside the fields of each row."""
    breaks = np.zeros(table.num_rows, np.int64)
    for column in table.columns:
        breaks += pc.fill_null(pc.count_substring(column, b"\n"), 0).to_numpy()
    return breaks


def _is_empty(table: pa.Table) -> np.ndarray:
    """Tell which rows have no value in any column: blank lines and rows of separators only."""
    empty = np.ones(table.num_rows, bool)
    for column in table.columns:
        empty &= column.is_null().to_numpy()
    return empty


def _decode(table: pa.Table, lines: list[int], refuse: Refuse) -> tuple[pa.Table, list[int]]:
    """Turn bytes into text; leave out empty rows (line 0) and refuse those that are not UTF-8."""
    try:
        decoded = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    except pa.ArrowInvalid:
        for row, line in enumerate(lines):
            for name in table.column_names:
                try:
                    (table[name][row].as_py() or b"").decode()
                except UnicodeDecodeError as error:
                    refuse(line, f"{name!r} is not UTF-8 (byte 0x{error.object[error.start]:02x}); save it as UTF-8")
                    lines[row] = 0
                    break
        kept = table.filter(pa.array([line > 0 for line in lines]))
        return _decode(kept, [line for line in lines if line], refuse)
    if 0 in lines:
        decoded = decoded.filter(pa.array([line > 0 for line in lines]))
        lines = [line for line in lines if line]
    return decoded, lines
