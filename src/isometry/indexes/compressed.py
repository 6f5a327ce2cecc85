"""Scanning compressed vectors: every code is looked at, the best are scored again with finer ones."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry import ranked
from isometry.indexes.base import METRICS, check_allowed, check_row_ids, check_search
from isometry.indexes.levelled import Levelled, check_memory
from isometry.indexes.levels import Levels, frozen
from isometry.indexes.slots import Slots
from isometry.indexes.spec import PartSpec, chain_text
from isometry.storage import Folder
from isometry.vectors import as_dense

__all__ = ["CompressedFlat", "Scanned"]

_EFFORT = 100


class Scanned(Levelled):
    """Base of an index that keeps vectors as `Levels` and nothing that ties one row to another."""

    def build(self, x: Any, *, queries: Any = None, held_out: Any = None) -> Self:
        """Index the rows of `x`, forgetting what was there.

        Parameters
        ----------
        x : (n, d) array of float
        queries : (m, d) array of float, optional
            Examples of queries, which a `transform` may learn from.
        held_out : sequence of int, optional
            Rows that are indexed like all others, but that nothing is learned from: with them as queries, a measurement
            of the index is honest.

        Raises
        ------
        InvalidInput
            NaN, infinity, not two axes, a vector too long to square in float32, or what a codec refuses.
        TooLarge
            More memory would be needed than there is.
        """
        vectors = as_dense(x)
        n, d = vectors.shape
        check_memory(
            3 * 4 * n * d, f"{n} vectors of {d} dimensions", f"the index {self.spec}", "build several smaller ones"
        )
        examples = None if queries is None else as_dense(queries, dim=d, name="queries")
        levels = self._levels.anew()
        # Without rows, a zero vector in a free slot stands in until `add` brings some to fit on.
        learned = self._learned(n, held_out) if n else None
        order = self._fit(levels, vectors if n else np.zeros((1, d), np.float32), examples, learned)
        levels.turn()
        self._levels, self._mapped = levels, False
        self._slots = Slots(order, np.argsort(order).astype(np.int32))
        if not n:
            self._slots = Slots(np.full(1, -1, np.int64), np.empty(0, np.int32))
        self._changed()
        return self

    def add(self, x: Any) -> NDArray[np.int64]:
        """Append the rows of `x` and return their ids; what `build` learned stays.

        Raises
        ------
        DimensionMismatch, InvalidInput
            As `build`.
        """
        if self._slots is None or not self.n_rows:
            return np.arange(self.build(as_dense(x, dim=None if self._slots is None else self.dim)).n_rows)
        first = self.n_rows
        encoded, *more = self._encoded(as_dense(x, dim=self.dim))
        count = len(encoded[0][0])
        slots = self._own()
        before = slots.capacity
        taken = slots.take(count)
        if slots.capacity > before:
            self._levels.grow(slots.capacity)
        self._levels.put(taken, *encoded)
        self._put(taken, *more)
        return np.arange(first, first + count)

    def remove(self, ids: Any) -> int:
        """Drop rows for good; their ids are never used again, their places are.

        Parameters
        ----------
        ids : int or sequence of int
            Ids removed before are passed over.

        Returns
        -------
        int
            Number of rows that were there until now.
        """
        rows = check_row_ids(ids, self._built().slot_of.size)
        slots = self._own()
        rows = rows[slots.slot_of[rows] >= 0]
        slots.drop(rows)
        return len(rows)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters and arrays that `save` writes and `from_folder` reads."""
        slots = self._built()
        parameters, arrays = self._levels.state(slots.capacity)
        parameters |= {"metric": self.metric, "spec": self.spec}
        return parameters, arrays | {"row_ids": slots.row_ids, "slot_of": slots.slot_of}

    @classmethod
    def from_folder(cls, folder: Folder) -> Self:
        """Return the index in a folder that `isometry.storage.read_folder` opened; nothing is loaded yet."""
        folder.require_version(cls.kind_version)
        metric = folder.parameter("metric", str)
        if metric not in METRICS:
            raise folder.damaged(f"metric is {metric!r}")
        index = cls(metric=metric)
        index._spec = folder.parameter("spec", str)
        index._slots = Slots.from_folder(folder)
        index._levels = Levels.from_folder(folder, metric, index._slots.capacity)
        index._mapped = True
        return index

    def _fit(
        self,
        levels: Levels,
        x: NDArray[np.float32],
        examples: NDArray[np.float32] | None,
        learned: NDArray[np.bool_] | None,
    ) -> NDArray[np.int64]:
        """Fit the levels, and return the ids of the rows in the order in which they lie."""
        levels.fit(x, examples, learned)
        return np.arange(len(x))

    def _encoded(self, x: NDArray[np.float32]) -> tuple[Any, ...]:
        """Return rows as the levels keep them, and what else `_put` wants to know."""
        return (self._levels.encode(x),)

    def _put(self, taken: NDArray[np.int32], *more: Any) -> None:
        """Note what else belongs to the rows in slots that were just taken."""

    def _changed(self) -> None:
        """Forget what was derived from rows that are no longer the same."""

    def _own(self) -> Slots:
        """Have everything that changes in memory of our own, and return the slots."""
        slots = self._built()
        self._changed()
        if self._mapped:
            self._slots = slots = slots.copy()
            self._levels.grow(slots.capacity)
            self._mapped = False
        return slots


class CompressedFlat(Scanned):
    """Nearest neighbours by scanning all vectors in a compressed form: ``"LVQ8,Flat"``, ``"LVQ4,Flat -> Float16"``.

    Parameters
    ----------
    metric : {"cosine", "dot", "l2"}, default "cosine"
    transform, codec, refine : estimators, optional
        As for `Vamana`: what shortens vectors, what the scan reads, and what puts the best in order. Without `refine`
        these are scored again by the unrounded query and all levels of `codec`.

    Notes
    -----
    A search costs O(n d) per query and reads the codes once per 32 queries. Nothing is missed but what the codes
    misplace: `effort` is how many rows are scored again.

    Any number of threads may search at once; `build`, `add` and `remove` must have the index to themselves.

    Examples
    --------
    >>> from isometry.codecs import LVQ
    >>> x = np.random.default_rng(0).standard_normal((1000, 32), dtype=np.float32)
    >>> index = CompressedFlat(codec=LVQ(bits=4)).build(x)
    >>> index.search(x[:2], k=1)[0].tolist(), index.spec
    ([[0], [1]], 'LVQ4,Flat')
    """

    kind: ClassVar[str] = "CompressedFlat"
    kind_version: int = 1

    def __init__(self, *, metric: str = "cosine", transform: Any = None, codec: Any = None, refine: Any = None) -> None:
        super().__init__(metric, transform, codec, refine)
        self._spec = chain_text(self._parts, PartSpec("Flat"))
        self._used: NDArray[np.int32] | None = None

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        effort: int | None = None,
        allowed: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `k` best rows for each query.

        Parameters
        ----------
        q : (nq, d) array of float
        k : int, default 10
            More than there are rows is allowed; the places left hold -1 and -inf.
        effort : int, optional
            How many rows are scored again, at least k; 100 by default. Where the scan's own scores are the final ones,
            it changes nothing.
        allowed : (n_rows,) bool, optional
            Only rows marked True are candidates; the scan reads no others.
        threads : int, optional
            At most this many; by default all processors.

        Returns
        -------
        ids : (nq, k) int64
        scores : (nq, k) float32
            Best first, as the finest vectors give them; equal scores by smaller id.

        Raises
        ------
        DimensionMismatch, InvalidInput
            A query or an option that makes no sense.
        """
        k, effort, threads = check_search(k, effort, threads)
        slots = self._built()
        queries = self._levels.queries(q)
        nq = len(queries.full)
        mask = check_allowed(allowed, self.n_rows)
        every = self._every_slot()
        wanted = every if mask is None else _used(slots.slot_of[mask])
        if not nq or not len(wanted):
            return ranked.empty(nq, k)
        ids, scores = np.empty((nq, k), np.int64), np.empty((nq, k), np.float32)
        most = max(effort or _EFFORT, k) if self._levels.rescores else k
        self._levels.scan(queries, wanted, frozen(slots.row_ids), most, threads, ids, scores)
        self._levels.finish(queries, scores)
        return ids, scores

    def _every_slot(self) -> NDArray[np.int32]:
        """Return the slots that hold a row; found anew by the first search after a change."""
        if self._used is None:
            self._levels.turn()
            self._used = _used(self._built().slot_of)
        return self._used

    def _changed(self) -> None:
        self._used = None


def _used(slots: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the slots that are not -1, in the order of memory."""
    return frozen(np.sort(slots[slots >= 0]))
