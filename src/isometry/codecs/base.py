"""What a codec is, and what all of ours share."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from isometry.errors import InvalidInput
from isometry.estimators import check_vectors
from isometry.kernels.rows import Rows, values_of

__all__ = ["Codec", "CodecBase"]


@runtime_checkable
class Codec(Protocol):
    """Turns vectors into bytes that kernels score without decoding: a scikit-learn transformer with some more members.

    The product of a query with ``inverse_transform`` of a row is that with ``mean_``, plus that of what `queries` makes
    of the query with what `fine_rows` holds of the row.
    """

    maps_queries: ClassVar[bool]
    mean_: NDArray[np.float32]
    nbytes_per_vector_: int

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn what all vectors share."""

    def transform(self, X: Any) -> NDArray[np.uint8]:
        """Return (n, nbytes_per_vector_) bytes."""

    def inverse_transform(self, X: Any) -> NDArray[np.float32]:
        """Return vectors (n, d) near those that were encoded."""

    def queries(self, q: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return queries (nq, d) as rows are multiplied with: the same, unless ``maps_queries``."""

    def rows(self, codes: NDArray[np.uint8]) -> Rows:
        """Return the coarsest level, which a walk through a graph reads."""

    def fine_rows(self, codes: NDArray[np.uint8]) -> Rows:
        """Return all levels, which score as well as the codec can."""


class CodecBase(TransformerMixin, BaseEstimator):
    """Border checks and decoding; a codec adds `fit`, `_encode` and `fine_rows`, and `rows` when it has two levels.

    One whose rows hold something else than values adds `queries` and `_decode`, and says so by ``maps_queries``.
    """

    spec_fields: ClassVar[tuple[str, ...]] = ()
    maps_queries: ClassVar[bool] = False

    mean_: NDArray[np.float32]
    n_features_in_: int
    nbytes_per_vector_: int

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def transform(self, X: Any) -> NDArray[np.uint8]:
        """Return the codes of vectors (n, d): (n, nbytes_per_vector_) bytes, the same for any number of threads.

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another d than that of `fit`, NaN, infinity, not two axes.
        """
        return self._encode(check_vectors(self, X, reset=False))

    def inverse_transform(self, X: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return vectors (n, d) near those whose codes are given.

        Raises
        ------
        InvalidInput
            Not (n, nbytes_per_vector_) bytes.
        """
        return self._decode(values_of(self.fine_rows(X), self.n_features_in_)) + self.mean_

    def queries(self, q: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return queries (nq, d) as rows are multiplied with, (nq, d'): the same, unless ``maps_queries``."""
        return q

    def rows(self, codes: NDArray[np.uint8]) -> Rows:
        """Return the coarsest level of codes (n, nbytes_per_vector_) as a layout of `isometry.kernels.rows`: a copy."""
        return self.fine_rows(codes)

    def fine_rows(self, codes: NDArray[np.uint8]) -> Rows:
        """Return all levels of codes (n, nbytes_per_vector_) as a layout of `isometry.kernels.rows`: a copy."""
        raise NotImplementedError

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        raise NotImplementedError

    def _decode(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what rows hold (n, d') as vectors (n, d) less their mean: the reverse of what `queries` does."""
        return values

    def _checked_codes(self, codes: Any) -> NDArray[np.uint8]:
        check_is_fitted(self)
        array = np.asarray(codes)
        if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != self.nbytes_per_vector_:
            raise InvalidInput(
                f"codes are {array.dtype} of shape {array.shape}; expected what transform returns, uint8 of shape "
                f"(n, {self.nbytes_per_vector_})"
            )
        return array
