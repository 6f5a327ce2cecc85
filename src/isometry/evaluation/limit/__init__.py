"""LIMIT: what vectors of d dimensions can rank, what optimisation finds of it, and where one's own judgements stand."""

from isometry.evaluation.limit.bound import Bound, upper_bound
from isometry.evaluation.limit.critical import PAPER, Critical, critical_n
from isometry.evaluation.limit.diagnose import Diagnosis, diagnose, diagnose_vectors
from isometry.evaluation.limit.free import Fit, check_memory, fit_embeddings
from isometry.evaluation.limit.generate import generate_limit, load_limit, regenerate, save_judged
from isometry.evaluation.limit.graph import QrelGraph, qrel_graph
from isometry.evaluation.limit.moment import Reach, moment_curve, moment_margin, moment_queries, moment_reach
from isometry.evaluation.limit.patterns import PATTERNS, all_subsets, relevance_pattern
from isometry.evaluation.limit.sums import RandomSums

__all__ = [
    "PAPER",
    "PATTERNS",
    "Bound",
    "Critical",
    "Diagnosis",
    "Fit",
    "QrelGraph",
    "RandomSums",
    "Reach",
    "all_subsets",
    "check_memory",
    "critical_n",
    "diagnose",
    "diagnose_vectors",
    "fit_embeddings",
    "generate_limit",
    "load_limit",
    "moment_curve",
    "moment_margin",
    "moment_queries",
    "moment_reach",
    "qrel_graph",
    "regenerate",
    "relevance_pattern",
    "save_judged",
    "upper_bound",
]
