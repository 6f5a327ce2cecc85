"""Locally-adaptive vector quantization: every vector gets its own scale and offset."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry.codecs.base import CodecBase
from isometry.errors import InvalidInput
from isometry.estimators import check_vectors
from isometry.kernels.rows import TWO_LEVELS, ByteRows, NibbleRows, Rows, code_bytes, padded_copy

__all__ = ["LVQ"]

_HEADER = 8


class LVQ(CodecBase):
    r"""Scalar quantizer whose range follows every single vector, with one or two levels.

    With :math:`r = x - \mu`, a row stores :math:`l = \min_j r_j`, a step :math:`\Delta = (\max_j r_j - l) / (2^B - 1)`
    and codes :math:`c_j = round((r_j - l) / \Delta)`, so that :math:`|x_j - \hat x_j| \le \Delta / 2`. A second level
    stores what is left, which lies in :math:`[-\Delta/2, \Delta/2]`, with a step of :math:`\Delta / (2^{B_2} - 1)`.

    Parameters
    ----------
    bits : {4, 8}, default 8
        B of the first level, the one that a walk through a graph reads.
    residual_bits : {0, 4, 8}, default 0
        :math:`B_2` of the second level; 0: there is none.

    Attributes
    ----------
    mean_ : (d,) float32
        :math:`\mu`, the mean of the vectors that were fitted.
    nbytes_per_vector_ : int
        8 for step and l, then the codes: d bytes or half as many per level, rounded up to a multiple of 16.
    n_features_in_ : int
        d.

    Notes
    -----
    Codes are bytes ``[step float32, l float32, first level, second level]``, little-endian, the levels laid out as
    `isometry.kernels.rows` describes. Step and l are kept in float32 (the paper has float16), so vectors of any length
    can be encoded; codes are computed against what is stored. A constant vector has step 0 and codes 0.

    `fit` and `transform` cost O(n d); encoding runs on all processors and gives the same bytes on any number.

    References
    ----------
    Aguerrebere et al., Similarity search in the blink of an eye with compressed indices, PVLDB 16(11), 2023,
    arXiv:2304.04759.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((1000, 96), dtype=np.float32)
    >>> for codec in (LVQ(bits=4), LVQ(bits=8), LVQ(bits=4, residual_bits=8)):
    ...     codes = codec.fit_transform(x)
    ...     print(codes.shape, f"{np.abs(codec.inverse_transform(codes) - x).max():.4f}")
    (1000, 56) 0.2594
    (1000, 104) 0.0154
    (1000, 152) 0.0010
    """

    spec_name: ClassVar[str] = "LVQ"
    spec_fields: ClassVar[tuple[str, ...]] = ("bits", "residual_bits")

    def __init__(self, bits: int = 8, residual_bits: int = 0) -> None:
        self.bits = bits
        self.residual_bits = residual_bits

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the mean of vectors (n, d).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, or other bits than those offered.
        """
        x = check_vectors(self, X, reset=True)
        _check_bits("bits", self.bits, (4, 8))
        _check_bits("residual_bits", self.residual_bits, (0, 4, 8))
        self.mean_ = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        d = x.shape[1]
        self.nbytes_per_vector_ = _HEADER + code_bytes(d, self.bits) + code_bytes(d, self.residual_bits)
        return self

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        from isometry.kernels.encode import encode

        return encode(x, self.mean_, self.bits, self.residual_bits)

    def rows(self, codes: NDArray[np.uint8]) -> ByteRows | NibbleRows:
        """Return the first level of codes (n, nbytes_per_vector_) as a layout of `isometry.kernels.rows`: a copy."""
        constants, first, _ = self._parts(codes)
        return (ByteRows if self.bits == 8 else NibbleRows)(padded_copy(first), constants)

    def fine_rows(self, codes: NDArray[np.uint8]) -> Rows:
        """Return all levels of codes (n, nbytes_per_vector_) as a layout of `isometry.kernels.rows`: a copy."""
        if not self.residual_bits:
            return self.rows(codes)
        constants, first, second = self._parts(codes)
        return TWO_LEVELS[self.bits, self.residual_bits](padded_copy(first), padded_copy(second), constants)

    def _parts(self, codes: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
        array = self._checked_codes(codes)
        constants = np.ascontiguousarray(array[:, :_HEADER]).view("<f4").astype(np.float32, copy=False)
        end = _HEADER + code_bytes(self.n_features_in_, self.bits)
        return padded_copy(constants), array[:, _HEADER:end], array[:, end:]


def _check_bits(name: str, bits: Any, offered: tuple[int, ...]) -> None:
    if isinstance(bits, bool) or bits not in offered:
        raise InvalidInput(f"{name} is {bits!r}; LVQ offers {', '.join(map(str, offered))}")
