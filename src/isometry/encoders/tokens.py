"""Counting and cutting tokens with the Rust `tokenizers`, without importing transformers."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

CHARACTERS_PER_TOKEN = 16
BLOCK = 1 << 16
PSEUDO_TOKEN = re.compile(r"\w{1,4}|[^\w\s]")


class Tokens:
    """A tokenizer that cuts at `max_tokens`, in bounded time and memory whatever the length of the text.

    Parameters
    ----------
    description : str
        The JSON of a ``tokenizer.json``; its own truncation and padding are ignored.
    max_tokens : int
        Longest result, special tokens included.
    special : bool
        Whether to add the tokenizer's special tokens (``[CLS]``, ``[SEP]``).
    """

    def __init__(self, description: str, max_tokens: int, *, special: bool = True) -> None:
        from tokenizers import Tokenizer

        self._description = description
        self._cut = Tokenizer.from_str(description)
        self._cut.no_padding()
        self._cut.enable_truncation(max_tokens)
        self._special = special
        self.max_tokens = max_tokens
        self.special_tokens = self._cut.num_special_tokens_to_add(is_pair=False) if special else 0

    @cached_property
    def _uncut(self) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self._description)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, at most `max_tokens` of them."""
        heads = [self.head(text) for text in texts]
        return [encoding.ids for encoding in self._cut.encode_batch(heads, add_special_tokens=self._special)]

    def strings(self, texts: list[str]) -> list[list[str]]:
        """Return the tokens of each text as the vocabulary spells them, at most `max_tokens`."""
        heads = [self.head(text) for text in texts]
        return [encoding.tokens for encoding in self._cut.encode_batch(heads, add_special_tokens=self._special)]

    def head(self, text: str) -> str:
        """Return a beginning of `text` that has the same first `max_tokens` tokens.

        A tokenizer reads all of a text before it truncates, which for 10 MB takes seconds and gigabytes. So a long
        text is cut at a space, further away each time, until enough tokens lie before the cut.
        """
        size = CHARACTERS_PER_TOKEN * self.max_tokens
        while size < len(text):
            head = text[: last_space(text, 0, size)]
            if len(self._cut.encode(head, add_special_tokens=self._special)) >= self.max_tokens:
                return head
            size *= 4
        return text

    def terms(self, count: int) -> list[str]:
        """Return the token of each id below `count`; an id without one is named by its number."""
        found = (self._cut.id_to_token(number) for number in range(count))
        return [f"[{number}]" if term is None else term for number, term in enumerate(found)]

    def offsets(self, text: str) -> NDArray[np.int64]:
        """Return where each token of the whole text begins and ends, shape (t, 2), without special tokens: O(len).

        Long texts are read block by block, cut at spaces, so memory stays at 16 bytes per token.
        """
        blocks, start = [np.zeros((0, 2), np.int64)], 0
        while start < len(text):
            stop = last_space(text, start, start + BLOCK)
            encoding = self._uncut.encode(text[start:stop], add_special_tokens=False)
            blocks.append(np.array(encoding.offsets, np.int64).reshape(-1, 2) + start)
            start = stop
        return np.concatenate(blocks)


class PseudoTokens:
    """Stands in where no tokenizer is known: words in pieces of four letters, more pieces than usual vocabularies need.

    Parameters
    ----------
    max_tokens : int
        As for `Tokens`.
    """

    special_tokens = 2

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens

    def head(self, text: str) -> str:
        """Return a beginning of `text` that is certainly longer than `max_tokens`."""
        return text[: 4 * CHARACTERS_PER_TOKEN * self.max_tokens]

    def offsets(self, text: str) -> NDArray[np.int64]:
        """Return where each piece begins and ends, shape (t, 2): O(len)."""
        spans = [match.span() for match in PSEUDO_TOKEN.finditer(text)]
        return np.array(spans, np.int64).reshape(-1, 2)


def last_space(text: str, start: int, stop: int) -> int:
    """Return the last position in ``(start, stop]`` before a space; `stop` itself where there is none."""
    if stop >= len(text):
        return len(text)
    space = text.rfind(" ", start + 1, stop)
    return stop if space < 0 else space
