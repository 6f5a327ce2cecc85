"""What the collection says it did: small frozen records that print and turn into JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["AddReport", "BuildReport", "MigrationReport", "OptimizeReport", "Stats", "VerifyReport"]


class _Report:
    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain Python values."""
        return asdict(self)  # type: ignore[call-overload]


@dataclass(frozen=True)
class AddReport(_Report):
    """What `add` or `upsert` stored.

    Attributes
    ----------
    added, replaced : int
        Documents that are new, and documents that took the place of an older one with their id.
    skipped : int
        Documents left out because their id was stored already (``on_duplicate="skip"``).
    bad : int
        Records that could not be read (``on_error="skip"``).
    problems : list of (where, why)
        The first of the bad records.
    batches : int
        Atomic commits made.
    seconds : float
    """

    added: int = 0
    replaced: int = 0
    skipped: int = 0
    bad: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    batches: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class BuildReport(_Report):
    """What `build` made, and what it costs.

    Attributes
    ----------
    spec : str
        The index that was built.
    documents, vectors : int
    recall : float or None
        Share of the exact ten nearest neighbours, as the full vectors give them, that the index returns, over
        `recall_queries` stored vectors that no transform or codec learned from; None when there are no vectors.
    recall_interval : (float, float) or None
        95 % interval of `recall`.
    recall_queries : int
    bytes_per_vector : float or None
        Bytes of the vector index on disk; a full vector takes 4 per dimension.
    sparse_spec, sparse_recall, sparse_recall_interval, sparse_recall_queries, sparse_bytes_per_vector
        The same of the index over sparse vectors; None where there are none.
    multi_spec, multi_recall, multi_recall_interval, multi_recall_queries, multi_bytes_per_vector
        The same of the index over token vectors, against MaxSim of all tokens as they are stored. Queries are up to 32
        tokens of stored documents, none of which counts itself, though codecs learn from all; bytes are per token.
    labels : dict of str to int
        Attributes that the vector index links rows by, and how many of their values have enough rows to be linked.
    nbytes : int
        Bytes of the index on disk.
    seconds : float
    """

    spec: str
    documents: int
    vectors: int
    recall: float | None
    recall_interval: tuple[float, float] | None
    recall_queries: int
    bytes_per_vector: float | None
    sparse_spec: str | None
    sparse_recall: float | None
    sparse_recall_interval: tuple[float, float] | None
    sparse_recall_queries: int
    sparse_bytes_per_vector: float | None
    multi_spec: str | None
    multi_recall: float | None
    multi_recall_interval: tuple[float, float] | None
    multi_recall_queries: int
    multi_bytes_per_vector: float | None
    labels: dict[str, int]
    nbytes: int
    seconds: float


@dataclass(frozen=True)
class OptimizeReport(_Report):
    """What `optimize` did.

    Attributes
    ----------
    build : BuildReport
        The index, rebuilt over all documents.
    fragments_before, fragments_after : int
        Files that hold the documents.
    bytes_before, bytes_after : int
        Size of the collection on disk.
    seconds : float
    """

    build: BuildReport
    fragments_before: int
    fragments_after: int
    bytes_before: int
    bytes_after: int
    seconds: float


@dataclass(frozen=True)
class MigrationReport(_Report):
    """How far a change of encoders has come, and what its map keeps.

    Attributes
    ----------
    stage : {"planned", "serving", "switched"}
        The map is ready and nothing has changed; queries are encoded by the new encoder and mapped; documents are
        searched by their new vectors, and what was before is kept for a rollback.
    encoder, previous : str, str or None
        Fingerprints of the new and the old encoder; None for vectors of your own.
    method : str or None
        The kind of map, as in `isometry.transforms.Alignment`; None without a map.
    pairs : int
        Stored passages that were encoded anew to learn and to judge it.
    kept, kept_interval : float or None, (float, float) or None
        Share of the ten nearest documents of a stored vector that its new vector, mapped, finds as well, in this
        collection by its own index, with a 95 % interval.
    judged : int
        Passages that it was measured with; they taught nothing.
    textless : float or None
        Share of the stored vectors drawn that have no text: nothing can be encoded in their place.
    mapped : bool
        Whether queries go through the map now.
    documents, embedded : int
        Documents, and how many of them have vectors of the new encoder.
    seconds_left : float or None
        What encoding the rest will take, by the speed that the sample had.
    build : BuildReport or None
        The index over the new vectors, if this call built it.
    seconds : float
        Of this call.
    """

    stage: str
    encoder: str
    previous: str | None
    method: str | None
    pairs: int
    kept: float | None
    kept_interval: tuple[float, float] | None
    judged: int
    textless: float | None
    mapped: bool
    documents: int
    embedded: int
    seconds_left: float | None
    build: BuildReport | None
    seconds: float


@dataclass(frozen=True)
class VerifyReport(_Report):
    """What `verify` found.

    Attributes
    ----------
    ok : bool
        No problem was found.
    problems : list of str
        What is wrong, and what to do about it.
    documents, vectors : int
        How many were read and checked.
    bytes_checked : int
        Bytes of index files whose checksum was compared.
    seconds : float
    """

    ok: bool
    problems: list[str]
    documents: int
    vectors: int
    bytes_checked: int
    seconds: float


@dataclass(frozen=True)
class Stats(_Report):
    """A collection in numbers.

    Attributes
    ----------
    path : str
    documents, vectors : int
    unindexed : int
        Documents written since the index was built: found by a scan until `optimize`.
    deleted_in_index : int
        Documents the index still holds though they are gone; never returned.
    version : int
        Version of the table of documents.
    versions : int
        Versions that can be opened.
    spec, metric : str or None, str
        The index in use.
    dim : int or None
    recall, recall_interval, recall_queries, bytes_per_vector
        What the index costs against full precision, as in `BuildReport`.
    encoder : str or None
        Fingerprint of the encoder.
    sparse_spec, sparse_dim, sparse_encoder
        The same of sparse vectors; None where there are none.
    sparse_recall, sparse_recall_interval, sparse_recall_queries, sparse_bytes_per_vector
        What their index costs against a full scan.
    multi_spec, multi_dim, multi_encoder
        The same of token vectors.
    multi_recall, multi_recall_interval, multi_recall_queries, multi_bytes_per_vector
        What their index costs, as in `BuildReport`.
    migration : dict or None
        The `MigrationReport` of a change of encoders that is under way.
    attributes : dict
        Name and type of each attribute.
    scalar_indexes : dict
        Kind of the index over each attribute that has one: ``"bitmap"`` or ``"btree"``.
    labels : dict
        Attributes that the vector index links rows by, as in `BuildReport`.
    fragments : int
        Files that hold the documents.
    bytes_documents, bytes_index : int
        On disk.
    """

    path: str
    documents: int
    vectors: int
    unindexed: int
    deleted_in_index: int
    version: int
    versions: int
    spec: str | None
    metric: str
    dim: int | None
    recall: float | None
    recall_interval: tuple[float, float] | None
    recall_queries: int
    bytes_per_vector: float | None
    encoder: str | None
    sparse_spec: str | None
    sparse_dim: int | None
    sparse_recall: float | None
    sparse_recall_interval: tuple[float, float] | None
    sparse_recall_queries: int
    sparse_bytes_per_vector: float | None
    sparse_encoder: str | None
    multi_spec: str | None
    multi_dim: int | None
    multi_recall: float | None
    multi_recall_interval: tuple[float, float] | None
    multi_recall_queries: int
    multi_bytes_per_vector: float | None
    multi_encoder: str | None
    migration: dict[str, Any] | None
    attributes: dict[str, str]
    scalar_indexes: dict[str, str]
    labels: dict[str, int]
    fragments: int
    bytes_documents: int
    bytes_index: int
