"""Fingerprints of sentence-transformers models, the same from folder and loaded model, and of what is made of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isometry.cache import cache_folder, read_note, write_note
from isometry.encoders.base import Fingerprint
from isometry.encoders.weights import combine, read_tensors, tensor_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from isometry.encoders.base import Kind

# What a module does beyond its weights. Keys left out change where values are kept, not what they are.
SETTINGS: dict[str, tuple[str, ...]] = {
    "Transformer": (),
    "Pooling": ("pooling_mode", "include_prompt"),
    "Normalize": (),
    "StaticEmbedding": (),
    "Dense": ("activation_function",),
    "SpladePooling": ("pooling_strategy", "activation_function"),
    "MultiVectorMask": ("skiplist_words", "skiplist_tasks", "keep_only_token_ids"),
}
DEFAULTS = {"Pooling": {"include_prompt": True}}
POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def changed(full: Fingerprint, changes: dict[str, int | str]) -> Fingerprint:
    """Return the fingerprint of a space that is made of another one's model by settings."""
    for name, value in changes.items():
        full = Fingerprint(full.name, hashlib.sha256(f"{full.digest} {name}={value}".encode()).hexdigest())
    return full


def module_entry(type_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a module's type and the settings that change vectors, in one spelling for all versions of its file."""
    name = type_name.rpartition(".")[2]
    settings = DEFAULTS.get(name, {}) | dict(config)
    if name == "Pooling" and "pooling_mode" not in settings:
        modes = [mode for flag, mode in POOLING_FLAGS.items() if settings.get(flag)]
        settings["pooling_mode"] = modes[0] if len(modes) == 1 else modes
    keys = SETTINGS.get(name, sorted(key for key in settings if not key.startswith("_")))
    return {"type": name, **{key: settings[key] for key in keys if settings.get(key) is not None}}


def effective_prompts(prompts: Mapping[str, str | None]) -> dict[str, str]:
    """Return what sentence-transformers 6 really puts before queries and documents.

    Its embedding classes always have the prompts ``query`` and ``document``, empty unless stored.
    """
    return {role: prompts.get(role) or "" for role in ("query", "document")}


def space_fingerprint(
    name: str,
    *,
    kind: Kind,
    dim: int,
    modules: list[dict[str, Any]],
    prompts: dict[str, str],
    weights: Iterable[str],
) -> Fingerprint:
    """Return the fingerprint of a space: the SHA-256 of the canonical JSON of what defines it."""
    space = {"kind": kind, "dim": dim, "modules": modules, "prompts": prompts, "weights": combine(weights)}
    canonical = json.dumps(space, sort_keys=True, separators=(",", ":"), default=list)
    return Fingerprint(name, hashlib.sha256(canonical.encode()).hexdigest())


def folder_weights(folder: Path) -> frozenset[str]:
    """Return the digests of all floating-point tensors in the safetensors files of a model folder.

    Reads every byte of the weights once (about 1.5 GB/s); the result is cached under the files' paths, sizes and
    modification times.
    """
    files = sorted(folder.rglob("*.safetensors"))
    state = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    note = cache_folder() / "weights" / (hashlib.sha256(json.dumps(state).encode()).hexdigest() + ".json")
    known = read_note(note)
    if isinstance(known, list) and all(isinstance(digest, str) for digest in known):
        return frozenset(known)
    digests = frozenset(tensor_digest(values) for file in files for values in read_tensors(file).values())
    write_note(note, sorted(digests))
    return digests


def model_fingerprint(model: Any, name: str, kind: Kind, dim: int, origin: Path | None = None) -> Fingerprint:
    """Return the fingerprint of a loaded sentence-transformers model: O(weights).

    Where every weight of the model occurs in `origin`, the folder it was loaded from, the folder's digests are taken,
    so that a name, a path and an object agree even if the folder holds tensors that this kind of model ignores.
    """
    digests = frozenset(
        tensor_digest(values.detach().float().cpu().numpy())
        for values in model.state_dict().values()
        if values.is_floating_point()
    )
    origin = origin or loaded_from(model)
    stored = folder_weights(origin) if origin is not None else frozenset()
    return space_fingerprint(
        name,
        kind=kind,
        dim=dim,
        modules=[module_entry(type(module).__name__, module_config(module)) for module in model],
        prompts=effective_prompts(model.prompts),
        weights=stored if digests <= stored else digests,
    )


def loaded_from(model: Any) -> Path | None:
    """Return the folder that a sentence-transformers model says it was loaded from, if it is one."""
    path = getattr(getattr(model.transformers_model, "config", None), "_name_or_path", "")
    return Path(path) if path and Path(path).is_dir() else None


def module_config(module: Any) -> dict[str, Any]:
    """Return a module's own settings, none where it does not tell."""
    return module.get_config_dict() if hasattr(module, "get_config_dict") else {}
