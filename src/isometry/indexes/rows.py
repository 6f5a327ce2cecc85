"""Rows of an index: one block as it was given (often a memory map) and a tail that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Rows"]


class Rows:
    """A float32 array that can be appended to without copying what it was made from.

    Parameters
    ----------
    base : (n, ...) float32
        Kept as it is: not copied, never written to.
    """

    def __init__(self, base: NDArray[np.float32]) -> None:
        self._base = base
        self._tail = np.empty((0, *base.shape[1:]), np.float32)
        self._used = 0

    def __len__(self) -> int:
        return len(self._base) + self._used

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self._base.shape[1:]

    @property
    def parts(self) -> list[NDArray[np.float32]]:
        """The rows as one or two arrays, one after another."""
        return [self._base, self._tail[: self._used]] if self._used else [self._base]

    def append(self, x: NDArray[np.float32]) -> None:
        """Copy rows to the end: amortised O(rows of `x`), because the tail grows by half of itself."""
        needed = self._used + len(x)
        if needed > len(self._tail):
            grown = np.empty((max(needed, len(self._tail) * 3 // 2), *self.row_shape), np.float32)
            grown[: self._used] = self._tail[: self._used]
            self._tail = grown
        self._tail[self._used : needed] = x
        self._used = needed

    def blocks(self, size: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (first row, view of at most `size` rows) over all rows."""
        first = 0
        for part in self.parts:
            for start in range(0, len(part), size):
                yield first + start, part[start : start + size]
            first += len(part)

    def take(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a copy of the given rows."""
        if not self._used:
            return self._base[ids]
        out = np.empty((len(ids), *self.row_shape), np.float32)
        in_tail = ids >= len(self._base)
        out[~in_tail] = self._base[ids[~in_tail]]
        out[in_tail] = self._tail[ids[in_tail] - len(self._base)]
        return out
