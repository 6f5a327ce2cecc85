"""Links among the rows of each label: a graph for every value of a declared attribute, over the vectors there are.

A filter that only rows of some labels pass is then searched as if those had an index of their own (StitchedVamana:
Gollapudi et al., Filtered-DiskANN, WWW 2023, where a row has one label). Unlike there these links are kept beside those
of the whole graph and not in their place, so that a search without a filter reads what it always did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput
from isometry.indexes.levels import frozen
from isometry.kernels.rows import grown

if TYPE_CHECKING:
    from isometry.indexes.graph import Linker
    from isometry.storage import Folder

__all__ = ["Labels", "Region", "check_labels"]

FEWEST = 1024
"""Fewer rows of one label are scanned at least as fast as a walk finds the best of them."""
_NONE = -1
_MOST_NAMES = 64
_BLOCK = 65536

Slots = NDArray[np.int32]


class Region(NamedTuple):
    """All rows of a label.

    Attributes
    ----------
    name : str
        Of the attribute.
    links : (capacity, degree) int32
        Links among rows of one label.
    entries : (1,) int32
        Where walks begin.
    rows : int
    """

    name: str
    links: Slots
    entries: Slots
    rows: int


class Labels:
    """One attribute: the label of every row, and links among the rows of each label.

    Attributes
    ----------
    name : str
    values : (m,) int64
        The labels as they were given, in the order of their codes.
    codes : (capacity,) int32
        Which label the row in a slot has; -1 for none.
    links : (capacity, degree) int32
        Row i holds neighbours of slot i that have its label, then -1.
    entries : (m,) int32
        A slot of each label from which all others can be reached; -1 for labels that have no links.
    """

    def __init__(self, name: str, values: NDArray[np.int64], codes: Slots, links: Slots, entries: Slots) -> None:
        self.name, self.values, self.codes, self.links, self.entries = name, values, codes, links, entries
        self._count()

    @classmethod
    def none(cls, name: str, capacity: int, degree: int) -> Labels:
        """Return an attribute that no row has a label of."""
        links = grown(np.empty((0, degree), np.int32), capacity, _NONE)
        return cls(name, np.empty(0, np.int64), np.full(capacity, _NONE, np.int32), links, np.empty(0, np.int32))

    def copy(self) -> Labels:
        """Return a copy in memory of its own."""
        links = grown(self.links, len(self.links))
        return Labels(self.name, self.values.copy(), self.codes.copy(), links, self.entries.copy())

    @property
    def nbytes(self) -> int:
        """Bytes of labels and links."""
        return self.values.nbytes + self.codes.nbytes + self.links.nbytes + self.entries.nbytes

    @property
    def linked(self) -> int:
        """How many labels have links."""
        return int(np.count_nonzero(self.entries >= 0))

    # -- changing ------------------------------------------------------------------------------------------------------

    def put(self, slots: Slots, given: NDArray[np.int64], capacity: int) -> None:
        """Note the labels of rows that came into `slots`; a negative one is none."""
        self.codes, self.links = grown(self.codes, capacity, _NONE), grown(self.links, capacity, _NONE)
        new = np.setdiff1d(given[given >= 0], self.values)
        self.values = np.append(self.values, new)
        self.entries = np.append(self.entries, np.full(len(new), _NONE, np.int32))
        order = np.argsort(self.values)
        there = given >= 0
        self.codes[slots] = _NONE
        self.codes[slots[there]] = order[np.searchsorted(self.values, given[there], sorter=order)]
        self._count()

    def link(
        self,
        linker: Linker,
        near: int,
        leaders: Slots,
        new: Slots,
        seed: int,
        progress: Callable[[int, int | None, str], None] | None = None,
    ) -> None:
        """Link `new` rows to others of their label, and all rows of a label that now has enough of them.

        Parameters
        ----------
        linker : Linker
        near : int
            Slot near to which walks begin.
        leaders, new : int32
            All rows of the graph, and those of them that came just now.
        seed : int
        progress : callable, optional
        """
        links = linker.of_degree(self.links.shape[1])
        fresh: list[tuple[int, Slots]] = []
        for code, rows in self._by_code(leaders, np.unique(self.codes[new])):
            if self.entries[code] >= 0:
                entry = self.entries[code : code + 1]
                links.insert(self.links, entry, new[self.codes[new] == code], len(rows))
                links.connect(self.links, entry, rows)
            elif len(rows) >= FEWEST:
                self.entries[code] = links.nearest(near, rows)[0]
                fresh.append((int(self.entries[code]), np.random.default_rng(seed).permutation(rows)))
        if fresh:
            built = links.build(fresh, progress)
            rows = np.concatenate([order for _, order in fresh])
            self.links[rows] = built[rows]

    def mend(self, linker: Linker, dead: NDArray[np.bool_], left: Slots) -> None:
        """Take the `dead` (capacity,) out of the links; `left` are the other rows of the graph."""
        links = linker.of_degree(self.links.shape[1])
        links.mend(self.links, dead)
        for code, rows in self._by_code(left, np.unique(self.codes[dead])):
            if self.entries[code] >= 0:
                if dead[self.entries[code]]:
                    self.entries[code : code + 1] = links.nearest(int(self.entries[code]), rows)
                links.connect(self.links, self.entries[code : code + 1], rows)

    def free(self, slots: NDArray[np.bool_]) -> None:
        """Forget what is in `slots` (capacity,), which are empty."""
        self.codes[slots], self.links[slots] = _NONE, _NONE
        self._count()
        self.entries[self._sizes == 0] = _NONE

    def _by_code(self, slots: Slots, codes: Slots) -> Iterator[tuple[int, Slots]]:
        """Yield those of the `codes` that some of the `slots` have, and which, ascending."""
        order = slots[np.argsort(self.codes[slots], kind="stable")]
        starts = np.searchsorted(self.codes[order], [codes, codes + 1])
        for code, start, stop in zip(codes.tolist(), *starts.tolist(), strict=True):
            if code >= 0 and stop > start:
                yield code, order[start:stop]

    def _count(self) -> None:
        self._sizes = np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    # -- searching -----------------------------------------------------------------------------------------------------

    def region(self, slots: Slots) -> Region | None:
        """Return the rows of the label that all rows in `slots` have; None where they have no such, or it no links.

        Labels are searched one at a time: a walk through several at once keeps to the one where it is nearest.
        """
        code = self.codes[slots[0]] if len(slots) else _NONE
        if code < 0 or self.entries[code] < 0 or not (self.codes[slots] == code).all():
            return None
        return Region(self.name, frozen(self.links), frozen(self.entries[code : code + 1]), int(self._sizes[code]))

    # -- keeping -------------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters and arrays that `from_folder` reads."""
        arrays = {"values": self.values, "codes": self.codes, "links": self.links, "entries": self.entries}
        return {"name": self.name}, arrays

    @classmethod
    def from_folder(cls, folder: Folder, capacity: int) -> Labels:
        """Return what `state` said, checked: a walk trusts that links do not leave a label."""
        values = folder.array("values", np.int64, (None,))
        codes, links = folder.array("codes", np.int32, (capacity,)), folder.array("links", np.int32, (capacity, None))
        entries = folder.array("entries", np.int32, (len(values),))
        for name, array, end in (
            ("codes", codes, len(values)),
            ("links", links, capacity),
            ("entries", entries, capacity),
        ):
            if array.size and not (array.min() >= _NONE and array.max() < end):
                raise folder.damaged(f"array {name!r} leads to {array.min()} and {array.max()}, beyond 0 to {end - 1}")
        there = np.flatnonzero(entries >= 0)
        strays = [there[codes[entries[there]] != there]]
        for start in range(0, capacity, _BLOCK):
            part = links[start : start + _BLOCK]
            own = codes[start : start + _BLOCK, None]
            strays.append(start + np.flatnonzero(((part >= 0) & ((codes[part.clip(0)] != own) | (own < 0))).any(1)))
        if any(len(each) for each in strays):
            raise folder.damaged("links or entries of a label lead to rows that do not have it")
        return cls(folder.parameter("name", str), values, codes, links, entries)


def check_labels(labels: Any, n: int) -> dict[str, NDArray[np.int64]]:
    """Return the labels of n rows by attribute.

    Raises
    ------
    InvalidInput
        Not a mapping from names to one integer per row.
    """
    if labels is None:
        return {}
    if not isinstance(labels, Mapping) or not all(isinstance(name, str) for name in labels):
        raise InvalidInput(
            f"labels is {type(labels).__name__}; expected a mapping from attributes to (n,) arrays of int"
        )
    if len(labels) > _MOST_NAMES:
        raise InvalidInput(f"labels names {len(labels)} attributes; at most {_MOST_NAMES} fit")
    checked = {}
    for name, given in labels.items():
        column = np.asarray(given)
        if column.shape != (n,) or not (np.issubdtype(column.dtype, np.integer) or not n):
            raise InvalidInput(
                f"labels[{name!r}] has shape {column.shape} and dtype {column.dtype}; expected ({n},) integers, which "
                "numpy.unique(values, return_inverse=True)[1] makes of any values"
            )
        checked[name] = column.astype(np.int64)
    return checked
