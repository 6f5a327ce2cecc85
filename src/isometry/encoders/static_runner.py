"""Static embeddings: each token has a row in a table, and a text their mean, or all of them. No network, no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isometry.encoders.tokens import Tokens
from isometry.vectors import MultiVectors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from isometry.encoders.base import Kind, Role


class StaticRunner:
    """Averages rows of a token table, then normalises: thousands of texts per second and core.

    Parameters
    ----------
    table : (vocabulary, d) array of float
        One row per token.
    tokenizer : Path
        Its ``tokenizer.json``.
    max_tokens : int
        Tokens of a text that count; the rest is cut off.
    kind : {"dense", "multi"}
        Whether a text is the mean of its tokens, or has a vector for each.
    """

    engine = "numpy float32"
    document_prompt = ""
    batch_tokens = 1 << 16

    def __init__(self, table: NDArray[np.floating], tokenizer: Path, max_tokens: int, kind: Kind = "dense") -> None:
        self.kind = kind
        self.table = np.ascontiguousarray(table, np.float32)
        self.dim = self.table.shape[1]
        self.max_tokens = max_tokens
        self.tokens = Tokens(tokenizer.read_text(encoding="utf-8"), max_tokens, special=False)

    def prepare(self, texts: list[str], role: Role) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Return token ids and their number."""
        ids = self.tokens.ids(texts)
        return ids, np.fromiter(map(len, ids), np.int64, len(ids))

    def run(self, items: list[list[int]], role: Role) -> NDArray[np.float32] | MultiVectors:
        """Return unit vectors; a text without tokens becomes zeros, or has no vector."""
        if self.kind == "multi":
            rows = np.array([token for ids in items for token in ids], np.int64)
            return MultiVectors(_unit(self.table[rows]), np.cumsum([0, *map(len, items)]))
        out = np.zeros((len(items), self.dim), np.float32)
        for row, ids in enumerate(items):
            if ids:
                np.mean(self.table[ids], axis=0, out=out[row])
        return _unit(out)

    def token_strings(self, texts: list[str], role: Role) -> list[list[str]]:
        """Return the tokens that have a vector each."""
        return self.tokens.strings(texts)


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norms, out=x, where=norms > 0)
