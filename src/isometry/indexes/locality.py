"""An order in which near vectors lie side by side, so that a walk stays on the memory pages it has touched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["near_order"]

_LEAF = 64
_SAMPLE = 32


def near_order(x: NDArray[np.float32], seed: int = 0) -> NDArray[np.int64]:
    """Return a permutation of the rows of `x` (n, d) by halving them again and again.

    Each half lies on one side of the plane between two rows that are far from each other. O(n d log n), and a copy of
    `x`. Products are taken row by row, so the order does not depend on the threads of a BLAS.
    """
    rng = np.random.default_rng(seed)
    order = np.arange(len(x))
    parts = [(0, len(x))]
    while parts:
        first, last = parts.pop()
        if last - first <= _LEAF:
            continue
        rows = x[order[first:last]]
        few = rows[rng.integers(len(rows), size=_SAMPLE)]
        one = few[_farthest(few, few[0])]
        other = few[_farthest(few, one)]
        middle = (last - first) // 2
        halves = np.argpartition(np.vecdot(rows, one - other), middle)
        order[first:last] = order[first:last][halves]
        parts += [(first, first + middle), (first + middle, last)]
    return order


def _farthest(rows: NDArray[np.float32], row: NDArray[np.float32]) -> int:
    difference = rows - row
    return int(np.vecdot(difference, difference).argmax())
