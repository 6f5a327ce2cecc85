"""Sets with queries to learn from and others to judge by, as vectors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput, check_range
from isometry.evaluation.judged import JudgedSet, Qrels, document_text, load_judged
from isometry.evaluation.measures import measure, run_from_arrays

__all__ = ["TrainingSet", "load_folds", "load_news_threads", "load_split_set", "posts_by_thread"]

MEASURES = ("RR@10", "R@10", "R@100", "nDCG@10")
_TOP = 10
_FEWEST_WORDS = 20
_BLOCK = 256
_REPLY = re.compile(r"^\s*((re|fwd?)\s*(\[\d+\])?\s*:\s*)+", re.IGNORECASE)
_QUOTED = re.compile(r"^\s*([>|:}]|[A-Za-z]{0,4}>)|(writes|wrote|says|said)\s*:\s*$")


@dataclass(frozen=True)
class TrainingSet:
    """Documents, queries to learn from, and other queries with judgements.

    Attributes
    ----------
    name : str
    x : (n, d) float32
        Documents, of norm 1.
    learn_queries : (m, d) float32
    labels : tuple of m arrays of int64
        Rows of `x` that are relevant to them.
    queries : (nq, d) float32
        None of those to learn from.
    document_ids, query_ids : tuple of str
    qrels : dict of str to dict of str to int
        Grades of documents, by query.
    """

    name: str
    x: NDArray[np.float32]
    learn_queries: NDArray[np.float32]
    labels: tuple[NDArray[np.int64], ...]
    queries: NDArray[np.float32]
    document_ids: tuple[str, ...]
    query_ids: tuple[str, ...]
    qrels: dict[str, dict[str, int]]

    def judge(self, ids: NDArray[np.int64], scores: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """Return by query RR@10, R@10, R@100 and nDCG@10 of what a search returned, 100 places each."""
        run = run_from_arrays(self.query_ids, self.document_ids, ids, scores)
        return measure(run, self.qrels, MEASURES, resamples=100).values  # intervals come from all seeds together

    def overlap(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return by query the share of the 10 nearest documents that is among the first 10 `ids`."""
        return (self.exact[:, :, None] == ids[:, None, :_TOP]).any(axis=2).mean(axis=1)

    @cached_property
    def exact(self) -> NDArray[np.int64]:
        """Rows of the 10 documents with the largest inner products, for every query."""
        found = []
        for start in range(0, len(self.queries), _BLOCK):
            scores = self.queries[start : start + _BLOCK] @ self.x.T
            found.append(np.argpartition(-scores, _TOP - 1, axis=1)[:, :_TOP])
        return np.concatenate(found)


def load_news_threads(file: Path, encoder: Any, *, n_learn: int = 6000, seed: int = 0) -> TrainingSet:
    """Return posts of 20 Newsgroups, found by the subject of their thread.

    Parameters
    ----------
    file : Path
        A parquet file with columns ``label``, ``id`` (which differ within a label) and ``text``, posts with headers.
    encoder : encoder
        See `isometry.encoders.load_encoder`.
    n_learn : int, default 6000
        So many threads, drawn with `seed`, are to learn from; the others judge.

    Raises
    ------
    InvalidInput
        There are not more threads than those to learn from.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(file, columns=["label", "id", "text"]).to_pylist()
    posts, threads = posts_by_thread((f"{row['label']}/{row['id']}", row["text"]) for row in table)
    subjects = list(threads)
    if len(subjects) <= n_learn:
        raise InvalidInput(f"{file} has {len(subjects)} threads, and {n_learn} are to be learned from")
    order = np.random.default_rng(seed).permutation(len(subjects))
    learn, judge = ([subjects[i] for i in part] for part in (order[:n_learn], order[n_learn:]))
    place = {identifier: row for row, identifier in enumerate(posts)}
    return TrainingSet(
        "newsgroup threads",
        np.array(encoder.encode_document(list(posts.values()))),
        np.array(encoder.encode_query(learn)),
        tuple(np.array([place[each] for each in threads[subject]], np.int64) for subject in learn),
        np.array(encoder.encode_query(judge)),
        tuple(posts),
        tuple(judge),
        {subject: dict.fromkeys(threads[subject], 1) for subject in judge},
    )


def posts_by_thread(raw: Iterable[tuple[str, str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return bodies of posts by id, and ids by subject.

    Headers and quoted lines are left out, subjects are taken without "Re:", and posts that are short, repeat another,
    or have no subject are passed over.
    """
    posts: dict[str, str] = {}
    threads: dict[str, list[str]] = {}
    seen: set[str] = set()
    for identifier, text in raw:
        head, _, body = text.partition("\n\n")
        lines = [line.partition(":")[2] for line in head.splitlines() if line.lower().startswith("subject:")]
        subject = " ".join(_REPLY.sub("", lines[0]).split()) if lines else ""
        kept = " ".join(" ".join(line for line in body.splitlines() if not _QUOTED.search(line)).split())
        if subject and kept not in seen and len(kept.split()) >= _FEWEST_WORDS:
            seen.add(kept)
            posts[identifier] = kept
            threads.setdefault(subject, []).append(identifier)
    return posts, threads


def load_split_set(folder: Path, encoder: Any, *, learn: str = "train", judge: str = "test") -> TrainingSet:
    """Return a judged set that has queries to learn from as well as others.

    Parameters
    ----------
    folder : Path
        In BEIR layout, with both splits; judgements without a split's name are the test's.
    encoder : encoder

    Raises
    ------
    NotFound, BadRecord, InvalidInput
        As `load_judged`.
    """
    taught = load_judged(folder, learn, on_unknown="drop", on_duplicate="skip")
    judged = load_judged(folder, None if (folder / "qrels.tsv").exists() else judge, on_unknown="drop")
    texts = _documents_of(judged)
    labels = _relevant(texts, taught.qrels)
    asked = [query for query, rows in labels.items() if len(rows) and query not in judged.queries]
    return TrainingSet(
        judged.name,
        np.array(encoder.encode_document(list(texts.values()))),
        np.array(encoder.encode_query([taught.queries[query] for query in asked])),
        tuple(labels[query] for query in asked),
        np.array(encoder.encode_query(list(judged.queries.values()))),
        tuple(texts),
        tuple(judged.queries),
        judged.qrels,
    )


def load_folds(folder: Path, encoder: Any, *, folds: int = 5, seed: int = 0) -> list[TrainingSet]:
    """Return a judged set so many times, each with other queries to judge by; the rest are to learn from.

    Parameters
    ----------
    folder : Path
        In BEIR layout.
    encoder : encoder
    folds : int, default 5
    seed : int, default 0
        Queries are dealt out at random.

    Raises
    ------
    NotFound, BadRecord
        As `load_judged`.
    InvalidInput
        There are fewer judged queries than folds, or less than two folds.
    """
    judged = load_judged(folder, on_unknown="drop")
    check_range("folds", folds, 2, len(judged.queries))
    texts, names = _documents_of(judged), list(judged.queries)
    x = np.array(encoder.encode_document(list(texts.values())))
    queries = np.array(encoder.encode_query(list(judged.queries.values())))
    relevant = _relevant(texts, judged.qrels)
    labels = [relevant[name] for name in names]
    dealt = np.random.default_rng(seed).permutation(len(names)) % folds
    found = []
    for fold in range(folds):
        asked = np.flatnonzero(dealt == fold)
        taught = np.array([i for i in np.flatnonzero(dealt != fold) if len(labels[i])], np.int64)
        found.append(
            TrainingSet(
                f"{judged.name}, part {fold + 1}",
                x,
                queries[taught],
                tuple(labels[i] for i in taught),
                queries[asked],
                tuple(texts),
                tuple(names[i] for i in asked),
                {names[i]: judged.qrels[names[i]] for i in asked},
            )
        )
    return found


def _documents_of(judged: JudgedSet) -> dict[str, str]:
    """Return the texts of documents by id, in the order of their rows."""
    return {document["id"]: document_text(document) for document in judged.corpus}


def _relevant(texts: dict[str, str], qrels: Qrels) -> dict[str, NDArray[np.int64]]:
    """Return the rows of relevant documents, by query."""
    place = {identifier: row for row, identifier in enumerate(texts)}
    return {
        query: np.array([place[d] for d, grade in grades.items() if grade > 0], np.int64)
        for query, grades in qrels.items()
    }
