"""A random rotation in O(d log d): signs and Walsh-Hadamard transforms, for any number of dimensions.

With m the largest power of two up to d, a round flips the values by random signs and transforms m of them: the first in
rounds 0, 2, ..., the last in rounds 1, 3, .... Where m < d, a value that few rounds have reached would keep too much of
itself, so after every second round but the last both halves are mixed, value i with value d - floor(d / 2) + i.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.threads import in_threads

__all__ = ["random_signs", "rotate", "rotate_back", "rotate_row", "rotate_rows"]

_BLOCK_VALUES = 2**18
_LANES = 16
_HALF_ROOT = np.float32(math.sqrt(0.5))


def random_signs(d: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Return what one rotation of d dimensions is made of: (rounds, d) signs."""
    rounds = 3 if d & (d - 1) == 0 else 4
    return (2 * rng.integers(0, 2, (rounds, d)) - 1).astype(np.int8)


def rotate(x: NDArray[np.float32], signs: NDArray[np.int8], threads: int | None = None) -> NDArray[np.float32]:
    """Return the rows of `x` rotated: an orthogonal map, up to rounding.

    Parameters
    ----------
    x : (n, d) float32
        C-contiguous. No intermediate value is larger than the length of a row, which must be within float32.
    signs : (rounds, d) int8
        From `random_signs`.
    threads : int, optional
        At most this many; by default all processors. A row gives the same bytes for any number, and alone.
    """
    return _in_blocks(x, signs, False, threads)


def rotate_back(x: NDArray[np.float32], signs: NDArray[np.int8], threads: int | None = None) -> NDArray[np.float32]:
    """Return the rows of which `rotate` makes `x`."""
    return _in_blocks(x, signs, True, threads)


def _in_blocks(x: NDArray[np.float32], signs: NDArray[np.int8], back: bool, threads: int | None) -> NDArray[np.float32]:
    n, d = x.shape
    out = np.empty((n, d), np.float32)
    rows = max(1, _BLOCK_VALUES // d // _LANES) * _LANES
    starts = range(0, n, rows)

    def one(start: int) -> None:
        rotate_rows(x[start : start + rows], signs, back, out[start : start + rows])

    in_threads(one, starts, threads)
    return out


@kernel
def rotate_rows(x: Any, signs: Any, back: Any, out: Any) -> None:
    """Rotate rows (n, d) or turn them back, as many at once as a register has places.

    Dimension j of row l lies at work[j, l].
    """
    n, d = x.shape
    rounds, m, half = len(signs), _power_of_two(d), d // 2
    work = np.empty((d, _LANES), np.float32)
    for first in range(0, n, _LANES):
        some = x[first : first + _LANES]
        work[:] = 0
        for lane in range(len(some)):
            for j in range(d):
                work[j, lane] = some[lane, j]
        for step in range(rounds):
            at = rounds - 1 - step if back else step
            begin = (d - m) * (at % 2)
            if back:
                _transform(work[begin : begin + m])
                _flip(work, signs[at], begin, m)
            else:
                _flip(work, signs[at], begin, m)
                _transform(work[begin : begin + m])
            if m < d and step % 2 == 1 and step < rounds - 1:
                _mix(work[:half].reshape(-1), work[d - half :].reshape(-1))
        some = out[first : first + _LANES]
        for lane in range(len(some)):
            for j in range(d):
                some[lane, j] = work[j, lane]


@kernel
def rotate_row(row: Any, signs: Any, out: Any, spare: Any) -> None:
    """Rotate one row (d,), up to rounding as `rotate_rows` would; `spare` is scratch of the same shape.

    Each level of a transform adds and subtracts halves and interleaves the results, so that inner loops are long.
    """
    d = len(row)
    rounds, m, half = len(signs), _power_of_two(d), d // 2
    scale = np.float32(1 / math.sqrt(m))
    out[:] = row
    for step in range(rounds):
        begin = (d - m) * (step % 2)
        for j in range(d):
            out[j] *= np.float32(signs[step, j])
        part, other = out[begin : begin + m], spare[:m]
        for j in range(m):
            part[j] *= scale
        width = 1
        while width < m:
            _interleave(part, other)
            part, other = other, part
            width *= 2
        if m > 1:
            out[begin : begin + m] = part
        if m < d and step % 2 == 1 and step < rounds - 1:
            _mix(out[:half], out[d - half :])


@kernel
def _interleave(values: Any, out: Any) -> None:
    half = len(values) // 2
    for j in range(half):
        a, b = values[j], values[half + j]
        out[2 * j] = a + b
        out[2 * j + 1] = a - b


@kernel
def _power_of_two(d: Any) -> Any:
    """Return the largest power of two up to d."""
    m = 1
    while 2 * m <= d:
        m *= 2
    return m


@kernel
def _flip(work: Any, signs: Any, begin: Any, m: Any) -> None:
    """Flip all values, and scale those m that are transformed to their length afterwards."""
    scale = np.float32(1 / math.sqrt(m))
    for j in range(len(work)):
        factor = np.float32(signs[j])
        if begin <= j < begin + m:
            factor *= scale
        values = work[j]
        for lane in range(len(values)):
            values[lane] *= factor


@kernel
def _transform(work: Any) -> None:
    flat = work.reshape(-1)
    half = _LANES
    while 4 * half <= len(flat):
        for at in range(0, len(flat), 4 * half):
            part = flat[at : at + 4 * half]
            _four(part[:half], part[half : 2 * half], part[2 * half : 3 * half], part[3 * half :])
        half *= 4
    if half < len(flat):
        _two(flat[:half], flat[half:])


@kernel
def _two(left: Any, right: Any) -> None:
    for i in range(len(left)):
        a, b = left[i], right[i]
        left[i] = a + b
        right[i] = a - b


@kernel
def _four(first: Any, second: Any, third: Any, fourth: Any) -> None:
    """Two levels of `_two` at once."""
    for i in range(len(first)):
        a, b, c, d = first[i], second[i], third[i], fourth[i]
        ab, cd, a_b, c_d = a + b, c + d, a - b, c - d
        first[i] = ab + cd
        second[i] = a_b + c_d
        third[i] = ab - cd
        fourth[i] = a_b - c_d


@kernel
def _mix(left: Any, right: Any) -> None:
    for i in range(len(left)):
        a, b = left[i] * _HALF_ROOT, right[i] * _HALF_ROOT
        left[i] = a + b
        right[i] = a - b
