"""Sparse search by posting lists that are added up, exact unless less is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.errors import TooLarge
from isometry.indexes.forward import Forward, Terms
from isometry.indexes.levels import frozen
from isometry.indexes.sparse import Asked, Built, Progress, SparseIndex, mask_of
from isometry.threads import Scratch

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from isometry.kernels.inverted import Postings, Sums
    from isometry.storage import Folder

__all__ = ["Inverted"]

_DENSE_SHARE = 1 / 12
_CANDIDATES = 50
_PER_HIT = 5


class Inverted(SparseIndex):
    r"""Index sparse vectors by posting lists of 8-bit codes that a query adds up, then score the best rows again.

    A weight of term t is kept twice: in its row, as `values` says, and in the list of t as a code c of 1 to 255, which
    stands for :math:`c\,\max_t / 255`. A query adds the codes of its terms up, in 16-bit numbers for 16,384 rows at a
    time, which stay in the first-level cache. Then the rows with the best sums are scored by the products of their own
    weights. As a sum is off by half a code for each term at most, the rows that can be among the best k are known: the
    answer is exact for the weights that are kept.

    A smaller `effort` adds up only the query's most useful terms, those with the largest
    :math:`q_t \max_t / \sqrt{df_t}`, until they make up `effort` percent of :math:`\sum_t q_t \max_t`, and scores the
    best 50 rows (5 k if that is more).

    Parameters
    ----------
    metric : {"dot"}
    values : {"float16", "uint8"}, default "float16"
        What the weights of rows are kept as: 11 significant bits, or 255 steps of the row's largest weight, which saves
        a quarter of a row's memory and moves scores by up to .2 % of that weight for each term.
    threads : int, optional
        To build with; by default all processors.

    Notes
    -----
    A query takes O(sum of the used lists' lengths) and O(n) comparisons of 32 rows at once; building takes O(nnz log).
    A weight takes 2 + 2 bytes (float16) or 2 + 1 (uint8) in its row, padded to 16 weights, and 3 in its list; where
    more than 1 of 12 rows have a term, a byte per row instead.

    Added rows are read from end to end until the next `build`.

    References
    ----------
    Adding up quantised impacts is the score-at-a-time evaluation of Anh, de Kretser, Moffat, SIGIR 2001; scoring the
    best of an approximate first step again, that of Lassance, Dejean, Clinchant, Tonellotto, Two-Step SPLADE,
    ECIR 2024, arXiv:2404.13357. Here the second step makes the first one exact.

    Examples
    --------
    >>> from scipy.sparse import random_array
    >>> x = random_array((1000, 5000), density=0.01, dtype=np.float32, random_state=0, format="csr")
    >>> ids, scores = Inverted().build(x).search(x[:3], k=2)
    >>> ids[:, 0].tolist()
    [0, 1, 2]
    """

    kind: ClassVar[str] = "Inverted"
    kind_version: ClassVar[int] = 1
    spec_name: ClassVar[str] = "Inverted"

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        effort: int | None = None,
        allowed: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `k` rows with the largest inner products, of those that share a term with the query.

        Parameters
        ----------
        q : (nq, vocabulary) SciPy sparse array
            Weights, none negative.
        k : int, default 10
        effort : int, optional
            From 1 on: how much of a query is added up, in percent. From 100 on, and by default, the answer is exact.
        allowed : (n_rows,) bool, optional
            Only rows marked True are candidates.
        threads : int, optional
            At most this many; by default all processors.

        Returns
        -------
        ids : (nq, k) int64
        scores : (nq, k) float32
            Best first, equal scores by smaller id; -1 and minus infinity where no more rows share a term.

        Raises
        ------
        DimensionMismatch, InvalidInput
            A query or an option that makes no sense.
        """
        return self._search(q, k, effort, allowed, threads, _How.of)[:2]

    def _make(self, rows: csr_array, terms: Terms, forward: Forward, progress: Progress | None) -> _Inverted:
        # Codes are made of the weights as they are kept, so that a sum's error is known.
        return _Inverted(terms, forward, *_postings(forward.decoded(), len(terms)))

    def _open(self, folder: Folder, terms: Terms, forward: Forward) -> _Inverted:
        return _Inverted(terms, forward, *_postings_from_folder(folder, len(forward), len(terms)))


class _How(NamedTuple):
    """How far a search goes."""

    part_used: float
    candidates: int

    @classmethod
    def of(cls, effort: int | None, k: int) -> _How:
        return cls(1.0 if effort is None else effort / 100, max(_CANDIDATES, _PER_HIT * k))


class _Inverted(Built):
    """Posting lists, with what a code stands for."""

    def __init__(
        self, terms: Terms, forward: Forward, postings: Postings, scales: NDArray[np.float32], counts: NDArray[np.int64]
    ) -> None:
        super().__init__(terms, forward)
        self.postings, self.scales, self.counts = postings, scales, counts
        self._rarities = frozen((1 / np.sqrt(np.maximum(counts, 1))).astype(np.float32))
        self._scratch = Scratch(self._new_scratch)

    @property
    def nbytes(self) -> int:
        return self.forward.nbytes + sum(array.nbytes for array in self.postings) + 2 * self.scales.nbytes

    def search(
        self,
        asked: Asked,
        how: _How,
        passing: NDArray[np.bool_] | None,
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
    ) -> int:
        from isometry.kernels import inverted as kernels

        scratch = self._scratch.take()
        scored = kernels.search(
            self.forward.rows, self.postings, mask_of(passing), *asked.apart(), self.scales, self._rarities, *how,
            scratch, ids, scores,
        )  # fmt: skip
        self._scratch.give(scratch)
        return int(scored)

    def _new_scratch(self) -> Sums:
        from isometry.kernels.inverted import PART, Sums

        return Sums(
            np.zeros(max(1, len(self.terms)), np.float32), np.zeros(PART, np.uint16), np.empty(512, np.uint16),
            np.empty(len(self), np.int32), np.empty(len(self), np.uint16),
        )  # fmt: skip

    def state(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {"scales": self.scales, "counts": self.counts}
        return arrays | {f"posting_{name}": array for name, array in self.postings._asdict().items()}


def _postings(x: csr_array, n_terms: int) -> tuple[Postings, NDArray[np.float32], NDArray[np.int64]]:
    """Return the lists of all terms, what a code of each stands for, and in how many rows it is."""
    from isometry.kernels.inverted import DENSE, PART, Postings

    n = x.shape[0]
    parts = -(-n // PART)
    columns: Any = x.tocsc()
    counts = np.diff(columns.indptr)[:n_terms].astype(np.int64)
    largest = np.zeros(n_terms, np.float32)
    if x.nnz:
        largest[counts > 0] = np.maximum.reduceat(columns.data, columns.indptr[:-1][:n_terms][counts > 0])
    # The step is not below the smallest normal number: its inverse must be finite.
    scales = np.maximum(largest / np.float32(255), np.finfo(np.float32).tiny)
    cells = np.repeat(np.arange(n_terms) * parts, counts) + columns.indices // PART
    local = (columns.indices % PART).astype(np.uint16)
    codes = np.rint(columns.data / np.repeat(scales, counts)).clip(1, 255).astype(np.uint8)
    sizes = np.bincount(cells, minlength=n_terms * parts)
    sizes[sizes > PART * _DENSE_SHARE] = DENSE
    dense, listed, starts = _places(sizes)
    if listed.sum() >= 2**32:
        raise TooLarge(f"{x.nnz} weights are more than one inverted index holds: use several")
    whole = np.zeros((int(dense.sum()), PART), np.uint8)
    of_dense = dense[cells]
    whole[starts[cells[of_dense]], local[of_dense]] = codes[of_dense]
    arrays = starts.astype(np.uint32), sizes.astype(np.uint16), local[~of_dense], codes[~of_dense], whole
    return Postings(*map(frozen, arrays)), frozen(scales), frozen(counts)


def _postings_from_folder(
    folder: Folder, n: int, n_terms: int
) -> tuple[Postings, NDArray[np.float32], NDArray[np.int64]]:
    """Return lists that were saved, checked: kernels trust what they are given."""
    from isometry.kernels.inverted import PART, Postings

    parts = -(-n // PART)
    scales = folder.array("scales", np.float32, (n_terms,))
    counts = folder.array("counts", np.int64, (n_terms,))
    starts = folder.array("posting_starts", np.uint32, (n_terms * parts,))
    sizes = folder.array("posting_sizes", np.uint16, (n_terms * parts,))
    rows = folder.array("posting_rows", np.uint16, (None,))
    codes = folder.array("posting_codes", np.uint8, (len(rows),))
    dense = folder.array("posting_dense", np.uint8, (None, PART))
    if not (np.isfinite(scales) & (scales > 0)).all() or not ((counts >= 0) & (counts <= n)).all():
        raise folder.damaged("arrays 'scales' and 'counts' hold what describes no term")
    whole, listed, expected = _places(sizes)
    if not (starts == expected).all() or listed.sum() != len(rows) or whole.sum() != len(dense):
        raise folder.damaged(f"array 'posting_starts' does not cut {len(rows)} postings into {len(starts)} lists")
    of_last = np.arange(len(sizes)) % max(parts, 1) == parts - 1
    room = n - PART * (parts - 1)
    if len(rows) and (rows.max() >= PART or rows[np.repeat(of_last, listed)].max(initial=0) >= room):
        raise folder.damaged(f"array 'posting_rows' leads beyond the last of {n} rows")
    if dense[of_last[whole], room:].any():
        raise folder.damaged(f"array 'posting_dense' leads beyond the last of {n} rows")
    return Postings(*map(frozen, (starts, sizes, rows, codes, dense))), frozen(scales), frozen(counts)


def _places(sizes: NDArray[np.integer]) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Return which cells are dense, how many postings the others have, and where each cell's begin."""
    from isometry.kernels.inverted import DENSE

    dense = sizes == DENSE
    listed = np.where(dense, 0, sizes).astype(np.int64)
    return dense, listed, np.where(dense, np.cumsum(dense) - 1, np.cumsum(listed) - listed)
