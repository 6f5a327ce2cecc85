"""What has been measured so far, one line of JSON per measurement, so that a run can go on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from isometry.errors import Damaged, InvalidInput
from isometry.storage import fsync_path

__all__ = ["Journal", "fingerprint"]

FILE = "measured.jsonl"
_MOST_BYTES = 1 << 26


class Journal:
    """Measurements by key, in memory and, when a folder is named, on disk.

    Parameters
    ----------
    folder : path, optional
        Made when it does not exist. Each measurement is appended by one write and flushed to disk; a line that was cut
        off by a crash is measured again.
    fingerprint : str, optional
        Of everything that the measurements depend on.

    Raises
    ------
    InvalidInput
        The folder holds the measurements of other data or settings.
    Damaged
        A line can't be read.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, fingerprint: str | None = None) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._path: Path | None = None
        if folder is None:
            return
        home = Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        self._path = home / FILE
        if not self._read(fingerprint):
            self._append({"fingerprint": fingerprint})
            fsync_path(home)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was measured, or None."""
        return self._known.get(key)

    def put(self, key: str, found: dict[str, Any]) -> None:
        """Keep a measurement."""
        self._known[key] = found
        if self._path is not None:
            self._append({"key": key, **found})

    @property
    def seconds(self) -> float:
        """Time that all measurements took."""
        return sum(float(found.get("seconds", 0)) for found in self._known.values())

    def _read(self, fingerprint: str | None) -> bool:
        """Read the file; say whether there was anything in it."""
        assert self._path is not None
        if not self._path.exists():
            return False
        if self._path.stat().st_size > _MOST_BYTES:
            raise Damaged(f"{self._path} has more than {_MOST_BYTES} bytes; name another folder")
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = json.loads(line)
                known = record["fingerprint"] if number == 1 else record.pop("key")
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise Damaged(f"{self._path} line {number} is damaged ({error!r:.80}); name another folder") from None
            if number > 1:
                self._known[str(known)] = record
            elif known != fingerprint:
                raise InvalidInput(
                    f"{self._path.parent} holds what was measured on other vectors, queries or settings; name another "
                    "folder, or remove this one to start afresh"
                )
        return bool(whole)

    def _append(self, record: dict[str, Any]) -> None:
        assert self._path is not None
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        with self._path.open("ab", buffering=0) as file:
            file.write(line)
            os.fsync(file.fileno())


def fingerprint(*things: Any) -> str:
    """Return a checksum of arrays and of plain data."""
    digest = hashlib.sha256()
    for thing in things:
        if isinstance(thing, np.ndarray):
            digest.update(f"{thing.dtype} {thing.shape}".encode())
            digest.update(np.ascontiguousarray(thing).data)
        else:
            digest.update(json.dumps(thing, sort_keys=True, default=str).encode())
    return digest.hexdigest()
