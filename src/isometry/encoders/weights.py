"""A digest of a model's weights that is the same on disk and in memory."""

from __future__ import annotations

import hashlib
import json
import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.errors import Damaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MAX_HEADER = 100 << 20
FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def tensor_digest(values: NDArray[Any]) -> str:
    """Return the SHA-256 of a tensor's shape and float32 values: O(size), without a copy of a float32 tensor."""
    values = np.ascontiguousarray(values, np.float32)
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(values.data.cast("B") if values.size else b"")
    return digest.hexdigest()


def combine(digests: Iterable[str]) -> str:
    """Return one digest for a set of tensors.

    Names and order are left out, as they differ between a file and the module that is loaded from it; a tensor that
    occurs twice (tied weights) counts once.
    """
    return hashlib.sha256("\n".join(sorted(set(digests))).encode()).hexdigest()


def safetensors_digests(path: Path) -> Iterator[str]:
    """Yield the digest of each floating-point tensor of a safetensors file, reading it through a memory map.

    Integer tensors (position numbers) hold no learned values and are not saved by all versions, so they don't count.

    Raises
    ------
    Damaged
        Not a safetensors file, or tensors beyond its end.
    """
    with path.open("rb") as file:
        try:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, MAX_HEADER)))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                for name, entry in header.items():
                    if name != "__metadata__" and entry["dtype"] in FLOATS:
                        yield _entry_digest(data, 8 + size, entry)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise Damaged(f"{path} is not a readable safetensors file ({problem}); fetch the model again") from None


def _entry_digest(data: mmap.mmap, origin: int, entry: dict[str, Any]) -> str:
    dtype = np.dtype(FLOATS[entry["dtype"]])
    shape = tuple(entry["shape"])
    start, stop = entry["data_offsets"]
    count = int(np.prod(shape, dtype=np.int64))
    if stop - start != count * dtype.itemsize:
        raise ValueError(f"{count} values of {dtype.itemsize} bytes in {stop - start} bytes")
    values = np.frombuffer(data, dtype, count, origin + start).reshape(shape)
    if entry["dtype"] == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return tensor_digest(values)
