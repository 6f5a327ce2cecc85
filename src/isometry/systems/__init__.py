"""Published systems: what they claim, which parts they are made of, and one call that measures the claim again."""

from functools import cache
from importlib import import_module

from isometry.errors import InvalidInput, did_you_mean
from isometry.systems.base import Paper, System
from isometry.systems.data import require

__all__ = ["Paper", "System", "all_systems", "get_system", "require"]

_MODULES = (
    "muvera",
    "seismic",
    "leanvec",
    "fanns",
    "rag_storage",
    "bebr",
    "jpq",
    "distill_vq",
    "crisp",
    "lr2vq",
    "table_compression",
    "unified_embedding",
    "optembed",
    "frozen_unicode",
    "nv_embed",
    "kalm_embedding_v2",
    "peg",
    "t_vec",
    "e2rank",
    "sesa",
    "text_vectors",
    "embedding_survey",
    "vlm2vec",
    "vlm2vec_v2",
    "rzenembed",
    "pdf_embedding",
    "imaginator",
    "image_volume_ssl",
    "healthcare_alignment",
    "fastrp",
    "ngcf",
    "ebv",
    "resgen",
    "limit",
    "restore",
    "debias",
)


def all_systems() -> tuple[System, ...]:
    """Return every system, in the order of the stages of a vector's life."""
    return tuple(_load(module) for module in _MODULES)


def get_system(name: str) -> System:
    """Return the system called `name`.

    Raises
    ------
    InvalidInput
        There is none; the message names the nearest.
    """
    modules = {module.replace("_", "-"): module for module in _MODULES}
    if name not in modules:
        raise InvalidInput(f"there is no system {name!r}{did_you_mean(name, modules)}; `isometry systems` lists all")
    return _load(modules[name])


@cache
def _load(module: str) -> System:
    system: System = import_module(f"{__name__}.{module}").SYSTEM
    return system
