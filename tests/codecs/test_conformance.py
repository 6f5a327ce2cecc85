"""Every codec, against every promise: a new codec is one more row."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.codecs import (
    LVQ,
    BFloat16,
    Binary,
    Float4,
    Float8,
    Float16,
    Float32,
    Int,
    ProductQuantizer,
    RaBitQ,
    RecurrentBinary,
    ResidualQuantizer,
)
from isometry.testing import CodecCase, check_codec, codec_checks

CASES = [
    CodecCase("LVQ4", lambda: LVQ(4), error=1 / 15),
    CodecCase("LVQ8", lambda: LVQ(8), error=1 / 255),
    CodecCase("LVQ4x4", lambda: LVQ(4, 4), error=1 / 15 / 15),
    CodecCase("LVQ4x8", lambda: LVQ(4, 8), error=1 / 15 / 255),
    CodecCase("LVQ8x4", lambda: LVQ(8, 4), error=1 / 255 / 15 * 1.01),
    CodecCase("LVQ8x8", lambda: LVQ(8, 8), error=1 / 255 / 255 * 1.1),
    CodecCase("Float16", Float16, error=2**-11, largest=65504, smallest=2**-25),
    CodecCase("BFloat16", BFloat16, error=2**-8),
    CodecCase("Float32", Float32, error=0),
    CodecCase("Float8", Float8, error=2**-4),
    CodecCase("Float8-e5m2", lambda: Float8("e5m2", scaled=False), error=2**-3, largest=57344, smallest=2**-17),
    CodecCase("Binary", Binary, error=1),
    CodecCase("Binary-rotated", lambda: Binary(rotate=True), error=2),
    CodecCase("Float4", Float4, error=1 / 6),
    CodecCase("Float4-global", lambda: Float4("global"), error=1),
    CodecCase("Float4-none", lambda: Float4("none"), error=1 / 3, largest=6, smallest=0.25),
    CodecCase("Int8", Int, error=1),
    CodecCase("Int4", lambda: Int(4), error=1),
    CodecCase("Int8-global", lambda: Int(ranges="global"), error=1),
    CodecCase("Int4-global", lambda: Int(4, ranges="global"), error=1),
    CodecCase("Int8-vector", lambda: Int(ranges="vector"), error=1 / 254),
    CodecCase("Int4-vector", lambda: Int(4, ranges="vector"), error=1 / 2),
    CodecCase("PQ1x8", lambda: ProductQuantizer(1), error=1e-3),
    CodecCase("PQ1x4", lambda: ProductQuantizer(1, 4), error=10),
    CodecCase("RVQ2", lambda: ResidualQuantizer(2), error=1e-3),
    CodecCase("RecurrentBinary1", lambda: RecurrentBinary(bits=1), error=40, symmetric=True),
    CodecCase("RecurrentBinary2", lambda: RecurrentBinary(40), error=40, symmetric=True),
    CodecCase("RecurrentBinary4", lambda: RecurrentBinary(70, 4), error=40, symmetric=True),
    CodecCase("RaBitQ1", RaBitQ, error=2.5),
    CodecCase("RaBitQ2", lambda: RaBitQ(2), error=1),
    CodecCase("RaBitQ4", lambda: RaBitQ(4), error=1 / 3),
    CodecCase("RaBitQ7", lambda: RaBitQ(7), error=1 / 25),
    CodecCase("RaBitQ8", lambda: RaBitQ(8), error=1 / 50),
]


@pytest.mark.parametrize("check", codec_checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_conformance(case, check, tmp_path):
    check(case, tmp_path)


def test_a_bad_codec_is_found_out(tmp_path):
    class Sloppy(LVQ):
        def _encode(self, x):
            return super()._encode(x + np.float32(0.01) * len(x))

    with pytest.raises(AssertionError, match="transform of Sloppy is not invariant"):
        check_codec(CodecCase("Sloppy", Sloppy, error=1 / 255), tmp_path)
