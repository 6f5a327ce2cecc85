"""Read judged sets in BEIR layout: a corpus, queries, and who judged what relevant to what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from isometry.errors import BadRecord, DuplicateIds, InvalidInput, check_choice, did_you_mean
from isometry.evaluation import layout
from isometry.evaluation.lines import read_json_lines, read_lines

Document = dict[str, Any]
Qrels = dict[str, dict[str, int]]
OnUnknown = Literal["error", "keep", "drop"]
OnDuplicate = Literal["error", "skip"]


class Documents(Protocol):
    """Any sized collection of documents that can be walked more than once: a list, or a `Corpus` on disk."""

    def __iter__(self) -> Iterator[Document]: ...
    def __len__(self) -> int: ...


class Corpus:
    """Documents of a ``corpus.jsonl[.gz]`` file, read one by one whenever they are walked.

    Opening reads the file once, checks every line and keeps the ids alone, so a corpus larger than memory is fine.

    Parameters
    ----------
    path : Path
    on_duplicate : {"error", "skip"}
        "skip" keeps the first document of an id.

    Attributes
    ----------
    path : Path
    ids : frozenset of str
    skipped : frozenset of int
        Lines left out because their id occurred before.

    Raises
    ------
    NotFound, BadRecord, DuplicateIds, Damaged
        No such file; a line that is no document (named with its number); an id that occurs twice; broken gzip data.
    """

    def __init__(self, path: Path, *, on_duplicate: OnDuplicate = "error") -> None:
        self.path = path
        ids = _UniqueIds(path, "document", on_duplicate)
        for number, record in read_json_lines(path):
            ids.take(_document(record, path, number)["id"], number)
        self.ids = frozenset(ids.lines)
        self.skipped = frozenset(ids.skipped)

    def __iter__(self) -> Iterator[Document]:
        for number, record in read_json_lines(self.path):
            if number not in self.skipped:
                yield _document(record, self.path, number)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Corpus({str(self.path)!r}, {len(self):,} documents)"


@dataclass(frozen=True)
class LoadReport:
    """What reading a judged set left out or met on the way.

    Attributes
    ----------
    unjudged_queries : int
        Queries of the file without a judgement in this split; left out of `JudgedSet.queries`.
    unknown_queries, unknown_documents : int
        Judgements that name a query or document which does not exist (0 unless `on_unknown` allowed them).
    repeated_judgements : int
        Judgements that repeat an earlier one word for word.
    duplicate_queries, duplicate_documents : int
        Records left out because their id occurred before (0 unless `on_duplicate` allowed them).
    """

    unjudged_queries: int = 0
    unknown_queries: int = 0
    unknown_documents: int = 0
    repeated_judgements: int = 0
    duplicate_queries: int = 0
    duplicate_documents: int = 0


@dataclass(frozen=True)
class JudgedSet:
    """Documents, queries and relevance judgements.

    Attributes
    ----------
    name : str
    corpus : Documents
        Sized iterable of documents: dicts with ``id``, ``title``, ``text`` and attributes. `Collection.add` takes it.
    queries : dict of str to str
        Text of every judged query by id.
    qrels : dict of str to dict of str to int
        Grade of every judged document by query id and document id; above 0 is relevant.
    split : str or None
    report : LoadReport
    """

    name: str
    corpus: Documents
    queries: dict[str, str]
    qrels: Qrels
    split: str | None = None
    report: LoadReport = field(default_factory=LoadReport)

    def __repr__(self) -> str:
        split = f", split={self.split!r}" if self.split else ""
        judgements = sum(map(len, self.qrels.values()))
        return (
            f"JudgedSet({self.name!r}{split}: {len(self.corpus):,} documents, {len(self.queries):,} queries, "
            f"{judgements:,} judgements)"
        )


def load_judged(
    folder: str | Path,
    split: str | None = None,
    *,
    corpus: str | Path | Iterable[Mapping[str, Any]] | None = None,
    on_unknown: OnUnknown = "error",
    on_duplicate: OnDuplicate = "error",
) -> JudgedSet:
    """Read a judged set in BEIR layout.

    Parameters
    ----------
    folder : path
        A folder with ``corpus.jsonl``, ``queries.jsonl`` and judgements, each plain or ``.gz``; or such a folder
        followed by the first word of its file names (``limit/limit-small`` for ``limit/limit-small.corpus.jsonl.gz``).
    split : str, optional
        Which judgements: ``qrels/<split>`` or ``qrels_<split>``, with ``queries_<split>`` where it exists. Without it
        ``qrels`` is read, else ``qrels/test``, else the only split there is.
        Judgements are tab-separated (query, document, grade; a header line is recognised), TREC lines of four
        columns, or JSON lines with ``query-id``, ``corpus-id`` and ``score``.
    corpus : path or iterable of dict, optional
        Documents to use in place of the folder's own file.
    on_unknown : {"error", "keep", "drop"}
        What to do with judgements that name a query or document which does not exist. "keep" counts them as trec_eval
        does: an absent relevant document can't be found and lowers recall; "drop" forgets them. Queries that do not
        exist are always left out when not an error.
    on_duplicate : {"error", "skip"}
        What to do when an id of a query or document occurs again; "skip" keeps the first and counts the others.

    Returns
    -------
    JudgedSet

    Raises
    ------
    NotFound
        A file is missing; the message says which names were tried and what the folder holds.
    BadRecord
        A line can't be read; the message names file and line.
    DuplicateIds
        A document or query occurs twice, or one pair is judged with two grades.
    InvalidInput
        No judgements at all, several splits to choose from, or judgements that name unknown ids.
    Damaged
        Broken gzip data.
    """
    check_choice("on_unknown", on_unknown, ("error", "keep", "drop"))
    check_choice("on_duplicate", on_duplicate, ("error", "skip"))
    files = layout.find_files(Path(folder), split, needs_corpus=corpus is None)
    documents: Documents
    if corpus is None or isinstance(corpus, (str, Path)):
        documents = stored = Corpus(Path(corpus) if corpus is not None else files.corpus, on_duplicate=on_duplicate)
        ids, duplicate_documents = stored.ids, len(stored.skipped)
    else:
        documents, duplicate_documents = _in_memory(corpus, on_duplicate)
        ids = frozenset(document["id"] for document in documents)
    queries, duplicate_queries = read_queries(files.queries, on_duplicate)
    qrels, repeated = read_qrels(files.qrels)
    unknown_queries = [query for query in qrels if query not in queries]
    unknown_documents = sum(document not in ids for judged in qrels.values() for document in judged)
    if on_unknown == "error" and (unknown_queries or unknown_documents):
        raise _unknown(files, qrels, unknown_queries, unknown_documents, queries, ids)
    kept = {query: grades for query, grades in qrels.items() if query in queries}
    if on_unknown == "drop":
        kept = {query: {d: grade for d, grade in grades.items() if d in ids} for query, grades in kept.items()}
        kept = {query: grades for query, grades in kept.items() if grades}
    if not kept:
        raise InvalidInput(f"{files.qrels} has no judgement for a query of {files.queries}; are they of the same set?")
    report = LoadReport(
        unjudged_queries=len(queries) - len(kept),
        unknown_queries=len(unknown_queries),
        unknown_documents=unknown_documents,
        repeated_judgements=repeated,
        duplicate_queries=duplicate_queries,
        duplicate_documents=duplicate_documents,
    )
    return JudgedSet(files.name, documents, {query: queries[query] for query in kept}, kept, split, report)


def document_text(document: Mapping[str, Any]) -> str:
    """Return what is embedded and searched of a document: title and text, joined by a blank.

    Parameters
    ----------
    document : mapping
        With ``title`` and ``text``, either of which may be empty or absent.
    """
    return " ".join(part for part in (document.get("title"), document.get("text")) if part)


def read_qrels(path: Path) -> tuple[Qrels, int]:
    """Read judgements; return them and how many lines repeat an earlier one.

    Parameters
    ----------
    path : Path
        Tab-separated with three columns (and perhaps a header), TREC lines with four, or JSON lines; plain or ``.gz``.

    Raises
    ------
    BadRecord, DuplicateIds, InvalidInput
        A bad line; two grades for one pair; no judgement at all.
    """
    qrels: Qrels = {}
    repeated = 0
    for number, query, document, grade in _judgements(path):
        grades = qrels.setdefault(query, {})
        if grades.setdefault(document, grade) != grade:
            raise DuplicateIds(
                f"{path} line {number}: query {query!r} and document {document!r} have grade {grade} here and "
                f"{grades[document]} earlier; expected one grade per pair"
            )
        repeated += 1
    repeated -= sum(map(len, qrels.values()))
    if not qrels:
        raise InvalidInput(f"{path} holds no judgement; expected lines of query id, document id and grade")
    return qrels, repeated


def _judgements(path: Path) -> Iterator[tuple[int, str, str, int]]:
    if ".jsonl" in path.suffixes:
        for number, record in read_json_lines(path):
            try:
                parts = [str(record[key]) for key in ("query-id", "corpus-id", "score")]
            except KeyError as missing:
                raise BadRecord(
                    f"{path} line {number}: {missing} is missing; expected query-id, corpus-id and score"
                ) from None
            yield number, parts[0], parts[1], _grade(parts[2], path, number)
        return
    header_possible = True
    for number, line in read_lines(path):
        columns = line.split("\t") if "\t" in line else line.split()
        if header_possible and len(columns) in (3, 4) and not _is_grade(columns[-1]):
            header_possible = False
            continue
        header_possible = False
        if len(columns) not in (3, 4):
            raise BadRecord(
                f"{path} line {number}: {len(columns)} columns; expected query id, document id and grade between tabs"
            )
        yield number, columns[0], columns[-2], _grade(columns[-1], path, number)


def _is_grade(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return False


def _grade(text: str, path: Path, number: int) -> int:
    if not _is_grade(text):
        raise BadRecord(f"{path} line {number}: grade is {text!r}; expected a whole number such as 0, 1 or 2")
    return int(float(text))


class _UniqueIds:
    """Ids met so far, with the line of each; a repeated one is an error or skipped."""

    def __init__(self, path: Path, what: str, on_duplicate: OnDuplicate) -> None:
        self.lines: dict[str, int] = {}
        self.skipped: list[int] = []
        self._path, self._what, self._on_duplicate = path, what, on_duplicate

    def take(self, identifier: str, number: int) -> bool:
        """Say whether this is the first record of the id."""
        first = self.lines.setdefault(identifier, number)
        if first == number:
            return True
        if self._on_duplicate == "error":
            raise DuplicateIds(
                f"{self._path} line {number}: {self._what} id {identifier!r} occurs already on line {first}; ids must "
                "differ (on_duplicate='skip' keeps the first)"
            )
        self.skipped.append(number)
        return False


def read_queries(path: Path, on_duplicate: OnDuplicate = "error") -> tuple[dict[str, str], int]:
    """Read queries; return their texts by id and how many records repeat an earlier id.

    Parameters
    ----------
    path : Path
        JSON lines with ``_id`` (or ``id``) and ``text``, plain or ``.gz``.
    on_duplicate : {"error", "skip"}
        "skip" keeps the first query of an id.

    Raises
    ------
    NotFound, BadRecord, DuplicateIds, Damaged
        No such file; a line that is no query (named with its number); an id that occurs twice; broken gzip data.
    """
    queries: dict[str, str] = {}
    ids = _UniqueIds(path, "query", on_duplicate)
    for number, record in read_json_lines(path):
        identifier = _identifier(record, path, number)
        text = record.get("text")
        if not isinstance(text, str) or not text.strip():
            raise BadRecord(
                f"{path} line {number}: query {identifier!r} has text {text!r}; expected a non-empty string"
            )
        if ids.take(identifier, number):
            queries[identifier] = text
    return queries, len(ids.skipped)


def _in_memory(corpus: Iterable[Mapping[str, Any]], on_duplicate: OnDuplicate) -> tuple[list[Document], int]:
    where = Path("corpus")
    ids = _UniqueIds(where, "document", on_duplicate)
    documents = [_document(dict(record), where, number) for number, record in enumerate(corpus, 1)]
    return [document for number, document in enumerate(documents, 1) if ids.take(document["id"], number)], len(
        ids.skipped
    )


def _document(record: dict[str, Any], path: Path, number: int) -> Document:
    """Return ``id``, ``title`` and ``text`` first, then the attributes; BEIR's ``metadata`` is opened up."""
    identifier = _identifier(record, path, number)
    document: Document = {"id": identifier}
    for key in ("title", "text"):
        value = record.get(key)
        if not isinstance(value, str | None):
            raise BadRecord(f"{path} line {number}: {key} of document {identifier!r} is {value!r}; expected a string")
        document[key] = value or ""
    attributes = {key: value for key, value in record.items() if key not in ("_id", *document)}
    if isinstance(attributes.get("metadata"), dict):
        attributes = attributes.pop("metadata") | attributes
    return document | {key: value for key, value in attributes.items() if key not in document}


def _identifier(record: dict[str, Any], path: Path, number: int) -> str:
    identifier = record.get("_id", record.get("id"))
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    if not isinstance(identifier, str) or not identifier:
        raise BadRecord(f"{path} line {number}: _id is {identifier!r}; expected a non-empty string")
    return identifier


def _unknown(
    files: layout.Files,
    qrels: Qrels,
    unknown_queries: list[str],
    unknown_documents: int,
    queries: dict[str, str],
    ids: frozenset[str],
) -> InvalidInput:
    problems = []
    if unknown_queries:
        first = unknown_queries[0]
        problems.append(
            f"{len(unknown_queries):,} of {len(qrels):,} judged queries are not in {files.queries.name} "
            f"(first: {first!r}{did_you_mean(first, queries)})"
        )
    if unknown_documents:
        first = next(document for grades in qrels.values() for document in grades if document not in ids)
        problems.append(f"{unknown_documents:,} judgements name documents that do not exist (first: {first!r})")
    return InvalidInput(
        f"{files.qrels}: {' and '.join(problems)}; pass on_unknown='drop' to forget those judgements or 'keep' to "
        "count absent documents as never found"
    )
