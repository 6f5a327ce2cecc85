"""Encoding to the grid point whose direction is nearest, after a random rotation (RaBitQ)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.encode import FLATTEST, HEADER
from isometry.kernels.rotate import rotate
from isometry.kernels.rows import code_bytes, pack_nibbles, pack_planes

__all__ = ["encode", "encode_reference", "packed_bytes"]

_BLOCK_VALUES = 2**18
_LARGEST = 2.0**127
_COARSE = 16
_FINE = 8
_HALF = np.float32(0.5)
_ZERO = np.float32(0)


def packed_bytes(d: int, bits: int) -> int:
    """Return the bytes that d codes of 1 to 8 bits take in a row."""
    return code_bytes(d, bits) if bits in (1, 4, 8) else bits * code_bytes(d, 1)


def encode(
    x: NDArray[np.float32],
    mean: NDArray[np.float32],
    signs: NDArray[np.int8],
    bits: int,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """Return per vector its step, the length of what was encoded, and the codes, as bytes.

    Parameters
    ----------
    x : (n, d) float32
        C-contiguous, finite, no value beyond 2^125.
    mean : (d,) float32
        Taken off first.
    signs : (rounds, d) int8
        The rotation, from `isometry.kernels.rotate.random_signs`.
    bits : int
        1 to 8.
    threads : int, optional
        At most this many; by default all processors. The bytes are the same for any number.

    Notes
    -----
    With r what is rotated and the grid of B bits the numbers :math:`-(2^B - 1) / 2, ..., (2^B - 1) / 2`, every grid
    point of the best direction is what r rounds to, multiplied by some t. 16 values of t are tried, over the range that
    the best one lies in for rotated vectors, and 8 more around the best of them: 24 passes over the row.
    """
    n, d = x.shape
    out = np.zeros((n, HEADER + packed_bytes(d, bits)), np.uint8)
    rows = max(1, _BLOCK_VALUES // d)
    starts = range(0, n, rows)

    def one(start: int) -> None:
        rotated, size = _rotated(x[start : start + rows], mean, signs)
        codes = np.empty(rotated.shape, np.uint8)
        constants = np.empty((len(rotated), 2), np.float32)
        _quantise(rotated, bits, codes, constants)
        _write(codes, constants, size, bits, out[start : start + rows])

    workers = min(threads or _processors(), len(starts))
    if workers < 2:
        for start in starts:
            one(start)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, starts))
    return out


def encode_reference(
    x: NDArray[np.float32], mean: NDArray[np.float32], signs: NDArray[np.int8], bits: int
) -> NDArray[np.uint8]:
    """Return what `encode` would if it tried every t that makes a difference: O(n d 2^B log), by NumPy."""
    rotated, size = _rotated(x, mean, signs)
    codes = np.empty(rotated.shape, np.uint8)
    constants = np.zeros((len(x), 2), np.float32)
    top = 2 ** (bits - 1) - 1
    for i, row in enumerate(rotated.astype(np.float64)):
        levels = np.zeros(row.shape)
        if size[i]:
            with np.errstate(divide="ignore"):
                turns = np.unique(np.append(np.arange(1, top + 1) / np.abs(row)[:, None], 0))
            turns = turns[np.isfinite(turns)]
            between = np.append((turns[1:] + turns[:-1]) / 2, 2 * turns[-1])
            tried = np.minimum(np.floor(between[:, None] * np.abs(row)), top)
            cosines = (tried + 0.5) @ np.abs(row) / np.linalg.norm(tried + 0.5, axis=1)
            levels = tried[cosines.argmax()]
            constants[i] = row @ row / ((levels + 0.5) @ np.abs(row)), np.linalg.norm(row)
        codes[i] = 2 ** (bits - 1) + np.where(row > 0, levels, -1 - levels)
    out = np.zeros((len(x), HEADER + packed_bytes(x.shape[1], bits)), np.uint8)
    _write(codes, constants, size, bits, out)
    return out


def _rotated(
    x: NDArray[np.float32], mean: NDArray[np.float32], signs: NDArray[np.int8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what is left of rows without the mean, divided by its largest magnitude and rotated; and the latter."""
    centred = x - mean
    size = np.maximum(centred.max(axis=1), -centred.min(axis=1))
    size[size < FLATTEST] = 0
    centred *= np.divide(1, size, out=np.zeros_like(size), where=size > 0)[:, None]
    return rotate(centred, signs, threads=1), size


def _write(
    codes: NDArray[np.uint8],
    constants: NDArray[np.float32],
    size: NDArray[np.float32],
    bits: int,
    out: NDArray[np.uint8],
) -> None:
    longest = _LARGEST / np.array([2**bits, 1])
    numbers = np.minimum(constants * size[:, None].astype(np.float64), longest)
    out[:, :HEADER] = numbers.astype("<f4").view(np.uint8)
    if bits == 8:
        out[:, HEADER : HEADER + codes.shape[1]] = codes
    else:
        out[:, HEADER:] = pack_nibbles(codes) if bits == 4 else pack_planes(codes, bits)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@kernel
def _quantise(x: Any, bits: Any, codes: Any, constants: Any) -> None:
    n, d = x.shape
    middle = np.int32(2 ** (bits - 1))
    top = middle - np.int32(1)
    magnitudes = np.empty(d, np.float32)
    for i in range(n):
        largest = _magnitudes(x[i], magnitudes)
        scale = _ZERO
        if top > 0 and largest > 0:
            scale = _best_scale(magnitudes, largest, top)
        product, _, length = _sums(magnitudes, scale, top)
        constants[i, 0] = length / product if largest > 0 else _ZERO
        constants[i, 1] = np.sqrt(length)
        row = x[i]
        for j in range(d):
            level = min(np.int32(magnitudes[j] * scale), top)
            codes[i, j] = middle + (level if row[j] > 0 else -1 - level)


@kernel
def _best_scale(magnitudes: Any, largest: Any, top: Any) -> Any:
    """Return the t for which the rounded t x has the direction nearest to that of x."""
    unit = (np.float32(top) + _HALF) / largest
    low, high = np.float32(0.8), np.float32(1.1) + np.float32(4) / np.float32(top + 1)
    step = unit * (high - low) / np.float32(_COARSE - 1)
    centre = _best_of(magnitudes, top, unit * low, step, _COARSE)
    step /= np.float32(_FINE // 2 + 1)
    return _best_of(magnitudes, top, centre - step * np.float32(_FINE // 2), step, _FINE + 1)


@kernel
def _best_of(magnitudes: Any, top: Any, first: Any, step: Any, tries: Any) -> Any:
    best, found = np.float32(-1), _ZERO
    for k in range(tries):
        scale = first + np.float32(k) * step
        product, square, _ = _sums(magnitudes, scale, top)
        cosine = product / np.sqrt(square)
        if cosine > best:
            best, found = cosine, scale
    return found


@kernel
def _magnitudes(row: Any, out: Any) -> Any:
    largest = _ZERO
    for j in range(len(row)):
        out[j] = abs(row[j])
        largest = max(largest, out[j])
    return largest


@partial(kernel, fastmath={"reassoc", "nsz", "contract"})
def _sums(magnitudes: Any, scale: Any, top: Any) -> Any:
    """Return <v, m>, <v, v> and <m, m> for the magnitudes m and the grid point v that scale * m rounds to."""
    product, square, length = _ZERO, _ZERO, _ZERO
    for m in magnitudes:
        value = np.float32(min(np.int32(m * scale), top)) + _HALF
        product += value * m
        square += value * value
        length += m * m
    return product, square, length
