"""The one encoder class: checks, deduplicates, batches and reassembles around any runner."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from isometry.encoders.batching import distinct, plan
from isometry.encoders.fingerprints import changed
from isometry.encoders.pooling import pooled
from isometry.encoders.terms import heaviest
from isometry.errors import InvalidInput
from isometry.vectors import MultiVectors, concat, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from isometry.encoders.base import Fingerprint, Kind, Progress, Role
    from isometry.encoders.tokens import PseudoTokens, Tokens
    from isometry.vectors import Vectors

WINDOW = 8192
LARGEST_FACTOR = 1000


class Runner(Protocol):
    """What differs between models and engines: how a text is prepared, and how a batch is run."""

    @property
    def kind(self) -> Kind:
        """Shape of the vectors."""

    @property
    def dim(self) -> int:
        """Number of dimensions."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that are read, special ones included."""

    @property
    def engine(self) -> str:
        """What computes, in words."""

    @property
    def tokens(self) -> Tokens | PseudoTokens:
        """Counts and cuts tokens."""

    @property
    def document_prompt(self) -> str:
        """Text that is put before every document."""

    @property
    def batch_tokens(self) -> int:
        """Most tokens of one batch, padding included."""

    def prepare(self, texts: list[str], role: Role) -> tuple[list[Any], NDArray[np.int64]]:
        """Return each text as `run` takes it, and its length in tokens (an estimate will do)."""

    def run(self, items: list[Any], role: Role) -> Vectors:
        """Return the vectors of one batch, row for row."""


class TextEncoder:
    """An `Encoder` over a runner; made by `load_encoder`.

    Every text is encoded once per call however often it occurs, in batches of similar length. The result does not
    depend on the order of the texts beyond floating-point rounding (about 1e-6 in float32, 1e-2 relative in bfloat16).
    A sparse encoder says what no word says with no term: the row of an empty text, and of one of white space, is empty.

    Parameters
    ----------
    runner : Runner
        Prepares and runs batches.
    fingerprint : Fingerprint
        Identity of the space of what the runner gives.
    top_terms : int, optional
        Most terms of a sparse vector, the heaviest; of equal ones those in smaller columns. That makes another space,
        with a fingerprint of its own.
    pool_factor : float, optional
        Of a multi-vector encoder: a document keeps one vector for so many tokens. That makes another space, too.

    Attributes
    ----------
    tokens : Tokens or PseudoTokens
        Counts and cuts tokens as the model does.
    passage_tokens : int
        Tokens of a document's own text that fit, special tokens and prompt taken off.
    """

    def __init__(
        self, runner: Runner, fingerprint: Fingerprint, top_terms: int | None = None, pool_factor: float = 1.0
    ) -> None:
        self._runner = runner
        self._full, self._top_terms = fingerprint, min(top_terms or runner.dim, runner.dim)
        self._pool_factor = pool_factor
        self.kind = runner.kind
        self.dim = runner.dim
        self.max_tokens = runner.max_tokens
        changes: dict[str, int | str] = {"top_terms": self._top_terms} if self._top_terms < runner.dim else {}
        changes |= {"pool_factor": f"{pool_factor:g}"} if pool_factor > 1 else {}
        self.fingerprint = changed(fingerprint, changes)
        self.tokens = runner.tokens
        prompt_tokens = len(self.tokens.offsets(runner.document_prompt))
        self.passage_tokens = max(1, self.max_tokens - self.tokens.special_tokens - prompt_tokens)

    @property
    def engine(self) -> str:
        """What computes the vectors, for reports: for example ``"openvino bfloat16"``."""
        return self._runner.engine

    @cached_property
    def vocabulary(self) -> Sequence[str]:
        """The term of each column, for explanations; only sparse encoders that know their terms have it."""
        own: Sequence[str] | None = getattr(self._runner, "vocabulary", None) if self.kind == "sparse" else None
        if own is not None:
            return own
        if self.kind != "sparse" or not hasattr(self.tokens, "terms"):
            raise AttributeError(f"{self!r} has no vocabulary: only sparse encoders whose terms are known have one")
        return self.tokens.terms(self.dim)

    def keeping(self, top_terms: int) -> TextEncoder:
        """Return this encoder with at most `top_terms` terms per text; it never keeps more than before.

        Raises
        ------
        InvalidInput
            The encoder is not sparse.
        """
        if self.kind != "sparse":
            raise InvalidInput(
                f"top_terms is {top_terms}, but {self.fingerprint} is a {self.kind} encoder; "
                "only sparse encoders have terms: leave top_terms out"
            )
        return TextEncoder(self._runner, self._full, min(top_terms, self._top_terms))

    def pooling(self, pool_factor: float) -> TextEncoder:
        """Return this encoder with one vector for about `pool_factor` tokens of a document; queries stay as they are.

        The tokens of a text are clustered (Ward linkage of cosine distances) and each cluster becomes its mean, at
        length 1; the first token of a model with special tokens stays alone.

        Raises
        ------
        InvalidInput
            The encoder is not one of multi-vectors, or the factor is below 1.
        MissingExtra
            sentence-transformers, whose `HierarchicalTokenPooling` does this, is not installed.

        References
        ----------
        Clavié, Chaffin, Adams, Reducing the footprint of multi-vector retrieval with minimal performance impact via
        token pooling, 2024, arXiv:2409.14683.
        """
        number = isinstance(pool_factor, int | float) and not isinstance(pool_factor, bool)
        if not number or not 1 <= pool_factor <= LARGEST_FACTOR:
            raise InvalidInput(f"pool_factor is {pool_factor!r}; expected a number from 1 to {LARGEST_FACTOR}")
        if self.kind != "multi":
            raise InvalidInput(
                f"pool_factor is {pool_factor}, but {self.fingerprint} is a {self.kind} encoder; only multi-vector "
                "encoders have tokens to pool: leave pool_factor out"
            )
        return TextEncoder(self._runner, self._full, pool_factor=float(pool_factor))

    def token_strings(self, texts: list[str], role: Role) -> list[list[str]] | None:
        """Return which token each vector of each text stands for; None where that is not known.

        It is known of multi-vector encoders with a tokenizer, but not of pooled documents.
        """
        tell = getattr(self._runner, "token_strings", None)
        if self.kind != "multi" or tell is None or (role == "document" and self._pool_factor > 1):
            return None
        told: list[list[str]] | None = tell(check_texts(texts), role)
        return told

    def encode_query(self, texts: list[str], *, progress: Progress | None = None) -> Vectors:
        """Return the vectors of queries.

        Parameters
        ----------
        texts : list of str
            Any length, any Unicode; empty strings are allowed. What exceeds `max_tokens` is cut off.
        progress : callable, optional
            Called as ``progress(done, total, "texts")`` after each batch; both count the different texts.

        Returns
        -------
        vectors
            One row per text: ``(n, dim)`` float32, CSR array or `MultiVectors`, finite.

        Raises
        ------
        InvalidInput
            A single string, an item that is not a string, or a model that answered with NaN or infinity.
        """
        return self._encode(texts, "query", progress)

    def encode_document(self, texts: list[str], *, progress: Progress | None = None) -> Vectors:
        """Return the vectors of documents; parameters, result and errors as for `encode_query`."""
        return self._encode(texts, "document", progress)

    def _encode(self, texts: list[str], role: Role, progress: Progress | None) -> Vectors:
        texts = check_texts(texts)
        if not texts:
            return empty(self.kind, self.dim)
        unique, inverse = distinct(texts)
        done, windows = 0, []
        for start in range(0, len(unique), WINDOW):
            items, lengths = self._runner.prepare(unique[start : start + WINDOW], role)
            batches, parts = [], []
            for rows in plan(lengths, self._runner.batch_tokens):
                part = self._runner.run([items[row] for row in rows], role)
                if self.kind == "sparse":
                    wordless = np.array([not unique[start + row].strip() for row in rows])
                    part = heaviest(part, np.where(wordless, 0, self._top_terms))
                if role == "document" and self._pool_factor > 1:
                    part = pooled(part, self._pool_factor, protected=min(1, self.tokens.special_tokens))
                parts.append(part)
                batches.append(rows)
                done += len(rows)
                if progress is not None:
                    progress(done, len(unique), "texts")
            windows.append(take(concat(parts), np.argsort(np.concatenate(batches))))
        vectors = windows[0] if len(windows) == 1 else concat(windows)
        return vectors if len(unique) == len(texts) else take(vectors, inverse)

    def __repr__(self) -> str:
        return f"TextEncoder({self.fingerprint}, {self.kind}, dim={self.dim}, engine={self.engine!r})"


def check_texts(texts: Any) -> list[str]:
    """Return `texts` as a list of str, or raise `InvalidInput` naming the first item that is not one: O(n)."""
    if isinstance(texts, str):
        raise InvalidInput(f"texts is the single string {texts[:60]!r}; expected a list of strings: pass [text]")
    try:
        texts = list(texts)
    except TypeError:
        raise InvalidInput(f"texts is of type {type(texts).__name__}; expected a list of strings") from None
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(
                f"texts[{position}] is {text!r:.80} of type {type(text).__name__}; expected a string: "
                "turn missing values into '' or leave them out"
            )
        try:
            text.encode()
        except UnicodeEncodeError as problem:
            raise InvalidInput(
                f"texts[{position}] holds a lone surrogate ({text[problem.start]!r}) at character {problem.start}, so "
                "it is no Unicode text; decode its source with errors='replace'"
            ) from None
    return texts


def empty(kind: Kind, dim: int) -> Vectors:
    """Return zero rows in the shape of `kind`."""
    if kind == "sparse":
        from scipy.sparse import csr_array

        return csr_array((0, dim), dtype=np.float32)
    nothing = np.zeros((0, dim), np.float32)
    return nothing if kind == "dense" else MultiVectors(nothing, [0])
