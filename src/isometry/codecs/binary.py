"""One bit per dimension: on which side of the mean a value lies."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry.codecs.base import CodecBase
from isometry.estimators import check_vectors
from isometry.kernels.rows import BitRows, code_bytes, padded_copy

__all__ = ["Binary"]

_HEADER = 8


class Binary(CodecBase):
    r"""Signs of the centred values, and their mean magnitude.

    With :math:`r = x - \mu`, a row stores the bits :math:`r_j > 0` and :math:`a = \frac1d\sum_j |r_j|`, the factor for
    which :math:`a\,sign(r)` is nearest to r. A query keeps its numbers (asymmetric scoring), which loses far less
    than comparing bits with bits.

    Attributes
    ----------
    mean_ : (d,) float32
        :math:`\mu`, the mean of the vectors that were fitted.
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
        return self

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        centred = x - self.mean_
        size = np.abs(centred).mean(axis=1, dtype=np.float64).astype(np.float32)
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
