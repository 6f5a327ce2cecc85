"""Debias: finding and removing a direction of bias."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="debias",
    title="Debias: finding and removing a direction of bias",
    stage="judge and mend",
    summary=(
        "Finds the direction that carries an attribute from a few defining pairs, measures how neutral words lean "
        "along it, and removes it entirely or in part."
    ),
    paper=Paper(
        title="Man is to Computer Programmer as Woman is to Homemaker? Debiasing Word Embeddings",
        authors="Bolukbasi, Chang, Zou, Saligrama, Kalai",
        year=2016,
        arxiv="1607.06520",
        venue="NIPS 2016",
    ),
    rooms=("transforms", "evaluation"),
    parts=("isometry.transforms.HardDebias", "isometry.transforms.SoftDebias", "isometry.evaluation.direct_bias"),
    claim=(
        "Hard debiasing removes the direct bias of neutral words (0.08 on occupations in Google News vectors) and "
        "leaves similarity and analogy scores as they were."
    ),
    first_look=(
        "Both parts reproduce on the paper's own vectors (0.0805; WordSim-353 .688 before and .685 after). The "
        "information stays: a neighbour vote still recovers the original side of 95.1 % of the words (98.9 % before). "
        "The paper's soft setting of 0.2 changes next to nothing unless the scale of its terms is stated."
    ),
    pitfalls=(
        "Removing a direction is not removing the information: never call the result free of bias.",
        "Centre each defining set on its own mean.",
        "The direction's sign is arbitrary: orient it.",
        "After an edit rebuild every index and quantised copy.",
    ),
)
