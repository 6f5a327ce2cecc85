"""What all indexes over two levels of vectors share: how they are named, and how large they are."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput, TooLarge, check_choice
from isometry.indexes.base import METRICS, check_row_ids, not_built
from isometry.indexes.levels import Levels, chain_of
from isometry.indexes.slots import Slots
from isometry.storage import write_folder

__all__ = ["Levelled", "check_memory"]


class Levelled(ABC):
    """Base of an index that keeps its vectors as `Levels`, in `Slots`; its parts are cloned, not changed."""

    kind: ClassVar[str]
    kind_version: int
    _spec: str

    def __init__(self, metric: str, transform: Any = None, codec: Any = None, refine: Any = None) -> None:
        self.metric = check_choice("metric", metric, METRICS)
        self._parts = {"transform": chain_of(transform), "codec": codec, "refine": refine}
        self._levels = Levels(self.metric, **self._parts)
        self._slots: Slots | None = None
        self._mapped = False

    @property
    def spec(self) -> str:
        """The index in words, e.g. ``"LeanVec160,LVQ4,Vamana32 -> LVQ8"`` or ``"LVQ8,Flat"``."""
        return self._spec

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""
        self._built()
        return self._levels.dim

    @property
    def n_rows(self) -> int:
        """Number of ids given out so far, removed ones included: the length of an `allowed` mask."""
        return 0 if self._slots is None else len(self._slots.slot_of)

    @property
    def nbytes(self) -> int:
        """Bytes that searches read, with what transforms and codecs have learned."""
        slots = self._built()
        return self._levels.nbytes + self._levels.shared_bytes + slots.row_ids.nbytes + slots.slot_of.nbytes

    @property
    def bytes_per_vector(self) -> float:
        """Bytes that the codes of a vector take on all levels, without ids and links."""
        return self._levels.nbytes / self._built().capacity

    def __len__(self) -> int:
        return 0 if self._slots is None else len(self._slots)

    def __repr__(self) -> str:
        size = "empty" if self._slots is None else f"{len(self)} vectors of {self.dim} dimensions"
        return f"{self.kind}({self.spec!r}, metric={self.metric!r}): {size}"

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters and arrays that `save` writes and `from_folder` reads."""

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the index to the folder `path`, atomically; see `isometry.storage.write_folder`."""
        write_folder(path, self.kind, *self.state(), kind_version=self.kind_version, overwrite=overwrite)

    @staticmethod
    def _learned(n: int, held_out: Any) -> NDArray[np.bool_] | None:
        """Return which of n rows transforms and codecs may learn from; None for all."""
        if held_out is None:
            return None
        learned = np.ones(n, np.bool_)
        learned[check_row_ids(held_out, n)] = False
        if n and not learned.any():
            raise InvalidInput(f"held_out names all {n} rows; expected some that transforms and codecs may learn from")
        return learned

    def _built(self) -> Slots:
        if self._slots is None:
            raise not_built(f"{self.kind} index")
        return self._slots


def check_memory(needed: int, what: str, where: str, advice: str) -> None:
    """Refuse, before anything is done, what needs more bytes than there are; raises `TooLarge`."""
    free = _free_memory()
    if free is not None and needed > free:
        raise TooLarge(
            f"{what} need about {needed / 2**30:.1f} GiB in {where}, and {free / 2**30:.1f} GiB are free: {advice}"
        )


def _free_memory() -> int | None:
    """Return how many bytes can be had, where the system tells."""
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
