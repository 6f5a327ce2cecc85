"""Cutting a long text into passages that an encoder reads to the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from isometry.encoders.text_encoder import check_texts
from isometry.encoders.tokens import PseudoTokens

if TYPE_CHECKING:
    from isometry.encoders.base import Encoder

# Best border first: paragraph, line, sentence, clause, word; with the full-width marks of Chinese and Japanese.
BORDERS = tuple(
    re.compile(pattern)
    for pattern in (r"\n\s*\n\s*", r"\n\s*", r"[.!?…][\"')\]”’]*\s+|[。！？]\s*", r"[,;:]\s+|[，；：、]", r"\s+")
)


def split_passages(encoder: Encoder, text: str) -> list[tuple[int, int]]:
    """Cut `text` into spans that fit into the encoder, at the best borders: O(len(text)).

    Each span is as long as fits, but ends at the last paragraph, line, sentence, clause or word border (in this order)
    in its second half. A word is only cut where it alone is too long.

    Parameters
    ----------
    encoder : Encoder
        Its tokenizer, `max_tokens` and document prompt set the size; for an encoder of your own, which shows no
        tokenizer, words count in pieces of four letters.
    text : str

    Returns
    -------
    list of (int, int)
        Character spans ``text[start:stop]``, one after another without gap or overlap, from 0 to ``len(text)``; a text
        that fits, and the empty text, are one span.

    Raises
    ------
    InvalidInput
        `text` is not a string, or holds a lone surrogate.

    Examples
    --------
    >>> class Tiny:
    ...     max_tokens = 6
    >>> text = "One two. Three four. Five six."
    >>> [text[start:stop] for start, stop in split_passages(Tiny(), text)]
    ['One two. ', 'Three four. ', 'Five six.']
    """
    (text,) = check_texts([text])
    tokens = getattr(encoder, "tokens", None) or PseudoTokens(encoder.max_tokens)
    room = max(1, getattr(encoder, "passage_tokens", encoder.max_tokens - tokens.special_tokens))
    begins = tokens.offsets(text)[:, 0]
    spans, start, first = [], 0, 0
    while len(begins) - first > room:
        stop = _border(text, start, max(start + 1, int(begins[first + room])))
        # A passage alone may need a token more than the same words inside the text.
        while stop > start + 1 and (excess := len(tokens.offsets(text[start:stop])) - room) > 0:
            stop = max(start + 1, min(stop - 1, int(begins[np.searchsorted(begins, stop) - excess])))
        spans.append((start, stop))
        start, first = stop, int(np.searchsorted(begins, stop))
    return [*spans, (start, len(text))] if start < len(text) or not spans else spans


def _border(text: str, start: int, stop: int) -> int:
    """Return the end of the best border that ends in the second half of ``(start, stop]``, else `stop`."""
    middle = (start + stop) // 2
    for border in BORDERS:
        ends = [match.end() for match in border.finditer(text, middle, stop)]
        if ends and ends[-1] > start:
            return ends[-1]
    return stop
