from __future__ import annotations

import numpy as np
import pytest

from isometry.codecs import LVQ, BFloat16, Float16, ProductQuantizer
from isometry.indexes import METRICS, Vamana, linkrows
from isometry.indexes.levels import Levels
from isometry.indexes.linkrows import link_rows, link_space
from isometry.kernels.rows import BFloat16Rows, ByteRows, Float16Rows, Float32Rows, NibbleRows, values_of


def vectors(n=400, d=24, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, d)) * np.linspace(2, 0.1, d) + 0.5).astype(np.float32)


def fitted(metric, x, codec=None):
    levels = Levels(metric, codec=codec)
    levels.fit(x, None)
    return levels


def slots_of(levels):
    return np.random.default_rng(0).permutation(len(levels.walk[0])).astype(np.int32)


def lost_by_bytes(n=400, d=24):
    """Rows that differ by a thousandth of what all of them have in common but for its sign."""
    rng = np.random.default_rng(0)
    x = 0.003 * rng.standard_normal((n, d))
    x[:, 0] = rng.choice([-3, 3], n)
    return x.astype(np.float32)


@pytest.fixture
def every_size_is_large(monkeypatch):
    monkeypatch.setattr(linkrows, "_CODED_FROM", 0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("codec", [None, LVQ(8)], ids=str)
def test_rows_are_as_far_apart_as_their_space_says(metric, codec):
    levels = fitted(metric, vectors(80), codec)
    rows, dim = link_rows(levels)
    space = link_space(metric, np.arange(80, dtype=np.int32), rows, dim)
    values = values_of(rows, 24).astype(float)
    if metric != "l2":  # lifted to a sphere
        np.testing.assert_allclose(np.square(values).sum(1) + np.square(space.slack), space.top, rtol=1e-5)
        assert len(space.bias) == 0
    else:
        np.testing.assert_allclose(space.bias, -np.square(values).sum(1) / 2, rtol=1e-5)
        assert len(space.slack) == 0


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("codec", [None, Float16(), BFloat16()], ids=str)
def test_many_floats_are_linked_by_bytes(every_size_is_large, metric, codec):
    levels = fitted(metric, vectors(), codec)
    rows, dim = link_rows(levels, slots_of(levels))
    assert (type(rows), dim) == (ByteRows, 24)
    values = values_of(levels.walk, 24)
    off = values_of(rows, 24) - (values - values.mean(0))
    assert np.abs(off).max() < 0.006 * np.ptp(values, axis=1).max()


@pytest.mark.parametrize(
    ("codec", "layout"), [(None, Float32Rows), (Float16(), Float16Rows), (BFloat16(), BFloat16Rows)], ids=str
)
def test_few_floats_and_those_linked_to_others_are_compared_as_they_are(monkeypatch, codec, layout):
    levels = fitted("dot", vectors(), codec)
    assert isinstance(link_rows(levels, slots_of(levels))[0], layout)
    monkeypatch.setattr(linkrows, "_CODED_FROM", 0)
    assert isinstance(link_rows(levels)[0], layout)


@pytest.mark.parametrize("metric", METRICS)
def test_floats_whose_differences_bytes_lose_are_compared_as_they_are(every_size_is_large, metric):
    levels = fitted(metric, lost_by_bytes())
    assert isinstance(link_rows(levels, slots_of(levels))[0], Float32Rows)


def test_codes_are_compared_as_they_are(every_size_is_large):
    levels = fitted("dot", vectors(), LVQ(4, 8))
    assert isinstance(link_rows(levels, slots_of(levels))[0], NibbleRows)


def test_tables_are_linked_by_bytes_of_what_they_decode_to():
    x = vectors()
    levels = fitted("dot", x, ProductQuantizer(8, 8))
    rows, dim = link_rows(levels)
    assert (type(rows), dim) == (ByteRows, 24)
    decoded = levels.codec.inverse_transform(levels.walk.codes)
    np.testing.assert_allclose(values_of(rows, 24), decoded - decoded.mean(0), atol=0.03)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("make", [vectors, lost_by_bytes])
def test_graphs_find_as_much_whatever_they_are_linked_by(monkeypatch, metric, make):
    x = make(3000, 24)
    q = x[:200] + (0.0005 if make is lost_by_bytes else 0.1) * vectors(200, seed=1)
    product = {"dot": q @ x.T, "cosine": q @ (x / np.linalg.norm(x, axis=1)[:, None]).T}
    exact = product.get(metric, -np.square(q[:, None].astype(float) - x).sum(2))
    best = np.argsort(-exact, axis=1)[:, :10]

    def recall():
        found = Vamana(metric=metric, degree=16, window=32).build(x).search(q, effort=24)[0]
        return np.mean([np.isin(a, b).mean() for a, b in zip(found, best, strict=True)])

    floats = recall()
    monkeypatch.setattr(linkrows, "_CODED_FROM", 0)
    assert recall() > floats - 0.02 > 0.6


@pytest.mark.parametrize("codec", [None, Float16()], ids=str)
def test_the_graph_is_the_same_for_any_number_of_threads(every_size_is_large, codec):
    x = vectors(1500)

    def graph(threads):
        index = Vamana(degree=8, codec=codec, threads=threads).build(x[:1200])
        index.add(x[1200:])
        index.remove(np.arange(0, 1500, 7))
        return index._graph.tobytes()

    assert graph(1) == graph(2) == graph(3)


@pytest.mark.parametrize("x", [vectors(1), vectors(5), np.ones((40, 24), np.float32), np.zeros((40, 24), np.float32)])
@pytest.mark.parametrize("metric", METRICS)
def test_few_and_equal_rows_are_linked_too(every_size_is_large, x, metric):
    index = Vamana(metric=metric, degree=4).build(x)
    found, _ = index.search(x[:1], k=len(x))
    assert sorted(found[0]) == list(range(len(x)))
