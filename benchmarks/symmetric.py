"""How fast are codes compared with codes: as whole numbers, by counting bits, and by tables, at equal bits?

    python benchmarks/symmetric.py [--n 1000000] [--dims 256 512] [--queries 4] [--rounds 5]

Codes of `RecurrentBinary` are random here, since speed does not depend on what they mean. Our three layouts lead to the
same scores, by products of whole numbers: planes of bits, 4 bits, and bytes. Counting bits takes a Hamming pass for
each pair of planes; the passes are those of faiss-cpu's IndexBinaryFlat. What is measured is a scan for the best 10 on
one thread, by processor time, in turns. Peers over as many bits: IndexBinaryFlat and usearch's exact search of bits,
which know no weights, faiss' IndexPQFastScan (4-bit tables in registers), and usearch's search of bytes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import faiss
import numpy as np
from usearch.index import MetricKind, search

from isometry.evaluation import Result
from isometry.evaluation.throughput import medians, take_turns
from isometry.kernels.graph import Space
from isometry.kernels.rows import (
    BitRows,
    ByteRows,
    NibbleRows,
    PlaneRows,
    code_bytes,
    pack_nibbles,
    pack_planes,
    padded,
    padded_copy,
)
from isometry.kernels.scan import best
from record import Record, measure_sections, options_of

K = 10
BITS = (1, 2, 4)
BLOCK = 50_000
LEARNED = 10_000
HALF = 0.5
PLANES, HALVES, BYTES = "isometry, planes of bits", "isometry, 4 bits", "isometry, bytes"
COUNTED = "faiss, a Hamming pass for each pair of planes"
NONE = np.empty(0, np.float32)


def layouts(codes: np.ndarray, bits: int) -> Iterator[tuple[str, Any]]:
    """Yield the names and rows of all ways to keep codes; a value is an odd whole number."""
    constants = padded_copy(np.tile(np.float32([2, 1 - 2**bits]), (len(codes), 1)))
    planes = padded((len(codes), bits * code_bytes(codes.shape[1], 1)), np.uint8)
    nibbles = padded((len(codes), code_bytes(codes.shape[1], 4)), np.uint8)
    for start in range(0, len(codes), BLOCK):
        some = slice(start, start + BLOCK)
        planes[some], nibbles[some] = pack_planes(codes[some], bits), pack_nibbles(codes[some])
    yield PLANES, (BitRows if bits == 1 else PlaneRows)(planes, constants)
    if bits > 1:
        yield HALVES, NibbleRows(nibbles, constants)
    if bits == 4:
        yield BYTES, ByteRows(padded_copy(codes), constants)


def blocks(codes: np.ndarray) -> list[np.ndarray]:
    """Return codes a part at a time."""
    return [codes[start : start + BLOCK] for start in range(0, len(codes), BLOCK)]


def scan(rows: Any, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slots and scores of the best rows for each query."""
    n = len(rows[0])
    scores, slots = np.empty((len(queries), K), np.float32), np.empty((len(queries), K), np.int32)
    best(rows, Space(NONE, NONE, np.float32(0)), np.arange(n, dtype=np.int32), queries, scores, slots)
    return slots, scores


def exact(codes: np.ndarray, queries: np.ndarray, bits: int) -> np.ndarray:
    """Return the best scores of each query, by NumPy."""
    parts = [queries @ (2 * block.astype(np.float32) - (2**bits - 1)).T for block in blocks(codes)]
    return -np.sort(-np.concatenate(parts, axis=1), axis=1)[:, :K]


def peers(codes: np.ndarray, asked: np.ndarray, bits: int) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    """Yield name, bytes per code and a search of every peer that compares as many bits."""
    d = codes.shape[1]
    width = bits * d // 8
    words, wanted = (np.concatenate([pack_planes(part, bits) for part in blocks(each)]) for each in (codes, asked))
    binary = faiss.IndexBinaryFlat(8 * width)
    binary.add(words)
    yield "faiss IndexBinaryFlat", width, lambda: binary.search(wanted, K)
    yield "usearch b1", width, lambda: search(words, wanted, K, MetricKind.Hamming, exact=True, threads=1)
    plane = faiss.IndexBinaryFlat(d)
    plane.add(np.ascontiguousarray(words[:, : d // 8]))
    first = np.ascontiguousarray(wanted[:, : d // 8])
    yield COUNTED, width, lambda: [plane.search(first, K) for _ in range(bits**2)]
    rng = np.random.default_rng(1)
    fast = faiss.IndexPQFastScan(d, 2 * width, 4, faiss.METRIC_INNER_PRODUCT)
    fast.train(rng.standard_normal((LEARNED, d), dtype=np.float32))
    for part in blocks(codes):
        fast.add(rng.standard_normal(part.shape, dtype=np.float32))
    floats = rng.standard_normal((len(asked), d), dtype=np.float32)
    yield "faiss IndexPQFastScan", width, lambda: fast.search(floats, K)
    if bits == 4:
        small, few = (x.view(np.int8) for x in (codes, asked))
        yield "usearch i8", d, lambda: search(small, few, K, MetricKind.IP, exact=True, threads=1)


def measured(options: argparse.Namespace) -> Result:
    """Time all ways at every width and number of bits."""
    record = Record(
        "symmetric",
        "Comparing codes with codes",
        f"products of whole numbers take at most {HALF} of the time of counting bits, with the same scores",
        f"python benchmarks/symmetric.py --n {options.n} --dims {' '.join(map(str, options.dims))}",
        options.out,
        {"n": options.n, "queries": options.queries, "rounds": options.rounds, "clock": "processor time, 1 thread"},
    )
    faiss.omp_set_num_threads(1)
    shares: dict[str, float] = {}
    for d in options.dims:
        for bits in BITS:
            rng = np.random.default_rng(0)
            codes, asked = (rng.integers(2**bits, size=(n, d), dtype=np.uint8) for n in (options.n, options.queries))
            queries = 2 * asked.astype(np.float32) - (2**bits - 1)
            data = f"{d} coordinates of {bits} bits, n={options.n:,}"
            calls: dict[str, Callable[[], Any]] = {}
            sizes: dict[str, int] = {}
            truth = exact(codes, queries, bits)
            for name, rows in layouts(codes, bits):
                if not np.array_equal(scan(rows, queries)[1], truth):
                    raise AssertionError(f"{name} does not give the scores of NumPy on {data}")
                calls[name], sizes[name] = partial(scan, rows, queries), rows.codes.shape[1]
            for name, size, call in peers(codes, asked, bits):
                calls[name], sizes[name] = call, size
            times = medians(take_turns(calls, rounds=options.rounds, clock=time.process_time))
            for name, seconds in times.items():
                record.add(data, name, "ns per code", 1e9 * seconds / options.n / options.queries)
                record.add(data, name, "bytes per code", sizes[name])
            if bits > 1:
                shares[f"{d} x {bits} bits"] = min(times[PLANES], times[HALVES]) / times[COUNTED]
            record.save()
    good = [share <= HALF for share in shares.values()]
    words = ", ".join(f"{share:.2f} of the time at {name}" for name, share in shares.items())
    return record.save(
        "holds" if all(good) else "partly" if any(good) else "does not hold",
        f"The scores of all our layouts are those of NumPy to the last bit. Against counting bits they take {words}.",
    )


SECTIONS = {"symmetric": measured}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--queries", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    measure_sections(options_of(parser, SECTIONS), SECTIONS)


if __name__ == "__main__":
    main()
