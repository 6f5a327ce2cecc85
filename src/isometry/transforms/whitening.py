"""Whitening: make all directions count the same."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from isometry.errors import InvalidInput, check_range
from isometry.estimators import check_vectors, one_blas_thread
from isometry.transforms.linear import Linear, check_finite
from isometry.transforms.pca import principal_components
from isometry.vectors import as_dense

__all__ = ["Whitening"]

_SMALLEST_SHARE = 1e-8
_SMALLEST_DEVIATION = 2.0**-100


class Whitening(Linear):
    r"""Centre vectors and bring their principal components to variance 1: :math:`y_i = b_i \cdot (x - \mu) / \sigma_i`.

    This means to change which vectors are near: queries are treated as vectors are. It helps where a few directions
    that most vectors share drown the others, as in the raw output of language models, and hurts where a model was
    trained for the similarity that it has.

    Parameters
    ----------
    n_components : int, optional
        d, at most D, the leading ones. By default D.
    regularization : float, default 1e-3
        Added to each variance, in units of their mean over all D: how much directions of little variance, mostly
        noise, are held back. >= 0.
    max_samples : int, default 100_000
        At most this many rows are looked at, drawn without replacement.
    random_state : int, RandomState or None, default 0
        Draws them.

    Attributes
    ----------
    components_ : (d, D) float32
        The directions b, orthonormal.
    mean_ : (D,) float32
        :math:`\mu`.
    deviations_ : (d,) float32
        :math:`\sigma`, the root of the regularized variances. A direction without variance counts as having 1e-8 of
        the largest one; where nothing varies they are all 1.
    n_components_ : int
        d.
    n_features_in_ : int
        D.

    Notes
    -----
    The result is turned to the principal directions (PCA whitening). Turning it back (ZCA) would change no inner
    product. Costs are those of `PCA`.

    References
    ----------
    Su, Cao, Liu, Ou, Whitening sentence representations for better semantics and faster retrieval, arXiv:2103.15316;
    there without regularization.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = (rng.standard_normal((1000, 8)) * 10.0 ** -np.arange(8) + 3).astype(np.float32)
    >>> y = Whitening(3, regularization=0).fit_transform(x)
    >>> print(np.round(np.abs(np.cov(y.T)), 3))
    [[1. 0. 0.]
     [0. 1. 0.]
     [0. 0. 1.]]
    """

    spec_name: ClassVar[str] = "Whitening"
    redefines: ClassVar[bool] = True

    mean_: NDArray[np.float32]
    deviations_: NDArray[np.float32]

    def __init__(
        self,
        n_components: int | None = None,
        *,
        regularization: float = 1e-3,
        max_samples: int = 100_000,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.regularization = regularization
        self.max_samples = max_samples
        self.random_state = random_state

    @one_blas_thread
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn mean, directions and variances from vectors (n, D).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, or a parameter out of its range.
        """
        x = check_vectors(self, X, reset=True)
        added = self.regularization
        if not isinstance(added, int | float | np.number) or isinstance(added, bool) or not 0 <= added < np.inf:
            raise InvalidInput(f"regularization is {added!r}; expected a number >= 0")
        dim = x.shape[1]
        d = dim if self.n_components is None else check_range("n_components", self.n_components, 1, dim)
        mean, components, variances = principal_components(x, None, True, self.max_samples, self.random_state)
        deviations = np.sqrt(np.maximum(variances + added * variances.mean(), _SMALLEST_SHARE * variances.max()))
        self.mean_ = mean.astype(np.float32)
        self.components_ = np.ascontiguousarray(components[:d])
        self.deviations_ = np.where(deviations < _SMALLEST_DEVIATION, 1, deviations)[:d].astype(np.float32)
        self.n_components_ = d
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the rows of (n, D) whitened: (n, d). Queries are given to this as well.

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another D than that of `fit`, NaN, infinity, or vectors so large that the result leaves float32.
        """
        with np.errstate(over="ignore"):
            out = self._projected(check_vectors(self, X, reset=False), self.mean_) / self.deviations_
        check_finite(out, "X")
        return out

    def inverse_transform(self, X: Any) -> NDArray[np.float32]:
        """Return the vectors (n, D) nearest to the mean that become these (n, d)."""
        check_is_fitted(self)
        y = as_dense(X, dim=len(self.components_), name="X")
        with np.errstate(over="ignore"):
            scaled = y * self.deviations_
        return self._restored(scaled, self.mean_)
