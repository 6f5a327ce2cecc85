"""Whole numbers of 8 or 4 bits: equal steps through a range that the codec has learned."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry.codecs.base import CodecBase
from isometry.errors import InvalidInput, check_choice
from isometry.estimators import check_vectors
from isometry.kernels.rows import (
    ByteRows,
    NibbleRows,
    SignedByteRows,
    SignedNibbleRows,
    code_bytes,
    pack_nibbles,
    padded,
    padded_copy,
)

__all__ = ["Int", "halved", "nibble_rows", "unhalved"]

_RANGES = ("dimension", "global", "vector")
_CLIPS = ("auto", "none", "best")
_HEADER = 4
_FLATTEST = 2.0**-100
"""A range narrower than this counts as none: 1 / step would leave float32."""
_BLOCK_VALUES = 2**16
_CALIBRATION_VALUES = {4: 2**20, 8: 2**24}
_SHRINK = 0.85 ** np.arange(1, 21)
_MOVES = 0.5 ** np.arange(3, 9)
_VECTOR_SHRINK = np.float32(1) - np.arange(10, dtype=np.float32) / 16


class Int(CodecBase):
    r"""Scalar quantizer with equal steps; by default the ranges belong to the codec, so a row is nothing but its codes.

    A row stands for :math:`\hat x_j = \mu_j + \Delta_j (c_j - 2^{B-1})` with :math:`0 \le c_j < 2^B`. Within the range
    :math:`|x_j - \hat x_j| \le \Delta_j / 2`; what lies outside becomes its nearest end.

    Parameters
    ----------
    bits : {4, 8}, default 8
        B.
    ranges : {"dimension", "global", "vector"}, default "dimension"
        What has a range of its own. ``"dimension"``: each dimension, that of the vectors that were fitted, which suits
        more of the same kind best. ``"global"``: all dimensions share one. ``"vector"``: nothing is learned; each row
        holds its step, and its range lies evenly about 0.
    clip : {"auto", "none", "best"}, default "auto"
        Whether a range reaches to the outermost values (``"none"``) or leaves some out, as many as makes the mean
        squared error of what was fitted least (``"best"``; per row, of the row). ``"auto"``: best for 4 bits, where a
        few outliers make the steps of all others wide, none for 8.

    Attributes
    ----------
    mean_ : (d,) float32
        :math:`\mu`, what code :math:`2^{B-1}` stands for; zeros for ``ranges="vector"``.
    step_ : (d,) float32
        :math:`\Delta`; 0 where a dimension was constant, all equal for ``"global"``, ones for ``"vector"``.
    nbytes_per_vector_ : int
        d, or half as many rounded up; 4 more for ``ranges="vector"``.
    n_features_in_ : int
        d.

    Notes
    -----
    Codes are bytes ``[step float32, codes]``, little-endian, the step only for ``ranges="vector"``. Of two 4-bit codes
    in a byte, the earlier dimension is in the low half.

    The product with a query is :math:`\langle q, \mu \rangle + \sum_j (\Delta_j q_j) (c_j - 2^{B-1})`: `queries` brings
    the steps into the query, so kernels add up whole numbers as they are.

    The best range is sought on about a million values, 16 million for 8 bits, where rare values decide: among ranges
    shrunk towards the mean, then by moving its ends less and less. `fit` and `transform` cost O(n d).

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((1000, 96), dtype=np.float32)
    >>> for codec in (Int(8), Int(4), Int(4, ranges="vector")):
    ...     codes = codec.fit_transform(x)
    ...     print(codes.shape, f"{np.square(codec.inverse_transform(codes) - x).mean():.5f}")
    (1000, 96) 0.00005
    (1000, 48) 0.01062
    (1000, 52) 0.01062
    """

    spec_name: ClassVar[str] = "Int"
    spec_fields: ClassVar[tuple[str, ...]] = ("bits",)
    maps_queries: ClassVar[bool] = True

    step_: NDArray[np.float32]

    def __init__(self, bits: int = 8, ranges: str = "dimension", clip: str = "auto") -> None:
        self.bits = bits
        self.ranges = ranges
        self.clip = clip

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the ranges of vectors (n, d).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, or another parameter than those offered.
        """
        x = check_vectors(self, X, reset=True)
        if isinstance(self.bits, bool) or self.bits not in (4, 8):
            raise InvalidInput(f"bits is {self.bits!r}; Int offers 4, 8")
        check_choice("ranges", self.ranges, _RANGES)
        check_choice("clip", self.clip, _CLIPS)
        d = x.shape[1]
        self.mean_, self.step_ = np.zeros(d, np.float32), np.ones(d, np.float32)
        if self.ranges != "vector":
            low, high = self._calibrated(x)
            span = high - low
            self.step_[:] = np.where(span < _FLATTEST, 0, span / (2**self.bits - 1))
            self.mean_[:] = low + self.step_.astype(np.float64) * 2 ** (self.bits - 1)
        self.nbytes_per_vector_ = -(-d * self.bits // 8) + (_HEADER if self.ranges == "vector" else 0)
        return self

    def queries(self, q: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return queries (nq, d) times the steps, as rows are multiplied with."""
        return q * self.step_

    def fine_rows(self, codes: NDArray[np.uint8]) -> SignedByteRows | SignedNibbleRows | ByteRows | NibbleRows:
        """Return codes (n, nbytes_per_vector_) as a layout of `isometry.kernels.rows`: a copy."""
        array = self._checked_codes(codes)
        stored = array[:, _HEADER:] if self.ranges == "vector" else array
        laid = _byte_rows(stored) if self.bits == 8 else nibble_rows(stored, self.n_features_in_)
        if self.ranges != "vector":
            return (SignedByteRows if self.bits == 8 else SignedNibbleRows)(laid)
        step = np.ascontiguousarray(array[:, :_HEADER]).view("<f4").astype(np.float32, copy=False)
        constants = np.hstack([step, step * np.float32(-(2 ** (self.bits - 1)))])
        return (ByteRows if self.bits == 8 else NibbleRows)(laid, padded_copy(constants))

    def _decode(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values * self.step_

    def _clips(self) -> bool:
        return self.clip == "best" or (self.clip == "auto" and self.bits == 4)

    def _calibrated(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the ends of the ranges: (d,), or (1,) if they share one."""
        low, high = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
        some = x[:: max(1, -(-x.size // _CALIBRATION_VALUES[self.bits]))]
        if self.ranges == "global":
            low, high, some = low.min(keepdims=True), high.max(keepdims=True), some.reshape(-1, 1)
        return _least_error(some, low, high, 2**self.bits - 1) if self._clips() else (low, high)

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        out = np.empty((len(x), self.nbytes_per_vector_), np.uint8)
        rows = max(1, _BLOCK_VALUES // x.shape[1])
        for start in range(0, len(x), rows):
            block, into = x[start : start + rows], out[start : start + rows]
            if self.ranges == "vector":
                codes, step = self._encoded_by_row(block)
                into[:, :_HEADER] = step.astype("<f4").view(np.uint8)
                into = into[:, _HEADER:]
            else:
                codes = self._encoded(block)
            into[:] = codes if self.bits == 8 else halved(codes)
        return out

    def _encoded(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        half = np.float32(2 ** (self.bits - 1))
        inverse = np.divide(np.float32(1), self.step_, out=np.zeros_like(self.step_), where=self.step_ > 0)
        with np.errstate(over="ignore"):
            codes = (x - self.mean_) * inverse
        return (np.clip(np.rint(codes, out=codes), -half, half - 1, out=codes) + half).astype(np.uint8)

    def _encoded_by_row(self, x: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return codes about 2^(B-1), and the steps (n, 1)."""
        top = np.float32(2 ** (self.bits - 1) - 1)
        reach = np.abs(x).max(axis=1, keepdims=True)
        flat = reach < _FLATTEST
        unit = np.where(flat, 0, x / np.where(flat, 1, reach))
        step = np.full_like(reach, 1 / top)
        if self._clips():
            step = _least_error_steps(unit, top)
        codes = _rounded(unit, step, top) + np.float32(2 ** (self.bits - 1))
        return codes.astype(np.uint8), np.where(flat, 0, step * reach)


def halved(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return codes (n, d) of 4 bits two in a byte, the earlier one in the low half: (n, d / 2 rounded up)."""
    packed = codes[:, ::2].copy()
    packed[:, : codes.shape[1] // 2] |= codes[:, 1::2] << 4
    return packed


def unhalved(packed: NDArray[np.uint8], d: int) -> NDArray[np.uint8]:
    """Return the codes (n, d) that `halved` packed."""
    codes = np.empty((len(packed), d), np.uint8)
    codes[:, ::2] = packed & 15
    codes[:, 1::2] = packed[:, : d // 2] >> 4
    return codes


def nibble_rows(packed: NDArray[np.uint8], d: int) -> NDArray[np.uint8]:
    """Return what `halved` packed as kernels want it."""
    return padded_copy(pack_nibbles(unhalved(packed, d)))


def _byte_rows(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    n, d = codes.shape
    laid = padded((n, code_bytes(d, 8)), np.uint8)
    laid[:, :d] = codes
    laid[:, d:] = 0
    return laid


def _rounded(unit: NDArray[np.float32], step: NDArray[np.float32], top: np.float32) -> NDArray[np.float32]:
    return np.clip(np.rint(unit / step), -top, top)


def _least_error_steps(unit: NDArray[np.float32], top: np.float32) -> NDArray[np.float32]:
    """Return per row of values up to 1 the step (n, 1) with the least squared error."""
    least = np.full((len(unit), 1), np.inf, np.float32)
    best = np.full((len(unit), 1), 1 / top, np.float32)
    for shrink in _VECTOR_SHRINK:
        step = shrink / top
        codes = _rounded(unit, step, top)
        error = np.square(codes * step - unit).sum(axis=1, keepdims=True)
        squares = np.square(codes).sum(axis=1, keepdims=True)
        shared = (codes * unit).sum(axis=1, keepdims=True)
        fitted = np.divide(shared, squares, out=np.full_like(error, step), where=squares > 0)
        best = np.where(error < least, fitted, best)
        least = np.minimum(error, least)
    return best


def _least_error(
    x: NDArray[np.float32], low: NDArray[np.float64], high: NDArray[np.float64], top: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return per column the ends of the range, within [low, high] or near it, with the least mean squared error."""
    span = high - low
    flat = span < _FLATTEST
    unit = ((x - low) / np.where(flat, 1, span)).astype(np.float32)
    unit[:, flat] = 0
    centre = unit.mean(axis=0, dtype=np.float64)
    best = np.stack([np.zeros_like(centre), np.ones_like(centre)])
    least = _error(unit, best, top)

    def keep(ends: NDArray[np.float64]) -> None:
        error = _error(unit, ends, top)
        better = error < least
        least[better], best[:, better] = error[better], ends[:, better]

    for shrink in _SHRINK:
        keep(np.stack([centre - shrink * centre, centre + shrink * (1 - centre)]))
    for move in _MOVES:
        for ends in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            keep(best + np.outer(ends, move * (best[1] - best[0])))
    low_end, high_end = low + best * span
    return low_end, high_end


def _error(unit: NDArray[np.float32], ends: NDArray[np.float64], top: int) -> NDArray[np.float64]:
    """Return per column the mean squared error of rounding to top + 1 levels between two ends."""
    low = ends[0].astype(np.float32)
    step = np.maximum((ends[1] - ends[0]) / top, 2.0**-100).astype(np.float32)
    off = (unit - low) / step
    off -= np.clip(np.rint(off), 0, np.float32(top))
    return np.square(off).mean(axis=0, dtype=np.float64) * np.square(step.astype(np.float64))
