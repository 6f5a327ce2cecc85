"""Making a collection in a new folder, and opening one that is there."""

from __future__ import annotations

import os
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isometry.collections.collection import LOCK, Collection
from isometry.collections.kinds import KINDS, Kind
from isometry.collections.lock import WriterLock
from isometry.collections.manifest import MANIFEST, Manifest
from isometry.collections.space import load_encoders, space_record
from isometry.errors import AlreadyExists, DimensionMismatch, InvalidInput, check_choice, check_range
from isometry.indexes import METRICS
from isometry.storage import fsync_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isometry.encoders import Encoder

__all__ = ["create", "open"]


def create(
    path: str | os.PathLike[str],
    *,
    encoder: Any = None,
    sparse_encoder: Any = None,
    multi_encoder: Any = None,
    dim: int | None = None,
    sparse_dim: int | None = None,
    multi_dim: int | None = None,
    metric: str = "cosine",
    id_field: str = "id",
    text_fields: Sequence[str] = ("title", "text"),
    passages: bool = True,
    overwrite: bool = False,
) -> Collection:
    """Make an empty collection in a new folder.

    Parameters
    ----------
    path : str or path
        The folder to make; it must not exist, or be empty.
    encoder : str, path or object, optional
        Turns texts into vectors: the name or folder of a sentence-transformers model, a loaded model, or any object
        with `encode_query` and `encode_document`. Without one you bring your own vectors, or search by words alone.
    sparse_encoder : str, path or object, optional
        As `encoder`, of sparse vectors: weights of terms, such as SPLADE's. A collection may have one encoder of each
        kind; one that is to be the only one may be passed as `encoder` as well.
    multi_encoder : str, path or object, optional
        As `encoder`, of multi-vectors: one for each token, such as ColBERT's (late interaction).
    dim : int, optional
        Dimensions of your own vectors; else learnt from the first batch.
    sparse_dim : int, optional
        Size of the vocabulary of your own sparse vectors; without it and without a sparse encoder there are none.
    multi_dim : int, optional
        Dimensions of your own token vectors; without it and without a multi-vector encoder there are none.
    metric : {"cosine", "dot", "l2"}
        How vectors are compared; sparse ones by their dot product always, tokens by it unless this is ``"cosine"``.
    id_field : str
        Field of the records that identifies them. Records without it get an id from their content.
    text_fields : sequence of str
        Fields whose text, joined by a space, is encoded and searched by words.
    passages : bool
        Split texts longer than the encoder reads into passages, and score a document by its best one. If false, what
        the encoder does not read is not searched by meaning.
    overwrite : bool
        Replace a collection that is already there. Anything else in the way is never deleted.

    Returns
    -------
    Collection

    Raises
    ------
    AlreadyExists
        Something is at `path`.
    InvalidInput, DimensionMismatch, NotFound, MissingExtra
        A bad setting, or an encoder that can't be loaded.

    Examples
    --------
    >>> import isometry as iso, tempfile
    >>> notes = iso.create(tempfile.mkdtemp() + "/notes.iso")
    >>> notes.add([{"id": "a", "text": "Seasonal tides"}, {"id": "b", "text": "Tide tables"}]).added
    2
    >>> notes.search("tables", k=1).ids
    ['b']
    """
    folder = Path(path)
    check_choice("metric", metric, METRICS)
    names = (text_fields,) if isinstance(text_fields, str) else tuple(text_fields)
    if not names or not all(isinstance(name, str) and name for name in (*names, id_field)):
        raise InvalidInput(f"text_fields is {text_fields!r}, id_field is {id_field!r}; expected names of fields")
    encoders = load_encoders({"dense": encoder, "sparse": sparse_encoder, "multi": multi_encoder})
    settings: dict[str, Any] = {}
    for kind, given in zip(KINDS.values(), (dim, sparse_dim, multi_dim), strict=True):
        made = encoders.get(kind.name)
        settings[kind.called("dim")] = _dim_of(kind, given, made and made[1])
        settings[kind.called("encoder")] = made and space_record(*made)
    manifest = Manifest(
        uuid=str(uuid.uuid4()),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        metric=metric,
        id_field=id_field,
        text_fields=names,
        passages=bool(passages),
        **settings,
    )
    _place(folder, manifest, overwrite)
    return Collection(folder, encoders={name: loaded for name, (_, loaded) in encoders.items()})


def open(
    path: str | os.PathLike[str],
    *,
    version: int | None = None,
    encoder: Any = None,
    sparse_encoder: Any = None,
    multi_encoder: Any = None,
) -> Collection:
    """Open a collection that is there. Any number of processes may read; one may write.

    Parameters
    ----------
    path : str or path
    version : int, optional
        Look at the documents as they were at this version (see `Collection.versions`), read-only.
    encoder : str, path or object, optional
        For a collection whose encoder was passed as an object, or to use a loaded one again. Its fingerprint must be
        the one that the collection was made with; while it migrates, also that of the other encoder.
    sparse_encoder, multi_encoder : str, path or object, optional
        The same for sparse vectors and for multi-vectors.

    Returns
    -------
    Collection

    Raises
    ------
    NotFound, NewerFormat, Damaged
        No collection there, one from a newer isometry, or one whose files are damaged.
    SpaceMismatch
        The encoder makes vectors of another space.
    """
    encoders = load_encoders({"dense": encoder, "sparse": sparse_encoder, "multi": multi_encoder})
    return Collection(Path(path), version=version, encoders={name: loaded for name, (_, loaded) in encoders.items()})


def _dim_of(kind: type[Kind[Any]], given: int | None, encoder: Encoder | None) -> int | None:
    """Return how many dimensions vectors of a kind have: those of the encoder, else those that were given."""
    name = kind.called("dim")
    if given is not None:
        given = check_range(name, given, 1, kind.most_dim)
    if encoder is None:
        return given
    if given not in (None, encoder.dim):
        raise DimensionMismatch(
            f"{name} is {given} but {encoder.fingerprint} makes {encoder.dim} dimensions; leave {name} out"
        )
    return encoder.dim


def _place(folder: Path, manifest: Manifest, overwrite: bool) -> None:
    """Put a new collection at `folder` in one step."""
    taken = folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
    lock = None
    if taken:
        if not overwrite:
            raise AlreadyExists(f"{folder} exists already; open it with isometry.open, or pass overwrite=True")
        if not (folder / MANIFEST).is_file():
            raise AlreadyExists(f"{folder} exists and is not a collection; overwrite replaces collections only")
        lock = WriterLock(folder / LOCK)
        lock.acquire()
    folder.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    aside, old = folder.with_name(f".{folder.name}.{token}.new"), folder.with_name(f".{folder.name}.{token}.old")
    aside.mkdir()
    try:
        manifest.write(aside)
        if taken:
            os.rename(folder, old)
        os.rename(aside, folder)
        fsync_path(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        if lock is not None:
            lock.release()
