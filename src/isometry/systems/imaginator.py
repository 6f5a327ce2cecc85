"""IMAGINATOR: word vectors grounded in pictures."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="imaginator",
    title="IMAGINATOR: word vectors grounded in pictures",
    stage="learn vision",
    summary=(
        "Builds one static vector per object name from what appears together in pictures, from captions and from "
        "visual features, aligned by orthogonal maps."
    ),
    paper=Paper(
        title="IMAGINATOR: Pre-Trained Image+Text Joint Embeddings using Word-Level Grounding of Images",
        authors="Krishna, Suryavardan, Mishra, Ramamoorthy, Patwa, Chakraborty, Chadha, Das, Sheth",
        year=2023,
        arxiv="2305.10438",
        venue="ICON 2023",
    ),
    rooms=("learning", "transforms", "evaluation"),
    parts=("isometry.learning.PPMI", "isometry.transforms.Procrustes", "isometry.learning.losses.Triplet"),
    claim=(
        "Joint vectors of 21,000 object names outperform the then state of the art in captioning, image-to-tweet and "
        "text-based image retrieval."
    ),
    first_look=(
        "The downstream figures could not be verified; the only readable one is retrieval of text vectors among 400 "
        "held-out labels (recall@1 0.156, recall@10 0.556). Related work found random vectors to do about as well "
        "under supervision, so they are a baseline here."
    ),
    pitfalls=(
        "The released loss averages squared differences over 512 dimensions, so its margin is never reached.",
        "Counts must come from training pictures alone.",
        "PPMI of rare pairs explodes: minimum counts and smoothing.",
        "A picture without a known object must give no vector, not zeros that match everything.",
    ),
)
