"""BEBR: binary embeddings by recurrent binarisation."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="bebr",
    title="BEBR: binary embeddings by recurrent binarisation",
    stage="compress",
    summary=(
        "A tiny network trained on finished vectors turns them into codes with a chosen number of bits per dimension, "
        "each loop encoding what the last one missed; new models can learn codes that match the stored ones."
    ),
    paper=Paper(
        title="Binary Embedding-based Retrieval at Tencent",
        authors="Gan, Ge, Zhou, Su, Xu, Xuyuan, Xu, Hui, Chen, Wang, Shan",
        year=2023,
        arxiv="2302.08714",
        venue="KDD 2023",
        note="venue not verified",
    ),
    rooms=("learning", "codecs", "indexes"),
    parts=(
        "isometry.codecs.RecurrentBinary",
        "isometry.learning.losses.InfoNCE",
        "isometry.learning.losses.BackwardCompatible",
    ),
    claim=(
        "At 1,024 bits, recurrent codes find COCO captions almost as well as 16,384-bit floats (R@1 .360 against .361) "
        "and better than a plain hash of the same size (.348); index cost falls by 30 to 50 %."
    ),
    first_look=(
        "The released code has neither the fast distance kernel nor the backward-compatible training, and its "
        "recall@10 above float's is within the noise of 5,000 queries."
    ),
    pitfalls=(
        "sign(0) must be +1 everywhere, in training too: a third symbol has no bit.",
        "Scores divide by the norm of the document's code; codes stored without it rank differently.",
        "Batch normalisation must be frozen before encoding.",
        "Watch the share of dead bits: gradients vanish when pre-activations grow beyond 1.",
    ),
)
