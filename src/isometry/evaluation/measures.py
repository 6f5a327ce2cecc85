"""Score runs against judgements: any ir-measures measure, per query, with intervals and paired differences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.errors import DimensionMismatch, InvalidInput, MissingExtra, did_you_mean
from isometry.estimates import CONFIDENCE, RESAMPLES, Difference, Estimate, bootstrap_difference, bootstrap_means

DEFAULT_MEASURES = ("nDCG@10", "R@100", "RR@10", "AP")

Run = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Measured:
    """The value of each measure for every judged query of one run.

    Attributes
    ----------
    queries : tuple of str
        Query ids, sorted.
    values : dict of str to (n,) float64
        By measure (in ir-measures' spelling), one value per query in the order of `queries`.
    estimates : dict of str to Estimate
        Mean and interval by measure.
    seed, resamples, confidence
        Settings of the bootstrap.
    """

    queries: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]
    estimates: dict[str, Estimate]
    seed: int
    resamples: int
    confidence: float

    def __getitem__(self, measure: str) -> Estimate:
        """Return mean and interval of one measure, in any spelling ir-measures knows (``MRR@10`` is ``RR@10``)."""
        return self.estimates[self._known(measure)]

    def per_query(self, measure: str) -> dict[str, float]:
        """Return one measure's value by query id."""
        return dict(zip(self.queries, self.values[self._known(measure)].tolist(), strict=True))

    def difference(self, baseline: Measured, measure: str) -> Difference:
        """Return ``mean(this - baseline)`` over the same queries, with interval and p-value.

        Raises
        ------
        DimensionMismatch
            The two were not measured on the same queries.
        InvalidInput
            One of them does not hold the measure.
        """
        if self.queries != baseline.queries:
            only = sorted(set(self.queries) ^ set(baseline.queries))
            raise DimensionMismatch(
                f"{len(only):,} queries are in only one of the two runs (first: {only[0]!r}); pairs need "
                "both measured against the same judgements"
            )
        return bootstrap_difference(
            self.values[self._known(measure)],
            baseline.values[baseline._known(measure)],
            seed=self.seed,
            resamples=self.resamples,
            confidence=self.confidence,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the estimates as plain data, by measure."""
        return {measure: estimate.to_dict() for measure, estimate in self.estimates.items()}

    def _known(self, measure: str) -> str:
        name = measure if measure in self.values else str(parse_measures([measure])[0])
        if name not in self.values:
            raise InvalidInput(f"{measure} was not measured; known here: {', '.join(self.values)}")
        return name


def measure(
    run: Run,
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Measured:
    """Score a run against relevance judgements.

    Parameters
    ----------
    run : mapping of query id to mapping of document id to score
        Higher is better. Queries without a judgement are ignored.
    qrels : mapping of query id to mapping of document id to grade
        A grade above 0 is relevant; nDCG uses the grade as gain.
    measures : sequence of str
        Anything ir-measures can parse and compute: ``nDCG@10``, ``R@100``, ``RR@10``, ``AP(rel=2)``, ``Success@5`` ...
    seed, resamples, confidence
        As for `isometry.estimates.bootstrap_mean`.

    Returns
    -------
    Measured

    Raises
    ------
    InvalidInput
        Empty judgements, no judged query in the run, a NaN score, an unknown measure.
    MissingExtra
        ir-measures is not installed.

    Notes
    -----
    As in trec_eval, every query of `qrels` counts: one that the run lacks scores 0, and so does one whose judged
    documents are all irrelevant (drop such queries from `qrels` first where they should not count; the
    InformationRetrievalEvaluator of sentence-transformers does).

    Equal scores are ordered by document id, last first: trec_eval's rule, applied here once for all measures, because
    ir-measures' own providers differ. trec_eval also rounds scores to float32 before it compares them; here scores
    are compared as given.
    """
    parsed = parse_measures(measures)
    if not qrels:
        raise InvalidInput("qrels are empty; expected the judgements of at least one query")
    if not any(query in run for query in qrels):
        raise InvalidInput(
            f"the run answers none of the {len(qrels):,} judged queries (first judged: {next(iter(qrels))!r}, first "
            f"answered: {next(iter(run), None)!r}); are run and judgements of the same set?"
        )
    ranked = {query: _ranks(query, run[query]) for query in qrels if run.get(query)}
    queries = tuple(sorted(qrels))
    place = {query: i for i, query in enumerate(queries)}
    values = {str(each): np.zeros(len(queries)) for each in parsed}
    for metric in _evaluator(parsed, qrels).iter_calc(ranked):
        values[str(metric.measure)][place[metric.query_id]] = metric.value
    found = bootstrap_means(list(values.values()), seed=seed, resamples=resamples, confidence=confidence)
    return Measured(queries, values, dict(zip(values, found, strict=True)), seed, resamples, confidence)


def run_from_arrays(
    query_ids: Sequence[str], document_ids: Sequence[str], ids: NDArray[np.int64], scores: NDArray[np.float32]
) -> dict[str, dict[str, float]]:
    """Turn what an index returns into a run.

    Parameters
    ----------
    query_ids : sequence of str, length nq
    document_ids : sequence of str
        Id of every row of the index.
    ids : (nq, k) int64
        Row numbers; -1 is a missing place.
    scores : (nq, k) float32

    Raises
    ------
    DimensionMismatch
        Shapes do not fit each other.
    InvalidInput
        A row number beyond the last document.
    """
    if ids.shape != scores.shape or ids.ndim != 2 or len(ids) != len(query_ids):
        raise DimensionMismatch(
            f"{len(query_ids)} query ids, ids of shape {ids.shape} and scores of shape {scores.shape}; expected "
            "(nq, k) for both arrays"
        )
    if ids.size and ids.max() >= len(document_ids):
        raise InvalidInput(f"ids reach {ids.max()} but there are {len(document_ids)} document ids")
    return {
        query: {document_ids[i]: score for i, score in zip(row.tolist(), given.tolist(), strict=True) if i >= 0}
        for query, row, given in zip(query_ids, ids, scores, strict=True)
    }


def needed_depth(measures: Sequence[str], *, default: int = 1000) -> int:
    """Return how many results per query the measures look at; `default` for those without a cutoff, such as AP."""
    depths = (each.params.get("cutoff", default) for each in parse_measures(measures))
    return max(int(depth) for depth in depths)


def parse_measures(measures: Iterable[str]) -> list[Any]:
    """Parse measure names into ir-measures objects, without repeats.

    Raises
    ------
    InvalidInput
        A name that ir-measures does not know or can't compute here, or none at all.
    MissingExtra
        ir-measures is not installed.
    """
    ir_measures = _ir_measures()
    if isinstance(measures, str):
        raise InvalidInput(f"measures is the single string {measures!r}; expected a list such as ['nDCG@10', 'R@100']")
    parsed = {}
    for name in measures:
        try:
            found = ir_measures.parse_measure(name)
            supported = ir_measures.DefaultPipeline.supports(found)
        except (NameError, ValueError, TypeError, KeyError, AttributeError, AssertionError):
            supported = False
        if not supported or found.params.get("cutoff", 1) < 1:
            raise InvalidInput(
                f"{name!r} is not a measure that can be computed here; expected an ir-measures name such as nDCG@10, "
                f"R@100, RR@10 or AP{did_you_mean(name, [*ir_measures.measures.registry, *DEFAULT_MEASURES])}"
            )
        parsed[str(found)] = found
    if not parsed:
        raise InvalidInput("measures is empty; expected at least one, such as nDCG@10")
    return list(parsed.values())


def _evaluator(parsed: list[Any], qrels: Mapping[str, Mapping[str, int]]) -> Any:
    plain = {query: {document: int(grade) for document, grade in grades.items()} for query, grades in qrels.items()}
    return _ir_measures().evaluator(parsed, plain)


def _ranks(query: str, scores: Mapping[str, float]) -> dict[str, float]:
    """Replace scores by their rank from the end, so that no provider has to break a tie."""
    if any(math.isnan(score) for score in scores.values()):
        raise InvalidInput(f"the run has a NaN score for query {query!r}; expected numbers, higher is better")
    order = sorted(scores, reverse=True)
    order.sort(key=scores.__getitem__, reverse=True)
    return {document: float(len(order) - rank) for rank, document in enumerate(order)}


def _ir_measures() -> Any:
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtra("evaluate", "measuring runs", "ir-measures") from error
    return ir_measures
