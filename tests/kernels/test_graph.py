from __future__ import annotations

import numpy as np
import pytest

from isometry.indexes.graph import Linker
from isometry.kernels import graph as kernels
from isometry.kernels import reference
from isometry.kernels.rows import Float32Rows, padded_copy

EMPTY = np.empty(0, np.float32)


def frozen(array):
    array = padded_copy(np.asarray(array))
    array.flags.writeable = False
    return array


def whole(n, d, seed, high=30):
    """Return rows of whole numbers, no two equal, whose products float32 holds exactly."""
    x = np.unique(np.random.default_rng(seed).integers(-high, high, (2 * n, d)), axis=0)
    return np.random.default_rng(seed).permutation(x)[:n].astype(np.float32)


def searched(x, graph, q, width, space=None, entries=(0,)):
    rows = Float32Rows(frozen(x))
    ids, scores = np.empty((len(q), width), np.int64), np.empty((len(q), width), np.float32)
    space = space or kernels.Space(frozen(EMPTY), frozen(EMPTY), np.float32(0))
    seen = np.zeros(len(x) + 1, np.uint8)
    kernels.search(
        rows, rows, space, frozen(np.asarray(graph, np.int32)), frozen(np.array(entries, np.int32)),
        frozen(np.arange(len(x), dtype=np.int64)), frozen(np.empty(0, np.int32)), frozen(q), frozen(q), width, width,
        seen, ids, scores,
    )  # fmt: skip
    return ids, scores


@pytest.mark.parametrize("width", [1, 3, 10, 50])
@pytest.mark.parametrize("biased", [False, True])
def test_a_walk_finds_what_the_reference_finds(width, biased):
    rng = np.random.default_rng(width)
    x, q = whole(300, 12, 0, high=500), whole(40, 12, 1, high=500)
    graph = rng.integers(0, 300, (300, 6)).astype(np.int32)
    graph[::5, 3:] = -1
    bias = -np.square(x).sum(1) / 2 if biased else EMPTY
    space = kernels.Space(frozen(bias.astype(np.float32)), frozen(EMPTY), np.float32(0))
    ids, scores = searched(x, graph, q, width, space, entries=(7, 3, 7, 11))
    compared = 0
    for i in range(len(q)):
        ranks = x.astype(float) @ q[i] + (bias if biased else 0)
        if len(np.unique(ranks)) < len(ranks):
            continue  # of equal ones, which goes first depends on the order of the walk
        compared += 1
        beam, _ = reference.walk(graph, [7, max((3, 7, 11), key=lambda slot: ranks[slot])], ranks, width)
        assert ids[i, : len(beam)].tolist() == beam
        assert (ids[i, len(beam) :] == -1).all()
        assert np.array_equal(scores[i, : len(beam)], ranks[beam])
    assert compared > 5


def test_a_walk_ends_on_graphs_of_any_shape():
    x = whole(20, 4, 2)
    loops = np.tile(np.arange(20, dtype=np.int32)[:, None], (1, 3))
    alone = np.full((20, 3), -1, np.int32)
    for graph in (loops, alone):
        ids, scores = searched(x, graph, x[:2], 5)
        assert (ids[:, 0] == 0).all()
        assert (ids[:, 1:] == -1).all()
        assert np.isneginf(scores[:, 1:]).all()


def test_marks_of_earlier_walks_do_not_count():
    """The marks are bytes: after 255 walks they start again."""
    x, q = whole(50, 4, 3), np.tile(whole(1, 4, 4), (600, 1))
    graph = np.random.default_rng(0).integers(0, 50, (50, 4)).astype(np.int32)
    ids, _ = searched(x, graph, q, 10)
    assert (ids == ids[0]).all()


@pytest.mark.parametrize("alpha", [1.0, 1.2, 2.0])
def test_pruning_leaves_what_the_reference_leaves(alpha):
    x = whole(120, 6, 5, high=12)
    squares = np.square(x).sum(1)
    rows = Float32Rows(frozen(x))
    space = kernels.Space(frozen(squares / np.float32(-2)), frozen(EMPTY), np.float32(0))
    wide = np.full((120, 30), -1, np.int32)
    rng = np.random.default_rng(1)
    for slot in range(120):
        others = rng.permutation(np.delete(np.arange(120), slot))[: rng.integers(5, 31)]
        wide[slot, : len(others)] = others
    graph = padded_copy(wide)
    kernels.trim(rows, space, graph, np.arange(120, dtype=np.int32), np.float32(alpha), 10, 6)

    def gap(a, b):
        return float(np.square(x[a] - x[b]).sum())

    compared = 0
    for slot in range(120):
        candidates = wide[slot][wide[slot] >= 0].tolist()
        if len(candidates) <= 10:
            assert np.array_equal(graph[slot], wide[slot])
            continue
        gaps = [gap(slot, other) for other in candidates]
        if len(set(gaps)) == len(gaps):
            compared += 1
            kept = graph[slot][graph[slot] >= 0].tolist()
            assert kept == reference.prune(candidates, gap, slot, float(np.float32(alpha)), 10)
    assert compared > 10


def test_what_nothing_leads_to_is_connected():
    x = whole(60, 5, 6)
    rows = Float32Rows(frozen(x))
    space = kernels.Space(frozen(-np.square(x).sum(1) / 2), frozen(EMPTY), np.float32(0))
    linker = Linker(rows, space, 5, 3, 8, 1.2, 1)
    ring = np.full((60, 3), -1, np.int32)
    ring[:, 0] = np.arange(60) // 10 * 10 + (np.arange(60) + 1) % 10  # six rings of ten
    graph = padded_copy(ring)
    slots, entries = np.arange(60, dtype=np.int32), np.array([4], np.int32)
    linker.connect(graph, entries, slots)
    reached, parents = np.zeros(60, np.bool_), np.full(60, -1, np.int32)
    kernels.reach(graph, entries, reached, parents)
    assert reached.all()
    assert parents[4] == -1
    for slot in np.flatnonzero(slots != 4).tolist():
        assert slot in graph[parents[slot]]


@pytest.mark.parametrize("width", [1, 3, 8])
def test_digests_tell_rows_apart(width):
    words = np.unique(np.random.default_rng(0).integers(0, 4, (500, width)), axis=0).astype(np.uint32)
    out = np.zeros(len(words), np.uint64)
    kernels.digests(words, out)
    assert len(np.unique(out)) == len(words)
    again = np.zeros(len(words), np.uint64)
    kernels.digests(words, again)
    assert np.array_equal(out, again)


def test_squares_are_squared_norms():
    x = whole(30, 7, 8)
    out = np.empty(3, np.float32)
    kernels.squares(Float32Rows(frozen(x)), np.array([0, 29, 4], np.int32), 7, out)
    assert np.array_equal(out, np.square(x[[0, 29, 4]]).sum(1))
