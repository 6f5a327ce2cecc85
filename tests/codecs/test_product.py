from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.codecs import ProductQuantizer
from isometry.errors import InvalidInput
from isometry.kernels import reference
from isometry.kernels.rows import TableRows

X = np.random.default_rng(0).standard_normal((600, 21), dtype=np.float32) + 1


@given(d=st.integers(1, 40), m=st.integers(1, 40), bits=st.sampled_from([4, 8]), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_tables_score_what_codes_decode_to(d, m, bits, seed):
    rng = np.random.default_rng(seed)
    x, q = rng.standard_normal((80, d), dtype=np.float32) + 1, rng.standard_normal((3, d), dtype=np.float32)
    codec = ProductQuantizer(min(m, d), bits, n_iter=2)
    codes = codec.fit_transform(x)
    assert codes.shape == (80, -(-min(m, d) * bits // 8))
    rows = codec.fine_rows(codes)
    assert isinstance(rows, TableRows)
    tables = codec.queries(q)
    assert tables.shape == (3, 256 * codes.shape[1])
    decoded = codec.inverse_transform(codes)
    for one, table in zip(q, tables, strict=True):
        score = reference.score_fine(rows, table) + one @ codec.mean_
        assert np.allclose(score, decoded @ one, atol=1e-4 * np.abs(one).sum())


def test_nibbles_lie_as_documented():
    codec = ProductQuantizer(5, 4).fit(X)
    codes = codec.transform(X)
    assert codes.shape == (600, 3)
    assert (codes[:, 2] < 16).all()
    edges = [0, 5, 9, 13, 17, 21]
    numbers = [codes[:, 0] & 15, codes[:, 0] >> 4, codes[:, 1] & 15, codes[:, 1] >> 4, codes[:, 2]]
    for s, number in enumerate(numbers):
        part = slice(edges[s], edges[s + 1])
        centroids = codec.codebooks_[:, part]
        offered = np.square((X - codec.mean_)[:, None, part] - centroids).sum(axis=2)
        assert (np.take_along_axis(offered, number[:, None].astype(int), 1)[:, 0] <= offered.min(axis=1) + 1e-5).all()


@given(st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_any_bytes_of_the_right_shape_decode(seed):
    codec = ProductQuantizer(5, 4).fit(X)
    codes = np.random.default_rng(seed).integers(0, 256, (20, 3), dtype=np.uint8)
    assert np.isfinite(codec.inverse_transform(codes)).all()


def test_more_bytes_are_nearer():
    errors = [
        np.square(c.inverse_transform(c.fit_transform(X)) - X).mean() for c in map(ProductQuantizer, (2, 4, 10, 21))
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 < 0.1 < errors[0]


def test_few_different_rows_are_kept():
    x = X[np.arange(600) % 200]
    codec = ProductQuantizer(3)
    assert np.allclose(codec.inverse_transform(codec.fit_transform(x)), x, atol=1e-6)


def test_the_seed_decides():
    one, two, other = (ProductQuantizer(4, random_state=seed).fit(X).codebooks_ for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_samples_can_be_few():
    pq = ProductQuantizer(1, max_samples=5).fit(X)
    apart = np.linalg.norm(pq.codebooks_.reshape(256, -1)[:, None] - (X - pq.mean_), axis=2)
    assert apart.min(axis=1).max() < 1e-5, "centroids of five rows are rows, up to rounding"
    assert len(np.unique(apart.argmin(axis=1))) == 5


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_subspaces": 22}, "n_subspaces is 22, but the vectors have 21 dimensions; use at most 21"),
        ({"n_subspaces": 0}, "n_subspaces is 0; expected an integer >= 1"),
        ({"n_subspaces": 2.5}, "n_subspaces is 2.5"),
        ({"bits": 5}, "bits is 5; PQ offers 4, 8"),
        ({"bits": True}, "bits is True"),
        ({"bits": "8"}, "bits is '8'"),
        ({"n_iter": 0}, "n_iter is 0"),
        ({"max_samples": 0}, "max_samples is 0"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    with pytest.raises(InvalidInput, match=message):
        ProductQuantizer(**parameters).fit(X)
