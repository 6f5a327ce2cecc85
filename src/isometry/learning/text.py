"""Our losses for sentence-transformers: one line of a training script changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from isometry.errors import InvalidInput
from isometry.learning.losses import info_nce

__all__ = ["InfoNCELoss"]


class InfoNCELoss(nn.Module):
    """`isometry.learning.info_nce` as a loss of sentence-transformers' trainer.

    It takes the place of ``MultipleNegativesRankingLoss``: columns of a data set are anchors, positives, and as many
    negatives as you like. Every other text of the batch is a negative too, unless its positive is the very same vector.

    Parameters
    ----------
    model : SentenceTransformer
    temperature : float, default 0.05
    hardest : int, optional
        Only the so many hardest negatives of the batch count.
    symmetric : bool, default False
        Also find the anchor of each positive, and take the mean of both.

    References
    ----------
    As `isometry.learning.info_nce`; counting only the hardest is what BEBR does (Gan et al., KDD 2023).
    """

    def __init__(
        self, model: Any, *, temperature: float = 0.05, hardest: int | None = None, symmetric: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.hardest = hardest
        self.symmetric = symmetric

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of a batch; `labels` are not looked at."""
        vectors = [self.model(features)["sentence_embedding"] for features in sentence_features]
        if len(vectors) < 2:
            raise InvalidInput("the data set has one column of texts; expected anchors and positives at least")
        anchors, candidates = vectors[0], torch.cat(vectors[1:])
        options: dict[str, Any] = {"temperature": self.temperature, "hardest": self.hardest}
        loss = info_nce(anchors, candidates, mask=_different(vectors[1], candidates), **options)
        if self.symmetric:
            back = info_nce(vectors[1], anchors, mask=_different(anchors, anchors), **options)
            loss = (loss + back) / 2
        return loss

    def get_config_dict(self) -> dict[str, Any]:
        """Return the parameters, as sentence-transformers writes them into a model card."""
        return {"temperature": self.temperature, "hardest": self.hardest, "symmetric": self.symmetric}


@torch.no_grad()
def _different(own: Tensor, others: Tensor) -> Tensor:
    """Return (n, m): where two vectors are not the same."""
    return torch.cdist(own.float(), others.float(), compute_mode="donot_use_mm_for_euclid_dist") > 0
