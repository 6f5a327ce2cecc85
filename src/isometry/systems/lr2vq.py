"""LR²VQ: low-rank codewords for model compression."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="lr2vq",
    title="LR²VQ: low-rank codewords for model compression",
    stage="compress",
    summary=(
        "Compresses weights or tables by clustering short latent vectors that a small shared map expands, so that "
        "codeword dimension and block length are chosen apart."
    ),
    paper=Paper(
        title="Learning Low-Rank Representations for Model Compression",
        authors="Zhu, Zhou, Zhao Zhong",
        year=2022,
        arxiv="2211.11397",
        venue="IJCNN 2023",
        note="venue not verified",
    ),
    rooms=("tables", "learning", "codecs"),
    parts=("isometry.codecs.LowRankCodebook", "isometry.codecs.ProductQuantizer"),
    claim=(
        "On ImageNet, 2.8 points more top-1 accuracy than earlier vector quantisers for ResNet-18 at 43 times "
        "compression, and 1.0 point for ResNet-50 at 31 times."
    ),
    first_look=(
        "The equations could not be read. For fixed weights a low-rank codebook can never beat a full one of the same "
        "size (checked numerically), so any gain must come from the training around it or from the bytes saved; "
        "comparisons here are at equal bytes."
    ),
    pitfalls=(
        "Count the codebooks, the map and every layer left in float.",
        "Make the map orthonormal again before each re-assignment, or clusters are made in the wrong metric.",
        "Estimate batch-normalisation statistics anew after quantisation before judging.",
        "Test the exported file, not the model in memory.",
    ),
)
