"""Fingerprints of sentence-transformers models: from their folder where possible, else from the loaded model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isometry.encoders.base import Fingerprint
from isometry.encoders.cache import cache_folder, read_note, write_note
from isometry.encoders.weights import combine, safetensors_digests, tensor_digest

if TYPE_CHECKING:
    from isometry.encoders.base import Kind

# What a module does beyond its weights. Keys left out change where values are kept, not what they are.
SETTINGS = {
    "Transformer": (),
    "Pooling": ("pooling_mode", "include_prompt"),
    "Normalize": (),
    "StaticEmbedding": (),
    "Dense": ("activation_function",),
    "SpladePooling": ("pooling_strategy", "activation_function"),
    "MultiVectorMask": ("skiplist_words", "skiplist_tasks", "keep_only_token_ids"),
}
DEFAULTS = {"include_prompt": True}
POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def module_entry(type_name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return a module's type and the settings that change vectors, in one spelling for all versions of its file."""
    name = type_name.rpartition(".")[2]
    config = DEFAULTS | config
    if name == "Pooling" and "pooling_mode" not in config:
        modes = [mode for flag, mode in POOLING_FLAGS.items() if config.get(flag)]
        config["pooling_mode"] = modes[0] if len(modes) == 1 else modes
    keys = SETTINGS.get(name, sorted(key for key in config if not key.startswith("_")))
    return {"type": name, **{key: config[key] for key in keys if config.get(key) is not None}}


def space_fingerprint(
    name: str, *, kind: Kind, dim: int, modules: list[dict[str, Any]], prompts: dict[str, str], weights: str
) -> Fingerprint:
    """Return the fingerprint of a space from the canonical JSON of what defines it."""
    space = {"kind": kind, "dim": dim, "modules": modules, "prompts": prompts, "weights": weights}
    canonical = json.dumps(space, sort_keys=True, separators=(",", ":"), default=list)
    return Fingerprint(name, hashlib.sha256(canonical.encode()).hexdigest())


def folder_weights(folder: Path) -> frozenset[str] | None:
    """Return the digests of all floating-point tensors of a model folder, None where they are not in safetensors.

    Reads every byte of the weights once (about 1.5 GB/s); the result is cached under the files' paths, sizes and
    modification times.
    """
    files = sorted(folder.rglob("*.safetensors"))
    if not files or any(file.name.startswith("adapter_") for file in files):
        return None
    state = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    note = cache_folder() / "weights" / (hashlib.sha256(json.dumps(state).encode()).hexdigest() + ".json")
    known = read_note(note)
    if isinstance(known, list) and all(isinstance(digest, str) for digest in known):
        return frozenset(known)
    digests = frozenset(digest for file in files for digest in safetensors_digests(file))
    write_note(note, sorted(digests))
    return digests


def model_fingerprint(model: Any, name: str, kind: Kind, dim: int) -> Fingerprint:
    """Return the fingerprint of a loaded sentence-transformers model.

    Where every weight of the model occurs in the folder it was loaded from, the folder's digest is taken, so that a
    name, a path and an object loaded from it agree even if the folder holds tensors that this kind of model ignores.
    """
    digests = {_digest(values) for values in model.state_dict().values() if values.is_floating_point()}
    origin = origin_of(model)
    stored = folder_weights(origin) if origin is not None else None
    if stored is not None and digests <= stored:
        digests = set(stored)
    return space_fingerprint(
        name,
        kind=kind,
        dim=dim,
        modules=[module_entry(type(module).__name__, _config(module)) for module in model],
        prompts=effective_prompts(model.prompts),
        weights=combine(digests),
    )


def effective_prompts(prompts: dict[str, str]) -> dict[str, str]:
    """Return what is really put before queries and documents, by sentence-transformers' own order of names."""
    document = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), "")
    return {"query": prompts.get("query") or "", "document": document or ""}


def origin_of(model: Any) -> Path | None:
    """Return the folder a sentence-transformers model was loaded from, if it still exists."""
    config = getattr(model.transformers_model, "config", None)
    path = Path(getattr(config, "_name_or_path", "") or "?")
    return path if path.is_dir() else None


def _digest(values: Any) -> str:
    return tensor_digest(values.detach().float().cpu().numpy())


def _config(module: Any) -> dict[str, Any]:
    return module.get_config_dict() if hasattr(module, "get_config_dict") else {}
