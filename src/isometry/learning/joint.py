"""JPQ: train the query side and the centroids of a product quantizer on the ranking that its codes give."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isometry.codecs import ProductQuantizer
from isometry.errors import InvalidInput, check_choice, check_range
from isometry.learning.losses import lambda_rank
from isometry.learning.negatives import LiveIndex, positives_of
from isometry.learning.quantizers import ProductModule
from isometry.learning.training import Progress, batches_of, shared_vectors, train

__all__ = ["JPQ"]

Negatives = Literal["live", "static", "random"]


class _Joint(nn.Module):
    def __init__(self, codec: ProductQuantizer) -> None:
        super().__init__()
        self.product = ProductModule(codec)
        self.query = nn.Linear(codec.n_features_in_, codec.n_features_in_, bias=False)
        with torch.no_grad():
            self.query.weight.copy_(torch.eye(codec.n_features_in_))


class JPQ:
    r"""Trains a query map and centroids together, on codes that stay what they are.

    Scores are :math:`\langle W q, \hat d \rangle` with W a matrix that begins as the identity and :math:`\hat d` the
    centroids of a stored code. In every step the codes are searched with the present W and centroids; what is found and
    not relevant is a negative, and pairs weigh as much as swapping them would change the reciprocal rank
    (`isometry.learning.lambda_rank`).

    Parameters
    ----------
    epochs : int, default 6
    batch_size : int, default 64
    n_negatives : int, default 200
        Documents that are searched for a query.
    scale : float, default 30
        Scores are multiplied by it before the logistic loss. For unit vectors 20 to 50; about 1 for vectors whose inner
        products differ by several units anyway.
    centroid_rate : float, default 3e-3
        Learning rate of the centroids, in units of the root mean square of their values.
    query_rate : float, default 3e-4
        Learning rate of W; 0 leaves queries as they are.
    negatives : {"live", "static", "random"}, default "live"
        Searched in every step; searched once, before training; drawn. The last two are for comparison.
    seed : int, default 0

    Attributes
    ----------
    codec_ : ProductQuantizer
        Frozen: any index takes it as it is. It encodes vectors as the one that was given, and scores them with the
        trained centroids.
    query_map_ : (d, d) float32
        W: queries are searched for as ``queries @ query_map_.T``.
    history_ : list of float
        Mean loss of every epoch.

    Notes
    -----
    A step costs a scan of all codes per query, :math:`O(n m)`, and :math:`O(d\,2^B)` per query for the tables.

    Differences from the paper: the query encoder is one matrix after a model that stays as it is (a model of your own
    can be trained with `lambda_rank` and `LiveIndex` in the same way); gradients are clipped for all parameters; the
    centroids' rate is relative to their size, since 1e-3 ruins an index of unit vectors.

    References
    ----------
    Zhan, Mao, Liu, Guo, Zhang, Ma, Jointly optimizing query encoder and product quantization to improve retrieval
    performance, CIKM 2021, arXiv:2108.00644.

    Examples
    --------
    >>> from isometry.codecs import ProductQuantizer
    >>> from isometry.indexes import Flat, index_from_spec
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((500, 16), dtype=np.float32)
    >>> queries = (x[:100] + 0.5 * rng.standard_normal((100, 16))).astype(np.float32)
    >>> codec = ProductQuantizer(4).fit(x)
    >>> trained = JPQ(epochs=2, scale=1).fit(codec, x, queries, labels=[[i] for i in range(100)])
    >>> (trained.codec_.transform(x) == codec.transform(x)).all()
    np.True_
    >>> index = Flat.from_spec(metric="dot", codec=trained.codec_).build(x)
    >>> index.search(trained.map_queries(queries), k=1)[0].shape
    (100, 1)
    """

    codec_: ProductQuantizer
    query_map_: NDArray[np.float32]
    history_: list[float]

    def __init__(
        self,
        *,
        epochs: int = 6,
        batch_size: int = 64,
        n_negatives: int = 200,
        scale: float = 30.0,
        centroid_rate: float = 3e-3,
        query_rate: float = 3e-4,
        negatives: Negatives = "live",
        seed: int = 0,
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.n_negatives = n_negatives
        self.scale = scale
        self.centroid_rate = centroid_rate
        self.query_rate = query_rate
        self.negatives = negatives
        self.seed = seed

    def fit(
        self,
        codec: ProductQuantizer,
        x: Any,
        queries: Any,
        labels: Iterable[Iterable[int]] | None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Train on queries and the rows that are relevant to them.

        Parameters
        ----------
        codec : ProductQuantizer
            Fitted; it is not changed.
        x : (n, d) float
            Documents as the codec is given them: behind a transform such as OPQ, transformed.
        queries : (nq, d) float
            Likewise (``transform_query``).
        labels : iterable of nq iterables of int
            Rows of `x` that are relevant. Queries without any are left out.
        checkpoint, progress
            As in `isometry.learning.train`.

        Raises
        ------
        InvalidInput, DimensionMismatch
            No labels, rows that do not exist, zero vectors, NaN, or vectors that do not fit the codec.
        Diverged
            As `isometry.learning.train`.
        """
        documents, asked = shared_vectors(x, queries, names=("x", "queries"))
        relevant = positives_of(labels, len(asked), len(documents))
        check_choice("negatives", self.negatives, ("live", "static", "random"))
        size, most = check_range("batch_size", self.batch_size, 1), check_range("n_negatives", self.n_negatives, 1)
        if not self.scale > 0:
            raise InvalidInput(f"scale is {self.scale!r}; expected a number above 0")
        module = _Joint(codec)
        codes = codec.transform(documents)
        numbers = module.product.numbers(codes)
        live_codec = module.product.codec(keep_assignment=True)
        live = LiveIndex(live_codec, codes)
        taught = np.array([i for i, each in enumerate(relevant) if len(each)])
        first = live.search(asked, k=most)[0] if self.negatives == "static" else None

        def batches(epoch: int, rng: np.random.Generator) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
            for part in batches_of(len(taught), size, rng):
                some = taught[part]
                yield some, rng.integers(0, len(documents), (len(some), most))

        def loss(batch: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Tensor:
            some, drawn = batch
            mapped = module.query(torch.from_numpy(asked[some]))
            if self.negatives == "random":
                found = drawn
            elif first is not None:
                found = first[some]
            else:
                live_codec.codebooks_ = module.product.values()
                found = live.search(mapped.detach().numpy(), k=most)[0]
            ids, good, mask, ranks = _lists(found, [relevant[i] for i in some], keep_ranks=self.negatives != "random")
            scores = self.scale * module.product.scores(mapped, numbers[torch.from_numpy(ids)])
            return lambda_rank(scores, torch.from_numpy(good), ranks=ranks, mask=torch.from_numpy(mask))

        rates = {"product.codebooks": self.centroid_rate * module.product.scale, "query.weight": self.query_rate}
        self.history_ = train(
            module,
            batches,
            loss,
            epochs=self.epochs,
            rates=rates,
            clip=1.0,
            seed=self.seed,
            checkpoint=checkpoint,
            progress=progress,
        )
        self.codec_ = module.product.codec(keep_assignment=True)
        self.query_map_ = module.query.weight.detach().numpy().copy()
        return self

    def map_queries(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return queries (nq, d) as they are searched for: W q."""
        return np.ascontiguousarray(queries @ self.query_map_.T)


def _lists(
    found: NDArray[np.int64], relevant: list[NDArray[np.int64]], *, keep_ranks: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_], Tensor | None]:
    """Return ids, which are relevant, which count, and ranks: what was found, then what is relevant and was not."""
    width = found.shape[1] + max(len(each) for each in relevant)
    ids = np.zeros((len(found), width), np.int64)
    good, mask = np.zeros(ids.shape, bool), np.zeros(ids.shape, bool)
    for i, (row, known) in enumerate(zip(found, relevant, strict=True)):
        here = np.unique(row[row >= 0], return_index=True)[1]
        row = row[np.sort(here)]
        late = known[~np.isin(known, row)]
        both = np.concatenate([row, late])
        ids[i, : len(both)], mask[i, : len(both)] = both, True
        good[i, : len(both)] = np.isin(both, known)
    ranks = torch.arange(1, width + 1).expand(len(ids), width) if keep_ranks else None
    return ids, good, mask, ranks
