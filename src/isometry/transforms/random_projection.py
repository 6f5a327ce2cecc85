"""Random projection: fewer dimensions, without learning anything."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry.errors import check_range
from isometry.estimators import check_vectors
from isometry.transforms.linear import Linear

__all__ = ["RandomProjection"]


class RandomProjection(Linear):
    r"""Multiply by a random Gaussian matrix; inner products survive up to noise of about :math:`1 / \sqrt d`.

    For vectors whose distribution is unknown or changes; `PCA` and `LeanVec`, which learn, lose far less.

    Parameters
    ----------
    n_components : int, optional
        d, at most D. By default half of D, rounded up.
    random_state : int, RandomState or None, default 0
        Draws the matrix.

    Attributes
    ----------
    components_ : (d, D) float32
        The matrix, drawn by scikit-learn's `GaussianRandomProjection`: independent numbers of variance 1 / d.
    n_components_ : int
        d.
    n_features_in_ : int
        D.

    Notes
    -----
    `fit` costs O(d D), `transform` O(n d D). A row's output is the same to the last bit whatever other rows come with
    it.

    References
    ----------
    Johnson, Lindenstrauss, Extensions of Lipschitz mappings into a Hilbert space, 1984.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((1000, 512), dtype=np.float32)
    >>> y = RandomProjection(256).fit_transform(x)
    >>> print(y.shape, f"{np.mean((y * y).sum(1) / (x * x).sum(1)):.2f}")
    (1000, 256) 1.00
    """

    spec_name: ClassVar[str] = "RandomProjection"

    def __init__(self, n_components: int | None = None, *, random_state: Any = 0) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Draw a matrix for vectors (n, D); only D matters.

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, or more components than dimensions.
        """
        from sklearn.random_projection import GaussianRandomProjection

        x = check_vectors(self, X, reset=True)
        dim = x.shape[1]
        d = -(-dim // 2) if self.n_components is None else check_range("n_components", self.n_components, 1, dim)
        drawn = GaussianRandomProjection(d, random_state=self.random_state).fit(np.zeros((1, dim)))
        self.components_ = np.ascontiguousarray(drawn.components_, np.float32)
        self.n_components_ = d
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the rows of (n, D) projected: (n, d). Queries are given to this as well.

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another D than that of `fit`, NaN, infinity, or vectors whose projection leaves float32.
        """
        return self._projected(check_vectors(self, X, reset=False))
