"""The graph against sentence-transformers as the oracle, over every variant that a recipe may hold."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.encoders import load_encoder
from isometry.encoders.bert_recipe import recipe_of_folder, recipe_of_model
from isometry.errors import InvalidInput

torch = pytest.importorskip("torch")
pytest.importorskip("openvino")
sentence_transformers = pytest.importorskip("sentence_transformers")

TEXTS = ["a cat", "Graph neural networks pass messages along edges.", "", "naïve 日本 😀", "many words " * 300]


def tiny(folder, tokenizer_from, family="bert", pooling="mean", dense=None, normalize=True, prompts=None, act="gelu"):
    """Save a random model of the given make; returns it as sentence-transformers loads it back."""
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    config = AutoConfig.for_model(
        family, vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, hidden_act=act, max_position_embeddings=66, pad_token_id=1 if "roberta" in family else 0,
    )  # fmt: skip
    torch.manual_seed(7)
    plain = folder / "plain"
    AutoModel.from_config(config).save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    modules = [Transformer(str(plain), max_seq_length=64), Pooling(32, pooling_mode=pooling)]
    if dense is not None:
        modules.append(Dense(32, 8, activation_function=dense))
    if normalize:
        modules.append(Normalize())
    model = sentence_transformers.SentenceTransformer(modules=modules, device="cpu", prompts=prompts)
    model.save_pretrained(str(folder / "model"))
    return sentence_transformers.SentenceTransformer(str(folder / "model"), device="cpu")


VARIANTS = {
    "mean": {},
    "cls, not normalised": {"pooling": "cls", "normalize": False},
    "tanh head": {"dense": torch.nn.Tanh()},
    "linear head, tanh gelu": {"dense": torch.nn.Identity(), "act": "gelu_new"},
    "prompts": {"prompts": {"query": "ask: ", "document": "text: "}},
    "roberta": {"family": "roberta"},
    "xlm-roberta": {"family": "xlm-roberta", "pooling": "cls"},
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_equals_sentence_transformers(variant, tmp_path, minilm_folder):
    model = tiny(tmp_path, str(minilm_folder), **variant)
    by_path = load_encoder(tmp_path / "model", engine="openvino", precision="float32")
    by_object = load_encoder(model, engine="openvino", precision="float32")
    by_torch = load_encoder(model, engine="torch", precision="float32")
    assert by_path.fingerprint == by_object.fingerprint == by_torch.fingerprint
    for encoder in (by_path, by_object, by_torch):
        np.testing.assert_allclose(encoder.encode_query(TEXTS), model.encode_query(TEXTS), atol=2e-5)
        np.testing.assert_allclose(encoder.encode_document(TEXTS), model.encode_document(TEXTS), atol=2e-5)


def test_the_packaged_model_equals_sentence_transformers(minilm, minilm_model):
    np.testing.assert_allclose(minilm.encode_document(TEXTS), minilm_model.encode_document(TEXTS), atol=2e-5)


def test_bfloat16_keeps_direction(minilm_model):
    low = load_encoder(precision="bfloat16", engine="openvino").encode_document(TEXTS)
    assert (low * minilm_model.encode_document(TEXTS)).sum(1).min() > 0.9998


def test_other_makes_are_left_to_torch(tmp_path, minilm_folder):
    model = tiny(tmp_path, str(minilm_folder), pooling="max")
    assert recipe_of_model(model) is None
    assert recipe_of_folder(tmp_path / "model") is None
    assert load_encoder(tmp_path / "model", device="cpu").engine.startswith("torch")
    with pytest.raises(InvalidInput, match="openvino"):
        load_encoder(tmp_path / "model", engine="openvino")


def tiny_sparse(folder, tokenizer_from, strategy="max", prompts=None):
    """Save a random masked-language model with SPLADE's pooling; returns it as sentence-transformers loads it back."""
    from sentence_transformers.sparse_encoder.modules import SpladePooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=66, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(7)
    plain = folder / "plain"
    BertForMaskedLM(config).save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    transformer = Transformer(str(plain), transformer_task="fill-mask", max_seq_length=64)
    model = sentence_transformers.SparseEncoder(
        modules=[transformer, SpladePooling(strategy)], device="cpu", prompts=prompts
    )
    model.save_pretrained(str(folder / "model"))
    return sentence_transformers.SparseEncoder(str(folder / "model"), device="cpu")


@pytest.mark.parametrize("prompts", [None, {"query": "ask: ", "document": "text: "}])
def test_sparse_graphs_equal_sentence_transformers(prompts, tmp_path, minilm_folder):
    model = tiny_sparse(tmp_path, str(minilm_folder), prompts=prompts)
    texts = [text for text in TEXTS if text]
    encoders = [load_encoder(model, engine=engine, precision="float32") for engine in ("openvino", "torch")]
    encoders.append(load_encoder(tmp_path / "model", engine="openvino", precision="float32"))
    assert len({encoder.fingerprint for encoder in encoders}) == 1
    for encoder in encoders:
        for role in ("encode_query", "encode_document"):
            wanted = getattr(model, role)(texts, convert_to_tensor=True).to_dense().numpy()
            assert (wanted > 0).mean() > 0.01
            np.testing.assert_allclose(getattr(encoder, role)(texts).toarray(), wanted, atol=1e-4)


def test_a_masked_language_model_is_read_as_sentence_transformers_reads_it(tmp_path, minilm_folder):
    tiny_sparse(tmp_path, str(minilm_folder))
    model = sentence_transformers.SparseEncoder(str(tmp_path / "plain"), device="cpu")
    ours = load_encoder(tmp_path / "plain", kind="sparse", engine="openvino", precision="float32")
    assert ours.fingerprint == load_encoder(model).fingerprint
    wanted = model.encode_document(["a cat", "two dogs"], convert_to_tensor=True).to_dense().numpy()
    np.testing.assert_allclose(ours.encode_document(["a cat", "two dogs"]).toarray(), wanted, atol=1e-4)


def test_other_sparse_makes_are_left_to_torch(tmp_path, minilm_folder):
    model = tiny_sparse(tmp_path, str(minilm_folder), strategy="sum")
    assert recipe_of_model(model) is None
    assert recipe_of_folder(tmp_path / "model", "sparse") is None
    assert recipe_of_folder(tmp_path / "plain", "dense") is None
    assert load_encoder(tmp_path / "model", device="cpu").engine.startswith("torch")


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_last_layers_are_pooled_side_by_side(tmp_path, minilm_folder, pooling):
    model = tiny(tmp_path, str(minilm_folder), pooling=pooling)
    two = load_encoder(tmp_path / "model", engine="openvino", precision="float32", last_layers=2)
    one = load_encoder(tmp_path / "model", engine="openvino", precision="float32", last_layers=1)
    assert (one.dim, two.dim) == (32, 64)
    assert one.fingerprint == load_encoder(model, engine="openvino").fingerprint != two.fingerprint
    assert load_encoder(model, engine="openvino", last_layers=2).fingerprint == two.fingerprint
    texts = TEXTS[:2]
    inputs = model.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model.transformers_model(**inputs, output_hidden_states=True).hidden_states[-2:]
    mask = inputs["attention_mask"][:, :, None]
    pooled = [(x * mask).sum(1) / mask.sum(1) if pooling == "mean" else x[:, 0] for x in states]
    expected = torch.nn.functional.normalize(torch.cat(pooled, 1)).numpy()
    np.testing.assert_allclose(two.encode_document(texts), expected, atol=1e-5)


def test_layers_that_cannot_be_pooled_are_refused(tmp_path, minilm_folder):
    tiny(tmp_path, str(minilm_folder), dense=torch.nn.Tanh())
    for source, options in (
        (minilm_folder, {"last_layers": 7}),
        (minilm_folder, {"last_layers": 2, "engine": "torch"}),
        (tmp_path / "model", {"last_layers": 2}),
        ("wordllama", {"last_layers": 2}),
        (load_encoder("wordllama"), {"last_layers": 2}),
    ):
        with pytest.raises(InvalidInput, match="last_layers is"):
            load_encoder(source, **options)
    with pytest.raises(InvalidInput, match="last_layers"):
        load_encoder(minilm_folder, last_layers=0)
