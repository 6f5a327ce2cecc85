"""Product quantizers that a gradient can move, made from fitted ones and turned back into them."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from isometry.codecs import ProductQuantizer
from isometry.codecs.integer import unhalved
from isometry.errors import InvalidInput
from isometry.learning.estimators import nearest

__all__ = ["ProductModule"]

_ROWS = 4096


class ProductModule(nn.Module):
    """The centroids of a `ProductQuantizer` as parameters.

    Parameters
    ----------
    codec : ProductQuantizer
        Fitted; it is not changed. All its sub-spaces must be of one width.

    Attributes
    ----------
    codebooks : (m, 2^B, d / m) Parameter

    Raises
    ------
    InvalidInput
        Sub-spaces of different widths.
    """

    mean: Tensor

    def __init__(self, codec: ProductQuantizer) -> None:
        super().__init__()
        check_is_fitted(codec)
        m, d = int(codec.n_subspaces), codec.n_features_in_
        if d % m:
            raise InvalidInput(f"{d} dimensions can't be cut into {m} equal sub-spaces; expected a divisor of {d}")
        self._codec = codec
        books = codec.codebooks_.reshape(len(codec.codebooks_), m, d // m).swapaxes(0, 1)
        self.codebooks = nn.Parameter(torch.from_numpy(np.array(books)))
        self.register_buffer("mean", torch.from_numpy(np.array(codec.mean_)))

    @property
    def scale(self) -> float:
        """Root mean square of the centroids' values: what a learning rate should be relative to."""
        return float(self.codebooks.detach().square().mean().sqrt())

    def numbers(self, codes: NDArray[np.uint8]) -> Tensor:
        """Return codes (n, nbytes_per_vector_) as numbers of centroids (n, m)."""
        m = int(self._codec.n_subspaces)
        return torch.from_numpy((unhalved(codes, m) if self._codec.bits == 4 else codes).astype(np.int64))

    def forward(self, numbers: Tensor) -> Tensor:
        """Return vectors (n, d) less the mean, gathered by numbers of centroids (n, m)."""
        places = torch.arange(len(self.codebooks), device=numbers.device)
        return self.codebooks[places, numbers].flatten(1)

    def scores(self, queries: Tensor, numbers: Tensor) -> Tensor:
        """Return the products (n, k) of queries (n, d) with vectors of their own, given by numbers (n, k, m).

        They are sums of a query's products with all centroids, as in a search, so the vectors are never made.
        """
        pieces = queries.unflatten(1, (len(self.codebooks), -1)).transpose(0, 1)
        tables = (pieces @ self.codebooks.mT).transpose(0, 1)
        return tables.gather(2, numbers.transpose(1, 2)).sum(dim=1)

    def soft(self, x: Tensor, temperature: float = 1.0) -> Tensor:
        """Return vectors (n, d) as their nearest centroids, less the mean: to the centroids the gradient is soft.

        Each sub-vector is a softmax of its distances to all centroids, forced to the nearest on the way there.
        """
        pieces = (x - self.mean).unflatten(1, (len(self.codebooks), -1)).unbind(1)
        books = self.codebooks.unbind(0)
        return torch.cat([nearest(*pair, temperature) for pair in zip(pieces, books, strict=True)], dim=1)

    @torch.no_grad()
    def nearest(self, x: Tensor) -> Tensor:
        """Return the numbers (n, m) of the centroids nearest to vectors (n, d)."""
        found = []
        for part in (x - self.mean).split(_ROWS):
            pieces = part.unflatten(1, (len(self.codebooks), -1)).transpose(0, 1)
            found.append(torch.cdist(pieces, self.codebooks.detach()).argmin(dim=2).T)
        return torch.cat(found)

    def values(self) -> NDArray[np.float32]:
        """Return the centroids as `ProductQuantizer` holds them: (2^B, d)."""
        books = self.codebooks.detach().cpu().numpy()
        return np.ascontiguousarray(books.swapaxes(0, 1).reshape(books.shape[1], -1), np.float32)

    def codec(self, *, keep_assignment: bool) -> ProductQuantizer:
        """Return a frozen `ProductQuantizer` with these centroids.

        Parameters
        ----------
        keep_assignment : bool
            Whether vectors still get their codes by the centroids that the codec came with; these then only score.
        """
        trained = deepcopy(self._codec)
        if keep_assignment:
            trained.assigning_codebooks_ = getattr(self._codec, "assigning_codebooks_", self._codec.codebooks_)
        else:
            trained.__dict__.pop("assigning_codebooks_", None)
        trained.codebooks_ = self.values()
        return trained.freeze()
