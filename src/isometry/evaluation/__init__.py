"""Numbers with confidence intervals: judged sets, measures, recall against exact search, result files."""

from isometry.estimates import (
    Difference,
    Estimate,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_means,
    recall_against_exact,
)
from isometry.evaluation.collection import Comparison, evaluate_collection, run_collection
from isometry.evaluation.environment import Environment
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
from isometry.evaluation.plots import draw, draw_all, picture_name
from isometry.evaluation.result import Figure, Outcome, Plot, Result, figures_of

__all__ = [
    "DEFAULT_MEASURES",
    "Comparison",
    "Corpus",
    "Difference",
    "Environment",
    "Estimate",
    "Figure",
    "JudgedSet",
    "LoadReport",
    "Measured",
    "Outcome",
    "Plot",
    "Result",
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_means",
    "document_text",
    "draw",
    "draw_all",
    "evaluate_collection",
    "figures_of",
    "find_splits",
    "load_judged",
    "measure",
    "needed_depth",
    "picture_name",
    "read_qrels",
    "read_queries",
    "recall_against_exact",
    "run_collection",
    "run_from_arrays",
]
