"""What is needed to run a BERT-like dense encoder without torch, read from its folder or from the loaded model."""

from __future__ import annotations

import json
from dataclasses import dataclass
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

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from isometry.encoders.base import Fingerprint

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


@dataclass(frozen=True)
class DenseHead:
    """A linear map after pooling: ``activation(x @ weight.T + bias)``."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    activation: str


@dataclass(frozen=True)
class BertRecipe:
    """A BERT-like encoder with mean or first-token pooling, as plain values and arrays.

    Parameters
    ----------
    tensors : mapping of str to float32 array
        Weights under transformers' names (``embeddings...``, ``encoder.layer.0...``).
    layers, heads : int
    layer_norm_eps : float
    gelu : {"erf", "tanh"}
    first_position : int
        Row of the position table that the first token gets: 0, or 2 in the RoBERTa family.
    pooling : {"mean", "cls"}
    denses : tuple of DenseHead
    normalize : bool
        Whether the vectors are scaled to length 1.
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
    pooling: str
    denses: tuple[DenseHead, ...]
    normalize: bool
    prompts: dict[str, str]
    max_tokens: int
    tokenizer: str

    @property
    def dim(self) -> int:
        """Number of dimensions of the vectors."""
        return (self.denses[-1].weight if self.denses else self.tensors["embeddings.word_embeddings.weight"]).shape[
            0 if self.denses else 1
        ]


@dataclass(frozen=True)
class Part:
    """One module of a sentence-transformers pipeline."""

    type: str
    config: dict[str, Any]
    tensors: Mapping[str, NDArray[np.float32]]


def recipe_of_folder(folder: Path) -> tuple[BertRecipe, list[Part]] | None:
    """Read a sentence-transformers folder without importing torch; None where the model is of another make: O(1) reads.

    Raises
    ------
    Damaged
        A weights file that is not what it says.
    """
    if not all((folder / name).is_file() for name in ("modules.json", "config.json", "tokenizer.json")):
        return None
    settings = _json(folder / "config_sentence_transformers.json")
    if settings.get("model_type", "SentenceTransformer") != "SentenceTransformer" or settings.get("truncate_dim"):
        return None
    parts = [
        _stored_part(folder / module["path"], module["type"].rpartition(".")[2])
        for module in json.loads((folder / "modules.json").read_bytes())
    ]
    config = _json(folder / "config.json")
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
        kind="dense",
        dim=recipe.dim,
        modules=[module_entry(part.type, part.config) for part in parts],
        prompts=recipe.prompts,
        weights=folder_weights(folder),
    )


def _recipe(
    parts: list[Part], config: dict[str, Any], *, max_tokens: Any, prompts: dict[str, str], tokenizer: str
) -> BertRecipe | None:
    family = FAMILIES.get(config.get("model_type", ""))
    types = [part.type for part in parts]
    middle = types[2:-1] if types[-1:] == ["Normalize"] else types[2:]
    if family is None or types[:2] != ["Transformer", "Pooling"] or set(middle) - {"Dense"}:
        return None
    transformer, pooling = parts[0], module_entry("Pooling", parts[1].config)
    prefix, skips = family
    tensors = {name.removeprefix(prefix): values for name, values in transformer.tensors.items()}
    denses = [_dense(part) for part in parts[2 : 2 + len(middle)]]
    if (
        any(transformer.config.get(key, default) != default for key, default in TRANSFORMER_DEFAULTS.items())
        or config.get("hidden_act") not in GELU
        or config.get("position_embedding_type", "absolute") != "absolute"
        or config.get("is_decoder")
        or pooling.get("pooling_mode") not in ("mean", "cls")
        or not (pooling["include_prompt"] or not any(prompts.values()))
        or any(dense is None for dense in denses)
        or not _complete(tensors, config["num_hidden_layers"])
    ):
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
        pooling=pooling["pooling_mode"],
        denses=tuple(dense for dense in denses if dense is not None),
        normalize=types[-1] == "Normalize",
        prompts=prompts,
        max_tokens=int(min(max_tokens or positions, positions)),
        tokenizer=tokenizer,
    )


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
