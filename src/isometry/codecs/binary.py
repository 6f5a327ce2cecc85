"""One bit per dimension: on which side of the mean a value lies."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry.codecs.base import CodecBase
from isometry.estimators import LARGEST, check_vectors, generator
from isometry.kernels.rows import BitRows, code_bytes, padded_copy

__all__ = ["Binary"]

_HEADER = 8
_SCALE = np.float32(2.0**16)


class Binary(CodecBase):
    r"""Signs of the centred values, and their mean magnitude.

    With :math:`r = x - \mu`, a row stores the bits :math:`r_j > 0` and :math:`a = \frac1d\sum_j |r_j|`, the factor for
    which :math:`a\,sign(r)` is nearest to r. A query keeps its numbers (asymmetric scoring), which loses far less
    than comparing bits with bits. `RaBitQ` ranks better for the same bytes.

    Parameters
    ----------
    rotate : bool, default False
        Take the signs of r after a random rotation, which makes its values alike: better where few dimensions are far
        larger than the others, or all of them above 0.
    random_state : int, RandomState or None, default 0
        What draws the rotation.

    Attributes
    ----------
    mean_ : (d,) float32
        :math:`\mu`, the mean of the vectors that were fitted.
    signs_ : (rounds, d) int8
        The rotation, if there is one, as `isometry.kernels.rotate` describes.
    nbytes_per_vector_ : int
        8, and d / 8 rounded up to a multiple of 8.
    n_features_in_ : int
        d.

    Notes
    -----
    Codes are bytes ``[step float32, lowest float32, bits]``, little-endian: a value is lowest + step * bit.

    Examples
    --------
    >>> codec = Binary().fit([[1.0, -1.0], [-1.0, 1.0]])
    >>> codec.inverse_transform(codec.transform([[0.5, -0.1]]))
    array([[ 0.3, -0.3]], dtype=float32)
    """

    spec_name: ClassVar[str] = "Binary"

    signs_: NDArray[np.int8]

    def __init__(self, rotate: bool = False, random_state: Any = 0) -> None:
        self.rotate = rotate
        self.random_state = random_state

    @property
    def maps_queries(self) -> bool:  # type: ignore[override]
        """Whether rows hold rotated vectors."""
        return bool(self.rotate)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the mean of vectors (n, d).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, or not two axes.
        """
        x = check_vectors(self, X, reset=True)
        self.mean_ = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.nbytes_per_vector_ = _HEADER + code_bytes(x.shape[1], 1)
        if self.rotate:
            from isometry.kernels.rotate import random_signs

            rng = generator(self.random_state)
            self.signs_ = random_signs(x.shape[1], rng)
        return self

    def queries(self, q: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return queries (nq, d) rotated, if vectors are."""
        if not self.rotate:
            return q
        from isometry.kernels.rotate import rotate

        return rotate(np.ascontiguousarray(q, np.float32), self.signs_)

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        centred = x - self.mean_
        if self.rotate:  # partial sums of values near 2^125 would leave float32
            from isometry.kernels.rotate import rotate

            centred = rotate(centred / _SCALE, self.signs_)
        size = np.abs(centred).mean(axis=1, dtype=np.float64).astype(np.float32)
        if self.rotate:
            size *= _SCALE
        codes = np.zeros((len(x), self.nbytes_per_vector_), np.uint8)
        codes[:, :_HEADER] = np.stack([2 * size, -size], axis=1).astype("<f4").view(np.uint8)
        bits = np.packbits(centred > 0, axis=1, bitorder="little")
        codes[:, _HEADER : _HEADER + bits.shape[1]] = bits
        return codes

    def fine_rows(self, codes: NDArray[np.uint8]) -> BitRows:
        """Return codes (n, nbytes_per_vector_) as a layout of `isometry.kernels.rows`: a copy."""
        array = self._checked_codes(codes)
        constants = np.ascontiguousarray(array[:, :_HEADER]).view("<f4").astype(np.float32, copy=False)
        return BitRows(padded_copy(array[:, _HEADER:]), padded_copy(constants))

    def _decode(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.rotate:
            return values
        from isometry.kernels.rotate import rotate_back

        largest = 2 * np.float32(LARGEST)
        vectors = rotate_back(np.ascontiguousarray(values / _SCALE), self.signs_)
        return np.clip(vectors, -largest / _SCALE, largest / _SCALE) * _SCALE
