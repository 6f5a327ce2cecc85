"""Scalar indexes over attributes: which columns get one, by what they hold, and whether it finds what the column has.

They are Lance's own, part of a version of the table: what a filter says about an indexed column is looked up, and rows
written since are read. A bitmap of rows per value serves any condition on few values; a B-tree serves narrow ranges and
single values of many, where a bitmap per value is slow to read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from isometry.collections.attributes import BOOLEAN, DATE, FLOAT, INTEGER, STRING, TIMESTAMP
from isometry.collections.table import ID
from isometry.errors import Damaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isometry.collections.table import DocumentTable

__all__ = ["chosen", "problems"]

FEWEST_ROWS = 4096
"""Below so many rows, reading a column takes about as long as looking into an index."""
FEW_VALUES = 512
LONG_TEXT = 64
"""Bytes per value from which text is prose, which is not asked for as a whole."""
INDEXED = (STRING, INTEGER, FLOAT, BOOLEAN, DATE, TIMESTAMP)
"""Lists of text are read as fast as looked up."""
CUTS = 8


def chosen(table: DocumentTable) -> dict[str, str]:
    """Return the kind of index that pays, by column: ``"bitmap"`` for few values, ``"btree"`` for many.

    O(rows) for each attribute but lists, prose and the id.
    """
    if len(table) < FEWEST_ROWS:
        return {}
    kinds = {}
    for name in table.columns:
        dtype = table.schema.field(name).type
        if name == ID or dtype not in INDEXED or (dtype == STRING and _is_prose(table, name)):
            continue
        few = pc.count_distinct(table.scan([name])[name], mode="only_valid").as_py() <= FEW_VALUES
        kinds[name] = "bitmap" if few else "btree"
    return kinds


def problems(table: DocumentTable) -> list[str]:
    """Compare what each index finds with what its column holds: one line for each that is damaged.

    O(rows) for each.
    """
    return [
        f"the scalar index of {name!r} does not find what the column holds; run optimize"
        for name in table.scalar_indexes
        if not all(_agree(table, asked) for asked in _conditions(table, name))
    ]


def _agree(table: DocumentTable, asked: pc.Expression) -> bool:
    """Whether scalar indexes find the rows that the columns hold."""
    try:
        found = np.sort(table.offsets(asked, indexed=True))
    except Damaged:
        return False
    return np.array_equal(found, np.sort(table.offsets(asked, indexed=False)))


def _conditions(table: DocumentTable, name: str) -> Iterator[pc.Expression]:
    """Yield conditions on a column that every entry of its index has a part in."""
    column = pc.field(name)
    yield column.is_null()
    values = pc.unique(table.scan([name])[name]).drop_null()
    values = values.take(pc.sort_indices(values)) if values.type != BOOLEAN else values
    for place in np.unique(np.linspace(0, len(values) - 1, CUTS).astype(int)) if len(values) else ():
        yield column == values[place]
        if values.type != BOOLEAN:
            yield column <= values[place]


def _is_prose(table: DocumentTable, name: str) -> bool:
    """Whether the first texts are long."""
    lengths = pc.binary_length(next(table.batches([name]))[name])
    return (pc.mean(lengths).as_py() or 0) > LONG_TEXT
