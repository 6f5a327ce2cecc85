"""Encodings by compiled code, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.kernels.fde import Tables, encode
from isometry.vectors import MultiVectors
from tests.reference import fde as reference


def tables(d: int, repetitions: int, k: int, size: int | None, places: int, rng: np.random.Generator) -> Tables:
    """Draw tables; `size` None is no inner projection, `places` 0 no final one."""
    planes = rng.standard_normal((d, repetitions * k)).astype(np.float32)
    inner = np.zeros((0, d, 0), np.float32)
    if size is not None:
        inner = rng.standard_normal((repetitions, d, size)).astype(np.float32)
    total = repetitions * 2**k * (d if size is None else size)
    return Tables(planes, inner, rng.integers(2 * places, size=total if places else 0).astype(np.int32))


def sets_of(lengths: list[int], d: int, rng: np.random.Generator) -> MultiVectors:
    return MultiVectors.from_list([rng.standard_normal((length, d)).astype(np.float32) for length in lengths], dim=d)


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    d=st.integers(1, 20),
    repetitions=st.integers(1, 3),
    k=st.integers(0, 6),
    size=st.none() | st.integers(1, 20),
    places=st.sampled_from([0, 0, 1, 7, 50]),
    average=st.booleans(),
    fill=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_encodings_are_those_of_the_definition(lengths, d, repetitions, k, size, places, average, fill, seed):
    rng = np.random.default_rng(seed)
    drawn, sets = tables(d, repetitions, k, size, places, rng), sets_of(lengths, d, rng)
    dim = places or repetitions * 2**k * (size or d)
    options = {"repetitions": repetitions, "k_sim": k, "dim": dim, "average": average, "fill": fill, "scale": 0.5}
    seen = encode(sets.tokens, sets.offsets, drawn, **options)
    expected = np.array([reference.encode(one, drawn, **options) for one in sets])
    assert seen.dtype == np.float32
    assert seen == pytest.approx(expected, abs=1e-5 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("k", range(1, 7))
def test_empty_cells_take_the_first_of_the_nearest_tokens(k):
    """Tokens that are their cell's corner, so that which one was taken can be read off; many cells tie."""
    rng = np.random.default_rng(k)
    drawn = Tables(np.eye(k, dtype=np.float32), np.zeros((0, k, 0), np.float32), np.zeros(0, np.int32))
    options = {"repetitions": 1, "k_sim": k, "dim": k * 2**k, "average": True, "fill": True}
    for _ in range(20):
        cells = rng.choice(2**k, size=rng.integers(1, 2**k + 1), replace=False)
        corners = (2 * (cells[:, None] >> np.arange(k) & 1) - 1).astype(np.float32)
        taken = encode(corners, np.array([0, len(cells)]), drawn, **options).reshape(2**k, k)
        for cell in range(2**k):
            apart = np.bitwise_count(cells ^ cell)
            assert np.array_equal(taken[cell], corners[apart.argmin()])


@pytest.mark.parametrize("places", [0, 300])
@pytest.mark.parametrize("average", [False, True])
def test_threads_and_batches_make_no_difference(places, average):
    rng = np.random.default_rng(0)
    lengths = [0, 0, 5000, 1, 0, 17, 4096, *rng.integers(0, 300, 60).tolist(), 0]
    drawn, sets = tables(24, 2, 4, 8, places, rng), sets_of(lengths, 24, rng)
    options = {"repetitions": 2, "k_sim": 4, "dim": places or 256, "average": average, "fill": average}
    whole = encode(sets.tokens, sets.offsets, drawn, **options, threads=1)
    for threads in (2, 5, None):
        assert encode(sets.tokens, sets.offsets, drawn, **options, threads=threads).tobytes() == whole.tobytes()
    alone = [encode(one, np.array([0, len(one)]), drawn, **options)[0] for one in sets]
    assert np.array(alone).tobytes() == whole.tobytes()
    later = encode(sets.tokens, sets.offsets[9:30], drawn, **options, threads=2)
    assert later.tobytes() == whole[9:29].tobytes()


def test_no_set_is_no_encoding():
    drawn = tables(4, 1, 2, 2, 0, np.random.default_rng(0))
    options = {"repetitions": 1, "k_sim": 2, "dim": 8, "average": True, "fill": True}
    assert encode(np.zeros((0, 4), np.float32), np.zeros(1, np.int64), drawn, **options).shape == (0, 8)
    assert not encode(np.zeros((0, 4), np.float32), np.zeros(4, np.int64), drawn, **options).any()
