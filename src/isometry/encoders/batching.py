"""Which texts go through the model together: equal texts once, similar lengths side by side, bounded work per batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MAX_ROWS = 128


def distinct(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the different texts in order of first appearance and, for each text, its position among them: O(n)."""
    position: dict[str, int] = {}
    inverse = np.fromiter((position.setdefault(text, len(position)) for text in texts), np.int64, len(texts))
    return list(position), inverse


def plan(lengths: NDArray[np.int64], budget: int, max_rows: int = MAX_ROWS) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each batch, longest first, so that rows x longest length stays within `budget`.

    Sorting puts equal lengths together (little padding); a budget of tokens instead of rows keeps the working set of a
    batch in cache whatever the length. Longest first, so that memory runs out at the start or never.

    Parameters
    ----------
    lengths : (n,) int64
        Tokens of each text.
    budget : int
        Most tokens of one batch, padding included; a longer text is a batch of its own.
    max_rows : int
        Most texts of one batch.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = min(max_rows, max(1, budget // max(1, int(lengths[order[start]]))))
        yield order[start : start + rows]
        start += rows
