"""Rows times a matrix, so that a row's result depends on that row alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isometry.threads import in_threads

__all__ = ["project"]

_ROWS = 8
_VALUES = 2**15  # OpenBLAS starts threads beyond 2^18 multiplications, which are eight times these
_TASK_ROWS = 2048


def project(x: NDArray[np.float32], components: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``x @ components.T``, each row the same to the last bit whatever rows come with it.

    A BLAS adds up in an order that depends on the number of rows. So it is always given eight, the last ones filled up
    with zeros, and so few components that it does not start threads for them; our own threads share the work.
    """
    n, d = len(x), len(components)
    size = max(1, _VALUES // components.shape[1])
    parts = [(slice(i, i + size), np.ascontiguousarray(components[i : i + size].T)) for i in range(0, d, size)]
    out = np.empty((n, d), np.float32)

    def fill(start: int) -> None:
        stop = min(start + _TASK_ROWS, n)
        whole = start + (stop - start) // _ROWS * _ROWS
        block = x[start:whole].reshape(-1, _ROWS, x.shape[1])
        last = np.zeros((_ROWS, x.shape[1]), np.float32)
        last[: stop - whole] = x[whole:stop]
        for columns, across in parts:
            out[start:whole, columns] = np.matmul(block, across).reshape(whole - start, across.shape[1])
            if whole < stop:
                out[whole:stop, columns] = (last @ across)[: stop - whole]

    in_threads(fill, range(0, n, _TASK_ROWS))
    return out
