"""Read documents from files and objects of many kinds as Arrow batches of stored types, in bounded memory."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sized
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from isometry.collections import attributes, json_files
from isometry.collections.csv_files import CsvFile
from isometry.collections.shaping import Place, ReadReport, Shaper
from isometry.errors import BadRecord, InvalidInput, NotFound, check_choice, check_range, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ReadReport", "read"]

MAX_BATCH_BYTES = 64 * 2**20
LINES = (".jsonl", ".ndjson")
SEPARATED = {".csv": ",", ".tsv": "\t"}
AS_TEXT = (attributes.STRING, attributes.DATE, attributes.TIMESTAMP)
ARROW = (".arrow", ".feather", ".ipc")
SUFFIXES = (*LINES, ".json", *SEPARATED, ".parquet", *ARROW)
EXPECTED = (
    "a path, a dict, an iterable of dicts, an Arrow table or reader, a pandas or polars frame, or a Lance dataset"
)


def read(
    source: Any,
    *,
    batch_rows: int = 1024,
    on_error: str = "raise",
    report: ReadReport | None = None,
    id_field: str = "id",
    text_fields: Sequence[str] = ("title", "text"),
    vector_fields: Sequence[str] = ("vector",),
    schema: pa.Schema | None = None,
) -> Iterator[pa.Table]:
    """Read records and yield them as tables whose columns have stored types (see `attributes`).

    Parameters
    ----------
    source : path, dict, iterable, Arrow object, data frame or dataset
        A path ends in .jsonl or .ndjson (one object a line), .json (an array, lines or one object), .csv or .tsv
        (with a header), .parquet, .arrow or .feather; the text formats may be gzipped (.gz). Other objects: one dict,
        an iterable of dicts, an Arrow Table, RecordBatch or reader or an iterable of them, anything with
        ``__arrow_c_stream__`` (pandas, polars, duckdb), a Lance or Arrow dataset. The index of a pandas frame is left
        out unless it has a name.
    batch_rows : int, default 1024
        Most rows of one table. Tables of long records have fewer rows, so that one holds about 64 MiB of text.
    on_error : {"raise", "skip"}
        Whether the first bad record raises, or bad records are counted in `report` and left out. What spoils the whole
        source (missing file, broken gzip or parquet, broken JSON array) raises in any case.
    report : ReadReport, optional
        Filled while the tables are consumed.
    id_field : str, default "id"
        Column of the ids, text in the result; integers become their digits, and a column `_id` is renamed to it. The
        result lacks the column when no record of the batch has an id, and holds null for a dict without one. An id
        that is null, empty or of another type makes a bad record.
    text_fields : sequence of str
        Columns that are text even if every value of a CSV file looks like a number.
    vector_fields : sequence of str, default ("vector",)
        Columns whose lists of numbers, or objects of such lists, are handed on unchecked (from Python and JSON: lists
        of float).
    schema : pa.Schema, optional
        Attributes stored already: values must fit their types, and an error can then name the line.

    Returns
    -------
    iterator of pa.Table
        Columns keep their order of appearance after the id. A column whose values are all null is of type null.
        A column has the same type in all tables: that of its values in the first one that has any (so integers and
        floats there make floats, but a column of integers takes no fractions later on).

    Raises
    ------
    NotFound
        The path does not exist.
    InvalidInput
        The source is of an unknown kind, a directory, or a file without any record.
    BadRecord
        A record can't be read; the message names the file and the line, row or record.
    SchemaMismatch
        A value has another type than its column, or a column has a name or type that can't be stored.
    """
    batch_rows = check_range("batch_rows", batch_rows, 1)
    check_choice("on_error", on_error, ("raise", "skip"))
    options: dict[str, Any] = {
        "on_error": on_error,
        "id_field": id_field,
        "text_fields": text_fields,
        "vector_fields": vector_fields,
        "schema": schema,
    }
    report = ReadReport() if report is None else report
    if isinstance(source, (str, Path)):
        return _File(source, report, options).tables(batch_rows)
    return _object_tables(source, batch_rows, report, options)


# --- objects ---------------------------------------------------------------------------------------------------------


def _object_tables(source: Any, batch_rows: int, report: ReadReport, options: dict[str, Any]) -> Iterator[pa.Table]:
    """Find out what kind of object holds the records."""

    def shaper(unit: str) -> Shaper:
        return Shaper(Place(f"the {type(source).__name__}", unit), report, **options)

    if isinstance(source, Mapping):
        report.total = 1
        return _row_tables(enumerate([source], start=1), batch_rows, shaper("record"))
    if isinstance(source, (pa.Table, pa.RecordBatch)):
        report.total = source.num_rows
        return _arrow_tables([source], batch_rows, shaper("row"))
    if isinstance(source, pa.RecordBatchReader):
        return _arrow_tables(source, batch_rows, shaper("row"))
    if callable(getattr(source, "scanner", None)):
        report.total = source.count_rows()
        return _arrow_tables(source.scanner(batch_size=batch_rows).to_reader(), batch_rows, shaper("row"))
    if callable(getattr(source, "__arrow_c_stream__", None)):
        report.total = len(source) if hasattr(source, "__len__") else None
        return _frame_tables(source, batch_rows, shaper("row"))
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
        report.total = len(source) if isinstance(source, Sized) else None
        iterator = iter(source)
        first = next(iterator, None)
        if isinstance(first, (pa.Table, pa.RecordBatch)):
            report.total = None
            return _arrow_tables(chain([first], iterator), batch_rows, shaper("row"))
        everything = iterator if first is None else chain([first], iterator)
        return _row_tables(enumerate(everything, start=1), batch_rows, shaper("record"))
    hint = "; call .collect() first" if callable(getattr(source, "collect", None)) else ""
    raise InvalidInput(f"the source is of type {type(source).__name__}; expected {EXPECTED}{hint}")


def _frame_tables(frame: Any, batch_rows: int, shaper: Shaper) -> Iterator[pa.Table]:
    """Read a data frame through Arrow, or row by row when it mixes types, so that the error names the row."""
    try:
        reader = pa.RecordBatchReader.from_stream(frame)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        if not callable(getattr(frame, "to_dict", None)):
            raise InvalidInput(f"{shaper.place.source} can't be read through Arrow: {error}") from None
        return _row_tables(enumerate(frame.to_dict("records"), start=1), batch_rows, shaper)
    return _arrow_tables(reader, batch_rows, shaper)


def _arrow_tables(parts: Iterable[pa.Table | pa.RecordBatch], batch_rows: int, shaper: Shaper) -> Iterator[pa.Table]:
    """Cut and join Arrow parts to batches, and turn each into stored types."""
    first = 1
    for table in _rebatched(parts, batch_rows):
        shaped = shaper.table(table, list(range(first, first + table.num_rows)))
        first += table.num_rows
        if shaped.num_rows:
            yield shaped


def _rebatched(parts: Iterable[pa.Table | pa.RecordBatch], batch_rows: int) -> Iterator[pa.Table]:
    """Yield tables of `batch_rows` rows; neighbours are joined where their schemas agree."""
    held: pa.Table | None = None
    for part in parts:
        if not isinstance(part, (pa.Table, pa.RecordBatch)):
            raise InvalidInput(f"the iterable mixes Arrow tables with {type(part).__name__}; give one kind")
        table = pa.Table.from_batches([part]) if isinstance(part, pa.RecordBatch) else part
        table = table.replace_schema_metadata(None)
        table = table.select([name for name in table.column_names if not name.startswith("__index_level_")])
        if held is not None and held.schema.equals(table.schema):
            table = pa.concat_tables([held, table])
        elif held is not None:
            yield held
        while table.num_rows >= batch_rows:
            yield table.slice(0, batch_rows)
            table = table.slice(batch_rows)
        held = table if table.num_rows else None
    if held is not None:
        yield held


def _row_tables(records: Iterable[tuple[int, Any]], batch_rows: int, shaper: Shaper) -> Iterator[pa.Table]:
    """Gather numbered records into batches, and turn each into a table."""
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    size = 0
    for number, record in records:
        if not isinstance(record, Mapping):
            shaper.refuse(number, f"expected a dict, found {type(record).__name__} {attributes.show(record)}")
            continue
        rows.append(record if isinstance(record, dict) else dict(record))
        numbers.append(number)
        size += sum(len(value) for value in record.values() if isinstance(value, str))
        if len(rows) >= batch_rows or size >= MAX_BATCH_BYTES:
            table = shaper.rows(rows, numbers)
            if table.num_rows:
                yield table
            rows, numbers, size = [], [], 0
    table = shaper.rows(rows, numbers)
    if table.num_rows:
        yield table


# --- files -----------------------------------------------------------------------------------------------------------


class _File:
    """A file of records.

    Parameters
    ----------
    path : str or Path
    report : ReadReport
    options : dict
        Keyword arguments of `Shaper`.
    """

    def __init__(self, path: str | Path, report: ReadReport, options: dict[str, Any]) -> None:
        self.path = Path(path).expanduser()
        self.report = report
        self.options = options
        self._check(path)
        self.gzipped = self.path.suffix.lower() == ".gz"
        self.suffix = (Path(self.path.stem) if self.gzipped else self.path).suffix.lower()
        if self.suffix not in SUFFIXES or (self.gzipped and self.suffix in (".parquet", *ARROW)):
            found = "".join(self.path.suffixes[-2:]) if self.gzipped else self.suffix or "no suffix"
            raise InvalidInput(
                f"{str(path)!r} has an unknown kind of name ({found}); expected one of {', '.join(SUFFIXES)} "
                f"(the text formats also with .gz){did_you_mean(self.suffix, SUFFIXES)}"
            )
        self.size = self.path.stat().st_size
        if not self.size:
            raise InvalidInput(f"{str(path)!r} is empty; expected a file with at least one record")

    def _check(self, given: str | Path) -> None:
        try:
            exists, is_directory = self.path.exists(), self.path.is_dir()
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{attributes.show(str(given))} is not a usable path: {error}") from None
        if is_directory:
            raise InvalidInput(
                f"{str(given)!r} is a directory; expected a file (a Lance table: pass lance.dataset(...))"
            )
        if not exists:
            siblings = [p.name for p in self.path.parent.iterdir()] if self.path.parent.is_dir() else []
            raise NotFound(
                f"there is no file {attributes.show(str(given), 200)}{did_you_mean(self.path.name, siblings)}; "
                "pass the path of a file, or the records themselves as dicts"
            )

    def tables(self, batch_rows: int) -> Iterator[pa.Table]:
        """Yield the file's records; a file without any raises `InvalidInput`."""
        try:
            if self.suffix == ".parquet":
                yield from self._parquet(batch_rows)
            elif self.suffix in ARROW:
                yield from self._arrow(batch_rows)
            elif self.suffix in SEPARATED:
                yield from self._separated(batch_rows)
            else:
                yield from self._json(batch_rows)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadRecord(
                f"{self.path.name} is not a whole gzip file, it breaks off or is damaged after {self.report.rows} "
                f"records ({error}); fetch or write it again"
            ) from None
        except PermissionError as error:
            raise InvalidInput(f"{str(self.path)!r} can't be opened: {error.strerror}; check its permissions") from None
        if not self.report.rows and not self.report.bad:
            raise InvalidInput(f"{str(self.path)!r} holds no records; expected at least one")
        self.report.fraction = 1.0

    def _shaper(self, unit: str) -> Shaper:
        return Shaper(Place(self.path.name, unit), self.report, **self.options)

    def _open(self) -> BinaryIO:
        """Open the bytes inside the file, unzipped; keeps count of what was read of it."""
        self._raw = self.path.open("rb")
        return io.BufferedReader(gzip.GzipFile(fileobj=self._raw), 2**16) if self.gzipped else self._raw

    def _tracked(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        for table in tables:
            self.report.fraction = min(1.0, self._raw.tell() / self.size)
            yield table

    def _json(self, batch_rows: int) -> Iterator[pa.Table]:
        shaper = self._shaper("line")
        lines = self.suffix in LINES
        if not lines:
            with self._open() as stream:
                lines = json_files.starts_like_lines(stream)
        with self._open() as stream:
            if lines:
                records = json_files.read_lines(stream, shaper.refuse)
            else:
                text = io.TextIOWrapper(stream, encoding="utf-8-sig")
                records = json_files.read_values(text, self.path.name, shaper.refuse)
            try:
                yield from self._tracked(_row_tables(records, batch_rows, shaper))
            except UnicodeDecodeError as error:
                raise BadRecord(f"{self.path.name} is not UTF-8: {error.reason}; convert the file") from None

    def _separated(self, batch_rows: int) -> Iterator[pa.Table]:
        shaper = self._shaper("line")
        id_fields = (self.options["id_field"], "_id")
        stored = [name for name, column in shaper.columns.items() if column.dtype in AS_TEXT]
        texts = CsvFile(self.path.name, self._open, SEPARATED[self.suffix], shaper.refuse, {*id_fields, *stored})

        def tables() -> Iterator[pa.Table]:
            for block, lines in texts.batches():
                for start in range(0, block.num_rows, batch_rows):
                    table = shaper.table(block.slice(start, batch_rows), lines[start : start + batch_rows])
                    if table.num_rows:
                        yield table

        return self._tracked(tables())

    def _parquet(self, batch_rows: int) -> Iterator[pa.Table]:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path, memory_map=False) as file:
                metadata = file.metadata
                self.report.total = metadata.num_rows
                size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
                row_size = max(1, size // max(1, metadata.num_rows))
                batches = file.iter_batches(batch_size=max(1, min(batch_rows, MAX_BATCH_BYTES // row_size)))
                yield from _arrow_tables(batches, batch_rows, self._shaper("row"))
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable("a whole parquet file", error) from None

    def _arrow(self, batch_rows: int) -> Iterator[pa.Table]:
        try:
            with pa.memory_map(str(self.path)) as mapped:
                is_file = mapped.read(6) == b"ARROW1"
                mapped.seek(0)
                if is_file:
                    reader = pa.ipc.open_file(mapped)
                    parts: Iterable[pa.RecordBatch] = map(reader.get_batch, range(reader.num_record_batches))
                else:
                    parts = pa.ipc.open_stream(mapped)
                yield from _arrow_tables(parts, batch_rows, self._shaper("row"))
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable("a whole Arrow file", error) from None

    def _unreadable(self, expected: str, error: Exception) -> Exception:
        if isinstance(error, PermissionError):
            return error
        return BadRecord(f"{self.path.name} is not {expected}: {error}; fetch or write it again")
