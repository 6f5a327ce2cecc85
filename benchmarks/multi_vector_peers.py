"""The engines that multi-vector search is compared with, behind one small contract; ours are among them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from isometry.evaluation.token_sets import TokenSets
from isometry.indexes import index_from_spec
from peers import Saved

__all__ = ["EXACT", "Engine", "FastPlaid", "K", "Ours", "Setting", "engines"]

K = 10
EXACT = "isometry exact, float16"
EFFORTS = (10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 320, 453, 640, 905, 1280, 2560, 5120)
PROBES = (2, 8, 32)
SPECS = (
    "FDE(20,5,16),LVQ4,Flat -> PQ32",
    "FDE(20,5,16),PQ256x8,Flat -> LVQ8",
    "FDE(20,5,16),PQ256x8,Flat -> PQ32",
    "FDE(20,4,8),PQ128x8,Flat -> PQ32",
    "FDE(20,5,16),PQ256x8,Vamana32 -> PQ32",
    "PQ32,MaxSim",
    "PQ32,PLAID",
)
BITS = (2, 4)
Setting = tuple[int, ...]


class Engine(Saved):
    """An index over token sets: `build`, then `search` all queries of the sets."""

    name = ""

    def build(self, sets: TokenSets, threads: int) -> tuple[float, float]:
        """Index the documents; returns processor seconds and bytes."""
        raise NotImplementedError

    def rails(self) -> Iterable[list[Setting]]:
        """Yield settings to try, in rows that go from quick to accurate."""
        return ([()],)

    def search(self, setting: Setting) -> tuple[np.ndarray, float]:
        """Return ids (nq, K) and processor seconds."""
        raise NotImplementedError

    def most(self) -> np.ndarray:
        """Return ids with as much effort as there is."""
        return self.search([*self.rails()][-1][-1])[0]

    def words(self, setting: Setting) -> str:
        """Return a setting in words."""
        return "all documents"

    def close(self) -> None:
        """Let the index go."""


class Ours(Engine):
    """One of our indexes, by its specification."""

    def __init__(self, spec: str, name: str = "") -> None:
        self.spec, self.name = spec, name or f"isometry {spec}"
        self.whole = spec.endswith("MaxSim")

    def build(self, sets: TokenSets, threads: int) -> tuple[float, float]:
        self.queries, self.largest = sets.queries, len(sets.documents)
        start = time.process_time()
        self.index: Any = index_from_spec(self.spec, metric="dot").build(sets.documents)
        return time.process_time() - start, self.serialized_bytes()

    def save(self, folder: str) -> None:
        self.index.save(f"{folder}/index")

    def rails(self) -> Iterable[list[Setting]]:
        if self.whole:
            return ([()],)
        return ([(effort,) for effort in EFFORTS if effort < 2 * self.largest],)

    def search(self, setting: Setting) -> tuple[np.ndarray, float]:
        start = time.process_time()
        ids, _ = self.index.search(self.queries, K, effort=setting[0] if setting else None, threads=1)
        return ids, time.process_time() - start

    def words(self, setting: Setting) -> str:
        return f"{setting[0]} candidates" if setting else super().words(setting)

    def close(self) -> None:
        del self.index


class FastPlaid(Engine):
    """PLAID as LightOn wrote it in Rust over torch, in a Python of its own."""

    def __init__(self, python: Path, folder: Path, bits: int) -> None:
        self.name, self.python, self.folder, self.bits = f"fast-plaid, {bits} bits", python, folder, bits

    def build(self, sets: TokenSets, threads: int) -> tuple[float, float]:
        for role, some in (("documents", sets.documents), ("queries", sets.queries)):
            np.save(self.folder / f"{role}-tokens.npy", some.tokens.astype(np.float16))
            np.save(self.folder / f"{role}-lengths.npy", some.lengths)
        self.largest = len(sets.documents)
        self.process = subprocess.Popen(
            [self.python, Path(__file__).with_name("plaid_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": "1"},
        )
        told = self.ask(do="build", folder=str(self.folder), bits=self.bits, threads=threads)
        return told["seconds"], told["bytes"]

    def ask(self, **request: Any) -> Any:
        """Send a request and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with exit code {self.process.wait()}")
        return json.loads(line)

    def rails(self) -> Iterable[list[Setting]]:
        for probes in PROBES:
            yield [(effort, probes) for effort in EFFORTS if 4 * K <= effort < 2 * self.largest]

    def search(self, setting: Setting) -> tuple[np.ndarray, float]:
        path = self.folder / "ids.npy"
        told = self.ask(do="search", k=K, candidates=setting[0], probes=setting[1], ids=str(path))
        return np.load(path, allow_pickle=False), told["seconds"]

    def words(self, setting: Setting) -> str:
        return f"{setting[0]} full scores, {setting[1]} probes"

    def close(self) -> None:
        self.process.communicate()


def engines(plaid: Path | None, folder: Path, words: list[str] | None = None) -> list[Engine]:
    """Return the engines: the exact one first, then those whose name holds one of the words."""
    every: list[Engine] = [Ours(spec) for spec in SPECS]
    every += [FastPlaid(plaid, folder, bits) for bits in BITS] if plaid is not None else []
    chosen = [each for each in every if words is None or any(word in each.name for word in words)]
    return [Ours("Float16,MaxSim", EXACT), *chosen]
