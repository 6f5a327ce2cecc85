"""One ranked list out of several: by ranks, or by scores brought to one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isometry import ranked
from isometry.errors import InvalidInput, check_choice, check_range

__all__ = ["NORMALIZATIONS", "reciprocal_rank_fusion", "score_fusion"]

NORMALIZATIONS = ("min-max", "z-score", "relative")

RankedList: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float32]]
_Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


def reciprocal_rank_fusion(
    lists: Sequence[RankedList],
    *,
    k: int | None = None,
    constant: float = 60.0,
    weights: Sequence[float] | None = None,
) -> RankedList:
    r"""Fuse ranked lists by rank alone: :math:`score(d) = \sum_i w_i / (c + rank_i(d))`, ranks from 1.

    Robust, as it needs nothing of the scores: the right choice when nothing is known about how they compare.

    Parameters
    ----------
    lists : sequence of (ids, scores)
        As any index returns them: shapes (nq, k_i), best first, missing = -1. Ids mean the same in all lists.
    k : int, optional
        How many to return; by default all.
    constant : float, default 60
        c > 0; a larger one makes the first ranks matter less.
    weights : sequence of float, optional
        One per list, >= 0; by default 1.

    Returns
    -------
    ids : (nq, k) int64
    scores : (nq, k) float32
        Best first; equal scores by smaller id; missing = -1 and -inf.

    Raises
    ------
    InvalidInput
        No lists, unlike numbers of queries, an id twice in a list, a weight that is not a number >= 0.

    Notes
    -----
    O(h log h) for h hits in all lists.

    References
    ----------
    Cormack, Clarke and Büttcher, SIGIR 2009.

    Examples
    --------
    >>> words = np.array([[7, 3]]), np.array([[9.1, 4.0]], np.float32)
    >>> meaning = np.array([[3, 5]]), np.array([[0.8, 0.7]], np.float32)
    >>> reciprocal_rank_fusion([words, meaning])[0]
    array([[3, 7, 5]])
    """
    checked = _check_lists(lists)
    if not isinstance(constant, int | float) or not 0 < constant < math.inf:
        raise InvalidInput(f"constant is {constant!r}; expected a number > 0")
    by_rank = [np.broadcast_to(1.0 / (constant + np.arange(1, ids.shape[1] + 1)), ids.shape) for ids, _ in checked]
    return _fuse([ids for ids, _ in checked], by_rank, k, weights)


def score_fusion(
    lists: Sequence[RankedList],
    *,
    k: int | None = None,
    normalization: str = "min-max",
    weights: Sequence[float] | None = None,
) -> RankedList:
    r"""Fuse ranked lists by their scores, brought to one scale per query and list and added up.

    Keeps what ranks forget, by how much one hit is better than the next. A list gives 0 to what it does not hold.

    Parameters
    ----------
    lists : sequence of (ids, scores)
        As any index returns them: shapes (nq, k_i), best first, missing = -1. Ids mean the same in all lists.
    k : int, optional
        How many to return; by default all.
    normalization : {"min-max", "z-score", "relative"}, default "min-max"
        With the scores s of one list for one query:

        * min-max: :math:`(s - \min s) / (\max s - \min s)`;
        * z-score: :math:`(s - \min s) / \sigma(s)`, the z-score up to a constant that makes the last hit 0;
        * relative: :math:`\max(s, 0) / \max s`, for scores whose zero means "no match" (BM25, sparse, cosine).

        Where that divides by 0 because all hits are equal, each gets 1 (relative: 0 when no score is positive).
    weights : sequence of float, optional
        One per list, >= 0; by default 1.

    Returns
    -------
    ids : (nq, k) int64
    scores : (nq, k) float32
        Best first; equal scores by smaller id; missing = -1 and -inf.

    Raises
    ------
    InvalidInput
        As `reciprocal_rank_fusion`; also an unknown normalization, and a hit whose score is NaN or infinite.

    Notes
    -----
    O(h log h) for h hits in all lists.

    References
    ----------
    Bruch, Gai and Ingber, An analysis of fusion functions for hybrid retrieval, TOIS 2023, arXiv:2210.11934.
    """
    checked = _check_lists(lists)
    check_choice("normalization", normalization, NORMALIZATIONS)
    scaled = []
    for i, (ids, scores) in enumerate(checked):
        if not np.isfinite(scores[ids >= 0]).all():
            raise InvalidInput(f"lists[{i}] has a hit whose score is NaN or infinite; expected finite scores")
        scaled.append(_scale(scores.astype(np.float64), ids >= 0, normalization))
    return _fuse([ids for ids, _ in checked], scaled, k, weights)


def _scale(scores: NDArray[np.float64], hit: NDArray[np.bool_], normalization: str) -> NDArray[np.float64]:
    best = np.max(scores, axis=1, initial=-np.inf, where=hit, keepdims=True)
    if normalization == "relative":
        return np.divide(np.maximum(scores, 0), best, out=np.zeros_like(scores), where=hit & (best > 0))
    lowest = np.min(scores, axis=1, initial=np.inf, where=hit, keepdims=True)
    above = np.subtract(scores, lowest, out=np.zeros_like(scores), where=hit)
    if normalization == "min-max":
        spread = np.max(above, axis=1, initial=0.0, keepdims=True)
    else:
        count = np.maximum(hit.sum(axis=1, keepdims=True), 1)
        mean = above.sum(axis=1, keepdims=True) / count
        spread = np.sqrt(
            np.square(above - mean, where=hit, out=np.zeros_like(above)).sum(axis=1, keepdims=True) / count
        )
    return np.divide(above, spread, out=np.ones_like(above), where=spread > 0)


def _fuse(
    ids: list[NDArray[np.int64]],
    values: list[NDArray[np.float64]],
    k: int | None,
    weights: Sequence[float] | None,
) -> RankedList:
    """Add up what each list gives to each id, and rank the sums."""
    weight = _check_weights(weights, len(ids))
    nq = len(ids[0])
    all_ids = np.concatenate(ids, axis=1)
    all_values = np.concatenate([w * value for w, value in zip(weight, values, strict=True)], axis=1)
    source = np.repeat(np.arange(len(ids)), [block.shape[1] for block in ids])
    queries, places = np.nonzero(all_ids >= 0)
    hit_ids, hit_values, hit_source = all_ids[queries, places], all_values[queries, places], source[places]
    order = np.lexsort((hit_source, hit_ids, queries))
    queries, hit_ids, hit_values, hit_source = queries[order], hit_ids[order], hit_values[order], hit_source[order]
    same = (queries[1:] == queries[:-1]) & (hit_ids[1:] == hit_ids[:-1])
    twice = np.flatnonzero(same & (hit_source[1:] == hit_source[:-1]))
    if len(twice):
        at = twice[0]
        raise InvalidInput(
            f"lists[{hit_source[at]}] holds id {hit_ids[at]} twice for query {queries[at]}; expected once"
        )
    first = np.flatnonzero(np.concatenate([[True], ~same])) if len(order) else order
    totals = np.add.reduceat(hit_values, first) if len(first) else hit_values
    queries, hit_ids = queries[first], hit_ids[first]
    width = int(np.bincount(queries, minlength=1).max()) if k is None else check_range("k", k, 1)
    return ranked.rank(queries, hit_ids, totals, nq, width)


def _check_lists(lists: Any) -> list[RankedList]:
    checked: list[RankedList] = []
    for i, pair in enumerate(lists):
        try:
            ids, scores = map(np.asarray, pair)
        except (TypeError, ValueError):
            raise InvalidInput(f"lists[{i}] is {type(pair).__name__}; expected a pair (ids, scores)") from None
        if ids.ndim != 2 or ids.shape != scores.shape or ids.dtype.kind not in "iu" or scores.dtype.kind not in "iuf":
            raise InvalidInput(
                f"lists[{i}] has ids {ids.dtype} {ids.shape} and scores {scores.dtype} {scores.shape}; expected "
                "integers and floats of one shape (nq, k)"
            )
        if checked and len(ids) != len(checked[0][0]):
            raise InvalidInput(
                f"lists[{i}] has {len(ids)} queries, lists[0] has {len(checked[0][0])}; expected the same"
            )
        checked.append((ids, scores))
    if not checked:
        raise InvalidInput("there are no lists to fuse; pass at least one pair (ids, scores)")
    return checked


def _check_weights(weights: Sequence[float] | None, count: int) -> NDArray[np.float64]:
    if weights is None:
        return np.ones(count)
    try:
        array = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (count,) or not np.isfinite(array).all() or (array < 0).any():
        raise InvalidInput(f"weights are {weights!r}; expected {count} numbers >= 0, one per list")
    return array
