"""Floats of 8 bits: a byte a value, with a precision that follows its size."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry.codecs.base import CodecBase
from isometry.errors import check_choice
from isometry.estimators import check_vectors
from isometry.kernels.rows import Float8E4M3Rows, Float8E5M2Rows, padded_copy

__all__ = ["Float8", "small_floats"]

_FORMATS: dict[str, tuple[str, float, type[Float8E4M3Rows] | type[Float8E5M2Rows]]] = {
    "e4m3": ("float8_e4m3fn", 448.0, Float8E4M3Rows),
    "e5m2": ("float8_e5m2", 57344.0, Float8E5M2Rows),
}
_SMALLEST_REACH = 2.0**-100
_BLOCK_VALUES = 2**17


class Float8(CodecBase):
    """Floating-point numbers of one byte; what is too large becomes the largest there is, never infinity or NaN.

    Parameters
    ----------
    format : {"e4m3", "e5m2"}, default "e4m3"
        Bits of exponent and of fraction: e4m3 has 4 significant bits and reaches from 2^-9 to 448, e5m2 has 3 and
        reaches from 2^-16 to 57,344.
    scaled : bool, default True
        Whether the largest magnitude of the vectors that were fitted is mapped to the largest number of the format.
        Without it this is the plain cast, but that it saturates: embeddings of norm 1 lie in the lowest binades of
        e4m3 and lose precision there.
    power_of_two : bool, default False
        Round the scale up to a power of two. Multiplying by it is exact: what was a float of this format before
        scaling stays as it is, unless it lies below the format's smallest. Up to half of the largest binade is unused.

    Attributes
    ----------
    scale_ : float
        A value is this many times the number that is stored.
    mean_ : (d,) float32
        Zeros.
    nbytes_per_vector_ : int
        d.
    n_features_in_ : int
        d.

    References
    ----------
    Micikevicius et al., FP8 formats for deep learning, arXiv:2209.05433; e4m3 without infinities.

    Examples
    --------
    >>> codec = Float8().fit([[0.5, -0.125]])
    >>> codec.inverse_transform(codec.transform([[0.3, 9.0]]))
    array([[0.2857143, 0.5      ]], dtype=float32)
    """

    spec_name: ClassVar[str] = "Float8"

    def __init__(self, format: str = "e4m3", scaled: bool = True, power_of_two: bool = False) -> None:
        self.format = format
        self.scaled = scaled
        self.power_of_two = power_of_two

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the scale from vectors (n, d).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, or an unknown format.
        """
        x = check_vectors(self, X, reset=True)
        _, largest, _ = _FORMATS[check_choice("format", self.format, _FORMATS)]
        reached = max(float(x.max()), -float(x.min()))
        self.scale_ = float(np.float32(reached / largest)) if self.scaled and reached > _SMALLEST_REACH else 1.0
        if self.power_of_two:
            self.scale_ = 2.0 ** math.ceil(math.log2(self.scale_))
        self.mean_ = np.zeros(x.shape[1], np.float32)
        self.nbytes_per_vector_ = x.shape[1]
        return self

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        name, largest, _ = _FORMATS[self.format]
        out = np.empty(x.shape, np.uint8)
        rows = max(1, _BLOCK_VALUES // x.shape[1])
        for start in range(0, len(x), rows):
            block = slice(start, start + rows)
            out[block] = small_floats(x[block], np.float32(self.scale_), name, largest)
        return out

    def fine_rows(self, codes: NDArray[np.uint8]) -> Float8E4M3Rows | Float8E5M2Rows:
        """Return codes (n, d) as a layout of `isometry.kernels.rows`: a copy."""
        array = self._checked_codes(codes)
        scales = padded_copy(np.full((len(array), 1), self.scale_, np.float32))
        return _FORMATS[self.format][2](padded_copy(array), scales)


def small_floats(
    x: NDArray[np.float32], scale: NDArray[np.float32] | np.float32, name: str, largest: float
) -> NDArray[np.uint8]:
    """Return x / scale as floats of a type of `ml_dtypes` of at most 8 bits, one in a byte, none beyond `largest`.

    To round to so few digits it is enough to know 16 bits of a float32, and whether what follows is zero.
    """
    with np.errstate(over="ignore"):
        bits = (x / scale).view(np.uint32)
    follows = np.minimum(bits & np.uint32(0xFFFF), np.uint32(1))
    return _rounded(name, largest)[((bits >> np.uint32(16)) | follows).astype(np.intp)]


@cache
def _rounded(name: str, largest: float) -> NDArray[np.uint8]:
    """Return the small float nearest to each float32 whose lower 16 bits are zero."""
    import ml_dtypes

    numbers = np.nan_to_num((np.arange(2**16, dtype=np.uint32) << 16).view(np.float32), nan=0.0)
    return np.clip(numbers, -largest, largest).astype(getattr(ml_dtypes, name)).view(np.uint8)
