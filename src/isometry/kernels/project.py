"""Rows times a matrix, so that a row's result depends on that row alone.

A BLAS adds up in an order that depends on how many rows there are. Here every product of a row with a component is
summed up in the same sixteen lanes, and alone takes no longer than reading the matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel, machine_code
from isometry.kernels.lend import lent
from isometry.kernels.score import inlined
from isometry.kernels.simd import address, fma, load_f32, rolled, sum_f32, zero_f32
from isometry.threads import run_parts

__all__ = ["project"]

_LANES = 16
_BLOCK_ROWS = 64
_TASK_ROWS = 2048


def project(x: NDArray[np.float32], components: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``x @ components.T``, each row the same to the last bit whatever rows come with it.

    O(n d D) time by all processors. What leaves float32 becomes infinite or NaN, without a warning.
    """
    x, components = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(components, np.float32)
    out, code = np.empty((len(x), len(components)), np.float32), _code()
    run_parts(lambda start, stop: code(x[start:stop], components, out[start:stop]), len(x), _TASK_ROWS, None)
    return out


@cache
def _code() -> Callable[..., Any]:
    """Return one machine code for arrays that may be written to and for others."""
    return machine_code(_project, *[np.empty((1, 1), np.float32)] * 3)


@kernel
def _project(x, components, out):
    x, components, out = lent((x, components, out))
    n, d = len(x), len(components)
    for first in range(0, n, _BLOCK_ROWS):
        last = min(first + _BLOCK_ROWS, n)
        for c in range(0, d - 2, 3):
            i = first
            while i < last - 1:
                _two_rows(x, components, out, i, c)
                i += 2
            if i < last:
                _one_row(x, components, out, i, c, 3)
        rest = d - d % 3
        if rest < d:
            for i in range(first, last):
                _one_row(x, components, out, i, rest, d - rest)


@inlined()
def _two_rows(x, components, out, i, c):
    """Two rows and three components: as many sums as AVX2 has registers for."""
    dim = x.shape[1]
    whole = dim - dim % _LANES
    p, q = address(x[i]), address(x[i + 1])
    s, t, u = address(components[c]), address(components[c + 1]), address(components[c + 2])
    ps = pt = pu = qs = qt = qu = zero_f32()
    for j in range(0, 4 * whole, 4 * _LANES):
        rolled()
        a, b = load_f32(p + j), load_f32(q + j)
        v = load_f32(s + j)
        ps, qs = fma(a, v, ps), fma(b, v, qs)
        v = load_f32(t + j)
        pt, qt = fma(a, v, pt), fma(b, v, qt)
        v = load_f32(u + j)
        pu, qu = fma(a, v, pu), fma(b, v, qu)
    out[i, c], out[i + 1, c] = sum_f32(ps), sum_f32(qs)
    out[i, c + 1], out[i + 1, c + 1] = sum_f32(pt), sum_f32(qt)
    out[i, c + 2], out[i + 1, c + 2] = sum_f32(pu), sum_f32(qu)
    for m in range(2):
        for n in range(3):
            _add_rest(x, components, out, i + m, c + n, whole)


@inlined()
def _one_row(x, components, out, i, c, count):
    """One row and up to three components, of which the last is taken again where there are fewer."""
    dim = x.shape[1]
    whole = dim - dim % _LANES
    p = address(x[i])
    last = c + count - 1
    s, t, u = address(components[c]), address(components[min(c + 1, last)]), address(components[last])
    ps = pt = pu = zero_f32()
    for j in range(0, 4 * whole, 4 * _LANES):
        rolled()
        a = load_f32(p + j)
        ps, pt, pu = fma(a, load_f32(s + j), ps), fma(a, load_f32(t + j), pt), fma(a, load_f32(u + j), pu)
    out[i, c], out[i, min(c + 1, last)], out[i, last] = sum_f32(ps), sum_f32(pt), sum_f32(pu)
    for n in range(count):
        _add_rest(x, components, out, i, c + n, whole)


@inlined()
def _add_rest(x, components, out, i, c, whole):
    total = out[i, c]
    for j in range(whole, x.shape[1]):
        total += x[i, j] * components[c, j]
    out[i, c] = total
