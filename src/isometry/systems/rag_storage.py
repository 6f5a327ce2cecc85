"""RAG storage: number format and dimension of stored embeddings."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="rag-storage",
    title="RAG storage: number format and dimension of stored embeddings",
    stage="compress",
    summary=(
        "Tries combinations of dimension reduction and number format, measures quality against bytes, and picks the "
        "best that fits a budget."
    ),
    paper=Paper(
        title=(
            "Optimization of embeddings storage for RAG systems using quantization and dimensionality reduction "
            "techniques"
        ),
        authors="Huerga-Perez, Alvarez, Ferrero-Guillen, Martinez-Gutierrez, Diez-Gonzalez",
        year=2025,
        arxiv="2505.00105",
    ),
    rooms=("transforms", "codecs", "evaluation", "tuning"),
    parts=(
        "isometry.codecs.Float8",
        "isometry.codecs.ScalarQuantizer",
        "isometry.codecs.Binary",
        "isometry.tuning.tune",
    ),
    claim=(
        "float8 makes embeddings 4 times smaller for less than 0.3 % loss and beats int8 of the same size; half the "
        "dimensions by PCA plus float8 gives 8 times with less loss than int8 alone."
    ),
    first_look=(
        "float8 is fine, but the gap to int8 comes from scoring int8 codes without removing their offset: on Cranfield "
        "that path loses 5 to 10 %, while the same codes, de-quantised, match float32, and so does int4 with a scale "
        "per vector. PCA to half the dimensions alone cost 6.6 % there."
    ),
    pitfalls=(
        "float8 e4m3 overflows to NaN, so vectors that are not normalised can poison an index: saturate.",
        "A plain cast of unit vectors to float4 rounds every entry to zero; a scale per vector repairs it.",
        "Count the bytes of matrices, means and ranges too.",
        "One small collection can't resolve 0.3 %: give intervals or use 2,000 queries and more.",
    ),
)
