"""The engines that dense search is compared with, behind one small contract; `ours` is one of them.

Every graph is built with comparable degree and window: an HNSW with M = 32 has 64 neighbours on its ground layer, like
a Vamana graph of degree 64. All vectors have length one, so inner product, cosine and Euclidean distance rank alike and
each engine uses whichever it is fastest with.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

WINDOW = 128
K = 10


class Saved:
    """What can be saved, and so weighed."""

    def save(self, folder: str) -> None:
        """Write the index into an empty folder."""
        raise NotImplementedError

    def serialized_bytes(self) -> int:
        """Return the bytes of the saved index."""
        with tempfile.TemporaryDirectory() as folder:
            self.save(folder)
            return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


class Engine(Saved):
    """An index over unit vectors: `build`, then `prepare` an effort and a number of threads, then `search`."""

    module = ""
    least, most = K, 2048

    def __init__(self, name: str) -> None:
        self.name = name

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        """Index `x`; `queries` are examples to learn from, for engines that do."""
        raise NotImplementedError

    def prepare(self, effort: int, threads: int) -> None:
        """Set what the next searches use."""
        raise NotImplementedError

    def search(self, q: np.ndarray) -> np.ndarray:
        """Return ids of the best K of every query."""
        raise NotImplementedError


class Ours(Engine):
    """An index of this library by its spec."""

    module = "isometry"

    def __init__(self, spec: str) -> None:
        super().__init__(f"isometry {spec}")
        self.spec = spec
        if "IVF" in spec:
            self.least = 1

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        import isometry as iso

        # For vectors of length one both metrics rank alike; lists are chosen better by the cosine.
        self.index = iso.index_from_spec(self.spec, metric="cosine" if "IVF" in self.spec else "dot")
        if hasattr(self.index, "threads"):
            self.index.threads = threads
        if "LeanVec" in self.spec:
            self.index.build(x, queries=queries)
        else:
            self.index.build(x)

    def prepare(self, effort: int, threads: int) -> None:
        self.effort, self.threads = effort, threads

    def search(self, q: np.ndarray) -> np.ndarray:
        return self.index.search(q, K, effort=self.effort, threads=self.threads)[0]

    def save(self, folder: str) -> None:
        self.index.save(f"{folder}/index")


class Faiss(Engine):
    """What the faiss engines share."""

    module = "faiss"
    index: Any

    def search(self, q: np.ndarray) -> np.ndarray:
        return self.index.search(q, K)[1]

    def save(self, folder: str) -> None:
        import faiss

        faiss.write_index(self.index, f"{folder}/index")


class FaissHNSW(Faiss):
    """HNSW over float32 or 8-bit scalar quantised vectors."""

    def __init__(self, m: int, storage: str = "Flat") -> None:
        super().__init__(f"faiss HNSW{m} {storage}")
        self.m, self.storage = m, storage

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        if self.storage == "Flat":
            self.index = faiss.IndexHNSWFlat(x.shape[1], self.m, faiss.METRIC_INNER_PRODUCT)
        else:
            kind = faiss.ScalarQuantizer.QT_8bit
            self.index = faiss.IndexHNSWSQ(x.shape[1], kind, self.m, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = WINDOW
        self.index.train(x)
        self.index.add(x)

    def prepare(self, effort: int, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self.index.hnsw.efSearch = effort


class FaissIVF(Faiss):
    """Inverted lists of 8-bit scalar quantised vectors, or of product quantised residuals.

    Effort is the number of lists.
    """

    least = 1

    def __init__(self, codes: str, words: str) -> None:
        super().__init__(f"faiss IVF-{words}")
        self.codes = codes

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        n, dim = x.shape
        self.most = int(2 ** np.round(np.log2(2 * np.sqrt(n))))
        spec = f"IVF{self.most},{self.codes.format(half=dim // 2, quarter=dim // 4)}"
        self.index = faiss.index_factory(dim, spec, faiss.METRIC_INNER_PRODUCT)
        self.index.train(x[: min(n, 64 * self.most)])
        self.index.add(x)
        inner = getattr(self.index, "base_index", self.index)
        self.lists = faiss.extract_index_ivf(inner)

    def prepare(self, effort: int, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self.lists.nprobe = effort


class FaissIVFPQ(FaissIVF):
    """4-bit product quantisation, scanned fast, the best looked at again in float16.

    How many candidates get the second look is another knob, so several are tried.
    """

    def __init__(self, again: int) -> None:
        super().__init__("PQ{half}x4fs,Refine(SQfp16)", f"PQ fast scan, refine x{again}")
        self.again = again

    def prepare(self, effort: int, threads: int) -> None:
        super().prepare(effort, threads)
        self.index.k_factor = self.again


class FaissNSG(Faiss):
    """NSG over float32 vectors."""

    def __init__(self, degree: int) -> None:
        super().__init__(f"faiss NSG{degree}")
        self.degree = degree

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self.index = faiss.IndexNSGFlat(x.shape[1], self.degree, faiss.METRIC_L2)
        self.index.build_type = 1
        self.index.GK = min(64, len(x) - 1)
        self.index.nsg.L = WINDOW
        self.index.add(x)

    def prepare(self, effort: int, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self.index.nsg.search_L = effort


class Hnswlib(Engine):
    """HNSW over float32 vectors."""

    module = "hnswlib"

    def __init__(self, m: int) -> None:
        super().__init__(f"hnswlib M={m}")
        self.m = m

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=x.shape[1])
        self.index.init_index(
            max_elements=len(x), M=self.m, ef_construction=WINDOW, random_seed=0, allow_replace_deleted=True
        )
        self.index.add_items(x, np.arange(len(x)), num_threads=threads)

    def prepare(self, effort: int, threads: int) -> None:
        self.index.set_ef(effort)
        self.threads = threads

    def search(self, q: np.ndarray) -> np.ndarray:
        return self.index.knn_query(q, K, num_threads=self.threads)[0]

    def save(self, folder: str) -> None:
        self.index.save_index(f"{folder}/index")


class Usearch(Engine):
    """HNSW over float32, float16 or 8-bit vectors."""

    module = "usearch"

    def __init__(self, m: int, dtype: str) -> None:
        super().__init__(f"usearch {dtype} M={m}")
        self.m, self.dtype = m, dtype

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        from usearch.index import Index

        self.index = Index(
            ndim=x.shape[1],
            metric="cos",
            dtype=self.dtype,
            connectivity=self.m,
            expansion_add=WINDOW,
            enable_key_lookups=False,
        )
        self.index.add(np.arange(len(x)), x, threads=threads)

    def prepare(self, effort: int, threads: int) -> None:
        self.index.expansion_search = effort
        self.threads = threads

    def search(self, q: np.ndarray) -> np.ndarray:
        keys = self.index.search(q, K, threads=self.threads).keys
        return np.atleast_2d(keys).astype(np.int64)

    def save(self, folder: str) -> None:
        self.index.save(f"{folder}/index")


class SVS(Engine):
    """Vamana of Intel's scalable-vs over float32 or float16 vectors."""

    module = "svs"

    def __init__(self, degree: int, dtype: str) -> None:
        super().__init__(f"SVS Vamana{degree} {dtype}")
        self.degree, self.dtype = degree, dtype

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        import svs

        settings = svs.VamanaBuildParameters(alpha=0.95, graph_max_degree=self.degree, window_size=WINDOW)
        data = np.ascontiguousarray(x, dtype=self.dtype)
        self.index = svs.Vamana.build(settings, data, svs.DistanceType.MIP, num_threads=threads)

    def prepare(self, effort: int, threads: int) -> None:
        self.index.search_window_size = effort
        self.index.num_threads = threads

    def search(self, q: np.ndarray) -> np.ndarray:
        return self.index.search(q, K)[0].astype(np.int64)

    def save(self, folder: str) -> None:
        self.index.save(*(f"{folder}/{part}" for part in ("config", "graph", "data")))


class Voyager(Engine):
    """Spotify's HNSW over float32 or 8-bit vectors."""

    module = "voyager"

    def __init__(self, m: int, dtype: str) -> None:
        super().__init__(f"voyager {dtype} M={m}")
        self.m, self.dtype = m, dtype

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        import voyager

        self.index = voyager.Index(
            voyager.Space.InnerProduct if self.dtype == "Float32" else voyager.Space.Cosine,
            num_dimensions=x.shape[1],
            M=self.m,
            ef_construction=WINDOW,
            max_elements=len(x),
            storage_data_type=getattr(voyager.StorageDataType, self.dtype),
        )
        self.index.add_items(x, num_threads=threads)

    def prepare(self, effort: int, threads: int) -> None:
        self.effort, self.threads = effort, threads

    def search(self, q: np.ndarray) -> np.ndarray:
        return self.index.query(q, K, num_threads=self.threads, query_ef=self.effort)[0].astype(np.int64)

    def save(self, folder: str) -> None:
        self.index.save(f"{folder}/index")


class VSAG(Engine):
    """HGraph of pyvsag: a graph over 8-bit codes, the best looked at again in float32. It takes one query a call."""

    module = "pyvsag"
    most = 1000

    def __init__(self, degree: int) -> None:
        super().__init__(f"pyvsag HGraph{degree} sq8")
        self.degree = degree

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        import pyvsag

        graph = {
            "base_quantization_type": "sq8",
            "precise_quantization_type": "fp32",
            "use_reorder": True,
            "max_degree": self.degree,
            "ef_construction": WINDOW,
            "build_thread_count": threads,
        }
        settings = {"dtype": "float32", "metric_type": "ip", "dim": x.shape[1], "index_param": graph}
        self.index = pyvsag.Index("hgraph", json.dumps(settings))
        self.index.build(vectors=x.ravel(), ids=np.arange(len(x)), num_elements=len(x), dim=x.shape[1])

    def prepare(self, effort: int, threads: int) -> None:
        self.settings = json.dumps({"hgraph": {"ef_search": effort}})
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def search(self, q: np.ndarray) -> np.ndarray:
        found = (map if self.pool is None else self.pool.map)(self._one, q)
        return np.stack(list(found))

    def _one(self, q: np.ndarray) -> np.ndarray:
        ids = self.index.knn_search(vector=q, k=K, parameters=self.settings)[0]  # its help says the other way round
        return np.pad(ids, (0, K - len(ids)), constant_values=-1)

    def save(self, folder: str) -> None:
        self.index.save(f"{folder}/index")


class RaBitQHNSW(Engine):
    """HNSW of rabitqlib over RaBitQ codes."""

    module = "rabitqlib"

    def __init__(self, m: int, bits: int) -> None:
        super().__init__(f"rabitqlib HNSW{m} {bits} bits")
        self.m, self.bits = m, bits

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        import rabitqlib

        clusters = rabitqlib.RaBitQKMeans(x.shape[1], 16)
        clusters.train(x)
        self.index = rabitqlib.HnswIndex(
            x.shape[1], len(x), M=self.m, ef_construction=WINDOW, nbits=self.bits, metric="ip"
        )
        self.index.build(x, clusters.centroids, clusters.assignments, num_threads=threads)

    def prepare(self, effort: int, threads: int) -> None:
        self.effort, self.threads = effort, threads

    def search(self, q: np.ndarray) -> np.ndarray:
        return np.asarray(self.index.search(q, K, self.effort, num_threads=self.threads)[0]).astype(np.int64)

    def save(self, folder: str) -> None:
        self.index.save(f"{folder}/index")


class SymphonyQG(Engine):
    """SymphonyQG of rabitqlib: a graph whose neighbours' codes lie beside each node, float32 vectors for the result."""

    module = "rabitqlib"

    def __init__(self, degree: int) -> None:
        super().__init__(f"rabitqlib SymphonyQG{degree}")
        self.degree = degree

    def build(self, x: np.ndarray, queries: np.ndarray, threads: int) -> None:
        import rabitqlib

        self.index = rabitqlib.SymqgIndex(x.shape[1], self.degree, metric="ip")
        self.index.build(x, WINDOW, num_threads=threads)

    def prepare(self, effort: int, threads: int) -> None:
        self.effort, self.threads = effort, threads

    def search(self, q: np.ndarray) -> np.ndarray:
        return np.asarray(self.index.search(q, K, self.effort, num_threads=self.threads)[0]).astype(np.int64)

    def save(self, folder: str) -> None:
        self.index.save(f"{folder}/index")


OURS = (
    "Vamana64",
    "LVQ8,Vamana64",
    "LVQ4x8,Vamana64",
    "LVQ4x4,Vamana48",
    "LVQ4x4,Vamana32",
    "LVQ8,Vamana64 -> Float16",
)

PEERS: tuple[Callable[[], Engine], ...] = (
    lambda: FaissHNSW(32),
    lambda: FaissHNSW(32, "SQ8"),
    lambda: FaissHNSW(16, "SQ8"),
    lambda: FaissIVF("SQ8", "SQ8"),
    lambda: FaissIVF("PQ{quarter}", "PQ 8 bits"),
    lambda: FaissIVFPQ(8),
    lambda: FaissIVFPQ(32),
    lambda: FaissNSG(64),
    lambda: Hnswlib(32),
    lambda: Hnswlib(16),
    lambda: Usearch(32, "f16"),
    lambda: Usearch(32, "i8"),
    lambda: SVS(64, "float32"),
    lambda: SVS(64, "float16"),
    lambda: SVS(32, "float16"),
    lambda: Voyager(32, "Float32"),
    lambda: Voyager(32, "E4M3"),
    lambda: VSAG(64),
    lambda: RaBitQHNSW(32, 8),
    lambda: SymphonyQG(64),
)


def engines(specs: tuple[str, ...] = OURS, wanted: list[str] | None = None) -> tuple[list[Engine], list[str]]:
    """Return the engines whose name holds one of the words `wanted` (all without), and those not installed."""
    several: list[Engine] = [*(Ours(spec) for spec in specs), *(make() for make in PEERS)]
    chosen = [each for each in several if not wanted or any(word in each.name for word in wanted)]
    here = [each for each in chosen if find_spec(each.module)]
    return here, [each.name for each in chosen if each not in here]


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
