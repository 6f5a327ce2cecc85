"""How near to the memory's speed is exact search, and how does it stand against its peers?

    python benchmarks/flat.py [--n 100000] [--dim 384] [--out benchmarks/results/flat.json]

One process, the same data and threads for all, engines taking turns; medians, and the fastest of all rounds, which
tells more on a machine that is shared. The floor of a single query is the time to read all vectors once, measured in
the same rounds by taking their maximum. Peers: faiss-cpu IndexFlatIP (told to use its BLAS for batches of 16 and
more: left alone it does not, and takes ten times as long), NumPy (matrix product and argpartition, the recipe most
people use), scikit-learn's brute force. Then: batches, filters of several selectivities, and what a call costs beside
the scan (few vectors, one thread).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from isometry.indexes import Flat

K = 10
BLAS_FROM = 16
NEVER = 2**30
Call = Callable[[], Any]


def timed(calls: dict[str, Call], rounds: int) -> dict[str, tuple[float, float]]:
    """Return each call's (median, fastest) milliseconds, the calls taking turns; the first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if i:
                taken[name].append(time.perf_counter() - start)
    return {name: (1000 * statistics.median(times), 1000 * min(times)) for name, times in taken.items()}


def rounded(times: dict[str, tuple[float, float]], scale: float = 1.0) -> dict[str, dict[str, float]]:
    """Return times for the result file, multiplied by `scale`."""
    return {name: {"median": round(m * scale, 4), "fastest": round(f * scale, 4)} for name, (m, f) in times.items()}


class Peers:
    """The engines over one set of vectors; each call returns the ids of the best K by inner product."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self.flat = Flat(metric="dot").build(x)
        self.faiss = faiss.IndexFlatIP(x.shape[1])
        self.faiss.add(x)
        # Unit vectors: the nearest in Euclidean distance are the best by inner product.
        self.sklearn = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(x)

    def calls(self, q: np.ndarray, threads: int) -> dict[str, Call]:
        """Return one call per engine for the queries `q`."""
        return {
            "isometry Flat": lambda: self.flat.search(q, K, threads=threads)[0],
            "faiss IndexFlatIP": lambda: self._faiss(q),
            "numpy": lambda: self._numpy(q),
            "scikit-learn": lambda: self.sklearn.kneighbors(q, return_distance=False),
        }

    def _faiss(self, q: np.ndarray) -> np.ndarray:
        faiss.cvar.distance_compute_blas_threshold = 1 if len(q) >= BLAS_FROM else NEVER
        return self.faiss.search(q, K)[1]

    def _numpy(self, q: np.ndarray) -> np.ndarray:
        scores = q @ self.x.T
        best = np.argpartition(scores, -K, axis=1)[:, -K:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        return np.take_along_axis(best, order, axis=1)


def unit(n: int, dim: int, seed: int) -> np.ndarray:
    """Return random unit vectors."""
    x = np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def single_query(peers: Peers, threads: int, rounds: int) -> dict[str, Any]:
    """Return the time of one query, as a multiple of the floor too."""
    q = unit(1, peers.x.shape[1], 1)
    calls: dict[str, Call] = {"floor: read all vectors once": peers.x.max, **peers.calls(q, threads)}
    times = timed(calls, rounds)
    floor = times["floor: read all vectors once"]
    return {
        "milliseconds": rounded(times),
        "floor_GB_per_s": {
            "median": round(peers.x.nbytes / floor[0] / 1e6, 1),
            "fastest": round(peers.x.nbytes / floor[1] / 1e6, 1),
        },
        "times_the_floor": {
            name: {"median": round(m / floor[0], 2), "fastest": round(f / floor[1], 2)}
            for name, (m, f) in times.items()
        },
    }


def batches(peers: Peers, threads: int, rounds: int) -> dict[str, Any]:
    """Return milliseconds per query for growing batches."""
    result = {}
    for nq in (4, 16, 64, 256):
        result[str(nq)] = rounded(timed(peers.calls(unit(nq, peers.x.shape[1], 2), threads), rounds), 1 / nq)
    return result


def filters(peers: Peers, threads: int, rounds: int) -> dict[str, Any]:
    """Return milliseconds of one query under masks of several selectivities."""
    q = unit(1, peers.x.shape[1], 3)
    rng = np.random.default_rng(4)
    calls: dict[str, Call] = {"no mask": lambda: peers.flat.search(q, K, threads=threads)}
    for share in (0.001, 0.01, 0.1, 0.3, 0.5, 0.9):
        mask = rng.random(len(peers.x)) < share
        calls[f"{share:g} allowed"] = lambda mask=mask: peers.flat.search(q, K, allowed=mask, threads=threads)
    return rounded(timed(calls, rounds))


def overhead(dim: int, rounds: int) -> dict[str, Any]:
    """Return microseconds of one query over few vectors, where the scan itself is next to nothing."""
    result = {}
    for n in (100, 1000):
        result[str(n)] = rounded(timed(Peers(unit(n, dim, 5)).calls(unit(1, dim, 6), 1), rounds), 1000)
    return result


def agreement(peers: Peers) -> float:
    """Return the share of neighbours on which Flat and faiss agree."""
    found = [call() for call in peers.calls(unit(64, peers.x.shape[1], 7), 1).values()]
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found[0], found[1], strict=True)]))


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/flat.json"))
    options = parser.parse_args()
    peers = Peers(unit(options.n, options.dim, 0))
    figures: dict[str, Any] = {"same neighbours as faiss": agreement(peers)}
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        faiss.omp_set_num_threads(threads)
        with threadpool_limits(threads):
            figures[f"{threads} threads"] = {
                "single query": single_query(peers, threads, options.rounds),
                "milliseconds per query in batches": batches(peers, threads, max(3, options.rounds // 3)),
                "milliseconds of one filtered query": filters(peers, threads, options.rounds),
            }
            if threads == 1:
                figures["microseconds per call, few vectors, 1 thread"] = overhead(options.dim, 20 * options.rounds)
    packages = ("numpy", "faiss-cpu", "scikit-learn")
    result = {
        "question": (__doc__ or "").splitlines()[0],
        "command": f"python benchmarks/flat.py --n {options.n} --dim {options.dim} --rounds {options.rounds}",
        "environment": {
            "load_average": os.getloadavg(),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in packages},
            "machine": platform.machine(),
            "processors": len(os.sched_getaffinity(0)),
            "seed": 0,
        },
        "figures": figures,
    }
    print(json.dumps(result, indent=1))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
