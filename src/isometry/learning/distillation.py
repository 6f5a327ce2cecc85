"""Distill-VQ: move centroids until the ranking of codes imitates that of the vectors themselves, without labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isometry.codecs import ProductQuantizer
from isometry.errors import InvalidInput, check_choice, check_range
from isometry.learning.losses import list_net, rank_net, spread_temperature
from isometry.learning.negatives import best_of
from isometry.learning.quantizers import ProductModule
from isometry.learning.training import Progress, batches_of, shared_vectors, train
from isometry.vectors import as_dense

__all__ = ["DistillVQ"]

Loss = Literal["list_net", "rank_net", "mse"]
_QUERIES = 256
_SPREAD = 10.0


class DistillVQ:
    r"""Trains centroids so that scores of codes imitate scores of vectors, on queries without labels.

    The candidates of a query are documents drawn from its best by exact search, and those of all other queries in the
    batch. The student's scores :math:`\langle q, \hat d \rangle` imitate the teacher's :math:`\langle q, d \rangle` by
    the cross-entropy of their softmaxes. In every step documents choose their nearest centroids anew.

    Given the centroids of inverted lists, it moves these too. A document's list stays what it is; the centroid o of the
    list is a second student, :math:`\langle q, o \rangle`, and the quantizer keeps what o leaves over:
    :math:`\hat d = o + \hat u`.

    Parameters
    ----------
    epochs : int, default 12
    batch_size : int, default 256
        Queries.
    n_best : int, default 200
        Best documents by exact search that are drawn from.
    n_drawn : int, default 4
        So many of them for every query in every epoch, besides the very best.
    temperature : float, optional
        Of both softmaxes. By default such that the teacher's spreads over about ten candidates.
    centroid_rate : float, default 0.015
        Learning rate of the centroids, in units of the root mean square of their values.
    list_rate : float, default 0.025
        The same for the centroids of lists.
    loss : {"list_net", "rank_net", "mse"}, default "list_net"
    in_batch : bool, default True
        Whether the documents of other queries are candidates too.
    seed : int, default 0

    Attributes
    ----------
    codec_ : ProductQuantizer
        Frozen: any index takes it as it is. Its codes differ from those of the one that was given: encode anew.
    centroids_ : (n_lists, d) float32 or None
        Those of the lists, for ``IVF(centroids=...)``.
    temperature_ : float
    list_weight_ : float
        What the lists' loss is multiplied by: of the size of the other one in the first batch.
    list_entropy_ : (float, float)
        Entropy of the lists' sizes in bits, were documents to go to the nearest centroids from before training and from
        after it: far less after it means that centroids have left their documents.
    history_ : list of float
        Mean loss of every epoch.

    Notes
    -----
    Before training, exact search of all queries: :math:`O(n_q n d)`. A step costs :math:`O(b\,d\,2^B)` for b documents,
    and :math:`O(n_q b d)` for their scores. The gradient of a hard choice is that of a softmax over distances, in units
    of the mean distance.

    Of the lists' centroids a step moves those that a document of the batch is under, and no others.

    Differences from the paper: queries stay as they are; the temperature follows the vectors, where the released code
    has 1, at which training harms unit vectors.

    References
    ----------
    Xiao et al., Distill-VQ: Learning retrieval oriented vector quantization by distilling knowledge from dense
    embeddings, SIGIR 2022, arXiv:2204.00185.

    Examples
    --------
    >>> from isometry.codecs import ProductQuantizer
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((600, 16), dtype=np.float32)
    >>> codec = ProductQuantizer(2, bits=4).fit(x)
    >>> trained = DistillVQ(epochs=2).fit(codec, x, queries=x[:200])
    >>> trained.codec_.fit_transform(x).shape
    (600, 1)
    """

    codec_: ProductQuantizer
    centroids_: NDArray[np.float32] | None
    temperature_: float
    list_weight_: float
    list_entropy_: tuple[float, float]
    history_: list[float]

    def __init__(
        self,
        *,
        epochs: int = 12,
        batch_size: int = 256,
        n_best: int = 200,
        n_drawn: int = 4,
        temperature: float | None = None,
        centroid_rate: float = 0.015,
        list_rate: float = 0.025,
        loss: Loss = "list_net",
        in_batch: bool = True,
        seed: int = 0,
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.n_best = n_best
        self.n_drawn = n_drawn
        self.temperature = temperature
        self.centroid_rate = centroid_rate
        self.list_rate = list_rate
        self.loss = loss
        self.in_batch = in_batch
        self.seed = seed

    def fit(
        self,
        codec: ProductQuantizer,
        x: Any,
        queries: Any,
        *,
        centroids: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Train on documents and queries.

        Parameters
        ----------
        codec : ProductQuantizer
            Fitted; it is not changed. With `centroids`, fitted to what these leave over, as `IVF` does.
        x : (n, d) float
            Documents as the codec is given them: behind a transform such as OPQ, transformed.
        queries : (nq, d) float
            Likewise (``transform_query``). Without any at hand, documents can stand in for them.
        centroids : (n_lists, d) float, optional
            Those of the lists, e.g. ``IVF.centroids``; every document is in the list of the nearest.
        checkpoint, progress
            As in `isometry.learning.train`.

        Raises
        ------
        InvalidInput, DimensionMismatch
            Zero vectors, NaN, vectors that do not fit the codec, or a parameter out of its range.
        Diverged
            As `isometry.learning.train`.
        """
        documents, asked = shared_vectors(x, queries, names=("x", "queries"))
        check_choice("loss", self.loss, ("list_net", "rank_net", "mse"))
        size = check_range("batch_size", self.batch_size, 1)
        most = min(check_range("n_best", self.n_best, 1), len(documents))
        drawn = min(check_range("n_drawn", self.n_drawn, 0), most - 1)
        if self.temperature is not None and not self.temperature > 0:
            raise InvalidInput(f"temperature is {self.temperature!r}; expected a number above 0, or None")
        if not self.in_batch and not drawn:
            raise InvalidInput("in_batch is False and n_drawn 0, which leaves each query a single candidate")
        module = _Students(codec, documents, centroids)
        product = module.product
        best = _best(documents, asked, most)
        vectors, teacher = torch.from_numpy(documents), torch.from_numpy(asked)
        spread = self._spread(vectors, teacher, best)
        self.temperature_ = spread if self.temperature is None else float(self.temperature)
        with torch.no_grad():
            few = vectors[:_QUERIES] - module.coarse(torch.arange(min(_QUERIES, len(vectors))))
            near = product(product.nearest(few)) - (few - product.mean)
            width = float(near.square().mean()) * near.shape[1] / len(product.codebooks)
        softness = width if width > 0 else 1.0

        def batches(epoch: int, rng: np.random.Generator) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
            for some in batches_of(len(asked), size, rng):
                places = 1 + rng.random((len(some), most - 1)).argsort(axis=1)[:, :drawn]
                places = np.concatenate([np.zeros((len(some), 1), np.int64), places], axis=1)
                yield some, np.take_along_axis(best[some], places, axis=1)

        def losses(batch: tuple[NDArray[np.int64], NDArray[np.int64]]) -> tuple[Tensor, Tensor | None]:
            """Return the loss of the codes' scores, and that of the lists'."""
            some, theirs = batch
            ids, places = np.unique(theirs, return_inverse=True)
            mine = torch.zeros((len(some), len(ids)), dtype=torch.bool)
            mine.scatter_(1, torch.from_numpy(places.reshape(theirs.shape)), True)
            mask = None if self.in_batch else mine
            rows, questions = torch.from_numpy(ids), teacher[torch.from_numpy(some)]
            full, coarse = vectors[rows], module.coarse(rows)
            wanted = questions @ (full - product.mean).T / self.temperature_
            found = questions @ (coarse + product.soft(full - coarse.detach(), softness)).T
            of_codes = self._difference(found / self.temperature_, wanted, mask)
            if module.lists is None:
                return of_codes, None
            return of_codes, self._difference(questions @ coarse.T / self.temperature_, wanted, mask)

        with torch.no_grad():
            first, of_lists = losses(next(batches(0, np.random.default_rng([self.seed, 0]))))
        self.list_weight_ = 0.0 if of_lists is None else float(first / of_lists.clamp(min=1e-9))

        def loss(batch: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Tensor:
            of_codes, of_lists = losses(batch)
            return of_codes if of_lists is None else of_codes + self.list_weight_ * of_lists

        rates = {"product": self.centroid_rate * product.scale}
        if module.lists is not None:
            rates["lists"] = self.list_rate * float(module.lists.detach().square().mean().sqrt())
        before = module.entropy(documents)
        self.history_ = train(
            module,
            batches,
            loss,
            epochs=self.epochs,
            rates=rates,
            touched=("lists",),
            seed=self.seed,
            checkpoint=checkpoint,
            progress=progress,
        )
        self.codec_ = product.codec(keep_assignment=False)
        self.centroids_ = module.centroids()
        self.list_entropy_ = before, module.entropy(documents)
        return self

    def _difference(self, found: Tensor, wanted: Tensor, mask: Tensor | None) -> Tensor:
        if self.loss == "mse":
            gaps = (found - wanted).square()
            return gaps.mean() if mask is None else gaps[mask].mean()
        losses: dict[str, Callable[..., Tensor]] = {"list_net": list_net, "rank_net": rank_net}
        return losses[self.loss](found, wanted, mask=mask)

    def _spread(self, vectors: Tensor, teacher: Tensor, best: NDArray[np.int64]) -> float:
        some = torch.from_numpy(best[:_QUERIES])
        scores = torch.einsum("nd,nmd->nm", teacher[: len(some)], vectors[some])
        return spread_temperature(scores, min(_SPREAD, scores.shape[1] / 2) if scores.shape[1] > 2 else 1.0)


class _Students(nn.Module):
    """A product quantizer, and centroids of lists if there are some, of documents (n, d)."""

    def __init__(self, codec: ProductQuantizer, documents: NDArray[np.float32], centroids: Any) -> None:
        super().__init__()
        self.product = ProductModule(codec)
        self.lists: nn.Parameter | None = None
        if centroids is not None:
            given = as_dense(centroids, dim=documents.shape[1], name="centroids")
            self.lists = nn.Parameter(torch.from_numpy(given.copy()))
            self._list_of = torch.from_numpy(self._nearest(documents))

    def coarse(self, rows: Tensor) -> Tensor:
        """Return the centroids of the lists that documents are in; zeros without lists."""
        if self.lists is None:
            return torch.zeros((len(rows), len(self.product.mean)))
        return nn.functional.embedding(self._list_of[rows], self.lists, sparse=True)

    def centroids(self) -> NDArray[np.float32] | None:
        """Return those of the lists."""
        return None if self.lists is None else self.lists.detach().numpy().copy()

    def entropy(self, documents: NDArray[np.float32]) -> float:
        """Return that of the sizes of lists, in bits, were documents to go to their nearest centroid now."""
        if self.lists is None:
            return 0.0
        shares = np.bincount(self._nearest(documents)) / len(documents)
        return float(-(shares * np.log2(np.maximum(shares, 1e-12))).sum())

    def _nearest(self, documents: NDArray[np.float32]) -> NDArray[np.int64]:
        from isometry.kernels.kmeans import assign

        centroids = self.centroids()
        assert centroids is not None
        return assign(documents, centroids, np.array([0, documents.shape[1]]))[:, 0].astype(np.int64)


def _best(x: NDArray[np.float32], queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the k rows with the largest inner products, best first: (nq, k)."""
    out = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), _QUERIES):
        scores = queries[start : start + _QUERIES] @ x.T
        out[start : start + _QUERIES] = best_of(scores, k)[0]
    return out
