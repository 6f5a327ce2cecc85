"""Distill-VQ: an IVF-PQ index taught by the uncompressed scores."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="distill-vq",
    title="Distill-VQ: an IVF-PQ index taught by the uncompressed scores",
    stage="compress",
    summary=(
        "Tunes coarse centroids and codebooks so that the compressed ranking imitates the uncompressed one; needs "
        "queries but no relevance labels."
    ),
    paper=Paper(
        title=(
            "Distill-VQ: Learning Retrieval Oriented Vector Quantization By Distilling Knowledge from Dense Embeddings"
        ),
        authors="Xiao, Liu, Han, Zhang, Lian, Gong, Chen, Yang, Sun, Shao, Xie",
        year=2022,
        arxiv="2204.00185",
        venue="SIGIR 2022",
        note="arXiv number not verified",
    ),
    rooms=("learning", "codecs", "indexes"),
    parts=("isometry.codecs.ProductQuantizer", "isometry.indexes.IVF", "isometry.learning.losses.ListNet"),
    claim=(
        "With AR2-G vectors and codes of 64 bytes, MRR@10 on MS MARCO rises from .3448 (OPQ) and .3451 (JPQ) to .3607, "
        "and without any labels to .3656."
    ),
    first_look=(
        "A side check finds the gain at 8 bytes per document (overlap@10 with exact search .270 to .309, MRR@10 .0963 "
        "to .1289) and none at 32 bytes. The right temperature decides: the released code's 1.0 hurts unit vectors."
    ),
    pitfalls=(
        "Set the temperature from the data, so that the teacher's softmax spreads over about 5 to 20 documents.",
        "Overlap with the teacher and labelled quality can move in opposite directions; report both.",
        "Use one metric for training the lists and for probing them.",
        "The paper's IVF-OPQ row at probes 10 and 30 is probably a misprint; don't aim at it.",
    ),
)
