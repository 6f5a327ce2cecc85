"""VLM2Vec: a vision-language model as an embedder."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="vlm2vec",
    title="VLM2Vec: a vision-language model as an embedder",
    stage="learn vision",
    summary=(
        "Trains a generative vision-language model contrastively, with instructions, to embed any mix of image and "
        "text; comes with the MMEB benchmark."
    ),
    paper=Paper(
        title="VLM2Vec: Training Vision-Language Models for Massive Multimodal Embedding Tasks",
        authors="Jiang, Meng, Yang, Yavuz, Zhou, Chen",
        year=2024,
        arxiv="2410.05160",
        venue="ICLR 2025",
    ),
    rooms=("encoders", "learning", "evaluation"),
    parts=(
        "isometry.learning.losses.InfoNCE",
        "isometry.learning.training.GradCache",
        "isometry.encoders.VisionLanguage",
    ),
    claim=(
        "Hit@1 of 60.1 over the 36 MMEB tasks with Phi-3.5-V and 62.9 with LLaVA-1.6, where a fully fine-tuned "
        "OpenCLIP has 47.2; most of it on questions about images (54.9 against 21.9)."
    ),
    first_look=(
        "The official scorer puts the right answer first and counts ties as hits, so a collapsed model scores 100 %; "
        "ties and non-finite scores are handled here. The code trains DoRA where the paper says LoRA."
    ),
    pitfalls=(
        "One formatter for training and search: a changed blank changes the last token and so the vector.",
        "Truncation must never cut image placeholders.",
        "Repeated class names within a batch are false negatives.",
        "Vectors made under different instructions can't be compared.",
    ),
)
