"""Embedding survey: the classical shelf behind one interface."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="embedding-survey",
    title="Embedding survey: the classical shelf behind one interface",
    stage="learn text",
    summary=(
        "What a survey says a complete library must offer, from TF-IDF and word2vec to cross-lingual maps, numbers and "
        "bias, behind one interface: wrapped where a kept package exists."
    ),
    paper=Paper(
        title=(
            "From Word Vectors to Multimodal Embeddings: Techniques, Applications, and Future Directions For Large "
            "Language Models"
        ),
        authors="Zhang, et al.",
        year=2024,
        arxiv="2411.05036",
    ),
    rooms=("encoders", "learning", "transforms", "evaluation"),
    parts=(
        "isometry.learning.GloVe",
        "isometry.learning.PPMI",
        "isometry.transforms.Procrustes",
        "isometry.encoders.NumberEncoder",
    ),
    claim=(
        "A survey has no figure to reproduce; the claim tested is coverage: every method on its list runs end to end, "
        "or the page says why it is not offered."
    ),
    pitfalls=(
        "Several package names on the index are not the methods they are named after.",
        "Analogy scores depend on excluding the question's own words; report both.",
        "Word2vec with several threads is not deterministic.",
        "The bundled test sets are tiny: always give intervals.",
    ),
)
