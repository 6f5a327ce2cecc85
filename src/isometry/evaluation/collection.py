"""Run judged queries over a collection in several modes and compare them query by query."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from isometry.errors import DimensionMismatch, InvalidInput, check_range
from isometry.estimates import Difference
from isometry.evaluation.measures import DEFAULT_MEASURES, Measured, measure, needed_depth

_QUERIES_AT_ONCE = 256

Progress = Callable[[int, int | None, str], None]


class Searchable(Protocol):
    """Anything that answers a list of texts with ids and scores, such as a `Collection`."""

    def search(self, query: list[str], k: int = 10, *, mode: str | None = None, where: Any = None) -> list[Any]:
        """Return one object with ``ids`` and ``scores``, best first, per query."""
        ...


@dataclass(frozen=True)
class Comparison:
    """Several runs over the same queries.

    Attributes
    ----------
    measured : dict of str to Measured
        By mode; the first one is the baseline of the differences.
    differences : dict of str to dict of str to Difference
        By mode (all but the first) and measure: that mode minus the first.
    seconds : dict of str to float
        Wall time of the searches by mode, encoding of the queries included.
    """

    measured: dict[str, Measured]
    differences: dict[str, dict[str, Difference]]
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "modes": {mode: found.to_dict() for mode, found in self.measured.items()},
            "difference_to": next(iter(self.measured)) if self.differences else None,
            "differences": {
                mode: {name: difference.to_dict() for name, difference in found.items()}
                for mode, found in self.differences.items()
            },
            "seconds": self.seconds,
        }


def evaluate_collection(
    collection: Searchable,
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    modes: Sequence[str],
    measures: Sequence[str] = DEFAULT_MEASURES,
    k: int | None = None,
    where: Any = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Measure the search quality of a collection.

    Parameters
    ----------
    collection : Collection
    queries : mapping of query id to text
        Those without a judgement are not searched; judged ones that are absent count as unanswered.
    qrels : mapping of query id to mapping of document id to grade
    modes : sequence of str
        Ways to search, such as ``["dense", "lexical", "hybrid"]``; repeats are dropped.
    measures : sequence of str
        As for `measure`.
    k : int, optional
        Results per query; default as many as the measures look at.
    where : optional
        Filter for every search.
    seed : int
        Of the intervals.
    progress : callable, optional
        Called with (done, total, what).

    Returns
    -------
    Comparison

    Raises
    ------
    InvalidInput
        No mode, no judged query with a text, an unknown measure, and whatever `collection.search` refuses.
    """
    if isinstance(modes, str) or not modes:
        raise InvalidInput(f"modes is {modes!r}; expected a list such as ['dense', 'lexical']")
    depth = needed_depth(measures) if k is None else check_range("k", k, 1)
    asked = {query: queries[query] for query in qrels if query in queries}
    if not asked:
        raise InvalidInput(f"none of the {len(qrels):,} judged queries has a text; are both of the same set?")
    measured, seconds = {}, {}
    for mode in dict.fromkeys(modes):
        began = time.perf_counter()
        run = run_collection(collection, asked, mode=mode, k=depth, where=where, progress=progress)
        seconds[mode] = time.perf_counter() - began
        measured[mode] = measure(run, qrels, measures, seed=seed)
    first, *others = measured
    differences = {
        mode: {name: measured[mode].difference(measured[first], name) for name in measured[first].values}
        for mode in others
    }
    return Comparison(measured, differences, seconds)


def run_collection(
    collection: Searchable,
    queries: Mapping[str, str],
    *,
    mode: str | None,
    k: int,
    where: Any = None,
    progress: Progress | None = None,
) -> dict[str, dict[str, float]]:
    """Search every query and return the scores by query id and document id.

    Parameters
    ----------
    collection : Collection
    queries : mapping of query id to text
    mode : str or None
        None lets the collection choose.
    k : int
    where, progress
        As for `evaluate_collection`.
    """
    names = list(queries)
    run: dict[str, dict[str, float]] = {}
    for start in range(0, len(names), _QUERIES_AT_ONCE):
        batch = names[start : start + _QUERIES_AT_ONCE]
        found = collection.search([queries[name] for name in batch], k, mode=mode, where=where)
        if len(found) != len(batch):
            raise DimensionMismatch(
                f"{len(batch)} queries were asked and {len(found)} answered; expected an answer each"
            )
        run |= {
            name: dict(zip(hits.ids, map(float, hits.scores), strict=True))
            for name, hits in zip(batch, found, strict=True)
        }
        if progress is not None:
            progress(start + len(batch), len(names), f"{mode or 'default'} queries")
    return run
