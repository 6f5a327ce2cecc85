"""Search by words: BM25 as bm25s computes it, with masks, additions, removals and memory-mapped files."""

from __future__ import annotations

import math
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry import ranked
from isometry.errors import Damaged, InvalidInput, check_choice
from isometry.indexes.base import check_allowed, check_row_ids, check_search, not_built, without
from isometry.indexes.postings import Postings
from isometry.indexes.vocabulary import Vocabulary
from isometry.indexes.words import Words, check_texts, stop_words_of
from isometry.storage import Folder, write_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from scipy.sparse import csr_array

__all__ = ["BM25"]

METHODS = ("robertson", "lucene", "atire", "bm25l", "bm25+")
_SHIFTED = ("bm25l", "bm25+")
_SPARSE_BELOW = 8


class BM25:
    r"""Ranks texts by the words they share with a query.

    With the default method a text d scores :math:`\sum_{t \in q} idf(t) \frac{f}{f + k_1 (1 - b + b |d| / L)}`, where f
    is how often t occurs in d, L the mean number of words and :math:`idf(t) = \ln(1 + (N - n_t + 0.5) / (n_t + 0.5))`
    with t in n_t of N texts.

    Parameters
    ----------
    language : str or None, default "english"
        Snowball language of the stemmer; None does not stem. See `isometry.indexes.words.Words` for how texts are cut.
    k1 : float, default 1.5
        How slowly repetition saturates, >= 0 (> 0 for bm25l and bm25+).
    b : float, default 0.75
        How much long texts are held back, 0 to 1.
    delta : float, default 0.5
        Lower bound used by the methods bm25l and bm25+, >= 0.
    method : {"lucene", "robertson", "atire", "bm25l", "bm25+"}, default "lucene"
    stop_words : "language" or collection of str, default "language"
        Words that are ignored; by default bm25s's list for the language (none where it has none, and without one).

    Notes
    -----
    Only texts that share a word with the query, and get something for it, are hits. Built in one go, the scores are
    those of bm25s to the last bit: the weights are computed by it when the index is built, a query only adds them up.

    Texts that are added later are scored with the word statistics of the last `build`; words that were unknown then
    take theirs from the added texts. `build` with all texts brings everything up to date. Removing texts leaves the
    statistics as they are.

    A query costs O(entries of its words + k log k) on one thread. Files hold 8 bytes per entry and the words
    themselves; a query reads only the entries of its words from a memory-mapped index.

    Any number of threads may search at once; `build`, `add` and `remove` must have the index to themselves.

    References
    ----------
    Kamphuis et al., Which BM25 do you mean?, ECIR 2020; Lù, BM25S, arXiv:2407.03618.

    Examples
    --------
    >>> index = BM25().build(["a cat sat", "dogs bark", "the cats sleep"])
    >>> index.search(["sleeping cat"], k=3)[0]
    array([[ 2,  0, -1]])
    """

    kind: ClassVar[str] = "BM25"
    kind_version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        language: str | None = "english",
        k1: float = 1.5,
        b: float = 0.75,
        delta: float = 0.5,
        method: str = "lucene",
        stop_words: str | Collection[str] = "language",
    ) -> None:
        self.method = check_choice("method", method, METHODS)
        self.k1 = _check_number("k1", k1, math.inf)
        self.b = _check_number("b", b, 1.0)
        self.delta = _check_number("delta", delta, math.inf)
        if self.method in _SHIFTED and self.k1 == 0:
            raise InvalidInput(f"k1 is 0, by which method {self.method!r} divides; expected a number > 0")
        self.language = language
        if stop_words == "language":
            stop_words = stop_words_of(language)
        self.stop_words = tuple(sorted(set(check_texts(stop_words, "stop_words"))))
        self._words = Words(language, self.stop_words)
        self._clear()

    def _clear(self) -> None:
        self._built = False
        self._n_built = 0
        self._n_rows = 0
        self._mean_length = 0.0
        self._vocabulary = Vocabulary.of([])
        self._postings = _by_every_term(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
        self._shifts: NDArray[np.float32] | None = None
        self._new_words: dict[str, int] = {}
        self._added: list[Postings] = []
        self._alive: NDArray[np.bool_] | None = None

    @property
    def metric(self) -> str:
        """``"bm25"``."""
        return "bm25"

    @property
    def spec(self) -> str:
        """``"BM25"``."""
        return "BM25"

    @property
    def dim(self) -> int:
        """Number of known words."""
        return len(self._vocabulary) + len(self._new_words)

    @property
    def n_rows(self) -> int:
        """Number of ids given out so far, removed ones included: the length of an `allowed` mask."""
        return self._n_rows

    def __len__(self) -> int:
        return self._n_rows if self._alive is None else int(np.count_nonzero(self._alive))

    def __repr__(self) -> str:
        return f"BM25(language={self.language!r}, method={self.method!r}): {len(self)} texts, {self.dim} words"

    def build(self, x: Any) -> Self:
        """Index texts, forgetting what was there.

        Parameters
        ----------
        x : sequence of str
            A text without words gets an id as any other; it is never a hit.

        Raises
        ------
        InvalidInput
            Not a sequence of strings.
        """
        texts = check_texts(x, "texts")
        self._clear()
        found: dict[str, int] = {}
        rows = _numbered(texts, self._words, lambda word: found.setdefault(word, len(found)))
        self._built, self._n_built, self._n_rows = True, len(texts), len(texts)
        words = sorted(found)
        if words:
            place = {word: i for i, word in enumerate(words)}
            renumber = [place[word] for word in found]
            self._index([[renumber[i] for i in row] for row in rows], len(words))
            self._vocabulary = Vocabulary.of(words)
        return self

    def _index(self, rows: list[list[int]], n_words: int) -> None:
        import bm25s

        scorer = bm25s.BM25(k1=self.k1, b=self.b, delta=self.delta, method=self.method)
        built = scorer.build_index_from_ids(list(range(n_words)), rows, show_progress=False)
        self._mean_length = sum(map(len, rows)) / len(rows)
        self._postings = _by_every_term(built["indptr"], built["indices"], built["data"])
        self._shifts = scorer.nonoccurrence_array

    def add(self, x: Any) -> NDArray[np.int64]:
        """Append texts and return their ids; how they are scored is said in the class notes.

        Raises
        ------
        InvalidInput
            Not a sequence of strings.

        Notes
        -----
        O(words added), and amortised O(log additions) more: additions are merged as they pile up.
        """
        texts = check_texts(x, "texts")
        first = self._n_rows
        self._built = True
        self._n_rows += len(texts)
        if self._alive is not None:
            self._alive = np.concatenate([self._alive, np.ones(len(texts), bool)])
        rows = _numbered(texts, self._words, self._number)
        if not self._mean_length and any(rows):
            self._mean_length = sum(map(len, rows)) / len(rows)
        entries = [
            (term, row, count, len(terms))
            for row, terms in enumerate(rows, first)
            for term, count in Counter(terms).items()
        ]
        if entries:
            terms, at, counts, lengths = (np.array(column, np.int64) for column in zip(*entries, strict=True))
            weights = self._frequency_weights(counts.astype(np.float32), lengths)
            self._added.append(Postings.of(terms, at.astype(np.int32), weights))
            while len(self._added) > 1 and len(self._added[-2].rows) <= 2 * len(self._added[-1].rows):
                last = self._added.pop()
                self._added[-1] = self._added[-1].followed_by(last)
        return np.arange(first, self._n_rows)

    def __copy__(self) -> Self:
        """Return an index that shares what is there, and to which texts can be added without touching this one."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._added, twin._new_words = list(self._added), dict(self._new_words)
        return twin

    def remove(self, ids: Any) -> int:
        """Drop texts for good; their ids are never used again and their bytes go with the next `build`.

        Parameters
        ----------
        ids : int or sequence of int
            Ids removed before are passed over.

        Returns
        -------
        int
            Number of texts that were there until now.
        """
        before = len(self)
        self._alive = without(self._alive, ids, self._n_rows)
        return before - len(self)

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        effort: int | None = None,
        allowed: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `k` best texts for each query.

        Parameters
        ----------
        q : sequence of str
            A word that occurs twice counts twice.
        k : int, default 10
            Places without a hit hold -1 and -inf.
        effort, threads : int, optional
            Accepted as every index accepts them: the search is exact, on one thread.
        allowed : (n_rows,) bool, optional
            Only texts marked True can be hits. Statistics stay those of all texts.

        Returns
        -------
        ids : (nq, k) int64
        scores : (nq, k) float32
            Best first; equal scores by smaller id.

        Raises
        ------
        InvalidInput
            A query or an option that makes no sense.
        Damaged
            The folder this index was loaded from is.
        """
        k, _, _ = check_search(k, effort, threads)
        texts = check_texts(q, "q")
        if not self._built:
            raise not_built("BM25 index")
        mask = check_allowed(allowed, self._n_rows)
        if self._alive is not None:
            mask = self._alive if mask is None else mask & self._alive
        ids, scores = ranked.empty(len(texts), k)
        for i, text in enumerate(texts):
            ids[i], scores[i] = self._search_one(self._words(text), k, mask)
        return ids, scores

    def explain(self, text: str, rows: Any) -> list[list[tuple[str, int, float]]]:
        """Say what the score of texts for a query is made of.

        Parameters
        ----------
        text : str
            The query.
        rows : int or sequence of int
            Ids of texts.

        Returns
        -------
        list of list of (word, count, weight)
            For each text the words (their stems) that it shares with the query, how often the query has them, and what
            one of them adds to the score. Their products add up to it, for bm25l and bm25+ but for what each text gets.

        Raises
        ------
        InvalidInput
            An id that does not exist.
        """
        wanted = np.atleast_1d(np.asarray(rows))
        check_row_ids(wanted, self._n_rows)
        found: list[list[tuple[str, int, float]]] = [[] for _ in wanted]
        for word, count in Counter(self._words(text)).items():
            term = self._find(word)
            totals = np.zeros(len(wanted))
            for entries, weights in self._entries(term) if term >= 0 else ():
                place = np.searchsorted(entries, wanted).clip(max=max(len(entries) - 1, 0))
                if len(entries):
                    totals += np.where(entries[place] == wanted, weights[place], 0)
            for row in np.flatnonzero(totals):
                found[row].append((word, count, float(totals[row])))
        return found

    def weights(self) -> csr_array:
        """Return the weight of each word in each text, (n_rows, dim) float32: what searches add up.

        With the queries of `counts`, an index of sparse vectors answers as this one does:
        ``Inverted().build(bm25.weights()).search(bm25.counts(["sleeping cat"]))``. Rows of removed texts are empty.
        For the methods bm25l and bm25+ the weights are without what a text gets for a word it lacks, which is the same
        for all texts; those of robertson may be negative.

        O(entries log entries).
        """
        terms, rows, weights = [np.empty(0, np.int64)], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        for term in range(self.dim):
            for entries, values in self._entries(term):
                kept = slice(None) if self._alive is None else self._alive[entries]
                rows.append(entries[kept])
                weights.append(values[kept])
                terms.append(np.full(len(rows[-1]), term))
        return _as_csr(np.concatenate(weights), np.concatenate(rows), np.concatenate(terms), (self._n_rows, self.dim))

    def counts(self, texts: list[str]) -> csr_array:
        """Return how often queries have each word, (nq, dim) float32; words that no text has are left out."""
        counted = [Counter(self._find(word) for word in self._words(text)) for text in check_texts(texts, "texts")]
        known = [[(term, count) for term, count in each.items() if term >= 0] for each in counted]
        rows = np.repeat(np.arange(len(known)), [len(each) for each in known])
        flat = np.array([pair for each in known for pair in each], np.int64).reshape(-1, 2)
        return _as_csr(flat[:, 1].astype(np.float32), rows, flat[:, 0], (len(known), self.dim))

    def _search_one(
        self, words: list[str], k: int, mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        terms = [term for term in map(self._find, words) if term >= 0]
        totals = np.zeros(self._n_rows, np.float32)
        touched = []
        shift = np.float32(0.0)
        try:
            for term in terms:
                for rows, weights in self._entries(term):
                    np.add.at(totals, rows, weights)
                    touched.append(rows)
        except IndexError:
            raise Damaged(
                "this BM25 index names texts it does not have; restore its folder, or build it again"
            ) from None
        if self.method in _SHIFTED:
            shift = np.array([self._shift(term) for term in terms], np.float32).sum()
        n_touched = sum(map(len, touched))
        if n_touched * _SPARSE_BELOW < self._n_rows:
            found = np.unique(np.concatenate(touched)) if touched else np.empty(0, np.int32)
            hits: NDArray[np.integer] = found[totals[found] > 0]
        else:
            hits = np.flatnonzero(totals > 0)
        if mask is not None:
            hits = hits[mask[hits]]
        scores = totals[hits] + shift
        if len(hits) > 4 * k:
            contenders = scores >= np.partition(scores, len(hits) - k)[-k]
            hits, scores = hits[contenders], scores[contenders]
        ids, best = ranked.rank(np.zeros(len(hits), np.int64), hits.astype(np.int64), scores, 1, k)
        return ids[0], best[0]

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the index to the folder `path`, atomically; see `isometry.storage.write_folder`."""
        if not self._built:
            raise not_built("BM25 index")
        arrays: dict[str, NDArray[Any]] = {
            "words": self._vocabulary.text,
            "word_offsets": self._vocabulary.offsets,
            "offsets": self._postings.offsets,
            "rows": self._postings.rows,
            "weights": self._postings.weights,
        }
        if self._shifts is not None:
            arrays["shifts"] = self._shifts
        if self._alive is not None:
            arrays["alive"] = self._alive
        if self._added:
            added = self._added[0]
            for more in self._added[1:]:
                added = added.followed_by(more)
            new_words = Vocabulary.of(self._new_words)
            arrays |= {f"added_{name}": array for name, array in added._asdict().items()}
            arrays |= {"new_words": new_words.text, "new_word_offsets": new_words.offsets}
        parameters = {
            "language": self.language,
            "k1": self.k1,
            "b": self.b,
            "delta": self.delta,
            "method": self.method,
            "stop_words": list(self.stop_words),
            "n_built": self._n_built,
            "n_rows": self._n_rows,
            "mean_length": self._mean_length,
        }
        write_folder(path, self.kind, parameters, arrays, kind_version=self.kind_version, overwrite=overwrite)

    @classmethod
    def from_folder(cls, folder: Folder) -> Self:
        """Return the index in a folder that `isometry.storage.read_folder` opened; its entries stay on disk."""
        folder.require_version(cls.kind_version)
        index = cls._configured(folder)
        index._built = True
        index._n_built = folder.parameter("n_built", int)
        index._n_rows = folder.parameter("n_rows", int)
        index._mean_length = float(folder.parameter("mean_length", (int, float)))
        index._vocabulary = _vocabulary(folder, "words", "word_offsets")
        offsets = folder.array("offsets", np.int64, (len(index._vocabulary) + 1,))
        rows = folder.array("rows", np.int32, (None,))
        index._postings = _by_every_term(offsets, rows, folder.array("weights", np.float32, (len(rows),)))
        if offsets[-1] != len(rows) or not 0 <= index._n_built <= index._n_rows < 2**31:
            raise folder.damaged(f"{index._n_rows} texts with {len(rows)} entries do not fit its offsets")
        if index.method in _SHIFTED and index._vocabulary:
            index._shifts = folder.array("shifts", np.float32, (len(index._vocabulary),))
        if "alive" in folder.arrays:
            index._alive = folder.array("alive", bool, (index._n_rows,))
        if "added_rows" in folder.arrays:
            first = len(index._vocabulary)
            new_words = _vocabulary(folder, "new_words", "new_word_offsets").words()
            index._new_words = {word: number for number, word in enumerate(new_words, first)}
            terms = folder.array("added_terms", np.int64, (None,))
            rows = folder.array("added_rows", np.int32, (None,))
            weights = folder.array("added_weights", np.float64, (len(rows),))
            index._added = [Postings(terms, folder.array("added_offsets", np.int64, (len(terms) + 1,)), rows, weights)]
        return index

    @classmethod
    def _configured(cls, folder: Folder) -> Self:
        parameters = {name: folder.parameters.get(name) for name in ("k1", "b", "delta", "method", "language")}
        try:
            return cls(stop_words=folder.parameter("stop_words", list), **parameters)  # type: ignore[arg-type]
        except InvalidInput as error:
            raise folder.damaged(str(error)) from None

    def _find(self, word: str) -> int:
        """Return the number of a word, -1 when no text holds it."""
        number = self._vocabulary.find(word)
        return number if number >= 0 else self._new_words.get(word, -1)

    def _number(self, word: str) -> int:
        """Return the number of a word, a new one when no text holds it."""
        number = self._find(word)
        return number if number >= 0 else self._new_words.setdefault(word, self.dim)

    def _entries(self, term: int) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Yield (rows, weights) of one term: those of the build, then those added."""
        yield self._postings.find(term)
        if self._added:
            idf, shift = self._idf(term), self._shift(term)
            for postings in self._added:
                rows, weights = postings.find(term)
                yield rows, (idf * weights - shift).astype(np.float32)

    def _idf(self, term: int) -> np.float32:
        """Return the weight of a term: as it was at the build, for a newer one as it is now."""
        from bm25s import scoring

        built = term < len(self._vocabulary)
        holders = [self._postings] if built else self._added
        df = sum(len(postings.find(term)[0]) for postings in holders)
        return np.float32(scoring._select_idf_scorer(self.method)(df, N=self._n_built if built else self._n_rows))

    def _shift(self, term: int) -> np.float32:
        """Return what a text without the term gets for it: not 0 for bm25l and bm25+, whose entries hold the rest."""
        if self.method not in _SHIFTED:
            return np.float32(0.0)
        if self._shifts is not None and term < len(self._shifts):
            return self._shifts[term]
        absent = self._frequency_weights(np.zeros(1, np.float32), np.array([self._mean_length]))
        return np.float32(self._idf(term) * absent[0])

    def _frequency_weights(
        self, counts: NDArray[np.float32], lengths: NDArray[np.floating] | NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return the factor of a term's score that is not its idf, from its counts in texts of some lengths."""
        from bm25s import scoring

        weigh = scoring._select_tfc_scorer(self.method)
        return weigh(counts, lengths, l_avg=self._mean_length, k1=self.k1, b=self.b, delta=self.delta)


def _numbered(texts: list[str], words: Words, number: Callable[[str], int]) -> list[list[int]]:
    """Return the words of each text as numbers; every distinct word is stemmed and given its number once."""
    known = _Known(words, number)
    return [[i for i in map(known.__getitem__, words.split(text)) if i >= 0] for text in texts]


class _Known(dict[str, int]):
    """Numbers of words before stemming, found when first asked for; -1 for stop words."""

    def __init__(self, words: Words, number: Callable[[str], int]) -> None:
        super().__init__()
        self._keep = words.keep
        self._number = number

    def __missing__(self, word: str) -> int:
        kept = self._keep(word)
        self[word] = -1 if kept is None else self._number(kept)
        return self[word]


def _as_csr(
    values: NDArray[np.float32], rows: NDArray[np.integer], columns: NDArray[np.integer], shape: tuple[int, int]
) -> csr_array:
    from scipy.sparse import coo_array

    result = coo_array((values, (rows, columns)), shape=shape).tocsr()
    result.sort_indices()
    return result


def _by_every_term(offsets: NDArray[np.int64], rows: NDArray[np.int32], weights: NDArray[np.float32]) -> Postings:
    return Postings(np.arange(len(offsets) - 1), offsets, rows, weights)


def _vocabulary(folder: Folder, text: str, offsets: str) -> Vocabulary:
    words = Vocabulary(folder.array(text, np.uint8, (None,)), folder.array(offsets, np.int64, (None,)))
    if not words.fits():
        raise folder.damaged(f"arrays {text!r} and {offsets!r} do not belong together")
    return words


def _check_number(name: str, value: Any, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high or math.isinf(value):
        expected = "a number >= 0" if math.isinf(high) else f"a number from 0 to {high:g}"
        raise InvalidInput(f"{name} is {value!r}; expected {expected}")
    return float(value)
