"""Vectors in the form of their metric, and scores back again."""

from __future__ import annotations

from functools import partial

import numpy as np

from isometry.kernels.compiled import kernel
from isometry.kernels.score import inlined

__all__ = ["enter", "leave"]

_ANY_ORDER = {"reassoc", "contract", "nsz"}
_summing = partial(kernel, fastmath=_ANY_ORDER)


@inlined(fastmath=_ANY_ORDER)
def _square(values):
    total = np.float64(0)
    for value in values:
        total += np.float64(value) * value
    return total


@_summing
def enter(x, centre, unit, shortest, longest, out, norms):
    """Write the norms of vectors, and the vectors centred, if there is a centre, or scaled to norm 1, if `unit`.

    Parameters
    ----------
    x : (n, d) float32
    centre : (d,) or (0,) float32
    unit : bool
        Vectors shorter than `shortest` become zeros.
    shortest, longest : float
    out : (n, d) or (0, d) float32
        The latter if only the norms are wanted.
    norms : (n,) float32
        Of `x` as it is given.

    Returns
    -------
    bool
        Whether all norms are numbers up to `longest`.
    """
    sound = True
    for i in range(len(x)):
        row = x[i]
        norm = norms[i] = np.float32(np.sqrt(_square(row)))
        sound &= norm <= longest
        if len(out) == 0:
            continue
        if len(centre):
            for j in range(len(row)):
                out[i, j] = row[j] - centre[j]
        else:
            scale = np.float32(1)
            if unit:
                scale = np.float32(1) / norm if norm >= shortest else np.float32(0)
            for j in range(len(row)):
                out[i, j] = row[j] * scale
    return sound


@_summing
def leave(scores, added, squared, full):
    """Add to products with rows what they lack, in place; `squared` turns them into minus squared distances.

    Parameters
    ----------
    scores : (nq, k) float32
    added : (nq,) or (0,) float32
        What all scores of a query lack.
    squared : bool
        Scores have minus half the squared norm of the row in them.
    full : (nq, d) float32
        The queries; read if `squared`.
    """
    for i in range(len(scores)):
        more = added[i] if len(added) else np.float32(0)
        square = np.float32(_square(full[i])) if squared else np.float32(0)
        for j in range(scores.shape[1]):
            value = scores[i, j] + more
            scores[i, j] = min(np.float32(2) * value - square, np.float32(0)) if squared else value
