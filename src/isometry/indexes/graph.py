"""Building and mending proximity graphs: the same graph for any number of threads.

Rows are linked in batches: all rows of a batch choose their neighbours on the graph as it was before the batch, then
all rows they chose get their links back, each by one thread. So nothing depends on who comes first.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from isometry.indexes.levels import frozen
from isometry.kernels import graph as kernels
from isometry.kernels.rows import padded_copy, values_at
from isometry.kernels.scan import best
from isometry.threads import Scratch, run_parts

if TYPE_CHECKING:
    from isometry.kernels.graph import Space
    from isometry.kernels.rows import Rows

__all__ = ["Linker", "marks"]

_ROOM = 1.5
"""A row may grow to this many times its degree before it is pruned: fewer, larger prunings."""
_BATCH = 0.02
_PART = 64

Slots = NDArray[np.int32]
Progress = Callable[[int, int | None, str], None]


def marks(n: int) -> Scratch[NDArray[np.uint8]]:
    """Return the marks of n rows that a walk has seen: one array for every thread that walks at the same time."""
    return Scratch(lambda: np.zeros(n + 1, np.uint8))  # the last one counts the walks


class Linker:
    """Links rows of one layout into a graph (Vamana: Subramanya et al., DiskANN, NeurIPS 2019).

    Parameters
    ----------
    rows : layout of `isometry.kernels.rows`
    space : Space
        How rows are compared with each other.
    dim : int
        Dimensions of a row.
    degree : int
        Most neighbours of a row.
    window : int
        Beam of the walks that look for neighbours.
    alpha : float
        A neighbour makes another one superfluous when it is this much nearer to it, in squared distances.
    threads : int, optional
    """

    def __init__(
        self, rows: Rows, space: Space, dim: int, degree: int, window: int, alpha: float, threads: int | None
    ) -> None:
        self._rows, self._space, self._dim = rows, space, dim
        self._degree, self._window, self._alpha = degree, window, alpha
        self._threads = threads
        self._scratch = marks(len(rows[0]))

    def of_degree(self, degree: int) -> Self:
        """Return a linker of the same rows to another number of neighbours."""
        other = copy.copy(self)
        other._degree = degree
        return other

    def build(self, parts: Sequence[tuple[int, Slots]], progress: Progress | None = None) -> Slots:
        """Return a graph (n, degree) over each of some sets of slots, which share none: one array holds them all.

        One pass: a second one over the finished graph, as in DiskANN, doubled the time and changed recall by less than
        .002 on 100,000 sentence embeddings.

        Parameters
        ----------
        parts : sequence of (int, (m,) int32)
            The slots of each in the order they are linked, after the one of them where walks begin. Rows of none stay
            without neighbours.
        progress : callable, optional
        """
        report = progress or (lambda done, total, what: None)
        graph = np.full((len(self._rows[0]), math.ceil(_ROOM * self._degree)), -1, np.int32)
        linked = np.concatenate([order for _, order in parts])
        done = 0
        for entry, order in parts:
            for batch in _batches(order, max(1, int(_BATCH * len(order)))):
                self._link(graph, np.array([entry], np.int32), batch)
                done += len(batch)
                report(done, len(linked), "rows linked")
        run_parts(
            lambda start, stop: kernels.trim(
                self._rows, self._space, graph, linked[start:stop], np.float32(self._alpha), self._degree, self._dim
            ),
            len(linked), 16 * _PART, self._threads,
        )  # fmt: skip
        trimmed: Slots = padded_copy(graph[:, : self._degree])
        for entry, order in parts:
            self.connect(trimmed, np.array([entry], np.int32), order)
        return trimmed

    def insert(self, graph: Slots, entries: Slots, slots: Slots, rows: int) -> None:
        """Link new `slots` into a graph of about `rows` rows that has none of them."""
        for batch in _batches(slots, max(1, int(_BATCH * rows))):
            self._link(graph, entries, batch)

    def mend(self, graph: Slots, dead: NDArray[np.bool_]) -> None:
        """Take the `dead` (n,) out of the graph: who was linked to one is linked to what it was linked to."""
        touched = np.flatnonzero(_names_any(graph, dead) & ~dead).astype(np.int32)

        def choose(start: int, stop: int) -> Slots:
            links = np.empty((stop - start, self._degree), np.int32)
            alpha = np.float32(self._alpha)
            kernels.repair(self._rows, self._space, graph, dead, touched[start:stop], alpha, self._dim, links)
            return links

        chosen = run_parts(choose, len(touched), _PART, self._threads)
        if chosen:
            graph[touched] = np.concatenate(chosen)
        graph[dead] = -1

    def nearest(self, slot: int, slots: Slots) -> Slots:
        """Return which of `slots` is nearest to the row that is, or was, in `slot`; shape (1,)."""
        query = values_at(self._rows, np.array([slot]), self._dim)
        scores, found = np.empty((1, 1), np.float32), np.empty((1, 1), np.int32)
        best(self._rows, self._space, frozen(slots), query, scores, found)
        return found[0]

    def connect(self, graph: Slots, entries: Slots, slots: Slots) -> None:
        """See to it that a walk from `entries` can reach all `slots`."""
        reached = np.zeros(len(graph), np.bool_)
        parents = np.full(len(graph), -1, np.int32)
        kernels.reach(graph, entries, reached, parents)
        if not reached[slots].all():
            kernels.connect(
                self._rows, self._space, graph, entries, slots, reached, parents, self._window, self._dim,
                self._scratch.take(),
            )  # fmt: skip

    def _link(self, graph: Slots, entries: Slots, slots: Slots) -> None:
        factor = np.float32(self._alpha)

        def choose(start: int, stop: int) -> Slots:
            links = np.empty((stop - start, self._degree), np.int32)
            seen = self._scratch.take()
            kernels.link_forward(
                self._rows, self._space, graph, entries, slots[start:stop], self._window, factor, self._dim, seen, links
            )
            self._scratch.give(seen)
            return links

        links = np.concatenate(run_parts(choose, len(slots), _PART, self._threads))
        graph[slots, : self._degree] = links
        graph[slots, self._degree :] = -1
        chosen = links >= 0
        sources = np.repeat(slots, chosen.sum(1))
        edges = np.sort(links[chosen].astype(np.int64) << 32 | sources)
        ends, sources = (edges >> 32).astype(np.int32), edges.astype(np.int32)
        targets, starts = np.unique(ends, return_index=True)
        bounds = np.append(starts, len(ends))

        def link_back(start: int, stop: int) -> None:
            kernels.link_back(
                self._rows, self._space, graph, targets[start:stop], bounds[start : stop + 1], sources, factor,
                self._degree, self._dim,
            )  # fmt: skip

        run_parts(link_back, len(targets), 4 * _PART, self._threads)


def _batches(slots: Slots, largest: int) -> Iterator[Slots]:
    """Yield batches that double from 1 up to `largest`: early rows must find each other.

    Within a batch neighbours in memory, which are near each other, follow one another: their walks share a cache.
    """
    start, size = 0, 1
    while start < len(slots):
        yield np.sort(slots[start : start + size])
        start += size
        size = min(2 * size, largest)


def _names_any(graph: Slots, marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which rows of the graph name a marked slot."""
    out = np.empty(len(graph), np.bool_)
    for start in range(0, len(graph), 65536):
        links = graph[start : start + 65536]
        out[start : start + 65536] = (marked[links.clip(0)] & (links >= 0)).any(1)
    return out
