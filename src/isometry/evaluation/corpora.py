"""Real vectors for benchmarks: short texts of many kinds, encoded once, kept with their exact neighbours."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isometry.encoders.resolving import DEFAULT_ENCODER
from isometry.errors import InvalidInput, MissingExtra, NotFound, check_choice, check_range

if TYPE_CHECKING:
    from isometry.encoders.base import Progress

WORDNET = Path("/usr/share/wordnet")
SHORTEST, LONGEST = 12, 300
SPACES = ("minilm", "minilm-layers", "lsa")
VIEWS = ("same", "names", "static")
JUDGED, TRAINING = 2_000, 10_000
LSA_DIM = 1024
_LAST_LAYERS = 4
_LSA_ROWS = 60_000
_LSA_WORDS = 100_000
_PAIRS = 20_000
_KEPT = 100
_RIDGE = 1e-2

Pick = Callable[[Path], Iterable[str]]


@dataclass(frozen=True)
class ShortTexts:
    """Distinct short texts in a random order that a seed fixes.

    Attributes
    ----------
    base : list of str
        What is searched.
    queries : list of str
        Other texts of the same kinds, none of them in `base`.
    names : list of str
        Names and key words of things that `base` describes in sentences: a second view, not drawn like `base`.
    sources : dict of str to int
        Distinct texts found in each source.
    """

    base: list[str]
    queries: list[str]
    names: list[str]
    sources: dict[str, int] = field(hash=False)


@dataclass(frozen=True)
class VectorSet:
    """Unit vectors, queries to judge with, and other queries to learn from.

    Attributes
    ----------
    name : str
    x : (n, d) float32
    queries, training : (nq, d), (m, d) float32
        Drawn in the same way; no text is in both.
    folder : Path or None
        Where exact neighbours are kept; None keeps nothing.
    """

    name: str
    x: NDArray[np.float32]
    queries: NDArray[np.float32]
    training: NDArray[np.float32]
    folder: Path | None = None

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return int(self.x.shape[1])

    def __len__(self) -> int:
        return len(self.x)

    def head(self, n: int, *, queries: int | None = None) -> VectorSet:
        """Return the set with only the first `n` vectors, and only the first `queries` to judge with."""
        check_range("n", n, 1, len(self))
        return VectorSet(self.name, self.x[:n], self.queries[:queries], self.training, self.folder)

    def exact(self, k: int = 10) -> NDArray[np.int64]:
        """Return the ids of the best `k` (at most 100) for every query, by exact search: made once, then kept."""
        check_range("k", k, 1, _KEPT)
        return self._exact[:, :k]

    @cached_property
    def _exact(self) -> NDArray[np.int64]:
        return kept(self.folder, f"exact-{digest_arrays(self.x, self.queries)}", self._scan)

    def _scan(self) -> NDArray[np.int64]:
        from isometry.indexes import Flat

        return Flat(metric="dot").build(self.x).search(self.queries, _KEPT)[0]


def short_texts(
    data: Path | None = None, *, n: int = 200_000, seed: int = 0, wordnet: Path | None = WORDNET
) -> ShortTexts:
    """Gather distinct English texts of 12 to 300 characters: titles, definitions, questions, captions, tasks ...

    Parameters
    ----------
    data : Path, optional
        Folder with data sets such as ``acl_anthology`` and ``multi30k``; what it lacks is passed over.
    n : int
        Most texts to search. With fewer, the first of the same list.
    seed : int
    wordnet : Path, optional
        Folder of WordNet's ``data.noun`` ... (Debian: wordnet-base); passed over when it is not there.

    Raises
    ------
    NotFound
        Fewer texts than the 12,000 queries and one more were found.
    """
    check_range("n", n, 1)
    found: dict[str, None] = {}
    sources: dict[str, int] = {}
    for name, texts in _sources(data, wordnet):
        before = len(found)
        found |= dict.fromkeys(text for each in texts if SHORTEST <= len(text := " ".join(each.split())) <= LONGEST)
        sources[name] = len(found) - before
    held_out = JUDGED + TRAINING
    if len(found) <= held_out:
        raise NotFound(
            f"found {len(found)} short texts in {data} and {wordnet}; expected more than {held_out}: name the folder "
            "of data sets, or install WordNet (Debian: wordnet-base)"
        )
    names = {text: None for each in _names(data, wordnet) if (text := " ".join(each.split())) not in found}
    texts = _shuffled(sorted(found), seed)
    return ShortTexts(
        texts[held_out : held_out + n], texts[:held_out], _shuffled(sorted(names), seed)[:held_out], sources
    )


def load_vectors(
    space: str,
    texts: ShortTexts,
    folder: Path | None = None,
    *,
    view: str = "same",
    dim: int = LSA_DIM,
    progress: Progress | None = None,
) -> VectorSet:
    """Return the texts as unit vectors; what was made once is read from `folder`.

    Parameters
    ----------
    space : {"minilm", "minilm-layers", "lsa"}
        The bundled encoder (384-d), its last four layers side by side (1,536-d), or latent semantic analysis of the
        words (TF-IDF, randomised SVD to `dim`).
    texts : ShortTexts
    folder : Path, optional
        Where vectors are kept; by default in the user's cache folder.
    view : {"same", "names", "static"}
        Where queries come from. ``same``: texts of the same kinds. ``names``: names and key words, so queries are
        distributed unlike the data. ``static``: texts of the same kinds in another encoder (wordllama), brought into
        this space by a ridge regression over 20,000 texts.
    dim : int
        Dimensions of ``lsa``.
    progress : callable, optional
        Called with (done, total, what) while texts are encoded.

    Raises
    ------
    InvalidInput, NotFound
        An unknown space or view; no names were found.
    MissingExtra
        Packages that encode are not installed.
    """
    from isometry.cache import cache_folder

    check_choice("space", space, SPACES)
    check_choice("view", view, VIEWS)
    if view == "names" and len(texts.names) <= JUDGED:
        raise NotFound(f"found {len(texts.names)} names; view 'names' needs more than {JUDGED}: WordNet has them")
    home = cache_folder() / "benchmarks" if folder is None else folder
    home.mkdir(parents=True, exist_ok=True)
    encode: Callable[[list[str]], NDArray[np.float32]]
    if space == "lsa":
        encode = _LSA(home, texts.base, dim)
    else:
        encode = KeptEncoder(home, progress, kept_as=space, last_layers=1 if space == "minilm" else _LAST_LAYERS)
    x = encode(texts.base)
    asked = texts.names if view == "names" else texts.queries
    q = _aligned(texts, x, home) if view == "static" else encode(asked)
    name = f"{space} {x.shape[1]}-d" + ("" if view == "same" else f", {view} as queries")
    return VectorSet(name, x, q[:JUDGED], q[JUDGED:], home)


def synthetic_vectors(
    n: int, dim: int, *, rank: float = 1.0, power: float = 0.5, noise: float = 0.1, shift: float = 0.0, seed: int = 0
) -> VectorSet:
    r"""Draw unit vectors of a power-law spectrum plus noise, with queries whose covariance is turned from the data's.

    :math:`x = U S z + \sigma \epsilon` with :math:`S_i = i^{-power}` over ``rank * dim`` directions :math:`U` and noise
    of relative norm `noise`. The directions of queries are turned by ``shift`` of a random rotation: 0 is like the
    data, 1 unrelated.

    Raises
    ------
    InvalidInput
        A setting is out of range.
    """
    check_range("n", n, 1)
    check_range("dim", dim, 2)
    for name, value in (("rank", rank), ("shift", shift)):
        if not 0 <= value <= 1:
            raise InvalidInput(f"{name} is {value!r}; expected a number from 0 to 1")
    rng = np.random.default_rng(seed)
    r = max(1, round(rank * dim))
    scales = np.arange(1, r + 1) ** -power
    data_axes, other_axes = (np.linalg.qr(rng.standard_normal((dim, r)))[0] for _ in range(2))
    query_axes = np.linalg.qr((1 - shift) * data_axes + shift * other_axes)[0]

    def draw(rows: int, axes: NDArray[np.float64]) -> NDArray[np.float32]:
        z = (rng.standard_normal((rows, r), dtype=np.float32) * scales.astype(np.float32)) @ axes.T.astype(np.float32)
        spread = noise * np.linalg.norm(scales) / np.sqrt(dim)
        return unit(z + np.float32(spread) * rng.standard_normal((rows, dim), dtype=np.float32))

    x, q = draw(n, data_axes), draw(JUDGED + TRAINING, query_axes)
    return VectorSet(f"synthetic {dim}-d, queries shifted by {shift:.0%}", x, q[:JUDGED], q[JUDGED:])


def widened(x: NDArray[np.float32], n: int, *, share: float = 0.35, seed: int = 0) -> NDArray[np.float32]:
    r"""Return `n` unit vectors: those of `x`, then as many more as are missing, made from them.

    A new vector is :math:`x_i + share\,(x_j - x_k) / \sqrt 2` with random rows, so its noise has the covariance of the
    data and not of a sphere, which would be harder to search than any real vectors.
    """
    check_range("n", n, 1)
    if n <= len(x):
        return x[:n]
    rng = np.random.default_rng(seed)
    found = np.empty((n, x.shape[1]), np.float32)
    found[: len(x)] = x
    for start in range(len(x), n, 65_536):
        stop = min(n, start + 65_536)
        i, j, k = rng.integers(0, len(x), (3, stop - start))
        found[start:stop] = unit(x[i] + np.float32(share / np.sqrt(2)) * (x[j] - x[k]))
    return found


def unit(x: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows of length one; a row of zeros stays as it is."""
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.ascontiguousarray(x / np.where(norms > 0, norms, 1), dtype=np.float32)


class KeptEncoder:
    """Encodes with one encoder, the bundled one unless told, keeping what it made and resuming after an interruption.

    The encoder is a name or folder as of `isometry.encoders.load_encoder`, pooled over its `last_layers`; `kept_as`
    begins the names of the files.
    """

    def __init__(
        self,
        home: Path,
        progress: Progress | None = None,
        encoder: str = DEFAULT_ENCODER,
        *,
        kept_as: str = "minilm",
        last_layers: int = 1,
    ) -> None:
        from isometry.encoders import load_encoder

        self._home, self._progress, self._kept_as = home, progress, kept_as
        self._encoder = load_encoder(encoder, last_layers=last_layers)

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        """Return unit vectors of the texts."""
        from isometry.encoders import encode_to_folder

        name = f"{self._kept_as}-{digest_texts(texts, self._encoder.fingerprint.digest)}"
        shards = self._home / f"{name}.parts"

        def make() -> NDArray[np.float32]:
            return unit(np.asarray(encode_to_folder(self._encoder, texts, shards, progress=self._progress)))

        vectors = kept(self._home, name, make)
        shutil.rmtree(shards, ignore_errors=True)
        return vectors


class _LSA:
    """Latent semantic analysis, fitted once on the first 60,000 of the base texts, when the first vectors are made."""

    def __init__(self, home: Path, base: list[str], dim: int) -> None:
        self._home, self._base, self._dim = home, base, dim
        self._salt = digest_texts(base[:_LSA_ROWS], str(dim))

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        name = f"lsa{self._dim}-{digest_texts(texts, self._salt)}"
        return kept(self._home, name, lambda: self._project(texts))

    def _project(self, texts: list[str]) -> NDArray[np.float32]:
        words, axes = self._fitted
        found = np.empty((len(texts), self._dim), np.float32)
        for start in range(0, len(texts), 8_192):
            block = slice(start, start + 8_192)
            found[block] = unit(words.transform(texts[block]).astype(np.float32) @ axes)
        return found

    @cached_property
    def _fitted(self) -> tuple[Any, NDArray[np.float32]]:
        try:
            from sklearn.feature_extraction.text import TfidfVectorizer
            from sklearn.utils.extmath import randomized_svd
        except ModuleNotFoundError:
            raise MissingExtra("bench", "latent semantic analysis", "scikit-learn") from None
        words = TfidfVectorizer(sublinear_tf=True, max_features=_LSA_WORDS, token_pattern=r"\b\w\w+\b")
        counts = words.fit_transform(self._base[:_LSA_ROWS]).astype(np.float32)
        if self._dim > min(counts.shape):
            raise InvalidInput(f"dim is {self._dim}; the texts have {counts.shape[1]} words: expected at most as many")

        def make() -> NDArray[np.float32]:
            _, _, axes = randomized_svd(counts, self._dim, n_oversamples=16, n_iter=2, random_state=0)
            return np.ascontiguousarray(axes.T, np.float32)

        return words, kept(self._home, f"lsa{self._dim}-axes-{self._salt}", make)


def _aligned(texts: ShortTexts, x: NDArray[np.float32], home: Path) -> NDArray[np.float32]:
    """Return the queries in another encoder's view, mapped into the space of `x`."""
    from isometry.encoders import load_encoder

    other = load_encoder("wordllama")
    name = f"aligned-{digest_texts(texts.queries, other.fingerprint.digest)}-{digest_arrays(x[:_PAIRS])}"

    def make() -> NDArray[np.float32]:
        from_there = np.asarray(other.encode_document(texts.base[:_PAIRS]), np.float64)
        gram = from_there.T @ from_there
        gram += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        bridge = np.linalg.solve(gram, from_there.T @ x[:_PAIRS].astype(np.float64))
        return unit(np.asarray(other.encode_query(texts.queries), np.float64) @ bridge)

    return kept(home, name, make)


def kept(folder: Path | None, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Return an array from `folder`, memory-mapped; what is not there is made first."""
    if folder is None:
        return make()
    path = folder / f"{name}.npy"
    if not path.is_file():
        aside = folder / f"{name}.{os.getpid()}.npy"
        np.save(aside, make(), allow_pickle=False)
        os.replace(aside, path)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def digest_arrays(*arrays: NDArray[Any]) -> str:
    """Return 16 hexadecimal digits that tell arrays from others, for names of files."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def digest_texts(texts: list[str], salt: str) -> str:
    """Return 16 hexadecimal digits that tell texts, and what is made of them, from others."""
    return hashlib.sha256(json.dumps([salt, texts]).encode()).hexdigest()[:16]


def _shuffled(texts: list[str], seed: int) -> list[str]:
    order = np.random.default_rng(seed).permutation(len(texts))
    return [texts[i] for i in order]


def _sources(data: Path | None, wordnet: Path | None) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield (name, texts) of everything that is there."""
    if data is not None:
        for name, (file, pick) in SOURCES.items():
            if (data / file).is_file():
                yield name, pick(data / file)
    if wordnet is not None and (wordnet / "data.noun").is_file():
        yield "WordNet glosses", (gloss for _, gloss in _synsets(wordnet))


def _names(data: Path | None, wordnet: Path | None) -> Iterator[str]:
    if data is not None and (keywords := data / "telecom_standards" / "etsi.parquet").is_file():
        yield from (", ".join(words) for words in _parquet("keywords")(keywords))
    if wordnet is not None and (wordnet / "data.noun").is_file():
        yield from (names for names, _ in _synsets(wordnet))


def _synsets(wordnet: Path) -> Iterator[tuple[str, str]]:
    """Yield (names, definition) of every set of synonyms."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (wordnet / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):  # the licence at the top is indented
                head, _, gloss = line.partition(" | ")
                fields = head.split()
                count = int(fields[3], 16)
                names = [name.partition("(")[0].replace("_", " ") for name in fields[4 : 4 + 2 * count : 2]]
                yield ", ".join(names), gloss.partition('; "')[0].strip()


def _parquet(column: str) -> Callable[[Path], Iterator[Any]]:
    def pick(path: Path) -> Iterator[Any]:
        import pyarrow.parquet as pq

        yield from (value for value in pq.read_table(path, columns=[column])[column].to_pylist() if value)

    return pick


def _opening(path: Path) -> Iterator[str]:
    """Yield the first sentence of every abstract."""
    yield from (text.partition(". ")[0] for text in _parquet("abstract")(path))


def _table(column: int | str, delimiter: str = "\t") -> Pick:
    def pick(path: Path) -> Iterator[str]:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = csv.reader(file) if delimiter == "," else csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            at = column if isinstance(column, int) else next(rows).index(column)
            yield from (row[at] for row in rows if len(row) > at)

    return pick


def _json_lines(key: str) -> Pick:
    def pick(path: Path) -> Iterator[str]:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from (value for line in file if (value := json.loads(line).get(key)))

    return pick


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        yield from file


SOURCES: dict[str, tuple[str, Pick]] = {
    "ACL Anthology titles": ("acl_anthology/papers.parquet", _parquet("title")),
    "ACL Anthology first sentences": ("acl_anthology/papers.parquet", _opening),
    "ETSI titles": ("telecom_standards/etsi.parquet", _parquet("title")),
    "3GPP titles": ("telecom_standards/3gpp.parquet", _parquet("title")),
    "MedQuAD questions": ("medquad/queries.jsonl.gz", _json_lines("text")),
    "Multi30K captions": ("multi30k/train.tsv.gz", _table("en")),
    "O*NET tasks": ("onet/task_statements.txt.gz", _table("Task")),
    "ESCO skills": ("esco_skills/skills_en_label.txt.gz", _lines),
    "ESCO occupations": ("esco_skills/occupations_en.csv.gz", _table("description", ",")),
    "Freebase descriptions": ("fb15k237/entities.jsonl.gz", _json_lines("description")),
    "STS sentences": ("stsb/en.train.tsv.gz", _table("sentence1")),
    "Banking questions": ("banking77/train.csv.gz", _table("text", ",")),
    "MMLU questions": ("mmlu/mmlu.parquet", _parquet("question")),
    "Brown sentences": ("lm_corpora/brown.tsv.gz", _table(1)),
    "ABC science news": ("lm_corpora/abc_science.txt.gz", _lines),
    "ABC rural news": ("lm_corpora/abc_rural.txt.gz", _lines),
    "Tatoeba sentences": ("tatoeba/tatoeba.tsv.gz", _table("english")),
}
"""Where texts come from: file below the data folder, and how to read it."""
