"""Encoding to codes with a scale per vector (LVQ), at the speed of memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.kernels.compiled import kernel
from isometry.kernels.rows import code_bytes, pack_nibbles
from isometry.threads import in_threads

__all__ = ["FLATTEST", "HEADER", "encode", "encode_reference"]

HEADER = 8
"""Bytes before the codes of a vector: its step and its lowest value, two float32."""
FLATTEST = np.float32(2.0**-100)
"""A vector whose values span less than this counts as constant: 1 / step would leave float32."""
_BLOCK_VALUES = 2**18
_HALF = np.float32(0.5)
_ONE = np.float32(1)
_ZERO = np.float32(0)


def encode(
    x: NDArray[np.float32], mean: NDArray[np.float32], bits: int, residual_bits: int = 0, threads: int | None = None
) -> NDArray[np.uint8]:
    """Return per vector its step, its lowest value, the codes and the residuals, as bytes.

    Parameters
    ----------
    x : (n, d) float32
        C-contiguous, finite, no value beyond 2^125.
    mean : (d,) float32
        Taken off first.
    bits, residual_bits : int
        4 or 8; `residual_bits` also 0.
    threads : int, optional
        At most this many; by default all processors. The bytes are the same for any number.

    Notes
    -----
    O(n d), about 0.1 s per thread and 100 million values; beside the result it needs the memory of one row per thread.
    """
    n, d = x.shape
    out = np.zeros((n, HEADER + code_bytes(d, bits) + code_bytes(d, residual_bits)), np.uint8)
    rows = max(1, _BLOCK_VALUES // d)
    starts = range(0, n, rows)

    def one(start: int) -> None:
        block = x[start : start + rows]
        constants = np.empty((len(block), 2), np.float32)
        _encode(block, mean, bits, residual_bits, constants, out[start : start + rows])
        out[start : start + rows, :HEADER] = constants.astype("<f4", copy=False).view(np.uint8)

    in_threads(one, starts, threads)
    return out


def encode_reference(
    x: NDArray[np.float32], mean: NDArray[np.float32], bits: int, residual_bits: int = 0
) -> NDArray[np.uint8]:
    """Return what `encode` does, by NumPy."""
    centred = x - mean
    low = centred.min(axis=1, keepdims=True) + _ZERO
    span = centred.max(axis=1, keepdims=True) - low
    flat = span < FLATTEST
    step = np.where(flat, _ZERO, span / np.float32(2**bits - 1))
    exact = (centred - low) * np.where(flat, _ZERO, _ONE / np.where(flat, _ONE, step))
    codes = np.minimum((exact + _HALF).astype(np.int32), 2**bits - 1)
    parts = [np.hstack([step, low]).astype("<f4").view(np.uint8), _stored(codes, bits)]
    if residual_bits:
        fine = (exact - codes.astype(np.float32) + _HALF) * np.float32(2**residual_bits - 1) + _HALF
        parts.append(_stored(np.clip(fine.astype(np.int32), 0, 2**residual_bits - 1), residual_bits))
    return np.hstack(parts)


def _stored(codes: NDArray[np.int32], bits: int) -> NDArray[np.uint8]:
    small = codes.astype(np.uint8)
    if bits == 4:
        return pack_nibbles(small)
    return np.pad(small, ((0, 0), (0, code_bytes(codes.shape[1], bits) - codes.shape[1])))


@partial(kernel, fastmath={"nnan", "nsz"})
def _range(row: Any, mean: Any, centred: Any) -> Any:
    low = row[0] - mean[0]
    high = low
    for j in range(len(row)):
        value = row[j] - mean[j]
        centred[j] = value
        low = min(low, value)
        high = max(high, value)
    return low, high


@kernel
def _encode(x: Any, mean: Any, bits: Any, residual_bits: Any, constants: Any, out: Any) -> None:
    n, d = x.shape
    top = np.int32(2**bits - 1)
    fine_top = np.int32(2**residual_bits - 1)
    levels, fine_levels = np.float32(top), np.float32(fine_top)
    centred = np.empty(d, np.float32)
    codes = np.empty(d, np.uint8)
    residuals = np.empty(d, np.uint8)
    for i in range(n):
        low, high = _range(x[i], mean, centred)
        low += _ZERO  # turns -0 into 0, so that the bytes are always the same
        span = high - low
        step, inverse = _ZERO, _ZERO
        if span >= FLATTEST:
            step = span / levels
            inverse = _ONE / step
        constants[i, 0] = step
        constants[i, 1] = low
        if residual_bits:
            for j in range(d):
                exact = (centred[j] - low) * inverse
                code = min(np.int32(exact + _HALF), top)
                codes[j] = code
                fine = (exact - np.float32(code) + _HALF) * fine_levels + _HALF
                residuals[j] = max(min(np.int32(fine), fine_top), np.int32(0))
        else:
            for j in range(d):
                codes[j] = min(np.int32((centred[j] - low) * inverse + _HALF), top)
        after = _store(codes, bits, out[i], HEADER)
        if residual_bits:
            _store(residuals, residual_bits, out[i], after)


@kernel
def _store(codes: Any, bits: Any, out: Any, at: Any) -> Any:
    d = len(codes)
    if bits == 8:
        for j in range(d):
            out[at + j] = codes[j]
        return at + 16 * ((d + 15) // 16)
    for first in range(0, d, 128):
        rest = min(128, d - first)
        size = 16 * ((rest + 31) // 32)
        for i in range(min(size, rest)):
            out[at + i] = codes[first + i]
        for i in range(rest - size):
            out[at + i] |= codes[first + size + i] << 4
        at += size
    return at
