"""What graphs are linked by: rows that are compared with each other, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isometry.indexes.levels import frozen, frozen_rows
from isometry.kernels.rows import BFloat16Rows, Float16Rows, Float32Rows, TableRows, values_at, values_of
from isometry.threads import run_parts

if TYPE_CHECKING:
    from isometry.indexes.levels import Levels
    from isometry.kernels.graph import Space
    from isometry.kernels.rows import Rows

__all__ = ["link_rows", "link_space"]

_CODED_FROM = 2**24
"""Bytes from which rows are read from memory rather than from a cache."""
_ASKED, _NEAREST, _ENOUGH = 64, 16, 0.9
_EMPTY = frozen(np.empty(0, np.float32))

Slots = NDArray[np.int32]


def link_rows(levels: Levels, linked: Slots | None = None, threads: int | None = None) -> tuple[Rows, int]:
    """Return the rows that are compared with each other to link them, and their dimensions.

    They are those of the walk, or what 8 bits per dimension keep of these, for as long as it takes to link:

    - Of tables, as there is no product of two such rows.
    - Of many floats that are all linked anew, as the graph is as good and made in half the time, if by their codes
      some of them have the same nearest rows, most of the time. If what differs between them is lost beside what they
      have in common, they are compared as they are.

    Parameters
    ----------
    levels : Levels
    linked : (m,) int32, optional
        The slots of a graph that is made anew; without them a few are linked to others.
    threads : int, optional

    Notes
    -----
    Codes cost O(n d), and a look at whether they do, 64 scans of the rows.
    """
    walk, dim = levels.walk, levels.walk_dim
    if isinstance(walk, TableRows):
        codec = levels.codec
        decoded = codec.inverse_transform(walk.codes) - codec.mean_
        return _coded(decoded), decoded.shape[1]
    if linked is None or not isinstance(walk, Float32Rows | Float16Rows | BFloat16Rows):
        return walk, dim
    if walk.values.nbytes < _CODED_FROM:
        return walk, dim
    coded = _coded(values_of(walk, dim))
    near, still = (_nearest(rows, linked, dim, threads) for rows in (walk, coded))
    kept = (near[:, :, None] == still[:, None]).any(2).mean()
    return (coded if kept >= _ENOUGH else walk), dim


def link_space(metric: str, slots: Slots, rows: Rows, dim: int) -> Space:
    """Return how the `link_rows` in `slots` are compared: by distance, unless it is ``l2`` as if on one sphere.

    Under cosine only zero vectors are far inside of it: left there, half as far from any row as two that have
    nothing in common, one of them would make nearly all links superfluous.
    """
    from isometry.kernels.graph import Space, squares

    norms = np.zeros(len(rows[0]), np.float32)
    found = np.empty(len(slots), np.float32)
    squares(rows, slots, dim, found)
    norms[slots] = found
    if metric == "l2":
        return Space(frozen(norms / -2), _EMPTY, np.float32(0))
    largest = norms.max(initial=0)
    return Space(_EMPTY, frozen(np.sqrt(largest - norms)), largest)


def _coded(values: NDArray[np.float32]) -> Rows:
    from isometry.codecs import LVQ

    coder = LVQ(bits=8)
    rows: Rows = frozen_rows(coder.rows(coder.fit_transform(values)))
    return rows


def _nearest(rows: Rows, slots: Slots, dim: int, threads: int | None) -> Slots:
    """Return the slots (asked, most) that are nearest to some of `slots`, each of them among its own, by distance."""
    from isometry.kernels.scan import best

    some = slots[np.linspace(0, len(slots) - 1, min(_ASKED, len(slots))).astype(np.int64)]
    queries = values_at(rows, some, dim)
    space, slots = link_space("l2", slots, rows, dim), frozen(np.sort(slots))
    found = np.empty((len(some), min(_NEAREST, len(slots))), np.int32)
    scores = np.empty(found.shape, np.float32)
    run_parts(
        lambda start, stop: best(rows, space, slots, queries[start:stop], scores[start:stop], found[start:stop]),
        len(some), _ASKED // 8, threads,
    )  # fmt: skip
    return found
