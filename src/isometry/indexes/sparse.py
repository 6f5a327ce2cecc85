"""What the indexes of sparse vectors share: rows that are added and removed, and the folder they are kept in."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from isometry import ranked
from isometry.errors import InvalidInput, TooLarge, check_choice, check_range
from isometry.indexes.base import LARGEST_NORM, check_allowed, check_lengths, check_search, not_built, without
from isometry.indexes.forward import VALUES, Forward, Terms, Values
from isometry.indexes.levels import frozen
from isometry.indexes.spec import part_spec
from isometry.storage import Folder, write_folder
from isometry.threads import Scratch, run_parts
from isometry.vectors import as_sparse

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Asked", "Built", "Compact", "Progress", "SparseIndex", "check_number", "check_weights", "mask_of"]

Progress = Callable[[int, int | None, str], None]
_QUERIES = 8
_MOST_ROWS = 2**31 - 1
_ANY = frozen(np.empty(0, np.bool_))


def mask_of(passing: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return a mask as kernels take it: empty if all rows pass."""
    return _ANY if passing is None else frozen(passing)


class Asked(NamedTuple):
    """Queries in numbers of terms, as the rows of a CSR."""

    starts: NDArray[np.int64]
    terms: NDArray[np.int32]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, queries: csr_array, terms: Terms) -> Asked:
        """Number the terms of queries; those that do not occur are left out."""
        numbers, starts = terms.numbers(queries.indices), queries.indptr.astype(np.int64)
        known = numbers >= 0
        if known.all():
            return cls(starts, numbers, queries.data)
        return cls(np.concatenate([[0], np.cumsum(known)])[starts], numbers[known], queries.data[known])

    def heaviest_first(self) -> Asked:
        """Return the queries with the terms of each in the order of their weights, of equal ones the more frequent."""
        query = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        part = slice(self.starts[0], self.starts[-1])
        order = np.lexsort((self.terms[part], -self.weights[part], query))
        return Asked(self.starts - self.starts[0], self.terms[part][order], self.weights[part][order])

    def part(self, first: int, last: int) -> Asked:
        """Return some of the queries."""
        return Asked(self.starts[first : last + 1], self.terms, self.weights)

    def frozen(self) -> Asked:
        """Return the queries as read-only arrays."""
        return Asked(frozen(self.starts), frozen(self.terms), frozen(self.weights))

    def apart(self) -> Asked:
        """Return the queries in memory of their own, for a kernel that puts their terms in another order."""
        begin, end = self.starts[0], self.starts[-1]
        return Asked(self.starts - begin, self.terms[begin:end].copy(), self.weights[begin:end].copy())


class Compact:
    """Rows in compact form, which can be read from end to end.

    Parameters
    ----------
    terms : Terms
    forward : Forward
    """

    def __init__(self, terms: Terms, forward: Forward) -> None:
        self.terms, self.forward = terms, forward
        self._queries = Scratch(lambda: np.zeros(max(1, len(terms)), np.float32))

    def __len__(self) -> int:
        return len(self.forward)

    @property
    def nbytes(self) -> int:
        """Bytes that searches read."""
        return self.forward.nbytes

    def scan(
        self,
        asked: Asked,
        passing: NDArray[np.bool_] | None,
        first_id: int,
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
    ) -> int:
        """Add the best rows to lists of hits, by reading all that may be hits; returns how many rows that took.

        The first row has the id `first_id`.
        """
        from isometry.kernels import sparse as kernels

        slots = np.arange(len(self), dtype=np.int32) if passing is None else np.flatnonzero(passing).astype(np.int32)
        query = self._queries.take()
        kernels.scan(self.forward.rows, first_id, frozen(slots), *asked.frozen(), query, ids, scores)
        self._queries.give(query)
        return len(slots) * len(ids)


class Built(Compact, ABC):
    """What `build` made of rows: read-only, and searched by many threads at once."""

    @abstractmethod
    def search(
        self,
        asked: Asked,
        how: Any,
        passing: NDArray[np.bool_] | None,
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
    ) -> int:
        """Write the best rows for the queries, by the one thread that calls; None lets all rows pass.

        Returns how many rows were scored, all queries together.
        """

    @abstractmethod
    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays to save beside `terms` and `forward`."""


class SparseIndex(ABC):
    """Base of the indexes of sparse vectors: compared by inner product, of weights that are not negative.

    A class says what it builds and how far a search goes; the rows that come after `build` wait, and every search reads
    them from end to end.

    Parameters
    ----------
    metric : {"dot"}
    values : {"float16", "uint8"}, default "float16"
        What weights are kept as.
    threads : int, optional
        To build with; by default all processors.
    """

    kind: ClassVar[str]
    kind_version: ClassVar[int]
    spec_name: ClassVar[str]
    spec_fields: ClassVar[tuple[str, ...]] = ()
    parameters: ClassVar[tuple[str, ...]] = ("values",)
    """Names of what is saved beside the arrays, and given to the class again."""

    def __init__(self, *, metric: str = "dot", values: Values = "float16", threads: int | None = None) -> None:
        if metric != "dot":
            raise InvalidInput(f"metric is {metric!r}; sparse vectors are compared by 'dot' only")
        self.values: Values = check_choice("values", values, VALUES)  # type: ignore[assignment]
        self.threads = None if threads is None else check_range("threads", threads, 1)
        self._dim = self._n_rows = 0
        self._base: Built | None = None
        self._added: list[_Added] = []
        self._alive: NDArray[np.bool_] | None = None

    # -- for subclasses ------------------------------------------------------------------------------------------------

    @abstractmethod
    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        effort: int | None = None,
        allowed: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return ids and scores, each (nq, k), by `_search`; see `isometry.indexes.Index`."""

    @abstractmethod
    def _make(self, rows: csr_array, terms: Terms, forward: Forward, progress: Progress | None) -> Built:
        """Return what is built of rows whose columns are numbers of terms."""

    @abstractmethod
    def _open(self, folder: Folder, terms: Terms, forward: Forward) -> Built:
        """Return what was saved as `Built.state`, checked: kernels trust what they are given."""

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def metric(self) -> str:
        """``"dot"``."""
        return "dot"

    @property
    def spec(self) -> str:
        """The index in words; fields with their usual value at the end are left out."""
        return str(part_spec(self, least=0))

    @property
    def dim(self) -> int:
        """Size of the vocabulary."""
        return self._dim

    @property
    def n_rows(self) -> int:
        """Number of ids given out so far, removed ones included: the length of an `allowed` mask."""
        return self._n_rows

    @property
    def nbytes(self) -> int:
        """Bytes that searches read."""
        return (0 if self._base is None else self._base.nbytes) + sum(part.nbytes for part in self._added)

    def __len__(self) -> int:
        return self._n_rows if self._alive is None else int(np.count_nonzero(self._alive))

    def __repr__(self) -> str:
        return f"{self.spec}: {len(self)} vectors of {self._dim} terms"

    def __copy__(self) -> Self:
        """Return an index that shares what is there, and to which rows can be added without touching this one."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._added = list(self._added)
        return twin

    # -- changing ------------------------------------------------------------------------------------------------------

    def build(self, x: Any, *, progress: Progress | None = None) -> Self:
        """Index the rows of `x`, forgetting what was there.

        Parameters
        ----------
        x : (n, vocabulary) SciPy sparse array
            Weights, none negative; equal columns of a row are added up, zeros are dropped. A row may be empty: it is
            never found.
        progress : callable, optional
            Called as ``progress(done, total, what)``.

        Raises
        ------
        InvalidInput
            Negative weights, NaN, infinity, a row too long to compute with, or no sparse array at all.
        TooLarge
            More rows or weights than one index holds.
        """
        rows = check_weights(as_sparse(x), "x")
        if rows.shape[0] > _MOST_ROWS:
            raise TooLarge(f"x has {rows.shape[0]} rows; one index holds at most {_MOST_ROWS}: use several")
        terms = Terms.of(rows)
        numbered = terms.renumbered(rows)
        base = self._make(numbered, terms, Forward.of(numbered, self.values), progress)
        self._dim, self._n_rows, self._base, self._added = rows.shape[1], rows.shape[0], base, []
        self._alive = None
        return self

    def add(self, x: Any) -> NDArray[np.int64]:
        """Append the rows of `x` and return their ids; searches read them from end to end until the next `build`.

        Raises
        ------
        DimensionMismatch, InvalidInput, TooLarge
            As `build`.
        """
        if self._base is None:
            return np.arange(self.build(x).n_rows)
        rows = check_weights(as_sparse(x, dim=self._dim), "x")
        first, count = self._n_rows, rows.shape[0]
        if not count:
            return np.empty(0, np.int64)
        if first + count > _MOST_ROWS:
            raise TooLarge(f"{first + count} rows are too many; one index holds at most {_MOST_ROWS}: use several")
        parts = [*self._added, _Added(first, rows.copy(), self.values)]
        # Parts of doubling sizes: adding one row at a time copies each of them a few times, not each time.
        while len(parts) > 1 and len(parts[-2]) <= 2 * len(parts[-1]):
            parts[-2:] = [parts[-2].followed_by(parts[-1])]
        self._added, self._n_rows = parts, first + count
        if self._alive is not None:
            self._alive = np.concatenate([self._alive, np.ones(count, bool)])
        return np.arange(first, self._n_rows)

    def remove(self, ids: Any) -> int:
        """Drop rows for good; their ids are never used again.

        Parameters
        ----------
        ids : int or sequence of int
            Ids removed before are passed over.

        Returns
        -------
        int
            Number of rows that were there until now.
        """
        self._ready()
        before = len(self)
        self._alive = without(self._alive, ids, self._n_rows)
        return before - len(self)

    # -- searching -----------------------------------------------------------------------------------------------------

    def _search(
        self,
        q: Any,
        k: int,
        effort: int | None,
        allowed: Any,
        threads: int | None,
        how: Callable[[int | None, int], Any],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], int]:
        """Answer queries; `how` makes of effort and k what `Built.search` is told, None to read every row.

        Returns ids, scores and how many rows were scored, all queries together.
        """
        k, effort, threads = check_search(k, effort, threads)
        base = self._ready()
        queries = check_weights(as_sparse(q, dim=self._dim, name="q"), "q")
        nq = queries.shape[0]
        ids, scores = ranked.empty(nq, k)
        mask = check_allowed(allowed, self._n_rows)
        if self._alive is not None:
            mask = self._alive if mask is None else mask & self._alive
        told = how(effort, k)
        asked = Asked.of(queries, base.terms)
        passing = None if mask is None else mask[: len(base)]
        added = [
            (part, Asked.of(queries, part.terms), None if mask is None else mask[part.first : part.first + len(part)])
            for part in self._added
        ]

        def answer(first: int, last: int) -> int:
            part = slice(first, last)
            if told is None:
                scored = base.scan(asked.part(first, last), passing, 0, ids[part], scores[part])
            else:
                scored = base.search(asked.part(first, last), told, passing, ids[part], scores[part])
            for more, of_more, which in added:
                scored += more.scan(of_more.part(first, last), which, more.first, ids[part], scores[part])
            return scored

        return ids, scores, sum(run_parts(answer, nq, _QUERIES, threads)) if nq else 0

    # -- keeping -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the index to the folder `path`, atomically; see `isometry.storage.write_folder`."""
        base = self._ready()
        parameters = {name: getattr(self, name) for name in self.parameters}
        parameters |= {"metric": self.metric, "dim": self._dim, "n_rows": self._n_rows}
        arrays = {"columns": base.terms.columns} | base.forward.state() | base.state()
        if self._alive is not None:
            arrays["alive"] = self._alive
        if self._added:
            rows = _stacked([part.rows for part in self._added])
            arrays |= {
                "added_starts": rows.indptr.astype(np.int64),
                "added_columns": rows.indices.astype(np.int64),
                "added_weights": rows.data,
            }
        write_folder(path, self.kind, parameters, arrays, kind_version=self.kind_version, overwrite=overwrite)

    @classmethod
    def from_folder(cls, folder: Folder) -> Self:
        """Return the index in a folder that `isometry.storage.read_folder` opened, memory-mapped."""
        folder.require_version(cls.kind_version)
        try:
            settings: dict[str, Any] = {name: folder.parameters.get(name) for name in cls.parameters}
            index = cls(metric=folder.parameter("metric", str), **settings)
        except InvalidInput as error:
            raise folder.damaged(str(error)) from None
        dim, n_rows = folder.parameter("dim", int), folder.parameter("n_rows", int)
        columns = folder.array("columns", np.int64, (None,))
        if not (0 <= dim < 2**63 and 0 <= n_rows <= _MOST_ROWS):
            raise folder.damaged(f"{n_rows} rows of {dim} terms are not possible")
        if len(columns) and not (
            columns.min() >= 0 and columns.max() < dim and len(np.unique(columns)) == len(columns)
        ):
            raise folder.damaged(f"array 'columns' does not name {len(columns)} of {dim} columns")
        forward = Forward.from_folder(folder, len(columns))
        n = len(forward)
        if n > n_rows or forward.values != index.values:
            raise folder.damaged(f"{n} rows of {forward.values} are not the {n_rows} of {index.values} that it says")
        index._dim, index._n_rows, index._base = dim, n_rows, index._open(folder, Terms(columns), forward)
        if "alive" in folder.arrays:
            index._alive = folder.array("alive", bool, (n_rows,))
        if n_rows > n:
            index._added = [_Added(n, _added_rows(folder, n_rows - n, dim), index.values)]
        return index

    def _ready(self) -> Built:
        if self._base is None:
            raise not_built(f"{self.kind} index")
        return self._base


class _Added(Compact):
    """Rows that came after `build`, in compact form and as they were given."""

    def __init__(self, first: int, rows: csr_array, values: Values) -> None:
        # Numbered in their order, so that products add up in the same order however the rows are put together.
        terms = Terms(np.unique(rows.indices).astype(np.int64))
        super().__init__(terms, Forward.of(terms.renumbered(rows), values))
        self.first, self.rows, self._values = first, rows, values

    def followed_by(self, other: _Added) -> _Added:
        """Return the rows of both; those of `other` come next."""
        return _Added(self.first, _stacked([self.rows, other.rows]), self._values)


def check_weights(x: csr_array, name: str) -> csr_array:
    """Return sparse vectors as they are, or raise `InvalidInput` for negative weights and those too large."""
    if not x.nnz:
        return x
    least, largest = float(x.data.min()), float(x.data.max())
    if least < 0:
        row = int(np.searchsorted(x.indptr, x.data.argmin(), side="right")) - 1
        raise InvalidInput(
            f"{name} row {row} has the weight {least:.3g}; expected none below 0: summaries and sums of lists are "
            "bounds only then (index the negative part as terms of their own)"
        )
    if largest * math.sqrt(x.shape[1]) > LARGEST_NORM:
        check_lengths(np.sqrt(x.astype(np.float64).power(2).sum(axis=1)), name)
    return x


def check_number(name: str, value: Any, low: float, high: float) -> float:
    """Return a number as a float, or raise `InvalidInput` when it is not from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not low <= value <= high:
        raise InvalidInput(f"{name} is {value!r}; expected a number from {low:g} to {high:g}")
    return float(value)


def _stacked(parts: list[csr_array]) -> csr_array:
    from scipy.sparse import vstack

    return vstack(parts, format="csr")


def _added_rows(folder: Folder, n: int, dim: int) -> csr_array:
    """Return the rows that were added and saved, checked."""
    from scipy.sparse import csr_array

    starts = folder.array("added_starts", np.int64, (n + 1,))
    columns = folder.array("added_columns", np.int64, (None,))
    weights = folder.array("added_weights", np.float32, (len(columns),))
    if starts[0] != 0 or starts[-1] != len(columns) or (starts[1:] < starts[:-1]).any():
        raise folder.damaged(f"array 'added_starts' does not cut {len(columns)} weights into rows")
    if len(columns) and not (columns.min() >= 0 and columns.max() < dim):
        raise folder.damaged(f"array 'added_columns' leads beyond {dim} columns")
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise folder.damaged("array 'added_weights' holds what is no weight")
    rows = csr_array((weights, columns, starts), shape=(n, dim))
    if not rows.has_canonical_format:
        raise folder.damaged("array 'added_columns' is not ascending within a row")
    return rows
