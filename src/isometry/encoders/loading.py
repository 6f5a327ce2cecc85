"""`load_encoder`: from a name, a folder or an object to an `Encoder`, on the fastest engine that keeps its quality."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from isometry.encoders.base import Encoder
from isometry.encoders.bert_recipe import recipe_fingerprint, recipe_of_folder, recipe_of_model
from isometry.encoders.fingerprints import changed, folder_weights, model_fingerprint, space_fingerprint
from isometry.encoders.object_runner import ObjectRunner, object_fingerprint
from isometry.encoders.openvino_runner import OpenVINORunner, cpu_has_bfloat16
from isometry.encoders.resolving import (
    DEFAULT_ENCODER,
    KINDS,
    carried_name,
    local_folder,
    package_folder,
    stored_kind,
)
from isometry.encoders.sentence_transformers_runner import (
    SentenceTransformersRunner,
    dim_of,
    is_sentence_transformers,
    kind_of,
    top_terms_of,
    torch_cpu_has_bfloat16,
)
from isometry.encoders.static_runner import StaticRunner
from isometry.encoders.text_encoder import TextEncoder
from isometry.encoders.weights import read_tensors
from isometry.errors import InvalidInput, MissingExtra, NotFound, check_choice, check_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isometry.encoders.base import Fingerprint, Kind
    from isometry.encoders.bert_recipe import BertRecipe

PRECISIONS = ("auto", "float32", "bfloat16")
ENGINES = ("auto", "openvino", "torch")
GPU_DRIVERS = ("/dev/nvidia0", "/dev/kfd", "/dev/dxg", "C:/Windows/System32/nvcuda.dll")
WORDLLAMA: dict[str, Kind] = {"wordllama": "dense", "wordllama-tokens": "multi"}
WORDLLAMA_TOKENS = 512


def load_encoder(
    source: Any = DEFAULT_ENCODER,
    *,
    precision: str = "auto",
    engine: str = "auto",
    kind: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    top_terms: int | None = None,
    pool_factor: float | None = None,
    last_layers: int = 1,
    name: str | None = None,
    local_files_only: bool = False,
    trust_remote_code: bool = False,
) -> Encoder:
    """Return an encoder for a model's name, its folder, or an object.

    Parameters
    ----------
    source : str, path or object
        - the name of any sentence-transformers model (dense, sparse or multi-vector). It is looked for as a folder, in
          an installed package that carries it, in the Hugging Face cache, and at last on the hub;
        - ``"splade-tiny"``: a small sparse model that a package carries (`DEFAULT_SPARSE_ENCODER`);
        - ``"wordllama"``: the static token table of the package `wordllama`, thousands of texts per second;
        - ``"wordllama-tokens"``: the same as a multi-vector encoder, in which a token's vector knows no context;
        - a SentenceTransformer, SparseEncoder or MultiVectorEncoder; its weights as they are now are what counts;
        - any object with ``encode_query`` and ``encode_document``; an `Encoder` comes back as it is.
    precision : {"auto", "float32", "bfloat16"}
        Of the matrix products; vectors are always float32. "auto" takes bfloat16 where the CPU has it, for dense models
        and for what runs in OpenVINO, else float32. Mean cosine to float32 is above .9999; the fingerprint is the same.
    engine : {"auto", "openvino", "torch"}
        "auto" runs BERT-like dense and SPLADE models in OpenVINO, without importing torch, unless there is a GPU;
        others in torch.
    kind : {"dense", "sparse", "multi"}, optional
        Of a model folder that does not say so itself.
    device : str, optional
        Of torch, for example "cpu" or "cuda"; a GPU is used where there is one.
    threads : int, optional
        CPU threads of OpenVINO; as many as cores by default. (torch has one setting per process, left alone.)
    top_terms : int, optional
        Of a sparse encoder: keep only so many terms of each text, the heaviest; of equal ones those in smaller columns.
        Part of the fingerprint.
    pool_factor : float, optional
        Of a multi-vector encoder: keep one vector for about so many tokens of a document, as `TextEncoder.pooling`
        does. Part of the fingerprint.
    last_layers : int, default 1
        Of a BERT-like dense encoder in OpenVINO: pool each of so many of its last layers and put these vectors side by
        side, for vectors so many times as long (the best of BERT without training: Devlin et al., NAACL 2019,
        arXiv:1810.04805, section 5.3). Part of the fingerprint.
    name : str, optional
        What the fingerprint is called; the model's name by default. For an object of your own put a version into it.
    local_files_only : bool
        Never look on the hub.
    trust_remote_code : bool
        Whether to run Python code that comes with the model.

    Returns
    -------
    Encoder

    Raises
    ------
    InvalidInput
        Not an encoder, or an option that is not one.
    NotFound
        No model of that name can be reached; the message lists where it was looked for.
    MissingExtra
        The packages that run the model are not installed.

    Examples
    --------
    >>> encoder = load_encoder("wordllama")
    >>> encoder.encode_document(["a cat", "two dogs"]).shape
    (2, 256)
    """
    precision, engine = check_choice("precision", precision, PRECISIONS), check_choice("engine", engine, ENGINES)
    if kind is not None:
        check_choice("kind", kind, KINDS.values())
    if threads is not None:
        check_range("threads", threads, 1)
    options = _Options(precision, engine, device, threads, check_range("last_layers", last_layers, 1))
    encoder: Encoder
    if isinstance(source, str | os.PathLike):
        source = os.fspath(source)
        if source in WORDLLAMA:
            options.refuse_others(source)
            encoder = _load_wordllama(source)
        else:
            encoder = _load_model(source, options, cast("Kind | None", kind), name, local_files_only, trust_remote_code)
    elif is_sentence_transformers(source):
        encoder = _wrap_model(source, options, name)
    elif isinstance(source, Encoder):
        options.refuse_others(repr(source))
        encoder = source
    else:
        options.refuse_others(repr(source))
        encoder = _wrap_object(source, name)
    if top_terms is None and pool_factor is None:
        return encoder
    less = encoder if isinstance(encoder, TextEncoder) else _wrap_object(encoder, name)
    if top_terms is not None:
        less = less.keeping(check_range("top_terms", top_terms, 1))
    return less if pool_factor is None else less.pooling(pool_factor)


def _wrap_object(source: Any, name: str | None) -> TextEncoder:
    if callable(getattr(source, "encode_query", None)) and callable(getattr(source, "encode_document", None)):
        runner = ObjectRunner(source)
        return TextEncoder(runner, object_fingerprint(source, runner, name))
    raise InvalidInput(
        f"{source!r:.80} of type {type(source).__name__} is no encoder; expected a model name, a folder, or an object "
        "with the methods encode_query and encode_document"
    )


class _Options:
    """How a model may be run, and the choices that follow."""

    def __init__(self, precision: str, engine: str, device: str | None, threads: int | None, last_layers: int) -> None:
        self.precision, self.engine, self.device, self.threads = precision, engine, device, threads
        self.last_layers = last_layers

    @property
    def may_use_openvino(self) -> bool:
        if self.engine == "openvino" and find_spec("openvino") is None:
            raise MissingExtra("encode", 'engine="openvino"', "openvino")
        if self.engine == "auto":
            return find_spec("openvino") is not None and self.device in (None, "cpu") and not _gpu_may_exist()
        return self.engine == "openvino"

    def openvino(self, recipe: BertRecipe, fingerprint: Fingerprint, top_terms: int | None = None) -> TextEncoder:
        if self.last_layers > 1:
            recipe = recipe.pooling_last(self.last_layers)
            fingerprint = changed(fingerprint, {"last_layers": self.last_layers})
        auto = "bfloat16" if self.precision == "auto" and cpu_has_bfloat16() else "float32"
        runner = OpenVINORunner(recipe, auto if self.precision == "auto" else self.precision, self.threads)
        return TextEncoder(runner, fingerprint, top_terms)

    def torch(self, model: Any) -> SentenceTransformersRunner:
        auto = self.precision == "auto" and kind_of(model) == "dense" and torch_cpu_has_bfloat16(model)
        return SentenceTransformersRunner(model, bfloat16=auto or self.precision == "bfloat16")

    def refuse_torch(self, what: str) -> None:
        """Raise where what is about to run in torch was asked for in OpenVINO."""
        if self.engine == "openvino":
            raise InvalidInput(
                f'engine is "openvino", but {what!r} is not a BERT-like dense or SPLADE model that OpenVINO can run '
                'here; use engine="torch" or "auto"'
            )
        self.refuse_others(what)

    def refuse_others(self, what: str) -> None:
        """Raise where an encoder that is no graph of ours was asked for its last layers."""
        if self.last_layers > 1:
            raise InvalidInput(
                f"last_layers is {self.last_layers}, but {what:.80} is not a BERT-like dense model that OpenVINO runs "
                "here; only of these layers are pooled side by side: leave last_layers out"
            )


def _load_model(
    source: str, options: _Options, kind: Kind | None, name: str | None, local_only: bool, trust: bool
) -> TextEncoder:
    folder, tried = local_folder(source)
    if folder is not None and options.may_use_openvino:
        found = recipe_of_folder(folder, kind or stored_kind(folder))
        if found is not None:
            return options.openvino(found[0], recipe_fingerprint(folder, name or source, *found))
    options.refuse_torch(source)
    model = _load_in_torch(source, folder, tried, kind, options.device, local_only, trust)
    runner = options.torch(model)
    fingerprint = model_fingerprint(model, name or source, runner.kind, runner.dim, folder)
    return TextEncoder(runner, fingerprint, top_terms_of(model))


def _wrap_model(model: Any, options: _Options, name: str | None) -> TextEncoder:
    origin, _ = local_folder(_origin_name(model))
    kind = kind_of(model)
    fingerprint = model_fingerprint(model, name or _origin_name(model), kind, dim_of(model), origin)
    if model.device.type == "cpu" and options.may_use_openvino:
        recipe = recipe_of_model(model)
        if recipe is not None:
            return options.openvino(recipe, fingerprint, top_terms_of(model))
    options.refuse_torch(type(model).__name__)
    return TextEncoder(options.torch(model), fingerprint, top_terms_of(model))


def _origin_name(model: Any) -> str:
    config = getattr(model.transformers_model, "config", None)
    path = getattr(config, "_name_or_path", "") or type(model).__name__
    return carried_name(path) or path


def _load_in_torch(
    source: str, folder: Path | None, tried: list[str], kind: Kind | None, device: str | None, local: bool, trust: bool
) -> Any:
    try:
        import sentence_transformers
    except ImportError:
        raise MissingExtra("encode", f"the encoder {source!r}", "sentence-transformers") from None
    local = local or folder is not None
    try:
        with _quiet():
            stored = stored_kind(folder) if folder is not None else _hub_kind(source, local)
            kind = kind or stored
            class_name = next(class_name for class_name, made in KINDS.items() if made == kind)
            model_class = getattr(sentence_transformers, class_name)
            where = source if folder is None else str(folder)
            return model_class(where, device=device, trust_remote_code=trust, local_files_only=local)
    except (OSError, ValueError, LookupError) as problem:
        if folder is not None:
            raise NotFound(
                f"{folder} can't be loaded as a sentence-transformers model: {problem}; "
                "expected the folder that model.save_pretrained() writes"
            ) from problem
        tried.append("the Hugging Face hub" + (" (switched off)" if local else f" ({type(problem).__name__})"))
        raise NotFound(
            f"there is no encoder {source!r}: looked in {'; '.join(tried)}. Check the name, or download the model on a "
            "machine with network and pass its folder"
        ) from problem


def _hub_kind(source: str, local_only: bool) -> Kind:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if local_only:
        raise FileNotFoundError(source)
    try:
        return stored_kind(Path(hf_hub_download(source, "config_sentence_transformers.json")).parent)
    except LocalEntryNotFoundError:  # no network: asking for every other file would take minutes
        raise
    except EntryNotFoundError:
        return "dense"


def _load_wordllama(name: str) -> TextEncoder:
    folder = package_folder("wordllama")
    if folder is None:
        raise MissingExtra("dev", f"the encoder {name!r}", "wordllama")
    runner = StaticRunner(
        next(iter(read_tensors(folder / "weights" / "l2_supercat_256.safetensors").values())),
        folder / "tokenizers" / "l2_supercat_tokenizer_config.json",
        WORDLLAMA_TOKENS,
        WORDLLAMA[name],
    )
    fingerprint = space_fingerprint(
        name,
        kind=runner.kind,
        dim=runner.dim,
        modules=[{"type": "StaticEmbedding"}, {"type": "Normalize"}],
        prompts={"query": "", "document": ""},
        weights=folder_weights(folder / "weights"),
    )
    return TextEncoder(runner, fingerprint)


def _gpu_may_exist() -> bool:
    """Whether torch may find an accelerator: answered by drivers' files, as importing torch to ask takes seconds."""
    if find_spec("torch") is None:
        return False
    return sys.platform == "darwin" or any(Path(driver).exists() for driver in GPU_DRIVERS)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal while a model loads, and leave its settings as they were."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
