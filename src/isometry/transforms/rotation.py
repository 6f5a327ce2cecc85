"""Random rotations: scores stay as they are, and the values of a vector become alike."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from isometry.estimators import check_vectors, generator, one_blas_thread
from isometry.transforms.linear import Linear, check_finite
from isometry.vectors import as_dense

__all__ = ["Hadamard", "Rotation"]


class Rotation(Linear):
    """Multiply by a random orthogonal matrix, uniform among all of them.

    Inner products, lengths and distances stay. Where a few dimensions are larger than the others, a codec with the same
    steps for all of them loses less of vectors that have been turned. `Hadamard` does the same for a fraction of the
    time.

    Parameters
    ----------
    random_state : int, RandomState or None, default 0
        Draws the matrix.

    Attributes
    ----------
    components_ : (d, d) float32
        The matrix.
    n_features_in_ : int
        d.

    Notes
    -----
    `fit` costs O(d^3), `transform` O(n d^2). A row's output is the same to the last bit whatever other rows come with
    it.

    References
    ----------
    Stewart, The efficient generation of random orthogonal matrices with an application to condition estimators, SIAM
    Journal on Numerical Analysis 17(3), 1980 (the signs that make a QR decomposition uniform).

    Examples
    --------
    >>> x = np.eye(64, dtype=np.float32)
    >>> turned = Rotation().fit_transform(x)
    >>> print(f"{np.abs(turned @ turned.T - x).max():.4f} {np.abs(turned).max():.1f}")
    0.0000 0.5
    """

    spec_name: ClassVar[str] = "Rotation"
    spec_fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, random_state: Any = 0) -> None:
        self.random_state = random_state

    @one_blas_thread
    def fit(self, X: Any, y: Any = None) -> Self:
        """Draw a matrix for vectors (n, d); only d matters.

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, or not two axes.
        """
        d = check_vectors(self, X, reset=True).shape[1]
        rng = generator(self.random_state)
        q, r = np.linalg.qr(rng.standard_normal((d, d)))
        self.components_ = np.ascontiguousarray(q * np.sign(np.diag(r)), np.float32)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the rows of (n, d) turned: (n, d). Queries are given to this as well.

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another d than that of `fit`, NaN, infinity, or vectors so long that they leave float32.
        """
        return self._projected(check_vectors(self, X, reset=False))

    def inverse_transform(self, X: Any) -> NDArray[np.float32]:
        """Return the rows of (n, d) turned back."""
        check_is_fitted(self)
        return self._restored(as_dense(X, dim=len(self.components_), name="X"), np.zeros(1, np.float32))


class Hadamard(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Rotate by random signs and Walsh-Hadamard transforms: what `Rotation` is for, in O(d log d).

    Inner products, lengths and distances stay, for any number of dimensions. Far fewer rotations can be drawn than
    there are, but the values of a vector become as alike.

    Parameters
    ----------
    random_state : int, RandomState or None, default 0
        Draws the signs.

    Attributes
    ----------
    signs_ : (rounds, d) int8
        As `isometry.kernels.rotate` describes.
    n_features_in_ : int
        d.

    Notes
    -----
    `fit` costs O(d), `transform` O(n d log d) on all processors. A row's output is the same to the last bit whatever
    other rows come with it.

    References
    ----------
    Ailon, Chazelle, The fast Johnson-Lindenstrauss transform and approximate nearest neighbors, SIAM Journal on
    Computing 39(1), 2009 (a transform after random signs). Rounds of it on the first and the last values, and the step
    that mixes both halves, are ours.

    Examples
    --------
    >>> x = np.eye(96, dtype=np.float32)
    >>> turned = Hadamard().fit_transform(x)
    >>> print(f"{np.abs(turned @ turned.T - x).max():.4f} {np.abs(turned).max():.1f}")
    0.0000 0.4
    """

    spec_name: ClassVar[str] = "Hadamard"
    spec_fields: ClassVar[tuple[str, ...]] = ()

    signs_: NDArray[np.int8]
    n_features_in_: int

    def __init__(self, *, random_state: Any = 0) -> None:
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_

    def fit(self, X: Any, y: Any = None) -> Self:
        """Draw signs for vectors (n, d); only d matters.

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, or not two axes.
        """
        from isometry.kernels.rotate import random_signs

        d = check_vectors(self, X, reset=True).shape[1]
        self.signs_ = random_signs(d, generator(self.random_state))
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the rows of (n, d) turned: (n, d). Queries are given to this as well.

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another d than that of `fit`, NaN, infinity, or vectors so long that they leave float32.
        """
        from isometry.kernels.rotate import rotate

        out = rotate(check_vectors(self, X, reset=False), self.signs_)
        check_finite(out, "X")
        return out

    def inverse_transform(self, X: Any) -> NDArray[np.float32]:
        """Return the rows of (n, d) turned back."""
        from isometry.kernels.rotate import rotate_back

        check_is_fitted(self)
        out = rotate_back(as_dense(X, dim=self.signs_.shape[1], name="X"), self.signs_)
        check_finite(out, "X")
        return out
