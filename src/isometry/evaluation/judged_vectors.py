"""Judged sets as vectors: documents and queries encoded once, and how well rankings of them do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isometry.evaluation.corpora import KeptEncoder, unit
from isometry.evaluation.judged import document_text, load_judged
from isometry.evaluation.measures import Measured, measure, run_from_arrays

if TYPE_CHECKING:
    from isometry.encoders.base import Progress

__all__ = ["JudgedVectors", "load_judged_vectors"]

NDCG = "nDCG@10"
_TOP = 10


@dataclass(frozen=True)
class JudgedVectors:
    """A judged set whose texts are vectors.

    Attributes
    ----------
    name : str
    x : (n, d) float32
        Documents, of norm 1.
    queries : (nq, d) float32
        Judged queries, of norm 1.
    document_ids, query_ids : tuple of str
    qrels : dict of str to dict of str to int
        Grades of documents, by query.
    """

    name: str
    x: NDArray[np.float32]
    queries: NDArray[np.float32]
    document_ids: tuple[str, ...]
    query_ids: tuple[str, ...]
    qrels: dict[str, dict[str, int]]

    def judge(self, ids: NDArray[np.int64], scores: NDArray[np.float32]) -> Measured:
        """Return nDCG@10 of what a search returned for the queries: rows of `x` (nq, k) and their scores."""
        return measure(run_from_arrays(self.query_ids, self.document_ids, ids, scores), self.qrels, [NDCG])

    def judge_cosines(self, x: NDArray[Any], queries: NDArray[Any]) -> Measured:
        """Return nDCG@10 of ranking all documents by the cosine of other vectors for them and for the queries."""
        x, queries = (unit(np.asarray(part, np.float32)) for part in (x, queries))
        scores = queries @ x.T
        k = min(_TOP, scores.shape[1])
        best = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
        return self.judge(best, np.take_along_axis(scores, best, axis=1))


def load_judged_vectors(
    folder: Path, *, keep: Path | None = None, most_queries: int | None = None, progress: Progress | None = None
) -> JudgedVectors:
    """Encode a judged set in BEIR layout with the bundled encoder, as documents without splitting them.

    Parameters
    ----------
    folder : Path
        With corpus, queries and judgements.
    keep : Path, optional
        Where vectors are kept and read from next time; by default in the user's cache folder.
    most_queries : int, optional
        Only so many of the queries, evenly spread.
    progress : callable, optional
        Called with (done, total, what) while texts are encoded.

    Raises
    ------
    NotFound, BadRecord, Damaged, MissingExtra
        As `load_judged` and `isometry.encoders.load_encoder`.
    """
    from isometry.cache import cache_folder

    judged = load_judged(folder)
    home = cache_folder() / "benchmarks" if keep is None else keep
    home.mkdir(parents=True, exist_ok=True)
    encode = KeptEncoder(home, progress)
    documents = {document["id"]: document_text(document) for document in judged.corpus}
    step = 1 if most_queries is None else max(1, -(-len(judged.queries) // most_queries))
    queries = dict(list(judged.queries.items())[::step])
    return JudgedVectors(
        judged.name,
        np.array(encode(list(documents.values()))),
        np.array(encode(list(queries.values()))),
        tuple(documents),
        tuple(queries),
        {query: judged.qrels[query] for query in queries},
    )
