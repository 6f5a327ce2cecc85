"""NV-Embed: latent attention pooling and a two-stage recipe."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="nv-embed",
    title="NV-Embed: latent attention pooling and a two-stage recipe",
    stage="learn text",
    summary=(
        "Turns a decoder language model into an embedder: a pooling head in which tokens look up a trained dictionary, "
        "no causal mask, instructions, mined negatives and two training stages."
    ),
    paper=Paper(
        title="NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models",
        authors="Lee, Roy, Xu, Raiman, Shoeybi, Catanzaro, Ping",
        year=2024,
        arxiv="2405.17428",
        venue="ICLR 2025",
    ),
    rooms=("encoders", "learning"),
    parts=(
        "isometry.learning.pooling.LatentAttention",
        "isometry.learning.losses.InfoNCE",
        "isometry.learning.negatives.PositiveAware",
    ),
    claim=(
        "MTEB average 72.31 with latent attention against 71.71 with mean pooling; two stages score 72.31 where one "
        "stage with in-batch negatives scores 70.83."
    ),
    first_look=(
        "Most of the gain is in the data: mined negatives are worth about 2.3 points of BEIR, class examples in place "
        "of labels 1.5, latent attention 0.6 for some 740 million more parameters. The paper lacks the control of a "
        "plain network of equal size, which is run here."
    ),
    pitfalls=(
        (
            "Removing the causal mask can silently do nothing: change the last token and check that the first one's "
            "state moves."
        ),
        "Instruction tokens are seen by attention but not pooled.",
        "With classes in the batch, in-batch negatives are false negatives: switch them off there.",
        "The relative margin must use the absolute value of the positive's score, or it runs backwards below zero.",
    ),
)
