"""Why a document was found: the terms that it shares with the query, and what each adds to the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scipy.sparse import csr_array

    from isometry.collections.space import Space

__all__ = ["TermMatch", "matching_terms", "matching_words"]


@dataclass(frozen=True)
class TermMatch:
    """A term that query and document share.

    Attributes
    ----------
    term : str
        A term of the sparse encoder's vocabulary (``[7]`` where only its column is known), or the stem of a word.
    query : float
        Its weight in the query; for words how often the query has it.
    document : float
        Its weight in the document; for words what one of them adds to the BM25 score.
    mode : {"sparse", "lexical"}
        The list that it counts in.
    """

    term: str
    query: float
    document: float
    mode: str

    @property
    def product(self) -> float:
        """What the term adds to the score of its list."""
        return self.query * self.document


def matching_terms(query: csr_array, documents: csr_array, space: Space) -> list[list[TermMatch]]:
    """Return the terms that each document shares with the query (one row), heaviest product first."""
    encoder = space.encoder
    names: Sequence[str] | None = getattr(encoder, "vocabulary", None) if encoder is not None else None
    asked = dict(zip(query.indices.tolist(), query.data.tolist(), strict=True))
    found = []
    for start, stop in zip(documents.indptr[:-1], documents.indptr[1:], strict=True):
        columns = documents.indices[start:stop]
        shared = np.flatnonzero(np.isin(columns, query.indices))
        pairs = zip(columns[shared].tolist(), documents.data[start:stop][shared].tolist(), strict=True)
        found.append(
            _ordered(
                TermMatch(names[column] if names is not None else f"[{column}]", asked[column], weight, "sparse")
                for column, weight in pairs
            )
        )
    return found


def matching_words(found: list[list[tuple[str, int, float]]]) -> list[list[TermMatch]]:
    """Return what `BM25.explain` said, heaviest product first."""
    return [
        _ordered(TermMatch(word, float(count), weight, "lexical") for word, count, weight in words) for words in found
    ]


def _ordered(matches: Iterable[TermMatch]) -> list[TermMatch]:
    return sorted(matches, key=lambda match: (-match.product, match.term))
