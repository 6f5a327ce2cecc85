"""The files of the FANNS benchmark's data sets (Iff et al., 2025, arXiv:2507.21989): vectors, attributes, truth.

A ``.fvecs`` or ``.ivecs`` file is a sequence of rows, each a little-endian int32 with the number of values that follow.
The rows of the filtered ground truths have as many values as items match, up to 100, so the file must be read row by
row: a reader with one fixed stride shifts every row behind the first short one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.errors import BadRecord, Damaged, DimensionMismatch, NotFound, TooLarge, check_choice, check_range

__all__ = ["FannsQueries", "FannsSet", "load_fanns", "read_fvecs", "read_ivecs"]

VECTORS, ATTRIBUTES, QUERIES = "database_vectors.fvecs", "database_attributes.jsonl", "query_vectors.fvecs"
EM, R, EMIS = "number_of_sub_categories", "update_date", "main_categories"
FILTERED = {"em": EM, "r": R, "emis": EMIS}
MAX_BYTES = 64 << 30
MAX_WIDTH = 1 << 16
_MAX_LINE = 1 << 20
_GROUND_TRUTH = 100


@dataclass(frozen=True)
class FannsQueries:
    """The queries of one filter type.

    Attributes
    ----------
    column : str
        The attribute that they filter by.
    values : tuple
        Per query what it asks for: a label, or (start, end) of a range, both ends included.
    truth : list of (m,) int64 arrays
        Ids of the nearest matching items, m from 0 to 100; their number is that of all matches where there are fewer.
    """

    column: str
    values: tuple[Any, ...]
    truth: list[NDArray[np.int64]]

    def mask(self, attributes: list[dict[str, Any]], query: int) -> NDArray[np.bool_]:
        """Return which items match the filter of a query; a missing attribute never does."""
        value = self.values[query]
        column = [record.get(self.column) for record in attributes]
        if self.column == R:
            start, end = value
            return np.array([each is not None and start <= each <= end for each in column], np.bool_)
        if self.column == EMIS:
            return np.array([each is not None and value in each for each in column], np.bool_)
        return np.array([each is not None and each == value for each in column], np.bool_)


@dataclass(frozen=True)
class FannsSet:
    """A data set of the benchmark.

    Attributes
    ----------
    x : (n, d) float32
    queries : (nq, d) float32
    attributes : list of dict
        One record per item.
    truth : list of (100,) int64 arrays
        Without a filter.
    filtered : dict of str to FannsQueries
        By filter type: ``"em"`` (equality), ``"r"`` (range), ``"emis"`` (value in a set).
    """

    x: NDArray[np.float32]
    queries: NDArray[np.float32]
    attributes: list[dict[str, Any]]
    truth: list[NDArray[np.int64]]
    filtered: dict[str, FannsQueries] = field(hash=False)


def load_fanns(folder: Path, *, filters: tuple[str, ...] = tuple(FILTERED), max_bytes: int = MAX_BYTES) -> FannsSet:
    """Read a data set as it is published.

    Parameters
    ----------
    folder : Path
    filters : tuple of str
        Filter types to read: ``"em"``, ``"r"``, ``"emis"``.
    max_bytes : int
        Largest file to read; the large set's vectors take 45 GB.

    Raises
    ------
    NotFound, TooLarge
        A file is missing, or larger than `max_bytes`.
    Damaged, BadRecord, DimensionMismatch
        A file breaks its format, or files do not fit each other.
    """
    for name in filters:
        check_choice("filters", name, tuple(FILTERED))
    x = read_fvecs(folder / VECTORS, max_bytes=max_bytes)
    queries = read_fvecs(folder / QUERIES, max_bytes=max_bytes)
    if x.shape[1] != queries.shape[1]:
        raise DimensionMismatch(f"{folder}: items have {x.shape[1]} dimensions, queries {queries.shape[1]}")
    attributes = list(_records(folder / ATTRIBUTES, max_bytes))
    if len(attributes) != len(x):
        raise Damaged(f"{folder}: {len(x)} vectors, but attributes of {len(attributes)} items")
    found = {}
    for name in filters:
        path = folder / f"{name}_query_attributes.jsonl"
        values = tuple(_value(record, name, path) for record in _records(path, max_bytes))
        truth = _truth(folder / f"ground_truth_{name}.ivecs", len(queries), len(x), max_bytes)
        if len(values) != len(queries):
            raise Damaged(f"{path} has {len(values)} lines for {len(queries)} queries")
        found[name] = FannsQueries(FILTERED[name], values, truth)
    truth = _truth(folder / "ground_truth.ivecs", len(queries), len(x), max_bytes)
    return FannsSet(x, queries, attributes, truth, found)


def read_fvecs(path: Path, *, max_bytes: int = MAX_BYTES) -> NDArray[np.float32]:
    """Return the vectors of a ``.fvecs`` file, (n, d), memory-mapped as far as the format allows.

    Raises
    ------
    NotFound, TooLarge, Damaged
        No such file; larger than `max_bytes`; rows that end early or differ in length.
    """
    raw = _mapped(path, max_bytes)
    if not len(raw):
        raise Damaged(f"{path} is empty; expected vectors")
    width = int(raw[0])
    if not 1 <= width <= MAX_WIDTH or len(raw) % (width + 1):
        raise Damaged(f"{path} begins with a row of {width} values, which does not divide its {4 * len(raw)} bytes")
    rows = raw.reshape(-1, width + 1)
    wrong = np.flatnonzero(rows[:, 0] != width)
    if len(wrong):
        raise Damaged(f"{path}: row {wrong[0]} says that it has {rows[wrong[0], 0]} values, the first has {width}")
    vectors: NDArray[np.float32] = rows[:, 1:].view(np.float32)
    return vectors


def read_ivecs(path: Path, *, max_bytes: int = MAX_BYTES) -> list[NDArray[np.int64]]:
    """Return the rows of an ``.ivecs`` file, each as long as it says: row by row, since lengths differ.

    Raises
    ------
    NotFound, TooLarge, Damaged
        No such file; larger than `max_bytes`; a row that ends early or has an impossible length.
    """
    raw = _mapped(path, max_bytes)
    rows: list[NDArray[np.int64]] = []
    at = 0
    while at < len(raw):
        width = int(raw[at])
        if not 0 <= width <= MAX_WIDTH or at + 1 + width > len(raw):
            raise Damaged(f"{path}: row {len(rows)} says that it has {width} values, and {len(raw) - at - 1} are left")
        rows.append(raw[at + 1 : at + 1 + width].astype(np.int64))
        at += 1 + width
    return rows


def _mapped(path: Path, max_bytes: int) -> NDArray[np.int32]:
    check_range("max_bytes", max_bytes, 1)
    if not path.is_file():
        raise NotFound(f"{path} is missing; expected a file of the FANNS data sets")
    size = path.stat().st_size
    if size > max_bytes:
        raise TooLarge(f"{path} has {size:,} bytes; at most {max_bytes:,} are read: raise max_bytes if you mean it")
    if size % 4:
        raise Damaged(f"{path} has {size} bytes, which are no whole 32-bit numbers")
    return np.memmap(path, "<i4", "r") if size else np.empty(0, np.int32)


def _records(path: Path, max_bytes: int) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise NotFound(f"{path} is missing; expected a file of the FANNS data sets")
    if path.stat().st_size > max_bytes:
        raise TooLarge(f"{path} has {path.stat().st_size:,} bytes; at most {max_bytes:,} are read")
    with open(path, encoding="utf-8", errors="strict") as file:
        for number, line in enumerate(file, 1):
            try:
                if len(line) > _MAX_LINE:
                    raise ValueError(f"it has {len(line)} characters")
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadRecord(f"{path}, line {number}: {error}") from None
            if not isinstance(record, dict):
                raise BadRecord(f"{path}, line {number} is {line!r:.60}; expected an object")
            yield record


def _value(record: dict[str, Any], name: str, path: Path) -> Any:
    keys = ("range_start", "range_end") if name == "r" else ("label",)
    if any(key not in record for key in keys):
        raise BadRecord(f"{path}: a line is {record!r:.60}; expected {' and '.join(keys)}")
    values = tuple(record[key] for key in keys)
    return values if name == "r" else values[0]


def _truth(path: Path, nq: int, n: int, max_bytes: int) -> list[NDArray[np.int64]]:
    rows = read_ivecs(path, max_bytes=max_bytes)
    if len(rows) != nq:
        raise Damaged(f"{path} has {len(rows)} rows for {nq} queries")
    for number, row in enumerate(rows):
        if len(row) > _GROUND_TRUTH or (len(row) and not 0 <= row.min() <= row.max() < n):
            raise Damaged(f"{path}: row {number} has {len(row)} ids, not all of them from 0 to {n - 1}")
    return rows
