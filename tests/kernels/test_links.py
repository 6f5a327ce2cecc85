"""Codes beside links, against what NumPy makes of the same steps."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.codecs import LVQ, Float32
from isometry.indexes import METRICS, Flat, Vamana
from isometry.kernels.rotate import rotate
from isometry.kernels.rows import GROUP, values_of

BITS, DEGREE, DIM = 64, 40, 96


def drawn(n, d, seed):
    """Return vectors with a few strong directions, as embeddings have."""
    rng = np.random.default_rng(seed)
    strength = np.arange(1, d + 1) ** -0.5
    turn = np.linalg.qr(np.random.default_rng(d).standard_normal((d, d)))[0]
    return ((rng.standard_normal((n, d)) * strength) @ turn).astype(np.float32)


def built(metric="dot", bits=BITS, codec=None, n=400):
    return Vamana(metric=metric, degree=DEGREE, codec=codec or Float32(), link_bits=bits).build(drawn(n, DIM, 0))


def parts(index):
    """Return factors, numbers to add and signs (+1, -1) of the links of all slots, as kernels keep them."""
    links = index._codes.links()
    n, groups, _ = links.codes.shape
    factors, more = links.numbers[:, :, :GROUP], links.numbers[:, :, GROUP : 2 * GROUP]
    assert np.array_equal(links.ends[:, :, 2 * GROUP : 3 * GROUP].reshape(n, -1)[:, :DEGREE], index._graph)
    bits = np.unpackbits(links.codes[:, :, 12 * GROUP :].reshape(n, groups, -1, GROUP), axis=2, bitorder="little")
    signs = 2.0 * bits.transpose(0, 1, 3, 2).reshape(n, groups * GROUP, -1) - 1
    return factors.reshape(n, -1)[:, :DEGREE], more.reshape(n, -1), signs[:, :DEGREE], links.signs


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bits", [16, 64, 96])
def test_codes_are_the_signs_of_turned_steps(metric, bits):
    index = built(metric, bits)
    factors, more, signs, rotation = parts(index)
    x, graph, bias = values_of(index._levels.walk, DIM).astype(np.float64), index._graph, index._levels.bias
    turned = rotate(x.astype(np.float32), rotation).astype(np.float64)[:, :bits]
    for slot in range(0, len(graph), 7):
        ends = graph[slot][graph[slot] >= 0]
        steps = turned[ends] - turned[slot]
        sure = np.abs(steps) > 1e-5
        assert (np.sign(steps) == signs[slot, : len(ends)])[sure].all()
        length = np.square(x[ends] - x[slot]).sum(1)
        np.testing.assert_allclose(factors[slot, : len(ends)], length / np.abs(steps).sum(1), rtol=1e-3)
        along = (x[ends] - x[slot]) @ x[slot]
        expected = along - factors[slot, : len(ends)] * (signs[slot, : len(ends)] @ turned[slot])
        if metric == "l2":
            expected += bias[ends] - bias[slot]
        np.testing.assert_allclose(more[slot, : len(ends)], expected, rtol=1e-3, atol=1e-3)
        assert (more[slot, len(ends) :] == -np.inf).all()


@pytest.mark.parametrize("metric", METRICS)
def test_estimates_are_about_what_rows_are_ranked_by(metric):
    """Off by no more than what a sign for each value leaves open, to either side alike."""
    index, q = built(metric, DIM), drawn(50, DIM, 1)
    factors, more, signs, rotation = parts(index)
    levels, graph = index._levels, index._graph
    x, q = values_of(levels.walk, DIM).astype(np.float64), levels.queries(q).short.astype(np.float64)
    ranks = q @ x.T + (levels.bias if metric == "l2" else 0)
    turned = rotate(q.astype(np.float32), rotation).astype(np.float64)
    slots, places = np.nonzero(graph >= 0)
    products = np.einsum("qd,ed->qe", turned, signs[slots, places])
    estimates = ranks[:, slots] + factors[slots, places] * products + more[slots, places]
    ends = graph[slots, places]
    reach = np.linalg.norm(q[:, None] - x, axis=2)[:, slots] * np.linalg.norm(x[ends] - x[slots], axis=1)
    error = (estimates - ranks[:, ends]) / reach
    assert abs(error.mean()) < 0.01
    assert error.std() < 1 / np.sqrt(DIM)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("codec", [Float32(), LVQ(8), LVQ(4, 8)])
def test_a_beam_for_all_rows_finds_what_a_scan_finds(metric, codec):
    x, q = drawn(500, DIM, 0), drawn(20, DIM, 1)
    index = Vamana(metric=metric, degree=8, codec=codec, link_bits=32).build(x)
    scanned = index.search(q, 500, allowed=np.ones(500, np.bool_), strategy="scan")
    for found, expected in zip(index.search(q, 500, effort=500), scanned, strict=True):
        assert np.array_equal(found, expected)


def test_more_bits_find_more():
    x, q = drawn(3000, DIM, 0), drawn(200, DIM, 1)
    exact = Flat(metric="dot").build(x).search(q, 10)[0]

    def recall(bits):
        found = Vamana(metric="dot", degree=32, link_bits=bits).build(x).search(q, 10, effort=24)[0]
        return (found[:, :, None] == exact[:, None]).any(1).mean()

    few, half, all_ = map(recall, (16, 48, 96))
    assert few < half < all_
    assert all_ > 2 * few
