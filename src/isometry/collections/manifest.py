"""What a collection knows about itself: a small JSON file that is replaced as a whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from isometry.collections.kinds import DENSE, KINDS, Kind
from isometry.collections.migration import SPACE, Migration, is_count, is_name
from isometry.errors import Damaged, InvalidInput, NewerFormat, NotFound
from isometry.indexes import METRICS
from isometry.storage import atomic_write_json, read_json

__all__ = ["FORMAT_VERSION", "MANIFEST", "Manifest"]

MANIFEST = "collection.json"
KIND = "isometry-collection"
FORMAT_VERSION = 5
"""A collection is written as the first version that had all that it has, which older versions read."""
MIGRATED = 4
"""The first version that could change encoders."""
LABELLED = 5
"""The first version that could declare labels."""
SETTINGS = ("dim", "encoder", "spec")
"""What there is once for each kind of vectors."""
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """The settings of a collection and which segment serves it.

    Attributes
    ----------
    uuid : str
        Identity of the collection, kept for life.
    created : str
        ISO 8601 time in UTC.
    metric : str
        ``"cosine"``, ``"dot"`` or ``"l2"``.
    dim : int or None
        Dimensions that vectors must have; None leaves that to the first vectors stored.
    encoder : dict or None
        Reference (a name or path that loads again, or None) and fingerprint of the encoder; None for own vectors.
    id_field, text_fields : str, list of str
        Which fields of the input hold the id and the text.
    passages : bool
        Whether texts longer than the encoder reads are split into passages.
    segment : str or None
        Folder name of the index in use, below ``indexes``.
    spec : str or None
        The vector index that was asked for; None leaves the choice to the number of vectors.
    sparse_dim : int or None
        Terms of the vocabulary of sparse vectors; None for a collection without them.
    sparse_encoder : dict or None
        As `encoder`, for sparse vectors.
    sparse_spec : str or None
        The index over sparse vectors that was asked for.
    multi_dim, multi_encoder, multi_spec
        As `sparse_dim` (dimensions of a token), `sparse_encoder` and `sparse_spec`, for token vectors.
    generation : int
        How many encoders of dense vectors came before this one; each has columns of its own in the table.
    migration : Migration or None
        The change of encoders that is under way.
    labels : tuple of str
        Attributes whose values the index over vectors links rows by.
    """

    uuid: str
    created: str
    metric: str
    dim: int | None
    encoder: dict[str, Any] | None
    id_field: str
    text_fields: tuple[str, ...]
    passages: bool
    segment: str | None = None
    spec: str | None = None
    sparse_dim: int | None = None
    sparse_encoder: dict[str, Any] | None = None
    sparse_spec: str | None = None
    multi_dim: int | None = None
    multi_encoder: dict[str, Any] | None = None
    multi_spec: str | None = None
    generation: int = 0
    migration: Migration | None = None
    labels: tuple[str, ...] = ()

    def setting(self, kind: type[Kind[Any]] | Kind[Any], what: str) -> Any:
        """Return the dim, encoder or spec of a kind of vectors."""
        return getattr(self, kind.called(what))

    def write(self, folder: Path) -> None:
        """Replace the manifest in `folder` atomically."""
        content, version = asdict(self), 1
        for kind in KINDS.values():
            if kind.name != DENSE and self.setting(kind, "dim") is None:
                for what in SETTINGS:
                    del content[kind.called(what)]
            else:
                version = max(version, kind.since)
        if self.generation or self.migration is not None:
            version = max(version, MIGRATED)
        else:
            del content["generation"], content["migration"]
        if self.labels:
            version = max(version, LABELLED)
        else:
            del content["labels"]
        atomic_write_json(folder / MANIFEST, {"kind": KIND, "format_version": version, **content})

    def with_segment(self, segment: str | None, specs: dict[str, str | None]) -> Manifest:
        """Return a copy that points to another segment, built as the specifications by kind ask."""
        changed = {KINDS[name].called("spec"): spec for name, spec in specs.items()}
        return replace(self, segment=segment, **changed)  # type: ignore[arg-type]

    def as_of(self, version: int) -> Manifest:
        """Return the manifest for a version of the table: before a switch of encoders it is that of the old one."""
        migration = self.migration
        if migration is None or migration.since is None or version >= migration.since:
            return self
        return self.swapped(None)

    def swapped(self, migration: Migration | None) -> Manifest:
        """Return a copy that lives in the other space of the migration, with another migration from there on."""
        assert self.migration is not None
        there = {name: getattr(self.migration, name) for name in SPACE}
        return replace(self, migration=migration, **there)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check the manifest in `folder`.

        Raises
        ------
        NotFound
            No such folder, or a folder that is not a collection.
        NewerFormat
            Written by a newer isometry.
        Damaged
            Anything else that is not as `write` leaves it.
        """
        path = folder / MANIFEST
        if not folder.is_dir():
            raise NotFound(f"there is no collection at {folder}: no such folder; make one with isometry.create(...)")
        if not path.is_file():
            raise NotFound(f"{folder} is not a collection: it has no {MANIFEST}; make one with isometry.create(...)")
        data = read_json(path, max_bytes=_MAX_BYTES)
        if not isinstance(data, dict) or data.get("kind") != KIND:
            raise Damaged(f"{path} does not describe a collection; expected kind {KIND!r}")
        version = data.get("format_version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise Damaged(f"{path} has format_version {version!r}; expected a positive integer")
        if version > FORMAT_VERSION:
            raise NewerFormat(
                f"{folder} has format version {version}, this isometry reads up to {FORMAT_VERSION}; "
                "upgrade with: pip install -U isometry"
            )
        try:
            later = [kind.called(what) for kind in KINDS.values() if kind.since > 1 for what in SETTINGS]
            known: dict[str, Any] = {"spec": None, **dict.fromkeys(later), **data}  # those of isometry 0.1 have none
            known = {"generation": 0, "labels": [], **known, "migration": Migration.read(data.get("migration"))}
            return _checked(cls(**{field.name: known[field.name] for field in fields(cls)}))
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f"{path} is damaged: {type(error).__name__} {error}") from None


def _checked(manifest: Manifest) -> Manifest:
    def expect(condition: bool, name: str) -> None:
        if not condition:
            raise InvalidInput(f"{name} is {getattr(manifest, name)!r}")

    expect(isinstance(manifest.uuid, str), "uuid")
    expect(isinstance(manifest.created, str), "created")
    expect(manifest.metric in METRICS, "metric")
    for kind in KINDS.values():
        dim, encoder, spec = (manifest.setting(kind, what) for what in SETTINGS)
        number = isinstance(dim, int) and not isinstance(dim, bool)
        expect(dim is None or (number and 0 < dim <= kind.most_dim), kind.called("dim"))
        expect(isinstance(encoder, dict | None), kind.called("encoder"))
        expect(encoder is None or dim is not None or kind.name == DENSE, kind.called("dim"))
        expect(isinstance(spec, str | None), kind.called("spec"))
    expect(isinstance(manifest.id_field, str), "id_field")
    for several in ("text_fields", "labels"):
        names = getattr(manifest, several)
        expect(isinstance(names, list | tuple) and all(isinstance(name, str) for name in names), several)
    expect(isinstance(manifest.passages, bool), "passages")
    expect(is_name(manifest.segment), "segment")
    expect(is_count(manifest.generation), "generation")
    return replace(manifest, text_fields=tuple(manifest.text_fields), labels=tuple(manifest.labels))
