"""From a query to hits: which mode, which vectors, and how several ranked lists become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isometry.collections.explaining import TermMatch, matching_terms, matching_words
from isometry.collections.hits import Hits
from isometry.collections.queries import Queries
from isometry.collections.texts import join_texts
from isometry.collections.view import Found, View
from isometry.errors import DimensionMismatch, InvalidInput, check_choice
from isometry.rerank import reciprocal_rank_fusion

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from isometry.collections.space import Space
    from isometry.indexes.filtering import FilterPlan

__all__ = ["MODES", "Spaces", "answer", "choose_modes"]

MODES = ("dense", "sparse", "lexical", "hybrid")
FUSION_DEPTH = 100
"""Hits of each list that hybrid search fuses, at least."""


class Spaces(NamedTuple):
    """What turns texts into vectors of each kind."""

    dense: Space
    sparse: Space


def choose_modes(mode: str | None, queries: Queries, spaces: Spaces, has_text: bool) -> tuple[str, list[str]]:
    """Check the mode that was asked for, or choose the most complete one that the collection allows.

    Returns
    -------
    mode : str
    lists : list of str
        The ranked lists that it takes: several for ``"hybrid"``, itself for the others.
    """
    if mode is not None:
        check_choice("mode", mode, MODES)
    if queries.texts is None:
        own = "sparse" if queries.sparse is not None else "dense"
        if mode not in (None, own):
            kind = "sparse vector" if own == "sparse" else "vector"
            raise InvalidInput(f"mode is {mode!r} but the query is a {kind}; pass a text, or mode={own!r}")
        return own, [own]
    encoding = [name for name in ("dense", "sparse") if getattr(spaces, name).fingerprint is not None]
    lists = [*encoding, *(["lexical"] if has_text or not encoding else [])]
    if mode is None:
        mode = "hybrid" if len(lists) > 1 else lists[0]
    if mode != "lexical" and not encoding:
        raise InvalidInput(
            f"mode is {mode!r} but the collection has no encoder to turn a text into a vector; "
            "pass a vector, or mode='lexical'"
        )
    if mode in ("dense", "sparse") and mode not in encoding:
        raise InvalidInput(
            f"mode is {mode!r} but the collection has no {mode} encoder; its modes for texts are {', '.join(lists)}"
        )
    return mode, lists if mode == "hybrid" else [mode]


def answer(
    view: View,
    spaces: Spaces,
    queries: Queries,
    k: int,
    mode: str,
    lists: list[str],
    where: Any,
    effort: int | None = None,
    threads: int | None = None,
    explain: bool = False,
) -> list[Hits]:
    """Return one `Hits` per query; parameters as for `Collection.search`, already checked.

    `lists` is what `choose_modes` says that the mode takes.
    """
    allowed = view.allowed(where)
    depth = max(k, FUSION_DEPTH) if len(lists) > 1 else k
    found: list[Found] = []
    weights: csr_array | None = None
    vectors: NDArray[np.float32] | None = None
    for name in lists:
        if name == "lexical":
            found.append(view.search_lexical(queries.texts or [], depth, allowed))
        elif name == "sparse":
            weights = _weights(queries, spaces.sparse, view.sparse_dim)
            own = None if "dense" in lists else effort
            found.append(view.search_sparse(weights, depth, allowed, own, threads))
        else:
            vectors = _vectors(queries, spaces.dense, view.table.dim)
            found.append(view.search_dense(vectors, depth, allowed, effort, threads))
    fused = found[0] if len(found) == 1 else _fuse(found, k)
    asked = [
        _Asked(
            queries.texts[row] if queries.texts is not None and "lexical" in lists else None,
            weights[row : row + 1] if weights is not None else None,
            spaces.sparse,
        )
        for row in range(len(queries))
    ]
    plans = view.filter_plans(vectors, len(queries), depth, allowed, effort) if explain and where is not None else None
    return [
        _hits(view, fused, row, mode, asked[row], plans[row] if plans is not None else None)
        for row in range(len(queries))
    ]


class _Asked(NamedTuple):
    """What is needed of a query to explain its hits."""

    text: str | None
    weights: csr_array | None
    space: Space


def _vectors(queries: Queries, space: Space, dim: int | None) -> NDArray[np.float32]:
    if queries.vectors is None:
        vectors: Any = space.encoder.encode_query(queries.texts or [])  # type: ignore[union-attr]
        return vectors
    if dim is not None and queries.vectors.shape[1] != dim:
        raise DimensionMismatch(f"the query has {queries.vectors.shape[1]} dimensions; the collection has {dim}")
    return queries.vectors


def _weights(queries: Queries, space: Space, dim: int | None) -> csr_array:
    if queries.sparse is None:
        weights: Any = space.encoder.encode_query(queries.texts or [])  # type: ignore[union-attr]
        return weights
    if queries.sparse.shape[1] != dim:
        has = f"{dim} terms" if dim is not None else "no sparse vectors"
        raise DimensionMismatch(f"the query is a sparse vector of {queries.sparse.shape[1]}; the collection has {has}")
    return queries.sparse


def _fuse(found: list[Found], k: int) -> Found:
    documents, scores = reciprocal_rank_fusion([(each.documents, each.scores) for each in found], k=k)
    vectors = np.full_like(documents, -1)
    for row in range(len(documents)):
        best: dict[int, int] = {}
        for each in found:
            if (each.vectors[row] >= 0).any():
                best |= dict(zip(each.documents[row].tolist(), each.vectors[row].tolist(), strict=True))
        vectors[row] = [best.get(document, -1) for document in documents[row].tolist()]
    return Found(documents, scores, vectors)


def _hits(view: View, found: Found, row: int, mode: str, asked: _Asked, plan: FilterPlan | None) -> Hits:
    documents = found.documents[row]
    there = documents >= 0
    documents, vectors = documents[there], found.vectors[row][there]

    def rows() -> pa.Table:
        return view.rows(documents, view.table.columns)

    def passages() -> list[str | None]:
        spans = view.spans(documents, vectors)
        if not any(spans):
            return [None] * len(spans)
        texts = join_texts(view.rows(documents, view.text_fields), view.text_fields)
        return [text[cut[0] : cut[1]] if cut else None for text, cut in zip(texts, spans, strict=True)]

    def terms() -> list[list[TermMatch]]:
        matches: list[list[TermMatch]] = [[] for _ in documents]
        if asked.weights is not None:
            matches = matching_terms(asked.weights, view.weights(documents), asked.space)
        if asked.text is not None:
            words = matching_words(view.explain_words(asked.text, documents))
            matches = [first + more for first, more in zip(matches, words, strict=True)]
        return matches

    return Hits(view.ids(documents), found.scores[row][there], mode, rows, passages, terms, plan)
