"""Which documents answer which query: the shapes of relevance that LIMIT compares."""

from __future__ import annotations

import math
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput, check_choice, check_range

PATTERNS = ("dense", "random", "cycle", "disjoint")


def relevance_pattern(pattern: str, queries: int, documents: int | None = None, k: int = 2, seed: int = 0) -> Relevant:
    """Draw the k relevant documents of every query.

    Parameters
    ----------
    pattern : {"dense", "random", "cycle", "disjoint"}
        dense: the first `queries` sets of k documents in lexicographic order. random: k documents drawn for every
        query. cycle: documents i to i + k - 1, around the end. disjoint: no document answers two queries.
    queries : int
        At least 1.
    documents : int, optional
        Default: for dense the fewest that have as many sets of k, for disjoint k per query, else one per query.
    k : int
        At least 1.
    seed : int
        Of the random pattern.

    Returns
    -------
    (queries, k) int64
        Document numbers, each row ascending.

    Raises
    ------
    InvalidInput
        k exceeds the documents, or there are too few of them for the pattern.
    """
    check_choice("pattern", pattern, PATTERNS)
    check_range("queries", queries, 1)
    check_range("k", k, 1)
    check_range("seed", seed, 0)
    if documents is None:
        documents = {"dense": fewest_documents(queries, k), "disjoint": k * queries}.get(pattern, max(queries, k))
    check_k(k, check_range("documents", documents, 1))
    room = {"dense": math.comb(documents, k), "disjoint": documents // k}.get(pattern, queries)
    if room < queries:
        raise InvalidInput(
            f"{documents:,} documents have {room:,} sets of {k} in the {pattern} pattern; expected as many as there "
            f"are queries ({queries:,}): pass more documents or fewer queries"
        )
    if pattern == "dense":
        return np.array(list(islice(combinations(range(documents), k), queries)), np.int64)
    if pattern == "random":
        random = np.random.default_rng(seed)
        return np.sort([random.choice(documents, k, replace=False) for _ in range(queries)], axis=1).astype(np.int64)
    step = k if pattern == "disjoint" else 1
    return np.sort((step * np.arange(queries)[:, None] + np.arange(k)) % documents, axis=1).astype(np.int64)


def all_subsets(n: int, k: int) -> Relevant:
    """Return every set of k out of n documents: (C(n, k), k) int64, in lexicographic order."""
    check_k(k, check_range("n", n, 1))
    return relevance_pattern("dense", math.comb(n, k), n, k)


def fewest_documents(queries: int, k: int) -> int:
    """Return the smallest n with at least `queries` sets of k documents: 46 for 1,000 pairs."""
    n = k
    while math.comb(n, k) < queries:
        n += 1
    return n


def check_k(k: int, n: int) -> None:
    """Refuse sets that are larger than what they are drawn from."""
    if not 1 <= k <= n:
        raise InvalidInput(f"k is {k} but there are {n} documents; expected k from 1 to {n}")


Relevant = NDArray[np.int64]
