"""Reading safetensors without torch, and a digest of weights that is the same on disk and in memory."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.errors import Damaged

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

MAX_HEADER = 100 << 20
FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def read_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the floating-point tensors of a safetensors file by name; float32 ones are views of a private map.

    Integer tensors (position numbers) hold nothing learned and are left out. Nothing is read before it is used.

    Raises
    ------
    Damaged
        Not a safetensors file, or tensors beyond its end.
    """
    try:
        # Copy on write: OpenVINO shares writable arrays only, and the file must never change.
        data = np.memmap(path, np.uint8, "c")
        size = int.from_bytes(data[:8].tobytes(), "little")
        header = json.loads(data[8 : 8 + min(size, MAX_HEADER)].tobytes())
        header.pop("__metadata__", None)
        entries = {name: entry for name, entry in header.items() if entry["dtype"] in FLOATS}
        return {name: _tensor(data[8 + size :], **entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise Damaged(f"{path} is not a readable safetensors file ({problem}); fetch the model again") from None


def tensor_digest(values: NDArray[Any]) -> str:
    """Return the SHA-256 of a tensor's shape and float32 values: O(size), without a copy of a float32 tensor."""
    values = np.ascontiguousarray(values, np.float32)
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def combine(digests: Iterable[str]) -> str:
    """Return one digest for a set of tensors.

    Names and order are left out, as they differ between a file and the module that is loaded from it; a tensor that
    occurs twice (tied weights) counts once.
    """
    return hashlib.sha256("\n".join(sorted(set(digests))).encode()).hexdigest()


def _tensor(data: NDArray[np.uint8], dtype: str, shape: list[int], data_offsets: list[int]) -> NDArray[np.float32]:
    values = data[slice(*data_offsets)].view(FLOATS[dtype]).reshape(shape)
    if dtype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32, copy=False)
