"""Every index, against every promise: a new index is one more row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from isometry.codecs import LVQ
from isometry.indexes import BM25, IVF, Flat, Inverted, Seismic, Vamana, index_from_spec
from isometry.testing import IndexCase, check_index, index_checks
from isometry.vectors import MultiVectors

WORDS = [f"{first}{second}{third}" for first in "bdfgk" for second in "aeiou" for third in "lmnrt"]


def texts(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    usual = 1 / np.arange(1, len(WORDS) + 1)
    return [" ".join(rng.choice(WORDS, 12, p=usual / usual.sum())) for _ in range(n)]


def weights(n: int, seed: int) -> csr_array:
    """Return sparse rows of length 1 on eight topics, a few of them equal."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(0).random((8, 400)) ** 8
    dense = topics[rng.integers(8, size=n)] * rng.random((n, 400)) * (rng.random((n, 400)) < 0.3)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    dense[n // 2 : n // 2 + 3] = dense[:1]
    return csr_array(dense.astype(np.float32))


BAD_WEIGHTS = (
    np.zeros((3, 400), np.float32),
    csr_array(np.full((1, 400), np.nan, np.float32)),
    csr_array(np.full((1, 400), -0.5, np.float32)),
    csr_array(np.full((1, 400), 1e30, np.float32)),
    None,
    "words",
)


def token_sets(n: int, seed: int) -> MultiVectors:
    """Return sets of 1 to 9 tokens of one of eight topics, a few of them equal."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(0).standard_normal((8, 6, 16))
    sets = [topics[rng.integers(8), rng.integers(6, size=m)] for m in rng.integers(1, 10, size=n)]
    sets = [tokens + 0.5 * rng.standard_normal(tokens.shape) for tokens in sets]
    if n > 4:
        sets[n // 2 : n // 2 + 2] = [sets[0]] * 2
    return MultiVectors.from_list(sets, dim=16)


BAD_SETS = (
    [np.full((2, 16), np.nan)],
    [np.full((2, 16), 1e20)],
    np.zeros((3, 16)),
    [np.zeros((2, 0))],
    ["text"],
    None,
    7,
)
BAD_TEXTS = ("one string", [1, 2], [b"bytes"], [None], None, 7)
CASES = [
    IndexCase("Flat", lambda metric: Flat(metric=metric)),
    IndexCase("LVQ8,Flat", lambda metric: index_from_spec("LVQ8,Flat", metric=metric), recall=0.95),
    IndexCase(
        "LVQ4,Flat -> Float16", lambda metric: index_from_spec("LVQ4,Flat -> Float16", metric=metric), recall=0.99
    ),
    IndexCase("Vamana", lambda metric: Vamana(metric=metric, degree=16), recall=0.95),
    IndexCase("Vamana-LVQ8", lambda metric: index_from_spec("LVQ8,Vamana16", metric=metric), recall=0.9),
    IndexCase("Vamana-coded", lambda metric: index_from_spec("LVQ8,Vamana(16,128,16)", metric=metric), recall=0.9),
    IndexCase("Vamana-LVQ4x8", lambda metric: index_from_spec("LVQ4x8,Vamana16", metric=metric), recall=0.95),
    IndexCase(
        "Vamana-LeanVec",
        lambda metric: index_from_spec("LeanVec12,LVQ8,Vamana16 -> Float16", metric=metric),
        recall=0.8,
    ),
    IndexCase("PQ12x4,Flat", lambda metric: index_from_spec("PQ12x4,Flat", metric=metric), recall=0.4),
    IndexCase("chain,Flat", lambda metric: index_from_spec("PCA20,Hadamard,Int8,Flat", metric=metric), recall=0.65),
    IndexCase("Vamana-RaBitQ", lambda metric: index_from_spec("RaBitQ2,Vamana16 -> LVQ8", metric=metric), recall=0.9),
    IndexCase("Vamana-PQ", lambda metric: index_from_spec("OPQ12,PQ12,Vamana16", metric=metric), recall=0.7),
    IndexCase("IVF", lambda metric: index_from_spec("IVF", metric=metric), recall=0.95),
    IndexCase("IVF-LVQ8", lambda metric: index_from_spec("LVQ8,IVF8", metric=metric), recall=0.95),
    IndexCase("IVF-PQ", lambda metric: index_from_spec("OPQ12,PQ12,IVF10", metric=metric), recall=0.7),
    IndexCase("IVF-PQ-refine", lambda metric: index_from_spec("PQ12x4,IVF10 -> LVQ8", metric=metric), recall=0.9),
    IndexCase("IVF-residual", lambda metric: IVF(metric=metric, residual=True, codec=LVQ(4, 8)), recall=0.95),
    IndexCase("Inverted", lambda _: Inverted(), metrics=["dot"], data=weights, bad=BAD_WEIGHTS, recall=0.99),
    IndexCase(
        "Inverted-uint8",
        lambda _: Inverted(values="uint8"),
        metrics=["dot"],
        data=weights,
        bad=BAD_WEIGHTS,
        recall=0.95,
    ),
    IndexCase("Seismic", lambda _: Seismic(), metrics=["dot"], data=weights, bad=BAD_WEIGHTS, recall=0.95),
    IndexCase(
        "Seismic-short",
        lambda _: Seismic(n_postings=40, centroid_fraction=0.2, neighbours=4, values="uint8"),
        metrics=["dot"],
        data=weights,
        bad=BAD_WEIGHTS,
        recall=0.9,
    ),
    IndexCase("BM25", lambda _: BM25(), metrics=["bm25"], data=texts, bad=BAD_TEXTS, recall=None),
    IndexCase(
        "BM25-plus",
        lambda _: BM25(method="bm25+", language=None),
        metrics=["bm25"],
        data=texts,
        bad=BAD_TEXTS,
        recall=None,
    ),
]
CASES += [
    IndexCase(
        spec,
        lambda metric, spec=spec: index_from_spec(spec, metric=metric),
        metrics=["cosine", "dot"],
        data=token_sets,
        bad=BAD_SETS,
        recall=recall,
    )
    for spec, recall in {
        "MaxSim": 1.0,
        "PQ8,MaxSim": 0.8,
        "FDE(10,3,8),LVQ8,Flat -> Float32": 0.95,
        "FDE(10,3,8),PQ32,Vamana16 -> LVQ8": 0.9,
        "Float16,PLAID32": 0.95,
    }.items()
]


@pytest.mark.parametrize("check", index_checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_conformance(case, check, tmp_path):
    check(case, tmp_path)


def test_a_bad_index_is_found_out(tmp_path):
    class Sloppy(Flat):
        def search(self, q, k=10, **options):
            options.pop("allowed", None)
            return super().search(q, k, **options)

    with pytest.raises(AssertionError, match="masked row"):
        check_index(IndexCase("Sloppy", lambda metric: Sloppy(metric=metric)), tmp_path)
