"""Does learned sparse search find other documents than dense search and BM25, and does hybrid search gain by it?

    python benchmarks/sparse_quality.py --data FOLDER [--sets adi med ...] [--out FILE]

`FOLDER` holds judged sets in the BEIR layout. Every set is stored as one collection with the default dense encoder and
the sparse one that a package carries (SPLADE over BERT-tiny), and searched in every mode. The three lists of a query
are also fused in pairs, as hybrid search fuses all three, and compared query by query. The baseline is
sentence-transformers' SparseEncoder over all pairs of query and document, in torch, without a line of isometry.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import isometry as iso
from fusion import as_lists
from isometry.encoders import DEFAULT_ENCODER, DEFAULT_SPARSE_ENCODER, load_encoder
from isometry.encoders.resolving import carried_folder
from isometry.evaluation import (
    Environment,
    Figure,
    JudgedSet,
    Measured,
    Outcome,
    Result,
    document_text,
    figures_of,
    measure,
    run_collection,
    run_from_arrays,
)
from isometry.rerank import reciprocal_rank_fusion
from quality import load

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SETS = ("adi", "med", "cranfield", "cacm", "nfcorpus")
MODES = {"dense": "dense", "BM25": "lexical", "sparse": "sparse", "hybrid: all three": "hybrid"}
SINGLE = ("dense", "BM25", "sparse")
MEASURES = ("nDCG@10", "R@100")
DEPTH = 100
SEED = 0
ALMOST = 0.005
COMMAND = "python benchmarks/sparse_quality.py --data FOLDER"

Run = dict[str, dict[str, float]]


def search_set(judged: JudgedSet, dense: Any, sparse: Any) -> dict[str, Run]:
    """Return the runs of every mode, and of the lists fused in pairs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        iso.create(f"{folder}/set.iso", encoder=dense, sparse_encoder=sparse, passages=False) as collection,
    ):
        collection.add(judged.corpus)
        collection.build()
        runs = {name: run_collection(collection, judged.queries, mode=mode, k=DEPTH) for name, mode in MODES.items()}
    names = [document["id"] for document in judged.corpus]
    place = {name: row for row, name in enumerate(names)}
    lists = {name: as_lists(runs[name], place) for name in SINGLE}
    for pair in combinations(SINGLE, 2):
        fused = reciprocal_rank_fusion([lists[name] for name in pair], k=DEPTH)
        runs[" + ".join(pair)] = run_from_arrays(list(judged.queries), names, *fused)
    return runs


def all_pairs(judged: JudgedSet, model: Any) -> Run:
    """Return what sentence-transformers finds by multiplying every query with every document."""
    texts = {document["id"]: document_text(document) for document in judged.corpus}
    names = [name for name, text in texts.items() if text.strip()]
    documents = model.encode_document([texts[name] for name in names], show_progress_bar=False)
    queries = model.encode_query(list(judged.queries.values()), show_progress_bar=False)
    scores, found = model.similarity(queries, documents).topk(min(DEPTH, len(names)))
    return {
        query: {names[row]: float(score) for row, score in zip(rows, given, strict=True) if score > 0}
        for query, rows, given in zip(judged.queries, found.tolist(), scores.tolist(), strict=True)
    }


def compared(measured: dict[str, Measured]) -> dict[str, Any]:
    """Return what the sparse list adds, query by query: to the other two fused, and to the better of them alone."""
    best = max(("dense", "BM25"), key=lambda name: measured[name]["nDCG@10"].mean)
    pairs = {
        "hybrid: all three - dense + BM25": ("hybrid: all three", "dense + BM25"),
        "dense + sparse - dense": ("dense + sparse", "dense"),
        "sparse - BM25": ("sparse", "BM25"),
        f"sparse - {best}": ("sparse", best),
    }
    return {
        name: {measure_: measured[a].difference(measured[b], measure_).to_dict() for measure_ in MEASURES}
        for name, (a, b) in pairs.items()
    }


def outcome(figures: list[Figure], baselines: list[Figure], differences: dict[str, Any], sets: list[str]) -> Outcome:
    """Put the figures side by side and say what follows."""
    theirs = {(each.data, each.measure): each.value for each in baselines}
    gaps = {
        (each.data, each.measure): each.value - theirs[each.data, each.measure]
        for each in figures
        if each.method == "sparse"
    }
    worst = max(gaps, key=lambda key: abs(gaps[key]))
    gains = {data: found["hybrid: all three - dense + BM25"]["nDCG@10"] for data, found in differences.items()}
    told = ", ".join(
        f"{data} {gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]" for data, gain in gains.items()
    )
    return Outcome(
        verdict="holds" if abs(gaps[worst]) < ALMOST else "partly",
        because=(
            f"the greatest of {len(gaps)} differences between sparse search through the index of a collection and all "
            f"pairs is {gaps[worst]:+.4f} ({', '.join(worst)}). With the sparse list as the third, nDCG@10 of hybrid "
            f"search differs by: {told}"
        ),
        figures=tuple(figures),
        baselines=tuple(baselines),
        settings={
            "sets": sets,
            "encoders": [DEFAULT_ENCODER, DEFAULT_SPARSE_ENCODER],
            "depth": DEPTH,
            "differences": differences,
        },
    )


def main() -> None:
    """Measure, print and write; what is done so far is written after every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of judged sets in the BEIR layout")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sparse_quality.json"))
    options = parser.parse_args()

    from rich.console import Console
    from sentence_transformers import SparseEncoder

    began = time.perf_counter()
    model = SparseEncoder(str(carried_folder(DEFAULT_SPARSE_ENCODER)), device="cpu")
    dense, sparse = load_encoder(DEFAULT_ENCODER), load_encoder(DEFAULT_SPARSE_ENCODER)
    figures: list[Figure] = []
    baselines: list[Figure] = []
    differences: dict[str, Any] = {}
    for name in options.sets:
        judged = load(options.data, name)
        measured = {
            method: measure(run, judged.qrels, MEASURES, seed=SEED)
            for method, run in search_set(judged, dense, sparse).items()
        }
        for method, found in measured.items():
            figures += figures_of(found, data=judged.name, method=method)
        reference = measure(all_pairs(judged, model), judged.qrels, MEASURES, seed=SEED)
        baselines += figures_of(reference, data=judged.name, method="SparseEncoder, all pairs")
        differences[judged.name] = compared(measured)
        result = Result.of(
            outcome(figures, baselines, differences, list(differences)),
            name="sparse_quality",
            title="Learned sparse search beside dense search and BM25",
            claim="a collection's sparse search finds what all pairs of a SparseEncoder find",
            environment=Environment.capture(seed=SEED, command=COMMAND, wall_s=time.perf_counter() - began),
        )
        options.out.parent.mkdir(parents=True, exist_ok=True)
        result.save(options.out)
        print(f"{judged} after {time.perf_counter() - began:.0f} s", flush=True)
    Console(width=200).print(result)


if __name__ == "__main__":
    main()
