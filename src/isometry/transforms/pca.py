"""Principal components: keep the directions along which vectors differ most."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from isometry.errors import check_range
from isometry.estimators import check_vectors, one_blas_thread
from isometry.transforms.linear import Linear, check_finite
from isometry.vectors import as_dense

__all__ = ["PCA", "principal_components"]


class PCA(Linear):
    r"""The leading principal components, so that inner products survive: :math:`\langle q, x \rangle \approx
    \langle B q, B (x - \mu) \rangle + \langle q, \mu \rangle`.

    Only vectors are centred, queries are not; what that takes from a score is one number per query (`query_offset`), so
    cosine, dot product and distance stay what they were. `Whitening` is for those who want to change them.

    Parameters
    ----------
    n_components : int, optional
        d, at most D. By default D: vectors are only turned.
    center : bool, default True
        Take variances about the mean. Without it the second moment about the origin decides, and nothing is subtracted.
    max_samples : int, default 100_000
        At most this many rows are looked at, drawn without replacement.
    random_state : int, RandomState or None, default 0
        Draws them.

    Attributes
    ----------
    components_ : (d, D) float32
        B, orthonormal rows ordered by importance.
    mean_ : (D,) float32
        :math:`\mu`; zeros without `center`.
    explained_variance_ : (d,) float64
        Variance along each direction, about the origin without `center`.
    n_components_ : int
        d.
    n_features_in_ : int
        D.

    Notes
    -----
    scikit-learn's PCA finds the directions, by the eigenvectors of the covariance or, of fewer rows than dimensions, by
    their singular vectors; both are deterministic. It sees the rows in float64: `fit` takes 8 D bytes per row that is
    looked at, twice that without `center`, and O(n D^2 + D^3) time; `transform` takes O(n d D).

    What this class adds: a row's output is the same to the last bit whatever other rows come with it; queries; and more
    components than rows. Those that are missing are filled up with any orthonormal directions, so that rows that come
    later lose no more than they must.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = (rng.standard_normal((1000, 32)) * 0.8 ** np.arange(32) + 1).astype(np.float32)
    >>> pca = PCA(16).fit(x)
    >>> scores = pca.transform_query(x[:2]) @ pca.transform(x).T + pca.query_offset(x[:2])[:, None]
    >>> print(f"{np.abs(scores - x[:2] @ x.T).max():.1f} of {scores.max():.0f}")
    0.1 of 40
    """

    spec_name: ClassVar[str] = "PCA"

    mean_: NDArray[np.float32]

    def __init__(
        self,
        n_components: int | None = None,
        *,
        center: bool = True,
        max_samples: int = 100_000,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.center = center
        self.max_samples = max_samples
        self.random_state = random_state

    @one_blas_thread
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the directions from vectors (n, D).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, or more components than dimensions.
        """
        x = check_vectors(self, X, reset=True)
        mean, self.components_, self.explained_variance_ = principal_components(
            x, self.n_components, self.center, self.max_samples, self.random_state
        )
        self.mean_ = mean.astype(np.float32)
        self.n_components_ = len(self.components_)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return B (x - mean) for the rows of (n, D): (n, d).

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another D than that of `fit`, NaN, infinity, or vectors whose projection leaves float32.
        """
        return self._projected(check_vectors(self, X, reset=False), self.mean_ if self.center else None)

    def transform_query(self, X: Any) -> NDArray[np.float32]:
        """Return B q for the rows of (m, D): (m, d), what the results of `transform` are compared with.

        Raises
        ------
        DimensionMismatch, InvalidInput
            As `transform`.
        """
        return self._projected(check_vectors(self, X, reset=False))

    def query_offset(self, X: Any) -> NDArray[np.float32]:
        """Return <q, mean> for the rows of (m, D): (m,), what all scores of a query lack after centring.

        Raises
        ------
        DimensionMismatch, InvalidInput
            As `transform`.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            offset = np.vecdot(check_vectors(self, X, reset=False), self.mean_)
        check_finite(offset[:, None], "X")
        return offset

    def inverse_transform(self, X: Any) -> NDArray[np.float32]:
        """Return the vectors (n, D) nearest to the mean whose components are given, (n, d)."""
        check_is_fitted(self)
        return self._restored(as_dense(X, dim=len(self.components_), name="X"), self.mean_)


def principal_components(
    x: NDArray[np.float32], n_components: int | None, center: bool, max_samples: int, random_state: Any
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]:
    """Return the mean (D,) or zeros, directions (d, D) and the variances along them (d,), for any number of rows.

    Raises
    ------
    InvalidInput
        `n_components` or `max_samples` out of its range.
    """
    from sklearn.decomposition import PCA as ScikitPCA

    dim = x.shape[1]
    check_range("max_samples", max_samples, 1)
    wanted = dim if n_components is None else check_range("n_components", n_components, 1, dim)
    if len(x) > max_samples:
        drawn = check_random_state(random_state).choice(len(x), max_samples, replace=False)
        x = x[np.sort(drawn)]
    rows = x.astype(np.float64)
    mean = rows.mean(axis=0) if center else np.zeros(dim)
    rows -= mean
    if not center or len(rows) == 1:
        rows = np.concatenate([rows, -rows])  # scikit-learn centres, and divides by n - 1
    found = min(wanted, *rows.shape)
    pca = ScikitPCA(found, svd_solver="covariance_eigh" if len(rows) > dim else "full", copy=False)
    with np.errstate(invalid="ignore"):  # shares of no variance at all
        pca.fit(rows)
    directions, variances = pca.components_, pca.explained_variance_
    if found < wanted:
        rest = np.linalg.qr(directions.T, mode="complete")[0].T[found:wanted]
        directions, variances = np.vstack([directions, rest]), np.pad(variances, (0, wanted - found))
    return mean, np.ascontiguousarray(directions, np.float32), variances
