"""Where the rows of an index lie: slots that are used again, under ids that never are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from isometry.storage import Folder

__all__ = ["Slots"]


class Slots:
    """Which row is in which slot.

    Attributes
    ----------
    row_ids : (capacity,) int64
        Id of the row in a slot; -1 where there is none.
    slot_of : (n_rows,) int32
        Slot of every id ever given; -1 for those that were removed.
    """

    def __init__(self, row_ids: NDArray[np.int64], slot_of: NDArray[np.int32]) -> None:
        self.row_ids = row_ids
        self.slot_of = slot_of

    @classmethod
    def from_folder(cls, folder: Folder) -> Slots:
        """Return the slots that were saved as the arrays ``row_ids`` and ``slot_of``, checked."""
        slots = cls(folder.array("row_ids", np.int64, (None,)), folder.array("slot_of", np.int32, (None,)))
        for name, array, end in (
            ("row_ids", slots.row_ids, len(slots.slot_of)),
            ("slot_of", slots.slot_of, slots.capacity),
        ):
            if array.size and not (array.min() >= -1 and array.max() < end):
                raise folder.damaged(f"array {name!r} leads to {array.min()} and {array.max()}, beyond 0 to {end - 1}")
        return slots

    def copy(self) -> Slots:
        """Return a copy in memory of its own."""
        return Slots(self.row_ids.copy(), self.slot_of.copy())

    def __len__(self) -> int:
        return int(np.count_nonzero(self.slot_of >= 0))

    @property
    def capacity(self) -> int:
        """Number of slots, free ones included."""
        return len(self.row_ids)

    def used(self) -> NDArray[np.int32]:
        """Return the slots that hold a row, ascending."""
        return np.flatnonzero(self.row_ids >= 0).astype(np.int32)

    def take(self, count: int) -> NDArray[np.int32]:
        """Give `count` new ids a slot each, free ones first; the capacity grows by a quarter at least."""
        slots = np.flatnonzero(self.row_ids < 0)[:count]
        missing = count - len(slots)
        if missing:
            more = max(missing, self.capacity // 4)
            slots = np.append(slots, np.arange(self.capacity, self.capacity + missing))
            self.row_ids = np.append(self.row_ids, np.full(more, -1, np.int64))
        taken = slots.astype(np.int32)
        self.row_ids[taken] = np.arange(len(self.slot_of), len(self.slot_of) + count)
        self.slot_of = np.append(self.slot_of, taken)
        return taken

    def move(self, source: int, target: int) -> None:
        """Exchange which rows are in two slots."""
        ids = self.row_ids[[source, target]]
        self.row_ids[[target, source]] = ids
        self.slot_of[ids] = target, source

    def drop(self, ids: NDArray[np.int64]) -> None:
        """Free the slots of `ids`, which have one each."""
        self.row_ids[self.slot_of[ids]] = -1
        self.slot_of[ids] = -1
