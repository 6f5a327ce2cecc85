"""Rows with equal codes: one stands in the graph for all, the others hang behind it.

A graph of duplicates leads nowhere: each has its like as nearest neighbour. So only the first of equal rows, their
leader, is linked, and a walk that finds it goes on along the chain of its twins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isometry.kernels.rows import Rows

__all__ = ["Twins"]

_BLOCK = 65536
_EMPTY = np.empty(0, np.int32)

Slots = NDArray[np.int32]


class Twins:
    """Chains of slots with equal codes.

    Attributes
    ----------
    following : (capacity,) or (0,) int32
        The next slot of the same chain, or -1; empty as long as no two rows are equal.
    """

    def __init__(self, following: Slots = _EMPTY) -> None:
        self.following = following

    def copy(self) -> Twins:
        """Return a copy in memory of its own."""
        return Twins(self.following.copy())

    def grow(self, capacity: int) -> None:
        """Make room for more slots."""
        if len(self.following):
            more = capacity - len(self.following)
            self.following = np.append(self.following, np.full(more, -1, np.int32))

    def leaders(self, used: Slots) -> Slots:
        """Return those of the `used` slots that are not behind another."""
        if not len(self.following):
            return used
        behind = np.zeros(len(self.following), np.bool_)
        behind[self.following[self.following >= 0]] = True
        return used[~behind[used]]

    def pair(self, rows: Rows, leaders: Slots, slots: Slots, labels: Iterable[Slots] = ()) -> Slots:
        """Hang those of the new `slots` whose rows equal a leader's, or an earlier new one's, behind it.

        Rows of unlike `labels`, arrays (capacity,), are no twins: a leader has the labels of all behind it.

        Returns
        -------
        (m,) int32
            The new slots that lead, ascending.
        """
        known = np.concatenate([leaders, np.sort(slots)])
        compared = (*rows, *(codes[:, None] for codes in labels))
        digests = _digests(compared, known)
        _, first, which = np.unique(digests, return_index=True, return_inverse=True)
        if len(first) == len(known):
            return known[len(leaders) :]
        heads = known[first[which]]
        equal = _equal(compared, known, heads)
        new = np.arange(len(known)) >= len(leaders)
        behind = new & equal & (heads != known)
        if behind.any() and not len(self.following):
            self.following = np.full(len(rows[0]), -1, np.int32)
        for slot, head in zip(known[behind].tolist(), heads[behind].tolist(), strict=True):
            self.following[slot] = self.following[head]
            self.following[head] = slot
        return known[new & ~behind]

    def spread(self, passing: NDArray[np.bool_], leaders: Slots) -> NDArray[np.bool_]:
        """Return `passing` (capacity,) with every leader marked that has a marked twin."""
        if not len(self.following):
            return passing
        out = passing.copy()
        at, owners = self.following[leaders], leaders
        while len(at):
            at, owners = at[at >= 0], owners[at >= 0]
            out[owners[passing[at]]] = True
            at = self.following[at]
        return out

    def release(self, leaders: Slots, removed: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Take the slots marked in `removed` (capacity,) out of their chains.

        Returns
        -------
        list of (twin, leader)
            Leaders that go but leave twins: the row of this twin must be moved to the leader's slot. The twin's slot is
            out of the chain.
        """
        moves: list[tuple[int, int]] = []
        if not len(self.following):
            return moves
        touched = leaders[self.spread(removed, leaders)[leaders]]
        for leader in touched.tolist():
            chain, at = [], int(self.following[leader])
            while at >= 0:
                chain.append(at)
                at = int(self.following[at])
            left = [slot for slot in chain if not removed[slot]]
            self.following[[leader, *chain]] = -1
            if removed[leader] and left:
                moves.append((left.pop(0), leader))
            for slot, following in zip([leader, *left], left, strict=False):
                self.following[slot] = following
        return moves


def _digests(rows: Iterable[NDArray[Any]], slots: Slots) -> NDArray[np.uint64]:
    from isometry.kernels.graph import digests

    out = np.zeros(len(slots), np.uint64)
    for start in range(0, len(slots), _BLOCK):
        part = slots[start : start + _BLOCK]
        for array in rows:
            digests(_words(array[part]), out[start : start + _BLOCK])
    return out


def _words(array: NDArray[np.generic]) -> NDArray[np.uint32]:
    """Return the rows of an array as 32-bit words, filled up with zeros."""
    size = array.dtype.itemsize * array.shape[1]
    raw = np.zeros((len(array), -(-size // 4) * 4), np.uint8)
    raw[:, :size] = array.view(np.uint8).reshape(len(array), size)
    return raw.view(np.uint32)


def _equal(rows: Iterable[NDArray[Any]], slots: Slots, others: Slots) -> NDArray[np.bool_]:
    """Return whether the rows in `slots` are those in `others`; only pairs of different slots are compared."""
    out = slots == others
    pairs = np.flatnonzero(~out)
    for start in range(0, len(pairs), _BLOCK):
        part = pairs[start : start + _BLOCK]
        same = [(array[slots[part]] == array[others[part]]).all(1) for array in rows]
        out[part] = np.logical_and.reduce(same)
    return out
