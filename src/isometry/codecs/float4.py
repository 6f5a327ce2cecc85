"""Floats of 4 bits: eight magnitudes and a sign, with a scale."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry.codecs.base import CodecBase
from isometry.codecs.float8 import small_floats
from isometry.codecs.integer import halved, nibble_rows
from isometry.errors import check_choice
from isometry.estimators import check_vectors
from isometry.kernels.rows import Float4Rows, padded_copy

__all__ = ["Float4"]

_SCALES = ("vector", "global", "none")
_LARGEST = 6.0
_HEADER = 4
_SMALLEST_REACH = 2.0**-100
_BLOCK_VALUES = 2**17


class Float4(CodecBase):
    """Floating-point numbers of half a byte (e2m1): 0, 0.5, 1, 1.5, 2, 3, 4, 6, their negatives, and a scale.

    What is too large becomes the largest there is. Half the numbers lie within a third of the largest, which suits
    values that are mostly small; `Int` of 4 bits has steps of one size.

    Parameters
    ----------
    scale : {"vector", "global", "none"}, default "vector"
        What maps the largest magnitude to 6: that of each vector, or that of the vectors that were fitted.
        ``"none"`` is the plain cast: values below 0.25 become 0, hence embeddings of norm 1 vanish altogether.

    Attributes
    ----------
    scale_ : float
        A value is this many times the number that is stored; 1 unless ``scale="global"``.
    mean_ : (d,) float32
        Zeros.
    nbytes_per_vector_ : int
        d / 2 rounded up; 4 more for ``scale="vector"``.
    n_features_in_ : int
        d.

    Notes
    -----
    Codes are bytes ``[scale float32, codes]``, little-endian, the scale only for ``scale="vector"``. Of two codes in a
    byte, the earlier dimension is in the low half. Rounding is to the nearest number, to the even one between two.

    References
    ----------
    Open Compute Project, Microscaling formats (MX) specification 1.0, 2023: the element format FP4.

    Examples
    --------
    >>> codec = Float4().fit([[0.0, 0.0, 0.0]])
    >>> codec.inverse_transform(codec.transform([[0.6, 0.26, -0.12]]))
    array([[ 0.6,  0.3, -0.1]], dtype=float32)
    """

    spec_name: ClassVar[str] = "Float4"

    def __init__(self, scale: str = "vector") -> None:
        self.scale = scale

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the scale from vectors (n, d).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, or an unknown scale.
        """
        x = check_vectors(self, X, reset=True)
        check_choice("scale", self.scale, _SCALES)
        reach = np.float32(max(float(x.max()), -float(x.min())))
        self.scale_ = float(_scale(reach)) if self.scale == "global" else 1.0
        self.mean_ = np.zeros(x.shape[1], np.float32)
        self.nbytes_per_vector_ = -(-x.shape[1] // 2) + (_HEADER if self.scale == "vector" else 0)
        return self

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        out = np.empty((len(x), self.nbytes_per_vector_), np.uint8)
        rows = max(1, _BLOCK_VALUES // x.shape[1])
        for start in range(0, len(x), rows):
            block, into = x[start : start + rows], out[start : start + rows]
            scale = np.array([[self.scale_]], np.float32)
            if self.scale == "vector":
                scale = _scale(np.abs(block).max(axis=1, keepdims=True))
                into[:, :_HEADER] = scale.astype("<f4").view(np.uint8)
                into = into[:, _HEADER:]
            into[:] = halved(small_floats(block, scale, "float4_e2m1fn", _LARGEST) & np.uint8(15))
        return out

    def fine_rows(self, codes: NDArray[np.uint8]) -> Float4Rows:
        """Return codes (n, nbytes_per_vector_) as a layout of `isometry.kernels.rows`: a copy."""
        array = self._checked_codes(codes)
        if self.scale == "vector":
            scales = np.ascontiguousarray(array[:, :_HEADER]).view("<f4").astype(np.float32, copy=False)
            array = array[:, _HEADER:]
        else:
            scales = np.full((len(array), 1), self.scale_, np.float32)
        return Float4Rows(nibble_rows(array, self.n_features_in_), padded_copy(scales))


def _scale(reach: Any) -> Any:
    """Return what maps a magnitude to 6; 1 where there is next to nothing to map."""
    return np.where(reach > _SMALLEST_REACH, reach / np.float32(_LARGEST), np.float32(1))
