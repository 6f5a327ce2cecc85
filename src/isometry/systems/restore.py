"""RESTORE: how much of a graph its vectors can rebuild."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="restore",
    title="RESTORE: how much of a graph its vectors can rebuild",
    stage="judge and mend",
    summary=(
        "Judges node vectors by how well each node's neighbours at one, two and three hops can be found from the "
        "vectors alone, corrected for chance."
    ),
    paper=Paper(
        title="RESTORE: Graph Embedding Assessment Through Reconstruction",
        authors="Yip, Ravuru, Banerjee, Jha, Sheth, Chadha, Das",
        year=2023,
        arxiv="2308.14659",
    ),
    rooms=("encoders", "evaluation"),
    parts=("isometry.evaluation.reconstruction", "isometry.encoders.FastRP", "isometry.encoders.HOPE"),
    claim=(
        "SDNE keeps topology best, with mean average precision 0.54 at two hops and 0.35 at three; HOPE keeps meaning "
        "best."
    ),
    first_look=(
        "Chance must be subtracted: on a dense commonsense graph random scores reach .557 at three hops. Distance "
        "alone rewards collapsed vectors. Different methods won at different hops in a side check."
    ),
    pitfalls=(
        "Never show raw precision without the random and the degree rows.",
        "The common package's metric ranks each node against higher-numbered ones only and inflates.",
        "HOPE needs its decay below 1 over the largest eigenvalue; nothing warns above it.",
        "Remove self loops and duplicate edges before counting hops.",
    ),
)
