"""A change of encoders that is under way: what the manifest says of it, and what it keeps on disk.

``migrations/000001/map``
    The `Alignment` that takes queries of the new encoder into the space of the stored vectors.
``migrations/000001/batch-000000``
    New vectors of some documents, by their sequence numbers: written as a whole or not at all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.collections.ingest import spans_column
from isometry.errors import InvalidInput
from isometry.estimators import restore, state
from isometry.storage import read_folder, write_folder
from isometry.vectors import MultiVectors, concat, take

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from isometry.collections.kinds import Dense

__all__ = [
    "MIGRATIONS",
    "SPACE",
    "STAGES",
    "Batches",
    "Fit",
    "Migration",
    "columns_of",
    "is_count",
    "is_name",
    "read_map",
    "write_map",
]

MIGRATIONS = "migrations"
STAGES = ("planned", "serving", "switched")
SPACE = ("encoder", "dim", "generation", "spec", "segment")
"""What the manifest says of the space that a collection lives in, and a migration of the other one."""
MAP = "map"
_MAP_KIND, _BATCH_KIND = "migration-map", "migration-batch"


@dataclass(frozen=True)
class Fit:
    """How good a map is.

    Attributes
    ----------
    method : str
        As `Alignment.method_`.
    pairs : int
        Stored passages that were encoded anew to learn and to judge it.
    kept, low, high : float
        Share of the ten nearest documents that a mapped vector finds as well, with its 95 % interval.
    judged : int
        Pairs that it was measured with; they taught nothing.
    textless : float
        Share of the passages drawn that have no text, and will have no vector.
    texts_per_second : float
        How fast the new encoder was.
    """

    method: str
    pairs: int
    kept: float
    low: float
    high: float
    judged: int
    textless: float
    texts_per_second: float


@dataclass(frozen=True)
class Migration:
    """What the manifest keeps of a change of encoders.

    Attributes
    ----------
    stage : {"planned", "serving", "switched"}
        Nothing has changed yet; queries are the new encoder's; documents are too.
    encoder, dim, generation, spec, segment
        As in `Manifest`, of the other space: the new one until the switch, then the old one.
    folder : str
        Below ``migrations``.
    asked : dict
        The sample, method and seed that the map was asked for with.
    fit : Fit or None
        None where there is no map: the old encoder serves until the switch.
    since : int or None
        After the switch, the version of the table that first had vectors of both spaces.
    """

    stage: str
    encoder: dict[str, Any] | None
    dim: int | None
    generation: int
    spec: str | None
    segment: str | None
    folder: str
    asked: dict[str, Any]
    fit: Fit | None
    since: int | None = None

    @property
    def mapped(self) -> bool:
        """Whether queries are taken into the old space."""
        return self.stage == "serving" and self.fit is not None

    @classmethod
    def read(cls, data: Any) -> Migration | None:
        """Read what `dataclasses.asdict` made; None stays None.

        Raises
        ------
        InvalidInput, KeyError, TypeError
            Anything else.
        """
        if data is None:
            return None
        fit = data["fit"]
        read = cls(**{field.name: data[field.name] for field in fields(cls)} | {"fit": fit and Fit(**fit)})
        numbers = [] if read.fit is None else list(asdict(read.fit).values())[1:]
        sound = (
            read.stage in STAGES
            and isinstance(read.encoder, dict | None)
            and (read.dim is None or is_count(read.dim))
            and is_count(read.generation)
            and isinstance(read.spec, str | None)
            and is_name(read.segment)
            and read.folder is not None
            and is_name(read.folder)
            and isinstance(read.asked, dict)
            and all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
            and (read.stage == "switched") == is_count(read.since)
        )
        if not sound:
            raise InvalidInput(f"migration is {data!r:.200}")
        return read


def is_count(value: Any) -> bool:
    """Whether this is an integer from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_name(value: Any) -> bool:
    """Whether this is the name of a folder of ours, or None."""
    return value is None or (isinstance(value, str) and value.isalnum())


def write_map(folder: Path, alignment: Any) -> None:
    """Store a fitted map in the folder of a migration."""
    kind, parameters, arrays = state(alignment)
    write_folder(folder / MAP, _MAP_KIND, {"kind": kind, "parameters": parameters}, arrays)


def read_map(folder: Path, *, verify: bool = False) -> Any:
    """Return what `write_map` stored."""
    found = read_folder(folder / MAP, _MAP_KIND, verify=verify)
    return restore(found.parameter("kind", str), found.parameter("parameters", dict), found.arrays)


class Batches:
    """The new vectors of a migration so far, on disk.

    Parameters
    ----------
    folder : Path
        Of the migration.
    dim : int
        Dimensions of the new vectors.
    verify : bool, default False
        Compare every checksum.
    """

    def __init__(self, folder: Path, dim: int, *, verify: bool = False) -> None:
        self._folder = folder
        parts = [read_folder(path, _BATCH_KIND, verify=verify) for path in sorted(folder.glob("batch-*"))]
        self._seq = [part.array("seq", np.int64, (None,)) for part in parts]
        self._spans = [part.array("spans", np.int64, (None, 2)) for part in parts]
        self._vectors = [
            MultiVectors(
                part.array("vectors", np.float32, (len(spans), dim)),
                part.array("offsets", np.int64, (len(seq) + 1,)),
            )
            for part, seq, spans in zip(parts, self._seq, self._spans, strict=True)
        ]

    @property
    def seq(self) -> NDArray[np.int64]:
        """Sequence numbers of the documents that have new vectors."""
        return np.concatenate([np.zeros(0, np.int64), *self._seq])

    def add(self, seq: NDArray[np.int64], vectors: MultiVectors, spans: list[list[tuple[int, int]]]) -> None:
        """Keep the vectors of some more documents, in one step."""
        cuts = np.array([cut for each in spans for cut in each], np.int64).reshape(-1, 2)
        arrays: dict[str, NDArray[Any]] = {
            "seq": seq,
            "vectors": vectors.tokens,
            "offsets": vectors.offsets,
            "spans": cuts,
        }
        write_folder(self._folder / f"batch-{len(self._seq):06d}", _BATCH_KIND, {}, arrays)
        self._seq.append(seq)
        self._spans.append(cuts)
        self._vectors.append(vectors)

    def columns(self, kind: Dense) -> Any:
        """Return a callable that gives the columns of documents by their sequence numbers, for `DocumentTable.fill`."""
        seq = self.seq
        order = np.argsort(seq, kind="stable")
        vectors: Any = concat(self._vectors)
        spans = np.concatenate(self._spans)

        def make(wanted: NDArray[np.int64]) -> pa.Table:
            rows = order[np.searchsorted(seq, wanted, sorter=order)]
            ranges = zip(vectors.offsets[rows].tolist(), vectors.offsets[rows + 1].tolist(), strict=True)
            return columns_of(kind, take(vectors, rows), [spans[start:stop].tolist() for start, stop in ranges])

        return make


def columns_of(kind: Dense, vectors: Any, spans: list[list[Any]]) -> pa.Table:
    """Return the columns of the table that keep vectors and where their passages are."""
    import pyarrow as pa

    return pa.table({kind.column: kind.to_column(vectors), kind.spans: spans_column(spans)})
