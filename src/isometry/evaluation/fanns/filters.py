"""Filters of a wanted selectivity: on real attributes of papers, and on values that follow the vectors or run against.

Each is given as text for ``collection.search(where=...)`` and as the mask that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.errors import check_choice, check_range
from isometry.evaluation.corpora import VectorSet, digest_texts, kept, unit

__all__ = [
    "KINDS",
    "LEANINGS",
    "SELECTIVITIES",
    "Filter",
    "leaning",
    "load_papers",
    "one_region",
    "paper_filters",
]

SELECTIVITIES = (0.001, 0.01, 0.05, 0.2, 0.5, 0.9)
KINDS = ("equality", "range", "set membership", "combination")
LEANINGS = ("independent", "correlated", "anti-correlated")
_OFF = 1.6
"""A filter that passes this many times more or less than wanted does not count as one of that selectivity."""
PAPERS = "acl_anthology/papers.parquet"
_COLUMNS = ("title", "abstract", "authors", "n_authors", "year", "venue")


@dataclass(frozen=True)
class Filter:
    """A filter and the rows that it passes.

    Attributes
    ----------
    kind : str
        One of `KINDS` or `LEANINGS`.
    wanted : float
        The selectivity that it was made for.
    where : str
        SQL text; empty where it is not over attributes of a collection.
    mask : (n,) bool
    """

    kind: str
    wanted: float
    where: str
    mask: NDArray[np.bool_] = field(hash=False)

    @property
    def share(self) -> float:
        """Share of the rows that pass."""
        return float(self.mask.mean())


def leaning(x: NDArray[np.floating], queries: NDArray[np.floating], kind: str, seed: int = 0) -> NDArray[np.float64]:
    """Return values of an attribute from 0 to 1, spread evenly: rows with a value below s are a share s of all.

    Parameters
    ----------
    x, queries : (n, d), (nq, d) array
    kind : {"independent", "correlated", "anti-correlated"}
        Random; smallest for the rows most like the middle of the queries; smallest for those least like it. Take
        queries of one region (see `one_region`), or the last two do not differ from any other direction.
    seed : int

    Raises
    ------
    InvalidInput
        An unknown kind.
    """
    check_choice("kind", kind, LEANINGS)
    if kind == "independent":
        order = np.random.default_rng(seed).permutation(len(x))
    else:
        likeness = x @ (queries.mean(0) - x.mean(0))
        order = np.argsort(-likeness if kind == "correlated" else likeness, kind="stable")
    values = np.empty(len(x))
    values[order] = (np.arange(len(x)) + 0.5) / len(x)
    return values


def one_region(queries: NDArray[np.float32], share: float = 0.2) -> NDArray[np.float32]:
    """Return the queries furthest along the direction in which they differ most: people who ask about one thing."""
    centred = queries - queries.mean(0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    along = centred @ (axis * np.sign(axis[np.argmax(np.abs(axis))]))
    count = max(1, round(share * len(queries)))
    return queries[np.sort(np.argsort(-along, kind="stable")[:count])]


def paper_filters(papers: Any, wanted: float) -> Iterator[Filter]:
    """Yield a filter of every kind that passes about the `wanted` share of papers, where their attributes have one.

    Parameters
    ----------
    papers : pyarrow.Table
        With the columns ``year`` and ``n_authors`` (integers) and ``venue`` (text); a missing value passes no filter.
    wanted : float
    """
    year, authors = (_numbers(papers[name]) for name in ("year", "n_authors"))
    venue = np.array([each or "" for each in papers["venue"].to_pylist()])
    candidates: dict[str, Iterable[tuple[str, NDArray[np.bool_]]]] = {
        "equality": _equalities(year, authors, venue),
        "range": _ranges(year),
        "set membership": [_venues(venue, wanted)],
        "combination": _combinations(year, authors),
    }
    for kind in KINDS:
        where, mask = min(candidates[kind], key=lambda each: abs(np.log(max(each[1].mean(), 1e-9) / wanted)))
        if wanted / _OFF <= mask.mean() <= wanted * _OFF:
            yield Filter(kind, wanted, where, mask)


def load_papers(
    data: Path, n: int, *, queries: int = 200, seed: int = 0, folder: Path | None = None
) -> tuple[VectorSet, Any]:
    """Return papers of the ACL Anthology as unit vectors of their titles (wordllama), and their attributes.

    Parameters
    ----------
    data : Path
        Folder with ``acl_anthology/papers.parquet``.
    n : int
        Most papers; others are the queries.
    queries, seed : int
    folder : Path, optional
        Where vectors are kept; by default in the user's cache folder.

    Returns
    -------
    vectors : VectorSet
    papers : pyarrow.Table
        ``id``, ``title``, ``authors``, ``n_authors``, ``year``, ``venue`` of each vector.

    Raises
    ------
    NotFound, MissingExtra
        The file is missing; the encoder is not installed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from isometry.cache import cache_folder
    from isometry.encoders import load_encoder
    from isometry.errors import NotFound

    check_range("n", n, 1)
    path = data / PAPERS
    if not path.is_file():
        raise NotFound(f"{path} is missing; expected the folder of data sets that holds the ACL Anthology")
    table = pq.read_table(path, columns=["id", *(c for c in _COLUMNS if c != "abstract")])
    table = table.filter(pa.compute.greater(pa.compute.utf8_length(table["title"]), 10))
    order = np.random.default_rng(seed).permutation(len(table))[: n + queries]
    table = table.take(order)
    titles = table["title"].to_pylist()
    home = cache_folder() / "benchmarks" if folder is None else folder
    home.mkdir(parents=True, exist_ok=True)
    encoder = load_encoder("wordllama")
    name = f"wordllama-{digest_texts(titles, encoder.fingerprint.digest)}"
    found = np.array(kept(home, name, lambda: unit(np.asarray(encoder.encode_document(titles)))))
    vectors = VectorSet(f"ACL Anthology {found.shape[1]}-d", found[queries:], found[:queries], found[:0], home)
    return vectors, table.slice(queries)


def _numbers(column: Any) -> NDArray[np.int64]:
    return np.array([-1 if each is None else each for each in column.to_pylist()], np.int64)


def _equalities(*columns: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for name, column in zip(("year", "n_authors", "venue"), columns, strict=True):
        for value in np.unique(column).tolist():
            if value not in (-1, ""):
                shown = str(value) if isinstance(value, int) else _quoted(value)
                yield f"{name} = {shown}", column == value


def _ranges(year: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    years = np.unique(year[year >= 0]).tolist()
    for i, first in enumerate(years):
        for last in years[i:]:
            yield f"year between {first} and {last}", (year >= first) & (year <= last)


def _venues(venue: NDArray[np.str_], wanted: float) -> tuple[str, NDArray[np.bool_]]:
    """Return the venues, largest first, that together hold no more than wanted."""
    names, counts = np.unique(venue[venue != ""], return_counts=True)
    chosen, left = [], wanted * len(venue)
    for i in np.argsort(-counts, kind="stable").tolist():
        if counts[i] <= left:
            chosen.append(str(names[i]))
            left -= counts[i]
    return f"venue in ({', '.join(map(_quoted, chosen))})", np.isin(venue, chosen)


def _combinations(year: NDArray[np.int64], authors: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    tests = [(f"n_authors >= {least}", authors >= least) for least in range(2, 12)]
    tests.append(("not (n_authors = 1)", (authors != 1) & (authors >= 0)))
    for first in np.unique(year[year >= 0]).tolist():
        for words, passing in tests:
            yield f"year >= {first} and {words}", (year >= first) & passing


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
