"""Our losses for sentence-transformers: one line of a training script changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from isometry.errors import InvalidInput, check_range
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
    mini_batch_size : int, optional
        Texts that the model reads at a time. They are read again on the way back, so memory for the model is that of so
        few texts, while all of the batch are negatives: one and a half times the work, and the same gradient.

    References
    ----------
    As `isometry.learning.info_nce`; counting only the hardest is what BEBR does (Gan et al., KDD 2023). Small batches:
    Gao, Zhang, Han, Callan, Scaling deep contrastive learning batch size under memory limited setup, RepL4NLP 2021.
    """

    def __init__(
        self,
        model: Any,
        *,
        temperature: float = 0.05,
        hardest: int | None = None,
        symmetric: bool = False,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.hardest = hardest
        self.symmetric = symmetric
        self.mini_batch_size = None if mini_batch_size is None else check_range("mini_batch_size", mini_batch_size, 1)

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of a batch; `labels` are not looked at."""
        vectors = [self._encoded(features) for features in sentence_features]
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
        names = ("temperature", "hardest", "symmetric", "mini_batch_size")
        return {name: getattr(self, name) for name in names}

    def _encoded(self, features: dict[str, Tensor]) -> Tensor:
        def read(some: dict[str, Tensor]) -> Tensor:
            return self.model(some)["sentence_embedding"]

        if self.mini_batch_size is None:
            return read(features)
        if "attention_mask" not in features:
            raise InvalidInput(
                f"the model reads {', '.join(features)}, which can't be cut by texts; expected an attention_mask with "
                "a row for each: leave mini_batch_size out"
            )
        n = len(features["attention_mask"])
        parts = []
        for start in range(0, n, self.mini_batch_size):
            part = slice(start, start + self.mini_batch_size)
            some = {name: value[part] if _per_text(value, n) else value for name, value in features.items()}
            parts.append(checkpoint(read, some, use_reentrant=False))
        return torch.cat(parts)


def _per_text(value: Any, n: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == n


@torch.no_grad()
def _different(own: Tensor, others: Tensor) -> Tensor:
    """Return (n, m): where two vectors are not the same."""
    return torch.cdist(own.float(), others.float(), compute_mode="donot_use_mm_for_euclid_dist") > 0
