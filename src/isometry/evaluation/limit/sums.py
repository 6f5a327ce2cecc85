"""A single-vector baseline that solves LIMIT: the vector of a text is the sum of the random vectors of its parts."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from isometry.encoders import Fingerprint, Progress
from isometry.errors import check_choice, check_range
from isometry.evaluation.limit.generate import thing_asked, things_liked

_TEXTS_AT_ONCE = 128
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_FILLER = frozenset({"who", "likes", "and"})


class RandomSums:
    r"""Sums random :math:`\pm 1/\sqrt{d}` vectors of the parts of a text, scaled to length 1.

    Nothing is learnt: the vector of a part is a hash of its letters. Two texts score about the cosine of their
    sets of parts, with noise of :math:`1/\sqrt{d}`.

    Parameters
    ----------
    dim : int
        d, at least 1.
    parts : {"things", "words"}
        "things" knows where a thing begins and ends in a LIMIT text. "words" is the fair variant: all words and pairs
        of neighbouring words, but "who", "likes" and "and".
    seed : int

    References
    ----------
    Rachkovskij, Binding and normalization of binary sparse distributed representations, 2001; Weinberger et al.,
    Feature hashing for large scale multitask learning, ICML 2009.
    """

    kind = "dense"
    max_tokens = 1 << 30

    def __init__(self, dim: int, *, parts: str = "things", seed: int = 0) -> None:
        self.dim = check_range("dim", dim, 1)
        self.parts = check_choice("parts", parts, ("things", "words"))
        self.seed = check_range("seed", seed, 0)

    @property
    def fingerprint(self) -> Fingerprint:
        """Which space the vectors are in."""
        told = f"random-sums {self.dim} {self.parts} {self.seed}"
        return Fingerprint(told, hashlib.sha256(told.encode()).hexdigest())

    def encode_query(self, texts: list[str], *, progress: Progress | None = None) -> NDArray[np.float32]:
        """Return (n, d) float32 unit vectors of queries; a text without parts gives zeros."""
        return self._encode(texts, _words if self.parts == "words" else lambda text: [thing_asked(text)], progress)

    def encode_document(self, texts: list[str], *, progress: Progress | None = None) -> NDArray[np.float32]:
        """Return (n, d) float32 unit vectors of documents; a text without parts gives zeros."""
        return self._encode(texts, _words if self.parts == "words" else things_liked, progress)

    def _encode(
        self, texts: list[str], cut: Callable[[str], Iterable[str]], progress: Progress | None
    ) -> NDArray[np.float32]:
        from scipy.sparse import csr_array

        found = np.zeros((len(texts), self.dim), np.float32)
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            rows = [[part.lower() for part in cut(text)] for text in texts[first : first + _TEXTS_AT_ONCE]]
            place = {part: i for i, part in enumerate(dict.fromkeys(part for row in rows for part in row))}
            if place:
                starts = np.cumsum([0, *map(len, rows)])
                columns = np.array([place[part] for row in rows for part in row])
                counts = csr_array((np.ones(len(columns), np.float32), columns, starts), shape=(len(rows), len(place)))
                sums = counts @ self._vectors(place)
                norms = np.linalg.norm(sums, axis=1, keepdims=True)
                found[first : first + len(rows)] = np.divide(sums, norms, out=np.zeros_like(sums), where=norms > 0)
            if progress is not None:
                progress(min(len(texts), first + _TEXTS_AT_ONCE), len(texts), "texts")
        return found

    def _vectors(self, parts: Iterable[str]) -> NDArray[np.float32]:
        """Return -1 and +1 from the bits of a hash of each part; nothing is kept, however many parts there are."""
        size = math.ceil(self.dim / 8)
        digests = (hashlib.shake_128(f"{self.seed} {part}".encode("utf-8", "surrogatepass")) for part in parts)
        bits = np.frombuffer(b"".join(digest.digest(size) for digest in digests), np.uint8).reshape(-1, size)
        return 2 * np.unpackbits(bits, axis=1, count=self.dim).astype(np.float32) - 1


def _words(text: str) -> list[str]:
    words = [word for word in _WORD.findall(text.lower()) if word not in _FILLER]
    return [*words, *map(" ".join, pairwise(words))]
