"""Filters of a wanted selectivity: what they say is what they pass."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import isometry as iso
from isometry.errors import InvalidInput, NotFound
from isometry.evaluation.fanns import KINDS, leaning, load_papers, one_region, paper_filters


@pytest.fixture(scope="module")
def papers():
    rng = np.random.default_rng(0)
    n = 2000
    return pa.table(
        {
            "id": [str(i) for i in range(n)],
            "year": pa.array([None if i % 50 == 0 else 1970 + int(50 * rng.beta(5, 2)) for i in range(n)], pa.int64()),
            "n_authors": pa.array(rng.integers(1, 12, n)),
            "venue": pa.array([None if i % 40 == 0 else f"o'{int(rng.geometric(0.2))}" for i in range(n)]),
        }
    )


@pytest.mark.parametrize("wanted", [0.01, 0.2, 0.5])
def test_the_text_of_a_filter_means_its_mask(papers, wanted, tmp_path):
    collection = iso.create(tmp_path / "papers.iso")
    collection.add(papers, vectors=np.random.default_rng(1).standard_normal((len(papers), 4)))
    found = list(paper_filters(papers, wanted))
    assert {"range", "combination"} <= {each.kind for each in found} <= set(KINDS)
    for each in found:
        assert wanted / 1.6 <= each.share <= wanted * 1.6
        hits = collection.search(np.ones(4), k=len(papers), where=each.where)
        assert sorted(map(int, hits.ids)) == np.flatnonzero(each.mask).tolist()


def test_a_selectivity_that_no_filter_has_is_left_out(papers):
    assert {each.kind for each in paper_filters(papers, 0.9)} == {"range", "set membership", "combination"}


def test_values_lean_as_they_say():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 16)).astype(np.float32)
    queries = one_region(rng.standard_normal((100, 16)).astype(np.float32))
    assert queries.shape == (20, 16)
    near = np.argsort(-(queries @ x.T), axis=1)[:, :100]
    shares = {}
    for kind in ("independent", "correlated", "anti-correlated"):
        values = leaning(x, queries, kind)
        assert np.allclose(np.sort(values), (np.arange(4000) + 0.5) / 4000)
        shares[kind] = (values < 0.2)[near].mean()
    assert shares["correlated"] > 0.3 > shares["independent"] > 0.1 > shares["anti-correlated"]
    with pytest.raises(InvalidInput, match="kind is 'against'"):
        leaning(x, queries, "against")


def test_papers_are_asked_for_by_name(tmp_path):
    with pytest.raises(NotFound, match=r"papers\.parquet"):
        load_papers(tmp_path, 10)
