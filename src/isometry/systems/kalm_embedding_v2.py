"""KaLM-Embedding-V2: focal weights, mixed negatives, distillation."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="kalm-embedding-v2",
    title="KaLM-Embedding-V2: focal weights, mixed negatives, distillation",
    stage="learn text",
    summary=(
        "A recipe that makes a half-billion-parameter model embed like far larger ones: focal weighting, hard "
        "negatives mixed in the batch, nested dimensions, then a model soup or a teacher."
    ),
    paper=Paper(
        title="KaLM-Embedding-V2: Superior Training Techniques and Data Inspire A Versatile Embedding Model",
        authors="Zhao, Hu, et al.",
        year=2025,
        arxiv="2506.20923",
    ),
    rooms=("encoders", "learning"),
    parts=(
        "isometry.learning.losses.FocalInfoNCE",
        "isometry.learning.negatives.MixedNegatives",
        "isometry.learning.losses.InBatchDistill",
    ),
    claim=(
        "MTEB means of 68.15 Chinese and 67.47 English with a model soup, 70.93 and 69.33 with distillation, against "
        "66.33 and 66.76 of Qwen3-Embedding-0.6B."
    ),
    first_look=(
        "By the paper's own ablations (Chinese / English) distillation carries most of it: the contrastive loss alone "
        "has 68.31 Chinese; focal weighting is worth 1.5 / 0.6, mixing 0.4 / 0.4. No spread over seeds is given, and "
        "the released code holds none of the four techniques."
    ),
    pitfalls=(
        "Focal weighting and temperature both sharpen: tune the temperature of every arm before comparing.",
        "Focal weights depend on the batch size.",
        "Mixing near-opposite negatives gives a vector near zero; drop those.",
        "Normalise after truncating nested dimensions.",
    ),
)
