"""From text to the words that `BM25` counts."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from isometry.errors import InvalidInput, check_choice

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Words", "check_texts", "stop_words_of"]

_MARKS = (
    r"\u0300-\u036f\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0980-\u0983\u09bc-\u09cd"
    r"\u0a01-\u0a03\u0a3c-\u0a4d\u0a70\u0a71\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b57\u0b82\u0bbe-\u0bcd"
    r"\u0c00-\u0c04\u0c3c-\u0c56\u0c81-\u0c83\u0cbc-\u0cd6\u0d00-\u0d03\u0d3b-\u0d4d\u0d82\u0d83\u0dca-\u0ddf"
)
"""Vowel signs and accents that `re` does not count as part of a word, though they are inside one."""
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts written without spaces, or (Hangul) with spaces that do not separate words."""
_LONGEST = 255
_ASCII_WORD = re.compile(rf"[0-9A-Za-z_]{{2,{_LONGEST}}}")
_UNSPACED_RUN = re.compile(rf"[{_UNSPACED}]+")
_WORD = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])[\w{_MARKS}]){{2,{_LONGEST}}}")

_STOP_WORDS = {
    "danish": "STOPWORDS_DANISH",
    "dutch": "STOPWORDS_DUTCH",
    "english": "STOPWORDS_EN",
    "french": "STOPWORDS_FRENCH",
    "german": "STOPWORDS_GERMAN",
    "italian": "STOPWORDS_ITALIAN",
    "norwegian": "STOPWORDS_NORWEGIAN",
    "portuguese": "STOPWORDS_PORTUGUESE",
    "russian": "STOPWORDS_RUSSIAN",
    "spanish": "STOPWORDS_SPANISH",
    "swedish": "STOPWORDS_SWEDISH",
    "turkish": "STOPWORDS_TURKISH",
}


class Words:
    r"""Cuts a text into words: the same words for the same text, on every machine.

    ASCII text is put in lower case and cut into runs of at least two letters, digits or ``_``, as bm25s does. Other
    text is brought to Unicode form NFKC first (full-width letters become ASCII, composed and decomposed accents become
    equal; accents stay), and vowel signs count as part of a word. Runs in scripts without spaces (Chinese, Japanese,
    Korean, Thai, Lao, Khmer, Burmese) become their overlapping pairs of characters; a lone character stands for itself.
    Runs longer than 255 are cut. Then stop words go, and the rest is stemmed by Snowball.

    Parameters
    ----------
    language : str, optional
        A Snowball language, e.g. ``"english"``; None: no stemming.
    stop_words : collection of str
        Words in lower case that are dropped before stemming.

    Raises
    ------
    InvalidInput
        An unknown language.
    """

    def __init__(self, language: str | None, stop_words: Collection[str] = ()) -> None:
        self._stem: Any = None
        if language is not None:
            check_choice("language", language, _snowball_languages())
            import Stemmer

            self._stem = Stemmer.Stemmer(language).stemWords
        self._stop_words = frozenset(stop_words)

    def __call__(self, text: str) -> list[str]:
        """Return the words of a text in order, repetitions included."""
        words = [word for word in self.split(text) if word not in self._stop_words]
        return self._stem(words) if self._stem else words

    def keep(self, word: str) -> str | None:
        """Return what one word of `split` becomes, None for a stop word."""
        if word in self._stop_words:
            return None
        return self._stem([word])[0] if self._stem else word

    @staticmethod
    def split(text: str) -> list[str]:
        """Return the words of a text before stop words and stemming."""
        if text.isascii():
            return _ASCII_WORD.findall(text.lower())
        words: list[str] = []
        for run in _WORD.findall(unicodedata.normalize("NFKC", text).lower()):
            if _UNSPACED_RUN.match(run) and len(run) > 1:
                words += map("".join, pairwise(run))
            else:
                words.append(run)
        return words


def stop_words_of(language: str | None) -> list[str]:
    """Return the stop words that bm25s carries for a language, sorted; none where it has no list."""
    if language not in _STOP_WORDS:
        return []
    from bm25s import stopwords

    return sorted(set(getattr(stopwords, _STOP_WORDS[language])))


def check_texts(texts: Any, name: str) -> list[str]:
    """Return `texts` as a list of strings, or raise `InvalidInput`."""
    if isinstance(texts, str):
        raise InvalidInput(f"{name} is one string; expected a list of strings: pass [{name}]")
    try:
        found = list(texts)
    except TypeError:
        raise InvalidInput(f"{name} is {type(texts).__name__}; expected a list of strings") from None
    for i, text in enumerate(found):
        if not isinstance(text, str):
            raise InvalidInput(f"{name}[{i}] is {text!r:.80}; expected a string")
    return found


@cache
def _snowball_languages() -> tuple[str, ...]:
    import Stemmer

    return tuple(Stemmer.algorithms())
