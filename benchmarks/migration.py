"""What does a map from a new encoder's queries onto old vectors keep, beside staying and beside encoding all anew?

    python benchmarks/migration.py --data FOLDER [--sets nfcorpus ...] [--n N] [--pairs 1000 5000 20000]
                                   [--others wordllama tuned] [--methods procrustes linear mlp]
                                   [--wordnet FOLDER] [--vectors FOLDER]

all-MiniLM-L6-v2 (384-d) and one of the `--others`, each as the old and as the new encoder: wordllama (256-d), which
averages vectors of tokens, so the two are as unlike as can be; and "tuned", the same MiniLM after somebody taught it a
narrow field, as users do with their own models. Maps of each kind are learned from so many pairs; networks, which take
minutes, for short texts on the way to MiniLM. Measured are the share of the new encoder's own ten best (what encoding
all documents anew would give) that is found, the same of the old encoder's ten best, and nDCG@10 on judged sets. Pairs
come from what is searched, or from other texts ("general"), or both; queries taught nothing. A collection is migrated,
too: what its report promises, what queries then keep, and what each step takes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import isometry as iso
from isometry.cache import cache_folder
from isometry.encoders import DEFAULT_ENCODER, load_encoder
from isometry.encoders.resolving import package_folder
from isometry.errors import MissingExtra
from isometry.estimates import bootstrap_mean
from isometry.evaluation import document_text, load_judged
from isometry.evaluation.corpora import WORDNET, KeptEncoder, ShortTexts, load_vectors, short_texts
from isometry.evaluation.judged_vectors import JudgedVectors, load_judged_vectors
from isometry.evaluation.measures import Measured
from isometry.transforms import Alignment
from record import Record

os.environ.setdefault("HF_HUB_OFFLINE", "1")

K = 10
STATIC, MINILM, TUNED = "wordllama", "MiniLM", "fine-tuned MiniLM"
TUNED_PACKAGE = "sre_embedding_model"
OTHERS = {"wordllama": STATIC, "tuned": TUNED}
COMMAND = "python benchmarks/migration.py --data FOLDER"
OF_NEW, OF_OLD, NDCG = "of the new top 10", "of the old top 10", "nDCG@10"
STAY, ANEW = "stay on the old encoder", "encode all anew"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Texts:
    """One set in both spaces: documents and queries by encoder, and judgements if there are any."""

    name: str
    x: dict[str, Floats]
    q: dict[str, Floats]
    judged: JudgedVectors | None = None

    def top(self, documents: str, queries: Floats) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ten best documents by their vectors of one encoder, by cosine."""
        from isometry.indexes import Flat

        return Flat(metric="cosine").build(self.x[documents]).search(queries, K)

    def judge(self, found: tuple[NDArray[np.int64], NDArray[np.float32]]) -> Measured | None:
        """Return nDCG@10 of what was found; None without judgements."""
        return None if self.judged is None else self.judged.judge(*found)


class Encoders:
    """MiniLM and another encoder; what MiniLM and its kin make, which takes minutes, is kept."""

    def __init__(self, other: str, folder: Path | None) -> None:
        self.other, self.folder = other, folder
        self.documents: Callable[[list[str]], Floats]
        self.queries: Callable[[list[str]], Floats]
        if other == STATIC:
            static = load_encoder(STATIC)
            self.documents, self.queries = static.encode_document, static.encode_query
            return
        package = package_folder(TUNED_PACKAGE)
        if package is None:
            raise MissingExtra("bench", TUNED, "sre-embedding-model")
        home = cache_folder() / "benchmarks" if folder is None else folder
        self.documents = self.queries = KeptEncoder(home, encoder=f"{package}/model_weights", kept_as="tuned")

    def short(self, texts: ShortTexts, n: int, n_queries: int) -> Texts:
        """Return short texts of many kinds in both spaces."""
        minilm = load_vectors("minilm", texts, self.folder)
        return Texts(
            f"short texts, n={n:,}",
            {MINILM: np.array(minilm.x[:n]), self.other: self.documents(texts.base[:n])},
            {MINILM: np.array(minilm.queries[:n_queries]), self.other: self.queries(texts.queries[:n_queries])},
        )

    def judged(self, folder: Path) -> Texts:
        """Return a judged set in both spaces."""
        judged, vectors = load_judged(folder), load_judged_vectors(folder, keep=self.folder)
        return Texts(
            judged.name,
            {MINILM: vectors.x, self.other: self.documents([document_text(each) for each in judged.corpus])},
            {MINILM: vectors.queries, self.other: self.queries([judged.queries[name] for name in vectors.query_ids])},
            vectors,
        )


def compare(record: Record, texts: Texts, pairs: dict[str, dict[str, Floats]], methods: list[str]) -> None:
    """Note what each map finds in one set, in both directions."""
    for old, new in itertools.permutations(texts.x):
        data = f"{texts.name}; {old} to {new}"
        best_old, best_new = (texts.top(name, texts.q[name]) for name in (old, new))

        def note(method: str, found: Any, data: str = data, old: Any = best_old, new: Any = best_new) -> None:
            for measure, best in ((OF_NEW, new), (OF_OLD, old)):
                shares = [len(set(a) & set(b)) / K for a, b in zip(found[0].tolist(), best[0].tolist(), strict=True)]
                kept = bootstrap_mean(shares)
                record.add(data, method, measure, kept.mean, low=kept.low, high=kept.high, n=kept.n)
            judged = texts.judge(found)
            if judged is not None:
                quality = judged.estimates[NDCG]
                record.add(data, method, NDCG, quality.mean, low=quality.low, high=quality.high, n=quality.n)

        note(STAY, best_old)
        note(ANEW, best_new)
        for method in [each for each in methods if each != "mlp" or (old, new) == (STATIC, MINILM)]:
            for name, pair in pairs.items():
                began = time.process_time()
                alignment = Alignment(method).fit(pair[new], pair[old])
                seconds = time.process_time() - began
                called = f"isometry {method}, {name}"
                note(called, texts.top(old, alignment.transform(texts.q[new])))
                record.add(data, called, "fit s", seconds)
                if alignment.kept_ is not None:
                    record.add(data, called, "kept, as the map tells", alignment.kept_)
                record.save(*verdict(record))


def migrate_collection(record: Record, texts: ShortTexts, vectors: Texts, n: int, sample: int, n_queries: int) -> None:
    """Note what `Collection.migrate` promises, keeps and takes: MiniLM vectors that are there already, to wordllama."""
    minilm = load_encoder(DEFAULT_ENCODER)
    asked = texts.queries[:n_queries]
    data = f"collection of {n:,} short texts; {MINILM} to {STATIC}"

    def found() -> tuple[list[set[str]], float]:
        collection.search(asked[0], K, mode="dense")
        began = time.perf_counter()
        ids = [set(collection.search(text, K, mode="dense").ids) for text in asked]
        return ids, (time.perf_counter() - began) / len(asked) * 1e3

    with tempfile.TemporaryDirectory() as folder, iso.create(f"{folder}/c.iso", encoder=DEFAULT_ENCODER) as collection:
        rows = [{"id": str(row), "text": text} for row, text in enumerate(texts.base[:n])]
        collection.add(rows, vectors=vectors.x[MINILM][:n], encoded_by=minilm)
        collection.build("Flat")
        before, _ = found()
        report = collection.migrate(STATIC, until="planned", sample=sample)
        record.add(
            data,
            f"isometry {report.method}",
            "kept, as the report tells",
            report.kept or 0.0,
            low=(report.kept_interval or (0, 0))[0],
            high=(report.kept_interval or (0, 0))[1],
            n=report.judged,
        )
        record.add(data, f"isometry {report.method}", "plan s", report.seconds)
        collection.migrate(until="serving")
        mapped, milliseconds = found()
        kept = bootstrap_mean([len(a & b) / K for a, b in zip(mapped, before, strict=True)])
        record.add(data, f"isometry {report.method}", OF_OLD, kept.mean, low=kept.low, high=kept.high, n=kept.n)
        record.add(data, f"isometry {report.method}", "ms per query", milliseconds)
        began = time.perf_counter()
        collection.migrate()
        record.add(data, f"isometry {report.method}", "embed and switch s", time.perf_counter() - began)
        after, milliseconds = found()
        agree = bootstrap_mean([len(a & b) / K for a, b in zip(mapped, after, strict=True)])
        record.add(data, f"isometry {report.method}", OF_NEW, agree.mean, low=agree.low, high=agree.high, n=agree.n)
        record.add(data, ANEW, "ms per query", milliseconds)
        began = time.perf_counter()
        collection.rollback_migration()
        record.add(data, f"isometry {report.method}", "roll back s", time.perf_counter() - began)
        again, _ = found()
        record.add(
            data, "isometry, rolled back", OF_OLD, float(np.mean([a == b for a, b in zip(again, before, strict=True)]))
        )


def drawn(texts: Texts, count: int) -> dict[str, Floats]:
    """Return some documents in both spaces."""
    rows = np.random.default_rng(0).permutation(len(texts.x[MINILM]))[:count]
    return {name: x[rows] for name, x in texts.x.items()}


def both(one: dict[str, Floats], other: dict[str, Floats]) -> dict[str, Floats]:
    """Return pairs of two kinds of texts."""
    return {name: np.concatenate([one[name], other[name]]) for name in one}


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets, judged ones in the BEIR layout")
    parser.add_argument("--sets", nargs="*", default=["nfcorpus", "cranfield", "med"])
    parser.add_argument("--n", type=int, default=100_000, help="short texts to search")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--pairs", nargs="+", type=int, default=[1_000, 5_000, 20_000])
    parser.add_argument("--others", nargs="+", choices=OTHERS, default=list(OTHERS))
    parser.add_argument("--methods", nargs="+", default=["procrustes", "linear", "mlp"])
    parser.add_argument("--collection", type=int, default=10_000, help="documents of the collection that is migrated")
    parser.add_argument("--wordnet", type=Path, default=WORDNET, help="folder of WordNet's data files")
    parser.add_argument("--vectors", type=Path, help="where vectors are kept; by default in the user's cache folder")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    record = Record(
        "migration",
        "Queries of a new encoder over old vectors, through a map",
        "a map learned from some thousand pairs keeps most of the retrieval until the documents are encoded anew",
        COMMAND,
        options.out,
        {"queries": options.queries, "pairs": options.pairs},
    )
    texts = short_texts(options.data, n=100_000, wordnet=options.wordnet)
    for other in options.others:
        encoders = Encoders(OTHERS[other], options.vectors)
        general = encoders.short(texts, options.n, options.queries)
        if other == "wordllama":
            migrate_collection(record, texts, general, options.collection, 5_000, options.queries // 5)
        for name in options.sets:
            judged = encoders.judged(options.data / name)
            own = {count: drawn(judged, count) for count in (1_000, len(judged.x[MINILM]))}
            pairs = {f"{len(pair[MINILM]):,} pairs": pair for pair in own.values()}
            pairs |= {f"{count:,} general pairs": drawn(general, count) for count in options.pairs[1:]}
            most = options.pairs[-1]
            pairs |= {f"{most:,} general and all own pairs": both(drawn(general, most), drawn(judged, 10**9))}
            compare(record, judged, pairs, [method for method in options.methods if method != "mlp"])
        compare(
            record, general, {f"{count:,} pairs": drawn(general, count) for count in options.pairs}, options.methods
        )
    record.save(*verdict(record))


def verdict(record: Record) -> tuple[Any, str]:
    """Say what the figures show."""
    said, better = [], []
    directions = [direction for other in OTHERS.values() for direction in itertools.permutations((MINILM, other))]
    for old, new in directions:
        for data in dict.fromkeys(
            figure.data for figure in record.figures if figure.data.endswith(f"; {old} to {new}")
        ):
            stay, anew = (record.value(method, NDCG, data) for method in (STAY, ANEW))
            maps = [f for f in record.figures if f.data == data and f.measure == NDCG and f.method not in (STAY, ANEW)]
            if stay is None or anew is None or not maps:
                continue
            best = max(maps, key=lambda figure: figure.value or 0.0)
            better.append((best.value or 0.0) > 0.8 * anew)
            said.append(
                f"{data}: staying {stay:.3f}, {best.method.removeprefix('isometry ')} {best.value:.3f}, anew {anew:.3f}"
            )
    found = "holds" if all(better) else "partly" if any(better) else "does not hold"
    return found if better else "not measured", "nDCG@10. " + "; ".join(said) + "."


if __name__ == "__main__":
    main()
