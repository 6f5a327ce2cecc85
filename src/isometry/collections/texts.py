"""From a document to what is encoded: its joined text, cut into passages."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from isometry.encoders import Encoder, Progress
    from isometry.vectors import MultiVectors

__all__ = ["encode_passages", "encode_tokens", "encode_whole", "join_texts", "token_strings"]


def join_texts(rows: pa.Table, fields: Sequence[str]) -> list[str]:
    """Return each row's text: the fields that are there and not empty, in order, joined by one space."""
    columns = [rows[name].to_pylist() for name in fields if name in rows.column_names]
    if not columns:
        return [""] * len(rows)
    return [" ".join(str(part) for part in parts if part not in (None, "")) for parts in zip(*columns, strict=True)]


def headings(rows: pa.Table, fields: Sequence[str]) -> list[str]:
    """Return what heads each row's text: the first field, where others follow it; else nothing."""
    columns = [rows[name].to_pylist() for name in fields if name in rows.column_names]
    if len(columns) < 2:
        return [""] * len(rows)
    return [str(first) if first and any(others) else "" for first, *others in zip(*columns, strict=True)]


def encode_passages(
    encoder: Encoder, rows: pa.Table, fields: Sequence[str], split: bool, progress: Progress | None = None
) -> tuple[list[list[tuple[int, int]]], MultiVectors]:
    """Encode every passage of every document.

    Parameters
    ----------
    encoder : Encoder
        Of kind ``"dense"``.
    rows : pa.Table
        The documents. One without text has no passage and so no vector: words and attributes may still find it.
    fields : sequence of str
        The text fields; the first heads every passage.
    split : bool
        Cut texts longer than the encoder reads into passages; otherwise their end is not encoded.
    progress : callable, optional
        Passed on to the encoder.

    Returns
    -------
    spans : list of list of (start, end)
        Where the passages of each text are, in characters.
    vectors : MultiVectors
        One vector per passage.
    """
    from isometry.vectors import MultiVectors

    spans, offsets, bodies = _passages(encoder, rows, fields, split)
    vectors: Any = encoder.encode_document(bodies, progress=progress)
    return spans, MultiVectors(vectors, offsets)


def encode_whole(
    encoder: Encoder, rows: pa.Table, fields: Sequence[str], split: bool, progress: Progress | None = None
) -> csr_array:
    """Encode every document as one sparse vector.

    Parameters are those of `encode_passages`, with an encoder of kind ``"sparse"``. A term weighs as much as in the
    passage that says it most; a document without text has no term.
    """
    from isometry.encoders.terms import joined

    _, offsets, bodies = _passages(encoder, rows, fields, split)
    weights: Any = encoder.encode_document(bodies, progress=progress)
    return joined(weights, offsets)


def encode_tokens(
    encoder: Encoder, rows: pa.Table, fields: Sequence[str], split: bool, progress: Progress | None = None
) -> MultiVectors:
    """Encode every document as the vectors of all of its tokens.

    Parameters are those of `encode_passages`, with an encoder of kind ``"multi"``. The tokens of a document's passages
    follow one another; a document without text has none.
    """
    from isometry.vectors import MultiVectors

    _, offsets, bodies = _passages(encoder, rows, fields, split)
    each: Any = encoder.encode_document(bodies, progress=progress)
    return MultiVectors(each.tokens, each.offsets[offsets])


def token_strings(encoder: Encoder, rows: pa.Table, fields: Sequence[str], split: bool) -> list[list[str]] | None:
    """Return what each vector that `encode_tokens` makes stands for; None where the encoder does not tell."""
    tell = getattr(encoder, "token_strings", None)
    _, offsets, bodies = _passages(encoder, rows, fields, split)
    strings = tell(bodies, "document") if tell is not None else None
    if strings is None:
        return None
    return [[token for part in strings[a:b] for token in part] for a, b in pairwise(offsets.tolist())]


def _passages(
    encoder: Encoder, rows: pa.Table, fields: Sequence[str], split: bool
) -> tuple[list[list[tuple[int, int]]], NDArray[np.int64], list[str]]:
    """Return the spans of each document's passages, where they begin among all passages, and what to encode."""
    from isometry.encoders import headed_passages

    spans: list[list[tuple[int, int]]] = []
    every: list[str] = []
    for text, heading in zip(join_texts(rows, fields), headings(rows, fields), strict=True):
        cuts, bodies = [(0, len(text))], [text]
        if not text:
            cuts, bodies = [], []
        elif split:
            cuts, bodies = headed_passages(encoder, text, heading)
        spans.append(cuts)
        every += bodies
    return spans, np.cumsum([0, *map(len, spans)], dtype=np.int64), every
