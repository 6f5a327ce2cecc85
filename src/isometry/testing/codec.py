"""What every codec must do, as checks that run against any class with the members of `isometry.codecs.Codec`.

.. code-block:: python

    import pytest
    from isometry.testing import CodecCase, codec_checks

    CASES = [CodecCase("MyCodec8", lambda: MyCodec(bits=8), error=1 / 255)]

    @pytest.mark.parametrize("check", codec_checks(), ids=lambda check: check.__name__)
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_conformance(case, check, tmp_path):
        check(case, tmp_path)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isometry.codecs import Codec
from isometry.errors import InvalidInput
from isometry.kernels.rows import ALIGNMENT, values_of
from isometry.testing import estimator
from isometry.testing.estimator import expect, raises, same, vectors

__all__ = ["CodecCase", "check_codec", "codec_checks"]

Check = Callable[["CodecCase", Path], None]


@dataclass(frozen=True)
class CodecCase:
    """One row of the conformance table.

    Parameters
    ----------
    name : str
        What test reports call it.
    make : callable
        ``make()`` returns a new codec.
    error : float
        Largest difference between a value and what is decoded, relative to the largest magnitude in its vector after
        ``mean_`` is taken off. (What float32 itself rounds comes on top.)
    largest : float
        Values up to this magnitude must be encoded.
    smallest : float
        A value may be off by this much anyway.
    symmetric : bool
        Whether queries are coded as well: scores are then products of what rows hold of both.
    exempt : mapping
        Checks of scikit-learn that it need not pass, with the reason.
    """

    name: str
    make: Callable[[], Any]
    error: float
    largest: float = 2.0**125
    smallest: float = 2.0**-100
    symmetric: bool = False
    exempt: Mapping[str, str] = field(default_factory=lambda: dict(estimator.EXEMPT), repr=False)

    def __str__(self) -> str:
        return self.name


def check_codec(case: CodecCase, folder: Path) -> None:
    """Run all checks; `folder` is an empty folder to write to. Raises `AssertionError` with what is wrong."""
    for check in codec_checks():
        part = folder / check.__name__
        part.mkdir()
        check(case, part)


def codec_checks() -> tuple[Check, ...]:
    """Return all checks, each a function of a case and an empty folder."""
    return tuple(check for name, check in globals().items() if name.startswith("check_") and name != "check_codec")


def check_protocol(case: CodecCase, folder: Path) -> None:
    """A fitted codec has the members of the protocol; a specification can set its parameters."""
    codec = case.make().fit(vectors(100, 0))
    expect(isinstance(codec, Codec), "it lacks a member of isometry.codecs.Codec")
    expect(codec.mean_.dtype == np.float32 and codec.mean_.shape == (24,), f"mean_ is {codec.mean_!r:.60}")
    estimator.spec_numbers_are_parameters(codec)


def check_scikit_learn(case: CodecCase, folder: Path) -> None:
    """It passes scikit-learn's own checks, and works in a pipeline."""
    estimator.works_with_scikit_learn(case.make(), case.exempt)
    estimator.works_in_a_pipeline(case.make())


def check_error(case: CodecCase, folder: Path) -> None:
    """What is decoded is as near as promised, in any number of dimensions."""
    for d in (1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 200, 384):
        x = vectors(100, 0, d)
        codec = case.make().fit(x)
        codes = codec.transform(x)
        expect(codes.dtype == np.uint8, f"codes are {codes.dtype}")
        expect(codes.shape == (100, codec.nbytes_per_vector_), f"codes have the shape {codes.shape} at d = {d}")
        decoded = codec.inverse_transform(codes)
        expect(decoded.dtype == np.float32 and decoded.shape == x.shape, f"decoded: {decoded.dtype} {decoded.shape}")
        _near(case, codec, x, decoded)


def check_rows(case: CodecCase, folder: Path) -> None:
    """Rows are laid out as kernels want them, and score as `inverse_transform` does, less the mean."""
    x = vectors(100, 0, 200)
    codec = case.make().fit(x)
    for n in (100, 1, 0):
        codes = codec.transform(x[:n])
        for rows in (codec.rows(codes), codec.fine_rows(codes)):
            for name, array in rows._asdict().items():
                expect(len(array) == n and array.flags.c_contiguous, f"{name} is {array.shape}, {array.strides}")
                expect(n == 0 or array.ctypes.data % ALIGNMENT == 0, f"{name} does not start on a cache line")
        decoded, q = codec.inverse_transform(codes), vectors(5, 2, 200)
        asked = codec.queries(q)
        expect(codec.maps_queries or asked is q, "queries are changed, but maps_queries is False")
        expect(asked.dtype == np.float32 and len(asked) == 5, f"queries are {asked.dtype} {asked.shape}")
        products = values_of(rows, asked.shape[1]).astype(np.float64) @ asked.T.astype(np.float64)
        expected = (decoded.astype(np.float64) - codec.mean_) @ q.T.astype(np.float64)
        if case.symmetric:
            coded = values_of(codec.fine_rows(codec.transform(q)), asked.shape[1]).astype(np.float64)
            expected = values_of(rows, asked.shape[1]).astype(np.float64) @ coded.T
        size = 1e-5 * float(np.abs(decoded).max(initial=0) + np.abs(codec.mean_).max()) * np.abs(q).sum(axis=1).max()
        expect(bool((np.abs(products - expected) <= size).all()), "rows score otherwise than inverse_transform")
        sliced = np.hstack([codes, codes])[:, : codes.shape[1]]
        same(codec.inverse_transform(codes), codec.inverse_transform(sliced), "codes must be contiguous")


def check_same_answer_however_asked(case: CodecCase, folder: Path) -> None:
    """A row has the same bytes alone, among others, from any memory, from several threads, from a second codec."""
    codec = case.make().fit(vectors(100, 0))
    estimator.same_however_asked(codec.transform, "transform")
    q = vectors(20, 3)
    same(codec.queries(q), np.concatenate([codec.queries(q[i : i + 1]) for i in range(20)]), "queries depend on others")
    x = vectors(100, 1)
    same(codec.transform(x), case.make().fit(vectors(100, 0)).transform(x), "fitting twice gives different codecs")


def check_bad_input(case: CodecCase, folder: Path) -> None:
    """Nonsense is answered with `InvalidInput`, and the codec still works afterwards."""
    codec = case.make().fit(vectors(100, 0))
    estimator.survives_bad_input(case.make, codec, {"transform": codec.transform})
    codes = codec.transform(vectors(3, 1))
    for bad in (codes[:, :-1], codes[0], codes.astype(np.int64), codes.astype(np.float32), None, "codes"):
        for method in (codec.inverse_transform, codec.rows, codec.fine_rows):
            raises(InvalidInput, f"{method.__name__}({bad!r:.60})", method, bad)


def check_storage(case: CodecCase, folder: Path) -> None:
    """`isometry.estimators.state` and `restore` carry it through a folder."""
    codec = case.make().fit(vectors(100, 0))
    estimator.survives_storage(codec, lambda each, x: each.transform(x), folder)
    estimator.survives_storage(codec, lambda each, x: each.inverse_transform(each.transform(x)), folder)


def check_extremes(case: CodecCase, folder: Path) -> None:
    """Constant, zero, tiny, huge and single vectors are encoded as well as others."""
    rng = np.random.default_rng(0)
    signs = np.sign(rng.standard_normal((50, 24))).astype(np.float32)
    for name, x in {
        "equal vectors": np.repeat(vectors(1, 0), 5, axis=0),
        "constant vectors": np.arange(5, dtype=np.float32)[:, None].repeat(24, axis=1),
        "zeros": np.zeros((5, 24), np.float32),
        "minus zeros": -np.zeros((5, 24), np.float32),
        "one row": vectors(1, 0),
        "tiny values": vectors(50, 0) * np.float32(1e-30),
        "subnormal values": vectors(50, 0) * np.float32(1e-40),
        "the largest values": signs * np.float32(case.largest),
        "one large value": np.eye(24, dtype=np.float32) * np.float32(case.largest),
    }.items():
        codec = case.make().fit(x)
        decoded = codec.inverse_transform(codec.transform(x))
        expect(bool(np.isfinite(decoded).all()), f"{name}: decoded to NaN or infinity")
        _near(case, codec, x, decoded, f"{name}: ")


def _near(case: CodecCase, codec: Any, x: Any, decoded: Any, what: str = "") -> None:
    exact = x.astype(np.float64)
    size = np.abs(exact - codec.mean_).max(axis=1)
    rounding = 4 * np.finfo(np.float32).eps * (size + np.abs(exact).max(axis=1)) + case.smallest
    error = np.abs(decoded - exact).max(axis=1)
    over = int(np.argmax(error - (case.error * size + rounding)))
    expect(
        bool(error[over] <= case.error * size[over] + rounding[over]),
        f"{what}a value of row {over} is off by {error[over]:.3g}; {case.error * size[over]:.3g} is promised",
    )
