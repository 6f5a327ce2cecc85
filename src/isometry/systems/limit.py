"""LIMIT: what a d-dimensional embedding can rank."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="limit",
    title="LIMIT: what a d-dimensional embedding can rank",
    stage="judge and mend",
    summary=(
        "Asks how many top-k answers vectors of d dimensions can express, with directly optimised vectors and with a "
        "simple text set on which strong embedders fail."
    ),
    paper=Paper(
        title="On the Theoretical Limitations of Embedding-Based Retrieval",
        authors="Weller, Boratko, Naim, Lee",
        year=2025,
        arxiv="2508.21038",
    ),
    rooms=("encoders", "indexes", "evaluation"),
    parts=("isometry.evaluation.limit", "isometry.indexes.BM25", "isometry.indexes.Flat"),
    claim=(
        "Directly optimised vectors can rank all pairs of only n documents, with n from 10 at 4 dimensions to 626 at "
        "45; on LIMIT strong embedders stay below 20 % recall@100 while BM25 exceeds 93 %."
    ),
    first_look=(
        "For this pattern 2k dimensions are enough for any number of documents, at a margin that shrinks with it: the "
        "measured n is about the optimiser and the margin, not about what vectors can represent. A sum of random "
        "vectors per item solves LIMIT with one vector per text from about 1,000 dimensions (recall@100 97 %)."
    ),
    pitfalls=(
        "Don't repeat that top-k sets are limited by d without the 2k caveat.",
        "The relevant documents come first in the generated corpus: shuffle, or ties leak the answer.",
        "Stemming and stop words move BM25 by points; publish the settings.",
        "recall@100 of 50,000 hides much: report recall@2 too.",
    ),
)
