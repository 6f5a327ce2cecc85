"""SESA: vectors whose axes have names."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="sesa",
    title="SESA: vectors whose axes have names",
    stage="learn text",
    summary=(
        "Trains two texts into a space with one dimension per concept of a vocabulary, so that every score can be read "
        "as the concepts that fired on both sides."
    ),
    paper=Paper(
        title="SESA: Supervised Explicit Semantic Analysis",
        authors="Bogdanova, Yazdani",
        year=2017,
        arxiv="1708.03246",
    ),
    rooms=("learning", "indexes", "evaluation"),
    parts=("isometry.learning.losses.Explicitness", "isometry.indexes.Seismic", "isometry.learning.losses.InfoNCE"),
    claim="State-of-the-art relevance between jobs and profiles while every dimension stays interpretable.",
    first_look=(
        "Metrics and margins could not be verified and the data are private: what is tested here is the idea on public "
        "analogues, next to the same network with a latent head."
    ),
    pitfalls=(
        "Without the explicitness loss the axes drift to latent ones; test that axis k means concept k.",
        "An all-zero vector gives NaN under cosine.",
        "People list few of their concepts: an absent label is not a negative.",
        "Names of the answer inside the text leak the relation.",
    ),
)
