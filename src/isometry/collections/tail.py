"""An index with a tail: what came after it was built is scanned, and both are searched as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isometry import ranked
from isometry.vectors import concat

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from isometry.vectors import Vectors

__all__ = ["Tailed"]


class Tailed:
    """Rows of an index, and on from there those of a scan; never changes once made.

    Parameters
    ----------
    base : Index or None
    scan : callable
        Makes an empty index to hold the tail.
    tail : vectors, optional
        What to scan.
    """

    def __init__(self, base: Any, scan: Callable[[], Any], tail: Any = None) -> None:
        self.base, self._scan, self._rows = base, scan, tail
        self._n_base = base.n_rows if base is not None else 0
        self._tail = scan().build(tail) if tail is not None and len(tail) else None
        self.n_rows = self._n_base + (len(tail) if tail is not None else 0)

    def with_more(self, rows: Vectors) -> Tailed:
        """Return an index that scans more rows: O(tail)."""
        return Tailed(self.base, self._scan, rows if self._rows is None else concat([self._rows, rows]))

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        effort: int | None = None,
        allowed: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the best of both; see `isometry.indexes.Index`."""
        parts = []
        if self.base is not None:
            mask = None if allowed is None else allowed[: self._n_base]
            parts.append(self.base.search(q, k=k, effort=effort, allowed=mask, threads=threads))
        if self._tail is not None:
            mask = None if allowed is None else allowed[self._n_base :]
            ids, scores = self._tail.search(q, k=k, allowed=mask, threads=threads)
            parts.append((np.where(ids >= 0, ids + self._n_base, -1), scores))
        if not parts:
            return ranked.empty(len(q), k)
        if len(parts) == 1:
            return parts[0]
        ids, scores = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
