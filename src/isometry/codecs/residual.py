"""Residual quantization: a vector as a sum of codewords, one of each of a few codebooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from isometry.codecs.base import CodecBase
from isometry.errors import InvalidInput, check_range
from isometry.estimators import check_vectors, generator, one_blas_thread
from isometry.kernels.additive import Tables, encode, sums, tables_of, train
from isometry.kernels.kmeans import training_rows
from isometry.kernels.rows import Float32Rows, TableRows, padded_copy
from isometry.kernels.scan import products

__all__ = ["ResidualQuantizer"]

_MOST_CODEBOOKS = 64
T = TypeVar("T")
_Made: TypeAlias = "WeakKeyDictionary[ResidualQuantizer, tuple[NDArray[np.float32], T]]"


class ResidualQuantizer(CodecBase):
    r"""A sum of M codewords of full length: :math:`\hat x = \mu + c^1_{i_1} + \dots + c^M_{i_M}`.

    Each codebook is learned from what those before it leave over; then all of them are fitted together. Nearer than
    product quantization at equal bytes, most of all at 4 to 16 bytes per vector, and slower to encode. It needs no
    rotation. Scoring is the same: a query becomes a table of products, a row adds up one of each codebook's.

    Parameters
    ----------
    n_codebooks : int, default 8
        M, up to 64: a byte per vector each.
    bits : {8}, default 8
        A codebook has :math:`2^8` codewords.
    beam : int, default 8
        How many beginnings the search for codes keeps.
    n_rounds : int, default 6
        How often codes of all rows and codewords of all codebooks are found anew, in turn.
    max_samples : int, default 65_536
        At most this many rows, drawn without replacement, are learned from.
    random_state : int, RandomState or None, default 0

    Attributes
    ----------
    codebooks_ : (M, 256, d) float32
        The codewords.
    mean_ : (d,) float32
        :math:`\mu`, the mean of the vectors that were fitted.
    nbytes_per_vector_ : int
        M.
    n_features_in_ : int
        d.

    Notes
    -----
    `transform` costs O(256 M (d + beam M)) per vector, with a table of all products between codewords: O((256 M)^2 d)
    time once, and :math:`4\,(256 M)^2` bytes for as long as the codec is in use, 16 MiB for M = 8, 64 MiB for 16 and 1
    GiB for 64. `fit` encodes its rows `n_rounds` times. `queries` takes O(256 M d) per query, which is then 1 KiB per
    codebook, and a score is M look-ups.

    Unlike the paper: after the codebooks have been learned one by one, codewords are moved to the least-squares
    solution for the codes of a beam search, and codes are improved one at a time, given the others.

    References
    ----------
    Chen, Guan, Wang, Approximate nearest neighbor search by residual vector quantization, Sensors 10(12), 2010. Joint
    codebooks: Babenko, Lempitsky, Additive quantization for extreme vector compression, CVPR 2014; Martinez et al.,
    Revisiting additive quantization, ECCV 2016.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((2000, 16), dtype=np.float32)
    >>> for codec in (ResidualQuantizer(2), ResidualQuantizer(4)):
    ...     codes = codec.fit_transform(x)
    ...     error = np.square(codec.inverse_transform(codes) - x).mean() / x.var()
    ...     print(codes.shape, f"{error:.2f}")
    (2000, 2) 0.17
    (2000, 4) 0.02
    """

    spec_name: ClassVar[str] = "RVQ"
    spec_fields: ClassVar[tuple[str, ...]] = ("n_codebooks", "bits")
    maps_queries: ClassVar[bool] = True

    codebooks_: NDArray[np.float32]

    def __init__(
        self,
        n_codebooks: int = 8,
        bits: int = 8,
        *,
        beam: int = 8,
        n_rounds: int = 6,
        max_samples: int = 65_536,
        random_state: Any = 0,
    ) -> None:
        self.n_codebooks = n_codebooks
        self.bits = bits
        self.beam = beam
        self.n_rounds = n_rounds
        self.max_samples = max_samples
        self.random_state = random_state

    @one_blas_thread
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn mean and codewords from vectors (n, d).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, or a parameter out of its range.
        """
        x = check_vectors(self, X, reset=True)
        m = check_range("n_codebooks", self.n_codebooks, 1, _MOST_CODEBOOKS)
        if isinstance(self.bits, bool) or self.bits != 8:
            raise InvalidInput(f"bits is {self.bits!r}; RVQ offers 8")
        check_range("beam", self.beam, 1, 256)
        check_range("n_rounds", self.n_rounds, 0)
        check_range("max_samples", self.max_samples, 1)
        rng = generator(self.random_state)
        self.mean_ = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        rows, scale = training_rows(x, self.mean_, int(self.max_samples), rng)
        codebooks = train(rows, m, 256, beam=int(self.beam), n_rounds=int(self.n_rounds), rng=rng)
        self.codebooks_ = scale * codebooks
        self.nbytes_per_vector_ = m
        return self

    def inverse_transform(self, X: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return vectors (n, d) near those whose codes are given: the mean and a codeword of each codebook.

        Raises
        ------
        InvalidInput
            Not (n, nbytes_per_vector_) bytes.
        """
        return sums(self._checked_codes(X), self.codebooks_) + self.mean_

    def queries(self, q: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the products of queries (nq, d) with all codewords: (nq, 256 * n_codebooks)."""
        codewords = self._once(_CODEWORDS, _as_rows)
        tables = np.empty((len(q), len(codewords.values)), np.float32)
        products(codewords, q, tables)
        return tables

    def fine_rows(self, codes: NDArray[np.uint8]) -> TableRows:
        """Return codes (n, nbytes_per_vector_) as a layout of `isometry.kernels.rows`: a copy."""
        return TableRows(padded_copy(self._checked_codes(codes)))

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        return encode(x, self._once(_TABLES, tables_of), int(self.beam), self.mean_)

    def _once(self, known: _Made[T], make: Callable[[NDArray[np.float32]], T]) -> T:
        """Return what is made of this codec's codewords, made when it is first needed."""
        made = known.get(self)
        if made is None or made[0] is not self.codebooks_:
            made = known[self] = self.codebooks_, make(self.codebooks_)
        return made[1]


def _as_rows(codebooks: NDArray[np.float32]) -> Float32Rows:
    return Float32Rows(padded_copy(codebooks.reshape(-1, codebooks.shape[2])))


_TABLES: _Made[Tables] = WeakKeyDictionary()
_CODEWORDS: _Made[Float32Rows] = WeakKeyDictionary()
