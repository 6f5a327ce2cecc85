from __future__ import annotations

import json
import subprocess
import sys

import pytest

from isometry.encoders import Fingerprint, load_encoder
from isometry.encoders.fingerprints import module_entry
from isometry.errors import InvalidInput

DIGEST = "0123456789abcdef" * 4


def test_identity_is_the_digest_not_the_name():
    assert Fingerprint("a", DIGEST) == Fingerprint("b", DIGEST)
    assert hash(Fingerprint("a", DIGEST)) == hash(Fingerprint("b", DIGEST))
    assert Fingerprint("a", DIGEST) != Fingerprint("a", DIGEST[::-1])


@pytest.mark.parametrize(
    "stored", [None, {}, {"name": "a"}, {"name": "", "digest": DIGEST}, {"name": "a", "digest": "x"}]
)
def test_what_is_stored_wrong_is_refused(stored):
    with pytest.raises(InvalidInput):
        Fingerprint.from_dict(stored)


def test_golden():
    """Collections on disk hold these; a change makes them unreadable."""
    assert load_encoder("wordllama").fingerprint.digest[:12] == "32603af2f0c1"


def test_golden_of_the_default(minilm):
    assert minilm.fingerprint.digest[:12] == "0eb06e771243"


def test_golden_of_the_sparse_default():
    pytest.importorskip("cognition")
    assert load_encoder("splade-tiny").fingerprint.digest[:12] == "65c8d0b11dd4"
    assert load_encoder("splade-tiny", top_terms=64).fingerprint.digest[:12] == "69cb1e498a4a"


def test_same_by_name_path_object_engine_precision_and_process(minilm, minilm_folder, minilm_model, tmp_path):
    minilm_model.save_pretrained(str(tmp_path))
    code = "from isometry.encoders import load_encoder; print(load_encoder().fingerprint.digest)"
    digests = {
        minilm.fingerprint.digest,
        load_encoder(minilm_folder, precision="bfloat16").fingerprint.digest,
        load_encoder(minilm_model).fingerprint.digest,
        load_encoder(minilm_model, engine="torch").fingerprint.digest,
        load_encoder("all-MiniLM-L6-v2", engine="torch", device="cpu").fingerprint.digest,
        load_encoder(tmp_path).fingerprint.digest,
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip(),
    }
    assert len(digests) == 1


def test_weights_prompts_and_modules_count(minilm_model, minilm_folder):
    from sentence_transformers import SentenceTransformer

    digests = {load_encoder(minilm_model).fingerprint.digest}
    changed = SentenceTransformer(str(minilm_folder), device="cpu")
    changed.prompts["query"] = "query: "
    digests.add(load_encoder(changed).fingerprint.digest)
    changed.prompts["query"] = ""
    changed[0].model.encoder.layer[0].output.dense.bias.data[0] += 1e-4
    digests.add(load_encoder(changed).fingerprint.digest)
    digests.add(load_encoder(SentenceTransformer(modules=list(minilm_model)[:2], device="cpu")).fingerprint.digest)
    assert len(digests) == 4


def test_old_and_new_spellings_of_pooling_agree():
    old = {"word_embedding_dimension": 384, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    new = {"embedding_dimension": 384, "pooling_mode": "mean", "include_prompt": True}
    assert module_entry("sentence_transformers.models.Pooling", old) == module_entry("Pooling", new)


def test_the_cache_is_only_a_cache(minilm, own_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("ISOMETRY_CACHE", str(tmp_path))
    first = load_encoder().fingerprint
    (note,) = (tmp_path / "weights").iterdir()
    assert load_encoder().fingerprint == first
    for content in ("", "{", json.dumps({"a": 1})):
        note.write_text(content)
        assert load_encoder().fingerprint == first
    monkeypatch.setenv("ISOMETRY_CACHE", "/dev/null/nowhere")
    assert load_encoder().fingerprint == first
