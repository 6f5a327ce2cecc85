"""What transforms by one matrix share: projecting rows a part at a time, and telling what leaves float32."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from isometry.errors import InvalidInput
from isometry.kernels.project import project

__all__ = ["Linear", "check_finite", "projected"]

_BLOCK_ROWS = 2**16


class Linear(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What transforms by one matrix share: `fit` sets ``components_`` (d, D)."""

    spec_fields: ClassVar[tuple[str, ...]] = ("n_components",)

    components_: NDArray[np.float32]
    n_features_in_: int

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _projected(self, x: NDArray[np.float32], mean: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return ``components_ @ (row - mean)`` of every row, a part of them at a time."""
        if mean is None:
            return projected(x, self.components_)
        out = np.empty((len(x), len(self.components_)), np.float32)
        for start in range(0, len(x), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            with np.errstate(over="ignore"):
                centred = x[part] - mean
            out[part] = project(centred, self.components_)
        check_finite(out, "X")
        return out

    def _restored(self, x: NDArray[np.float32], mean: NDArray[np.float32] | np.float32) -> NDArray[np.float32]:
        """Return ``components_.T @ row + mean`` of every row."""
        out = project(x, self.components_.T)
        with np.errstate(over="ignore", invalid="ignore"):
            out += mean
        check_finite(out, "X")
        return out


def projected(x: NDArray[np.float32], components: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``components @ row`` of every row.

    Raises
    ------
    InvalidInput
        A result that leaves float32.
    """
    out = project(x, components)
    check_finite(out, "X")
    return out


def check_finite(out: NDArray[np.float32], name: str) -> None:
    """Raise `InvalidInput` when a row of a result has left float32."""
    if not np.isfinite(out).all():
        row = int(np.flatnonzero(~np.isfinite(out).all(axis=1))[0])
        raise InvalidInput(f"the projection of {name} leaves float32, first at row {row}; scale the vectors")
