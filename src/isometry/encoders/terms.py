"""Sparse vectors over a vocabulary: from scores to weights, and the heaviest terms of each text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array


def damped(scores: NDArray[np.float32]) -> csr_array:
    r"""Return SPLADE's weights :math:`\log(1 + \max(0, s))` of the scores (n, vocabulary), as a canonical CSR array.

    O(n vocabulary) comparisons; logarithms only of what stays.
    """
    from scipy.sparse import csr_array

    n, width = scores.shape
    positive = scores > 0
    counts = np.count_nonzero(positive, axis=1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    places = np.flatnonzero(positive)
    columns = (places - np.repeat(np.arange(n) * width, counts)).astype(np.int32)
    return csr_array((np.log1p(scores.reshape(-1)[places]), columns, offsets), shape=scores.shape)


def heaviest(x: csr_array, limits: int | NDArray[np.integer[Any]]) -> csr_array:
    """Return a canonical CSR array with only the largest values of each row; of equal ones the smaller columns.

    Parameters
    ----------
    x : (n, vocabulary) csr_array
        Canonical: sorted columns, no duplicates.
    limits : int or (n,) array of int
        Most values per row; 0 empties a row.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> x = csr_array(np.array([[1, 3, 0, 3, 3], [0, 2, 0, 0, 0]], np.float32))
    >>> heaviest(x, 2).toarray().tolist()
    [[0.0, 3.0, 0.0, 3.0, 0.0], [0.0, 2.0, 0.0, 0.0, 0.0]]
    """
    from scipy.sparse import csr_array

    counts = np.diff(x.indptr)
    limits = np.broadcast_to(limits, counts.shape)
    if (counts <= limits).all():
        return x
    rows = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-x.data, rows))  # stable: equal values stay in the order of their columns
    kept = np.empty(len(order), bool)
    kept[order] = np.arange(len(order)) - x.indptr[rows] < limits[rows]
    offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, limits))]).astype(x.indptr.dtype)
    return csr_array((x.data[kept], x.indices[kept], offsets), shape=x.shape)


def joined(x: csr_array, starts: NDArray[np.int64]) -> csr_array:
    """Return the coordinate-wise maximum of each group of rows, as SPLADE's pooling takes it over tokens.

    Parameters
    ----------
    x : (n, vocabulary) csr_array
        Canonical, no negative value.
    starts : (groups + 1,) int64
        Group ``i`` is the rows ``starts[i]`` to ``starts[i + 1]``; one without rows becomes an empty row.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> x = csr_array(np.array([[1, 3, 0], [2, 0, 0], [0, 0, 1]], np.float32))
    >>> joined(x, np.array([0, 2, 2, 3])).toarray().tolist()
    [[2.0, 3.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    from scipy.sparse import csr_array

    groups = np.repeat(np.arange(len(starts) - 1), np.diff(x.indptr[starts]))
    order = np.lexsort((x.indices, groups))
    groups, columns, values = groups[order], x.indices[order], x.data[order]
    first = np.ones(len(order), bool)
    first[1:] = (groups[1:] != groups[:-1]) | (columns[1:] != columns[:-1])
    places = np.flatnonzero(first)
    offsets = np.searchsorted(groups[places], np.arange(len(starts)))
    best = np.maximum.reduceat(values, places) if len(places) else values
    return csr_array((best, columns[places], offsets), shape=(len(starts) - 1, x.shape[1]))
