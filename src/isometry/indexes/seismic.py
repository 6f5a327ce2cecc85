"""Sparse search by posting lists in blocks, most of which a query passes over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry import ranked
from isometry.errors import check_choice, check_range
from isometry.indexes.blocks import Cutting, cut_into_lists, lists_from_folder
from isometry.indexes.forward import Forward, Terms, Values
from isometry.indexes.levels import frozen
from isometry.indexes.sparse import Asked, Built, Progress, SparseIndex, check_number, mask_of
from isometry.threads import Scratch, run_parts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from isometry.kernels.seismic import Answering, Lists
    from isometry.storage import Folder

__all__ = ["Seismic"]

_BLOCKS = ("geometric", "fixed", "random")
_EFFORT = 10
_EVERYTHING = 1000
_FACTOR = 0.8
_FEW = 2048
_LINKED_CUT, _LINKED_FACTOR = 10, 0.7
_LINKED_ROWS = 256


class Seismic(SparseIndex):
    r"""Index sparse vectors by short posting lists, cut into blocks of like rows with a summary each.

    The list of a term keeps its heaviest weights. Rows are drawn from it as centroids, and every other row joins the
    centroid with the largest product; a block's summary holds the largest weight of each term over its rows, cut to the
    heaviest that make up `summary_energy` of their sum, in 8 bits. A query reads the lists of its heaviest terms,
    passes over blocks whose summary promises less than `heap_factor` times the score of the last hit, and scores the
    rows of the others by their products.

    Parameters
    ----------
    metric : {"dot"}
    n_postings : int, default 3500
        How many weights a list keeps, on average over the terms: the largest of all are kept, wherever they are. A list
        keeps at least a hundredth of that, so that what is found by a rare term stays in reach (not in the paper).
    centroid_fraction : float, default 0.1
        Centroids for each row of a list, 0 to 1.
    summary_energy : float, default 0.4
        Share of a summary's sum that it keeps, 0 to 1.
    max_fraction : float, default 1.5
        No list keeps more than this times `n_postings`.
    min_cluster_size : int, default 2
        Blocks of up to so many rows are dissolved: their rows join another centroid.
    doc_cut : int, default 15
        By how many of its heaviest terms a row is compared with centroids.
    neighbours : int, default 0
        Near rows that are kept for each row, found by the index itself; a search may score those of its hits.
    blocks : {"geometric", "fixed", "random"}, default "geometric"
        Blocks of like rows; or, to compare with, as many of consecutive or random ones.
    values : {"float16", "uint8"}, default "float16"
        What the weights of rows are kept as.
    seed : int, default 0
        Draws centroids.
    threads : int, optional
        To build with; by default all processors. The index is the same for any number.

    Notes
    -----
    Approximate, even with a `heap_factor` of 0 and all lists, as lists are cut; an `effort` of 1,000 reads all rows.
    Lists of up to 16 rows have no summaries, and are read whole. Added rows are read from end to end until the next
    `build`. Building takes O(kept weights times (centroid products + summaries)).

    References
    ----------
    Bruch, Nardini, Rulli, Venturini, Efficient Inverted Indexes for Approximate Retrieval over Learned Sparse
    Representations, SIGIR 2024, arXiv:2404.18812; neighbours: Pairing Clustered Inverted Indexes with kNN Graphs,
    CIKM 2024, arXiv:2408.04443. The direction of `heap_factor` is that of their code (larger skips more).

    Examples
    --------
    >>> from scipy.sparse import random_array
    >>> x = random_array((1000, 5000), density=0.01, dtype=np.float32, random_state=0, format="csr")
    >>> ids, scores = Seismic().build(x).search(x[:3], k=2)
    >>> ids[:, 0].tolist()
    [0, 1, 2]
    """

    kind: ClassVar[str] = "Seismic"
    kind_version: ClassVar[int] = 1
    spec_name: ClassVar[str] = "Seismic"
    spec_fields: ClassVar[tuple[str, ...]] = ("n_postings", "centroid_fraction", "summary_energy")
    parameters: ClassVar[tuple[str, ...]] = (
        "n_postings", "centroid_fraction", "summary_energy", "max_fraction", "min_cluster_size", "doc_cut",
        "neighbours", "blocks", "values", "seed",
    )  # fmt: skip

    def __init__(
        self,
        *,
        metric: str = "dot",
        n_postings: int = 3500,
        centroid_fraction: float = 0.1,
        summary_energy: float = 0.4,
        max_fraction: float = 1.5,
        min_cluster_size: int = 2,
        doc_cut: int = 15,
        neighbours: int = 0,
        blocks: Literal["geometric", "fixed", "random"] = "geometric",
        values: Values = "float16",
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        super().__init__(metric=metric, values=values, threads=threads)
        self.n_postings = check_range("n_postings", n_postings, 1, 999_999_999)
        self.centroid_fraction = check_number("centroid_fraction", centroid_fraction, 0, 1)
        self.summary_energy = check_number("summary_energy", summary_energy, 0, 1)
        self.max_fraction = check_number("max_fraction", max_fraction, 0, 1e9)
        self.min_cluster_size = check_range("min_cluster_size", min_cluster_size, 0)
        self.doc_cut = check_range("doc_cut", doc_cut, 1, 1024)
        self.neighbours = check_range("neighbours", neighbours, 0, 1024)
        self.blocks = check_choice("blocks", blocks, _BLOCKS)
        self.seed = check_range("seed", seed, 0, 2**63 - 1)

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        effort: int | None = None,
        allowed: NDArray[np.bool_] | None = None,
        threads: int | None = None,
        query_cut: int | None = None,
        heap_factor: float | None = None,
        neighbours: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `k` best rows that were seen.

        Parameters
        ----------
        q : (nq, vocabulary) SciPy sparse array
            Weights, none negative.
        k : int, default 10
        effort : int, optional
            The `query_cut`, 10 by default; from 1,000 on all rows are read, and the answer is exact.
        allowed : (n_rows,) bool, optional
            Only rows marked True are candidates. Up to 2,048 of them are all read.
        threads : int, optional
            At most this many; by default all processors.
        query_cut : int, optional
            How many lists are read, those of the heaviest terms of a query; further ones while there are less than k
            hits.
        heap_factor : float, optional
            Blocks are passed over whose summary scores less than this times the last hit; 0.8 by default, 0 for none.
        neighbours : int, optional
            How many neighbours of each hit are scored, at most as many as were built and by default all of these.

        Returns
        -------
        ids : (nq, k) int64
        scores : (nq, k) float32
            Best first, equal scores by smaller id; -1 and minus infinity where fewer rows were found.

        Raises
        ------
        DimensionMismatch, InvalidInput
            A query or an option that makes no sense.
        """
        how = self._how(query_cut, heap_factor, neighbours)
        return self._search(q, k, effort, allowed, threads, how)[:2]

    def scored(
        self,
        q: Any,
        k: int = 10,
        *,
        query_cut: int | None = None,
        heap_factor: float | None = None,
        neighbours: int | None = None,
    ) -> float:
        """Return how many rows a search with these options scores for a query, on average: what its work is."""
        found = self._search(q, k, None, None, 1, self._how(query_cut, heap_factor, neighbours))
        return found[2] / max(1, len(found[0]))

    def _how(self, query_cut: int | None, heap_factor: float | None, neighbours: int | None) -> Any:
        cut = None if query_cut is None else check_range("query_cut", query_cut, 1)
        factor = _FACTOR if heap_factor is None else check_number("heap_factor", heap_factor, 0, 1e6)
        linked = self.neighbours if neighbours is None else check_range("neighbours", neighbours, 0, self.neighbours)

        def how(effort: int | None, k: int) -> _How | None:
            if cut is None and heap_factor is None and effort is not None and effort >= _EVERYTHING:
                return None
            return _How(cut or effort or _EFFORT, np.float32(factor), linked)

        return how

    def _make(self, rows: csr_array, terms: Terms, forward: Forward, progress: Progress | None) -> _Seismic:
        cutting = Cutting(
            self.n_postings, self.max_fraction, self.centroid_fraction, self.min_cluster_size, self.doc_cut,
            self.summary_energy, _BLOCKS.index(self.blocks), self.seed, self.threads,
        )  # fmt: skip
        lists = cut_into_lists(rows, cutting, progress)
        built = _Seismic(terms, forward, lists, frozen(np.empty((len(forward), 0), np.int32)))
        return built.linked(rows, self.neighbours, self.threads, progress) if self.neighbours else built

    def _open(self, folder: Folder, terms: Terms, forward: Forward) -> _Seismic:
        n = len(forward)
        links = folder.array("links", np.int32, (n, self.neighbours))
        if links.size and not (links.min() >= -1 and links.max() < n):
            raise folder.damaged(f"array 'links' leads to {links.min()} and {links.max()}, beyond 0 to {n - 1}")
        return _Seismic(terms, forward, lists_from_folder(folder, n, len(terms)), frozen(links))


class _How(NamedTuple):
    """How far a search goes."""

    cut: int
    factor: np.float32
    neighbours: int


class _Seismic(Built):
    """Lists in blocks, and near rows."""

    def __init__(self, terms: Terms, forward: Forward, lists: Lists, links: NDArray[np.int32]) -> None:
        super().__init__(terms, forward)
        self.lists, self.links = lists, links
        starts = lists.starts.astype(np.int64)
        self._blocks = int(np.diff(lists.first_blocks).max(initial=0))
        self._rows = max(int(np.diff(starts[lists.first_blocks]).max(initial=0)), links.shape[1])
        self._scratch = Scratch(self._new_scratch)

    @property
    def nbytes(self) -> int:
        return self.forward.nbytes + sum(array.nbytes for array in self.lists) + self.links.nbytes

    def search(
        self,
        asked: Asked,
        how: _How,
        passing: NDArray[np.bool_] | None,
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
    ) -> int:
        from isometry.kernels import seismic as kernels

        if passing is not None and np.count_nonzero(passing) <= _FEW:
            return self.scan(asked, passing, 0, ids, scores)
        scratch = self._scratch.take()
        own = asked.heaviest_first().frozen()
        scored = int(
            kernels.search(
                self.forward.rows, self.lists, self.links, mask_of(passing), *own, *how, scratch, ids, scores
            )
        )
        self._scratch.give(scratch)
        for i in () if passing is None else np.flatnonzero(ids[:, -1] < 0).tolist():
            # Rows that pass may all lie in what lists do not keep.
            ids[i], scores[i] = ranked.MISSING_ID, ranked.MISSING_SCORE
            scored += self.scan(asked.part(i, i + 1), passing, 0, ids[i : i + 1], scores[i : i + 1])
        return scored

    def _new_scratch(self) -> Answering:
        from isometry.kernels.seismic import Answering

        return Answering(
            np.zeros(max(1, len(self.terms)), np.float32), np.zeros(len(self) + 1, np.uint8),
            np.empty(self._blocks, np.float32), np.empty(self._blocks, np.int32), np.empty(self._rows, np.int32),
        )  # fmt: skip

    def linked(self, x: csr_array, count: int, threads: int | None, progress: Progress | None) -> _Seismic:
        """Return the same with each row's neighbours, found by searches for the rows `x` themselves."""
        n = len(self)
        links = np.full((n, count), -1, np.int32)
        asked = Asked(x.indptr.astype(np.int64), x.indices.astype(np.int32), x.data)
        how = _How(_LINKED_CUT, np.float32(_LINKED_FACTOR), 0)

        def find(first: int, last: int) -> None:
            ids, scores = ranked.empty(last - first, count + 1)
            self.search(asked.part(first, last), how, None, ids, scores)
            others = (ids != np.arange(first, last)[:, None]) & (ids >= 0)
            order = np.argsort(~others, axis=1, kind="stable")[:, :count]
            found = np.where(np.take_along_axis(others, order, 1), np.take_along_axis(ids, order, 1), -1)
            links[first:last] = found

        run_parts(find, n, _LINKED_ROWS, threads)
        return _Seismic(self.terms, self.forward, self.lists, frozen(links))

    def state(self) -> dict[str, NDArray[Any]]:
        return {"links": self.links} | {f"list_{name}": array for name, array in self.lists._asdict().items()}
