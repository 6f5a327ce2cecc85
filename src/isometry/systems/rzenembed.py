"""RzenEmbed: hardness weights, false-negative masks, model soup."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="rzenembed",
    title="RzenEmbed: hardness weights, false-negative masks, model soup",
    stage="learn vision",
    summary=(
        "A two-stage recipe for multimodal embedders with an InfoNCE that drops likely false negatives, weights hard "
        "ones and learns one temperature per task, then averages adapters."
    ),
    paper=Paper(
        title="RzenEmbed: Towards Comprehensive Multimodal Retrieval",
        authors="Jian, Zhang, Liang, Xie, He, Leng, Yin",
        year=2025,
        arxiv="2510.27350",
    ),
    rooms=("encoders", "learning"),
    parts=(
        "isometry.learning.losses.HardnessInfoNCE",
        "isometry.learning.training.merge_adapters",
        "isometry.encoders.VisionLanguage",
    ),
    claim=(
        "67.2 over the 78 tasks of MMEB-V2 with 2 billion parameters and 71.6 with 7 billion, ahead of all published "
        "rivals at the time."
    ),
    first_look=(
        "At 2 billion parameters it is not ahead on video (47.3 against 47.6), against the abstract. The ablation "
        "credits learned temperature and prompts with 0.1 or nothing; how the weights enter the gradient is not "
        "verified."
    ),
    pitfalls=(
        "From a cold start the mask hits nearly everything: switch it on after a warm-up and log what it keeps.",
        "Average the product of adapter matrices, never the factors.",
        "A learned temperature lowers the loss without moving the ranking: compare by retrieval.",
        "Detached hardness weights are close to a lower temperature; include that control.",
    ),
)
