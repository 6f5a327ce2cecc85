from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaincinv

from isometry.codecs import Binary, RaBitQ
from isometry.errors import DimensionMismatch, InvalidInput
from isometry.kernels.encode import HEADER
from isometry.kernels.rabitq import encode, encode_reference
from isometry.kernels.rows import BitRows, ByteRows, NibbleRows, PlaneRows, values_of
from isometry.testing.estimator import vectors

BITS = range(1, 9)


def angles(codec: RaBitQ, x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return 1 - cos of the angle between each row and the grid point that its codes hold."""
    turned = codec.queries(x - codec.mean_).astype(np.float64)
    turned -= turned.mean(axis=1, keepdims=True)
    rows = codec.fine_rows(codes)
    points = (values_of(rows, x.shape[1]) - rows.constants[:, 1:]) / rows.constants[:, :1] - (2**codec.bits - 1) / 2
    return 1 - np.vecdot(turned, points) / np.linalg.norm(turned, axis=1) / np.linalg.norm(points, axis=1)


@pytest.mark.parametrize("bits", BITS)
def test_rows_have_the_layout_that_kernels_expect(bits):
    x = vectors(20, 0, 384)
    codec = RaBitQ(bits).fit(x)
    codes = codec.transform(x)
    rows = codec.rows(codes)
    assert type(rows) is {1: BitRows, 4: NibbleRows, 8: ByteRows}.get(bits, PlaneRows)
    assert codec.nbytes_per_vector_ == 8 + 48 * bits == codes.shape[1]
    assert np.array_equal(rows.codes, codes[:, 8:])
    assert rows.constants.tobytes() == codes[:, :8].tobytes()


@pytest.mark.parametrize(("bits", "excess"), [(1, 0), (2, 0.002), (3, 0.003), (4, 0.01), (5, 0.01)])
@pytest.mark.parametrize("d", [16, 100, 384])
def test_the_grid_point_is_nearly_the_best(bits, excess, d):
    x = vectors(20, 0, d)
    codec = RaBitQ(bits).fit(x)
    best = encode_reference(x, codec.mean_, codec.normal_, codec.signs_, bits)
    found = angles(codec, x, codec.transform(x))
    exact = angles(codec, x, best)
    assert (found >= exact - 1e-6).all()
    assert found.mean() <= exact.mean() * (1.05 if d == 16 else 1 + excess) + 1e-7


@pytest.mark.parametrize("d", [1, 2, 3, 65])
def test_one_bit_is_what_numpy_makes_of_it(d):
    x = vectors(50, 0, d)
    codec = RaBitQ().fit(x)
    codes = codec.transform(x)
    expected = encode_reference(x, codec.mean_, codec.normal_, codec.signs_, 1)
    decoded, reference = codec.inverse_transform(codes), codec.inverse_transform(expected)
    assert decoded == pytest.approx(reference, abs=1e-4 * float(np.abs(x).max()))
    if d == 65:
        assert np.array_equal(codes[:, HEADER:], expected[:, HEADER:])


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 300), st.integers(1, 8), st.integers(0, 2**31 - 1))
def test_products_with_the_vector_itself_and_with_the_mean_are_exact(d, bits, seed):
    """Of which the first is what makes scores unbiased."""
    x = vectors(30, seed, d)
    codec = RaBitQ(bits, random_state=seed).fit(x)
    exact = x.astype(np.float64) - codec.mean_
    decoded = codec.inverse_transform(codec.transform(x)).astype(np.float64) - codec.mean_
    mean = codec.mean_ / np.linalg.norm(codec.mean_)
    size = np.linalg.norm(exact, axis=1) * (1 + 2.0**bits) + np.linalg.norm(codec.mean_)
    assert (np.abs(np.vecdot(decoded - exact, exact)) <= 2e-4 * size * np.linalg.norm(exact, axis=1)).all()
    assert (np.abs(np.vecdot(decoded - exact, mean)) <= 2e-4 * size).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_scores_are_right_on_average_over_rotations(bits):
    x, q = vectors(200, 0, 96), vectors(20, 1, 96)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    exact = q @ x[:10].T
    drawn = [RaBitQ(bits, random_state=seed).fit(x) for seed in range(300)]
    found = np.array([q @ codec.inverse_transform(codec.transform(x[:10])).T for codec in drawn]) - exact
    deviation = found.std(axis=0) / np.sqrt(len(found))
    assert np.abs(found.mean(axis=0) / deviation).max() < 5
    assert np.sqrt(np.square(found.mean(axis=0)).mean()) < 1.3 * np.sqrt(np.square(deviation).mean())


@pytest.mark.parametrize("d", [5, 24, 200])
@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_errors_are_within_the_bound_as_often_as_stated(d, bits, confidence):
    x, q = vectors(400, 0, d), np.random.default_rng(1).standard_normal((30, d)).astype(np.float32)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    within = []
    for seed in range(10):
        codec = RaBitQ(bits, random_state=seed).fit(x)
        codes = codec.transform(x)
        error = np.abs(q @ (codec.inverse_transform(codes) - x).T)
        bound = codec.error_bound(codes, confidence)
        assert bound.dtype == np.float32
        assert bound.shape == (400,)
        within.append((error <= bound + 1e-5).mean())
    assert np.mean(within) >= confidence - 0.02 * (1 - confidence) - 0.01
    if d == 200 and bits < 8:
        assert np.mean(within) <= confidence + 0.06  # and it is not much too large


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 120), st.integers(1, 8), st.floats(-20, 20), st.integers(0, 2**31 - 1))
def test_no_vector_is_decoded_farther_away_than_its_bound_says(d, bits, exponent, seed):
    x = vectors(20, seed, d) * np.float32(10.0**exponent)
    codec = RaBitQ(bits).fit(x)
    codes = codec.transform(x)
    error = np.linalg.norm(codec.inverse_transform(codes) - x.astype(np.float64), axis=1)
    share = betaincinv(0.5, (d - 3) / 2, 0.9) if d > 3 else 1
    size = np.abs(x.astype(np.float64)).max() * np.sqrt(d)
    assert (error <= codec.error_bound(codes, 0.9) / np.sqrt(share) + 2e-4 * size).all()
    assert (error >= 0.95 * codec.error_bound(codes, 0.9) / np.sqrt(share) - 2e-4 * size).all()


def test_queries_are_rotated_and_score_as_decoded_vectors_do():
    x, q = vectors(50, 0, 100), vectors(5, 1, 100)
    codec = RaBitQ(3).fit(x)
    asked = codec.queries(q)
    assert np.linalg.norm(asked, axis=1) == pytest.approx(np.linalg.norm(q, axis=1), rel=1e-5)
    assert codec.queries(codec.mean_[None]) == pytest.approx(
        np.full((1, 100), np.linalg.norm(codec.mean_) / 10 * np.sign(codec.queries(codec.mean_[None])[0, 0])), abs=1e-5
    )
    scores = asked @ values_of(codec.rows(codec.transform(x)), 100).T + (q @ codec.mean_)[:, None]
    assert scores == pytest.approx(q @ codec.inverse_transform(codec.transform(x)).T, abs=1e-3)


def test_more_bits_are_nearer():
    x = vectors(200, 0, 384)
    errors = [np.square(RaBitQ(b).fit(x).inverse_transform(RaBitQ(b).fit_transform(x)) - x).sum() for b in BITS]
    assert errors == sorted(errors, reverse=True)
    spread = np.square(x - x.mean(axis=0)).sum()
    assert errors[0] < 0.6 * spread
    assert errors[3] < 0.012 * spread
    assert errors[7] < 1e-4 * spread


def test_one_bit_ranks_better_than_signs():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((5000, 128)) * np.arange(1, 129) ** -0.5 + 0.1).astype(np.float32)
    q = x[:100] + 0.02 * rng.standard_normal((100, 128)).astype(np.float32)
    exact = np.argsort(-(q @ x.T), axis=1)[:, :10]

    def recall(codec: RaBitQ | Binary) -> float:
        scores = q @ codec.inverse_transform(codec.fit_transform(x)).T
        return float(np.mean([np.isin(a, b).mean() for a, b in zip(exact, np.argsort(-scores)[:, :10], strict=True)]))

    assert recall(RaBitQ()) > recall(Binary()) + 0.02
    assert recall(RaBitQ(4)) > 0.9


def test_bytes_are_the_same_on_any_number_of_threads():
    x = vectors(3000, 0, 200)
    codec = RaBitQ(3).fit(x)
    one = encode(x, codec.mean_, codec.normal_, codec.signs_, 3, threads=1)
    for threads in (2, 4, None):
        assert one.tobytes() == encode(x, codec.mean_, codec.normal_, codec.signs_, 3, threads=threads).tobytes()
    assert one[1500:1501].tobytes() == codec.transform(x[1500:1501]).tobytes()


def test_without_a_mean_there_is_no_mirror():
    x = vectors(50, 0, 64)
    x -= x.mean(axis=0)
    codec = RaBitQ(8).fit(np.vstack([x, -x]))
    assert not codec.normal_.any()
    assert codec.inverse_transform(codec.transform(x)) == pytest.approx(x, abs=0.03 * float(np.abs(x).max()))


def test_a_vector_at_the_mean_is_exact_and_has_no_error():
    codec = RaBitQ().fit(np.full((3, 70), 0.1))
    codes = codec.transform(np.full((1, 70), 0.1))
    assert (codec.inverse_transform(codes) == np.float32(0.1)).all()
    assert codec.error_bound(codes).tolist() == [0]


def test_the_seed_decides_the_rotation():
    x = vectors(50, 0)
    assert np.array_equal(RaBitQ().fit_transform(x), RaBitQ(random_state=0).fit_transform(x))
    assert not np.array_equal(RaBitQ().fit_transform(x), RaBitQ(random_state=1).fit_transform(x))


@pytest.mark.parametrize("bits", [0, 9, -1, 2.5, "4", None, True])
def test_other_bits_are_refused(bits):
    with pytest.raises(InvalidInput, match=r"bits is .*; expected an integer from 1 to 8"):
        RaBitQ(bits).fit(vectors(10, 0))


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 2, float("nan"), "0.9", None])
def test_other_confidences_are_refused(confidence):
    codec = RaBitQ().fit(vectors(10, 0))
    with pytest.raises(InvalidInput, match=r"confidence is .*; expected a number above 0 and below 1"):
        codec.error_bound(codec.transform(vectors(3, 1)), confidence)


def test_codes_of_another_codec_are_refused():
    x = vectors(10, 0)
    codec = RaBitQ(2).fit(x)
    for codes in (RaBitQ(3).fit_transform(x), codec.transform(x).astype(np.int32), codec.transform(x)[0], None):
        with pytest.raises(InvalidInput, match="expected what transform returns"):
            codec.error_bound(codes)
    with pytest.raises(DimensionMismatch):
        codec.transform(x[:, :-1])
