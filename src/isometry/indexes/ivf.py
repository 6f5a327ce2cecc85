"""Inverted lists: vectors sorted by their nearest centroid, of which a search looks at the lists near the query."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from isometry import ranked
from isometry.errors import DimensionMismatch, InvalidInput, check_range
from isometry.indexes.base import SMALLEST_NORM, check_allowed, check_search
from isometry.indexes.compressed import Scanned
from isometry.indexes.filtering import Masks
from isometry.indexes.levels import Levels, Queries, frozen
from isometry.indexes.spec import PartSpec, chain_text
from isometry.kernels.rows import TableRows, TurnedRows, grown, padded_copy
from isometry.storage import Folder
from isometry.threads import processors, run_parts
from isometry.vectors import as_dense

if TYPE_CHECKING:
    from isometry.kernels.graph import Space
    from isometry.kernels.lists import Lists
    from isometry.kernels.rows import Float32Rows

__all__ = ["IVF"]

_EFFORT = 32
_PER_ROOT = 4
_MOST_LISTS = 2**16
_SAMPLE, _FEWEST_ROWS = 32, 32_768
_ITERATIONS = 12
_AGAIN, _AGAIN_PER_HIT, _AGAIN_PER_LIST = 100, 4, 2
_FEWEST_QUERIES = 16
_TABLES = 256


class IVF(Scanned):
    r"""Approximate nearest neighbours in the lists of the nearest centroids: ``"PQ32x4,IVF1024 -> LVQ8"``.

    Centroids are learned by k-means, and every vector is in the list of its nearest one. A search looks at the `effort`
    lists whose centroids promise most, and puts the best of what it found in order by the finest vectors there are.

    Parameters
    ----------
    metric : {"cosine", "dot", "l2"}, default "cosine"
        ``l2`` scores are minus the squared distance. Lists are chosen as the metric compares the query with their
        centroids.
    n_lists : int, optional
        Up to 65,536, and at most one per vector. By default, or with 0, :math:`4 \sqrt n`.
    codec, transform, refine : estimators, optional
        As for `Vamana`: what lists hold, what shortens vectors before that, and what puts hits in order.
    residual : bool, optional
        Whether `codec` keeps what a vector's centroid leaves over, :math:`x - o`, in place of the vector: a score is
        then :math:`\langle q, o \rangle + \langle q, x - o \rangle`. By default it does where there is a codec, unless
        this is frozen and no `centroids` are given: then it was trained on whole vectors.
    centroids : (n_lists, d') float, optional
        Use these, which are not trained further, and leave k-means out. They are where `codec` sees vectors: behind the
        `transform`, under ``cosine`` among vectors of length 1, under ``l2`` among those less their mean; the attribute
        `centroids` of an index is of the same kind.
    random_state : int, default 0
        Draws the rows that k-means looks at.
    threads : int, optional
        For building; by default all processors. The index is the same for any number.

    Attributes
    ----------
    centroids : (n_lists, d') float32

    Notes
    -----
    With L lists, building takes O(n L d) and O(32 L^2 d) for k-means, which is :math:`O(n^{1.5} d)` for the usual
    number; a search O(L d) to choose lists and O(effort n / L) scores. Memory is what the codecs need, 4 L d bytes, and
    18 bytes per vector for its id, its place and its list.

    Rows lie in the order of lists after `build`; added ones take free places, so many additions make a search read from
    here and there. Queries that are asked together read a list once. Any number of threads may search at once; `build`,
    `add` and `remove` must have the index to themselves.

    Where fewer rows than k are in the lists of a search, it goes on to further ones: k hits come back whenever there
    are k rows. Among rows that `allowed` marks it looks at more lists the fewer pass, by the root of their share, and
    at all of them where that makes as many as there are, which is a scan of the rows that pass.

    References
    ----------
    Jégou, Douze, Schmid, Product quantization for nearest neighbor search, TPAMI 33(1), 2011 (IVFADC).

    Examples
    --------
    >>> from isometry.codecs import LVQ
    >>> x = np.random.default_rng(0).standard_normal((1000, 32), dtype=np.float32)
    >>> index = IVF(n_lists=16, codec=LVQ(bits=8)).build(x)
    >>> index.search(x[:2], k=1, effort=4)[0].tolist(), index.spec
    ([[0], [1]], 'LVQ8,IVF16')
    """

    kind: ClassVar[str] = "IVF"
    kind_version: int = 1
    spec_name: ClassVar[str] = "IVF"
    spec_fields: ClassVar[tuple[str, ...]] = ("n_lists",)
    spec_slots: ClassVar[tuple[str, ...]] = ("transform", "codec", "refine")

    def __init__(
        self,
        *,
        metric: str = "cosine",
        n_lists: int | None = None,
        codec: Any = None,
        transform: Any = None,
        refine: Any = None,
        residual: bool | None = None,
        centroids: Any = None,
        random_state: int = 0,
        threads: int | None = None,
    ) -> None:
        super().__init__(metric, transform, codec, refine)
        self.n_lists = check_range("n_lists", n_lists, 1, _MOST_LISTS) if n_lists else None
        self._given: NDArray[np.float32] | None = None
        if centroids is not None:
            self._given = _checked(centroids, self.n_lists)
            self.n_lists = len(self._given)
        if residual is not None and not isinstance(residual, bool | np.bool_):
            raise InvalidInput(f"residual is {residual!r}; expected True, False or None")
        self.residual = residual
        self.random_state = check_range("random_state", random_state, 0)
        self.threads = None if threads is None else check_range("threads", threads, 1)
        self._spec = chain_text(self._parts, PartSpec(self.spec_name, (self.n_lists,) if self.n_lists else ()))
        self._centroids = np.empty((0, 0), np.float32)
        self._list_of = np.empty(0, np.uint16)
        self._ready: _Ready | None = None

    @property
    def centroids(self) -> NDArray[np.float32]:
        """What lists are chosen by."""
        self._built()
        return self._centroids

    @property
    def codec(self) -> Any:
        """The fitted codec of what lists hold."""
        self._built()
        return self._levels.codec

    @property
    def lists(self) -> NDArray[np.int64]:
        """The list of every row by its id, (n_rows,); -1 for those that were removed."""
        slots = self._built()
        return np.where(slots.slot_of >= 0, self._list_of[slots.slot_of].astype(np.int64), -1)

    @property
    def nbytes(self) -> int:
        """Bytes that searches read: vectors on both levels, ids, lists and centroids."""
        ready = self._prepared()
        return super().nbytes + self._list_of.nbytes + ready.lists.slots.nbytes + self._centroids.nbytes

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        effort: int | None = None,
        allowed: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `k` best rows that are in the lists near each query.

        Parameters
        ----------
        q : (nq, d) array of float
        k : int, default 10
            More than there are rows is allowed; the places left hold -1 and -inf.
        effort : int, optional
            How many lists are looked at, 32 by default: more find more and take proportionally longer; with all of them
            nothing is missed but what the codes misplace. Where finer vectors put hits in order, they do for the best
            100 rows, 4 k or 2 `effort`, whichever is most.
        allowed : (n_rows,) bool, optional
            Only rows marked True are candidates; the search reads no others.
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
        self._built()
        queries = self._levels.queries(q)
        nq = len(queries.full)
        mask = check_allowed(allowed, self.n_rows)
        ready = self._prepared()
        lists, share = ready.lists, 1.0
        if mask is not None and not mask.all():
            lists = ready.masks.of(mask, self._passing)
            share = len(lists.slots) / max(1, len(ready.lists.slots))
        matching = len(lists.slots)
        if not nq or not matching:
            return ranked.empty(nq, k)
        ids, scores = np.full((nq, k), -1, np.int64), np.full((nq, k), -np.inf, np.float32)
        wanted = effort or _EFFORT
        probes = min(math.ceil(wanted / math.sqrt(share)), len(self._centroids))
        again = max(_AGAIN, _AGAIN_PER_HIT * k, _AGAIN_PER_LIST * wanted) if self._levels.rescores else k
        part = max(_FEWEST_QUERIES, -(-nq // (threads or processors())))
        together = part
        if isinstance(self._levels.walk, TableRows | TurnedRows):
            # A table is larger than the lists that it looks up, so it had better stay in the cache than they.
            part, together = min(part, _TABLES), 1
        how = _How(probes, min(k, matching), min(again, matching), together)
        run_parts(
            lambda start, stop: self._look(queries, slice(start, stop), lists, how, ids, scores), nq, part, threads
        )
        self._levels.finish(queries, scores)
        return ids, scores

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters and arrays that `save` writes and `from_folder` reads."""
        parameters, arrays = super().state()
        parameters |= {"residual": self._residual, "random_state": self.random_state, "n_lists": self.n_lists or 0}
        return parameters, arrays | {"centroids": self._centroids, "lists": self._list_of}

    @classmethod
    def from_folder(cls, folder: Folder) -> Self:
        """Return the index in a folder that `isometry.storage.read_folder` opened; nothing is loaded yet."""
        index = super().from_folder(folder)
        try:
            index.n_lists = check_range("n_lists", folder.parameter("n_lists", int), 0, _MOST_LISTS) or None
            index.random_state = check_range("random_state", folder.parameter("random_state", int), 0)
        except InvalidInput as error:
            raise folder.damaged(str(error)) from None
        index._residual = index.residual = folder.parameter("residual", bool)
        shape = (None, index._levels.short_dim)
        index._centroids = folder.array("centroids", np.float32, shape)
        index._list_of = folder.array("lists", np.uint16, (index._built().capacity,))
        if not index._list_of.max(initial=0) < len(index._centroids) <= _MOST_LISTS:
            raise folder.damaged(f"its rows are in lists up to {index._list_of.max(initial=0)}")
        return index

    # -- within --------------------------------------------------------------------------------------------------------

    def _fit(
        self,
        levels: Levels,
        x: NDArray[np.float32],
        examples: NDArray[np.float32] | None,
        learned: NDArray[np.bool_] | None,
    ) -> NDArray[np.int64]:
        full, short = levels.fit_transforms(x, examples, learned)
        centroids = self._given
        if centroids is None:
            centroids = self._learn(short if learned is None else short[learned])
        elif centroids.shape[1] != short.shape[1]:
            raise DimensionMismatch(
                f"centroids have {centroids.shape[1]} dimensions, but lists hold vectors of {short.shape[1]}"
            )
        residual = self._leaves_over() if self.residual is None else bool(self.residual)
        list_of = _nearest(short, centroids, self.threads)
        order = np.argsort(list_of, kind="stable")
        list_of = list_of[order]
        rest = short[order] - centroids[list_of] if residual else short[order]
        levels.fit_codecs(full[order], rest, None if learned is None else learned[order])
        self._centroids, self._residual, self._list_of = centroids, residual, list_of
        return order

    def _leaves_over(self) -> bool:
        """Tell whether the codec keeps what centroids leave over when nobody says so."""
        codec = self._parts["codec"]
        return codec is not None and (self._given is not None or not getattr(codec, "frozen_", False))

    def _learn(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the centroids of vectors (n, d)."""
        from isometry.kernels.kmeans import train, training_rows

        k = min(self.n_lists or max(1, round(_PER_ROOT * math.sqrt(len(x)))), _MOST_LISTS, len(x))
        rng = np.random.default_rng(self.random_state)
        d = x.shape[1]
        rows, scale = training_rows(x, np.zeros(d, np.float32), max(k * _SAMPLE, _FEWEST_ROWS), rng)
        return scale * train(rows, np.array([0, d]), k, n_iter=_ITERATIONS, rng=rng, threads=self.threads)

    def _encoded(self, x: NDArray[np.float32]) -> tuple[Any, ...]:
        full, short = self._levels.transformed(x)
        list_of = _nearest(short, self._centroids, self.threads)
        rest = short - self._centroids[list_of] if self._residual else short
        return self._levels.coded(full, rest), list_of

    def _put(self, taken: NDArray[np.int32], *more: Any) -> None:
        (list_of,) = more
        if self._built().capacity > len(self._list_of):
            self._list_of = grown(self._list_of, self._built().capacity)
        elif not self._list_of.flags.writeable:
            self._list_of = self._list_of.copy()
        self._list_of[taken] = list_of

    def _changed(self) -> None:
        self._ready = None

    def _prepared(self) -> _Ready:
        """Return what every search needs, made by the first one after a change."""
        if self._ready is None:
            from isometry.kernels.rows import Float32Rows

            slots = self._built()
            self._levels.turn()
            used = slots.used()
            order = used[np.argsort(self._list_of[used], kind="stable")]
            squares = np.vecdot(self._centroids, self._centroids)
            inverse = 1 / np.sqrt(np.maximum(squares, SMALLEST_NORM))
            self._ready = _Ready(
                lists=self._cut(order),
                centroids=Float32Rows(frozen(padded_copy(self._centroids))),
                scale=inverse if self.metric == "cosine" else np.ones_like(squares),
                bias=squares / -2 if self.metric == "l2" else np.zeros_like(squares),
                space=self._levels.search_space(),
                row_ids=frozen(slots.row_ids),
                list_of=frozen(self._list_of),
                masks=Masks(),
            )
        return self._ready

    def _cut(self, slots: NDArray[np.int32]) -> Lists:
        """Return slots that are in the order of lists, cut into lists."""
        from isometry.kernels.lists import Lists

        sizes = np.bincount(self._list_of[slots], minlength=len(self._centroids))
        return Lists(frozen(np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])), frozen(slots))

    def _passing(self, mask: NDArray[np.bool_]) -> Lists:
        """Return the lists of the rows that a mask marks."""
        ready = self._prepared()
        return self._cut(ready.lists.slots[mask[ready.row_ids[ready.lists.slots]]])

    def _look(
        self,
        queries: Queries,
        part: slice,
        lists: Lists,
        how: _How,
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
    ) -> None:
        """Answer some of the queries."""
        from isometry.kernels import halves, scan
        from isometry.kernels import lists as kernels

        levels, ready = self._levels, self._prepared()
        short = frozen(np.ascontiguousarray(queries.short[part]))
        nq = len(short)
        near = np.empty((nq, len(self._centroids)), np.float32)
        scan.products(ready.centroids, short, near)
        chosen = np.zeros((near.shape[1], nq), np.bool_)
        kernels.choose(near * ready.scale + ready.bias, lists.starts, how.probes, how.least, chosen)
        coarse, fine = levels.asked(queries, part)
        added = near if self._residual else near[:, :0].copy()
        found_scores, found = np.empty((nq, how.again), np.float32), np.empty((nq, how.again), np.int32)
        if levels.halved:
            halves.best_of_halves(
                levels.walk, ready.space, lists, chosen, added, coarse, ready.row_ids, found_scores, found
            )
        else:
            kernels.best(
                levels.walk, ready.space, lists, chosen, added, coarse, how.together, ready.row_ids, found_scores, found
            )
        ids, scores = ids[part], scores[part]
        if not levels.rescores:
            most = found.shape[1]
            ids[:, :most], scores[:, :most] = np.where(found >= 0, ready.row_ids[found], -1), found_scores
        elif self._residual and not levels.refined:
            kernels.order(levels.fine, ready.space, fine, added, ready.list_of, found, ready.row_ids, ids, scores)
        else:
            scan.order(levels.fine, ready.space, fine, found, ready.row_ids, ids, scores)


class _Ready(NamedTuple):
    """What every search needs; all arrays are read-only views."""

    lists: Lists
    centroids: Float32Rows
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    space: Space
    row_ids: NDArray[np.int64]
    list_of: NDArray[np.uint16]
    masks: Masks[Lists]


class _How(NamedTuple):
    """How far a search goes: lists, rows that they must hold, rows to score again, queries that read a list at once."""

    probes: int
    least: int
    again: int
    together: int


def _checked(centroids: Any, n_lists: int | None) -> NDArray[np.float32]:
    """Return centroids as they were given, or raise `InvalidInput` where there are not as many as lists."""
    array = as_dense(centroids, name="centroids")
    if not 0 < len(array) <= _MOST_LISTS or (n_lists and len(array) != n_lists):
        raise InvalidInput(f"there are {len(array)} centroids; expected {n_lists or f'1 to {_MOST_LISTS}'}")
    return array


def _nearest(x: NDArray[np.float32], centroids: NDArray[np.float32], threads: int | None) -> NDArray[np.uint16]:
    """Return the number of the centroid nearest to each vector."""
    from isometry.kernels.kmeans import assign

    return assign(x, centroids, np.array([0, x.shape[1]]), threads=threads)[:, 0].astype(np.uint16)
