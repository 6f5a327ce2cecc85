"""Codes of neighbours beside the links of a graph, as the graph changes and in files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput
from isometry.indexes.levels import frozen, frozen_rows
from isometry.kernels.rows import GROUP, TableRows, TurnedRows, grown
from isometry.threads import run_parts

if TYPE_CHECKING:
    from isometry.indexes.levels import Levels
    from isometry.kernels.links import Links
    from isometry.storage import Folder

__all__ = ["STEP", "LinkCodes"]

STEP = 16
"""Codes have a multiple of so many bits: those of 32 links fill whole cache lines."""
_PART = 256

Slots = NDArray[np.int32]


class LinkCodes:
    """The codes of the links of all rows of a graph; see `isometry.kernels.links`.

    Parameters
    ----------
    codes : (capacity, groups, bytes) uint8
    signs : (rounds, d) int8
        The rotation of rows of d values.
    """

    def __init__(self, codes: NDArray[np.uint8], signs: NDArray[np.int8]) -> None:
        self.codes, self.signs = codes, signs

    @classmethod
    def none(cls, levels: Levels, degree: int, bits: int, seed: int) -> LinkCodes | None:
        """Return codes for the links of no rows; None where rows have too few values for a code.

        Codes have at most `bits`, and at most one for each value.

        Raises
        ------
        InvalidInput
            Rows look their scores up in tables: they have no values to take a step between.
        """
        from isometry.kernels.links import group_bytes
        from isometry.kernels.rotate import random_signs

        if isinstance(levels.walk, TableRows | TurnedRows):
            raise InvalidInput(
                f"link_bits is {bits}, but the codec {levels.codec!r:.60} looks scores up in tables; expected a codec "
                "that keeps values, or link_bits=None"
            )
        dim = levels.walk_dim
        bits = min(bits, dim) // STEP * STEP
        if not bits:
            return None
        codes = np.empty((0, -(-degree // GROUP), group_bytes(bits)), np.uint8)
        return cls(codes, random_signs(dim, np.random.default_rng(seed)))

    @property
    def nbytes(self) -> int:
        """Bytes of all codes."""
        return self.codes.nbytes + self.signs.nbytes

    def links(self) -> Links:
        """Return the codes as searches read them."""
        from isometry.kernels.links import Links

        made: Links = frozen_rows(Links.over(self.codes, self.signs))
        return made

    def following(self, levels: Levels, graph: Slots, before: Slots, own: bool, threads: int | None) -> LinkCodes:
        """Return the codes of a graph that differs from the one `before`, of which these are.

        Parameters
        ----------
        levels : Levels
            What the rows of `graph` are.
        graph, before : (capacity, degree), (older capacity, degree) int32
        own : bool
            Whether the memory of these codes may be written to.
        threads : int, optional
        """
        from isometry.kernels import links as kernels

        capacity = len(graph)
        codes = self.codes if own and len(self.codes) == capacity else grown(self.codes, capacity)
        links = kernels.Links.over(codes, self.signs)
        changed = np.ones(capacity, np.bool_)
        changed[: len(before)] = (graph[: len(before)] != before).any(1)
        slots = np.flatnonzero(changed).astype(np.int32)
        read = changed.copy()
        for start in range(0, len(slots), 65536):
            some = graph[slots[start : start + 65536]]
            read[some[some >= 0]] = True
        wanted = np.flatnonzero(read).astype(np.int32)
        turned_at = np.full(capacity, -1, np.int32)
        turned_at[wanted] = np.arange(len(wanted), dtype=np.int32)
        turned = np.empty((len(wanted), kernels.bits_of(codes.shape[2])), np.float32)
        rows = levels.walk if levels.refined else levels.fine
        space, graph = levels.search_space(), frozen(graph)

        def turn(start: int, stop: int) -> None:
            kernels.turn(rows, wanted[start:stop], self.signs, turned[start:stop])

        def encode(start: int, stop: int) -> None:
            kernels.encode(rows, space, graph, slots[start:stop], turned, turned_at, links)

        run_parts(turn, len(wanted), _PART, threads)
        run_parts(encode, len(slots), _PART, threads)
        return LinkCodes(codes, self.signs)

    # -- keeping -------------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters and arrays that `from_folder` reads."""
        return {}, {"codes": self.codes, "signs": self.signs}

    @classmethod
    def from_folder(cls, folder: Folder, capacity: int, degree: int, dim: int) -> LinkCodes:
        """Return what `state` said of a graph over rows of `dim` values, checked."""
        from isometry.kernels.links import bits_of, group_bytes

        codes = folder.array("codes", np.uint8, (capacity, -(-degree // GROUP), None))
        signs = folder.array("signs", np.int8, (None, dim))
        bits = bits_of(codes.shape[2])
        if bits % STEP or not STEP <= bits <= dim or group_bytes(bits) != codes.shape[2] or not 1 <= len(signs) <= 4:
            raise folder.damaged(f"its codes of links have {bits} bits, turned in {len(signs)} rounds")
        return cls(codes, signs)
