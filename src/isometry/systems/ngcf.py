"""NGCF: collaborative filtering on the interaction graph."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="ngcf",
    title="NGCF: collaborative filtering on the interaction graph",
    stage="learn graphs",
    summary=(
        "Refines user and item vectors by passing messages over the interaction graph before ranking by inner product; "
        "shipped with the models it must be judged against."
    ),
    paper=Paper(
        title="Neural Graph Collaborative Filtering",
        authors="Wang, He, Wang, Feng, Chua",
        year=2019,
        arxiv="1905.08108",
        venue="SIGIR 2019",
    ),
    rooms=("tables", "learning", "evaluation"),
    parts=("isometry.learning.GraphPropagation", "isometry.learning.losses.BPR", "isometry.tables.Full"),
    claim="Recall@20 of .1570 on Gowalla, ahead of .1395 for GC-MC, .1380 for PinSage and .1399 for NeuMF.",
    first_look=(
        "Independent re-runs put tuned plain matrix factorisation above it (.1627) and LightGCN, which drops its "
        "weights and non-linearity, far above (.1820). The first version of the paper used a wrong NDCG. The claim "
        "tested here is three layers against none of the same model."
    ),
    pitfalls=(
        "The official NDCG rewards finding fewer items; use the standard ideal.",
        "The official training selects its epoch on the test set.",
        "Code and paper differ in the adjacency, the non-linearity and the output; say which is run.",
        "log of a sigmoid underflows: use softplus.",
    ),
)
