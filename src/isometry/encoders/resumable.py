"""Encoding of inputs so large that a crash must not start them again: shards on disk, each written in one step."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sized
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.errors import InvalidInput, NotFound, SpaceMismatch, check_choice, check_range
from isometry.storage import Folder, atomic_write_json, read_folder, read_json, write_folder
from isometry.vectors import MultiVectors, as_multi, concat

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isometry.encoders.base import Encoder, Progress, Role
    from isometry.vectors import Vectors

SHARD = "encoded-texts"
SUMMARY = "encoding.json"


def encode_to_folder(
    encoder: Encoder,
    texts: Iterable[str],
    path: str | os.PathLike[str],
    *,
    role: Role = "document",
    shard_rows: int = 4096,
    progress: Progress | None = None,
) -> Vectors:
    """Encode `texts` into a folder, shard by shard; called again with the same input it goes on where it stopped.

    Parameters
    ----------
    encoder : Encoder
    texts : iterable of str
        Read once and never held as a whole; after a crash pass the same texts in the same order.
    path : path
        Created with its parents. Holds one folder per shard and, when all is done, a summary.
    role : {"document", "query"}
    shard_rows : int
        Texts per shard: what a crash may cost.
    progress : callable, optional
        Called as ``progress(done, total, "texts")`` after each shard; total is None where `texts` has no length.

    Returns
    -------
    vectors
        What `read_encoded(path)` returns.

    Raises
    ------
    SpaceMismatch
        The folder holds vectors of another encoder.
    InvalidInput
        The folder was begun with other texts, another role or another shard size. Nothing in it is changed.
    StorageFull
        No space left; the shards so far stay good.
    """
    check_choice("role", role, ("document", "query"))
    check_range("shard_rows", shard_rows, 1)
    if isinstance(texts, str):
        raise InvalidInput(f"texts is the single string {texts[:60]!r}; expected an iterable of strings: pass [text]")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    total = len(texts) if isinstance(texts, Sized) else None
    stream = iter(texts)
    number = done = 0
    while (batch := list(islice(stream, shard_rows))) or number == 0:
        shard = folder / f"shard-{number:06d}"
        identity = {
            "fingerprint": encoder.fingerprint.to_dict(),
            "role": role,
            "shard_rows": shard_rows,
            "texts": _digest(batch, done),
        }
        if shard.exists():
            _check_same(read_folder(shard, SHARD), identity)
        else:
            _check_unfinished(folder)
            encode = encoder.encode_query if role == "query" else encoder.encode_document
            write_folder(shard, SHARD, identity | {"kind": encoder.kind, "dim": encoder.dim}, _arrays(encode(batch)))
        number, done = number + 1, done + len(batch)
        if progress is not None:
            progress(done, total, "texts")
    if (folder / f"shard-{number:06d}").exists():
        raise InvalidInput(f"{folder} holds more shards than the {done} texts fill; it was begun with other texts")
    atomic_write_json(folder / SUMMARY, {"shards": number, "rows": done})
    return read_encoded(folder)


def read_encoded(path: str | os.PathLike[str]) -> Vectors:
    """Return the vectors that `encode_to_folder` finished; one shard is memory-mapped, several are joined in memory.

    Raises
    ------
    NotFound
        There is no such folder, or its encoding was not finished.
    Damaged
        A shard is not as it was written.
    """
    folder = Path(path)
    if not (folder / SUMMARY).is_file():
        raise NotFound(f"{folder} holds no finished encoding; call encode_to_folder with the same texts to go on")
    shards = read_json(folder / SUMMARY)["shards"]
    parts = [_vectors(read_folder(folder / f"shard-{number:06d}", SHARD)) for number in range(shards)]
    return parts[0] if len(parts) == 1 else concat(parts)


def _check_same(shard: Folder, identity: dict[str, Any]) -> None:
    stored = shard.parameters
    if stored["fingerprint"]["digest"] != identity["fingerprint"]["digest"]:
        raise SpaceMismatch(
            f"{shard.path} was encoded by {stored['fingerprint']}, not by {identity['fingerprint']}; "
            "use the same encoder or another folder"
        )
    for key in ("role", "shard_rows", "texts"):
        if stored[key] != identity[key]:
            raise InvalidInput(
                f"{shard.path} was encoded with other {key} ({stored[key]!s:.16} stored, {identity[key]!s:.16} now); "
                "pass the same input to go on, or use another folder"
            )


def _check_unfinished(folder: Path) -> None:
    if (folder / SUMMARY).is_file():
        raise InvalidInput(f"{folder} holds a finished encoding of fewer texts; use another folder for this input")


def _digest(texts: list[str], start: int) -> str:
    digest = hashlib.sha256()
    for position, text in enumerate(texts, start):
        if not isinstance(text, str):
            raise InvalidInput(f"texts[{position}] is {text!r:.80} of type {type(text).__name__}; expected a string")
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _arrays(vectors: Vectors) -> dict[str, Any]:
    if isinstance(vectors, MultiVectors):
        return {"tokens": vectors.tokens, "offsets": vectors.offsets}
    if isinstance(vectors, np.ndarray):
        return {"vectors": vectors}
    return {"values": vectors.data, "indices": vectors.indices, "offsets": vectors.indptr}


def _vectors(shard: Folder) -> Vectors:
    arrays, kind, dim = shard.arrays, shard.parameters["kind"], shard.parameters["dim"]
    if kind == "multi":
        return as_multi(MultiVectors(arrays["tokens"], arrays["offsets"]), dim=dim)
    if kind == "sparse":
        from scipy.sparse import csr_array

        return csr_array(
            (arrays["values"], arrays["indices"], arrays["offsets"]), shape=(len(arrays["offsets"]) - 1, dim)
        )
    return arrays["vectors"]
