"""From a query to hits: which mode, which vectors, and how two ranked lists become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.collections.hits import Hits
from isometry.collections.queries import Queries
from isometry.collections.texts import join_texts
from isometry.collections.view import Found, View
from isometry.errors import DimensionMismatch, InvalidInput, check_choice
from isometry.rerank import reciprocal_rank_fusion

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from isometry.collections.space import Space

__all__ = ["MODES", "answer", "choose_mode"]

MODES = ("dense", "lexical", "hybrid")
FUSION_DEPTH = 100
"""Hits of each list that hybrid search fuses, at least."""


def choose_mode(mode: str | None, queries: Queries, has_encoder: bool, has_text: bool) -> str:
    """Check the mode that was asked for, or choose the most complete one that the collection allows."""
    if mode is None:
        if queries.texts is None:
            return "dense"
        if not has_encoder:
            return "lexical"
        return "hybrid" if has_text else "dense"
    check_choice("mode", mode, MODES)
    if mode != "dense" and queries.texts is None:
        raise InvalidInput(f"mode is {mode!r} but the query is a vector; pass a text, or mode='dense'")
    if mode != "lexical" and queries.texts is not None and not has_encoder:
        raise InvalidInput(
            f"mode is {mode!r} but the collection has no encoder to turn a text into a vector; "
            "pass a vector, or mode='lexical'"
        )
    return mode


def answer(
    view: View,
    space: Space,
    queries: Queries,
    k: int,
    mode: str,
    where: Any,
    effort: int | None = None,
    threads: int | None = None,
) -> list[Hits]:
    """Return one `Hits` per query; parameters as for `Collection.search`, already checked."""
    allowed = view.allowed(where)
    depth = max(k, FUSION_DEPTH) if mode == "hybrid" else k
    if mode == "lexical":
        found = view.search_lexical(queries.texts or [], k, allowed)
    else:
        found = view.search_dense(_vectors(queries, space, view.table.dim), depth, allowed, effort, threads)
        if mode == "hybrid":
            found = _fuse(found, view.search_lexical(queries.texts or [], depth, allowed), k)
    return [_hits(view, found, row, mode) for row in range(len(queries))]


def _vectors(queries: Queries, space: Space, dim: int | None) -> NDArray[np.float32]:
    if queries.vectors is None:
        vectors: Any = space.encoder.encode_query(queries.texts or [])  # type: ignore[union-attr]
        return vectors
    if dim is not None and queries.vectors.shape[1] != dim:
        raise DimensionMismatch(f"the query has {queries.vectors.shape[1]} dimensions; the collection has {dim}")
    return queries.vectors


def _fuse(dense: Found, lexical: Found, k: int) -> Found:
    lists = [(dense.documents, dense.scores), (lexical.documents, lexical.scores)]
    documents, scores = reciprocal_rank_fusion(lists, k=k)
    vectors = np.full_like(documents, -1)
    for row in range(len(documents)):
        best = dict(zip(dense.documents[row].tolist(), dense.vectors[row].tolist(), strict=True))
        vectors[row] = [best.get(document, -1) for document in documents[row].tolist()]
    return Found(documents, scores, vectors)


def _hits(view: View, found: Found, row: int, mode: str) -> Hits:
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

    return Hits(view.ids(documents), found.scores[row][there], mode, rows, passages)
