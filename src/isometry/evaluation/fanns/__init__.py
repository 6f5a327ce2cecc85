"""Search with filters: the published benchmark's files, filters of a wanted selectivity, tuning and fair comparison."""

from isometry.evaluation.fanns.cells import Asked, Speed, compare, counted, curve
from isometry.evaluation.fanns.files import FannsQueries, FannsSet, load_fanns, read_fvecs, read_ivecs
from isometry.evaluation.fanns.filters import (
    KINDS,
    LEANINGS,
    SELECTIVITIES,
    Filter,
    leaning,
    load_papers,
    one_region,
    paper_filters,
)
from isometry.evaluation.fanns.tuner import Tuned, tune_greedily

__all__ = [
    "KINDS",
    "LEANINGS",
    "SELECTIVITIES",
    "Asked",
    "FannsQueries",
    "FannsSet",
    "Filter",
    "Speed",
    "Tuned",
    "compare",
    "counted",
    "curve",
    "leaning",
    "load_fanns",
    "load_papers",
    "one_region",
    "paper_filters",
    "read_fvecs",
    "read_ivecs",
    "tune_greedily",
]
