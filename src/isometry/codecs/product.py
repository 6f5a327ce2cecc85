"""Product quantization: every vector is cut into pieces, and each piece becomes the number of the nearest of a few."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry.codecs.base import CodecBase
from isometry.codecs.integer import halved, unhalved
from isometry.errors import InvalidInput, check_range
from isometry.estimators import Freezable, check_vectors, generator, one_blas_thread
from isometry.kernels.kmeans import assign, cut, decode, products, train, training_rows
from isometry.kernels.rows import TableRows, padded_copy

__all__ = ["ProductQuantizer"]


class ProductQuantizer(Freezable, CodecBase):
    r"""A codebook for every sub-space: :math:`\hat x = \mu + (c^1_{i_1}, \dots, c^m_{i_m})`.

    The dimensions are cut into m consecutive sub-spaces; in each, k-means finds :math:`2^B` centroids of
    :math:`x - \mu`, and a vector keeps the numbers of the nearest ones. A query becomes a table of its products with
    all centroids, so that scoring a vector is m look-ups.

    Parameters
    ----------
    n_subspaces : int, default 16
        m, at most d. Where it does not divide d, the first sub-spaces are wider by one dimension.
    bits : {4, 8}, default 8
        B. Two sub-spaces of 4 bits share a byte.
    n_iter : int, default 24
        Iterations of k-means; two thirds of them look at a quarter of the rows.
    max_samples : int, default 65_536
        At most this many rows, drawn without replacement, are learned from.
    random_state : int, RandomState or None, default 0

    Attributes
    ----------
    codebooks_ : (2^B, d) float32
        The centroids: those of a sub-space are its columns.
    assigning_codebooks_ : (2^B, d) float32
        Only where training has moved the centroids that scores are made with (`isometry.learning.JPQ`): those by which
        vectors get their codes.
    mean_ : (d,) float32
        :math:`\mu`, the mean of the vectors that were fitted.
    nbytes_per_vector_ : int
        m at 8 bits, half as many at 4, rounded up.
    n_features_in_ : int
        d.

    Notes
    -----
    `fit` costs :math:`O(n\,d\,2^B)` per iteration and holds a centred copy of the rows it learns from; `transform`
    costs :math:`O(n\,d\,2^B)`, `queries` :math:`O(d\,2^B)` per query, which then takes 1 KiB per byte of a code, and a
    score is one look-up per byte. No more than :math:`2^B` different rows are kept exactly.

    At 4 bits sub-space 2 j is in the low half of byte j and 2 j + 1 in the high half, which is 0 if there is none.

    Where neighbouring dimensions differ in variance, or go together, `isometry.transforms.OPQ` before it helps much.

    References
    ----------
    Jégou, Douze, Schmid, Product quantization for nearest neighbor search, TPAMI 33(1), 2011.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((1000, 32), dtype=np.float32)
    >>> for codec in (ProductQuantizer(4), ProductQuantizer(8), ProductQuantizer(16, bits=4)):
    ...     codes = codec.fit_transform(x)
    ...     error = np.square(codec.inverse_transform(codes) - x).mean() / x.var()
    ...     print(codes.shape, f"{error:.2f}")
    (1000, 4) 0.18
    (1000, 8) 0.05
    (1000, 8) 0.10
    """

    spec_name: ClassVar[str] = "PQ"
    spec_fields: ClassVar[tuple[str, ...]] = ("n_subspaces", "bits")
    maps_queries: ClassVar[bool] = True

    codebooks_: NDArray[np.float32]
    assigning_codebooks_: NDArray[np.float32]

    def __init__(
        self,
        n_subspaces: int = 16,
        bits: int = 8,
        *,
        n_iter: int = 24,
        max_samples: int = 65_536,
        random_state: Any = 0,
    ) -> None:
        self.n_subspaces = n_subspaces
        self.bits = bits
        self.n_iter = n_iter
        self.max_samples = max_samples
        self.random_state = random_state

    @one_blas_thread
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn mean and centroids from vectors (n, d).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, more sub-spaces than dimensions, or a parameter out of its range.
        """
        if self._stays(X):
            return self
        x = check_vectors(self, X, reset=True)
        m = check_range("n_subspaces", self.n_subspaces, 1)
        if m > x.shape[1]:
            raise InvalidInput(
                f"n_subspaces is {m}, but the vectors have {x.shape[1]} dimensions; use at most {x.shape[1]}, or a "
                "codec that rounds every dimension, as LVQ"
            )
        if isinstance(self.bits, bool) or self.bits not in (4, 8):
            raise InvalidInput(f"bits is {self.bits!r}; PQ offers 4, 8")
        check_range("n_iter", self.n_iter, 1)
        check_range("max_samples", self.max_samples, 1)
        rng = generator(self.random_state)
        self.mean_ = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        rows, scale = training_rows(x, self.mean_, int(self.max_samples), rng)
        self.__dict__.pop("assigning_codebooks_", None)
        self.codebooks_ = scale * train(rows, self._edges, 2**self.bits, n_iter=int(self.n_iter), rng=rng)
        self.nbytes_per_vector_ = -(-m * int(self.bits) // 8)
        return self

    def inverse_transform(self, X: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return vectors (n, d) near those whose codes are given: the mean and a centroid per sub-space.

        Raises
        ------
        InvalidInput
            Not (n, nbytes_per_vector_) bytes.
        """
        codes = self._checked_codes(X)
        if self.bits == 4:
            codes = unhalved(codes, int(self.n_subspaces))
        return decode(codes, self.codebooks_, self._edges) + self.mean_

    def queries(self, q: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the products of queries (nq, d) with what each byte may stand for: (nq, 256 * nbytes_per_vector_)."""
        m = int(self.n_subspaces)
        tables = np.empty((len(q), m, len(self.codebooks_)), np.float32)
        products(q, self._across, self._edges, tables)
        if self.bits == 4:
            if m % 2:
                tables = np.pad(tables, ((0, 0), (0, 1), (0, 0)))
            tables = tables[:, 1::2, :, None] + tables[:, ::2, None, :]
        return tables.reshape(len(q), -1)

    @property
    def halves(self) -> bool:
        """Whether a byte is two codes, so that its table is the sum of two of 16 numbers."""
        return bool(self.bits == 4)

    def fine_rows(self, codes: NDArray[np.uint8]) -> TableRows:
        """Return codes (n, nbytes_per_vector_) as a layout of `isometry.kernels.rows`: a copy."""
        return TableRows(padded_copy(self._checked_codes(codes)))

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        codebooks = getattr(self, "assigning_codebooks_", self.codebooks_)
        codes = assign(x, codebooks, self._edges, self.mean_)
        return halved(codes) if self.bits == 4 else codes

    @property
    def _across(self) -> NDArray[np.float32]:
        """The codewords as columns (d, k): turned once, as turning them takes longer than a query's products."""
        turned: tuple[Any, NDArray[np.float32]] | None = getattr(self, "_turned", None)
        if turned is None or turned[0] is not self.codebooks_:
            turned = self._turned = self.codebooks_, np.ascontiguousarray(self.codebooks_.T)
        return turned[1]

    @property
    def _edges(self) -> NDArray[np.int64]:
        return cut(self.n_features_in_, int(self.n_subspaces))
