"""Vectors on two levels: short codes that a search reads, fine ones that put its hits in order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput
from isometry.indexes.base import LARGEST_NORM, SMALLEST_NORM, check_lengths
from isometry.kernels import rows as layouts
from isometry.kernels.rows import ByteRows, NibbleRows, Rows, grown
from isometry.vectors import as_dense

if TYPE_CHECKING:
    from isometry.kernels.graph import Space
    from isometry.storage import Folder

__all__ = ["Levels", "Queries", "frozen"]

ROLES = ("transform", "codec", "refine")
_SURE_NORM = 2.0**-50
_SPARE_BYTES = 64
_PIECE = 4096
_QUERIES = 32
_LAYOUTS: dict[str, type[Any]] = {
    name: item for name, item in vars(layouts).items() if isinstance(item, type) and issubclass(item, tuple)
}
_FIRST_LEVEL = {layout: NibbleRows if bits == 4 else ByteRows for (bits, _), layout in layouts.TWO_LEVELS.items()}
_EMPTY = np.empty(0, np.float32)

Floats = NDArray[np.float32]
State = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]


class Queries(NamedTuple):
    """Queries as the two levels want them.

    Attributes
    ----------
    short : (nq, d') float32
        For the walk.
    fine : (nq, d'') float32
        For the fine level.
    full : (nq, d) float32
        As they are compared: of norm 1 under cosine, centred under l2.
    """

    short: Floats
    fine: Floats
    full: Floats


class Levels:
    """The vectors of an index: brought into the form of its metric, shortened, coded, and kept fine as well.

    Under ``cosine`` vectors are scaled to norm 1, under ``l2`` their mean is taken off. A score is then the product
    with a query plus a `bias` of the row, which is minus half its squared norm under ``l2`` and absent otherwise.

    Parameters
    ----------
    metric : {"cosine", "dot", "l2"}
    transform, codec, refine : estimators or None
        They are cloned, not changed. Without `codec` rows are float32. Without `refine` the fine level is the finest of
        `codec`; behind a `transform`, which loses what no codec brings back, it is ``LVQ(bits=8)`` of the full vectors.

    Attributes
    ----------
    dim : int
        Dimensions of the vectors.
    walk, fine : layouts of `isometry.kernels.rows`
        Read-only views; they share arrays where both levels are of one codec.
    bias : (n,) or (0,) float32
    """

    dim: int
    walk: Rows
    fine: Rows
    bias: Floats

    def __init__(self, metric: str, transform: Any = None, codec: Any = None, refine: Any = None) -> None:
        if hasattr(transform, "steps"):
            raise InvalidInput(
                f"transform is a chain of {len(transform.steps)}; an index keeps one: fit the others before, or leave "
                "them out"
            )
        self.metric = metric
        self._given = {"transform": transform, "codec": codec, "refine": refine}
        self._fitted: dict[str, Any] = {}
        self._stored: dict[str, State] = {}
        self._centre = self._shift = _EMPTY

    # -- making ------------------------------------------------------------------------------------------------------

    def fit(self, x: Floats, examples: Floats | None) -> Floats:
        """Fit everything on vectors (n, d), and on examples of queries if there are some, and keep the vectors.

        Returns
        -------
        (n, d') float32
            The vectors as the walk reads them, before they were coded.
        """
        from sklearn.base import clone

        from isometry.codecs import LVQ, Float32

        self.dim = x.shape[1]
        norms = check_norms(x, "x")
        self._centre = x.mean(0, dtype=np.float64).astype(np.float32) if self.metric == "l2" and len(x) else _EMPTY
        full = self._enter(x, norms)
        fitted = {role: clone(part) for role, part in self._given.items() if part is not None}
        short = full
        if "transform" in fitted:
            transform = fitted["transform"]
            if examples is not None and hasattr(transform, "transform_query"):
                transform.fit(full, queries=self._enter(examples, check_norms(examples, "queries")))
            else:
                transform.fit(full)
            short = transform.transform(full)
            fitted.setdefault("refine", LVQ(bits=8)).fit(full)
        elif "refine" in fitted:
            fitted["refine"].fit(full)
        fitted["codec"] = fitted.get("codec", Float32()).fit(short)
        self._fitted, self._stored = fitted, {}
        shift = self._finest().mean_
        self._shift = shift if shift.any() else _EMPTY
        self._keep(*self._coded(full, short))
        return short

    def encode(self, x: Floats) -> tuple[Rows, Rows, Floats]:
        """Return more vectors as (walk, fine, bias), without keeping them."""
        full = self._enter(x, check_norms(x, "x"))
        transform = self._part("transform")
        return self._coded(full, full if transform is None else transform.transform(full))

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows, and make all arrays our own and writable."""
        fine, walk = (type(rows)(*(grown(array, capacity) for array in rows)) for rows in (self.fine, self.walk))
        bias = grown(self.bias, capacity) if len(self.bias) else self.bias
        self._keep(walk if self._apart() else None, fine, bias)

    def put(self, slots: NDArray[np.int32], walk: Rows, fine: Rows, bias: Floats) -> None:
        """Write encoded rows into slots."""
        for own, new in [(self._own_fine, fine)] + ([(self._own_walk, walk)] if self._apart() else []):
            for array, values in zip(own, new, strict=True):
                array[slots] = values
        if len(self.bias):
            self._own_bias[slots] = bias

    def copy_row(self, source: int, target: int) -> None:
        """Overwrite the slot `target` by what is in the slot `source`."""
        for array in (*self._own_fine, *self._own_walk):
            array[target] = array[source]
        if len(self.bias):
            self._own_bias[target] = self._own_bias[source]

    # -- asking ------------------------------------------------------------------------------------------------------

    @property
    def nbytes(self) -> int:
        """Bytes of both levels and the bias; what they share counts once."""
        arrays = {array.__array_interface__["data"][0]: array.nbytes for array in (*self.walk, *self.fine, self.bias)}
        return sum(arrays.values())

    @property
    def walk_dim(self) -> int:
        """Dimensions of what a walk reads."""
        return self._walk_dim

    def queries(self, q: Any) -> Queries:
        """Return queries (nq, d) as the levels want them.

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another d, NaN, infinity, or a vector too long to square in float32.
        """
        x, norms = self._checked(q)
        full = self._enter(x, norms)
        transform = self._part("transform")
        short = full if transform is None else getattr(transform, "transform_query", transform.transform)(full)
        return Queries(short, full if self._has("refine") else short, full)

    def _checked(self, q: Any) -> tuple[Floats, Floats]:
        """Return queries as writable float32, and their norms; quickly for those that are as they should be."""
        if type(q) is np.ndarray and q.dtype == np.float32 and q.ndim == 2 and q.flags.carray:
            with np.errstate(all="ignore"):
                norms = np.sqrt(np.vecdot(q, q))
            if q.shape[1] == self.dim and len(q) and norms.min() > _SURE_NORM and norms.max() <= LARGEST_NORM:
                return q, norms
        x = as_dense(q, dim=self.dim, name="q")
        if not x.flags.writeable:
            x = x.copy()
        return x, check_norms(x, "q")

    def finish(self, queries: Queries, scores: Floats) -> None:
        """Turn what the fine rows score into scores of the metric, in place."""
        if len(self._shift):
            scores += np.vecdot(queries.fine, self._shift)[:, None]
        if self.metric == "l2":
            scores *= 2
            scores -= np.vecdot(queries.full, queries.full)[:, None]
            np.minimum(scores, 0, out=scores)

    def search_space(self) -> Space:
        """Return how rows are ranked for a query."""
        from isometry.kernels.graph import Space

        return Space(self.bias, _EMPTY_FROZEN, np.float32(0))

    def link_space(self, slots: NDArray[np.int32]) -> Space:
        """Return how the rows in `slots` are compared with each other: by distance, under dot as if on one sphere."""
        from isometry.kernels.graph import Space, squares

        norms = np.zeros(len(self.walk[0]), np.float32)
        found = np.empty(len(slots), np.float32)
        squares(self.walk, slots, self.walk_dim, found)
        norms[slots] = found
        if self.metric != "dot":
            return Space(frozen(norms / -2), _EMPTY_FROZEN, np.float32(0))
        largest = norms.max(initial=0)
        return Space(_EMPTY_FROZEN, frozen(np.sqrt(largest - norms)), largest)

    def scan(
        self,
        queries: Queries,
        slots: NDArray[np.int32],
        row_ids: NDArray[np.int64],
        most: int,
        threads: int | None,
        ids: NDArray[np.int64],
        scores: Floats,
    ) -> None:
        """Look at all `slots` for each query, score the best `most` again with the fine level, and write the best.

        One query is shared by the threads, many are dealt out to them; the answer is the same.
        """
        from isometry.indexes.parts import run_parts
        from isometry.kernels import scan as kernels

        space, nq, most = self.search_space(), len(ids), min(most, len(slots))
        workers = threads or os.cpu_count() or 1
        pieces = 1 if nq >= workers else min(workers, max(1, len(slots) // _PIECE))
        bounds = np.linspace(0, len(slots), pieces + 1).astype(np.int64)
        found_scores = np.empty((pieces, nq, most), np.float32)
        found = np.empty((pieces, nq, most), np.int32)

        def deal(start: int, stop: int) -> None:
            part = slice(start, stop)
            kernels.best(self.walk, space, slots, queries.short[part], found_scores[0, part], found[0, part])

        def share(piece: int, _: int) -> None:
            some = slots[bounds[piece] : bounds[piece + 1]]
            kernels.best(self.walk, space, some, queries.short, found_scores[piece], found[piece])

        if pieces == 1:
            run_parts(deal, nq, _QUERIES, threads)
        else:
            run_parts(share, pieces, 1, threads)
        together, theirs = np.concatenate(found, axis=1), np.concatenate(found_scores, axis=1)
        first = np.argsort(-theirs, axis=1, kind="stable")[:, :most]
        candidates = np.take_along_axis(together, first, axis=1)

        def settle(start: int, stop: int) -> None:
            part = slice(start, stop)
            kernels.order(self.fine, space, queries.fine[part], candidates[part], row_ids, ids[part], scores[part])

        run_parts(settle, nq, _QUERIES, threads)

    # -- keeping -----------------------------------------------------------------------------------------------------

    def state(self, used: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return parameters and arrays for `isometry.storage.write_folder`, of the first `used` rows."""
        from isometry.estimators import state

        parameters: dict[str, Any] = {"dim": self.dim, "walk_dim": self.walk_dim}
        arrays: dict[str, Any] = {"centre": self._centre, "shift": self._shift, "bias": self.bias[:used]}
        kept = {"fine": self.fine} | ({"walk": self.walk} if self._apart() else {})
        for level, rows in kept.items():
            parameters[level] = type(rows).__name__
            for name, array in rows._asdict().items():
                spare = -(-_SPARE_BYTES // max(1, array.itemsize * array.shape[1]))
                arrays[f"{level}_{name}"] = [array[:used], np.zeros((spare, array.shape[1]), array.dtype)]
        for role in ROLES:
            if role in self._stored or role in self._fitted:
                kind, values, fitted = self._stored[role] if role in self._stored else state(self._fitted[role])
                parameters[role] = {"kind": kind, "parameters": values, "arrays": sorted(fitted)}
                arrays |= {f"{role}_{name.lower()}": array for name, array in fitted.items()}
        return parameters, arrays

    @classmethod
    def from_folder(cls, folder: Folder, metric: str, used: int) -> Levels:
        """Return the levels that `state` described; estimators are made when they are needed."""
        levels = cls(metric)
        levels.dim, levels._walk_dim = (folder.parameter(name, int) for name in ("dim", "walk_dim"))
        for role in ROLES:
            if role in folder.parameters:
                entry = folder.parameter(role, dict)
                kind, values, names = (entry.get(name) for name in ("kind", "parameters", "arrays"))
                if not isinstance(kind, str) or not isinstance(values, dict) or not isinstance(names, list):
                    raise folder.damaged(f"{role} is described by {entry!r:.80}")
                missing = [name for name in names if f"{role}_{name}".lower() not in folder.arrays]
                if missing:
                    raise folder.damaged(f"array {missing[0]!r:.80} of its {role} is missing")
                levels._stored[role] = kind, values, {name: folder.arrays[f"{role}_{name}".lower()] for name in names}
        if "codec" not in levels._stored or levels.dim < 1 or levels.walk_dim < 1:
            raise folder.damaged("its codec or its dimensions are missing")
        fine_dim = levels.dim if levels._has("refine") else levels.walk_dim
        fine = _read_rows(folder, "fine", used, fine_dim)
        walk = _read_rows(folder, "walk", used, levels.walk_dim) if "walk" in folder.parameters else None
        if levels._has("refine") and walk is None:
            raise folder.damaged("the rows of its codec are missing")
        levels._centre = folder.array("centre", np.float32, (levels.dim if metric == "l2" else 0,))
        levels._shift = folder.array("shift", np.float32, (None,))
        if len(levels._shift) not in (0, fine_dim):
            raise folder.damaged(f"array 'shift' has {len(levels._shift)} values")
        levels._keep(walk, fine, folder.array("bias", np.float32, (used if metric == "l2" else 0,)))
        return levels

    # -- within ------------------------------------------------------------------------------------------------------

    def _enter(self, x: Floats, norms: Floats) -> Floats:
        """Bring vectors into the form of the metric."""
        if self.metric == "l2":
            return x - self._centre if len(self._centre) else x
        if self.metric == "dot":
            return x
        inverse = np.divide(np.float32(1), norms, out=np.zeros_like(norms), where=norms >= SMALLEST_NORM)
        return x * inverse[:, None]

    def _coded(self, full: Floats, short: Floats) -> tuple[Rows, Rows, Floats]:
        codec, refine = self._part("codec"), self._part("refine")
        self._walk_dim = short.shape[1]
        codes = codec.transform(short)
        if refine is None:
            fine = codec.fine_rows(codes)
            walk = _first_level(fine)
        else:
            walk, fine = codec.rows(codes), refine.fine_rows(refine.transform(full))
        return walk, fine, -np.vecdot(full, full) / 2 if self.metric == "l2" else _EMPTY

    def _keep(self, walk: Rows | None, fine: Rows, bias: Floats) -> None:
        self._own_fine, self._own_bias = fine, bias
        self._own_walk: Any = () if walk is None or walk[0] is fine[0] else walk
        self.fine = _frozen_rows(fine)
        self.walk = _frozen_rows(self._own_walk) if self._own_walk else _first_level(self.fine)
        self.bias = frozen(bias)

    def _apart(self) -> bool:
        return bool(self._own_walk)

    def _finest(self) -> Any:
        return self._part("refine") or self._part("codec")

    def _has(self, role: str) -> bool:
        return role in self._fitted or role in self._stored

    def _part(self, role: str) -> Any:
        """Return a fitted estimator, made of what was stored when it is first needed; None if there is none."""
        if role not in self._fitted and role in self._stored:
            from isometry.estimators import restore

            self._fitted[role] = restore(*self._stored[role])
        return self._fitted.get(role)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view: kernels are compiled for one kind of array, and memory maps can't be written."""
    view = array.view()
    view.flags.writeable = False
    return view


_EMPTY_FROZEN = frozen(_EMPTY)


def check_norms(x: Floats, name: str) -> Floats:
    """Return the norm of each row, or raise `InvalidInput` for one that is too large to compute with."""
    with np.errstate(over="ignore"):
        norms = np.sqrt(np.vecdot(x, x))
    if norms.min(initial=1.0) < _SURE_NORM or norms.max(initial=0.0) > LARGEST_NORM:
        extreme = (norms < _SURE_NORM) | (norms > LARGEST_NORM)  # their squares may have left float32
        norms[extreme] = np.linalg.norm(x[extreme].astype(np.float64), axis=1)
    check_lengths(norms, name)
    return norms


def _frozen_rows(rows: Any) -> Any:
    return type(rows)(*map(frozen, rows))


def _first_level(rows: Any) -> Any:
    """Return what a walk reads of rows, sharing their memory."""
    layout = _FIRST_LEVEL.get(type(rows))
    return rows if layout is None else layout(rows.codes, rows.constants)


def _read_rows(folder: Folder, level: str, used: int, d: int) -> Any:
    layout = _LAYOUTS.get(folder.parameter(level, str))
    if layout is None:
        raise folder.damaged(f"its {level} level is of the layout {folder.parameters[level]!r:.40}")
    shapes = layouts.shapes(layout, d)
    arrays = []
    for name, (width, dtype) in zip(layout._fields, shapes, strict=True):
        spare = -(-_SPARE_BYTES // (width * np.dtype(dtype).itemsize))
        arrays.append(folder.array(f"{level}_{name}", dtype, (used + spare, width)))
    return layout(*arrays)
