"""Does a small late-interaction model, trained here in minutes, search better than the model that it is made from?

    python benchmarks/late_interaction.py --data FOLDER [--judged NAME ...] [--steps N] [--model FOLDER] [--out FILE]

`FOLDER` holds nfcorpus: its training queries and judgements teach, its test queries judge. The bundled encoder becomes
a `MultiVectorEncoder` of sentence-transformers: its pooling is left out, a linear head shortens tokens from 384 to 128
numbers. The head begins as the leading principal directions of tokens, which is where a search without training stands.
Training is sentence-transformers' own: in-batch negatives scored by MaxSim. Compared on the test queries, and on the
sets of --judged of which nothing was learned, over all documents: the bundled encoder (one vector a text), its tokens
before training and after it, all of them and what an index keeps of them, and both ways together.
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
EXACT, SPEC = "Float16,MaxSim", "FDE(20,5,16),PQ256x8,Flat -> PQ16"
TAUGHT, DEPTH = "nfcorpus", 100
DENSE, UNTRAINED, TRAINED = "one vector a text", "tokens, before training", "tokens, trained"
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
    tokens = load_encoder(whole).encode_document(documents[:HEAD_TEXTS]).tokens.astype(np.float64)
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
        use_cpu=True,
        seed=SEED,
        save_strategy="no",
        report_to="none",
        logging_steps=max(1, steps // 10),
        disable_tqdm=True,
    )
    loss = MultiVectorMultipleNegativesRankingLoss(model)
    MultiVectorEncoderTrainer(model=model, args=arguments, train_dataset=data, loss=loss).train()


class Contest:
    """A judged set, and what each way of searching found in it."""

    def __init__(self, folder: Path) -> None:
        self.judged = load_judged(folder)
        self.documents = {document["id"]: document_text(document) for document in self.judged.corpus}
        self.texts, self.queries = list(self.documents.values()), list(self.judged.queries.values())
        self.lists: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.bytes: dict[str, float] = {}

    def dense(self, encoder: Any) -> None:
        """Search with one vector a text."""
        index = Flat().build(np.asarray(encoder.encode_document(self.texts)))
        self.lists[DENSE] = index.search(np.asarray(encoder.encode_query(self.queries)), DEPTH)

    def tokens(self, name: str, encoder: Any) -> None:
        """Search with all tokens, and with what an index keeps of them."""
        sets, asked = encoder.encode_document(self.texts), encoder.encode_query(self.queries)
        for spec, said in ((EXACT, name), (SPEC, f"{name}, {SPEC}")):
            index = index_from_spec(spec).build(sets)
            self.lists[said] = index.search(asked, DEPTH, effort=2 * DEPTH)
            self.bytes[said] = index.nbytes / len(sets)

    def measured(self) -> dict[str, Measured]:
        """Judge every list, and both kinds fused."""
        fused = [self.lists[DENSE], self.lists[TRAINED]]
        self.lists["one vector and trained tokens, fused"] = reciprocal_rank_fusion(fused, k=DEPTH)
        names = list(self.judged.queries), list(self.documents)
        return {
            method: measure(run_from_arrays(*names, *(part[:, :10] for part in found)), self.judged.qrels, [MEASURE])
            for method, found in self.lists.items()
        }


def main() -> None:
    """Train, measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the set nfcorpus")
    parser.add_argument("--judged", nargs="*", default=["cranfield", "med"], help="sets to judge on beside nfcorpus")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--model", type=Path, help="where to keep the trained model; by default it is not kept")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/late_interaction.json"))
    options = parser.parse_args()
    began = time.perf_counter()
    home = options.data / TAUGHT
    contests = {name: Contest(options.data / name) for name in (TAUGHT, *options.judged)}
    taught = contests[TAUGHT]
    dense = load_encoder()
    for contest in contests.values():
        contest.dense(dense)
    model = untrained(taught.texts)
    seconds = 0.0
    for name in (UNTRAINED, TRAINED):
        if name == TRAINED:
            start = time.perf_counter()
            train(model, pairs(home, taught.documents, options.steps), options.steps, options.out.parent)
            seconds = time.perf_counter() - start
            if options.model is not None:
                model.save_pretrained(str(options.model))
        encoder = load_encoder(model)
        for data, contest in contests.items():
            contest.tokens(name, encoder)
            print(f"{time.perf_counter() - began:7.0f} s  {data}: {name}", flush=True)
    figures, words, gains = [], [], {}
    for data, contest in contests.items():
        kept = contest.measured()
        for method, found in kept.items():
            figures.append(Figure.of(found[MEASURE], data=data, method=method, measure=MEASURE))
        for method, nbytes in contest.bytes.items():
            figures.append(Figure(data=data, method=method, measure="bytes per document", value=nbytes))
        for other, key in ((UNTRAINED, "training"), (DENSE, "tokens instead of one vector")):
            gain = bootstrap_difference(kept[TRAINED].values[MEASURE], kept[other].values[MEASURE], seed=SEED)
            gains[data, key] = gain
            words.append(f"on {data} {key} changes {MEASURE} by {gain}")
        loss = bootstrap_difference(
            kept[f"{TRAINED}, {SPEC}"].values[MEASURE], kept[TRAINED].values[MEASURE], seed=SEED
        )
        share = contest.bytes[f"{TRAINED}, {SPEC}"] / contest.bytes[TRAINED]
        words.append(f"{SPEC} by {loss} in {share:.2f} of the bytes of float16 tokens")
    gain = gains[TAUGHT, "training"]
    result = Result.of(
        Outcome(
            verdict="holds" if gain.low > 0 else "does not hold" if gain.high < 0 else "partly",
            because=f"{options.steps} steps of {BATCH} pairs, {seconds:.0f} s: {'; '.join(words)}.",
            figures=tuple(figures),
            settings={"steps": options.steps, "batch": BATCH, "rate": RATE, "tokens of a text": TOKENS, "dim": DIM},
        ),
        name="late_interaction",
        title="A late-interaction model trained in minutes",
        claim="training a linear head and the encoder on in-domain pairs makes late interaction better",
        environment=Environment.capture(
            seed=SEED, command=f"{COMMAND} --steps {options.steps}", wall_s=time.perf_counter() - began
        ),
    )
    result.save(options.out)
    from rich.console import Console

    Console(width=200).print(result)


if __name__ == "__main__":
    main()
