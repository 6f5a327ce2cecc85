"""What is needed to run a BERT-like dense or sparse encoder without torch, read from its folder or the loaded model."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.encoders.fingerprints import (
    effective_prompts,
    folder_weights,
    module_config,
    module_entry,
    space_fingerprint,
)
from isometry.encoders.weights import read_tensors
from isometry.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from isometry.encoders.base import Fingerprint, Kind

GELU = {"gelu": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
# model type -> (prefix of its tensors' names in a checkpoint with a head, positions skipped at the table's start)
FAMILIES = {"bert": ("bert.", False), "roberta": ("roberta.", True), "xlm-roberta": ("roberta.", True)}
TRANSFORMER_DEFAULTS: dict[str, Any] = {
    "do_lower_case": False,
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
ACTIVATIONS = ("Identity", "Tanh")
# A masked-language model that gives its scores of terms for every token, and how SPLADE makes one vector of them.
TERM_TRANSFORMER: dict[str, Any] = {
    "do_lower_case": False,
    "transformer_task": "fill-mask",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "module_output_name": "token_embeddings",
}
TERM_POOLING = {"pooling_strategy": "max", "activation_function": "relu"}
TERM_TENSORS = (
    "transform.dense.weight",
    "transform.dense.bias",
    "transform.LayerNorm.weight",
    "transform.LayerNorm.bias",
)
CLASSES: dict[Kind, str] = {"dense": "SentenceTransformer", "sparse": "SparseEncoder"}


@dataclass(frozen=True)
class DenseHead:
    """A linear map after pooling: ``activation(x @ weight.T + bias)``."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    activation: str


@dataclass(frozen=True)
class PooledHead:
    """One dense vector of a text's token vectors.

    Parameters
    ----------
    pooling : {"mean", "cls"}
    denses : tuple of DenseHead
    normalize : bool
        Whether the vectors are scaled to length 1.
    last_layers : int
        Layers whose token vectors are pooled, each by itself: their vectors come side by side.
    """

    pooling: str
    denses: tuple[DenseHead, ...]
    normalize: bool
    last_layers: int = 1


@dataclass(frozen=True)
class TermHead:
    """The largest score of every term over a text's tokens, by a masked-language model's head (SPLADE).

    Parameters
    ----------
    transform, norm : (array, array)
        Weight and bias of the linear map and of the layer norm before the vocabulary.
    table : (terms, width) float32
    bias : (terms,) float32
    """

    transform: tuple[NDArray[np.float32], NDArray[np.float32]]
    norm: tuple[NDArray[np.float32], NDArray[np.float32]]
    table: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class BertRecipe:
    """A BERT-like encoder with its head, as plain values and arrays.

    Parameters
    ----------
    tensors : mapping of str to float32 array
        Weights under transformers' names (``embeddings...``, ``encoder.layer.0...``).
    layers, heads : int
    layer_norm_eps : float
    gelu : {"erf", "tanh"}
    first_position : int
        Row of the position table that the first token gets: 0, or 2 in the RoBERTa family.
    head : PooledHead or TermHead
        What makes a dense or a sparse vector of the token vectors.
    prompts : dict
        Text put before queries and documents.
    max_tokens : int
    tokenizer : str
        The JSON of ``tokenizer.json``.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    layers: int
    heads: int
    layer_norm_eps: float
    gelu: str
    first_position: int
    head: PooledHead | TermHead
    prompts: dict[str, str]
    max_tokens: int
    tokenizer: str

    @property
    def dim(self) -> int:
        """Number of dimensions of the vectors."""
        if isinstance(self.head, TermHead):
            return len(self.head.table)
        if self.head.denses:
            return len(self.head.denses[-1].weight)
        return self.head.last_layers * self.tensors["embeddings.word_embeddings.weight"].shape[1]

    def pooling_last(self, layers: int) -> BertRecipe:
        """Return the same encoder with the vectors of its last `layers` side by side, before they are scaled.

        Raises
        ------
        InvalidInput
            It has fewer layers, is sparse, or maps the vector of its last layer by a learned matrix.
        """
        if not isinstance(self.head, PooledHead) or self.head.denses or layers > self.layers:
            raise InvalidInput(
                f"last_layers is {layers}; expected at most {self.layers}, the layers of this model, and a dense one "
                "without a linear map behind its pooling: leave last_layers out"
            )
        return replace(self, head=replace(self.head, last_layers=layers))

    @property
    def kind(self) -> Kind:
        """Shape of the vectors."""
        return "sparse" if isinstance(self.head, TermHead) else "dense"


@dataclass(frozen=True)
class Part:
    """One module of a sentence-transformers pipeline."""

    type: str
    config: dict[str, Any]
    tensors: Mapping[str, NDArray[np.float32]]


def recipe_of_folder(folder: Path, kind: Kind = "dense") -> tuple[BertRecipe, list[Part]] | None:
    """Read a sentence-transformers folder without importing torch; None where the model is of another make: O(1) reads.

    A folder of a masked-language model without sentence-transformers' files, read as a sparse encoder, is one with
    SPLADE's pooling, as sentence-transformers itself takes it.

    Raises
    ------
    Damaged
        A weights file that is not what it says.
    """
    if not all((folder / name).is_file() for name in ("config.json", "tokenizer.json")):
        return None
    settings = _json(folder / "config_sentence_transformers.json")
    if settings.get("model_type", CLASSES.get(kind)) != CLASSES.get(kind) or settings.get("truncate_dim"):
        return None
    config = _json(folder / "config.json")
    parts = _stored_parts(folder, kind, config)
    if not parts:
        return None
    limit = _json(folder / "tokenizer_config.json").get("model_max_length")
    recipe = _recipe(
        parts,
        config,
        max_tokens=parts[0].config.get("max_seq_length") or limit,
        prompts=effective_prompts(settings.get("prompts") or {}),
        tokenizer=(folder / "tokenizer.json").read_text(encoding="utf-8"),
    )
    return None if recipe is None else (recipe, parts)


def recipe_of_model(model: Any) -> BertRecipe | None:
    """Take the recipe and a copy of the weights from a loaded SentenceTransformer; None where it is another make."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    config = getattr(model.transformers_model, "config", None)
    if backend is None or config is None or getattr(model, "truncate_dim", None):
        return None
    parts = [
        Part(type(module).__name__, module_config(module), _arrays(module.state_dict(), strip="model."))
        for module in model
    ]
    return _recipe(
        parts,
        config.to_dict(),
        max_tokens=model.max_seq_length,
        prompts=effective_prompts(model.prompts),
        tokenizer=backend.to_str(),
    )


def recipe_fingerprint(folder: Path, name: str, recipe: BertRecipe, parts: list[Part]) -> Fingerprint:
    """Return the fingerprint of a folder's model; equal to that of the model loaded by sentence-transformers."""
    return space_fingerprint(
        name,
        kind=recipe.kind,
        dim=recipe.dim,
        modules=[module_entry(part.type, part.config) for part in parts],
        prompts=recipe.prompts,
        weights=folder_weights(folder),
    )


def _recipe(
    parts: list[Part], config: dict[str, Any], *, max_tokens: Any, prompts: dict[str, str], tokenizer: str
) -> BertRecipe | None:
    family = FAMILIES.get(config.get("model_type", ""))
    if family is None:
        return None
    prefix, skips = family
    tensors = {_current_name(name.removeprefix(prefix)): values for name, values in parts[0].tensors.items()}
    if (
        config.get("hidden_act") not in GELU
        or config.get("position_embedding_type", "absolute") != "absolute"
        or config.get("is_decoder")
        or not _complete(tensors, config["num_hidden_layers"])
    ):
        return None
    head = _term_head(parts, tensors) or _pooled_head(parts, prompts)
    if head is None:
        return None
    first = config["pad_token_id"] + 1 if skips else 0
    positions = len(tensors["embeddings.position_embeddings.weight"]) - first
    return BertRecipe(
        tensors=tensors,
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        layer_norm_eps=config["layer_norm_eps"],
        gelu=GELU[config["hidden_act"]],
        first_position=first,
        head=head,
        prompts=prompts,
        max_tokens=int(min(max_tokens or positions, positions)),
        tokenizer=tokenizer,
    )


def _pooled_head(parts: list[Part], prompts: dict[str, str]) -> PooledHead | None:
    types = [part.type for part in parts]
    middle = types[2:-1] if types[-1:] == ["Normalize"] else types[2:]
    if types[:2] != ["Transformer", "Pooling"] or set(middle) - {"Dense"}:
        return None
    pooling = module_entry("Pooling", parts[1].config)
    denses = tuple(dense for part in parts[2 : 2 + len(middle)] if (dense := _dense(part)) is not None)
    if (
        _differs(parts[0].config, TRANSFORMER_DEFAULTS)
        or pooling.get("pooling_mode") not in ("mean", "cls")
        or not (pooling["include_prompt"] or not any(prompts.values()))
        or len(denses) < len(middle)
    ):
        return None
    return PooledHead(pooling["pooling_mode"], denses, types[-1] == "Normalize")


def _term_head(parts: list[Part], tensors: Mapping[str, NDArray[np.float32]]) -> TermHead | None:
    if [part.type for part in parts] != ["Transformer", "SpladePooling"]:
        return None
    found = {name.removeprefix("cls.predictions."): values for name, values in tensors.items()}
    bias = found.get("bias", found.get("decoder.bias"))
    if (
        _differs(parts[0].config, TERM_TRANSFORMER)
        or parts[0].config.get("transformer_task") != TERM_TRANSFORMER["transformer_task"]
        or _differs(parts[1].config, TERM_POOLING)
        or bias is None
        or not all(name in found for name in TERM_TENSORS)
    ):
        return None
    weight, shift, norm_weight, norm_shift = (found[name] for name in TERM_TENSORS)
    table = found.get("decoder.weight", tensors["embeddings.word_embeddings.weight"])
    return TermHead((weight, shift), (norm_weight, norm_shift), table, bias)


def _differs(config: dict[str, Any], defaults: Mapping[str, Any]) -> bool:
    return any(config.get(key, default) != default for key, default in defaults.items())


def _current_name(name: str) -> str:
    """Return a tensor's name as it is spelled today: the first BERT checkpoints have TensorFlow's names of norms."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _dense(part: Part) -> DenseHead | None:
    activation = str(part.config.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    weight = part.tensors.get("linear.weight")
    if weight is None or activation not in ACTIVATIONS:
        return None
    return DenseHead(weight, part.tensors.get("linear.bias"), activation)


def _complete(tensors: Mapping[str, Any], layers: int) -> bool:
    tables = ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm")
    linears = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    )
    needed = [f"embeddings.{table}.weight" for table in tables] + ["embeddings.LayerNorm.bias"]
    needed += [
        f"encoder.layer.{i}.{name}.{kind}" for i in range(layers) for name in linears for kind in ("weight", "bias")
    ]
    return all(name in tensors for name in needed)


def _stored_parts(folder: Path, kind: Kind, config: dict[str, Any]) -> list[Part]:
    if (folder / "modules.json").is_file():
        return [
            _stored_part(folder / module["path"], module["type"].rpartition(".")[2])
            for module in json.loads((folder / "modules.json").read_bytes())
        ]
    if kind == "sparse" and any(name.endswith("ForMaskedLM") for name in config.get("architectures") or []):
        transformer = _stored_part(folder, "Transformer")
        return [replace(transformer, config=TERM_TRANSFORMER), Part("SpladePooling", dict(TERM_POOLING), {})]
    return []


def _stored_part(folder: Path, name: str) -> Part:
    config = _json(folder / ("sentence_bert_config.json" if name == "Transformer" else "config.json"))
    weights = folder / "model.safetensors"
    return Part(name, config, read_tensors(weights) if weights.is_file() else {})


def _arrays(tensors: Mapping[str, Any], strip: str) -> dict[str, NDArray[np.float32]]:
    return {
        name.removeprefix(strip): np.array(values.detach().float().cpu().numpy())
        for name, values in tensors.items()
        if values.is_floating_point()
    }


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes()) if path.is_file() else {}
