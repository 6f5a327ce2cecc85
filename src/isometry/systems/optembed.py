"""OptEmbed: which ids deserve a vector, and how wide."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="optembed",
    title="OptEmbed: which ids deserve a vector, and how wide",
    stage="tables",
    summary=(
        "One supernet training with learnable thresholds, an evolutionary search for each field's width and a "
        "retraining give a smaller dense table per field."
    ),
    paper=Paper(
        title="OptEmbed: Learning Optimal Embedding Table for Click-through Rate Prediction",
        authors="Lyu, Tang, Zhu, Guo, Zhang, Tang, Liu",
        year=2022,
        arxiv="2208.04482",
        venue="CIKM 2022",
    ),
    rooms=("tables", "learning", "tuning"),
    parts=("isometry.tables.Pruned", "isometry.tables.MixedDimension", "isometry.tuning.evolve"),
    claim="A compact table that improves the base model on public click data, whatever the base model.",
    first_look=(
        "The result tables could not be read, and the official repository says that it does not guarantee its results. "
        "The search maximises AUC alone, so most of the saving may come from dropping rows; the two effects are shown "
        "apart here."
    ),
    pitfalls=(
        "A candidate value k means k + 1 dimensions; the official size function counts k.",
        "The official mutation changes parents in place while they are still being crossed.",
        "Nothing is pruned before the thresholds rise: scale their learning rate with the number of steps.",
        "Click models keep an unpruned linear table beside the pruned one; count its bytes.",
    ),
)
