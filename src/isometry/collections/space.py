"""Which embedding space a collection lives in: its encoder, loaded when needed and never mixed up with another."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isometry.collections.kinds import DENSE, KINDS
from isometry.collections.migration import MIGRATIONS, read_map
from isometry.errors import InvalidInput, SpaceMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isometry.collections.manifest import Manifest
    from isometry.encoders import Encoder, Fingerprint
    from isometry.encoders.base import Kind

__all__ = ["Space", "Spaces", "load_encoders", "load_of_kind", "space_record"]


class Spaces:
    """The spaces that a collection's vectors live in, whatever its manifest says at the time; encoders load once.

    Parameters
    ----------
    path : Path
    manifest : Manifest
    given : mapping of kind to Encoder
        Loaded already; each must be of a space of the collection.
    """

    def __init__(self, path: Path, manifest: Manifest, given: Mapping[Kind, Encoder]) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._loaded: dict[str, Encoder] = {}
        self._map: tuple[Path, Any] | None = None
        self._known: tuple[Manifest, dict[str, Space]] | None = None
        spaces = self.of(manifest)
        for name, encoder in given.items():
            other = manifest.migration.encoder if manifest.migration is not None and name == DENSE else None
            if encoder.fingerprint != _fingerprint(other):
                spaces[name].check(encoder.fingerprint)
            self.keep(encoder)

    def of(self, manifest: Manifest) -> dict[str, Space]:
        """Return the space of each kind of vectors."""
        known = self._known
        if known is None or known[0] is not manifest:
            spaces: dict[str, Space] = {
                kind.name: Space(self._path, manifest.setting(kind, "encoder"), self.load, kind.name)
                for kind in KINDS.values()
            }
            migration = manifest.migration
            if migration is not None and migration.mapped:
                folder = self._path / MIGRATIONS / migration.folder
                asked = Space(self._path, migration.encoder, self.load, DENSE)
                spaces[DENSE] = MappedSpace(spaces[DENSE], asked, partial(self._map_in, folder))
            known = manifest, spaces
            self._known = known
        return known[1]

    def other(self, manifest: Manifest) -> Space:
        """Return the other space of the migration that is under way."""
        assert manifest.migration is not None
        return Space(self._path, manifest.migration.encoder, self.load, DENSE)

    def _map_in(self, folder: Path) -> Any:
        with self._guard:
            if self._map is None or self._map[0] != folder:
                self._map = folder, read_map(folder)
            return self._map[1]

    def keep(self, encoder: Encoder) -> None:
        """Have an encoder at hand that is loaded already."""
        self._loaded[encoder.fingerprint.digest] = encoder

    def load(self, space: Space) -> Encoder:
        """Return the encoder of a space, loaded by its reference at the first use."""
        with self._guard:
            own, record = space.fingerprint, space.record
            assert own is not None
            assert record is not None
            if own.digest not in self._loaded:
                if record.get("reference") is None:
                    raise InvalidInput(
                        f"{self._path} was made with an encoder object ({own}), which has no name to load "
                        f"it by; pass it: isometry.open(path, {KINDS[space.kind].called('encoder')}=...)"
                    )
                loaded = load_of_kind(record["reference"], space.kind)
                space.check(loaded.fingerprint)
                self.keep(loaded)
            return self._loaded[own.digest]


class Space:
    """The encoder of one kind of a collection's vectors, by reference and fingerprint.

    Parameters
    ----------
    path : Path
        The collection, for messages.
    record : dict or None
        What `space_record` made; None for a collection of the user's own vectors.
    load : callable
        Returns the encoder of a space.
    kind : {"dense", "sparse", "multi"}
    """

    mapped: str | None = None
    """What queries go through to come into this space, in words; None where its own encoder makes them."""

    def __init__(self, path: Path, record: dict[str, Any] | None, load: Callable[[Space], Encoder], kind: Kind) -> None:
        self._path = path
        self._load = load
        self.kind = kind
        self.record = record

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Identity of the space; None when it is unknown."""
        return _fingerprint(self.record)

    @property
    def encoder(self) -> Encoder | None:
        """The encoder, loaded by its reference at the first use."""
        return self._load(self) if self.record is not None else None

    @property
    def takes_texts(self) -> bool:
        """Whether a text can be a query."""
        return self.record is not None

    def encode_query(self, texts: list[str]) -> Any:
        """Return the vectors of queries; only where it `takes_texts`."""
        encoder = self.encoder
        assert encoder is not None
        return encoder.encode_query(texts)

    def check_vectors(self, encoded_by: Sequence[Fingerprint]) -> None:
        """Raise `SpaceMismatch` unless the caller's own vectors are said to come from this space.

        Parameters
        ----------
        encoded_by : sequence of Fingerprint
            Empty where the caller did not say.
        """
        if self.fingerprint in encoded_by:
            return
        if encoded_by:
            self.check(encoded_by[0])
        elif self.record is not None:
            raise SpaceMismatch(
                f"the collection's {self.kind} vectors are made by {self.fingerprint}; say that yours are too with "
                "encoded_by=<that encoder>, or leave vectors out and let the collection encode"
            )

    def check(self, given: Fingerprint) -> None:
        """Raise `SpaceMismatch` unless an encoder is of this space."""
        own = self.fingerprint
        if own is None:
            raise SpaceMismatch(
                f"{self._path} holds vectors of unknown origin (it was made without an encoder), so {given} can't be "
                "checked against them; leave the encoder out"
            )
        if own != given:
            raise SpaceMismatch(
                f"{self._path} holds vectors of {own}, the encoder given is {given}: vectors of two spaces can't be "
                "compared; use the first, or go over to the second with migrate"
            )


class MappedSpace(Space):
    """A space whose stored vectors are asked for by another encoder, through a map.

    Parameters
    ----------
    stored, asked : Space
        Of the vectors, and of the encoder of queries.
    load_map : callable
        Returns the `Alignment`.
    """

    def __init__(self, stored: Space, asked: Space, load_map: Callable[[], Any]) -> None:
        super().__init__(stored._path, stored.record, stored._load, stored.kind)
        self._asked, self._load_map = asked, load_map
        own = f"vectors of {self.fingerprint}" if self.fingerprint is not None else "own vectors"
        self.mapped = f"queries of {asked.fingerprint} are mapped onto {own}"

    @property
    def takes_texts(self) -> bool:
        """Always: by the other encoder."""
        return True

    def encode_query(self, texts: list[str]) -> Any:
        """Return the vectors of queries, brought into the space of what is stored."""
        return self._load_map().transform(self._asked.encode_query(texts))


def _fingerprint(record: dict[str, Any] | None) -> Fingerprint | None:
    if record is None:
        return None
    from isometry.encoders import Fingerprint

    return Fingerprint.from_dict(record["fingerprint"])


def load_encoders(given: Mapping[str, Any]) -> dict[Kind, tuple[Any, Encoder]]:
    """Load what the user passed as encoders: what each kind of vectors is made with, as it was given and loaded.

    Parameters
    ----------
    given : mapping
        By kind, None for those that were not passed. An encoder of any kind may stand in the place of the dense one.

    Raises
    ------
    InvalidInput
        Two encoders of one kind, or one of another kind than its place takes.
    """
    found: dict[Kind, tuple[Any, Encoder]] = {}
    for name, kind in KINDS.items():
        encoder = given.get(name)
        if encoder is None:
            continue
        if name in found:
            raise InvalidInput(
                f"encoder is {found[kind.name][1].fingerprint}, which is {name}, and {kind.called('encoder')} is given "
                "too; a collection takes one encoder of each kind"
            )
        loaded = load_of_kind(encoder, *(KINDS if name == DENSE else (kind.name,)))
        found[loaded.kind] = encoder, loaded
    return found


def load_of_kind(encoder: Any, *kinds: str) -> Encoder:
    """Load an encoder, or raise `InvalidInput` where it is of none of these kinds."""
    from isometry.encoders import load_encoder

    loaded = load_encoder(encoder)
    if loaded.kind not in kinds:
        place = KINDS[kinds[0]].called("encoder")
        raise InvalidInput(f"{loaded.fingerprint} is a {loaded.kind} encoder; {place} takes a {' or '.join(kinds)} one")
    return loaded


def space_record(given: Any, loaded: Encoder) -> dict[str, Any]:
    """Return what the manifest keeps of an encoder: how to load it again, if that is known, and its fingerprint."""
    reference = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if reference is not None and Path(reference).is_dir():
        reference = str(Path(reference).resolve())
    return {"reference": reference, "fingerprint": loaded.fingerprint.to_dict()}
