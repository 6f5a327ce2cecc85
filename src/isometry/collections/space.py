"""Which embedding space a collection lives in: its encoder, loaded when needed and never mixed up with another."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isometry.collections.kinds import DENSE, KINDS
from isometry.errors import InvalidInput, SpaceMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isometry.encoders import Encoder, Fingerprint
    from isometry.encoders.base import Kind

__all__ = ["Space", "load_encoders", "space_record"]


class Space:
    """The encoder of one kind of a collection's vectors, by reference and fingerprint.

    Parameters
    ----------
    path : Path
        The collection, for messages.
    record : dict or None
        What `space_record` made; None for a collection of the user's own vectors.
    encoder : Encoder, optional
        Loaded already; it must be of the same space.
    kind : {"dense", "sparse", "multi"}
    """

    def __init__(
        self, path: Path, record: dict[str, Any] | None, encoder: Encoder | None = None, kind: Kind = DENSE
    ) -> None:
        self._path = path
        self.kind = kind
        self._record = record
        self._guard = threading.Lock()
        if encoder is not None:
            self._check(encoder.fingerprint)
        self._encoder = encoder

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Identity of the space; None when it is unknown."""
        if self._record is None:
            return None
        from isometry.encoders import Fingerprint

        return Fingerprint.from_dict(self._record["fingerprint"])

    @property
    def encoder(self) -> Encoder | None:
        """The encoder, loaded by its reference at the first use."""
        if self._record is None:
            return None
        with self._guard:
            if self._encoder is None:
                reference = self._record.get("reference")
                if reference is None:
                    raise InvalidInput(
                        f"{self._path} was made with an encoder object ({self.fingerprint}), which has no name to load "
                        f"it by; pass it: isometry.open(path, {KINDS[self.kind].called('encoder')}=...)"
                    )
                loaded = _load(reference, self.kind)
                self._check(loaded.fingerprint)
                self._encoder = loaded
            return self._encoder

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
            self._check(encoded_by[0])
        elif self._record is not None:
            raise SpaceMismatch(
                f"the collection's {self.kind} vectors are made by {self.fingerprint}; say that yours are too with "
                "encoded_by=<that encoder>, or leave vectors out and let the collection encode"
            )

    def _check(self, given: Fingerprint) -> None:
        own = self.fingerprint
        if own is None:
            raise SpaceMismatch(
                f"{self._path} holds vectors of unknown origin (it was made without an encoder), so {given} can't be "
                "checked against them; leave the encoder out"
            )
        if own != given:
            raise SpaceMismatch(
                f"{self._path} holds vectors of {own}, the encoder given is {given}: vectors of two spaces can't be "
                "compared; use the first, or encode the documents again with the second"
            )


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
        loaded = _load(encoder, *(KINDS if name == DENSE else (kind.name,)))
        found[loaded.kind] = encoder, loaded
    return found


def _load(encoder: Any, *kinds: str) -> Encoder:
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
