"""Fixed dimensional encodings: a set of token vectors as one vector that an ordinary index can search."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from isometry.errors import InvalidInput, NewerFormat, check_choice, check_range
from isometry.kernels.fde import Tables, encode
from isometry.vectors import MultiVectors, as_multi

__all__ = ["FDE"]

LAYOUT_VERSION = 1
"""How numbers are drawn and laid out: encodings of two versions can't be compared."""
LARGEST = 2.0**60
_MOST_CELLS = 20
_MOST_NUMBERS = 2**30
_PLANES, _INNER, _FINAL = range(3)


class FDE(BaseEstimator):
    r"""Encode each set of token vectors as one vector whose dot products are near the sets' Chamfer similarity.

    The Chamfer similarity (MaxSim, late interaction) of a query's tokens Q and a document's tokens P is
    :math:`\sum_{q \in Q} \max_{p \in P} \langle q, p \rangle`. Random hyperplanes cut space into cells, in which near
    tokens meet: a query holds the sum of its tokens in each cell, a document their average. Search the encodings by dot
    product, and score the best again with all tokens. Nothing is learned.

    Parameters
    ----------
    repetitions : int, default 20
        R: how often space is cut anew.
    k_sim : int, default 5
        Hyperplanes of each cut, 0 to 20; there are 2 to the power of this many cells.
    dim_proj : int or None, default 16
        Numbers that a cell's sum or average is projected to, at most d; with None, 0 or d itself, it is kept as it is.
    dim_final : int, optional
        Numbers of the whole encoding, into which a count-sketch adds up all. Many repetitions and cells without an
        inner projection, sketched, keep more than an encoding that is made with that many numbers.
    fill : bool, default True
        Whether an empty cell of a document takes the token that shares the most bits with it, of equals the first.
        Without it a query token whose cell is empty counts nothing. Queries are never filled.
    projection : {"count-sketch", "sign"}, default "count-sketch"
        Inner projection. "count-sketch" adds each dimension, with a random sign, to one number; "sign" all dimensions
        to all numbers with random signs, divided by the root of `dim_proj`. Both are unbiased.
    random_state : int, RandomState or None, default 0
        Draws hyperplanes and projections.

    Attributes
    ----------
    n_features_in_ : int
        d.
    n_components_ : int
        Numbers of an encoding: `dim_final`, or R times cells times `dim_proj`.
    seed_ : int
        What everything random is drawn from, by repetition and purpose. Nothing else is stored.
    layout_version_ : int
        Encodings of another version can't be compared with these.

    Notes
    -----
    Queries are divided by R, so a score is an estimate of the Chamfer similarity itself. With `dim_proj` None and
    without `dim_final` it is never larger than that. An encoding's length means something: compare by dot product,
    never by cosine.

    Tokens are taken as they are. The estimate is meant for tokens of length 1; others are compared by their directions
    within a cell only, so one long token may be missed. Leave out padding. A set without tokens becomes zeros.

    A set takes O(R t d k) for t tokens and R times cells times d times `dim_proj` operations more, on all processors;
    its encoding is the same to the last bit whatever other sets come with it. Numbers before the final sketch are never
    held for more than a cell.

    References
    ----------
    Dhulipala, Hadian, Jayaram, Lee, Mirrokni, MUVERA: Multi-Vector Retrieval via Fixed Dimensional Encodings, 2024,
    arXiv:2405.19504. The count-sketches instead of dense signs are those of its authors' code.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sets = [x / np.linalg.norm(x, axis=1)[:, None] for x in rng.standard_normal((4, 30, 64))]
    >>> fde = FDE(20, 4, None).fit(sets)
    >>> scores = fde.transform_query([x[:10] for x in sets]) @ fde.transform(sets).T
    >>> print(scores.argmax(axis=1), fde.n_components_)
    [0 1 2 3] 20480
    """

    spec_name: ClassVar[str] = "FDE"
    spec_fields: ClassVar[tuple[str, ...]] = ("repetitions", "k_sim", "dim_proj", "dim_final")

    n_features_in_: int
    n_components_: int
    seed_: int
    layout_version_: int

    def __init__(
        self,
        repetitions: int = 20,
        k_sim: int = 5,
        dim_proj: int | None = 16,
        dim_final: int | None = None,
        *,
        fill: bool = True,
        projection: Literal["count-sketch", "sign"] = "count-sketch",
        random_state: Any = 0,
    ) -> None:
        self.repetitions = repetitions
        self.k_sim = k_sim
        self.dim_proj = dim_proj
        self.dim_final = dim_final
        self.fill = fill
        self.projection = projection
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Draw hyperplanes and projections for sets of tokens of d dimensions; only d matters.

        Parameters
        ----------
        X : MultiVectors or sequence of (t, d) arrays
        y : ignored

        Raises
        ------
        InvalidInput
            A parameter out of its range, or tokens that `transform` refuses.
        """
        d = _checked(X).dim
        seed = int(check_random_state(self.random_state).randint(2**31))
        self.n_components_ = self._plan(d)[-1]
        self.n_features_in_, self.seed_, self.layout_version_ = d, seed, LAYOUT_VERSION
        return self

    def transform(self, X: Any, *, threads: int | None = None) -> NDArray[np.float32]:
        """Return the encodings (n, n_components_) of n documents.

        Parameters
        ----------
        X : MultiVectors or sequence of (t, d) arrays
        threads : int, optional
            At most this many; by default all processors.

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another d than that of `fit`, NaN, infinity, or a value of magnitude over 2^60.
        """
        return self._encoded(X, document=True, threads=threads)

    def transform_query(self, X: Any, *, threads: int | None = None) -> NDArray[np.float32]:
        """Return the encodings (n, n_components_) of n queries; parameters and errors are those of `transform`."""
        return self._encoded(X, document=False, threads=threads)

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float32]:
        """Return the encodings of documents after `fit` to them."""
        sets = as_multi(X, name="X")
        return self.fit(sets).transform(sets)

    def _encoded(self, x: Any, *, document: bool, threads: int | None) -> NDArray[np.float32]:
        check_is_fitted(self)
        if self.layout_version_ != LAYOUT_VERSION:
            raise NewerFormat(
                f"this FDE has layout version {self.layout_version_}; expected {LAYOUT_VERSION}: its encodings "
                "can't be compared with those made now, so encode all sets again"
            )
        d = self.n_features_in_
        sets = _checked(x, d)
        repetitions, k, size, total, dim = self._plan(d)
        sketch = total if self.dim_final is not None else 0
        return encode(
            sets.tokens,
            sets.offsets,
            _tables(self.seed_, d, repetitions, k, size, self.projection, sketch, dim),
            repetitions=repetitions,
            k_sim=k,
            dim=dim,
            average=document,
            fill=document and bool(self.fill),
            scale=1.0 if document else 1 / repetitions,
            threads=threads,
        )

    def _plan(self, d: int) -> tuple[int, int, int, int, int]:
        """Return the checked (repetitions, k_sim, numbers of a cell, of all cells, of an encoding)."""
        repetitions = check_range("repetitions", self.repetitions, 1)
        k = check_range("k_sim", self.k_sim, 0, _MOST_CELLS)
        size = d if self.dim_proj is None else check_range("dim_proj", self.dim_proj, 0, d) or d
        check_choice("projection", self.projection, ("count-sketch", "sign"))
        total = repetitions * size << k
        if total > _MOST_NUMBERS:
            raise InvalidInput(
                f"repetitions={repetitions}, k_sim={k} and {size} numbers a cell make {total:,} numbers; expected at "
                f"most {_MOST_NUMBERS:,}: lower one of them"
            )
        dim = total if self.dim_final is None else check_range("dim_final", self.dim_final, 1, total)
        return repetitions, k, size, total, dim


def _checked(x: Any, dim: int | None = None) -> MultiVectors:
    sets = as_multi(x, dim=dim, name="X")
    tokens = sets.tokens
    largest = max(float(tokens.max(initial=0.0)), -float(tokens.min(initial=0.0)))
    if largest > LARGEST:
        raise InvalidInput(f"X has a token with a value of magnitude {largest:.3g}; expected at most 2^60: scale them")
    return sets


@lru_cache(maxsize=4)
def _tables(seed: int, d: int, repetitions: int, k: int, size: int, projection: str, sketch: int, dim: int) -> Tables:
    """Return hyperplanes and projections; without a final projection `sketch` is 0."""
    planes = [_normal(_words(seed, _PLANES, r, 2 * d * k)).reshape(k, d).T for r in range(repetitions)]
    drawn = range(repetitions if size < d else 0)
    inner = np.zeros((len(drawn), d, size), np.float32)
    for r in drawn:
        if projection == "sign":
            signs = _signs(_words(seed, _INNER, r, d * size)).reshape(d, size)
            inner[r] = signs / np.float32(math.sqrt(size))
        else:
            words = _words(seed, _INNER, r, d)
            inner[r, np.arange(d), _below(words, size)] = _signs(words)
    words = _words(seed, _FINAL, 0, sketch)
    places = 2 * _below(words, dim) + (words & np.uint64(1)).astype(np.int64)
    return Tables(np.ascontiguousarray(np.hstack(planes)), inner, places.astype(np.int32))


def _words(seed: int, role: int, repetition: int, count: int) -> NDArray[np.uint64]:
    """Return random words of a stream of their own, which are the same with every version of NumPy."""
    key = np.array([seed, role << 32 | repetition], np.uint64)
    return np.random.Philox(key=key).random_raw(count)


def _below(words: NDArray[np.uint64], bound: int) -> NDArray[np.int64]:
    """Return a number below `bound`, at most 2^30, made of the upper half of each word."""
    return ((words >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)).astype(np.int64)


def _signs(words: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Return 1, or -1 where the lowest bit of a word is set."""
    return (1 - 2 * (words & np.uint64(1)).astype(np.float32)).astype(np.float32)


def _normal(words: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Return one normal number for every two words, by the method of Box and Muller.

    NumPy's own draws may change with its version. Float32 leaves out the last bits, in which mathematics libraries
    differ.
    """
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log(uniform[0::2])), 2 * math.pi * uniform[1::2]
    return (radius * np.cos(angle)).astype(np.float32)
