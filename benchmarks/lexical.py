"""Which engine for search by words: bm25s (under `isometry.indexes.BM25`) or Lance's full-text index?

    python benchmarks/lexical.py --data FOLDER [--sets nfcorpus cranfield med cacm] [--large medquad]

Both index the same texts (title and text joined) with English stemming and stop words. Measured: nDCG@10 with a 95 %
bootstrap interval and the paired difference; seconds to build; milliseconds per query (median over the queries, engines
taking turns, k = 10); bytes on disk; then the last tenth of the documents is added to an index built on the rest, and
every seventh document is deleted: query time, quality over what is left, and whether a deleted document came back.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from isometry.evaluation.judged import JudgedSet, document_text, load_judged
from isometry.evaluation.measures import Measured, measure
from isometry.indexes import BM25, load_index

K = 10
ROUNDS = 3
Run = dict[str, dict[str, float]]


class Words:
    """`isometry.indexes.BM25`, saved and memory-mapped."""

    name = "bm25s (isometry.indexes.BM25)"

    def __init__(self, folder: Path, documents: list[dict[str, Any]]) -> None:
        self.path = folder / "bm25"
        self.ids = [document["id"] for document in documents]
        BM25().build([document_text(document) for document in documents]).save(self.path)
        self.index = load_index(self.path)

    def search(self, text: str, k: int = K) -> dict[str, float]:
        """Return the scores of the best `k` documents by their ids."""
        ids, scores = self.index.search([text], k)
        return {self.ids[i]: float(s) for i, s in zip(ids[0], scores[0], strict=True) if i >= 0}

    def add(self, documents: list[dict[str, Any]]) -> None:
        """Make more documents searchable without building again."""
        self.ids += [document["id"] for document in documents]
        self.index.add([document_text(document) for document in documents])

    def delete(self, ids: list[str]) -> None:
        """Delete documents by id."""
        place = {name: i for i, name in enumerate(self.ids)}
        self.index.remove([place[name] for name in ids])


class Lance:
    """A Lance table with an inverted index, tokenised alike; rows added later are scanned by Lance itself."""

    name = "Lance full-text index"

    def __init__(self, folder: Path, documents: list[dict[str, Any]]) -> None:
        self.path = folder / "table.lance"
        self.table = lance.write_dataset(self._rows(documents), self.path)
        self.table.create_scalar_index(
            "text", "INVERTED", with_position=False, language="English", stem=True, remove_stop_words=True
        )

    @staticmethod
    def _rows(documents: list[dict[str, Any]]) -> pa.Table:
        return pa.table({"id": [d["id"] for d in documents], "text": [document_text(d) for d in documents]})

    def search(self, text: str, k: int = K) -> dict[str, float]:
        """Return the scores of the best `k` documents by their ids."""
        rows = self.table.scanner(columns=["id", "_score"], full_text_query=text, limit=k).to_table()
        return dict(zip(rows["id"].to_pylist(), rows["_score"].to_pylist(), strict=True))

    def add(self, documents: list[dict[str, Any]]) -> None:
        """Make more documents searchable without building again."""
        self.table = lance.write_dataset(self._rows(documents), self.path, mode="append")

    def delete(self, ids: list[str]) -> None:
        """Delete documents by id."""
        quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in ids)
        self.table.delete(f"id IN ({quoted})")


ENGINES: tuple[type[Words] | type[Lance], ...] = (Words, Lance)


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long a call took, and what it returned."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def query_times(engines: list[Any], queries: list[str]) -> list[float]:
    """Return each engine's median milliseconds per query, the engines taking turns on every query."""
    taken: list[list[float]] = [[] for _ in engines]
    for _ in range(ROUNDS):
        for text in queries:
            for engine, times in zip(engines, taken, strict=True):
                times.append(seconds(lambda engine=engine, text=text: engine.search(text))[0])
    return [1000 * statistics.median(times) for times in taken]


def quality(engine: Any, judged: JudgedSet, without: set[str] = frozenset()) -> Measured:  # type: ignore[assignment]
    """Return nDCG@10, judgements of absent documents left out."""
    qrels = {q: {d: g for d, g in grades.items() if d not in without} for q, grades in judged.qrels.items()}
    qrels = {query: grades for query, grades in qrels.items() if any(grade > 0 for grade in grades.values())}
    run: Run = {query: engine.search(judged.queries[query]) for query in qrels}
    return measure(run, qrels, ["nDCG@10"])


def on_disk(path: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def compare(judged: JudgedSet, max_queries: int) -> dict[str, Any]:
    """Return all figures for one judged set."""
    documents = list(judged.corpus)
    kept = dict(list(judged.queries.items())[:max_queries])
    judged = JudgedSet(judged.name, documents, kept, {query: judged.qrels[query] for query in kept})  # type: ignore[arg-type]
    texts = list(kept.values())
    figures: dict[str, Any] = {"documents": len(documents), "queries": len(texts)}
    with tempfile.TemporaryDirectory() as folder:
        built = [
            seconds(lambda i=i, kind=kind: kind(_new(folder, f"all{i}"), documents)) for i, kind in enumerate(ENGINES)
        ]
        engines = [engine for _, engine in built]
        measured = [quality(engine, judged) for engine in engines]
        times = query_times(engines, texts)
        for engine, (build_s, _), result, query_ms in zip(engines, built, measured, times, strict=True):
            figures[engine.name] = {
                "nDCG@10": result["nDCG@10"].to_dict(),
                "build_s": round(build_s, 3),
                "query_ms": round(query_ms, 3),
                "bytes": on_disk(engine.path),
            }
        figures["nDCG@10 difference, bm25s - Lance"] = measured[0].difference(measured[1], "nDCG@10").to_dict()
        split = len(documents) * 9 // 10
        parts = [kind(_new(folder, f"part{i}"), documents[:split]) for i, kind in enumerate(ENGINES)]
        gone = {document["id"] for document in documents[::7]}
        for engine in parts:
            figures[engine.name]["add_tenth_s"] = round(
                seconds(lambda engine=engine: engine.add(documents[split:]))[0], 3
            )
        for engine, query_ms in zip(parts, query_times(parts, texts), strict=True):
            figures[engine.name]["query_ms_with_a_tenth_added"] = round(query_ms, 3)
            figures[engine.name]["nDCG@10_with_a_tenth_added"] = quality(engine, judged)["nDCG@10"].to_dict()
        for engine in parts:
            engine.delete(sorted(gone))
            found = [set(engine.search(text)) for text in texts]
            figures[engine.name]["deleted_documents_returned"] = sum(len(hits & gone) for hits in found)
            figures[engine.name]["queries_with_fewer_than_10"] = sum(len(hits) < K for hits in found)
            figures[engine.name]["nDCG@10_after_deleting"] = quality(engine, judged, gone)["nDCG@10"].to_dict()
    return figures


def _new(folder: str, name: str) -> Path:
    path = Path(folder) / name
    path.mkdir()
    return path


def environment() -> dict[str, Any]:
    """Return what the figures depend on beside the code."""
    packages = ("bm25s", "PyStemmer", "pylance", "pyarrow", "numpy")
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "machine": platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "rounds": ROUNDS,
        "seed": 0,
    }


def main() -> None:
    """Compare the engines and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with one judged set (BEIR layout) per folder")
    parser.add_argument("--sets", nargs="*", default=["nfcorpus", "cranfield", "med", "cacm"])
    parser.add_argument("--large", nargs="*", default=["medquad"], help="sets of which 300 queries are enough")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/lexical.json"))
    options = parser.parse_args()
    figures = {}
    for name in [*options.sets, *options.large]:
        judged = load_judged(options.data / name, on_unknown="drop")
        figures[name] = compare(judged, 300 if name in options.large else len(judged.queries))
        print(name, json.dumps(figures[name], indent=1))
    command = "python benchmarks/lexical.py --data DATA"
    result = {
        "question": (__doc__ or "").splitlines()[0],
        "command": command,
        "environment": environment(),
        "sets": figures,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
