"""A set of words, numbered in order, that can be searched without loading it."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Vocabulary"]


class Vocabulary:
    """Distinct words in the order of their UTF-8 bytes; a word's number is its place.

    Parameters
    ----------
    text : (b,) uint8
        The words as UTF-8, one after another.
    offsets : (n + 1,) int64
        Word i is ``text[offsets[i]:offsets[i + 1]]``.
    """

    def __init__(self, text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self.text = text
        self.offsets = offsets
        self._bytes = text.data
        self._starts = offsets.data

    @classmethod
    def of(cls, words: Iterable[str]) -> Vocabulary:
        """Return the vocabulary of distinct `words`; they must be as `sorted` orders them for `find` to work."""
        encoded = [word.encode("utf-8") for word in words]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        offsets[1:] = np.cumsum([len(word) for word in encoded])
        return cls(np.array(bytearray().join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def fits(self) -> bool:
        """Return whether the offsets begin and end where the text does."""
        return len(self.offsets) > 0 and self.offsets[0] == 0 and self.offsets[-1] == len(self.text)

    def words(self) -> list[str]:
        """Return all words in order."""
        return [self._word(i).decode("utf-8", "replace") for i in range(len(self))]

    def find(self, word: str) -> int:
        """Return the number of a word, or -1: O(log n), touching a few pages of a memory-mapped vocabulary."""
        wanted = word.encode("utf-8")
        place = bisect_left(range(len(self)), wanted, key=self._word)
        return place if place < len(self) and self._word(place) == wanted else -1

    def _word(self, i: int) -> bytes:
        return bytes(self._bytes[self._starts[i] : self._starts[i + 1]])
