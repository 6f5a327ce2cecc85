"""EBV: fixed, nearly perpendicular class vectors."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="ebv",
    title="EBV: fixed, nearly perpendicular class vectors",
    stage="heads and generators",
    summary=(
        "Replaces a classifier's last layer by fixed unit vectors, all pairs nearly perpendicular; the network learns "
        "to point at its class, and the head does not grow with the classes."
    ),
    paper=Paper(
        title="Equiangular Basis Vectors",
        authors="Shen, Sun, Wei",
        year=2023,
        arxiv="2303.11637",
        venue="CVPR 2023",
    ),
    rooms=("tables", "learning"),
    parts=("isometry.tables.EquiangularBasis", "isometry.learning.losses.CosineSoftmax"),
    claim=(
        "ResNet-50 on ImageNet reaches 78.99 % top-1 with fixed vectors in 105 epochs; the softmax head in the same "
        "logs reaches 76.48 %."
    ),
    first_look=(
        "Those logs compare different optimisers (SGD against AdamW with little weight decay); with AdamW on both "
        "sides it is 77.52 against 76.48, and no log of a softmax head with SGD exists. Read it as at least as good "
        "with a head that does not grow."
    ),
    pitfalls=(
        "Check the Welch bound first: an infeasible angle loops 100,000 steps in the official script.",
        "The generator bounds the absolute cosine, the classifier uses the signed one.",
        "Store the class order with the vectors.",
        "The last layer before them must be linear.",
    ),
)
