"""RaBitQ: a random rotation, few bits, and an estimate of inner products that is right on average."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from isometry.codecs.base import CodecBase
from isometry.errors import InvalidInput, check_range
from isometry.estimators import LARGEST, check_vectors, generator
from isometry.kernels.rows import BitRows, ByteRows, NibbleRows, PlaneRows, padded_copy, values_of

__all__ = ["RaBitQ"]

_LAYOUTS: dict[int, type[BitRows] | type[NibbleRows] | type[ByteRows]] = {1: BitRows, 4: NibbleRows, 8: ByteRows}
_HEADER = 8
_SCALE = np.float32(2.0**16)


class RaBitQ(CodecBase):
    r"""Points of a grid that look in the direction of a rotated vector, scaled so that scores are unbiased.

    With R a random rotation that turns the mean :math:`\mu` to :math:`u = (1, ..., 1) / \sqrt d`, what it makes of
    :math:`x - \mu` is :math:`r + \alpha u` with :math:`r \perp u`. A row stores :math:`\alpha`, the point v of the grid
    :math:`\{-\frac{2^B - 1}{2}, ..., -\frac12, \frac12, ..., \frac{2^B - 1}{2}\}^d` that has the smallest angle with r,
    and the step :math:`\Delta = \|r\|^2 / \langle v, r \rangle`. For any query q,
    :math:`\langle R q, \Delta (v - \langle u, v \rangle u) + \alpha u \rangle` is :math:`\langle q, x - \mu \rangle` on
    average over R; `error_bound` says how far it is off.

    Parameters
    ----------
    bits : int, default 1
        B, from 1 to 8.
    random_state : int, RandomState or None, default 0
        What draws R.

    Attributes
    ----------
    mean_ : (d,) float32
        :math:`\mu`, the mean of the vectors that were fitted.
    signs_ : (rounds, d) int8
        R before it is made to fit the mean, as `isometry.kernels.rotate` describes.
    normal_ : (d,) float32
        The normal of the mirror that comes first, and makes it fit.
    nbytes_per_vector_ : int
        8, and d B / 8, in which d is rounded up to a multiple of 64 (of 32 for 4 bits, of 16 for 8).
    n_features_in_ : int
        d.

    Notes
    -----
    `inverse_transform` gives what scores are scores of. Right on average is not nearest: with :math:`\theta` the angle
    between v and r, the vector is :math:`\|r\| \tan\theta` away from x, where the nearest along v would be
    :math:`\|r\| \sin\theta` away; for one bit 0.76 and 0.60 of :math:`\|r\|`, for four 0.10.

    Codes are bytes ``[step float32, low float32, codes]``, little-endian: a value of the rotated vector is
    step * code + low, with code = v + (2^B - 1) / 2; the last 8 bits of low hold the error. `fit` costs O(n d),
    `transform` O(n d (log d + 24)) on all processors, with the same bytes on any number.

    Differences from the papers: :math:`\alpha` is kept apart, since queries look along the mean too, and exact, since
    it takes no more bytes; R takes O(d log d) for any d, without padding; v is the best for 24 scales that are tried,
    not for all; the bound is a quantile of the exact distribution, where the first paper has a constant.

    References
    ----------
    Gao, Long, RaBitQ: Quantizing high-dimensional vectors with a theoretical error bound for approximate nearest
    neighbor search, SIGMOD 2024, arXiv:2405.12497 (one bit). Gao, Gou, Xu, Yang, Long, Wong, Practical and
    asymptotically optimal quantization of high-dimensional vectors in Euclidean space for approximate nearest neighbor
    search, arXiv:2409.09913 (more bits).

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((1000, 128), dtype=np.float32)
    >>> query = np.full(128, 128**-0.5, np.float32)
    >>> for bits in (1, 2, 4, 8):
    ...     codec = RaBitQ(bits).fit(x)
    ...     codes = codec.transform(x)
    ...     error = np.abs(codec.inverse_transform(codes) @ query - x @ query)
    ...     print(codes.shape[1], f"{error.mean():.3f}", f"{np.mean(error < codec.error_bound(codes, 0.9)):.1f}")
    24 0.598 0.9
    40 0.280 0.9
    72 0.080 0.9
    136 0.005 0.9
    """

    spec_name: ClassVar[str] = "RaBitQ"
    spec_fields: ClassVar[tuple[str, ...]] = ("bits",)
    maps_queries: ClassVar[bool] = True

    signs_: NDArray[np.int8]
    normal_: NDArray[np.float32]

    def __init__(self, bits: int = 1, random_state: Any = 0) -> None:
        self.bits = bits
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the mean of vectors (n, d), and draw the rotation.

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, or bits that are not 1 to 8.
        """
        from isometry.kernels.rabitq import mirror, packed_bytes
        from isometry.kernels.rotate import random_signs

        x = check_vectors(self, X, reset=True)
        check_range("bits", self.bits, 1, 8)
        d = x.shape[1]
        self.mean_ = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.signs_ = random_signs(d, generator(self.random_state))
        self.normal_ = mirror(self.mean_, self.signs_)
        self.nbytes_per_vector_ = _HEADER + packed_bytes(d, self.bits)
        return self

    def queries(self, q: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return queries (nq, d) rotated."""
        from isometry.kernels.rabitq import turn

        return turn(np.ascontiguousarray(q, np.float32), self.normal_, self.signs_)

    def fine_rows(self, codes: NDArray[np.uint8]) -> BitRows | NibbleRows | ByteRows | PlaneRows:
        """Return codes (n, nbytes_per_vector_) as a layout of `isometry.kernels.rows`: a copy."""
        array = self._checked_codes(codes)
        layout = _LAYOUTS.get(self.bits, PlaneRows)
        return layout(padded_copy(array[:, _HEADER:]), padded_copy(_constants(array)))

    def error_bound(self, codes: NDArray[np.uint8], confidence: float = 0.95) -> NDArray[np.float32]:
        r"""Return per row how far the score of a query of length 1 is off at most, with a probability of `confidence`.

        Over the draw of R, whatever the query: what a row has beside :math:`r + \alpha u` is orthogonal to both and
        looks anywhere else with the same probability. So the square of its product with a query of length 1 is at most
        the square of its own length, times a number of the distribution Beta(1/2, (d - 3) / 2).

        Parameters
        ----------
        codes : (n, nbytes_per_vector_) uint8
        confidence : float, default 0.95
            Above 0 and below 1. The constant 1.9 of the paper is 0.943.

        Raises
        ------
        InvalidInput
            Other codes than those of `transform`, or a confidence out of its range.
        """
        from isometry.kernels.rabitq import errors

        if not (isinstance(confidence, float | int | np.floating) and 0 < confidence < 1):
            raise InvalidInput(f"confidence is {confidence!r}; expected a number above 0 and below 1")
        rows = self.fine_rows(codes)
        d = self.n_features_in_
        values = values_of(rows, d).astype(np.float64)
        length = np.linalg.norm(values - values.mean(axis=1, keepdims=True), axis=1)
        share = betaincinv(0.5, (d - 3) / 2, confidence) if d > 3 else 1.0
        return (length * errors(rows.constants[:, 1]) * np.sqrt(share)).astype(np.float32)

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        from isometry.kernels.rabitq import encode

        return encode(x, self.mean_, self.normal_, self.signs_, self.bits)

    def _decode(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        from isometry.kernels.rabitq import turn_back

        # Partial sums of values near 2^125 would leave float32.
        largest = 2 * np.float32(LARGEST)
        vectors = turn_back(np.ascontiguousarray(values / _SCALE), self.normal_, self.signs_)
        return np.clip(vectors, -largest / _SCALE, largest / _SCALE) * _SCALE


def _constants(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return step and low (n, 2) of rows."""
    return np.ascontiguousarray(codes[:, :_HEADER]).view("<f4").astype(np.float32, copy=False)
