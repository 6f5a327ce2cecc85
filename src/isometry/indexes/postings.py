"""Which rows hold a term, and with what weight."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Postings"]


class Postings(NamedTuple):
    """Entries (term, row, weight) grouped by term, rows ascending within a term.

    Attributes
    ----------
    terms : (t,) int64
        Distinct terms, ascending.
    offsets : (t + 1,) int64
        The entries of ``terms[i]`` are at ``offsets[i]:offsets[i + 1]``.
    rows : (p,) int32
    weights : (p,) float
    """

    terms: NDArray[np.int64]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    weights: NDArray[np.floating]

    @classmethod
    def of(cls, terms: NDArray[np.int64], rows: NDArray[np.int32], weights: NDArray[np.floating]) -> Postings:
        """Group entries, which must be in ascending order of rows: O(p log p)."""
        order = np.argsort(terms, kind="stable")
        distinct, starts = np.unique(terms[order], return_index=True)
        return cls(distinct, np.append(starts, len(terms)), rows[order], weights[order])

    def followed_by(self, other: Postings) -> Postings:
        """Return the entries of both; all rows of `other` come after those of `self`."""
        entries = [(np.repeat(p.terms, np.diff(p.offsets)), p.rows, p.weights) for p in (self, other)]
        return Postings.of(*(np.concatenate(column) for column in zip(*entries, strict=True)))

    def find(self, term: int) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
        """Return rows and weights of one term; empty when it does not occur."""
        place = int(np.searchsorted(self.terms, term))
        if place == len(self.terms) or self.terms[place] != term:
            return self.rows[:0], self.weights[:0]
        entries = slice(self.offsets[place], self.offsets[place + 1])
        return self.rows[entries], self.weights[entries]
