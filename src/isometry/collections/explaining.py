"""Why a document was found: shared terms, and tokens that answer those of the query, with what each adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from isometry.collections.space import Space
    from isometry.vectors import MultiVectors

__all__ = ["TermMatch", "TokenMatch", "matching_terms", "matching_tokens", "matching_words"]


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


@dataclass(frozen=True)
class TokenMatch:
    """A token of the query, and the token of the document that answers it best.

    Attributes
    ----------
    query, document : str
        The tokens; ``[7]`` where only the place is known.
    query_position, document_position : int
        Their places among the vectors of query and document, from 0.
    similarity : float
        What the pair adds to the score of the list.
    """

    query: str
    document: str
    query_position: int
    document_position: int
    similarity: float


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


def matching_tokens(
    query: NDArray[np.float32],
    documents: MultiVectors,
    metric: str,
    query_names: Sequence[str] | None,
    document_names: Sequence[Sequence[str]] | None,
) -> list[list[TokenMatch]]:
    """Return which token of each document answers each token of the query, in the order of the query.

    Names that do not fit the vectors in number (of pooled tokens, for one) are left out.
    """
    asked, found = _scaled(query, metric), []
    for row, tokens in enumerate(documents):
        matches: list[TokenMatch] = []
        if len(tokens):
            similar = asked @ _scaled(tokens, metric).T
            best = similar.argmax(axis=1).tolist()
            here = _named(document_names[row] if document_names is not None else None, len(tokens))
            near = similar.max(axis=1).tolist()
            there = _named(query_names, len(query))
            matches = [
                TokenMatch(there[i], here[j], i, j, score) for i, (j, score) in enumerate(zip(best, near, strict=True))
            ]
        found.append(matches)
    return found


def _scaled(tokens: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    if metric != "cosine":
        return tokens
    norms = np.linalg.norm(tokens, axis=1, keepdims=True)
    return np.divide(tokens, norms, out=np.zeros_like(tokens), where=norms > 0)


def _named(names: Sequence[str] | None, count: int) -> Sequence[str]:
    return names if names is not None and len(names) == count else [f"[{place}]" for place in range(count)]
