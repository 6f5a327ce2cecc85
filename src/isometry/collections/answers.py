"""From a query to hits: which mode, which vectors, and how several ranked lists become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.collections.explaining import (
    TermMatch,
    TokenMatch,
    matching_terms,
    matching_tokens,
    matching_words,
)
from isometry.collections.hits import Hits
from isometry.collections.kinds import DENSE, KINDS, Kind
from isometry.collections.queries import Queries
from isometry.collections.segment import LEXICAL
from isometry.collections.texts import join_texts, token_strings
from isometry.collections.view import Found, View
from isometry.errors import DimensionMismatch, InvalidInput, check_choice
from isometry.rerank import reciprocal_rank_fusion

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from isometry.collections.space import Space
    from isometry.indexes.filtering import FilterPlan

__all__ = ["MODES", "answer", "choose_modes"]

MODES = (*KINDS, LEXICAL, "hybrid")
FUSION_DEPTH = 100
"""Hits of each list that hybrid search fuses, at least."""


def choose_modes(
    mode: str | None, queries: Queries, spaces: Mapping[str, Space], has_text: bool
) -> tuple[str, list[str]]:
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
        own = queries.kind or ""
        if mode not in (None, own):
            raise InvalidInput(f"mode is {mode!r} but the query is {KINDS[own].one}; pass a text, or mode={own!r}")
        return own, [own]
    encoding = [name for name, space in spaces.items() if space.takes_texts]
    lists = [*encoding, *([LEXICAL] if has_text or not encoding else [])]
    if mode is None:
        mode = "hybrid" if len(lists) > 1 else lists[0]
    if mode != LEXICAL and not encoding:
        raise InvalidInput(
            f"mode is {mode!r} but the collection has no encoder to turn a text into a vector; "
            "pass a vector, or mode='lexical'"
        )
    if mode in KINDS and mode not in encoding:
        raise InvalidInput(
            f"mode is {mode!r} but the collection has no {mode} encoder; its modes for texts are {', '.join(lists)}"
        )
    return mode, lists if mode == "hybrid" else [mode]


def answer(
    view: View,
    spaces: Mapping[str, Space],
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
    asked: dict[str, Any] = {
        name: queries.texts if name == LEXICAL else _vectors(queries, KINDS[name], view.kinds.get(name), spaces[name])
        for name in lists
    }
    # In hybrid search effort is told to one index only: what it means depends on the index.
    found = [
        view.search(name, vectors, depth, allowed, effort if name == lists[0] else None, threads)
        for name, vectors in asked.items()
    ]
    fused = found[0] if len(found) == 1 else _fuse(found, k)
    texts: list[Any] = queries.texts or [None] * len(queries)
    plans: list[Any] = [None] * len(queries)
    if explain and where is not None:
        plans = view.filter_plans(asked.get(DENSE), len(queries), depth, allowed, effort)
    return [
        _hits(view, spaces, fused, row, mode, asked, text, plan)
        for row, (text, plan) in enumerate(zip(texts, plans, strict=True))
    ]


def _vectors(queries: Queries, kind: type[Kind[Any]], own: Kind[Any] | None, space: Space) -> Any:
    """Return the queries as vectors of a kind, `own` if the collection has it."""
    if queries.vectors is None:
        return space.encode_query(queries.texts or [])
    seen = kind.dim_of(queries.vectors)
    if own is None or own.dim not in (None, seen):
        has = f"{own.dim} {kind.units}" if own is not None else f"no {kind.words}"
        raise DimensionMismatch(f"the query is {kind.one} of {seen}; the collection has {has}")
    return queries.vectors


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


def _hits(
    view: View,
    spaces: Mapping[str, Space],
    found: Found,
    row: int,
    mode: str,
    asked: Mapping[str, Any],
    query: str | None,
    plan: FilterPlan | None,
) -> Hits:
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
        if "sparse" in asked and len(documents):
            weights = view.stored(view.kinds["sparse"], documents)
            matches = matching_terms(asked["sparse"][row : row + 1], weights, spaces["sparse"])
        if LEXICAL in asked:
            words = matching_words(view.explain_words(asked[LEXICAL][row], documents))
            matches = [first + more for first, more in zip(matches, words, strict=True)]
        return matches

    def tokens() -> list[list[TokenMatch]]:
        if "multi" not in asked or not len(documents):
            return [[] for _ in documents]
        kind, encoder = view.kinds["multi"], spaces["multi"].encoder if query is not None else None
        names: Any = (None, None)
        if encoder is not None and hasattr(encoder, "token_strings"):
            spoken = encoder.token_strings([query], "query")
            texts = view.rows(documents, view.text_fields)
            names = spoken and spoken[0], token_strings(encoder, texts, view.text_fields, view.passages)
        return matching_tokens(asked["multi"][row], view.stored(kind, documents), kind.scores, *names)

    mapped = spaces[DENSE].mapped if DENSE in asked and query is not None else None
    return Hits(view.ids(documents), found.scores[row][there], mode, rows, passages, terms, tokens, plan, mapped)
