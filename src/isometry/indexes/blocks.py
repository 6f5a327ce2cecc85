"""Cutting posting lists for `Seismic`: the heaviest entries, blocks of near rows, summaries of the blocks."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isometry.errors import TooLarge
from isometry.indexes.levels import frozen
from isometry.threads import run_parts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from isometry.indexes.sparse import Progress
    from isometry.kernels.seismic import Lists
    from isometry.storage import Folder

__all__ = ["Cutting", "cut_into_lists", "lists_from_folder"]

_LISTS = 16
_ROWS = 4096
_FLOOR = 0.01
_SHORTEST = 16


class Cutting(NamedTuple):
    """How lists are cut, see `isometry.indexes.seismic.Seismic`."""

    n_postings: int
    max_fraction: float
    centroid_fraction: float
    min_cluster_size: int
    doc_cut: int
    summary_energy: float
    way: int
    seed: int
    threads: int | None


def cut_into_lists(x: csr_array, how: Cutting, progress: Progress | None = None) -> Lists:
    """Return the lists of the terms of `x` (n, t): the same ones for any number of threads.

    `progress` is called with the number of lists whose blocks have summaries.
    """
    from isometry.kernels import seismic as kernels

    n, n_terms = x.shape
    list_starts, rows = _heaviest_entries(x, how)
    csr = frozen(x.indptr.astype(np.int64)), frozen(x.indices.astype(np.int32)), frozen(x.data)
    heavy_terms, heavy_weights = np.zeros((n, how.doc_cut), np.int32), np.zeros((n, how.doc_cut), np.float32)
    run_parts(
        lambda first, last: kernels.heaviest(*csr, first, last, heavy_terms, heavy_weights), n, _ROWS, how.threads
    )
    sizes, counts = np.zeros(len(rows), np.int32), np.zeros(n_terms, np.int32)
    run_parts(
        lambda first, last: kernels.group(
            *csr, heavy_terms, heavy_weights, list_starts, first, last, how.centroid_fraction, how.min_cluster_size,
            how.seed, how.way, n_terms, rows, sizes, counts,
        ),
        n_terms, _LISTS, how.threads,
    )  # fmt: skip
    first_blocks = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[sizes > 0], dtype=np.int64)]).astype(np.uint32)
    key = np.empty(0, np.uint16 if n_terms <= 2**16 else np.uint32)
    lists = frozen(first_blocks), frozen(starts), frozen(rows)
    done = count()

    def summarise(first: int, last: int) -> Any:
        found = kernels.summarise(*csr, *lists, first, last, how.summary_energy, _SHORTEST, n_terms, key)
        if progress is not None:
            progress(min(n_terms, (next(done) + 1) * _LISTS), n_terms, "lists")
        return found

    parts = run_parts(summarise, n_terms, _LISTS, how.threads)
    scales, table_sizes, keys, place_counts, blocks, codes = (
        np.concatenate(arrays) for arrays in zip(*parts, strict=True)
    )
    if len(blocks) >= 2**32:
        raise TooLarge(
            f"the summaries have {len(blocks)} entries; one index holds fewer than 2^32: lower summary_energy or "
            "n_postings, or use several indexes"
        )
    tables = np.concatenate([np.zeros(1, np.int64), np.cumsum(table_sizes)])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(place_counts, dtype=np.int64)]).astype(np.uint32)
    return kernels.Lists(*lists, *map(frozen, (scales, tables, keys, offsets, blocks, codes)))


def _heaviest_entries(x: csr_array, how: Cutting) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return where each term's list begins, and the rows of all lists, ascending within a list."""
    columns: Any = x.tocsc()
    n_terms = x.shape[1]
    most = max(1, int(how.n_postings * how.max_fraction))
    floor = max(1, int(how.n_postings * _FLOOR))
    budget = n_terms * how.n_postings
    least = np.partition(x.data, x.nnz - budget)[x.nnz - budget] if budget < x.nnz else np.float32(0)
    lengths = np.diff(columns.indptr)
    kept: list[NDArray[np.int32]] = []
    for term in range(n_terms):
        part = slice(columns.indptr[term], columns.indptr[term + 1])
        rows, weights = columns.indices[part], columns.data[part]
        if len(rows) > floor and (len(rows) > most or least > 0):
            wanted = min(max(int(np.count_nonzero(weights >= least)), floor), most, len(rows))
            if wanted < len(rows):
                rows = rows[_largest(weights, wanted)]
        lengths[term] = len(rows)
        kept.append(rows.astype(np.int32))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    return frozen(starts), np.concatenate([np.empty(0, np.int32), *kept])


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the places of the largest values, ascending; of equal ones the first."""
    last = np.partition(values, len(values) - count)[len(values) - count]
    over = values > last
    over[np.flatnonzero(values == last)[: count - np.count_nonzero(over)]] = True
    return np.flatnonzero(over)


def lists_from_folder(folder: Folder, n: int, n_terms: int) -> Lists:
    """Return lists that were saved as the arrays ``list_...``, checked: kernels trust what they are given."""
    from isometry.kernels.seismic import LARGEST_BLOCKS, Lists

    rows = folder.array("list_rows", np.int32, (None,))
    scales = folder.array("list_scales", np.float32, (None,))
    keys = folder.array("list_keys", np.uint16 if n_terms <= 2**16 else np.uint32, (None,))
    blocks = folder.array("list_blocks", np.uint16, (None,))
    codes = folder.array("list_codes", np.uint8, (len(blocks),))
    first_blocks = _bounds(folder, "list_first_blocks", np.int64, max(1, n_terms), len(scales))
    starts = _bounds(folder, "list_starts", np.uint32, len(scales), len(rows))
    tables = _bounds(folder, "list_tables", np.int64, max(1, n_terms), len(keys))
    offsets = _bounds(folder, "list_offsets", np.uint32, len(keys), len(blocks))
    counts = np.diff(first_blocks)
    if counts.max(initial=0) > LARGEST_BLOCKS:
        raise folder.damaged(f"a list has {counts.max()} blocks; at most {LARGEST_BLOCKS} are possible")
    if len(rows) and not (rows.min() >= 0 and rows.max() < n):
        raise folder.damaged(f"array 'list_rows' leads to {rows.min()} and {rows.max()}, beyond 0 to {n - 1}")
    ends = offsets[tables].astype(np.int64)
    filled = np.flatnonzero(ends[1:] > ends[:-1])
    if len(filled) and (np.maximum.reduceat(blocks, ends[filled]) >= counts[filled]).any():
        raise folder.damaged("array 'list_blocks' leads beyond the blocks of a list")
    return Lists(*map(frozen, (first_blocks, starts, rows, scales, tables, keys, offsets, blocks, codes)))


def _bounds(folder: Folder, name: str, dtype: Any, count: int, end: int) -> NDArray[Any]:
    """Return an array that cuts `end` things into `count` parts."""
    array = folder.array(name, dtype, (count + 1,))
    if array[0] != 0 or array[-1] != end or (array[1:] < array[:-1]).any():
        raise folder.damaged(f"array {name!r} does not cut {end} entries into {count} parts")
    return array
