"""E²Rank: an embedder that reranks with the list in its prompt."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="e2rank",
    title="E²Rank: an embedder that reranks with the list in its prompt",
    stage="learn text",
    summary=(
        "Embeds the query together with the top documents once and compares the richer query vector with the stored "
        "document vectors: reranking for the price of one encoder pass."
    ),
    paper=Paper(
        title="E2Rank: Your Text Embedding can Also be an Effective and Efficient Listwise Reranker",
        authors="Liu, et al.",
        year=2025,
        arxiv="2510.22733",
    ),
    rooms=("learning", "rerank"),
    parts=("isometry.rerank.ListwiseEmbedding", "isometry.learning.losses.RankNet", "isometry.rerank.Rocchio"),
    claim=(
        "Reranks BM25's top 100 on BEIR to nDCG@10 52.09 with 0.6 billion parameters, against 48.03 for a generative "
        "listwise reranker of that size, in 0.63 instead of 4.58 seconds per query."
    ),
    first_look=(
        "In the ablations the embedding gain comes from the ranking labels, not from the list in the prompt, and the "
        "paper has neither classical vector feedback (Rocchio) nor an untrained prompt as a baseline; both are run "
        "here."
    ),
    pitfalls=(
        "One prompt builder for training and search: the official code has three variants.",
        "Truncation must cut documents evenly, never the query at the end.",
        "A retrieved document can steer the query vector: cap its influence.",
        "Shuffle the documents in training, or the model learns that the first is best.",
    ),
)
