"""Every kind of encoder, against every promise: a new encoder is one more row."""

from __future__ import annotations

from functools import partial

import pytest

from isometry.encoders import DEFAULT_SPARSE_ENCODER, load_encoder
from isometry.testing import EncoderCase, check_encoder, encoder_checks

from .objects import DenseObject, MultiObject, SparseObject

CASES = [
    EncoderCase("dense object", DenseObject),
    EncoderCase("sparse object", SparseObject),
    EncoderCase("multi object", MultiObject),
    EncoderCase("wordllama", partial(load_encoder, "wordllama")),
    EncoderCase("wordllama tokens", partial(load_encoder, "wordllama-tokens")),
    EncoderCase("minilm openvino float32", partial(load_encoder, precision="float32", engine="openvino")),
    EncoderCase("minilm openvino bfloat16", partial(load_encoder, precision="bfloat16", engine="openvino"), 5e-3),
    EncoderCase("splade-tiny openvino", partial(load_encoder, DEFAULT_SPARSE_ENCODER, precision="float32"), 1e-4),
]
MODELS = {"minilm_model": 1e-5, "splade": 1e-4, "token_vectors": 1e-4}


@pytest.mark.parametrize("check", encoder_checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_conformance(case, check):
    check(case)


@pytest.mark.parametrize("name", MODELS)
def test_conformance_of_sentence_transformers_models(name, request):
    model = request.getfixturevalue(name)
    check_encoder(EncoderCase(name, partial(load_encoder, model, engine="torch", precision="float32"), MODELS[name]))


def test_the_suite_finds_a_broken_encoder():
    class Drifting(DenseObject):
        calls = 0

        def encode_document(self, texts):
            self.calls += 1
            return super().encode_document(texts) + self.calls

    with pytest.raises(AssertionError, match="differs"):
        check_encoder(EncoderCase("drifting", Drifting))
