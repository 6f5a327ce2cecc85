"""CRISP: multi-vector models trained to be clustered."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="crisp",
    title="CRISP: multi-vector models trained to be clustered",
    stage="compress",
    summary=(
        "Clusters every text's token vectors during training, so that the encoder learns vectors that survive being "
        "merged into a few centroids."
    ),
    paper=Paper(
        title="CRISP: Clustering Multi-Vector Representations for Denoising and Pruning",
        authors="Veneroso, Jayaram, Rao, Hernández Ábrego, Hadian, Cer",
        year=2025,
        arxiv="2505.11471",
    ),
    rooms=("encoders", "learning", "rerank"),
    parts=(
        "isometry.learning.pooling.TokenClusters",
        "isometry.learning.losses.MaxSimInfoNCE",
        "isometry.rerank.MaxSim",
    ),
    claim=(
        "Eight query and 32 document centroids beat the unpruned model on BEIR (nDCG@10 54.5 against 54.3) with 2.9 "
        "times fewer document vectors; four and eight lose 3.6 % at 11 times fewer."
    ),
    first_look=(
        "The win rests on MS MARCO, where the unpruned model is broken (25.9, below a single vector's 39.9). Without "
        "it the unpruned model leads (56.45 against 55.37), and keeping every second token does as well (55.45). The "
        "pruned models also had 20,000 more training steps."
    ),
    pitfalls=(
        "Pad with masks, never with zero vectors: a zero wins every maximum over negative similarities.",
        "Seed the clustering per text, so that batch size can't change the centroids.",
        "Average the loss over query centroids, or the temperature means something else for every k.",
        "Give kept vectors as total over total, not as a mean of ratios.",
    ),
)
