"""Vectors on two levels: short codes that a search reads, fine ones that put its hits in order."""

from __future__ import annotations

from functools import cache
from inspect import signature
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.errors import Damaged
from isometry.estimators import fitted_arrays
from isometry.indexes.base import LARGEST_NORM, SMALLEST_NORM, check_lengths
from isometry.indexes.keeping import State, part_state, read_part, read_rows, rows_state
from isometry.kernels.rows import (
    GROUP,
    TWO_LEVELS,
    ByteRows,
    NibbleRows,
    Rows,
    TableRows,
    TurnedRows,
    grown,
    turned,
)
from isometry.threads import processors, run_parts
from isometry.vectors import as_dense, is_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from isometry.kernels.graph import Space
    from isometry.storage import Folder

__all__ = ["Levels", "Queries", "chain_of", "check_norms", "frozen", "frozen_rows"]

_CODECS = ("codec", "refine")
_SURE_NORM = 2.0**-50
_PIECE = 4096
_QUERIES = 32
_FEWEST_LANES, _FEWEST_LOOKUPS = 4, 512
"""From so many queries and rows on, a table of sixteen queries is worth making."""
_FIRST_LEVEL = {layout: NibbleRows if bits == 4 else ByteRows for (bits, _), layout in TWO_LEVELS.items()}
_EMPTY = np.empty(0, np.float32)

Floats = NDArray[np.float32]


class Queries(NamedTuple):
    """Queries as the codecs of the two levels want them.

    Attributes
    ----------
    short : (nq, d') float32
        For the walk.
    fine : (nq, d'') float32
        For the fine level.
    full : (nq, d) float32
        As they are compared: of norm 1 under cosine, centred under l2.
    added : (nq,) or (0,) float32
        What the scores of the fine level lack, since its rows are centred.
    """

    short: Floats
    fine: Floats
    full: Floats
    added: Floats


class Levels:
    """The vectors of an index: brought into the form of its metric, shortened, coded, and kept fine as well.

    Under ``cosine`` vectors are scaled to norm 1, under ``l2`` their mean is taken off. A score is then the product
    with a query plus a `bias` of the row, which is minus half its squared norm under ``l2`` and absent otherwise.

    A transform that ``redefines`` what is similar, such as whitening, comes before all this, with those before it.
    The others only shorten or turn what the walk reads.

    Parameters
    ----------
    metric : {"cosine", "dot", "l2"}
    transform : estimator, sequence of estimators, pipeline or None
        Applied one after another.
    codec, refine : estimators or None
        All are cloned, not changed. Without `codec` rows are float32. Without `refine` the fine level is the finest of
        `codec`; behind a transform that ``wants_refine`` it is ``LVQ(bits=8)`` of the full vectors.

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
        self.metric = metric
        chain = {_nth(i): part for i, part in enumerate(chain_of(transform))}
        codecs = {role: part for role, part in {"codec": codec, "refine": refine}.items() if part is not None}
        self._given = chain | codecs
        self._fitted: dict[str, Any] = {}
        self._stored: dict[str, State] = {}
        self._maps: frozenset[str] = frozenset()
        self._entry = 0
        self._centre = self._shift = _EMPTY

    # -- making ------------------------------------------------------------------------------------------------------

    def anew(self) -> Levels:
        """Return levels of the same parts, which have yet to be fitted."""
        from sklearn.base import clone

        made = Levels(self.metric)
        made._given = self._given or {role: clone(self._part(role)) for role in self._stored}
        return made

    def fit(self, x: Floats, examples: Floats | None, learned: NDArray[np.bool_] | None = None) -> Floats:
        """Fit everything on vectors (n, d), and on examples of queries if there are some, and keep the vectors.

        Parameters
        ----------
        x : (n, d) float32
        examples : (m, d) float32 or None
        learned : (n,) bool, optional
            Which vectors transforms and codecs may learn from; all are kept.

        Returns
        -------
        (n, d') float32
            The vectors as the walk reads them, before they were coded.
        """
        full, short = self.fit_transforms(x, examples, learned)
        self.fit_codecs(full, short, learned)
        return short

    def fit_transforms(
        self, x: Floats, examples: Floats | None, learned: NDArray[np.bool_] | None = None
    ) -> tuple[Floats, Floats]:
        """Do the first half of `fit`, and return the vectors as they are compared, and as the walk reads them."""
        from sklearn.base import clone

        from isometry.codecs import LVQ, Float32

        fitted = {role: clone(part) for role, part in self._given.items()}
        chain = [part for role, part in fitted.items() if role not in _CODECS]
        if any(getattr(part, "wants_refine", False) for part in chain):
            fitted.setdefault("refine", LVQ(bits=8))
        fitted.setdefault("codec", Float32())
        self._fitted, self._stored, self.dim = fitted, {}, x.shape[1]
        self._entry = 1 + max((i for i, part in enumerate(chain) if getattr(part, "redefines", False)), default=-1)
        self._maps = frozenset(role for role in _CODECS if role in fitted and fitted[role].maps_queries)
        part_of = slice(None) if learned is None else learned
        for part in chain[: self._entry]:
            x = part.fit(x[part_of]).transform(x)
        self._centre = x.mean(0, dtype=np.float64).astype(np.float32) if self.metric == "l2" and len(x) else _EMPTY
        short = full = self._enter(x, "x")
        asked = None if examples is None else self._enter(self._redefined(examples, "queries"), "queries")
        for part in chain[self._entry :]:
            _fit(part, short[part_of], asked)
            short = part.transform(short)
            asked = None if asked is None else _asked(part, asked)
        return full, short

    def fit_codecs(self, full: Floats, short: Floats, learned: NDArray[np.bool_] | None = None) -> None:
        """Do the second half of `fit`: what is given as `short` is what `codec` keeps of the vectors."""
        fitted, part_of = self._fitted, slice(None) if learned is None else learned
        fitted["codec"].fit(short[part_of])
        if "refine" in fitted:
            fitted["refine"].fit(full[part_of])
        shift = self._finest().mean_
        self._shift = shift if shift.any() else _EMPTY
        self._full_dim, self._short_dim = full.shape[1], short.shape[1]
        self._walk_dim = self._mapped("codec", short[:1]).shape[1]
        self._fine_dim = self._mapped("refine", full[:1]).shape[1] if "refine" in fitted else self._walk_dim
        self._keep(*self.coded(full, short))

    def encode(self, x: Floats) -> tuple[Rows, Rows, Floats]:
        """Return more vectors as (walk, fine, bias), without keeping them."""
        return self.coded(*self.transformed(x))

    def transformed(self, x: Floats) -> tuple[Floats, Floats]:
        """Return more vectors as they are compared, and as the walk reads them."""
        short = full = self._enter(self._redefined(x, "x"), "x")
        for part in self._chain()[self._entry :]:
            short = part.transform(short)
        return full, short

    def coded(self, full: Floats, short: Floats) -> tuple[Rows, Rows, Floats]:
        """Return (walk, fine, bias) of vectors that went through the transforms, without keeping them."""
        codec, refine = self.codec, self._part("refine")
        codes = codec.transform(short)
        if refine is None:
            fine = codec.fine_rows(codes)
            walk = _first_level(fine)
        else:
            walk, fine = codec.rows(codes), refine.fine_rows(refine.transform(full))
        return walk, fine, -np.vecdot(full, full) / 2 if self.metric == "l2" else _EMPTY

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows, and make all arrays our own and writable."""
        fine, walk = (_grown(rows, capacity) for rows in (self.fine, self.walk))
        bias = grown(self.bias, capacity) if len(self.bias) else self.bias
        self._keep(walk if self._apart() else None, fine, bias)

    def put(self, slots: NDArray[np.int32], walk: Rows, fine: Rows, bias: Floats) -> None:
        """Write encoded rows into slots."""
        for own, new in [(self._own_fine, fine)] + ([(self._own_walk, walk)] if self._apart() else []):
            if isinstance(own, TurnedRows):
                own.codes[slots // GROUP, :, slots % GROUP] = new[0]
                continue
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
    def codec(self) -> Any:
        """The fitted codec of what the walk reads."""
        return self._part("codec")

    @property
    def refined(self) -> bool:
        """Whether another codec than that of the walk holds the fine level."""
        return self._has("refine")

    @property
    def nbytes(self) -> int:
        """Bytes of both levels and the bias; what they share counts once."""
        arrays = {array.__array_interface__["data"][0]: array.nbytes for array in (*self.walk, *self.fine, self.bias)}
        return sum(arrays.values())

    @property
    def shared_bytes(self) -> int:
        """Bytes of what transforms and codecs have learned: matrices, codebooks, means."""
        learned = {role: arrays for role, (_, _, arrays) in self._stored.items()}
        learned |= {role: fitted_arrays(part) for role, part in self._fitted.items()}
        return sum(array.nbytes for arrays in learned.values() for array in arrays.values())

    @property
    def walk_dim(self) -> int:
        """Dimensions of what a walk reads, as its kernels count them."""
        return self._walk_dim

    @property
    def short_dim(self) -> int:
        """Dimensions of the vectors that `codec` keeps."""
        return self._short_dim

    @property
    def terms(self) -> int:
        """How many numbers the score of a row adds up, or as many as its time is worth: bits and tables add fewer."""
        return min(self._walk_dim, 2 * sum(array.strides[0] for array in self.walk))

    def queries(self, q: Any) -> Queries:
        """Return queries (nq, d) as the levels want them.

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another d, NaN, infinity, or a vector too long to square in float32.
        """
        if not self._entry and is_plain(q, self.dim):
            short = full = self._enter(q, "q")
        else:
            short = full = self._enter(self._redefined(as_dense(q, dim=self.dim, name="q"), "q"), "q")
        refined, added = self._has("refine"), _EMPTY
        for part in self._chain()[self._entry :]:
            if not refined and hasattr(part, "query_offset"):
                added = added + part.query_offset(short) if len(added) else part.query_offset(short)
            short = _asked(part, short)
        fine = full if refined else short
        if len(self._shift):
            inner = np.vecdot(fine, self._shift)
            added = added + inner if len(added) else inner
        return Queries(short, fine, full, added)

    def asked(self, queries: Queries, part: slice) -> tuple[Floats, Floats]:
        """Return some of the queries as the kernels want them: for the walk, and for the fine rows.

        Raises
        ------
        Damaged
            They have other dimensions than the rows: kernels would read beyond them.
        """
        short = np.ascontiguousarray(self._mapped("codec", queries.short[part]), np.float32)
        fine = short
        if self._has("refine"):
            fine = np.ascontiguousarray(self._mapped("refine", queries.fine[part]), np.float32)
        if short.shape[1] != self._walk_dim or fine.shape[1] != self._fine_dim:
            raise Damaged(
                f"the index was read with transforms or codecs that do not fit it: they make queries of "
                f"{short.shape[1]} and {fine.shape[1]} dimensions for rows of {self._walk_dim} and {self._fine_dim}"
            )
        return short, fine

    def finish(self, queries: Queries, scores: Floats) -> None:
        """Turn what the fine rows score into scores of the metric, in place."""
        if self.metric == "l2" or len(queries.added):
            _metric_code()[1](scores, queries.added, self.metric == "l2", queries.full)

    def search_space(self) -> Space:
        """Return how rows are ranked for a query."""
        from isometry.kernels.graph import Space

        return Space(self.bias, _EMPTY_FROZEN, np.float32(0))

    @property
    def rescores(self) -> bool:
        """Whether the fine level may put rows in another order than the walk."""
        from isometry.kernels.score import scores_alike

        return self.walk is not self.fine or not scores_alike(type(self.fine))

    @property
    def halved(self) -> bool:
        """Whether scans look up both halves of a byte in small tables, for which the rows of the walk are turned."""
        return isinstance(self.walk, TurnedRows)

    def turn(self) -> None:
        """Keep the rows of the walk as scans read them fastest, which is the same to any kernel."""
        from isometry.kernels.halves import MOST_HALVED
        from isometry.kernels.level import LOOKS_UP

        if not LOOKS_UP or not isinstance(self.walk, TableRows) or len(self.bias):
            return
        if getattr(self._part("codec"), "halves", False) and self.walk.codes.shape[1] <= MOST_HALVED:
            walk = TurnedRows(turned(self.walk.codes))
            self._keep(walk, self._own_fine if self._apart() else walk, self._own_bias)

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
        from isometry.kernels import scan as kernels

        space, nq, most = self.search_space(), len(ids), min(most, len(slots))
        workers = threads or processors()
        pieces = 1 if nq >= workers else min(workers, max(1, len(slots) // _PIECE))
        bounds = [len(slots) * piece // pieces for piece in range(pieces + 1)]
        found_scores = np.empty((pieces, nq, most), np.float32)
        found = np.empty((pieces, nq, most), np.int32)

        def deal(start: int, stop: int) -> None:
            part = slice(start, stop)
            coarse, fine = self.asked(queries, part)
            self._best(space, slots, coarse, found_scores[0, part], found[0, part])
            kernels.order(self.fine, space, fine, found[0, part], row_ids, ids[part], scores[part])

        def share(piece: int, _: int) -> None:
            some = slots[bounds[piece] : bounds[piece + 1]]
            self._best(space, some, coarse, found_scores[piece], found[piece])

        if pieces == 1:
            run_parts(deal, nq, _QUERIES, threads)
            return
        coarse, fine = self.asked(queries, slice(None))
        run_parts(share, pieces, 1, threads)
        together, theirs = np.concatenate(found, axis=1), np.concatenate(found_scores, axis=1)
        first = np.argsort(-theirs, axis=1, kind="stable")[:, :most]
        kernels.order(self.fine, space, fine, np.take_along_axis(together, first, axis=1), row_ids, ids, scores)

    def _best(
        self, space: Space, slots: NDArray[np.int32], coarse: Floats, scores: Floats, found: NDArray[np.int32]
    ) -> None:
        """Write the best of ascending slots for each query, by the kernel that finds them soonest."""
        from isometry.kernels import halves, scan
        from isometry.kernels.lists import Lists

        walk = self.walk
        if isinstance(walk, TurnedRows):
            whole = Lists(frozen(np.array([0, len(slots)])), slots)
            chosen, added = np.ones((1, len(coarse)), np.bool_), np.empty((len(coarse), 0), np.float32)
            halves.best_of_halves(walk, space, whole, chosen, added, coarse, _BY_SLOT, scores, found)
            return
        many = len(coarse) >= _FEWEST_LANES and len(slots) >= _FEWEST_LOOKUPS
        best = scan.best_of_tables if many and isinstance(walk, TableRows) else scan.best
        best(walk, space, slots, coarse, scores, found)

    # -- keeping -----------------------------------------------------------------------------------------------------

    def state(self, used: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return parameters and arrays for `isometry.storage.write_folder`, of the first `used` rows."""
        from isometry.estimators import state

        parameters: dict[str, Any] = {
            "dim": self.dim,
            "walk_dim": self._walk_dim,
            "full_dim": self._full_dim,
            "short_dim": self._short_dim,
            "fine_dim": self._fine_dim,
            "entry": self._entry,
            "maps_queries": sorted(self._maps),
        }
        arrays: dict[str, Any] = {"centre": self._centre, "shift": self._shift, "bias": self.bias[:used]}
        kept = {"fine": self.fine} | ({"walk": self.walk} if self._apart() else {})
        for level, rows in kept.items():
            parameters[level], found = rows_state(level, rows, used)
            arrays |= found
        for role in self._stored or self._fitted:
            stored = self._stored[role] if role in self._stored else state(self._fitted[role])
            parameters[role], found = part_state(role, stored)
            arrays |= found
        return parameters, arrays

    @classmethod
    def from_folder(cls, folder: Folder, metric: str, used: int) -> Levels:
        """Return the levels that `state` described; estimators are made when they are needed."""
        levels = cls(metric)
        levels.dim, levels._walk_dim = (folder.parameter(name, int) for name in ("dim", "walk_dim"))
        for role in [*takewhile(folder.parameters.__contains__, map(_nth, count())), *_CODECS]:
            if role in folder.parameters:
                levels._stored[role] = read_part(folder, role)
        # The first folders have none of these, and need none.
        usual = {
            "full_dim": levels.dim,
            "short_dim": levels._walk_dim,
            "fine_dim": levels.dim if levels._has("refine") else levels._walk_dim,
            "entry": 0,
            "maps_queries": [],
        }
        read = {name: folder.parameter(name, type(value)) for name, value in usual.items() if name in folder.parameters}
        levels._full_dim, levels._short_dim, levels._fine_dim, levels._entry, maps = (usual | read).values()
        levels._maps = frozenset(role for role in _CODECS if role in maps)
        dims = levels.dim, levels._walk_dim, levels._full_dim, levels._short_dim, levels._fine_dim
        if "codec" not in levels._stored or min(dims) < 1:
            raise folder.damaged("its codec or its dimensions are missing")
        if not 0 <= levels._entry < len(levels._stored) or len(levels._maps) != len(maps):
            raise folder.damaged(f"its queries are mapped by {maps!r:.80}, from part {levels._entry} on")
        fine = read_rows(folder, "fine", used, levels._fine_dim)
        walk = read_rows(folder, "walk", used, levels.walk_dim) if "walk" in folder.parameters else None
        if levels._has("refine") and walk is None:
            raise folder.damaged("the rows of its codec are missing")
        levels._centre = folder.array("centre", np.float32, (levels._full_dim if metric == "l2" else 0,))
        levels._shift = folder.array("shift", np.float32, (None,))
        if len(levels._shift) not in (0, levels._full_dim if levels._has("refine") else levels._short_dim):
            raise folder.damaged(f"array 'shift' has {len(levels._shift)} values")
        levels._keep(walk, fine, folder.array("bias", np.float32, (used if metric == "l2" else 0,)))
        return levels

    # -- within ------------------------------------------------------------------------------------------------------

    def _enter(self, x: Floats, name: str) -> Floats:
        """Bring vectors into the form of the metric.

        Raises
        ------
        InvalidInput
            NaN, infinity, or a vector too long to square in float32.
        Damaged
            A transform made other dimensions than the mean has: a kernel would read beyond it.
        """
        if len(self._centre) not in (0, x.shape[1]):
            raise Damaged(
                f"the index was read with transforms that do not fit it: they make vectors of {x.shape[1]} dimensions, "
                f"and the mean has {len(self._centre)}"
            )
        unit = self.metric == "cosine"
        entered = np.empty(x.shape if unit or len(self._centre) else (0, x.shape[1]), np.float32)
        x, norms = np.ascontiguousarray(x, np.float32), np.empty(len(x), np.float32)
        if not _metric_code()[0](x, self._centre, unit, SMALLEST_NORM, LARGEST_NORM, entered, norms):
            as_dense(x, name=name)
            check_lengths(norms, name)
        return entered if len(entered) else x

    def _redefined(self, x: Floats, name: str) -> Floats:
        """Return vectors as those transforms make them that say what is similar."""
        if self._entry:
            check_norms(x, name)
            for part in self._chain()[: self._entry]:
                x = part.transform(x)
        return x

    def _mapped(self, role: str, q: Floats) -> Floats:
        """Return queries as the rows of a codec are multiplied with."""
        return self._part(role).queries(q) if role in self._maps else q

    def _keep(self, walk: Rows | None, fine: Rows, bias: Floats) -> None:
        self._own_fine, self._own_bias = fine, bias
        self._own_walk: Any = () if walk is None or walk[0] is fine[0] else walk
        self.fine = frozen_rows(fine)
        self.walk = frozen_rows(self._own_walk) if self._own_walk else _first_level(self.fine)
        self.bias = frozen(bias)

    def _apart(self) -> bool:
        return bool(self._own_walk)

    def _chain(self) -> list[Any]:
        """Return the fitted transforms, in the order in which they are applied."""
        return [self._part(role) for role in self._stored or self._fitted if role not in _CODECS]

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


def chain_of(transform: Any) -> tuple[Any, ...]:
    """Return the transforms that one transform, a sequence or a pipeline of them stands for."""
    if hasattr(transform, "steps"):
        return tuple(part for _, part in transform.steps)
    return tuple(transform) if isinstance(transform, list | tuple) else () if transform is None else (transform,)


def _nth(i: int) -> str:
    """Return the role of the i-th transform."""
    return f"transform{i}" if i else "transform"


def _fit(part: Any, x: Floats, queries: Floats | None) -> None:
    """Fit a transform on vectors, and on queries if it learns from them."""
    if queries is not None and "queries" in signature(part.fit).parameters:
        part.fit(x, queries=queries)
    else:
        part.fit(x)


def _asked(part: Any, q: Floats) -> Floats:
    return getattr(part, "transform_query", part.transform)(q)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view: kernels are compiled for one kind of array, and memory maps can't be written."""
    view = array.view()
    view.flags.writeable = False
    return view


@cache
def _metric_code() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return `enter` and `leave`, made by the first vectors, as Numba takes a while to import."""
    from isometry.kernels.compiled import machine_code
    from isometry.kernels.metric import enter, leave

    many, one = np.empty((1, 1), np.float32), np.empty(1, np.float32)
    return machine_code(enter, many, one, True, 1.0, 1.0, many, one), machine_code(leave, many, one, True, many)


_EMPTY_FROZEN = frozen(_EMPTY)
_BY_SLOT = frozen(np.empty(0, np.int64))


def check_norms(x: Floats, name: str) -> Floats:
    """Return the norm of each row, or raise `InvalidInput` for one that is too large to compute with."""
    with np.errstate(over="ignore"):
        norms = np.sqrt(np.vecdot(x, x))
    if norms.min(initial=1.0) < _SURE_NORM or norms.max(initial=0.0) > LARGEST_NORM:
        extreme = (norms < _SURE_NORM) | (norms > LARGEST_NORM)  # their squares may have left float32
        norms[extreme] = np.linalg.norm(x[extreme].astype(np.float64), axis=1)
    check_lengths(norms, name)
    return norms


def frozen_rows(rows: Any) -> Any:
    """Return rows as read-only views; see `frozen`."""
    return type(rows)(*map(frozen, rows))


def _grown(rows: Any, capacity: int) -> Any:
    """Return rows in memory of their own with room for `capacity`."""
    if isinstance(rows, TurnedRows):
        capacity = -(-capacity // GROUP)
    return type(rows)(*(grown(array, capacity) for array in rows))


def _first_level(rows: Any) -> Any:
    """Return what a walk reads of rows, sharing their memory."""
    layout = _FIRST_LEVEL.get(type(rows))
    return rows if layout is None else layout(rows.codes, rows.constants)
