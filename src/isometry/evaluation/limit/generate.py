"""LIMIT-style sets of any size: who likes what, so easy to read and so hard to embed."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isometry.errors import AlreadyExists, InvalidInput, check_range
from isometry.evaluation.judged import JudgedSet, load_judged, read_qrels
from isometry.evaluation.limit.graph import relevant_documents
from isometry.evaluation.limit.patterns import relevance_pattern
from isometry.evaluation.limit.people import people
from isometry.evaluation.limit.things import things

_ASKS, _LIKES = "Who likes {}?", "{} likes {}."


def generate_limit(
    *,
    documents: int = 50_000,
    queries: int = 1_000,
    k: int = 2,
    pattern: str = "dense",
    answers: int | None = None,
    things_each: int = 45,
    seed: int = 0,
) -> JudgedSet:
    """Make a set by LIMIT's rule, from names and things that this library carries.

    Every query asks for a thing of its own, "Who likes Harpsichords?", and has k relevant people. All other things that
    people like are never asked for, so the text alone decides every query.

    Parameters
    ----------
    documents : int
        People, 1 to some 1.4 million.
    queries : int
        At least 1; there must be a thing for each and some left over.
    k, pattern : int, str
        Relevant people per query and how they are chosen; see `relevance_pattern`.
    answers : int, optional
        How many people are relevant for something; default as few as the pattern needs (46 for 1,000 dense pairs), or
        for the random and the cyclic pattern one per query.
    things_each : int
        Things per person; those that many queries ask for have at least theirs.
    seed : int

    Returns
    -------
    JudgedSet
        Documents in random order, so that neither rank nor row number tells the relevant ones.

    Raises
    ------
    InvalidInput
        There are too few documents, names or things for what was asked.

    References
    ----------
    Weller et al., arXiv:2508.21038, section 5.1. Names and things are our own; corpus order is random here.
    """
    check_range("seed", seed, 0)
    check_range("documents", documents, 1)
    if answers is None and pattern in ("random", "cycle"):
        answers = min(documents, max(queries, k))
    relevant = relevance_pattern(pattern, queries, answers, k, seed)
    needed = int(relevant.max()) + 1
    if needed > documents:
        raise InvalidInput(
            f"the {pattern} pattern of {queries:,} queries needs {needed:,} documents; documents is {documents:,}"
        )
    random = np.random.default_rng(seed)
    asked, spare = _split_things(queries, random)
    names = people(documents, random)
    wanted: dict[str, list[str]] = defaultdict(list)
    qrels: dict[str, dict[str, int]] = {}
    for number, row in enumerate(relevant.tolist()):
        qrels[f"query_{number}"] = {names[i]: 1 for i in row}
        for i in row:
            wanted[names[i]].append(asked[number])
    texts = {f"query_{number}": _ASKS.format(thing) for number, thing in enumerate(asked)}
    corpus = _corpus(names, wanted, spare, things_each, random)
    return JudgedSet(f"generated-{pattern}-{documents}", corpus, texts, qrels)


def load_limit(folder: str | Path, *, documents: int = 50_000, seed: int = 0) -> JudgedSet:
    """Read the published LIMIT: its queries and judgements, over its corpus or over one made again by the rule.

    Parameters
    ----------
    folder : path
        With ``limit.queries.jsonl``, ``limit.qrels.jsonl`` and perhaps ``limit.corpus.jsonl``, each plain or ``.gz``.
        (LIMIT-small needs nothing special: ``load_judged(folder / "limit-small")``.)
    documents : int
        Size of the corpus when it is made again: the judged people like what the queries say of them, and everybody
        has things that nobody asks for up to 45. Those, and the names of the others, are ours.
    seed : int

    Returns
    -------
    JudgedSet
        Called ``limit``, or ``limit-regenerated-50000`` when the published corpus was not there.

    Raises
    ------
    NotFound, BadRecord, InvalidInput
        As `load_judged`.
    """
    home = Path(folder)
    if any(home.glob("limit.corpus.jsonl*")):
        return load_judged(home / "limit")
    check_range("documents", documents, 1)
    judged = load_judged(home / "limit", corpus=_named(home))
    return regenerate(judged, documents=documents, seed=seed)


def regenerate(judged: JudgedSet, *, documents: int = 50_000, things_each: int = 45, seed: int = 0) -> JudgedSet:
    """Give LIMIT's queries and judgements a corpus again, by the rule they were made by.

    Parameters
    ----------
    judged : JudgedSet
        With queries of the form "Who likes X?"; its corpus is not read.
    documents, things_each, seed : int
        As for `generate_limit`.

    Raises
    ------
    InvalidInput
        A query of another form, or fewer documents than are judged.
    """
    random = np.random.default_rng(check_range("seed", seed, 0))
    wanted: dict[str, list[str]] = defaultdict(list)
    for query, found in relevant_documents(judged.qrels).items():
        thing = thing_asked(judged.queries[query])
        for name in found:
            wanted[name].append(thing)
    if documents < len(wanted):
        raise InvalidInput(
            f"documents is {documents:,} but {len(wanted):,} are judged relevant; expected at least those"
        )
    asked = {thing.lower() for likes in wanted.values() for thing in likes}
    spare = [thing for thing in things() if thing.lower() not in asked]
    names = [*wanted, *people(documents - len(wanted), random, frozenset(wanted))]
    corpus = _corpus(names, wanted, spare, things_each, random)
    return JudgedSet(f"{judged.name}-regenerated-{documents}", corpus, judged.queries, judged.qrels, judged.split)


def things_liked(text: str) -> list[str]:
    """Return the things that a LIMIT document lists: ``["Elm Trees", "Tides"]`` of "Ada likes Elm Trees and Tides."."""
    _, _, listed = text.partition(" likes ")
    front, _, last = listed.rstrip(".").rpartition(" and ")
    return [thing for thing in (*front.split(", "), last) if thing]


def thing_asked(query: str) -> str:
    """Return what a LIMIT query asks for: ``"Elm Trees"`` of "Who likes Elm Trees?".

    Raises
    ------
    InvalidInput
        The query has another form.
    """
    front, back = _ASKS.split("{}")
    if not (query.startswith(front) and query.endswith(back)):
        raise InvalidInput(f"a query is {query!r}; expected the form 'Who likes X?'")
    return query[len(front) : -len(back)]


def save_judged(judged: JudgedSet, folder: str | os.PathLike[str]) -> Path:
    """Write a judged set in BEIR layout: ``corpus.jsonl.gz``, ``queries.jsonl.gz`` and ``qrels/test.tsv``.

    Parameters
    ----------
    judged : JudgedSet
    folder : path
        Must not exist; it appears when all files are whole.

    Raises
    ------
    AlreadyExists
        Something is there.
    """
    home = Path(folder)
    if home.exists():
        raise AlreadyExists(f"{home} is already there; name a new folder")
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".judged-") as aside:
        work = Path(aside) / "set"
        (work / "qrels").mkdir(parents=True)
        _write_lines(work / "corpus.jsonl.gz", ({"_id": d["id"], **d} for d in judged.corpus))
        _write_lines(work / "queries.jsonl.gz", ({"_id": name, "text": text} for name, text in judged.queries.items()))
        with (work / "qrels" / "test.tsv").open("w", encoding="utf-8") as file:
            file.write("query-id\tcorpus-id\tscore\n")
            for query, grades in judged.qrels.items():
                file.writelines(f"{query}\t{document}\t{grade}\n" for document, grade in grades.items())
        work.rename(home)
    return home


def _split_things(queries: int, random: np.random.Generator) -> tuple[list[str], list[str]]:
    mixed = [things()[i] for i in random.permutation(len(things()))]
    if queries >= len(mixed):
        raise InvalidInput(f"queries is {queries:,}; there are {len(mixed):,} things, and some must not be asked for")
    return mixed[:queries], mixed[queries:]


def _corpus(
    names: Sequence[str],
    wanted: Mapping[str, Sequence[str]],
    spare: Sequence[str],
    things_each: int,
    random: np.random.Generator,
) -> list[dict[str, Any]]:
    check_range("things_each", things_each, 1, len(spare))
    documents = []
    for i in random.permutation(len(names)).tolist():
        likes = list(wanted.get(names[i], ()))
        missing = max(0, things_each - len(likes))
        likes += [spare[j] for j in random.choice(len(spare), missing, replace=False).tolist()]
        likes = [likes[j] for j in random.permutation(len(likes)).tolist()]
        listed = f"{', '.join(likes[:-1])} and {likes[-1]}" if len(likes) > 1 else likes[0]
        documents.append({"id": names[i], "title": "", "text": _LIKES.format(names[i], listed)})
    return documents


def _named(folder: Path) -> list[dict[str, str]]:
    """Return a document without text for every judged id."""
    (path,) = sorted(folder.glob("limit.qrels.*"))[:1] or [folder / "limit.qrels.jsonl.gz"]
    qrels, _ = read_qrels(path)
    return [{"id": name} for name in dict.fromkeys(d for grades in qrels.values() for d in grades)]


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
