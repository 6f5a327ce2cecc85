"""Token vectors: what is pooled, what a token is called, and that the static table gives each its own."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.encoders import load_encoder
from isometry.errors import InvalidInput, NotFound
from isometry.vectors import MultiVectors

from .objects import DenseObject, MultiObject

TEXTS = ["Owls hunt at night, and by day they sleep.", "", "one"]


@pytest.fixture(scope="module")
def static():
    pytest.importorskip("wordllama")
    return load_encoder("wordllama-tokens")


def test_a_static_text_is_its_tokens(static, wordllama):
    tokens = static.encode_document(TEXTS)
    assert static.token_strings(TEXTS, "document") == wordllama.tokens.strings(TEXTS)
    assert tokens.lengths.tolist() == [len(strings) for strings in wordllama.tokens.strings(TEXTS)]
    assert tokens.lengths[1] == 0
    assert np.allclose(np.linalg.norm(tokens.tokens, axis=1), 1)
    assert static.encode_query(TEXTS) == tokens
    again = static.encode_document(["hunt Owls"])[0]
    places = static.token_strings(["hunt Owls"], "document")[0]
    known = static.token_strings(TEXTS[:1], "document")[0]
    for place, name in enumerate(places):
        if name in known:
            assert np.array_equal(again[place], tokens[0][known.index(name)])
    assert static.fingerprint != wordllama.fingerprint


def test_pooling_keeps_a_share_of_a_documents_tokens(static):
    pytest.importorskip("sentence_transformers")
    full = static.encode_document(TEXTS)
    for factor in (1, 1.5, 2, 4.0, 1000):
        fewer = load_encoder(static, pool_factor=factor)
        kept = fewer.encode_document(TEXTS)
        assert kept.lengths.tolist() == [max(int(n // factor), min(n, 1)) for n in full.lengths.tolist()]
        assert np.allclose(np.linalg.norm(kept.tokens, axis=1), 1, atol=1e-5)
        assert fewer.encode_query(TEXTS) == static.encode_query(TEXTS)
        assert (fewer.fingerprint == static.fingerprint) == (factor == 1)
        assert (fewer.token_strings(TEXTS, "document") is None) == (factor > 1)
        assert fewer.token_strings(TEXTS, "query") == static.token_strings(TEXTS, "query")
    assert load_encoder(static, pool_factor=2).fingerprint == load_encoder(static, pool_factor=2.0).fingerprint
    assert load_encoder(load_encoder(static, pool_factor=4), pool_factor=2).fingerprint != static.fingerprint


def test_like_tokens_become_their_mean():
    pytest.importorskip("sentence_transformers")

    class Two(MultiObject):
        def encode_document(self, texts):
            return [np.array([[0, 0, 1], [1, 0.1, 0], [1, -0.1, 0], [0, 1, 0.1], [0, 1, -0.1]]) for _ in texts]

    kept = load_encoder(Two(), pool_factor=2).encode_document(["any"])
    assert isinstance(kept, MultiVectors)
    assert np.allclose(sorted(kept[0].tolist()), [[0, 0, 1], [0, 1, 0], [1, 0, 0]], atol=1e-6)


def test_a_models_pooling_is_that_of_sentence_transformers(token_vectors):
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    ours = load_encoder(token_vectors, precision="float32", pool_factor=3).encode_document(TEXTS[:1])[0]
    (theirs,) = token_vectors.encode_document(TEXTS[:1], token_pooling=HierarchicalTokenPooling(3))
    assert np.allclose(ours, theirs.numpy(), atol=1e-5)


def test_tokens_of_a_model_are_named_as_the_model_keeps_them(token_vectors):
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    encoder = load_encoder(token_vectors, precision="float32")
    names = encoder.token_strings(TEXTS, "document")
    assert names[2] == ["[CLS]", "one", "[SEP]"]
    assert [len(some) for some in names] == encoder.encode_document(TEXTS).lengths.tolist()
    assert encoder.token_strings([], "query") == []
    long = ["night " * 2000]
    assert len(encoder.token_strings(long, "document")[0]) == encoder.encode_document(long).lengths[0]

    first, _, *others = token_vectors
    skipping = MultiVectorEncoder(
        modules=[first, MultiVectorMask(skiplist_words=[","]), *others], device="cpu", prompts={"query": "asked: "}
    )
    encoder = load_encoder(skipping, precision="float32")
    assert "," not in encoder.token_strings(TEXTS, "document")[0]
    assert encoder.token_strings(["a, b"], "query")[0] == ["[CLS]", "asked", ":", "a", ",", "b", "[SEP]"]
    for role, encode in (("document", encoder.encode_document), ("query", encoder.encode_query)):
        assert [len(some) for some in encoder.token_strings(TEXTS, role)] == encode(TEXTS).lengths.tolist()


@pytest.mark.parametrize("bad", [0, 0.5, -1, True, "many", float("nan"), float("inf")])
def test_bad_factors_are_refused(bad):
    with pytest.raises(InvalidInput, match="pool_factor"):
        load_encoder(MultiObject(), pool_factor=bad)


def test_only_multi_vector_encoders_have_tokens(wordllama):
    with pytest.raises(InvalidInput, match="dense encoder"):
        load_encoder(DenseObject(), pool_factor=2)
    assert wordllama.token_strings(["owl"], "query") is None
    assert load_encoder(MultiObject()).token_strings(["owl"], "query") is None


def test_there_are_two_static_encoders():
    with pytest.raises(NotFound):
        load_encoder("wordllama-words", local_files_only=True)
