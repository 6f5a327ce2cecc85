"""Graph search: a walk over compressed vectors finds what is near, finer vectors put it in order."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from isometry import ranked
from isometry.errors import InvalidInput, TooLarge, check_choice, check_range
from isometry.indexes.base import check_allowed, check_row_ids, check_search
from isometry.indexes.filtering import (
    FEWEST_COUNTED,
    LABELS,
    NEAR,
    SAMPLE,
    SHARES,
    STRATEGIES,
    WALK_SHARE,
    WAYS,
    WIDTHS,
    FilterPlan,
    Masks,
    Passing,
    WalkCosts,
    Way,
    choose,
    planned,
)
from isometry.indexes.labels import Labels, check_labels
from isometry.indexes.levelled import Levelled, check_memory
from isometry.indexes.levels import Levels, Queries, check_norms, frozen
from isometry.indexes.linkcodes import STEP, LinkCodes
from isometry.indexes.linkrows import link_rows, link_space
from isometry.indexes.locality import near_order
from isometry.indexes.slots import Slots
from isometry.indexes.spec import PartSpec, chain_text
from isometry.indexes.twins import Twins
from isometry.kernels.rows import grown
from isometry.storage import Folder, inner_state
from isometry.threads import Scratch, run_parts
from isometry.vectors import as_dense

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from isometry.indexes.graph import Linker
    from isometry.indexes.labels import Region
    from isometry.kernels.graph import Space
    from isometry.kernels.rows import Rows

__all__ = ["Vamana"]

_EFFORT = 64
_WINDOW = 128
_MOST_ROWS = 2**31 - 2
_PART = 16
_WIDEST = 4096
_LABEL_DEGREE = 16
"""Links within a label, where half of the others are fewer."""
_MOST_LINK_BITS = 8192
_SURE = 4
"""Rows read at both levels of one codec keep their places so nearly that the best k are among this many times k."""
_ROWS_PER_START, _MOST_STARTS = 1024, 256
"""A walk may begin at one of so many rows, and at most at so many: a few steps nearer than where all can be reached."""
_UNLABELLED, _LABELLED, _CODED = 1, 2, 3
"""Versions of folders: one is written as the first that had all that it has."""


class Vamana(Levelled):
    r"""Approximate nearest neighbours by a best-first walk through a proximity graph.

    Every vector is linked to at most `degree` others, chosen so that from anywhere a walk that always goes on from the
    nearest vector it has seen comes near any other in few steps. The walk reads the vectors as `codec` keeps them, of
    the dimensions that `transform` leaves; what it found is scored again with the finest vectors there are: those of
    `refine`, else all levels of `codec` with the unrounded query.

    Parameters
    ----------
    metric : {"cosine", "dot", "l2"}, default "cosine"
        ``l2`` scores are minus the squared distance. Under ``cosine`` a zero vector scores 0 with everything.
    degree : int, default 64
        Most neighbours of a vector, 2 to 1024: 4 bytes each. 64 gave the fastest searches at recall .9 and more on
        sentence embeddings; 32 takes half the memory for the graph.
    codec : codec, optional
        How the vectors that a walk reads are kept, e.g. ``LVQ(bits=8)``; float32 by default.
    transform : transform, optional
        What shortens vectors before `codec`, e.g. ``LeanVec(160)``; if it has ``transform_query``, for queries too.
    refine : codec, optional
        How the full vectors that put the hits in order are kept; ``LVQ(bits=8)`` by default if there is a transform.
    window : int, default 128
        Beam of the walks that look for neighbours while building; wider is better and slower.
    alpha : float, default 1.2
        How much nearer (in squared distances) a neighbour must be to another one to make it superfluous, at least 1.
    seed : int, default 0
        Order in which vectors are linked.
    threads : int, optional
        For building; by default all processors. The index is the same for any number.
    link_bits : int, optional
        Bits of a code that is kept beside each link, 16 to 8192 and a multiple of 16; there is at most one for each
        value that the walk reads. A walk then reads one row where it would read `degree`, and estimates the others from
        their codes: a fifth faster at 1,024 dimensions, slower at 384. It takes ``degree (bits / 8 + 12)`` bytes per
        vector, with `degree` rounded up to a multiple of 32. Not for codecs that look scores up in tables.

    Notes
    -----
    With n vectors of d dimensions, building takes n walks of about O(window degree) scores, a search about
    O(effort degree) scores, both growing with log n. Memory is what the codecs need, 4 degree + 12 bytes per vector,
    and n bytes per thread that searches. `add` and `remove` cost O(n degree) once per call beside the work per row:
    hand over many rows at a time.

    Where a walk reads floats, and 16 MiB of them or more, `build` links them by 8 bits per dimension, which it keeps
    for as long as it takes: recall is the same within .003 and building takes half the time or less. It looks first
    whether the nearest of some vectors stay nearest; if not, as where large values hide small differences, floats are
    compared.

    Vectors whose codes are equal share one place in the graph, so duplicates, however many, neither slow it down nor
    hide each other (rows of unlike labels have a place each). Every vector can be reached from one, the entry. A search
    begins there and, without a filter, at the nearest of one row in 1,024, up to 256 rows. Any number of threads may
    search at once; `build`, `add` and `remove` must have the index to themselves.

    With `link_bits` a search without a filter takes O(effort) scores and estimates O(effort degree) more; filters and
    labels walk as they do without. After `add` and `remove` only links that changed get new codes.

    Rows of a label that `build` was told of have up to ``degree / 2`` further links to each other, 16 at least: a graph
    of their own over the same codes. A search whose `allowed` rows have a label in common walks through that one, where
    this is the least work (see `plan`). Each attribute costs 2 degree + 4 bytes per vector and up to two fifths of the
    time to build; searches without a filter read none of it.

    References
    ----------
    Subramanya et al., DiskANN, NeurIPS 2019 (graph); Singh et al., FreshDiskANN, arXiv:2105.09613 (removal);
    Gollapudi et al., Filtered-DiskANN, WWW 2023 (links of labels, there in the same graph);
    Tepper et al., LeanVec, TMLR 2024, arXiv:2312.16335 (two copies of a vector); Gou et al., SymphonyQG, SIGMOD 2025,
    arXiv:2411.12229 (codes beside links). Unlike the first, distances between stored vectors are taken from their
    codes; ``cosine`` and ``dot`` link vectors as if lifted to one sphere.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((1000, 32), dtype=np.float32)
    >>> index = Vamana(degree=16).build(x)
    >>> index.search(x[:2], k=1)[0]
    array([[0],
           [1]])
    """

    kind: ClassVar[str] = "Vamana"
    kind_version: int = _CODED
    spec_name: ClassVar[str] = "Vamana"
    spec_fields: ClassVar[tuple[str, ...]] = ("degree", "window", "link_bits")
    spec_slots: ClassVar[tuple[str, ...]] = ("transform", "codec", "refine")

    def __init__(
        self,
        *,
        metric: str = "cosine",
        degree: int = 64,
        window: int = _WINDOW,
        codec: Any = None,
        transform: Any = None,
        refine: Any = None,
        alpha: float = 1.2,
        seed: int = 0,
        threads: int | None = None,
        link_bits: int | None = None,
    ) -> None:
        super().__init__(metric, transform, codec, refine)
        self.degree = check_range("degree", degree, 2, 1024)
        self.window = check_range("window", window, 4, 4096)
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 1 <= alpha <= 4:
            raise InvalidInput(f"alpha is {alpha!r}; expected a number from 1 to 4")
        self.alpha = float(alpha)
        self.seed = check_range("seed", seed, 0)
        self.threads = None if threads is None else check_range("threads", threads, 1)
        self.link_bits = None if link_bits is None else check_range("link_bits", link_bits, STEP, _MOST_LINK_BITS)
        if self.link_bits is not None and self.link_bits % STEP:
            raise InvalidInput(f"link_bits is {link_bits}; expected a multiple of {STEP}")
        numbers: tuple[int, ...] = (self.degree,)
        if self.link_bits is not None:
            numbers = (self.degree, self.window, self.link_bits)
        elif self.window != _WINDOW:
            numbers = (self.degree, self.window)
        self._spec = chain_text(self._parts, PartSpec(self.spec_name, numbers))
        self._ready: _Ready | None = None
        self._costs = WalkCosts.usual(self.degree)
        self._labels: tuple[Labels, ...] = ()
        self._codes: LinkCodes | None = None

    @property
    def labels(self) -> dict[str, int]:
        """The attributes that were declared to `build`, and how many of their labels have links."""
        return {each.name: each.linked for each in self._labels}

    @property
    def nbytes(self) -> int:
        """Bytes that searches read: vectors on both levels, graph and ids."""
        links = self._graph.nbytes + sum(each.nbytes for each in self._labels)
        links += self._codes.nbytes if self._codes else 0
        return super().nbytes + links + self._twins.following.nbytes

    # -- changing ------------------------------------------------------------------------------------------------------

    def build(
        self,
        x: Any,
        *,
        queries: Any = None,
        held_out: Any = None,
        labels: Mapping[str, Any] | None = None,
        progress: Callable[[int, int | None, str], None] | None = None,
    ) -> Self:
        """Index the rows of `x`, forgetting what was there.

        Parameters
        ----------
        x : (n, d) array of float
        queries : (m, d) array of float, optional
            Examples of queries, which a `transform` may learn from.
        held_out : sequence of int, optional
            Rows that are indexed like all others, but that transforms and codecs do not learn from: with them as
            queries, a measurement of the index is honest.
        labels : mapping of str to (n,) array of int, optional
            Attributes that searches are filtered by, each with the label of every row; negative for none. Rows of a
            label are linked among each other as well, if they are 1,024 at least: see Notes.
        progress : callable, optional
            Called as ``progress(done, total, what)``.

        Raises
        ------
        InvalidInput
            NaN, infinity, not two axes, a vector too long to square in float32, or what a codec refuses.
        TooLarge
            More memory would be needed than there is, or more than 2^31 - 2 vectors.
        """
        vectors = as_dense(x)
        n, d = vectors.shape
        given = check_labels(labels, n)
        self._check_memory(n, d, n * (12 * self.degree * len(given) + self._link_bytes(d)))
        check_norms(vectors, "x")
        examples = None if queries is None else as_dense(queries, dim=d, name="queries")
        order = near_order(vectors, self.seed)
        levels = self._levels.anew()
        if not n:
            # A zero vector in a free slot stands in until `add` brings some to fit on.
            levels.fit(np.zeros((1, d), np.float32), examples)
            codes = self._uncoded(levels)
            slots = Slots(np.full(1, -1, np.int64), np.empty(0, np.int32))
            graph, entries = np.full((1, self.degree), -1, np.int32), np.zeros(1, np.int32)
            codes = codes and codes.following(levels, graph, graph[:0], True, self.threads)
            self._adopt(levels, slots, Twins(), graph, entries, self._unlabelled(given, 1), codes)
            return self
        learned = self._learned(n, held_out)
        short = levels.fit(vectors[order], examples, None if learned is None else learned[order])
        codes = self._uncoded(levels)
        slots, twins = Slots(order, np.argsort(order).astype(np.int32)), Twins()
        attributes = self._unlabelled(given, n)
        for each in attributes:
            each.put(slots.used(), given[each.name][order], n)
        leaders = twins.pair(levels.walk, np.empty(0, np.int32), slots.used(), [each.codes for each in attributes])
        entry = _most_central(short, leaders)
        del short
        linker = self._linker(levels, slots, leaders)
        graph, entries = self._link(linker, leaders, entry, progress)
        for each in attributes:
            each.link(linker, entry, leaders, leaders, self.seed, progress)
        codes = codes and codes.following(levels, graph, graph[:0], True, self.threads)
        self._adopt(levels, slots, twins, graph, entries, attributes, codes)
        self._costs = self._counted(vectors)
        return self

    def add(self, x: Any, *, labels: Mapping[str, Any] | None = None) -> NDArray[np.int64]:
        """Append the rows of `x` and return their ids; transform and codecs stay as `build` fitted them.

        Parameters
        ----------
        x : (n, d) array of float
        labels : mapping of str to (n,) array of int, optional
            As in `build`, of attributes that were declared there; rows have no label of those left out.

        Raises
        ------
        DimensionMismatch, InvalidInput, TooLarge
            As `build`.
        """
        if self._slots is None:
            return np.arange(self.build(x, labels=labels).n_rows)
        if not self.n_rows:
            vectors = as_dense(x, dim=self.dim)
            return np.arange(self.build(vectors, labels=self._check_labels(labels, len(vectors))).n_rows)
        vectors = as_dense(x, dim=self.dim)
        given = self._check_labels(labels, len(vectors))
        copied = self._graph.nbytes + sum(each.nbytes for each in self._labels)
        self._check_memory(len(vectors), self.dim, copied + len(self._graph) * self._link_bytes(self.dim))
        levels, first = self._levels, self.n_rows
        encoded = levels.encode(vectors)
        if not len(vectors):
            return np.empty(0, np.int64)
        slots, twins = self._slots.copy(), self._twins.copy()
        leaders = twins.leaders(slots.used())
        taken = slots.take(len(vectors))
        if self._mapped or slots.capacity > len(self._graph):
            levels.grow(slots.capacity)
        twins.grow(slots.capacity)
        levels.put(taken, *encoded)
        attributes = tuple(each.copy() for each in self._labels)
        for each in attributes:
            each.put(taken, given[each.name], slots.capacity)
        new = twins.pair(levels.walk, leaders, taken, [each.codes for each in attributes])
        linker, there = self._linker(levels, slots), np.concatenate([leaders, new])
        if not len(leaders):
            graph, entries = self._link(linker, new, int(new[0]), None)
        else:
            graph, entries = grown(self._graph, slots.capacity, -1), self._entries.copy()
            linker.insert(graph, entries, new, len(graph))
            linker.connect(graph, entries, there)
        for each in attributes:
            each.link(linker, int(entries[0]), there, new, self.seed)
        codes = self._codes and self._codes.following(levels, graph, self._graph, not self._mapped, self.threads)
        self._adopt(levels, slots, twins, graph, entries, attributes, codes)
        return np.arange(first, self.n_rows)

    def remove(self, ids: Any) -> int:
        """Drop rows for good, and link what was linked to them to what they were linked to; ids are never used again.

        Parameters
        ----------
        ids : int or sequence of int
            Ids removed before are passed over.

        Returns
        -------
        int
            Number of rows that were there until now.
        """
        slots = self._built().copy()
        rows = check_row_ids(ids, self.n_rows)
        rows = rows[slots.slot_of[rows] >= 0]
        if not len(rows):
            return 0
        levels, twins = self._levels, self._twins.copy()
        before = twins.leaders(slots.used())
        gone = np.zeros(slots.capacity, np.bool_)
        gone[slots.slot_of[rows]] = True
        moves = twins.release(before, gone)
        for twin, leader in moves:
            slots.move(twin, leader)
        slots.drop(rows)
        left = before[slots.row_ids[before] >= 0]
        dead = np.zeros(slots.capacity, np.bool_)
        dead[before] = True
        dead[left] = False
        graph, entries = grown(self._graph, slots.capacity, -1), self._entries.copy()
        attributes = tuple(each.copy() for each in self._labels)
        if len(left) and dead.any():
            linker = self._linker(levels, slots)
            linker.mend(graph, dead)
            if dead[entries[0]]:
                entries = linker.nearest(int(entries[0]), left)
            linker.connect(graph, entries, left)
            for each in attributes:
                each.mend(linker, dead, left)
        for each in attributes:
            each.free(slots.row_ids < 0)
        if self._mapped:
            levels.grow(slots.capacity)
        for twin, leader in moves:
            levels.copy_row(twin, leader)
        codes = self._codes and self._codes.following(levels, graph, self._graph, not self._mapped, self.threads)
        self._adopt(levels, slots, twins, graph, entries, attributes, codes)
        return len(rows)

    # -- searching -----------------------------------------------------------------------------------------------------

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        effort: int | None = None,
        allowed: NDArray[np.bool_] | None = None,
        threads: int | None = None,
        strategy: str | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `k` best rows that a walk finds for each query.

        Parameters
        ----------
        q : (nq, d) array of float
        k : int, default 10
            More than there are rows is allowed; the places left hold -1 and -inf.
        effort : int, optional
            Width of the beam, 64 by default and at least k: wider finds more and takes proportionally longer.
        allowed : (n_rows,) bool, optional
            Only rows marked True are hits; how they are found is chosen by what it costs, see `plan`.
        threads : int, optional
            At most this many; by default all processors.
        strategy : {"scan", "bridge", "walk", "labels"}, optional
            How to search among the rows that are allowed, instead of the cheapest way; see `FilterPlan`.

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
        return self._search(q, k, effort, allowed, threads, strategy, None)

    def plan(
        self,
        q: Any,
        k: int = 10,
        *,
        effort: int | None = None,
        allowed: NDArray[np.bool_],
        threads: int | None = None,
        strategy: str | None = None,
    ) -> FilterPlan:
        """Return how `search` with the same arguments goes about it, and why; takes as long as the search."""
        told: list[FilterPlan] = []
        self._search(q, k, effort, allowed, threads, strategy, told)
        return told[0]

    def _search(
        self,
        q: Any,
        k: int,
        effort: int | None,
        allowed: NDArray[np.bool_] | None,
        threads: int | None,
        strategy: str | None,
        told: list[FilterPlan] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Search, and put the plan into `told` if it is asked for."""
        k, effort, threads = check_search(k, effort, threads)
        self._built()
        queries = self._levels.queries(q)
        nq = len(queries.full)
        mask = check_allowed(allowed, self.n_rows)
        if strategy is not None:
            check_choice("strategy", strategy, WAYS)
        count = self._prepared().rows
        passing = None
        if mask is not None and not (strategy is None and mask.all()):
            passing = self._prepared().filters.of(mask, lambda mask: Passing.of(mask, self._built(), self._twins))
        matching = count if passing is None else len(passing.slots)
        if not nq or not matching:
            if told is not None:
                told.append(FilterPlan("scan", matching, count, why="there is nothing to look at"))
            return ranked.empty(nq, k)
        width = min(max(effort or _EFFORT, k), matching)
        ids, scores = np.empty((nq, k), np.int64), np.empty((nq, k), np.float32)
        if passing is None:
            self._walk(queries, width, threads, ids, scores)
            if told is not None:
                told.append(FilterPlan("walk", matching, count, why="every row passes"))
        else:
            way = passing.ways.get((width, strategy))
            if way is None:
                found = [each.region(passing.slots) for each in self._labels]
                regions = [region for region in found if region is not None]
                terms = self._levels.terms
                way = choose(self._costs, matching, count, width, self.degree, terms, strategy, regions)
                passing.ways[width, strategy] = way
            went = self._search_passing(queries, passing, way, threads, ids, scores)
            if told is not None:
                told.append(planned(way, matching, count, *went))
        self._levels.finish(queries, scores)
        return ids, scores

    def _search_passing(
        self,
        queries: Queries,
        passing: Passing,
        way: Way,
        threads: int | None,
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
    ) -> tuple[NDArray[np.int8] | None, NDArray[np.float32] | None]:
        """Search among the rows that pass; queries that no walk serves have all of them looked at.

        Returns which way each query went and what share passes near it; None for both where all had to scan.
        """
        ready, matching = self._prepared(), len(passing.slots)
        if way.scans:
            self._levels.scan(queries, passing.slots, ready.whole.row_ids, way.width, threads, ids, scores)
            return None, None
        if way.region is not None and way.region.rows == matching:
            self._walk(queries, way.width, threads, ids, scores, way.region)
            return np.full(len(ids), WAYS.index(LABELS), np.int8), None
        ways, shares, _ = self._walk_passing(queries, passing, way, threads, ids, scores)
        if way.region is not None:
            ways[ways != STRATEGIES.index("scan")] = WAYS.index(LABELS)
        left = (ids >= 0).sum(1) < min(ids.shape[1], matching)
        left |= ways == STRATEGIES.index("scan")
        if left.any():
            those = Queries(*(part[left] if len(part) else part for part in queries))
            found, of = ids[left], scores[left]
            self._levels.scan(those, passing.slots, ready.whole.row_ids, way.width, threads, found, of)
            ids[left], scores[left], ways[left] = found, of, STRATEGIES.index("scan")
        return ways, shares

    def _walk_passing(
        self,
        queries: Queries,
        passing: Passing,
        way: Way,
        threads: int | None,
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
    ) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int64]]:
        """Walk or bridge; returns which way each query went, the share that passes near it, and its work."""
        from isometry.kernels import filtered

        levels, ready, nq, width = self._levels, self._prepared(), len(ids), way.width
        share = len(passing.slots) / (ready.rows if way.region is None else way.region.rows)
        least = way.walk_from if 0 < way.walk_from <= 1 else share
        room = max(min(ready.rows, _WIDEST, math.ceil(2 * width / least)), 8 * NEAR)
        ways, shares = np.zeros(nq, np.int8), np.zeros(nq, np.float32)
        work = np.zeros((nq, 2), np.int64)
        place = ready.place(way.region)
        settings = (width, room, NEAR, way.bridge_from, way.walk_from, place.links.shape[1])

        def walk(start: int, stop: int) -> None:
            part = slice(start, stop)
            asked = levels.asked(queries, part)
            seen = ready.scratch.take()
            filtered.search(
                *place, passing.marks, passing.leading, share, *asked, *settings, seen, ways[part], shares[part],
                work[part], ids[part], scores[part],
            )  # fmt: skip
            ready.scratch.give(seen)

        ids[:] = -1
        run_parts(walk, nq, _PART, threads)
        return ways, shares, work

    def _counted(self, x: NDArray[np.float32]) -> WalkCosts:
        """Count what filtered walks do for some of the rows as queries: the same in every build of these rows."""
        count = self._prepared().rows
        if count < FEWEST_COUNTED:
            return WalkCosts.usual(self.degree)
        rng = np.random.default_rng(self.seed)
        queries = self._levels.queries(x[rng.choice(len(x), SAMPLE, replace=False)])
        ids, scores = np.empty((SAMPLE, 1), np.int64), np.empty((SAMPLE, 1), np.float32)
        order, work = rng.random(self.n_rows), np.empty((len(SHARES) + 1, len(WIDTHS)))
        for i, share in enumerate((*SHARES, WALK_SHARE)):
            passing = Passing.of(order < share, self._built(), self._twins)
            for j, width in enumerate(WIDTHS):
                way = Way(0.0, 0.0 if i == len(SHARES) else 2.0, {}, width)
                walked = self._walk_passing(queries, passing, way, self.threads, ids, scores)
                work[i, j] = walked[2].sum(1).mean()
        return WalkCosts.fitted(work, self.degree)

    def _walk(
        self,
        queries: Queries,
        width: int,
        threads: int | None,
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
        region: Region | None = None,
    ) -> None:
        levels, ready = self._levels, self._prepared()
        place: tuple[Any, ...] = ready.free if region is None else ready.place(region)
        search, n_fine = ready.search, width
        if region is None and ready.coded is not None:
            place, search = ready.coded, ready.search_coded
            if not levels.refined:
                n_fine = max(width // 2, min(width, _SURE * ids.shape[1]))

        def walk(start: int, stop: int) -> None:
            part = slice(start, stop)
            asked = levels.asked(queries, part)
            seen = ready.scratch.take()
            search(*place, *asked, width, n_fine, seen, ids[part], scores[part])
            ready.scratch.give(seen)

        run_parts(walk, len(ids), _PART, threads)

    # -- keeping -------------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters and arrays that `save` writes and `from_folder` reads."""
        slots = self._built()
        parameters, arrays = self._levels.state(slots.capacity)
        parameters |= {
            "metric": self.metric, "degree": self.degree, "window": self.window, "alpha": self.alpha,
            "seed": self.seed, "spec": self.spec, "filtered": self._costs.numbers(),
        }  # fmt: skip
        arrays |= {
            "graph": self._graph, "row_ids": slots.row_ids, "slot_of": slots.slot_of, "entries": self._entries,
            "twins": self._twins.following,
        }  # fmt: skip
        for i, each in enumerate(self._labels):
            held, more = inner_state(f"labels{i}", "labels", 1, *each.state())
            parameters, arrays = parameters | held, arrays | more
        if self.link_bits is not None:
            parameters["link_bits"] = self.link_bits
        if self._codes is not None:
            held, more = inner_state("links", "links", 1, *self._codes.state())
            parameters, arrays = parameters | held, arrays | more
        return parameters, arrays

    @classmethod
    def from_folder(cls, folder: Folder) -> Self:
        """Return the index in a folder that `isometry.storage.read_folder` opened; nothing is loaded yet."""
        folder.require_version(cls.kind_version)
        values = {name: folder.parameter(name, int) for name in ("degree", "window", "seed")}
        if "link_bits" in folder.parameters:
            values["link_bits"] = folder.parameter("link_bits", int)
        try:
            index = cls(metric=folder.parameter("metric", str), alpha=folder.parameter("alpha", float), **values)
        except InvalidInput as error:
            raise folder.damaged(str(error)) from None
        index._spec = folder.parameter("spec", str)
        index._slots = Slots.from_folder(folder)
        index._graph = folder.array("graph", np.int32, (index._slots.capacity, index.degree))
        index._entries = folder.array("entries", np.int32, (1,))
        index._twins = Twins(folder.array("twins", np.int32, (None,)))
        index._levels = Levels.from_folder(folder, index.metric, index._slots.capacity)
        found = itertools.takewhile(folder.parameters.__contains__, (f"labels{i}" for i in itertools.count()))
        index._labels = tuple(Labels.from_folder(folder.inner(name), index._slots.capacity) for name in found)
        if "links" in folder.parameters:
            of = index._slots.capacity, index.degree, index._levels.walk_dim
            index._codes = LinkCodes.from_folder(folder.inner("links"), *of)
        index._mapped, index.kind_version = True, folder.kind_version
        if "filtered" in folder.parameters:  # the first folders have none
            try:
                index._costs = WalkCosts.parse(folder.parameter("filtered", list), index.degree)
            except InvalidInput as error:
                raise folder.damaged(str(error)) from None
        for problem in index._broken_links():
            raise folder.damaged(problem)
        return index

    # -- within --------------------------------------------------------------------------------------------------------

    def _prepared(self) -> _Ready:
        """Return what every search needs, made by the first one after a change."""
        if self._ready is None:
            from isometry.indexes.graph import marks

            slots = self._built()
            whole = _Place(
                walk=self._levels.walk,
                fine=self._levels.fine,
                space=self._levels.search_space(),
                links=frozen(self._graph),
                entries=frozen(self._entries),
                row_ids=frozen(slots.row_ids),
                following=frozen(self._twins.following),
            )
            free = whole._replace(entries=frozen(self._starts()))
            self._ready = _Ready(
                rows=len(slots),
                whole=whole,
                free=free,
                scratch=marks(slots.capacity),
                filters=Masks(),
                coded=None if self._codes is None else (*free, self._codes.links()),
            )
        return self._ready

    def _starts(self) -> NDArray[np.int32]:
        """Return where walks may begin: the entry, and rows from everywhere, as rows were put in order of nearness."""
        slots, count = self._built(), min(len(self._graph) // _ROWS_PER_START, _MOST_STARTS)
        some = np.linspace(0, len(self._graph) - 1, count).astype(np.int32)
        linked = (slots.row_ids[some] >= 0) & (self._graph[some, 0] >= 0)
        return np.append(self._entries, some[linked])

    def _link(
        self,
        linker: Linker,
        leaders: NDArray[np.int32],
        entry: int,
        progress: Callable[[int, int | None, str], None] | None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the graph of the leaders, and where walks begin."""
        order = np.random.default_rng(self.seed).permutation(leaders)
        return linker.build([(entry, order)], progress), np.array([entry], np.int32)

    def _linker(self, levels: Levels, slots: Slots, anew: NDArray[np.int32] | None = None) -> Linker:
        """Return what links rows; `anew` are those of a graph that is yet to be made."""
        from isometry.indexes.graph import Linker

        rows, dim = link_rows(levels, anew, self.threads)
        space = link_space(self.metric, slots.used(), rows, dim)
        return Linker(rows, space, dim, self.degree, self.window, self.alpha, self.threads)

    def _uncoded(self, levels: Levels) -> LinkCodes | None:
        """Return codes for the links of no rows yet, if there are to be any."""
        return None if self.link_bits is None else LinkCodes.none(levels, self.degree, self.link_bits, self.seed)

    def _unlabelled(self, names: Iterable[str], capacity: int) -> tuple[Labels, ...]:
        """Return attributes that no row has a label of yet."""
        degree = min(self.degree, max(_LABEL_DEGREE, self.degree // 2))
        return tuple(Labels.none(name, capacity, degree) for name in names)

    def _check_labels(self, labels: Any, n: int) -> dict[str, NDArray[np.int64]]:
        """Return a label for each of n rows of every declared attribute."""
        given, known = check_labels(labels, n), {each.name for each in self._labels}
        if not given.keys() <= known:
            odd, declared = (", ".join(sorted(map(repr, names))) for names in (given.keys() - known, known))
            raise InvalidInput(f"labels has {odd}; build was given {declared or 'none'}: build again to declare more")
        return {name: given.get(name, np.full(n, -1)) for name in known}

    def _adopt(
        self,
        levels: Levels,
        slots: Slots,
        twins: Twins,
        graph: NDArray[np.int32],
        entries: NDArray[np.int32],
        labels: tuple[Labels, ...],
        codes: LinkCodes | None,
    ) -> None:
        """Be this index from now on: until here, what was there has not changed."""
        self._levels, self._slots, self._twins, self._graph, self._entries = levels, slots, twins, graph, entries
        self._labels, self._codes, self._ready, self._mapped = labels, codes, None, False
        self.kind_version = _CODED if self.link_bits else _LABELLED if labels else _UNLABELLED

    def _check_memory(self, n: int, d: int, more: int = 0) -> None:
        """Refuse, before anything is done, what can't be held: n vectors to build, and `more` bytes."""
        if n > _MOST_ROWS:
            raise TooLarge(f"{n} vectors are more than one graph holds, {_MOST_ROWS}: use several indexes")
        check_memory(
            n * (4 * 4 * d + 3 * 4 * self.degree) + more,
            f"{n} vectors of {d} dimensions",
            f"a Vamana index of degree {self.degree}",
            "build several smaller indexes, or take a smaller degree",
        )

    def _link_bytes(self, d: int) -> int:
        """Return about how many bytes a row takes while its links get codes."""
        bits = min(self.link_bits or 0, d)
        return bits and self.degree * (bits // 8 + 12) + 4 * bits

    def _broken_links(self) -> Iterator[str]:
        """Yield what would lead a walk out of the arrays: kernels trust what they are given."""
        slots, following = self._built(), self._twins.following
        capacity = slots.capacity
        for name, array, end in (
            ("graph", self._graph, capacity),
            ("entries", self._entries, capacity),
            ("twins", following, capacity),
        ):
            if array.size and not (array.min() >= -1 and array.max() < end):
                yield f"array {name!r} leads to {array.min()} and {array.max()}, beyond 0 to {end - 1}"
                return
        if self._entries[0] < 0 or len(following) not in (0, capacity):
            yield "its entry or its twins are missing"
        elif len(following):
            behind = np.bincount(following[following >= 0], minlength=capacity)
            at = np.flatnonzero((behind == 0) & (following >= 0)).astype(np.int32)
            steps = 0
            while len(at):
                at = following[at]
                at = at[at >= 0]
                steps += len(at)
            if behind.max() > 1 or steps != np.count_nonzero(following >= 0):
                yield "its twins form no chains"


class _Place(NamedTuple):
    """Where walks go: the first arguments of their kernels."""

    walk: Rows
    fine: Rows
    space: Space
    links: NDArray[np.int32]
    entries: NDArray[np.int32]
    row_ids: NDArray[np.int64]
    following: NDArray[np.int32]


@dataclass(frozen=True)
class _Ready:
    """What every search needs; all arrays are read-only views."""

    rows: int
    whole: _Place
    free: _Place
    """The same, with more rows to begin at: not for filters, as what passes may lie on the way to a query, not near."""
    scratch: Scratch[NDArray[np.uint8]]
    filters: Masks[Passing]
    coded: tuple[Any, ...] | None
    """The same, and the codes of the links, for walks that read these."""

    def place(self, region: Region | None) -> _Place:
        """Return where to search: among all rows, or among those of a label."""
        return self.whole if region is None else self.whole._replace(links=region.links, entries=region.entries)

    @cached_property
    def search(self) -> Callable[..., Any]:
        """The kernel that walks through these rows, without a look at the types of its arguments at every call."""
        from isometry.kernels import graph as kernels
        from isometry.kernels.compiled import machine_code

        return machine_code(kernels.search, *self.whole, *_ASKED)

    @cached_property
    def search_coded(self) -> Callable[..., Any]:
        """The same of the kernel that estimates what links lead to."""
        from isometry.kernels import links as kernels
        from isometry.kernels.compiled import machine_code

        return machine_code(kernels.search, *(self.coded or ()), *_ASKED)


_FLOATS = np.empty((1, 1), np.float32)
_ASKED = (_FLOATS, _FLOATS, 1, 1, np.empty(1, np.uint8), np.empty((1, 1), np.int64), _FLOATS)
"""What stands for the arguments of a walk that change from search to search."""


def _most_central(x: NDArray[np.float32], slots: NDArray[np.int32]) -> int:
    """Return the slot whose vector is nearest to the mean."""
    middle = x.mean(0)
    distances = [np.square(x[slots[i : i + 65536]] - middle).sum(1) for i in range(0, len(slots), 65536)]
    return int(slots[np.concatenate(distances).argmin()])
