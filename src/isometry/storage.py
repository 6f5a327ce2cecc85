"""Folders that keep arrays: one `manifest.json` and one `.npy` file per array, memory-mapped when read.

The format is specified in ``docs/formats/index-folder.md``. Two rules carry the whole module:

* **The manifest is the commit.** Array files get names that hold their checksum, so writing never touches a file that
  a reader may have open; the folder changes at the single moment when its manifest is replaced.
* **Nothing that is read is trusted.** The manifest carries a checksum of itself; sizes, shapes, dtypes and names are
  checked before anything is mapped; the header of an array file is compared with the one we would have written, not
  parsed. There is no pickle, and no allocation that is larger than a file that really exists.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import mmap
import os
import re
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isometry._version import __version__
from isometry.errors import AlreadyExists, Damaged, InvalidInput, IsometryError, NewerFormat, NotFound, StorageFull

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Folder", "atomic_write_json", "fsync_path", "inner_state", "read_folder", "read_json", "write_folder"]

MANIFEST = "manifest.json"
FORMAT = "isometry-folder"
FORMAT_VERSION = 1
MANIFEST_BYTES = 16 * 2**20
ALWAYS_VERIFIED_BYTES = 2**20
"""Array files up to this size are checked against their SHA-256 whenever a folder is read: it costs under a
millisecond each, and they are the files whose damage would do most harm (offsets, vocabularies, masks)."""

_DTYPES = ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FILE = re.compile(r"[a-z][a-z0-9_]{0,63}-[0-9a-f]{16}\.npy")
_MAX_DIMENSIONS = 8
_CHUNK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Folder:
    """What `read_folder` found.

    Attributes
    ----------
    path : Path
    kind : str
        What the folder holds, e.g. ``"Flat"``.
    kind_version : int
        Version of that kind's own parameters and arrays; see `require_version`.
    parameters : dict
        Plain JSON values.
    arrays : dict of str to array
        Read-only and memory-mapped: nothing is loaded until it is looked at.
    """

    path: Path
    kind: str
    kind_version: int
    parameters: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    def require_version(self, newest: int) -> None:
        """Raise `NewerFormat` when the folder was written by a newer `kind` than version `newest`."""
        if self.kind_version > newest:
            raise NewerFormat(
                f"{self.path} holds {self.kind} version {self.kind_version}; this isometry ({__version__}) reads up to "
                f"version {newest}; install a newer isometry"
            )

    def parameter(self, name: str, of_type: type | tuple[type, ...]) -> Any:
        """Return one parameter, or raise `Damaged` when it is absent or of another type."""
        value = self.parameters.get(name)
        if not isinstance(value, of_type) or (isinstance(value, bool) and of_type is not bool):
            raise self.damaged(f"parameter {name!r} is {value!r}")
        return value

    def array(self, name: str, dtype: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """Return one array, or raise `Damaged` when it is absent or not of `dtype` and `shape` (None = any length)."""
        array = self.arrays.get(name)
        if array is None:
            raise self.damaged(f"array {name!r} is missing")
        fits = array.ndim == len(shape) and all(want in (None, n) for n, want in zip(array.shape, shape, strict=True))
        if array.dtype != np.dtype(dtype) or not fits:
            raise self.damaged(
                f"array {name!r} is {array.dtype} {array.shape}; expected {np.dtype(dtype)} {shape}".replace(
                    "None", "n"
                )
            )
        return array

    def inner(self, name: str) -> Folder:
        """Return, as a folder of its own, what `inner_state` put into this one under `name`."""
        held = self.parameter(name, dict)
        kind, version, parameters = (held.get(field) for field in ("kind", "kind_version", "parameters"))
        if not isinstance(kind, str) or not _is_count(version) or not isinstance(parameters, dict):
            raise self.damaged(f"its {name} is described by {held!r:.80}")
        start = f"{name}_"
        arrays = {key.removeprefix(start): array for key, array in self.arrays.items() if key.startswith(start)}
        return Folder(self.path, kind, version, parameters, arrays)

    def damaged(self, what: str) -> Damaged:
        """Return the error to raise for this folder; `what` says what is wrong with it."""
        return _damaged(self.path, what)


def inner_state(
    name: str, kind: str, kind_version: int, parameters: Mapping[str, Any], arrays: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a folder would hold as a parameter and arrays of another, for `Folder.inner` to find by `name`."""
    held = {"kind": kind, "kind_version": kind_version, "parameters": dict(parameters)}
    return {name: held}, {f"{name}_{key}": array for key, array in arrays.items()}


def write_folder(
    path: str | os.PathLike[str],
    kind: str,
    parameters: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any] | Sequence[NDArray[Any]]],
    *,
    kind_version: int = 1,
    overwrite: bool = False,
) -> None:
    """Write a folder so that, whatever happens, a reader finds either all of it or what was there before.

    Parameters
    ----------
    path : path
        The folder; its parent must exist.
    kind : str
        What the folder holds; `read_folder` checks it.
    parameters : mapping
        Plain JSON values; NaN and infinity are refused.
    arrays : mapping of str to array, or to a sequence of arrays
        A sequence is written as one array, its members one after another along the first axis: nothing is
        concatenated in memory. Booleans, integers and floats of up to 8 bytes; names of ``a-z 0-9 _``.
    kind_version : int, default 1
        Version of the kind's parameters and arrays.
    overwrite : bool, default False
        Replace a folder written by this function. Other folders are never replaced; files in it that are not ours stay.

    Raises
    ------
    AlreadyExists
        `path` exists, and `overwrite` is false or it is not a folder of ours.
    StorageFull
        No space left; nothing is left behind.
    NotFound
        The parent folder does not exist.
    InvalidInput
        A name, dtype or parameter that the format does not hold.

    Notes
    -----
    Costs one pass over the arrays (write and SHA-256 together) and one fsync per file. A folder that is being replaced
    keeps serving readers which have it open: their memory maps stay valid until they let go.
    """
    target = Path(path)
    parts = {name: _parts(name, value) for name, value in arrays.items()}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "isometry": __version__,
        "kind": kind,
        "kind_version": kind_version,
        "parameters": dict(parameters),
    }
    _encode(manifest)
    exists = target.is_symlink() or target.exists()
    if exists:
        _check_replaceable(target, overwrite)
    if not target.parent.is_dir():
        raise NotFound(f"{target.parent} is not a folder; create it before writing {target.name!r} into it")
    with _storage_errors(target):
        if exists:
            _write_into(target, manifest, parts)
        else:
            _write_new(target, manifest, parts)


def read_folder(path: str | os.PathLike[str], kind: str | None = None, *, verify: bool = False) -> Folder:
    """Open a folder written by `write_folder`, its arrays memory-mapped and read-only.

    Parameters
    ----------
    path : path
    kind : str, optional
        Refuse a folder that holds something else.
    verify : bool, default False
        Compare the SHA-256 of every file with the manifest. Without it this is done for files of up to 1 MiB; names,
        sizes, shapes and headers are always checked, so opening takes the same time for any amount of data.

    Raises
    ------
    NotFound
        There is no such folder, no manifest in it, or it holds another kind.
    Damaged
        Something is not as the manifest says.
    NewerFormat
        Written by a newer isometry.
    """
    folder = Path(path)
    for attempt in (0, 1):
        manifest = _read_manifest(folder, kind)
        try:
            arrays = {name: _open_array(folder, name, entry, verify) for name, entry in manifest["files"].items()}
            break
        except Damaged:
            # A writer may have replaced the folder between our reading of the manifest and of its files.
            if attempt or _read_manifest(folder, kind) == manifest:
                raise
    return Folder(folder, manifest["kind"], manifest["kind_version"], manifest["parameters"], arrays)


def atomic_write_json(path: str | os.PathLike[str], obj: Mapping[str, Any]) -> None:
    """Replace the file `path` by `obj` as JSON: readers see the old content or the new, also after a power cut.

    Raises
    ------
    InvalidInput
        `obj` holds something that JSON can't (NaN and infinity included).
    StorageFull
        No space left; the old file is untouched.
    """
    target = Path(path)
    data = _encode(obj)
    with _storage_errors(target):
        _replace(target, data)


def read_json(path: str | os.PathLike[str], max_bytes: int = MANIFEST_BYTES) -> dict[str, Any]:
    """Return the JSON object in the file `path`.

    Raises
    ------
    NotFound
        There is no such file.
    Damaged
        It is not a regular file, is larger than `max_bytes`, or does not hold a JSON object.
    """
    target = Path(path)
    with _reading(target) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise _damaged(target, f"it has {size} bytes; at most {max_bytes} are expected")
        data = file.read(max_bytes + 1)
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _damaged(target, f"it is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise _damaged(target, f"it holds a JSON {type(value).__name__}, not an object")
    return value


def fsync_path(path: str | os.PathLike[str]) -> None:
    """Make what is in the file `path`, or the names in the folder `path`, survive a power cut."""
    if os.name == "nt":  # Windows can't open a folder; its file systems journal names by themselves.
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Writing


def _parts(name: str, value: NDArray[Any] | Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return the row blocks of one array, checked and little-endian."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"array name {name!r}; expected a lower-case letter, then up to 63 of a-z, 0-9 and _")
    blocks = [value] if isinstance(value, np.ndarray) else list(value)
    if not blocks:
        raise InvalidInput(f"array {name!r} is an empty sequence; its dtype is unknown: pass one empty array")
    parts: list[NDArray[Any]] = []
    for block in map(np.asarray, blocks):
        little = block.astype(block.dtype.newbyteorder("<"), copy=False)
        if little.dtype.str not in _DTYPES or not 1 <= little.ndim <= _MAX_DIMENSIONS:
            raise InvalidInput(
                f"array {name!r} is {block.dtype} with {block.ndim} axes; expected bool, integers or floats of up to "
                f"8 bytes with 1 to {_MAX_DIMENSIONS} axes"
            )
        if parts and (little.dtype != parts[0].dtype or little.shape[1:] != parts[0].shape[1:]):
            raise InvalidInput(f"the blocks of array {name!r} differ in dtype or in their shape after the first axis")
        parts.append(little)
    return parts


def _check_replaceable(target: Path, overwrite: bool) -> None:
    if not overwrite:
        raise AlreadyExists(f"{target} exists; choose another path, or pass overwrite=True to replace it")
    ours = target.is_dir() and not target.is_symlink() and (not any(target.iterdir()) or (target / MANIFEST).is_file())
    if not ours:
        raise AlreadyExists(f"{target} is not a folder written by isometry, so it is not replaced; choose another path")


def _write_new(target: Path, manifest: dict[str, Any], parts: dict[str, list[NDArray[Any]]]) -> None:
    aside = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
    aside.mkdir()
    try:
        _write_into(aside, manifest, parts)
        os.rename(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    fsync_path(target.parent)


def _write_into(folder: Path, manifest: dict[str, Any], parts: dict[str, list[NDArray[Any]]]) -> None:
    before = {entry.name for entry in folder.iterdir() if _FILE.fullmatch(entry.name)}
    files: dict[str, dict[str, Any]] = {}
    try:
        for name, blocks in parts.items():
            files[name] = _write_array(folder, name, blocks)
        manifest = {**manifest, "files": files}
        data = _encode({**manifest, "checksum": _checksum(manifest)})
        if len(data) > MANIFEST_BYTES:
            raise InvalidInput(f"the manifest takes {len(data)} bytes as JSON; at most {MANIFEST_BYTES} are allowed")
        fsync_path(folder)
        _replace(folder / MANIFEST, data)
    except BaseException:
        in_use = _files_in_use(folder)
        for entry in files.values():
            if entry["file"] not in before | in_use:
                (folder / entry["file"]).unlink(missing_ok=True)
        raise
    for stale in before - {entry["file"] for entry in files.values()}:
        with suppress(OSError):  # Windows keeps files that are mapped; they go with the next write.
            (folder / stale).unlink()


def _files_in_use(folder: Path) -> set[str]:
    """Return the array files that the manifest in `folder` names, if there is one that can be read."""
    try:
        return {entry["file"] for entry in _read_manifest(folder, None)["files"].values()}
    except IsometryError:
        return set()


def _write_array(folder: Path, name: str, blocks: list[NDArray[Any]]) -> dict[str, Any]:
    shape = (sum(len(block) for block in blocks), *blocks[0].shape[1:])
    dtype = blocks[0].dtype.str
    header = _npy_header(dtype, shape)
    digest = hashlib.sha256(header)
    partial = folder / f".{name}.{secrets.token_hex(8)}.partial"
    try:
        with open(partial, "xb") as file:
            file.write(header)
            for block in blocks:
                for chunk in _byte_chunks(block):
                    digest.update(chunk)
                    file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        final = f"{name}-{digest.hexdigest()[:16]}.npy"
        os.replace(partial, folder / final)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return {"file": final, "sha256": digest.hexdigest(), "bytes": size, "dtype": dtype, "shape": list(shape)}


def _byte_chunks(block: NDArray[Any]) -> Iterator[memoryview]:
    """Yield the bytes of an array in C order, a few MiB at a time, copying only rows that are not contiguous."""
    if block.size == 0:
        return
    rows = max(1, _CHUNK_BYTES * len(block) // block.nbytes)
    for start in range(0, len(block), rows):
        yield np.ascontiguousarray(block[start : start + rows]).reshape(-1).view(np.uint8).data


def _replace(target: Path, data: bytes) -> None:
    partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    fsync_path(target.parent)


def is_out_of_space(error: BaseException) -> bool:
    """Whether an error means a full disk, a spent quota or a limit on file sizes, also when only its text says so."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return getattr(error, "errno", None) in full or any(os.strerror(code) in str(error) for code in full)


@contextmanager
def _storage_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_out_of_space(error):
            raise StorageFull(
                f"no space left while writing {target}; what was there before is unchanged: free some space"
            ) from error
        raise


# Reading


def _read_manifest(folder: Path, kind: str | None) -> dict[str, Any]:
    if not folder.exists():
        raise NotFound(f"{folder} does not exist")
    if not folder.is_dir() or not (folder / MANIFEST).exists():
        raise NotFound(f"{folder} is not a folder written by isometry: there is no {MANIFEST} in it")
    manifest = read_json(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise _damaged(folder, f"its manifest has format {manifest.get('format')!r}; expected {FORMAT!r}")
    version: Any = manifest.get("format_version")
    if not _is_count(version):
        raise _damaged(folder, f"its manifest has format_version {version!r}; expected a positive integer")
    if version > FORMAT_VERSION:
        raise NewerFormat(
            f"{folder} has format version {version}, written by isometry {manifest.get('isometry')!r}; this isometry "
            f"({__version__}) reads up to version {FORMAT_VERSION}; install a newer isometry"
        )
    checksum = manifest.pop("checksum", None)
    if checksum != _checksum(manifest):
        raise _damaged(folder, "its manifest does not match the checksum in it")
    found = manifest.get("kind")
    if not isinstance(found, str):
        raise _damaged(folder, f"its manifest has kind {found!r}")
    if kind is not None and found != kind:
        raise NotFound(f"{folder} holds {found!r}, not {kind!r}; open it as what it is, or pass another path")
    if not _is_count(manifest.get("kind_version")):
        raise _damaged(folder, f"its manifest has kind_version {manifest.get('kind_version')!r}")
    for field in ("parameters", "files"):
        if not isinstance(manifest.get(field), dict):
            raise _damaged(folder, f"its manifest has no object {field!r}")
    return manifest


def _open_array(folder: Path, name: str, entry: Any, verify: bool) -> NDArray[Any]:
    file_name, sha256, size, dtype, shape = _check_entry(folder, name, entry)
    header = _npy_header(dtype, shape)
    if size != len(header) + np.dtype(dtype).itemsize * math.prod(shape):
        raise _damaged(folder, f"array {name!r} of {dtype} {shape} can't have {size} bytes")
    path = folder / file_name
    try:
        with _reading(path) as file:
            actual = os.fstat(file.fileno()).st_size
            if actual != size:
                raise _damaged(folder, f"{file_name} has {actual} bytes; its manifest says {size}")
            if file.read(len(header)) != header:
                raise _damaged(folder, f"{file_name} does not start with the header of a {dtype} array {shape}")
            if verify or size <= ALWAYS_VERIFIED_BYTES:
                file.seek(0)
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise _damaged(folder, f"the bytes of {file_name} do not match its checksum")
            if size == len(header):
                return _frozen(np.empty(shape, dtype))
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except NotFound:
        raise _damaged(folder, f"{file_name} is missing") from None
    return np.frombuffer(mapped, dtype, offset=len(header)).reshape(shape)


def _check_entry(folder: Path, name: str, entry: Any) -> tuple[str, str, int, str, tuple[int, ...]]:
    """Return the fields of one entry under ``files``, each checked."""

    def expect(valid: bool, field: str) -> None:
        if not valid:
            raise _damaged(folder, f"its manifest has {field} {entry.get(field)!r:.100} for array {name!r:.100}")

    if not _NAME.fullmatch(name) or not isinstance(entry, dict):
        raise _damaged(folder, f"its manifest has {entry!r:.100} for array {name!r:.100}")
    fields: list[Any] = [entry.get(key) for key in ("file", "sha256", "bytes", "dtype", "shape")]
    file_name, sha256, size, dtype, shape = fields
    expect(isinstance(file_name, str) and _FILE.fullmatch(file_name) is not None, "file")
    expect(isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) is not None, "sha256")
    expect(_is_count(size), "bytes")
    expect(isinstance(dtype, str) and dtype in _DTYPES, "dtype")
    expect(isinstance(shape, list) and 1 <= len(shape) <= _MAX_DIMENSIONS, "shape")
    expect(all(_is_count(n, 0) for n in shape), "shape")
    return file_name, sha256, size, dtype, tuple(shape)


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Open a regular file; a symbolic link could lead out of the folder, and a pipe could block for ever."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise _damaged(path, "it is not a regular file")
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist") from None
    except OSError as error:
        if error.errno == errno.EIO:
            raise _damaged(path, "the disk can't read it") from error
        raise


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the ``.npy`` version 1.0 header of an array, padded so that the data starts at a multiple of 64 bytes."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape!r}, }}"
    padding = -(len(text) + 11) % 64
    body = (text + " " * padding + "\n").encode("ascii")
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


def _is_count(value: Any, least: int = 1) -> bool:
    return type(value) is int and least <= value < 2**62


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _checksum(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(_encode(manifest)).hexdigest()


def _encode(obj: Mapping[str, Any]) -> bytes:
    """Return canonical JSON: sorted keys, so that the same content has the same bytes."""
    try:
        return (json.dumps(obj, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"can't be written as JSON: {error}") from None


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not allowed")


def _damaged(path: Path, what: str) -> Damaged:
    return Damaged(f"{path} is damaged: {what}; restore it from a copy, or write it again")
