"""Codecs that keep the values as floating-point numbers, as they are or with fewer digits."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry.codecs.base import CodecBase
from isometry.errors import InvalidInput
from isometry.estimators import check_vectors
from isometry.kernels.rows import BFloat16Rows, Float16Rows, Float32Rows, padded_copy

__all__ = ["BFloat16", "Float16", "Float32"]

_LARGEST_HALF = 65504.0


class _Float(CodecBase):
    """A codec without a scale: `fit` only notes the number of dimensions."""

    _bytes_per_value: ClassVar[int]

    def fit(self, X: Any, y: Any = None) -> Self:
        """Note the number of dimensions of vectors (n, d).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, or not two axes.
        """
        d = check_vectors(self, X, reset=True).shape[1]
        self.mean_ = np.zeros(d, np.float32)
        self.nbytes_per_vector_ = d * self._bytes_per_value
        return self

    def _numbers(self, codes: Any, dtype: str) -> NDArray[Any]:
        return np.ascontiguousarray(self._checked_codes(codes)).view(dtype)


class Float32(_Float):
    """Vectors as they are, 4 bytes a value: for a second look that loses nothing.

    Attributes
    ----------
    mean_ : (d,) float32
        Zeros.
    nbytes_per_vector_ : int
        4 d.
    n_features_in_ : int
        d.

    Examples
    --------
    >>> x = np.array([[1.0, 2.5], [0.1, -3.0]], np.float32)
    >>> codec = Float32().fit(x)
    >>> bool((codec.inverse_transform(codec.transform(x)) == x).all())
    True
    """

    spec_name: ClassVar[str] = "Float32"
    _bytes_per_value = 4

    def fine_rows(self, codes: NDArray[np.uint8]) -> Float32Rows:
        """Return codes (n, 4 d) as a layout of `isometry.kernels.rows`: a copy."""
        return Float32Rows(padded_copy(self._numbers(codes, "<f4").astype(np.float32, copy=False)))

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        return x.astype("<f4").view(np.uint8)


class Float16(_Float):
    """IEEE half precision, 2 bytes a value: 11 significant bits, values up to 65,504.

    Attributes
    ----------
    mean_ : (d,) float32
        Zeros.
    nbytes_per_vector_ : int
        2 d.
    n_features_in_ : int
        d.

    Examples
    --------
    >>> codec = Float16().fit(np.zeros((1, 2)))
    >>> codec.inverse_transform(codec.transform([[0.1, 1000.4]]))
    array([[9.9975586e-02, 1.0005000e+03]], dtype=float32)
    """

    spec_name: ClassVar[str] = "Float16"
    _bytes_per_value = 2

    def fine_rows(self, codes: NDArray[np.uint8]) -> Float16Rows:
        """Return codes (n, 2 d) as a layout of `isometry.kernels.rows`: a copy."""
        return Float16Rows(padded_copy(self._numbers(codes, "<u2").astype(np.uint16, copy=False)))

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        largest = max(float(x.max(initial=0.0)), -float(x.min(initial=0.0)))
        if largest > _LARGEST_HALF:
            raise InvalidInput(
                f"X has a value of magnitude {largest:.6g}; Float16 holds up to {_LARGEST_HALF:.0f}: use BFloat16 or "
                "LVQ, or scale the vectors"
            )
        return x.astype("<f2").view(np.uint8)


class BFloat16(_Float):
    """The upper half of float32, 2 bytes a value: 8 significant bits, the full range.

    Attributes
    ----------
    mean_ : (d,) float32
        Zeros.
    nbytes_per_vector_ : int
        2 d.
    n_features_in_ : int
        d.

    Examples
    --------
    >>> codec = BFloat16().fit(np.zeros((1, 2)))
    >>> codec.inverse_transform(codec.transform([[0.1, 1e30]]))
    array([[1.00097656e-01, 1.00025555e+30]], dtype=float32)
    """

    spec_name: ClassVar[str] = "BFloat16"
    _bytes_per_value = 2

    def fine_rows(self, codes: NDArray[np.uint8]) -> BFloat16Rows:
        """Return codes (n, 2 d) as a layout of `isometry.kernels.rows`: a copy."""
        return BFloat16Rows(padded_copy(self._numbers(codes, "<u2").astype(np.uint16, copy=False)))

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        bits = x.view(np.uint32)
        to_nearest_even = (bits >> 16 & 1) + np.uint32(0x7FFF)
        return ((bits + to_nearest_even) >> 16).astype("<u2").view(np.uint8)
