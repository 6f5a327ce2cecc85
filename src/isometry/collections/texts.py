"""From a document to what is encoded: its joined text, cut into passages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from isometry.encoders import Encoder, Progress
    from isometry.vectors import MultiVectors

__all__ = ["encode_passages", "join_texts"]


def join_texts(rows: pa.Table, fields: Sequence[str]) -> list[str]:
    """Return each row's text: the fields that are there and not empty, in order, joined by one space."""
    columns = [rows[name].to_pylist() for name in fields if name in rows.column_names]
    if not columns:
        return [""] * len(rows)
    return [" ".join(str(part) for part in parts if part not in (None, "")) for parts in zip(*columns, strict=True)]


def encode_passages(
    encoder: Encoder, texts: list[str], split: bool, progress: Progress | None = None
) -> tuple[list[list[tuple[int, int]]], MultiVectors]:
    """Encode every passage of every text.

    Parameters
    ----------
    encoder : Encoder
        Of kind ``"dense"``.
    texts : list of str
        An empty text has no passage and so no vector: it can be found by words and attributes only.
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
    from isometry.encoders import split_passages
    from isometry.vectors import MultiVectors

    if split:
        spans = [split_passages(encoder, text) if text else [] for text in texts]
    else:
        spans = [[(0, len(text))] if text else [] for text in texts]
    passages = [text[start:end] for text, cuts in zip(texts, spans, strict=True) for start, end in cuts]
    offsets: NDArray[np.int64] = np.cumsum([0, *(len(cuts) for cuts in spans)], dtype=np.int64)
    vectors: Any = encoder.encode_document(passages, progress=progress)
    return spans, MultiVectors(vectors, offsets)
