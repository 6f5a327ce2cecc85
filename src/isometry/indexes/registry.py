"""Finds index classes by the name in a manifest or in a specification string."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import Any

from isometry.errors import NotFound
from isometry.storage import read_folder

__all__ = ["index_classes", "load_index"]


@cache
def index_classes() -> dict[str, type[Any]]:
    """Return the index classes that `isometry.indexes` imports, by their kind."""
    room: list[Any] = list(vars(import_module("isometry.indexes")).values())
    return {
        vars(item)["kind"]: item for item in room if isinstance(item, type) and isinstance(vars(item).get("kind"), str)
    }


def load_index(path: str | os.PathLike[str], *, verify: bool = False) -> Any:
    """Open an index that was saved as a folder, memory-mapped.

    Parameters
    ----------
    path : path
    verify : bool, default False
        Compare every file with its checksum; see `isometry.storage.read_folder`.

    Returns
    -------
    Index
        Of the class that was saved.

    Raises
    ------
    NotFound
        There is no index at `path`.
    Damaged, NewerFormat
        It can't be read.
    """
    folder = read_folder(path, verify=verify)
    found = index_classes().get(folder.kind)
    if found is None:
        raise NotFound(f"{path} holds {folder.kind!r}, which is none of the indexes {', '.join(index_classes())}")
    return found.from_folder(folder)
