"""OPQ: turn vectors so that a product quantizer loses as little as it can."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput, check_range
from isometry.estimators import Freezable, check_vectors, generator, one_blas_thread
from isometry.kernels.kmeans import assign, cut, decode, train, training_rows
from isometry.transforms.pca import PCA
from isometry.transforms.projections import second_moment

__all__ = ["OPQ"]

_FIRST_ITERATIONS = 4


class OPQ(Freezable, PCA):
    r"""Learned rotation before product quantization: :math:`x \mapsto R\,(x - \mu)`.

    R has orthonormal rows, so inner products and distances stay (but for what lies outside of its `n_components`
    dimensions). It starts from the principal directions, dealt out to the sub-spaces so that their variances have equal
    products; then vectors are quantized and R is turned to where they agree best with what they became, again and
    again.

    Parameters
    ----------
    n_subspaces : int, default 16
        Sub-spaces of the product quantizer that follows.
    n_components : int, optional
        Dimensions to keep, at least `n_subspaces`; by default all.
    bits : {4, 8}, default 8
        Bits per sub-space of the quantizer that R is learned with.
    n_iter : int, default 16
        How often R is turned.
    max_samples : int, default 32_768
        At most this many rows, drawn without replacement, are learned from.
    random_state : int, RandomState or None, default 0

    Attributes
    ----------
    components_ : (n_components, d) float32
        R.
    mean_ : (d,) float32
        :math:`\mu`, the mean of the vectors that were fitted.
    n_components_ : int
    n_features_in_ : int
        d.

    Notes
    -----
    `fit` costs :math:`O(n\,d\,(d + 2^B) + d^3)` per turn; `transform` :math:`O(n\,d\,n\_components)`. A row's output is
    the same to the last bit whatever other rows come with it.

    Differences from the paper: both of its solutions, one after the other; centroids are kept from turn to turn.

    References
    ----------
    Ge, He, Ke, Sun, Optimized product quantization, TPAMI 36(4), 2014: the parametric solution, section 4, and the
    non-parametric one, section 3.

    Examples
    --------
    >>> from isometry.codecs import ProductQuantizer
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2000, 8)) @ rng.standard_normal((8, 64))
    >>> opq, codec = OPQ(4), ProductQuantizer(4)
    >>> for z in (x.astype(np.float32), opq.fit_transform(x)):
    ...     error = np.square(codec.inverse_transform(codec.fit_transform(z)) - z).sum() / np.square(z).sum()
    ...     print(f"{error:.2f}")
    0.17
    0.00
    """

    spec_name: ClassVar[str] = "OPQ"
    spec_fields: ClassVar[tuple[str, ...]] = ("n_subspaces", "n_components")

    center = True

    def __init__(
        self,
        n_subspaces: int = 16,
        n_components: int | None = None,
        *,
        bits: int = 8,
        n_iter: int = 16,
        max_samples: int = 32_768,
        random_state: Any = 0,
    ) -> None:
        self.n_subspaces = n_subspaces
        self.n_components = n_components
        self.bits = bits
        self.n_iter = n_iter
        self.max_samples = max_samples
        self.random_state = random_state

    @one_blas_thread
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn mean and rotation from vectors (n, d).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, more sub-spaces than dimensions, or a parameter out of its range.
        """
        if self._stays(X):
            return self
        x = check_vectors(self, X, reset=True)
        m, d = self._check_parameters(x.shape[1])
        rng = generator(self.random_state)
        self.mean_ = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        rows, _ = training_rows(x, self.mean_, int(self.max_samples), rng)
        values, vectors = np.linalg.eigh(second_moment(rows, np.zeros(rows.shape[1])))
        values, directions = values[::-1][:d], vectors.T[::-1][:d]
        edges = cut(d, m)
        start = directions[_dealt(values, edges)].astype(np.float32)
        rotation = _turned(rows @ start.T, edges, 2 ** int(self.bits), int(self.n_iter), rng)
        self.components_ = np.ascontiguousarray(rotation @ start, np.float32)
        self.n_components_ = d
        return self

    def _check_parameters(self, dim: int) -> tuple[int, int]:
        m = check_range("n_subspaces", self.n_subspaces, 1)
        d = dim if self.n_components is None else check_range("n_components", self.n_components, 1, dim)
        if m > d:
            raise InvalidInput(f"n_subspaces is {m}, but there are {d} dimensions to cut; use at most {d}")
        if isinstance(self.bits, bool) or self.bits not in (4, 8):
            raise InvalidInput(f"bits is {self.bits!r}; OPQ offers 4, 8")
        check_range("n_iter", self.n_iter, 0)
        check_range("max_samples", self.max_samples, 1)
        return m, d


def _dealt(values: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return falling variances' numbers by sub-space: each goes to the one with the least product that has room."""
    room = np.diff(edges)
    logs = np.log(np.maximum(values, 1e-12 * max(float(values[0]), 1e-300)))
    logs -= logs.min()
    parts: list[list[int]] = [[] for _ in room]
    sums = np.zeros(len(room))
    for number, log in enumerate(logs):
        best = min((s for s in range(len(room)) if len(parts[s]) < room[s]), key=lambda s: (sums[s], s))
        parts[best].append(number)
        sums[best] += log
    return np.concatenate(parts).astype(np.int64)


def _turned(
    x: NDArray[np.float32], edges: NDArray[np.int64], k: int, n_iter: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the rotation of the rows of `x`, from the identity on, after which a product quantizer loses least."""
    rotation = np.eye(x.shape[1], dtype=np.float32)
    centroids, z = None, x
    for _ in range(n_iter):
        if centroids is None:
            centroids = train(z, edges, k, n_iter=_FIRST_ITERATIONS, rng=rng)
        else:
            centroids = train(z, edges, k, n_iter=1, start=centroids)
        near = decode(assign(z, centroids, edges), centroids, edges)
        u, _, v = np.linalg.svd(near.T @ x)
        rotation = u @ v
        z = x @ rotation.T
    return rotation
