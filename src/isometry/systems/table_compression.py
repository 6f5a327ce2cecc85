"""Table compression: fourteen ways to shrink a table of learned vectors."""

from isometry.systems.base import Paper, System

SYSTEM = System(
    name="table-compression",
    title="Table compression: fourteen ways to shrink a table of learned vectors",
    stage="tables",
    summary=(
        "Takes a byte budget and a method and gives back a drop-in table that fits, with an honest account of quality, "
        "bytes, latency and training cost."
    ),
    paper=Paper(
        title="Experimental Analysis of Large-scale Learnable Vector Storage Compression",
        authors="Zhang, Zhao, Miao, Shao, Liu, Yang, Cui",
        year=2023,
        arxiv="2311.15578",
        venue="PVLDB 17(4)",
    ),
    rooms=("tables", "codecs", "evaluation"),
    parts=(
        "isometry.tables.QuotientRemainder",
        "isometry.tables.TensorTrain",
        "isometry.tables.DeepHash",
        "isometry.tables.Robe",
        "isometry.tables.MixedDimension",
        "isometry.codecs.ProductQuantizer",
    ),
    claim=(
        "Fourteen methods in one harness: no method wins everywhere, and the feasible budgets differ (INT16 stops at "
        "50 % of the table, INT8 at 25 %, quotient-remainder near 2/√n)."
    ),
    first_look=(
        "The paper's accuracy tables could not be read, so no figure of theirs is quoted. The official harness selects "
        "on the test set by default; ours uses validation data."
    ),
    pitfalls=(
        "Compare bytes, never sparsity: at 16 dimensions index overhead makes an 80 % pruned table larger than INT8.",
        "Always include a full table of smaller dimension and equal bytes, the baseline people forget.",
        "Several compressors train a larger model than the one they replace.",
        "The official deep-hash kernel overflows 32-bit integers.",
    ),
)
