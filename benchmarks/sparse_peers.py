"""The engines that sparse search is compared with, behind one small contract; `ours` are two of them.

Every engine is given the queries before its time is taken, in the form that it likes best, and answers all of them by
one thread. The two that follow the same paper get the same settings to choose from.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from isometry.evaluation.sparse_vectors import best_products
from peers import K, Saved

__all__ = ["BUILDS", "Build", "K", "SparseEngine", "engines"]

CUTS = (4, 6, 8, 10, 12, 16, 24)
FACTORS = (0.7, 0.8, 0.9, 1.0)
EFFORTS = (*range(40, 70, 5), *range(70, 100, 3))
IMPACTS = 255
Setting = tuple[float, ...]


class Build(NamedTuple):
    """What Seismic is built with, in its own code and in ours."""

    n_postings: int = 3500
    centroid_fraction: float = 0.1
    summary_energy: float = 0.4
    max_fraction: float = 1.5
    neighbours: int = 0

    def __str__(self) -> str:
        words = f"{self.n_postings} postings, centroids {self.centroid_fraction:g}, energy {self.summary_energy:g}"
        words += f", max fraction {self.max_fraction:g}"
        return words + (f", {self.neighbours} neighbours" if self.neighbours else "")


BUILDS = (Build(), Build(3000, 0.2, 0.5, 6.0))
"""The defaults of the authors' code, and what their guide gives for high accuracy; each is built and tried."""


class SparseEngine(Saved):
    """An index over sparse vectors: `build`, then `take` queries, then `search` them all or one.

    Attributes
    ----------
    name : str
        Of the engine; what it was built with is in `built_as`.
    module : str
        What has to be installed.
    exact : tuple or None
        The setting whose answer is exact; None if there is none.
    """

    name = module = built_as = ""
    exact: Setting | None = None

    def build(self, x: csr_array, threads: int) -> None:
        """Index the rows of `x`."""
        raise NotImplementedError

    def rails(self) -> Iterable[list[Setting]]:
        """Yield settings to try, in rows that go from quick to accurate."""
        return ()

    def take(self, q: csr_array) -> None:
        """Keep queries, in the engine's own form."""
        self.rows = [q[i : i + 1] for i in range(q.shape[0])]
        self.all = q

    def search(self, setting: Setting) -> Any:
        """Answer all queries."""
        return [self.ask(i, setting) for i in range(len(self.rows))]

    def ask(self, i: int, setting: Setting) -> Any:
        """Answer one query."""
        raise NotImplementedError

    def ids(self, answers: Any) -> np.ndarray:
        """Return ids (nq, K) of what `search` returned; -1 where there are fewer."""
        out = np.full((len(answers), K), -1)
        for i, found in enumerate(answers):
            out[i, : len(found)] = found
        return out

    def words(self, setting: Setting) -> str:
        """Return a setting in words."""
        return ""


class Ours(SparseEngine):
    """What our indexes share."""

    module = "isometry"
    index: Any

    def search(self, setting: Setting) -> Any:
        return self.index.search(self.all, K, threads=1, **self.options(setting))[0]

    def ask(self, i: int, setting: Setting) -> Any:
        return self.index.search(self.rows[i], K, threads=1, **self.options(setting))[0]

    def options(self, setting: Setting) -> dict[str, Any]:
        """Return a setting as keywords of `search`."""
        raise NotImplementedError

    def ids(self, answers: Any) -> np.ndarray:
        return answers

    def save(self, folder: str) -> None:
        self.index.save(f"{folder}/index")


class Inverted(Ours):
    """Posting lists that are added up."""

    name = "isometry Inverted"
    exact = (100,)

    def build(self, x: csr_array, threads: int) -> None:
        import isometry.indexes

        self.index = isometry.indexes.Inverted(threads=threads).build(x)

    def rails(self) -> Iterable[list[Setting]]:
        yield [(effort,) for effort in EFFORTS]

    def options(self, setting: Setting) -> dict[str, Any]:
        return {"effort": int(setting[0])}

    def words(self, setting: Setting) -> str:
        return f"effort {setting[0]}"


class Lists:
    """What both codes of Seismic share: settings (query_cut, heap_factor, neighbours)."""

    def __init__(self, how: Build) -> None:
        self.how, self.built_as = how, str(how)

    def rails(self) -> Iterable[list[Setting]]:
        for neighbours in sorted({0, self.how.neighbours}):
            for factor in FACTORS:
                yield [(cut, factor, neighbours) for cut in CUTS]

    def words(self, setting: Setting) -> str:
        linked = f", {setting[2]} neighbours" if setting[2] else ""
        return f"{self.built_as}; query_cut {setting[0]}, heap_factor {setting[1]:g}{linked}"


class Seismic(Lists, Ours):
    """Posting lists in blocks with summaries, as ours."""

    name = "isometry Seismic"

    def build(self, x: csr_array, threads: int) -> None:
        import isometry.indexes

        self.index = isometry.indexes.Seismic(**self.how._asdict(), threads=threads).build(x)

    def options(self, setting: Setting) -> dict[str, Any]:
        cut, factor, neighbours = setting
        return {"query_cut": int(cut), "heap_factor": factor, "neighbours": int(neighbours)}


class PySeismic(Lists, SparseEngine):
    """The authors' code, as its wheel comes."""

    name = "pyseismic-lsr"
    module = "seismic"

    def build(self, x: csr_array, threads: int) -> None:
        # The pool of threads is made by the first build of a process.
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        import seismic

        settings = self.how._asdict()
        neighbours = settings.pop("neighbours")
        with tempfile.TemporaryDirectory() as folder, quiet():
            write_rows(x, f"{folder}/x.bin")
            self.index = seismic.SeismicIndexRaw.build(f"{folder}/x.bin", **settings)
            if neighbours:
                self.index.build_knn(neighbours)

    def take(self, q: csr_array) -> None:
        q.sort_indices()
        ends = q.indptr[1:-1]
        self.rows = list(
            zip(np.split(q.indices.astype(np.int32), ends), np.split(q.data.astype(np.float32), ends), strict=True)
        )

    def ask(self, i: int, setting: Setting) -> Any:
        cut, factor, neighbours = setting
        return self.index.search(*self.rows[i], K, int(cut), factor, int(neighbours), True)

    def ids(self, answers: Any) -> np.ndarray:
        return super().ids([[row for _, row in found] for found in answers])

    def save(self, folder: str) -> None:
        with quiet():
            self.index.save(f"{folder}/index")


class BlockMax(SparseEngine):
    """Block-max pruning over 8-bit impacts: exact for these, or less with alpha and beta below one."""

    name = "bmp"
    module = "bmp"
    exact = (1.0, 1.0)

    def build(self, x: csr_array, threads: int) -> None:
        import bmp

        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/index.bmp"
        self.scale = IMPACTS / float(x.data.max())
        codes = np.rint(x.data * self.scale).astype(int).clip(1).tolist()
        terms, bounds = [str(term) for term in x.indices.tolist()], x.indptr.tolist()
        with quiet():
            indexer = bmp.Indexer(self.path, bsize=32, compress_range=False)
            for i in range(x.shape[0]):
                part = slice(bounds[i], bounds[i + 1])
                indexer.add_document(str(i), dict(zip(terms[part], codes[part], strict=True)))
            indexer.finish()
            self.index = bmp.Searcher(self.path)

    def rails(self) -> Iterable[list[Setting]]:
        for beta in (0.5, 0.7, 1.0):
            yield [(alpha, beta) for alpha in (0.6, 0.7, 0.8, 0.9, 1.0)]

    def take(self, q: csr_array) -> None:
        codes = np.rint(q.data * (IMPACTS / float(q.data.max()))).astype(int).clip(1).tolist()
        terms, bounds = [str(term) for term in q.indices.tolist()], q.indptr.tolist()
        cuts = [slice(bounds[i], bounds[i + 1]) for i in range(q.shape[0])]
        self.rows = [dict(zip(terms[cut], codes[cut], strict=True)) for cut in cuts]

    def ask(self, i: int, setting: Setting) -> Any:
        return self.index.search(self.rows[i], k=K, alpha=setting[0], beta=setting[1])

    def ids(self, answers: Any) -> np.ndarray:
        return super().ids([[int(name) for name in names] for names, _ in answers])

    def words(self, setting: Setting) -> str:
        return f"alpha {setting[0]:g}, beta {setting[1]:g}"

    def serialized_bytes(self) -> int:
        return Path(self.path).stat().st_size


class Product(SparseEngine):
    """SciPy's product of sparse matrices, and the best of each row of it."""

    name = "SciPy product"
    module = "scipy"
    exact = ()

    def build(self, x: csr_array, threads: int) -> None:
        self.columns = x.T.tocsr()

    def search(self, setting: Setting) -> Any:
        return [ids for ids, _ in best_products(self.all, self.columns, K)]

    def ask(self, i: int, setting: Setting) -> Any:
        return next(best_products(self.rows[i], self.columns, K))[0]

    def serialized_bytes(self) -> int:
        return sum(array.nbytes for array in (self.columns.data, self.columns.indices, self.columns.indptr))


class quiet:
    """Keeps what native code prints of its progress out of the output."""

    def __enter__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.before = os.dup(1), os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        for copy, number in zip(self.before, (1, 2), strict=True):
            os.dup2(copy, number)
            os.close(copy)


def write_rows(x: csr_array, path: str) -> None:
    """Write rows as the authors' code reads them: their number, then for each its length, terms and weights."""
    lengths = np.diff(x.indptr).astype(np.uint32)
    terms, weights = x.indices.astype(np.uint32), x.data.astype(np.float32).view(np.uint32)
    starts = x.indptr[:-1].astype(np.int64)
    out = np.empty(1 + len(lengths) + 2 * x.nnz, np.uint32)
    out[0] = len(lengths)
    heads = 1 + np.arange(len(lengths)) + 2 * starts
    out[heads] = lengths
    within = np.arange(x.nnz) - np.repeat(starts, lengths)
    first = np.repeat(heads + 1, lengths) + within
    out[first] = terms
    out[first + np.repeat(lengths.astype(np.int64), lengths)] = weights
    out.tofile(path)


def engines(builds: Iterable[Build], words: list[str] | None = None) -> tuple[list[SparseEngine], list[str]]:
    """Return the engines that are installed, and the names of those that are not."""
    builds = list(builds)
    every: list[SparseEngine] = [Inverted(), *map(Seismic, builds), *map(PySeismic, builds), BlockMax(), Product()]
    wanted = [each for each in every if words is None or any(word in each.name for word in words)]
    there = [each for each in wanted if find_spec(each.module) is not None]
    return there, sorted({each.name for each in wanted} - {each.name for each in there})
