"""Encoding to the grid point whose direction is nearest, after a random rotation (RaBitQ).

A row is ``step * code + low`` in every dimension, so low adds the same number to all of them. The rotation is made to
turn the mean of the vectors into that direction, (1, ..., 1): low then holds what a row has along the mean, without
error and for nothing, and codes are spent on the rest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel, summing
from isometry.kernels.encode import FLATTEST, HEADER
from isometry.kernels.rotate import rotate, rotate_back
from isometry.kernels.rows import code_bytes, pack_nibbles, pack_planes
from isometry.threads import in_threads

__all__ = ["encode", "encode_reference", "errors", "mirror", "packed_bytes", "turn", "turn_back"]

ERROR_STEPS = 16
"""Errors are kept as powers of 2^(-1 / 16)."""
_ERROR_MASK = np.uint32(255)
_BLOCK_VALUES = 2**18
_LARGEST = 2.0**127
_COARSE = 16
_FINE = 8
_HALF = np.float32(0.5)
_ONE = np.float32(1)
_ZERO = np.float32(0)


def packed_bytes(d: int, bits: int) -> int:
    """Return the bytes that d codes of 1 to 8 bits take in a row."""
    return code_bytes(d, bits) if bits in (1, 4, 8) else bits * code_bytes(d, 1)


def mirror(mean: NDArray[np.float32], signs: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return the normal (d,) of the mirror that comes before the rotation, so that both turn `mean` to all ones.

    Zeros, where there is none, for a mean of zeros.
    """
    d = len(mean)
    direction = mean.astype(np.float64)
    direction /= max(np.abs(direction).max(), float(FLATTEST))
    length = np.linalg.norm(direction)
    if length < 1:
        return np.zeros(d, np.float32)
    ones = rotate_back(np.full((1, d), 1 / np.sqrt(d), np.float32), signs)[0].astype(np.float64)
    normal = direction / length
    normal += ones if normal @ ones > 0 else -ones
    return (normal / np.linalg.norm(normal)).astype(np.float32)


def turn(x: NDArray[np.float32], normal: NDArray[np.float32], signs: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return rows (n, d) mirrored and rotated."""
    return rotate(_mirrored(x, normal), signs)


def turn_back(x: NDArray[np.float32], normal: NDArray[np.float32], signs: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return the rows of which `turn` makes `x`."""
    return _mirrored(rotate_back(x, signs), normal)


def errors(low: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sines of the angles between rows and what their codes hold of them, from where `encode` keeps them."""
    return 2.0 ** (-(low.view(np.uint32) & _ERROR_MASK).astype(np.float64) / ERROR_STEPS)


def encode(
    x: NDArray[np.float32],
    mean: NDArray[np.float32],
    normal: NDArray[np.float32],
    signs: NDArray[np.int8],
    bits: int,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """Return per vector step and low, and the codes, as bytes.

    Parameters
    ----------
    x : (n, d) float32
        C-contiguous, finite, no value beyond 2^125.
    mean : (d,) float32
        Taken off first.
    normal : (d,) float32
        From `mirror`.
    signs : (rounds, d) int8
        The rotation, from `isometry.kernels.rotate.random_signs`.
    bits : int
        1 to 8.
    threads : int, optional
        At most this many; by default all processors. The bytes are the same for any number.

    Notes
    -----
    With r what is rotated, less the mean of its values, and v a point of the grid of the numbers -(2^B - 1) / 2, ...,
    (2^B - 1) / 2, the v whose direction is nearest to that of r is what t r rounds to for some t. 16 values of t are
    tried, over the range that the best one lies in for rotated vectors, and 8 more around the best of them.

    The last 8 bits of low hold the sine of the angle between r and what step * v adds to low, as `errors` reads it:
    rounded up, by 4.4 % at most. They change low by less than 2^-15 of itself.
    """
    n, d = x.shape
    out = np.zeros((n, HEADER + packed_bytes(d, bits)), np.uint8)
    rows = max(1, _BLOCK_VALUES // d)
    starts = range(0, n, rows)

    def one(start: int) -> None:
        turned, size = _turned(x[start : start + rows], mean, normal, signs)
        codes = np.empty(turned.shape, np.uint8)
        constants = np.empty((len(turned), 3), np.float32)
        _quantise(turned, bits, codes, constants)
        _write(codes, constants, size, bits, out[start : start + rows])

    in_threads(one, starts, threads)
    return out


def encode_reference(
    x: NDArray[np.float32],
    mean: NDArray[np.float32],
    normal: NDArray[np.float32],
    signs: NDArray[np.int8],
    bits: int,
) -> NDArray[np.uint8]:
    """Return what `encode` would if it tried every t that makes a difference: O(n d^2 2^B), by NumPy."""
    turned, size = _turned(x, mean, normal, signs)
    codes = np.zeros(turned.shape, np.uint8)
    constants = np.zeros((len(x), 3), np.float32)
    top = 2 ** (bits - 1) - 1
    for i, row in enumerate(turned.astype(np.float64)):
        r = row - row.mean()
        magnitudes = np.abs(r)
        if not magnitudes.any():
            constants[i] = 0, row.mean(), 0
            continue
        with np.errstate(divide="ignore"):
            turns = np.unique(np.append(np.arange(1, top + 1) / magnitudes[:, None], 0))
        turns = turns[np.isfinite(turns)]
        between = np.append((turns[1:] + turns[:-1]) / 2, 2 * turns[-1])
        tried = np.minimum(np.floor(between[:, None] * magnitudes), top) + 0.5
        v = tried[(tried @ magnitudes / np.linalg.norm(tried, axis=1)).argmax()] * np.where(r > 0, 1, -1)
        codes[i] = v + (2**bits - 1) / 2
        step = r @ r / (v @ r)
        sine = np.linalg.norm(step * (v - v.mean()) - r) / np.linalg.norm(step * (v - v.mean()))
        constants[i] = step, row.mean() - step * codes[i].mean(), sine
    out = np.zeros((len(x), HEADER + packed_bytes(x.shape[1], bits)), np.uint8)
    _write(codes, constants, size, bits, out)
    return out


def _turned(
    x: NDArray[np.float32], mean: NDArray[np.float32], normal: NDArray[np.float32], signs: NDArray[np.int8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what is left of rows without the mean, divided by its largest magnitude and turned; and the latter."""
    prepared = np.empty(x.shape, np.float32)
    size = np.empty(len(x), np.float32)
    _prepare(x, mean, normal, prepared, size)
    return rotate(prepared, signs, threads=1), size


def _mirrored(x: NDArray[np.float32], normal: NDArray[np.float32]) -> NDArray[np.float32]:
    return x - (2 * np.vecdot(x, normal))[:, None] * normal


def _write(
    codes: NDArray[np.uint8],
    constants: NDArray[np.float32],
    size: NDArray[np.float32],
    bits: int,
    out: NDArray[np.uint8],
) -> None:
    """Scale the constants (step, low, sine of the angle), put the last two together, and pack the codes."""
    scaled = constants[:, :2] * size[:, None].astype(np.float64)
    numbers = np.clip(scaled, -_LARGEST, _LARGEST / np.array([2 ** (bits - 1), 1])).astype("<f4")
    with np.errstate(divide="ignore"):
        error = np.clip(np.floor(-ERROR_STEPS * np.log2(constants[:, 2])), 0, _ERROR_MASK).astype("<u4")
    low = numbers[:, 1:].view("<u4")
    low[:, 0] = np.where(size > 0, (low[:, 0] & ~_ERROR_MASK) | error, 0)
    out[:, :HEADER] = numbers.view(np.uint8)
    if bits == 8:
        out[:, HEADER : HEADER + codes.shape[1]] = codes
    else:
        out[:, HEADER:] = pack_nibbles(codes) if bits == 4 else pack_planes(codes, bits)


@kernel
def _prepare(x: Any, mean: Any, normal: Any, out: Any, size: Any) -> None:
    """Take off the mean, divide by what is then the largest magnitude, and mirror."""
    for i in range(len(x)):
        row = out[i]
        size[i] = _centre(x[i], mean, row)
        inverse = _ZERO
        if size[i] >= FLATTEST:
            inverse = _ONE / size[i]
        else:
            size[i] = _ZERO
        twice = np.float32(2) * _scale(row, inverse, normal)
        for j in range(len(row)):
            row[j] -= twice * normal[j]


@summing
def _centre(row: Any, mean: Any, out: Any) -> Any:
    largest = _ZERO
    for j in range(len(row)):
        out[j] = row[j] - mean[j]
        largest = max(largest, abs(out[j]))
    return largest


@summing
def _scale(row: Any, factor: Any, normal: Any) -> Any:
    """Scale a row in place; return its product with another."""
    product = _ZERO
    for j in range(len(row)):
        row[j] *= factor
        product += row[j] * normal[j]
    return product


@kernel
def _quantise(x: Any, bits: Any, codes: Any, constants: Any) -> None:
    n, d = x.shape
    middle = np.int32(2 ** (bits - 1))
    top = middle - np.int32(1)
    row = np.empty(d, np.float32)
    magnitudes = np.empty(d, np.float32)
    for i in range(n):
        average = _average(x[i])
        largest = _magnitudes(x[i], average, row, magnitudes)
        scale = _ZERO
        if top > 0 and largest > 0:
            scale = _best_scale(magnitudes, largest, top)
        product, square, length = _sums(magnitudes, scale, top)
        total = np.int32(0)
        for j in range(d):
            level = min(np.int32(magnitudes[j] * scale), top)
            code = middle + (level if row[j] > 0 else -1 - level)
            codes[i, j] = code
            total += code
        step, sine = _ZERO, _ZERO
        if product > 0:
            step = length / product
            off = np.float64(total) / d - (np.float64(middle) - 0.5)
            spread = np.float64(square) - d * off * off
            sine = np.float32(math.sqrt(max(1 - np.float64(product) * product / length / spread, 0.0)))
        constants[i, 0] = step
        constants[i, 1] = average - np.float32(np.float64(step) * total / d)
        constants[i, 2] = sine


@summing
def _average(row: Any) -> Any:
    total = 0.0
    for value in row:
        total += value
    return np.float32(total / len(row))


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


@summing
def _magnitudes(row: Any, average: Any, differences: Any, out: Any) -> Any:
    largest = _ZERO
    for j in range(len(row)):
        difference = row[j] - average
        differences[j] = difference
        out[j] = abs(difference)
        largest = max(largest, out[j])
    return largest


@summing
def _sums(magnitudes: Any, scale: Any, top: Any) -> Any:
    """Return <v, m>, <v, v> and <m, m> for the magnitudes m and the grid point v that scale * m rounds to."""
    product, square, length = _ZERO, _ZERO, _ZERO
    for m in magnitudes:
        value = np.float32(min(np.int32(m * scale), top)) + _HALF
        product += value * m
        square += value * value
        length += m * m
    return product, square, length
