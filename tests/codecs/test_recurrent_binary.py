"""What `RecurrentBinary` has beside what all codecs promise: codes that go on when the encoder changes."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.codecs import RecurrentBinary
from isometry.errors import DimensionMismatch

D = 24


@pytest.fixture(scope="module")
def spaces():
    rng = np.random.default_rng(0)
    old = rng.standard_normal((600, D)).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((D, D)))[0]
    more = rng.standard_normal((600, 8))  # what the new encoder knows beyond the old one
    return old, np.concatenate([old @ turn, 0.1 * more], axis=1).astype(np.float32)


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_a_codec_goes_over_to_another_space(spaces, bits):
    old, new = spaces
    codec = RecurrentBinary(32, bits=bits).fit(old[:400])
    carried = codec.carried_over(old[:400], new[:400])
    assert carried.n_features_in_ == D + 8
    assert carried.nbytes_per_vector_ == codec.nbytes_per_vector_
    same = carried.numbers(new[400:]) == codec.numbers(old[400:])
    assert same.mean() > 0.9
    fresh = RecurrentBinary(32, bits=bits).fit(new[:400])
    assert (fresh.numbers(new[400:]) == codec.numbers(old[400:])).mean() < 0.6
    assert np.array_equal(carried.fit(new).numbers(new[400:]), carried.numbers(new[400:])), "it is frozen"
    assert np.isfinite(carried.inverse_transform(carried.transform(new))).all()


def test_what_does_not_fit_is_refused(spaces):
    old, new = spaces
    codec = RecurrentBinary().fit(old)
    with pytest.raises(DimensionMismatch, match="expected as many of both"):
        codec.carried_over(old[:100], new)
    with pytest.raises(DimensionMismatch, match=f"with {D} dimensions"):
        codec.carried_over(new, old)
