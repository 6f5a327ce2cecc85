"""VLM2Vec-V2: images, video and document pages in one space."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="vlm2vec-v2",
    title="VLM2Vec-V2: images, video and document pages in one space",
    stage="learn vision",
    summary=(
        "Extends VLM2Vec to video and pages by weighting the sources and building each batch from groups of one source."
    ),
    paper=Paper(
        title="VLM2Vec-V2: Advancing Multimodal Embedding for Videos, Images, and Visual Documents",
        authors="Meng, Jiang, Liu, Su, et al.",
        year=2025,
        arxiv="2507.04590",
    ),
    rooms=("encoders", "learning", "evaluation"),
    parts=(
        "isometry.learning.training.GroupedSampler",
        "isometry.learning.losses.InfoNCE",
        "isometry.encoders.VisionLanguage",
    ),
    claim=(
        "58.0 over the 78 tasks of MMEB-V2 with 2 billion parameters, against 47.0 for VLM2Vec of the same size and "
        "57.8 for GME with 7 billion; groups of 64 are best for images."
    ),
    first_look=(
        "The text says that video rises consistently with the group size; the table shows it falling first. Scores "
        "drift between versions of the benchmark's own files (VLM2Vec 2B on pages: 41.6, then 28.2), so a version "
        "belongs beside every number."
    ),
    pitfalls=(
        "Check that every judged page exists in the corpus: two tasks were wrong for months.",
        "Cache vectors by content, model and template, not by file name.",
        "Clips shorter than the frame count need a rule.",
        "A resumed run must continue its stream of sources.",
    ),
)
