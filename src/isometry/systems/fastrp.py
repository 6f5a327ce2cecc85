"""FastRP: node vectors by very sparse random projection."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="fastrp",
    title="FastRP: node vectors by very sparse random projection",
    stage="learn graphs",
    summary=(
        "Multiplies the normalised adjacency a few times into a thin, very sparse random matrix and adds the results: "
        "one vector per node in seconds, without training."
    ),
    paper=Paper(
        title="Fast and Accurate Network Embeddings via Very Sparse Random Projection",
        authors="Chen, Sultan, Tian, Chen, Skiena",
        year=2019,
        arxiv="1908.11512",
        venue="CIKM 2019",
    ),
    rooms=("encoders", "transforms", "evaluation"),
    parts=("isometry.encoders.FastRP", "isometry.transforms.SparseProjection"),
    claim=(
        "Over 4,000 times faster than DeepWalk and node2vec at comparable or better quality: on BlogCatalog with 10 % "
        "of the labels micro-F1 .371 where DeepWalk has .364."
    ),
    first_look=(
        "The authors' own stored outputs show that it wins with few labels and that node2vec overtakes from about half "
        "of them (.416 against .408)."
    ),
    pitfalls=(
        "A node without edges gives NaN through 1/0: define its vector.",
        "Draw the projection from the node's id, so that threads and order can't change it.",
        "The code's alpha is the paper's beta, and its weights are the paper's alpha.",
        "Without normalising each power, later hops vanish in the sum.",
    ),
)
