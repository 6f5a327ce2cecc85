from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.codecs import ProductQuantizer, ResidualQuantizer
from isometry.errors import InvalidInput
from isometry.kernels import additive, reference
from isometry.kernels.rows import TableRows


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Vectors near a few directions, as embeddings are."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(0).standard_normal((8, d))
    return (rng.standard_normal((n, 8)) @ basis + rng.standard_normal((n, d)) / 4 + 1).astype(np.float32)


X = rows(1500, 20)


def error(codec, x=X) -> float:
    return float(np.square(codec.inverse_transform(codec.fit_transform(x)) - x).mean())


@given(d=st.integers(1, 30), m=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_tables_score_what_codes_decode_to(d, m, seed):
    x, q = rows(300, d, seed), rows(3, d, seed + 1)
    codec = ResidualQuantizer(m, n_rounds=1, beam=2)
    codes = codec.fit_transform(x)
    assert codes.shape == (300, m)
    stored = codec.fine_rows(codes)
    assert isinstance(stored, TableRows)
    decoded, tables = codec.inverse_transform(codes), codec.queries(q)
    assert tables.shape == (3, 256 * m)
    for one, table in zip(q, tables, strict=True):
        score = reference.score_fine(stored, table) + one @ codec.mean_
        assert np.allclose(score, decoded @ one, atol=1e-4 * np.abs(one).sum() * np.abs(x).max())


def test_queries_get_the_same_tables_together_as_alone():
    """Codewords are taken in blocks, of which these are several."""
    codec = ResidualQuantizer(2, n_rounds=0, beam=1).fit(rows(300, 400))
    q = rows(5, 400, seed=1)
    tables = codec.queries(q)
    np.testing.assert_allclose(tables, q @ codec.codebooks_.reshape(512, 400).T, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(tables, np.concatenate([codec.queries(one[None]) for one in q]))


def test_one_codebook_finds_the_nearest_codeword():
    codec = ResidualQuantizer(1).fit(X)
    offered = np.square((X - codec.mean_)[:, None] - codec.codebooks_[0]).sum(axis=2)
    chosen = np.take_along_axis(offered, codec.transform(X).astype(int), 1)[:, 0]
    assert (chosen <= offered.min(axis=1) * (1 + 1e-4)).all()


def test_a_beam_that_keeps_all_finds_the_best_pair():
    codec = ResidualQuantizer(2, beam=256, n_rounds=1).fit(X)
    some = X[:20]
    sums = (codec.codebooks_[0][:, None] + codec.codebooks_[1]).reshape(-1, 20)
    best = np.square((some - codec.mean_)[:, None] - sums).sum(axis=2).min(axis=1)
    found = np.square(codec.inverse_transform(codec.transform(some)) - some).sum(axis=1)
    assert np.allclose(found, best, rtol=1e-3, atol=1e-4)


def test_no_single_code_can_be_improved():
    codec = ResidualQuantizer(3, beam=1).fit(X)
    some = X[:200]
    codes = codec.transform(some)
    reached = np.square(codec.inverse_transform(codes) - some).sum(axis=1)
    better = 0
    for t in range(3):
        for code in range(256):
            other = codes.copy()
            other[:, t] = code
            better += (np.square(codec.inverse_transform(other) - some).sum(axis=1) < reached * 0.999 - 1e-4).sum()
    assert better <= 2  # where three rounds of improving one code after the other were not enough


def test_joint_fitting_and_wider_beams_help():
    assert error(ResidualQuantizer(3, n_rounds=4)) < 0.97 * error(ResidualQuantizer(3, n_rounds=0))
    assert error(ResidualQuantizer(3, beam=8)) < error(ResidualQuantizer(3, beam=1))


def test_it_is_nearer_than_product_quantization():
    assert error(ResidualQuantizer(2)) < 0.7 * error(ProductQuantizer(2))


def test_codewords_that_suit_codes_are_their_least_squares():
    codes = np.random.default_rng(0).integers(0, 4, (500, 2), dtype=np.uint8)
    words = np.zeros((2, 4, 20), np.float32)
    for _ in range(30):
        words = additive.suited(X[:500], codes, words)
    chosen = np.hstack([np.eye(4)[codes[:, 0]], np.eye(4)[codes[:, 1]]])
    best = chosen @ np.linalg.lstsq(chosen, X[:500].astype(float), rcond=None)[0]
    assert np.allclose(additive.sums(codes, words), best, atol=1e-4)


def test_threads_make_no_difference():
    trained = [
        additive.train(X / 32, 2, 256, beam=2, n_rounds=1, rng=np.random.default_rng(0), threads=threads)
        for threads in (1, 2, 4)
    ]
    assert trained[0].tobytes() == trained[1].tobytes() == trained[2].tobytes()
    tables = additive.tables_of(trained[0])
    codes = [additive.encode(X / 32, tables, 4, threads=threads) for threads in (1, 2, 4)]
    assert codes[0].tobytes() == codes[1].tobytes() == codes[2].tobytes()


def test_few_different_rows_are_kept():
    x = X[np.arange(1500) % 200]
    codec = ResidualQuantizer(2)
    assert np.allclose(codec.inverse_transform(codec.fit_transform(x)), x, atol=1e-4)


def test_fitting_again_forgets_the_tables():
    codec = ResidualQuantizer(2).fit(X)
    codec.transform(X)
    other = rows(1500, 20, 5) * 2
    assert np.array_equal(codec.fit(other).transform(other), ResidualQuantizer(2).fit(other).transform(other))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_codebooks": 0}, "n_codebooks is 0; expected an integer from 1 to 64"),
        ({"n_codebooks": 65}, "n_codebooks is 65"),
        ({"bits": 4}, "bits is 4; RVQ offers 8"),
        ({"bits": "8"}, "bits is '8'"),
        ({"beam": 0}, "beam is 0"),
        ({"n_rounds": -1}, "n_rounds is -1"),
        ({"max_samples": 0}, "max_samples is 0"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    with pytest.raises(InvalidInput, match=message):
        ResidualQuantizer(**parameters).fit(X)
