"""PEG: progressive weights on very large batches."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="peg",
    title="PEG: progressive weights on very large batches",
    stage="learn text",
    summary=(
        "Trains a retriever with 80,000 in-batch negatives and sample weights that move from easy to hard as training "
        "goes on."
    ),
    paper=Paper(
        title="Towards Robust Text Retrieval with Progressive Learning",
        authors="Wu, Qin, et al.",
        year=2023,
        arxiv="2311.11691",
    ),
    rooms=("learning",),
    parts=(
        "isometry.learning.losses.ProgressiveInfoNCE",
        "isometry.learning.training.GradCache",
        "isometry.learning.negatives.PositiveAware",
    ),
    claim=(
        "Surpasses state-of-the-art embeddings in retrieving true positives on C-MTEB retrieval and DuReader; on "
        "Chinese medical retrieval it averages 57.46 where bge-large-zh-v1.5 has 55.40 (second hand)."
    ),
    first_look=(
        "The paper's body could not be read and the weighting formula is not verified: what is built here are three "
        "documented reconstructions, never PEG's own formula."
    ),
    pitfalls=(
        "At such batch sizes repeated texts become false negatives: remove duplicates first.",
        "The temperature must be tuned again for every batch size.",
        "Losses of different batch sizes have different floors; compare retrieval instead.",
        "Measured on clean data only, the method's point stays hidden.",
    ),
)
