"""Does a small late-interaction model, trained here in minutes, search better than the model that it is made from?

    python benchmarks/late_interaction.py --data FOLDER [--steps 300] [--model FOLDER] [--out FILE]

`FOLDER` holds nfcorpus: its training queries and judgements teach, its test queries judge. The bundled encoder becomes
a `MultiVectorEncoder` of sentence-transformers: its pooling is left out, a linear head shortens tokens from 384 to 128
numbers. The head begins as the leading principal directions of tokens, which is where a search without training stands.
Training is sentence-transformers' own: in-batch negatives scored by MaxSim. Compared on the test queries, over all
documents: the bundled encoder (one vector a text), its tokens before training and after it, and both ways together.
Weights are kept only where `--model` says so; `isometry.encoders.load_encoder(FOLDER)` then takes them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from isometry.encoders import load_encoder
from isometry.encoders.resolving import DEFAULT_ENCODER, carried_folder
from isometry.estimates import bootstrap_difference
from isometry.evaluation import (
    Environment,
    Figure,
    Measured,
    Outcome,
    Result,
    document_text,
    load_judged,
    measure,
    run_from_arrays,
)
from isometry.indexes import Flat, index_from_spec
from isometry.rerank import reciprocal_rank_fusion

os.environ.setdefault("HF_HUB_OFFLINE", "1")

MEASURE = "nDCG@10"
DIM, TOKENS, BATCH, RATE, SEED = 128, 96, 16, 3e-5, 0
HEAD_TEXTS = 500
SPEC = "FDE(20,5,16),LVQ4,Flat -> PQ32"
COMMAND = "python benchmarks/late_interaction.py --data FOLDER"


def untrained(documents: list[str]) -> Any:
    """Return the bundled model with a head that keeps the leading principal directions of tokens."""
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense

    torch.manual_seed(SEED)
    model = MultiVectorEncoder(str(carried_folder(DEFAULT_ENCODER)), device="cpu")
    model.max_seq_length = TOKENS
    whole = MultiVectorEncoder(modules=[part for part in model if not isinstance(part, Dense)], device="cpu")
    tokens = load_encoder(whole, precision="bfloat16").encode_document(documents[:HEAD_TEXTS]).tokens.astype(np.float64)
    axes = np.linalg.eigh(tokens.T @ tokens)[1][:, ::-1][:, :DIM]
    (head,) = (part for part in model if isinstance(part, Dense))
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(axes.T.copy()))
    return model


def pairs(folder: Path, documents: dict[str, str], steps: int) -> Any:
    """Return training pairs: every query with one of the documents that were judged best for it, in a fixed order."""
    from datasets import Dataset

    best: dict[str, list[tuple[int, str]]] = {}
    with gzip.open(folder / "qrels_train.tsv.gz", "rt") as file:
        for line in file:
            query, document, grade = line.split("\t")
            if document in documents and grade.strip().isdigit():
                best.setdefault(query, []).append((int(grade), document))
    with gzip.open(folder / "queries_train.jsonl.gz", "rt") as file:
        texts = {record["_id"]: record["text"] for record in map(json.loads, file)}
    rng = np.random.default_rng(SEED)
    asked = [query for query in sorted(best) if query in texts]
    rows = []
    while len(rows) < steps * BATCH:
        for i in rng.permutation(len(asked)).tolist():
            judged = best[asked[i]]
            top = [document for grade, document in judged if grade == max(judged)[0]]
            rows.append((texts[asked[i]], documents[top[rng.integers(len(top))]]))
    return Dataset.from_dict(dict(zip(("query", "document"), map(list, zip(*rows, strict=True)), strict=True)))


def train(model: Any, data: Any, steps: int, folder: Path) -> None:
    """Train in place."""
    from sentence_transformers.multi_vector_encoder import (
        MultiVectorEncoderTrainer,
        MultiVectorEncoderTrainingArguments,
    )
    from sentence_transformers.multi_vector_encoder.losses import MultiVectorMultipleNegativesRankingLoss

    arguments = MultiVectorEncoderTrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        warmup_steps=steps // 10,
        bf16=True,
        use_cpu=True,
        seed=SEED,
        save_strategy="no",
        report_to="none",
        logging_steps=max(1, steps // 10),
        disable_tqdm=True,
    )
    loss = MultiVectorMultipleNegativesRankingLoss(model)
    MultiVectorEncoderTrainer(model=model, args=arguments, train_dataset=data, loss=loss).train()


def main() -> None:
    """Train, measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the set nfcorpus")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--model", type=Path, help="where to keep the trained model; by default it is not kept")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/late_interaction.json"))
    options = parser.parse_args()
    began = time.perf_counter()
    judged = load_judged(options.data / "nfcorpus")
    documents = {document["id"]: document_text(document) for document in judged.corpus}
    texts, queries = list(documents.values()), list(judged.queries.values())
    lists: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def judge(name: str) -> Measured:
        run = run_from_arrays(list(judged.queries), list(documents), *(part[:, :10] for part in lists[name]))
        return measure(run, judged.qrels, [MEASURE])

    dense = load_encoder()
    one = Flat().build(np.asarray(dense.encode_document(texts)))
    lists["one vector a text"] = one.search(np.asarray(dense.encode_query(queries)), 100)
    model = untrained(texts)
    figures, kept = [], {}
    for name in ("tokens, before training", "tokens, trained"):
        if name.endswith("trained"):
            start = time.perf_counter()
            train(model, pairs(options.data / "nfcorpus", documents, options.steps), options.steps, options.out.parent)
            seconds = time.perf_counter() - start
            figures.append(Figure(data="nfcorpus", method=name, measure="training s", value=seconds))
        encoder = load_encoder(model, precision="bfloat16")
        sets, asked = encoder.encode_document(texts), encoder.encode_query(queries)
        lists[name] = index_from_spec("Float16,MaxSim").build(sets).search(asked, 100)
        index = index_from_spec(SPEC).build(sets)
        lists[f"{name}, {SPEC}"] = index.search(asked, 100, effort=200)
        figures.append(
            Figure(
                data="nfcorpus", method=f"{name}, {SPEC}", measure="bytes per document", value=index.nbytes / len(texts)
            )
        )
    lists["one vector and trained tokens, fused"] = reciprocal_rank_fusion(
        [lists["one vector a text"], lists["tokens, trained"]], k=100
    )
    for name in lists:
        kept[name] = judge(name)
        figures.append(Figure.of(kept[name][MEASURE], data="nfcorpus", method=name, measure=MEASURE))
    gain = bootstrap_difference(
        kept["tokens, trained"].values[MEASURE], kept["tokens, before training"].values[MEASURE], seed=SEED
    )
    if options.model is not None:
        model.save_pretrained(str(options.model))
    result = Result.of(
        Outcome(
            verdict="holds" if gain.low > 0 else "does not hold" if gain.high < 0 else "partly",
            because=f"{options.steps} steps of {BATCH} pairs change {MEASURE} by {gain}.",
            figures=tuple(figures),
            settings={"steps": options.steps, "batch": BATCH, "rate": RATE, "tokens of a text": TOKENS, "dim": DIM},
        ),
        name="late_interaction",
        title="A late-interaction model trained in minutes",
        claim="training a linear head and the encoder on in-domain pairs makes late interaction better",
        environment=Environment.capture(seed=SEED, command=COMMAND, wall_s=time.perf_counter() - began),
    )
    result.save(options.out)
    from rich.console import Console

    Console(width=200).print(result)


if __name__ == "__main__":
    main()
