"""LeanVec: shorten vectors and queries, each by its own matrix, so that their inner products survive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from isometry.errors import InvalidInput, check_choice, check_range
from isometry.estimators import check_vectors, generator, one_blas_thread
from isometry.kernels.project import project
from isometry.transforms.choice import FEWEST_ROWS, sufficient_components
from isometry.transforms.linear import projected
from isometry.transforms.projections import (
    closed_form,
    eigenvector_search,
    frank_wolfe,
    loss,
    principal_directions,
    second_moment,
)
from isometry.vectors import as_dense

if TYPE_CHECKING:
    from isometry.transforms.projections import Matrix

__all__ = ["METHODS", "LeanVec"]

METHODS = ("closed_form", "pca", "eigenvector_search", "frank_wolfe")
_BY_EIGENVECTORS = {"pca": principal_directions, "eigenvector_search": eigenvector_search, "closed_form": closed_form}
_MOST_HELD_OUT = 500
_FEWEST_HELD_OUT = 20


class LeanVec(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Linear dimensionality reduction for search: :math:`\langle q, x \rangle \approx \langle A q, B x \rangle`.

    Without example queries A = B = the principal directions of the data. With them, A and B are learned from both, so
    that nothing is spent on directions that no query looks along (texts that search images, short questions that search
    long documents).

    Parameters
    ----------
    n_components : int, optional
        d. By default the smallest multiple of 16 at which the 50 best of the reduced vectors hold 98 % of the true 10
        best, on held-out queries (or rows); all D where there are too few rows to tell.
    method : {"closed_form", "pca", "eigenvector_search", "frank_wolfe"}, default "closed_form"
        How A and B are found when queries are given: the best of all pairs, or by one of the paper's ways. Without
        queries it is always ``"pca"``.
    shrinkage : "auto" or float, default "auto"
        How far, 0 to 1, the second moment of the queries is pulled towards that of the data, since few queries tell
        little about D dimensions; ``"auto"`` is D / (D + m) with m queries.
    regularization : float, default 1e-3
        Added to the second moment of the queries, in units of its mean eigenvalue: what a direction counts that no
        example query has. > 0.
    center : bool, default True
        Take second moments of the data about its mean. What lies along the mean adds the same to all scores of a query.
    rotate : bool, default False
        Turn both outputs by the same random rotation. Inner products stay; the values of a vector become alike, which
        a codec of few bits likes; the outputs are no longer ordered by importance.
    max_samples : int, default 100_000
        At most this many rows, and queries, are looked at; drawn without replacement.
    random_state : int, RandomState or None, default 0

    Attributes
    ----------
    components_ : (d, D) float32
        B, for vectors.
    query_components_ : (d, D) float32
        A, for queries.
    mean_ : (D,) float32
        Mean of the data; only `inverse_transform` uses it.
    n_components_ : int
        d.
    loss_ : float
        What is lost of the inner products with example queries, as a root mean square relative to their own:
        :math:`\sqrt{f(A, B) / f(0, 0)}`, for the moments as shrunk and regularized. `loss` measures it on other data.
    n_features_in_ : int
        D.

    Notes
    -----
    `fit` costs O((n + m) D^2 + D^3), Frank-Wolfe up to 500 times O(d^2 D); `transform` O(n d D). A row's output is the
    same to the last bit whatever other rows come with it.

    Nothing is subtracted from vectors or queries: for metric l2 and pca distances survive as well.

    Differences from the paper: the default is the closed form of its sequel; moments are about the mean (`center`) also
    for learned pairs; the moment of the queries is shrunk and regularized.

    References
    ----------
    Tepper, Bhati, Aguerrebere, Hildebrand, Willke, LeanVec: Searching vectors faster by making them fit, TMLR 2024,
    arXiv:2312.16335. Closed form: Tepper, Bhati, Aguerrebere, Willke, GleanVec, arXiv:2410.22347.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2000, 64), dtype=np.float32)
    >>> queries = np.zeros((1000, 64), np.float32)
    >>> queries[:, :8] = rng.standard_normal((1000, 8))
    >>> blind = LeanVec(16).fit(x)
    >>> aware = LeanVec(16).fit(x, queries=queries)
    >>> aware.transform(x).shape, aware.transform_query(queries).shape
    ((2000, 16), (1000, 16))
    >>> print(f"{blind.loss(x, queries):.2f} {aware.loss(x, queries):.2f}")
    0.83 0.00
    """

    spec_name: ClassVar[str] = "LeanVec"
    spec_fields: ClassVar[tuple[str, ...]] = ("n_components",)
    wants_refine: ClassVar[bool] = True

    components_: NDArray[np.float32]
    query_components_: NDArray[np.float32]
    mean_: NDArray[np.float32]
    n_features_in_: int

    def __init__(
        self,
        n_components: int | None = None,
        *,
        method: str = "closed_form",
        shrinkage: str | float = "auto",
        regularization: float = 1e-3,
        center: bool = True,
        rotate: bool = False,
        max_samples: int = 100_000,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.method = method
        self.shrinkage = shrinkage
        self.regularization = regularization
        self.center = center
        self.rotate = rotate
        self.max_samples = max_samples
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @one_blas_thread
    def fit(self, X: Any, y: Any = None, *, queries: Any = None) -> Self:
        """Learn the two matrices.

        Parameters
        ----------
        X : (n, D) array of float
            Vectors as they will be searched (normalised, if the metric is cosine).
        y : None
            Ignored.
        queries : (m, D) array of float, optional
            Example queries, other than those the result will be tested on.

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, or a parameter out of its range.
        """
        x = check_vectors(self, X, reset=True)
        self._check_parameters(x.shape[1])
        q = None if queries is None else check_vectors(self, queries, reset=False, name="queries")
        if q is not None and len(q) == 0:
            raise InvalidInput("queries has no rows; pass some, or None to learn from the data alone")
        rng = generator(self.random_state)
        x = self._sample(x, rng)
        q = None if q is None else self._sample(q, rng)
        d = self._sufficient(x, q) if self.n_components is None else int(self.n_components)
        k_q, k_x = self._moments(x, q)
        method = "pca" if q is None else self.method
        a, b = frank_wolfe(k_q, k_x, d, rng) if method == "frank_wolfe" else _BY_EIGENVECTORS[method](k_q, k_x, d)
        self.loss_ = loss(a, b, k_q, k_x)
        if self.rotate:
            rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
            a, b = rotation @ a, rotation @ b
        self.mean_ = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.components_ = np.ascontiguousarray(b, np.float32)
        self.query_components_ = np.ascontiguousarray(a, np.float32)
        self.n_components_ = d
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return B x for the rows of (n, D): (n, d), what is stored and searched.

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another D than that of `fit`, NaN, infinity, or vectors whose projection leaves float32.
        """
        return projected(check_vectors(self, X, reset=False), self.components_)

    def transform_query(self, X: Any) -> NDArray[np.float32]:
        """Return A q for the rows of (m, D): (m, d), what the results of `transform` are compared with.

        Raises
        ------
        DimensionMismatch, InvalidInput
            As `transform`.
        """
        return projected(check_vectors(self, X, reset=False), self.query_components_)

    def inverse_transform(self, X: Any) -> NDArray[np.float32]:
        """Return the vectors (n, D) whose inner products with any query are those of the reduced ones (n, d).

        Up to one number per query: what lies along the mean is put back, whether or not B keeps it.
        """
        check_is_fitted(self)
        reduced = as_dense(X, dim=len(self.components_), name="X")
        offset = self.mean_ - self.query_components_.T @ (self.components_ @ self.mean_)
        return project(reduced, self.query_components_.T) + offset

    def loss(self, X: Any, queries: Any) -> float:
        r"""Return :math:`\sqrt{f(A, B) / f(0, 0)}` for any vectors and queries, e.g. held-out ones.

        0: all their inner products survive (up to what the mean of X adds, if `center`); 1: nothing does.
        """
        x = check_vectors(self, X, reset=False)
        q = check_vectors(self, queries, reset=False, name="queries")
        k_q, k_x = _unit(second_moment(q, np.zeros(q.shape[1]))), _unit(second_moment(x, self._origin(x)))
        return loss(self.query_components_.astype(float), self.components_.astype(float), k_q, k_x)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _check_parameters(self, dim: int) -> None:
        check_choice("method", self.method, METHODS)
        check_range("max_samples", self.max_samples, 1)
        if self.n_components is not None:
            check_range("n_components", self.n_components, 1, dim)
        if self.shrinkage != "auto" and not (_is_number(self.shrinkage) and 0 <= float(self.shrinkage) <= 1):
            raise InvalidInput(f"shrinkage is {self.shrinkage!r}; expected 'auto' or a number from 0 to 1")
        if not (_is_number(self.regularization) and 0 < self.regularization < np.inf):
            raise InvalidInput(f"regularization is {self.regularization!r}; expected a number > 0")

    def _sample(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        if len(x) <= self.max_samples:
            return x
        return x[np.sort(rng.choice(len(x), self.max_samples, replace=False))]

    def _origin(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        return x.mean(axis=0, dtype=np.float64) if self.center else np.zeros(x.shape[1])

    def _moments(self, x: NDArray[np.float32], q: NDArray[np.float32] | None) -> tuple[Matrix, Matrix]:
        """Return the second moments of queries (shrunk, regularized) and data, each with a mean eigenvalue of about 1.

        The scale has no influence on any of the methods; with this one nothing leaves float64, and A and B change the
        length of a vector little.
        """
        dim = x.shape[1]
        origin = self._origin(x)
        raw = second_moment(x, origin)
        k_q = _unit(raw + np.outer(origin, origin))
        if q is not None:
            share = dim / (dim + len(q)) if self.shrinkage == "auto" else float(self.shrinkage)
            k_q = (1 - share) * _unit(second_moment(q, np.zeros(dim))) + share * k_q
        return k_q + self.regularization * np.eye(dim), _unit(raw)

    def _sufficient(self, x: NDArray[np.float32], q: NDArray[np.float32] | None) -> int:
        """Choose d by what a pair learned from some of the queries (or rows) does for the others."""
        dim = x.shape[1]
        pool = x if q is None else q
        held_out = min(_MOST_HELD_OUT, len(pool) // 4)
        order = np.random.default_rng(0).permutation(len(pool))
        asked, rest = pool[order[:held_out]], pool[order[held_out:]]
        known = rest if q is None else x
        if held_out < _FEWEST_HELD_OUT or len(known) < FEWEST_ROWS:
            return dim
        k_q, k_x = self._moments(known, None if q is None else rest)
        a, b = (principal_directions if q is None or self.method == "pca" else closed_form)(k_q, k_x, dim)
        return sufficient_components(a.astype(np.float32), b.astype(np.float32), known, asked)


def _unit(moment: Matrix) -> Matrix:
    """Return a second moment divided by its mean eigenvalue."""
    mean = np.trace(moment) / len(moment)
    return moment / mean if mean > 0 else moment


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
