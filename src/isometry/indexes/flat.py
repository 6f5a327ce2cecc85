"""Exact search: every vector is looked at. The reference that all other indexes are compared with."""

from __future__ import annotations

import os
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from isometry import ranked
from isometry.errors import check_choice
from isometry.indexes.base import (
    LARGEST_NORM,
    METRICS,
    SMALLEST_NORM,
    check_allowed,
    check_lengths,
    check_search,
    not_built,
    without,
)
from isometry.indexes.compressed import CompressedFlat
from isometry.indexes.rows import Rows
from isometry.indexes.scan import Contenders, block_rows, products
from isometry.storage import Folder, write_folder
from isometry.vectors import as_dense

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Flat"]

_GATHER_COST = 3.5
"""What copying a row first adds to a scan, in units of reading it in place."""
_QUERIES = 256
_PAIRS = 2**20
_EXACT_BYTES = 2**22
_NONE = np.empty(0, np.float32)


class Flat:
    r"""Exact nearest neighbours by scanning all vectors.

    A scan in float32 at the speed of memory finds everything that could be among the best k: whatever the order of
    summation, its error is at most :math:`d\,\epsilon\,|x||q|`, so rows further than twice that below the k-th best are
    out for certain. The rest, usually a handful more than k, is scored again in float64. So scores and order are exact
    to the last float32 digit, and the same for one query or many, any number of threads, and any mask.

    Parameters
    ----------
    metric : {"cosine", "dot", "l2"}, default "cosine"
        ``l2`` scores are minus the squared distance. Under ``cosine`` a zero vector scores 0 with everything.

    Notes
    -----
    Search costs O(n d) per query and reads each vector once per 256 queries; beside the vectors it needs a few tens of
    MiB however large n, and O(nq k) for the results. The index holds 4 d bytes per vector, plus 4 for cosine and l2.

    Any number of threads may search at once; `build`, `add` and `remove` must have the index to themselves.

    Examples
    --------
    >>> index = Flat(metric="l2").build(np.array([[0.0, 0.0], [3.0, 4.0]]))
    >>> index.search(np.array([[0.0, 1.0]]), k=2)
    (array([[0, 1]]), array([[ -1., -18.]], dtype=float32))
    """

    kind: ClassVar[str] = "Flat"
    kind_version: ClassVar[int] = 1
    spec_name: ClassVar[str] = "Flat"
    spec_slots: ClassVar[tuple[str, ...]] = ("transform", "codec", "refine")

    @classmethod
    def from_spec(cls, *, metric: str = "cosine", **parts: Any) -> Flat | CompressedFlat:
        """Return the index of a specification: this one, or with a transform, codec or refine a `CompressedFlat`."""
        return CompressedFlat(metric=metric, **parts) if parts else cls(metric=metric)

    def __init__(self, *, metric: str = "cosine") -> None:
        self.metric = check_choice("metric", metric, METRICS)
        self._clear()

    def _clear(self) -> None:
        self._rows: Rows | None = None
        self._terms = Rows(_NONE)
        self._largest_norm = 0.0
        self._alive: NDArray[np.bool_] | None = None

    @property
    def spec(self) -> str:
        """``"Flat"``."""
        return self.spec_name

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""
        return self._built().row_shape[0]

    @property
    def n_rows(self) -> int:
        """Number of ids given out so far, removed ones included: the length of an `allowed` mask."""
        return 0 if self._rows is None else len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes that searches read."""
        return sum(part.nbytes for rows in (self._built(), self._terms) for part in rows.parts)

    def __len__(self) -> int:
        return self.n_rows if self._alive is None else int(np.count_nonzero(self._alive))

    def __repr__(self) -> str:
        size = "empty" if self._rows is None else f"{len(self)} vectors of {self.dim} dimensions"
        return f"Flat(metric={self.metric!r}): {size}"

    def build(self, x: Any) -> Self:
        """Index the rows of `x`, forgetting what was there.

        Parameters
        ----------
        x : (n, d) array of float
            A contiguous float32 array (a read-only memory map too) is kept, not copied: do not change it afterwards.
            Anything else is converted.

        Raises
        ------
        InvalidInput
            NaN, infinity, not two axes, or a vector so long that its square overflows float32.
        """
        vectors = as_dense(x)
        norms = _norms(vectors, "x")
        self._clear()
        self._rows, self._terms = Rows(vectors), Rows(self._terms_of(norms))
        self._largest_norm = float(norms.max(initial=0.0))
        return self

    def add(self, x: Any) -> NDArray[np.int64]:
        """Append the rows of `x` and return their ids. Costs O(rows added): nothing that was there is copied.

        Raises
        ------
        DimensionMismatch, InvalidInput
            As `build`.
        """
        if self._rows is None:
            return np.arange(self.build(np.array(x)).n_rows)
        vectors = as_dense(x, dim=self.dim)
        norms = _norms(vectors, "x")
        first = len(self._rows)
        self._rows.append(vectors)
        self._terms.append(self._terms_of(norms))
        self._largest_norm = max(self._largest_norm, float(norms.max(initial=0.0)))
        if self._alive is not None:
            self._alive = np.concatenate([self._alive, np.ones(len(vectors), bool)])
        return np.arange(first, len(self._rows))

    def remove(self, ids: Any) -> int:
        """Drop rows for good; their ids are never used again and their bytes go with the next `build`.

        Parameters
        ----------
        ids : int or sequence of int
            Ids removed before are passed over.

        Returns
        -------
        int
            Number of rows that were there until now.
        """
        before = len(self)
        self._alive = without(self._alive, ids, self.n_rows)
        return before - len(self)

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
            Accepted as every index accepts it; an exact search has nothing to trade.
        allowed : (n_rows,) bool, optional
            Only rows marked True are candidates. A mask that lets few rows pass makes the search faster.
        threads : int, optional
            At most this many threads; by default all processors.

        Returns
        -------
        ids : (nq, k) int64
        scores : (nq, k) float32
            Best first; equal scores by smaller id.

        Raises
        ------
        DimensionMismatch, InvalidInput
            A query or an option that makes no sense.
        """
        k, _, threads = check_search(k, effort, threads)
        rows = self._built()
        queries = as_dense(q, dim=self.dim, name="q")
        passing = self._passing(check_allowed(allowed, len(rows)))
        count = len(rows) if passing is None else int(np.count_nonzero(passing))
        if not count or not len(queries):
            return ranked.empty(len(queries), k)
        starts = range(0, len(queries), _QUERIES)
        found = [self._search_block(queries[i : i + _QUERIES], k, passing, count, threads) for i in starts]
        if len(found) == 1:
            return found[0]
        return np.concatenate([ids for ids, _ in found]), np.concatenate([scores for _, scores in found])

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the index to the folder `path`, atomically; see `isometry.storage.write_folder`."""
        write_folder(path, self.kind, *self.state(), kind_version=self.kind_version, overwrite=overwrite)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters and arrays that `save` writes and `from_folder` reads."""
        arrays: dict[str, Any] = {"vectors": self._built().parts, "terms": self._terms.parts}
        if self._alive is not None:
            arrays["alive"] = self._alive
        return {"metric": self.metric, "largest_norm": self._largest_norm}, arrays

    @classmethod
    def from_folder(cls, folder: Folder) -> Self:
        """Return the index in a folder that `isometry.storage.read_folder` opened; nothing is loaded yet."""
        folder.require_version(cls.kind_version)
        metric = folder.parameter("metric", str)
        if metric not in METRICS:
            raise folder.damaged(f"metric is {metric!r}")
        index = cls(metric=metric)
        index._largest_norm = float(folder.parameter("largest_norm", (int, float)))
        vectors = folder.array("vectors", np.float32, (None, None))
        if vectors.shape[1] == 0 or not 0 <= index._largest_norm <= LARGEST_NORM:
            raise folder.damaged(f"vectors have shape {vectors.shape} and norms up to {index._largest_norm}")
        index._rows = Rows(vectors)
        index._terms = Rows(folder.array("terms", np.float32, (len(vectors) if metric != "dot" else 0,)))
        if "alive" in folder.arrays:
            index._alive = folder.array("alive", bool, (len(vectors),))
        return index

    def _built(self) -> Rows:
        if self._rows is None:
            raise not_built("Flat index")
        return self._rows

    def _passing(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Return which rows may be hits: allowed and not removed; None for all."""
        if self._alive is None or allowed is None:
            return self._alive if allowed is None else allowed
        return allowed & self._alive

    def _terms_of(self, norms: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return what the scan needs to know of each row.

        The inverse norm for cosine; for l2 half the squared norm, because ``-|x - q|^2 = 2 (x.q - |x|^2 / 2) - |q|^2``;
        nothing for dot.
        """
        terms = {"cosine": _inverse(norms), "l2": norms**2 / 2, "dot": norms[:0]}[self.metric]
        return terms.astype(np.float32)

    def _scan_error(self, query_norms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a bound on the error of a float32 scan for queries of these norms, any order of summation.

        Higham, Accuracy and Stability of Numerical Algorithms, section 3.1, with room for the few roundings around the
        sum, and for sums that underflow to zero.
        """
        relative = (self.dim + 16) * float(np.finfo(np.float32).eps)
        if self.metric == "cosine":
            return np.full(len(query_norms), relative)
        reach = query_norms + self._largest_norm if self.metric == "l2" else query_norms
        return relative * (self._largest_norm * reach + SMALLEST_NORM)

    def _search_block(
        self, queries: NDArray[np.float32], k: int, passing: NDArray[np.bool_] | None, count: int, threads: int | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        nq = len(queries)
        norms = _norms(queries, "q")
        exact = queries.astype(np.float64)
        if self.metric == "cosine":
            exact *= _inverse(norms)[:, None]
            queries = exact.astype(np.float32)
        contenders = Contenders(nq, min(k, count), self._scan_error(norms))
        for block in self._blocks(passing, count, nq):
            scores = products(block.rows, block.size, queries, threads)
            if self.metric == "cosine":
                scores *= block.terms[:, None]
            elif self.metric == "l2":
                scores -= block.terms[:, None]
            if block.excluded is not None:
                scores[block.excluded] = -np.inf
            contenders.offer(scores, block.ids)
            if contenders.count > _PAIRS:
                contenders.settle(self._best_exact(exact, contenders, k)[0])
        return self._best_exact(exact, contenders, k)

    def _blocks(self, passing: NDArray[np.bool_] | None, count: int, nq: int) -> Iterator[_Block]:
        """Yield the rows that pass, gathered when they are few, else all rows with a mark on those that do not pass."""
        rows, terms, size = self._built(), self._terms, block_rows(nq)
        scan_cost = max(1.0, 0.2 * nq)
        if passing is not None and count * (scan_cost + _GATHER_COST) < len(rows) * scan_cost:
            found = np.flatnonzero(passing)
            for start in range(0, count, size):
                ids = found[start : start + size]
                yield _Block(len(ids), partial(_gather, rows, ids), ids.take, terms.take(ids) if len(terms) else _NONE)
            return
        term_blocks = terms.blocks(size) if len(terms) else repeat((0, _NONE))
        for (first, block), (_, term) in zip(rows.blocks(size), term_blocks, strict=False):
            excluded = None if passing is None else ~passing[first : first + len(block)]
            yield _Block(len(block), partial(_view, block), partial(np.add, first), term, excluded)

    def _best_exact(
        self, queries: NDArray[np.float64], contenders: Contenders, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Score the contenders in float64 and return the best `k` of each query."""
        which, ids = contenders.pairs()
        scores = np.empty(len(ids), np.float64)
        step = max(1, _EXACT_BYTES // (8 * self.dim))
        for start in range(0, len(ids), step):
            part = slice(start, start + step)
            scores[part] = self._exact(self._built().take(ids[part]).astype(np.float64), queries[which[part]])
        return ranked.rank(which, ids, scores, len(queries), k)

    def _exact(self, x: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.metric == "l2":
            difference = x - q
            return 0.0 - np.vecdot(difference, difference)
        dots = np.vecdot(x, q)
        return dots * _inverse(np.sqrt(np.vecdot(x, x))) if self.metric == "cosine" else dots


class _Block(NamedTuple):
    """Rows to scan together: how many, their vectors, the ids of some of them, and what else the scan needs."""

    size: int
    rows: Callable[[int, int], NDArray[np.float32]]
    ids: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    terms: NDArray[np.float32]
    excluded: NDArray[np.bool_] | None = None


def _view(block: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
    return block[first:last]


def _gather(rows: Rows, ids: NDArray[np.int64], first: int, last: int) -> NDArray[np.float32]:
    return rows.take(ids[first:last])


def _norms(x: NDArray[np.float32], name: str) -> NDArray[np.float64]:
    """Return the norm of each row, or raise `InvalidInput` for one that is too large to compute with."""
    norms = np.empty(len(x), np.float64)
    step = max(1, _EXACT_BYTES // (8 * x.shape[1]))
    for start in range(0, len(x), step):
        block = x[start : start + step].astype(np.float64)
        norms[start : start + step] = np.sqrt(np.vecdot(block, block))
    check_lengths(norms, name)
    return norms


def _inverse(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / norms, and 0 for a zero vector."""
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms >= SMALLEST_NORM)
