"""Token pooling: fewer vectors for a document, each the mean of tokens that are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isometry.errors import MissingExtra
from isometry.vectors import MultiVectors

if TYPE_CHECKING:
    from isometry.vectors import Vectors


def pooled(x: Vectors, factor: float, protected: int) -> MultiVectors:
    """Return about one vector for `factor` tokens of each text, by sentence-transformers' `HierarchicalTokenPooling`.

    Parameters
    ----------
    x : MultiVectors
    factor : float
        Of t tokens, ``t // factor`` stay, one at least.
    protected : int
        Tokens at the beginning that are left alone.

    Raises
    ------
    MissingExtra
        sentence-transformers is not installed.
    """
    try:
        import torch
        from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling
    except ModuleNotFoundError:
        raise MissingExtra("encode", "pool_factor", "sentence-transformers") from None
    sets: Any = x
    pooling = HierarchicalTokenPooling(factor, num_protected_tokens=protected)
    fewer = pooling.pool([torch.from_numpy(tokens.copy()) for tokens in sets], task="document")
    return MultiVectors.from_list([tokens.numpy() for tokens in fewer], dim=sets.dim)
