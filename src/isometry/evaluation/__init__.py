"""Numbers with confidence intervals: judged sets, measures, recall against exact search, result files."""

from isometry.estimates import (
    Difference,
    Estimate,
    bootstrap_difference,
    bootstrap_mean,
    recall_against_exact,
)
from isometry.evaluation.judged import (
    Corpus,
    JudgedSet,
    LoadReport,
    document_text,
    load_judged,
    read_qrels,
    read_queries,
)
from isometry.evaluation.layout import find_splits
from isometry.evaluation.measures import DEFAULT_MEASURES, Measured, measure, needed_depth, run_from_arrays

__all__ = [
    "DEFAULT_MEASURES",
    "Corpus",
    "Difference",
    "Estimate",
    "JudgedSet",
    "LoadReport",
    "Measured",
    "bootstrap_difference",
    "bootstrap_mean",
    "document_text",
    "find_splits",
    "load_judged",
    "measure",
    "needed_depth",
    "read_qrels",
    "read_queries",
    "recall_against_exact",
    "run_from_arrays",
]
