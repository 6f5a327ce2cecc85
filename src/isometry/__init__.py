"""Isometry: keep the meaning, drop the bytes.

The names below are loaded when they are first used, so ``import isometry`` costs a few milliseconds and a program pays
for the rooms it enters only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from isometry._version import __version__

if TYPE_CHECKING:
    from isometry import (
        codecs,
        collections,
        encoders,
        errors,
        evaluation,
        indexes,
        learning,
        rerank,
        systems,
        testing,
        transforms,
        tuning,
        vectors,
    )
    from isometry.collections import Collection, Hits, create, open
    from isometry.encoders import load_encoder
    from isometry.errors import IsometryError
    from isometry.indexes import index_from_spec, load_index
    from isometry.tuning import tune

__all__ = [
    "Collection",
    "Hits",
    "IsometryError",
    "__version__",
    "codecs",
    "collections",
    "create",
    "encoders",
    "errors",
    "evaluation",
    "index_from_spec",
    "indexes",
    "learning",
    "load_encoder",
    "load_index",
    "open",
    "rerank",
    "systems",
    "testing",
    "transforms",
    "tune",
    "tuning",
    "vectors",
]

_ROOMS = (
    "codecs",
    "collections",
    "encoders",
    "errors",
    "evaluation",
    "indexes",
    "learning",
    "rerank",
    "systems",
    "testing",
    "transforms",
    "tuning",
    "vectors",
)
_HOMES = {
    "Collection": "isometry.collections",
    "Hits": "isometry.collections",
    "create": "isometry.collections",
    "open": "isometry.collections",
    "load_encoder": "isometry.encoders",
    "IsometryError": "isometry.errors",
    "index_from_spec": "isometry.indexes",
    "load_index": "isometry.indexes",
    "tune": "isometry.tuning",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
