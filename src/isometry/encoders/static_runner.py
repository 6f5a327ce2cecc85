"""Static embeddings: a text's vector is the mean of its tokens' rows in a table. No network, no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from isometry.encoders.tokens import Tokens

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
        Tokens of a text that are averaged; the rest is cut off.
    """

    kind: ClassVar[Kind] = "dense"
    engine = "numpy float32"
    document_prompt = ""
    batch_tokens = 1 << 16

    def __init__(self, table: NDArray[np.floating], tokenizer: Path, max_tokens: int) -> None:
        self.table = np.ascontiguousarray(table, np.float32)
        self.dim = self.table.shape[1]
        self.max_tokens = max_tokens
        self.tokens = Tokens(tokenizer.read_text(encoding="utf-8"), max_tokens, special=False)

    def prepare(self, texts: list[str], role: Role) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Return token ids and their number."""
        ids = self.tokens.ids(texts)
        return ids, np.fromiter(map(len, ids), np.int64, len(ids))

    def run(self, items: list[list[int]], role: Role) -> NDArray[np.float32]:
        """Return unit vectors; a text without tokens becomes zeros."""
        out = np.zeros((len(items), self.dim), np.float32)
        for row, ids in enumerate(items):
            if ids:
                np.mean(self.table[ids], axis=0, out=out[row])
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        return np.divide(out, norms, out=out, where=norms > 0)
