"""Text vectors: binary paragraph vectors and disambiguated skip-gram."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="text-vectors",
    title="Text vectors: binary paragraph vectors and disambiguated skip-gram",
    stage="learn text",
    summary=(
        "Two unsupervised learners: short binary codes for documents, and several vectors per word with a network that "
        "tells which sense is meant."
    ),
    paper=Paper(
        title="Vector representations of text data in deep learning",
        authors="Grzegorczyk",
        year=2019,
        arxiv="1901.01695",
        note="arXiv number not verified; parts published as arXiv 1611.01116 and at EMNLP 2018",
    ),
    rooms=("learning", "codecs", "evaluation"),
    parts=(
        "isometry.learning.BinaryParagraphVectors",
        "isometry.learning.DisambiguatedSkipGram",
        "isometry.codecs.Binary",
    ),
    claim=(
        "Binary paragraph vectors beat autoencoder codes with fewer bits, and disambiguated skip-gram outperforms the "
        "state of the art on three of four word-sense-induction sets."
    ),
    first_look=(
        "Absolute figures could not be verified. The released evaluation does not use the sense network at all but the "
        "cosine to the whole context; both routes are offered and reported."
    ),
    pitfalls=(
        "Priors of senses must be computed at the temperature of use, or the wrong senses are pruned.",
        "Headers and signatures of newsgroup posts leak the label: strip them.",
        "Inference of a new document is random: fix the seed or average restarts.",
        "Watch for bits that never change.",
    ),
)
