"""Frozen Unicode: token vectors drawn from the shape of the letters."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="frozen-unicode",
    title="Frozen Unicode: token vectors drawn from the shape of the letters",
    stage="tables",
    summary=(
        "Makes each token's vector from the bitmap of its characters, freezes it, and trains a language model on top."
    ),
    paper=Paper(
        title="Emergent Semantics Beyond Token Embeddings: Transformer LMs with Frozen Visual Unicode Representations",
        authors="Bochkov",
        year=2025,
        arxiv="2507.04886",
        venue="TMLR",
    ),
    rooms=("encoders", "tables", "evaluation"),
    parts=("isometry.tables.Glyph", "isometry.encoders.UnicodeTokenizer"),
    claim=(
        "A language model with a frozen table of glyph pictures learns as well as one with a trainable table, and "
        "scores higher on MMLU (23.68 against 14.00)."
    ),
    first_look=(
        "The comparison does not carry that weight: the scores are at or below chance (25 %) and count single "
        "generated letters, and other tests do not favour the frozen table consistently. What stands is that such "
        "models converge. Pictures against random frozen vectors is the control that matters."
    ),
    pitfalls=(
        "Space, newline and other blanks share one empty picture: give invisible characters a code of their own.",
        "The tokenizer as written maps everything beyond the basic plane, emoji included, to unknown.",
        "The released augmentation is re-seeded for every glyph, so it is a constant distortion.",
        "Compare bits per character: perplexity per token differs between tokenizers.",
    ),
)
