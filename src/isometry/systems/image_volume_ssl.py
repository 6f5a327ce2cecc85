"""Image-volume self-supervision for medical pictures."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="image-volume-ssl",
    title="Image-volume self-supervision for medical pictures",
    stage="learn vision",
    summary=(
        "Learns one encoder from unlabelled two-dimensional pictures and volumes: clustering of slices, clustering of "
        "whole volumes through attention over slices, and prediction of masked slices."
    ),
    paper=Paper(
        title="Joint Self-Supervised Image-Volume Representation Learning with Intra-Inter Contrastive Clustering",
        authors="Nguyen, Nguyen, Mai, Cao, Nguyen, Ho, Swoboda, Albarqouni, Xie, Sonntag",
        year=2023,
        arxiv="2212.01893",
        venue="AAAI 2023",
    ),
    rooms=("encoders", "learning"),
    parts=("isometry.learning.losses.ClusterAssignment", "isometry.learning.pooling.DeformableAttention"),
    claim=(
        "Better than two-dimensional DeepCluster-v2 and SwAV by a significant margin on brain, lung, heart and chest "
        "X-ray tasks."
    ),
    first_look=(
        "The result tables could not be read. The released code attends over the feature coordinates instead of over "
        "the slices, trains three consecutive stages instead of one joint objective, and lets volumes of different "
        "folders share a memory slot."
    ),
    pitfalls=(
        "Use global ids in the memory bank.",
        "Cache raw pictures, never augmented views.",
        "Zero slices from padding dominate a mean: carry a mask.",
        "With as many clusters as data sets the clusters become the data sets.",
    ),
)
