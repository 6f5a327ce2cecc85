"""What an index is: the protocols, and the checks that every index makes at its border."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput, check_range

if TYPE_CHECKING:
    from isometry.storage import Folder

__all__ = [
    "LARGEST_NORM",
    "METRICS",
    "SMALLEST_NORM",
    "Index",
    "Metric",
    "Mutable",
    "check_allowed",
    "check_lengths",
    "check_row_ids",
    "check_search",
    "not_built",
    "without",
]

Metric = Literal["cosine", "dot", "l2"]
METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")
"""``cosine`` and ``dot`` are themselves; ``l2`` is minus the squared distance. Higher is better for all three."""

LARGEST_NORM = 2.0**62
"""Up to this norm no product, square or distance can overflow float32."""
SMALLEST_NORM = float(np.finfo(np.float32).tiny)
"""Vectors shorter than this count as zero under cosine: the inverse of their norm overflows float32."""

Data = TypeVar("Data", contravariant=True)


@runtime_checkable
class Index(Protocol[Data]):
    """Finds the nearest of many items: `Data` is a dense array for most indexes, a list of texts for `BM25`.

    Rows are known by their position: the first item of `build` is id 0, items that are added later follow. An id is
    never used twice, so `n_rows` counts every row that ever was and ``len(index)`` those that still are.
    """

    kind: ClassVar[str]
    """Name of the index in its manifest; the key under which `load_index` finds the class."""

    @property
    def metric(self) -> str:
        """What the scores are: cosine, dot, l2; ``bm25`` for texts."""

    @property
    def spec(self) -> str:
        """The index in words, e.g. ``"Flat"``."""

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector; of known words for `BM25`."""

    @property
    def n_rows(self) -> int:
        """Number of ids given out so far, the length of an `allowed` mask."""

    def __len__(self) -> int:
        """Return the number of items that can be found."""

    def build(self, x: Data) -> Self:
        """Forget everything and index `x`."""

    def search(
        self,
        q: Data,
        k: int = 10,
        *,
        effort: int | None = None,
        allowed: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return ids and scores, each (nq, k), best first; equal scores by smaller id; missing = -1 and -inf."""

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the index as a folder, atomically."""

    @classmethod
    def from_folder(cls, folder: Folder) -> Self:
        """Return the index that `save` wrote, memory-mapped."""


@runtime_checkable
class Mutable(Index[Data], Protocol[Data]):
    """An index that takes and drops rows after it was built."""

    def add(self, x: Data) -> NDArray[np.int64]:
        """Index more items and return their ids."""

    def remove(self, ids: Any) -> int:
        """Drop rows for good and return how many there were; ids that are gone already do not count."""


def check_search(k: Any, effort: Any, threads: Any) -> tuple[int, int | None, int | None]:
    """Return `k`, `effort` and `threads` as integers >= 1 (the last two may be None), or raise `InvalidInput`."""
    return (
        check_range("k", k, 1),
        None if effort is None else check_range("effort", effort, 1),
        None if threads is None else check_range("threads", threads, 1),
    )


def check_allowed(allowed: Any, n_rows: int) -> NDArray[np.bool_] | None:
    """Return `allowed` as a mask of `n_rows` booleans, or None when it is None."""
    if allowed is None:
        return None
    mask = np.asarray(allowed)
    if mask.dtype != np.bool_ or mask.shape != (n_rows,):
        raise InvalidInput(
            f"allowed is {mask.dtype} of shape {mask.shape}; expected one boolean per row ever added, shape ({n_rows},)"
        )
    return mask


def check_lengths(norms: NDArray[np.floating], name: str) -> None:
    """Raise `InvalidInput` when a vector of `name` has a norm that is too large to compute with."""
    if norms.max(initial=0.0) > LARGEST_NORM:
        row = int(norms.argmax())
        raise InvalidInput(
            f"{name} row {row} has norm {norms[row]:.3g}; at most {LARGEST_NORM:.3g} can be squared in float32: "
            "scale the vectors down"
        )


def check_row_ids(ids: Any, n_rows: int) -> NDArray[np.int64]:
    """Return `ids` (one id or a sequence) as distinct ascending integers that all exist, or raise `InvalidInput`."""
    array = np.atleast_1d(np.asarray(ids))
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidInput(f"ids are {array.dtype} of shape {array.shape}; expected a sequence of integers")
    if array.min() < 0 or array.max() >= n_rows:
        bad = array[(array < 0) | (array >= n_rows)][0]
        raise InvalidInput(f"id {bad} does not exist; ids go from 0 to {n_rows - 1}")
    return np.unique(array).astype(np.int64)


def without(alive: NDArray[np.bool_] | None, ids: Any, n_rows: int) -> NDArray[np.bool_]:
    """Return which of `n_rows` rows are there without those of some ids; None for `alive` says that all were.

    Raises
    ------
    InvalidInput
        As `check_row_ids`.
    """
    rows = check_row_ids(ids, n_rows)
    left = np.ones(n_rows, bool) if alive is None else alive.copy()
    left[rows] = False
    return left


def not_built(name: str) -> InvalidInput:
    """Return the error for an index that was asked before it holds anything."""
    return InvalidInput(f"this {name} holds nothing yet; call build or add first")
