"""FANNS: filtered approximate nearest neighbours."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="fanns",
    title="FANNS: filtered approximate nearest neighbours",
    stage="search",
    summary=(
        "A benchmark of search with attribute filters and the families of methods behind it, turned into one index "
        "that chooses its strategy from the filter's selectivity."
    ),
    paper=Paper(
        title=(
            "Benchmarking Filtered Approximate Nearest Neighbor Search Algorithms on Transformer-based Embedding "
            "Vectors"
        ),
        authors="Iff, Brügger, Chrapek, Kochergin, Besta, Hoefler",
        year=2025,
        arxiv="2507.21989",
    ),
    rooms=("indexes", "evaluation", "tuning"),
    parts=(
        "isometry.indexes.Filtered",
        "isometry.indexes.Vamana",
        "isometry.indexes.Flat",
        "isometry.tuning.plan_filter",
    ),
    claim=(
        "No method wins everywhere: specialised methods beat versatile ones by up to 10 times, build times differ by "
        "up to 16 times, and several methods lose about 4 times their throughput on 27 times more data."
    ),
    first_look=(
        "The benchmark's own equality filter is easy: its mean selectivity is near 0.385, where plain filtering "
        "afterwards does well, and almost nothing below 1 % is tested. Filters below 1 % must be added."
    ),
    pitfalls=(
        "Rows of the official ground-truth files differ in length; a reader with a fixed stride shifts all later rows.",
        "Some queries match fewer than k items: say whether recall divides by k or by what exists.",
        "Count the time of evaluating the predicate.",
        (
            "Filter after search and filter in search both collapse when attributes run against the vectors at low "
            "selectivity."
        ),
    ),
)
