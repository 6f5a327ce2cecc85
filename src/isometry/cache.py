"""Where results that can be made again are kept between processes: the user's cache folder."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 20


def cache_folder() -> Path:
    """Return the folder for caches: ``$ISOMETRY_CACHE``, else the platform's place for one user's caches."""
    if chosen := os.environ.get("ISOMETRY_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "isometry" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "isometry"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isometry"


def read_note(path: Path) -> Any:
    """Return the JSON value at `path`; None where there is none to be read: a cache may forget."""
    with suppress(OSError, ValueError):
        if path.stat().st_size <= MAX_BYTES:
            return json.loads(path.read_bytes())
    return None


def write_note(path: Path, value: Any) -> None:
    """Store `value` as JSON in one step; a folder that can't be written is no error: the next process works again."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(value, file)
        os.replace(temporary, path)
