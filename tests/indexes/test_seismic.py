"""Posting lists in blocks: what cutting keeps, and that skipping nothing is exact."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array, hstack

from isometry.errors import InvalidInput
from isometry.evaluation.sparse_vectors import synthetic_sparse
from isometry.indexes import Seismic

WHOLE = {"n_postings": 10**6, "max_fraction": 1e6}
UNSKIPPED = {"query_cut": 10**6, "heap_factor": 0.0}


@pytest.fixture(scope="module")
def data():
    return synthetic_sparse(4000, vocabulary=3000, nnz=60, query_nnz=20, queries=60)


def accuracy(index, data, **options):
    found = index.search(data.queries, 10, **options)[0]
    return np.mean([np.isin(a, b[b >= 0]).mean() for a, b in zip(found, data.exact(10), strict=True)])


def test_whole_lists_without_skipping_are_exact(data):
    index = Seismic(**WHOLE).build(data.x)
    ids, scores = index.search(data.queries, 10, **UNSKIPPED)
    assert np.allclose(scores, data.exact_scores(10), rtol=1e-3)
    for a, b in zip(index.search(data.queries, 10, effort=1000), (ids, scores), strict=True):
        assert np.array_equal(a, b)


def test_lists_are_cut_to_their_heaviest_and_blocks_hold_each_row_once(data):
    index = Seismic(n_postings=20, max_fraction=3).build(data.x)
    base = index._base
    lists, x = base.lists, base.terms.renumbered(data.x)
    columns = x.tocsc()
    starts = lists.starts.astype(np.int64)[lists.first_blocks]
    assert np.diff(starts).max() <= 60
    for term in range(0, x.shape[1], 37):
        rows = lists.rows[starts[term] : starts[term + 1]]
        part = slice(columns.indptr[term], columns.indptr[term + 1])
        weights = dict(zip(columns.indices[part].tolist(), columns.data[part].tolist(), strict=True))
        assert len(set(rows.tolist())) == len(rows) > 0
        least = min(weights[row] for row in rows.tolist())
        assert all(weight <= least for row, weight in weights.items() if row not in set(rows.tolist()))


def test_summaries_bound_the_heavy_part_of_their_blocks(data):
    index = Seismic(n_postings=200, summary_energy=1.0).build(data.x)
    base = index._base
    lists, x = base.lists, base.terms.renumbered(data.x)
    term = int(np.argmax(np.diff(lists.first_blocks)))
    first, last = lists.first_blocks[term], lists.first_blocks[term + 1]
    summaries = np.zeros((last - first, x.shape[1]), np.float32)
    for place in range(lists.tables[term], lists.tables[term + 1]):
        part = slice(lists.offsets[place], lists.offsets[place + 1])
        summaries[lists.blocks[part], lists.keys[place]] = lists.codes[part] * lists.scales[first + lists.blocks[part]]
    for block in range(first, last):
        most = x[lists.rows[lists.starts[block] : lists.starts[block + 1]]].max(axis=0).toarray()
        step = lists.scales[block]
        assert np.abs(summaries[block - first] - most).max() <= 1.001 * step
        assert ((summaries[block - first] > 0) == (most > 0)).all()


def test_summaries_of_less_energy_are_smaller_and_lose_little(data):
    whole, cut = (Seismic(summary_energy=energy).build(data.x) for energy in (1.0, 0.4))
    assert cut.nbytes < whole.nbytes
    assert accuracy(cut, data) > accuracy(whole, data) - 0.05


def test_blocks_of_like_rows_need_fewer_products():
    """With whole summaries and lists, nothing that is passed over could be a hit: answers are equal, work is not."""
    rng = np.random.default_rng(0)
    topics = rng.permutation(3000).reshape(60, 50)
    x = np.zeros((3000, 3100), np.float32)
    for row, topic in enumerate(rng.integers(60, size=3000)):
        x[row, rng.choice(topics[topic], 25)] = rng.gamma(2, size=25)
        x[row, 3000 + rng.choice(100, 15)] = rng.gamma(1, size=15)
    rows = csr_array(x)
    found, work = {}, {}
    for blocks in ("geometric", "fixed", "random"):
        index = Seismic(blocks=blocks, summary_energy=1.0, **WHOLE).build(rows)
        found[blocks] = index.search(rows[:40], heap_factor=0.95, query_cut=100)[0]
        work[blocks] = index.scored(rows[:40], heap_factor=0.95, query_cut=100)
    assert np.array_equal(found["geometric"], found["random"])
    assert np.array_equal(found["geometric"], found["fixed"])
    assert work["geometric"] < min(work["fixed"], work["random"])


def test_a_rare_term_is_found_by(data):
    """The largest weights of all are elsewhere, but every list keeps a few."""
    column = np.zeros((4000, 1), np.float32)
    column[17] = 1e-3
    index = Seismic(n_postings=10).build(hstack([data.x, csr_array(column)]).tocsr())
    q = csr_array(np.eye(1, 3001, 3000, dtype=np.float32))
    assert index.search(q, 1)[0].tolist() == [[17]]


def test_neighbours_of_hits_are_looked_at(data):
    index = Seismic(n_postings=100, neighbours=6).build(data.x)
    assert index._base.links.shape == (4000, 6)
    assert not (index._base.links == np.arange(4000)[:, None]).any()
    little = {"query_cut": 2, "heap_factor": 1.0}
    assert accuracy(index, data, **little) > accuracy(index, data, neighbours=0, **little)
    assert index.scored(data.queries, **little) > index.scored(data.queries, neighbours=0, **little)


def test_more_lists_and_less_skipping_find_more(data):
    index = Seismic(n_postings=200).build(data.x)
    assert (
        accuracy(index, data, effort=1) < accuracy(index, data, effort=8) <= accuracy(index, data, effort=1000) + 1e-9
    )
    assert accuracy(index, data, heap_factor=2.0) < accuracy(index, data, heap_factor=0.5)


def test_masked_searches_find_k_though_lists_are_cut(data):
    allowed = np.random.default_rng(0).random(4000) < 0.6
    ids, _ = Seismic(n_postings=5).build(data.x).search(data.queries, 10, allowed=allowed)
    assert (ids >= 0).all()
    assert allowed[ids].all()


def test_progress_is_told(data):
    told = []
    Seismic().build(data.x, progress=lambda *what: told.append(what))
    assert told[-1][0] <= told[-1][1]
    assert max(done for done, _, _ in told) == told[0][1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_postings": 0}, "n_postings"),
        ({"centroid_fraction": 1.5}, "centroid_fraction is 1.5; expected a number from 0 to 1"),
        ({"summary_energy": float("nan")}, "summary_energy"),
        ({"blocks": "square"}, "blocks is 'square'; expected one of geometric, fixed, random"),
        ({"doc_cut": 0}, "doc_cut"),
        ({"neighbours": -1}, "neighbours"),
    ],
)
def test_settings_out_of_range_are_refused(options, said):
    with pytest.raises(InvalidInput, match=said):
        Seismic(**options)


@pytest.mark.parametrize("options", [{"query_cut": 0}, {"heap_factor": -1}, {"neighbours": 1}])
def test_options_out_of_range_are_refused(data, options):
    index = Seismic(n_postings=5).build(data.x[:50])
    with pytest.raises(InvalidInput):
        index.search(data.queries, **options)
