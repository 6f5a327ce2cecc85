"""The kinds of vectors that a collection may hold: how each comes in, is stored, indexed, and judged.

Everything else in this room loops over `KINDS`, or over the kinds that a collection has (`kinds_of`). One more kind is
one more class here, with its settings in the manifest and its fields in the reports.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from isometry.collections.costs import Cost, dense_recall, queries_of, sparse_recall, token_recall
from isometry.collections.table import SPANS, SPARSE, TOKENS, VECTORS, folder_bytes, sparse_vectors_of, vectors_of
from isometry.collections.tail import Tailed
from isometry.collections.texts import encode_passages, encode_tokens, encode_whole
from isometry.errors import Damaged, InvalidInput, SpecError
from isometry.indexes import Flat, Vamana, default_spec, index_from_spec
from isometry.indexes.levelled import Levelled
from isometry.indexes.sparse import SparseIndex, check_weights
from isometry.indexes.tokens import TokenIndex
from isometry.vectors import MultiVectors, as_dense, as_multi, as_sparse, from_arrow, to_arrow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from isometry.collections.manifest import Manifest
    from isometry.collections.table import DocumentTable
    from isometry.encoders import Encoder, Progress
    from isometry.encoders.base import Kind as KindName

__all__ = ["DENSE", "KINDS", "Dense", "Kind", "Made", "Multi", "Sparse", "damaged_index", "kinds_of", "lacking"]

DENSE: KindName = "dense"
_FEWEST_LEARNED = 1000
_TOKEN_SCAN = "Float16,MaxSim"
_SCANNED_NUMBERS = 2**25
_LEAST, _LARGEST = 2.0**-14, 65504.0
"""Between them float16 keeps eleven bits of a number."""

V = TypeVar("V")


class Made(NamedTuple):
    """An index that was built and saved, in words, what it costs, and how many values of which attributes it links."""

    spec: str
    cost: Cost | None
    labels: dict[str, int] = {}  # noqa: RUF012 (nobody writes to it)


class Kind(ABC, Generic[V]):
    """One kind of vectors, as one collection holds them.

    Parameters
    ----------
    dim : int or None
        Their dimensions; None while no dense vector is known.
    metric : str
        The collection's.
    generation : int
        How many encoders came before: each has columns of its own.

    Attributes
    ----------
    column, spans : str
        Where the table of documents keeps vectors, and where their passages are.
    """

    name: ClassVar[KindName]
    """What encoders of it are called, and the way to search by it, and the folder of its index."""
    prefix: ClassVar[str]
    """Begins the names of parameters, settings, reports and columns of records that belong to it."""
    since: ClassVar[int]
    """Format version that first had it."""
    stem: ClassVar[str]
    """The column of the table of documents that keeps it; later generations have a number behind."""
    most_dim: ClassVar[int] = 1 << 20
    one: ClassVar[str]
    words: ClassVar[str]
    """One of its vectors and several, in an error."""
    units: ClassVar[str] = "dimensions"
    """What its dimensions are called, in an error."""
    form: ClassVar[str]
    """What a column of records holds, in an error."""
    indexes: ClassVar[tuple[type[Any], ...]]
    """Classes of index that take it."""
    examples: ClassVar[str]
    """Specifications of some of them."""

    def __init__(self, dim: int | None, metric: str, generation: int = 0) -> None:
        self.dim = dim
        self.metric = metric
        self.column, self.spans = (f"{stem}_{generation}" if generation else stem for stem in (self.stem, SPANS))

    @classmethod
    def called(cls, what: str) -> str:
        """Return the name of a parameter, setting, report field or column of this kind."""
        return cls.prefix + what

    @property
    def columns(self) -> list[str]:
        """The columns of the table of documents to read."""
        return [self.column]

    # -- coming in -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def taken(self, x: Any, name: str) -> V:
        """Return vectors as they are stored, checked, one entry per document.

        Raises
        ------
        InvalidInput, DimensionMismatch
            What can't be stored or searched.
        """

    def from_column(self, column: pa.ChunkedArray, name: str) -> Any:
        """Read a column of records, for `taken`."""
        return from_arrow(column, name=name)

    @abstractmethod
    def encode(
        self, encoder: Encoder, rows: pa.Table, fields: Sequence[str], split: bool, progress: Progress | None
    ) -> tuple[Any, list[list[tuple[int, int]]] | None]:
        """Return the vectors of texts, for `taken`, and where their passages are, if that is stored with them."""

    @staticmethod
    def dim_of(vectors: V) -> int:
        """Return the number of dimensions of vectors, also of queries."""
        return int(vectors.shape[1])  # type: ignore[attr-defined]

    # -- stored --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def to_column(self, vectors: V) -> pa.Array:
        """Return vectors as the table of documents keeps them."""

    @abstractmethod
    def of_rows(self, rows: pa.Table | pa.RecordBatch) -> V:
        """Return the stored vectors of documents; one without any (null) has an empty entry."""

    def problems(self, rows: pa.RecordBatch) -> list[str]:
        """Return what is wrong with stored vectors, in sentences that begin behind the names of documents."""
        self.of_rows(rows)
        return []

    # -- indexed -------------------------------------------------------------------------------------------------------

    @property
    def scores(self) -> str:
        """The metric of its indexes."""
        return self.metric

    @abstractmethod
    def default_spec(self, vectors: V) -> str:
        """Return the specification of what serves these vectors, when nobody asked for anything."""

    def index(self, spec: str) -> Any:
        """Return a new, empty index.

        Raises
        ------
        SpecError
            The specification can't be read, or is of an index over something else.
        """
        if not isinstance(index_from_spec(spec), self.indexes):  # made by its own metric, which is sure to fit
            raise SpecError(
                f"{self.called('spec')} is {spec!r}, which does not index {self.words}; "
                f"expected such as {self.examples}"
            )
        return index_from_spec(spec, metric=self.scores)

    @abstractmethod
    def build(self, vectors: V, spec: str | None, folder: Path, labels: Mapping[str, NDArray[np.int64]]) -> Made | None:
        """Index the vectors of all documents in a new folder; None where there is nothing to index.

        `labels` are attributes to link rows by, with a number for the value of each document; -1 for none.
        """

    @abstractmethod
    def extended(self, base: Any, vectors: V) -> Any:
        """Return an index of what `base` (an index, what this returned, or None) holds and of more vectors.

        `base` stays as it is: searches in other threads may use it.
        """

    def check_index(self, index: Any) -> str | None:
        """Return what is wrong with a stored index, if anything is."""
        if self.dim in (None, index.dim):
            return None
        return f"the {self.name} index has {index.dim} {self.units}, the collection {self.dim}; run optimize"


class Dense(Kind[MultiVectors]):
    """One vector per passage, compared by the collection's metric."""

    name = DENSE
    prefix = ""
    since = 1
    stem = VECTORS
    one = "a vector"
    words = "vectors"
    form = "with {dim} numbers per record"
    indexes = (Flat, Levelled)
    examples = "Flat or LVQ8,Vamana64"

    def taken(self, x: Any, name: str) -> MultiVectors:
        """One vector per document, or several (`MultiVectors`)."""
        if not isinstance(x, MultiVectors):
            one_each = as_dense(x, name=name)
            x = MultiVectors(one_each, np.arange(len(one_each) + 1))
        as_dense(x.tokens[:1], dim=self.dim, name=name)
        return x

    def encode(
        self, encoder: Encoder, rows: pa.Table, fields: Sequence[str], split: bool, progress: Progress | None
    ) -> tuple[Any, list[list[tuple[int, int]]] | None]:
        """One vector per passage, with the places of passages."""
        spans, vectors = encode_passages(encoder, rows, fields, split, progress)
        return vectors, spans

    def to_column(self, vectors: MultiVectors) -> pa.Array:
        """Return lists of vectors."""
        return to_arrow(vectors)

    def of_rows(self, rows: pa.Table | pa.RecordBatch) -> MultiVectors:
        """Return the vectors of each document, one per passage."""
        return vectors_of(rows, self.column)

    def default_spec(self, vectors: MultiVectors) -> str:
        """As `isometry.indexes.default_spec`."""
        return default_spec(*vectors.tokens.shape)

    def build(
        self, vectors: MultiVectors, spec: str | None, folder: Path, labels: Mapping[str, NDArray[np.int64]]
    ) -> Made | None:
        """Index all passages; what learns does not learn from the vectors that it is judged by."""
        rows = vectors.tokens
        if not len(rows):
            return None
        index = self.index(spec or self.default_spec(vectors))
        asked = queries_of(np.arange(len(rows)))
        options: dict[str, Any] = {}
        if isinstance(index, Levelled) and len(rows) >= _FEWEST_LEARNED:
            options["held_out"] = asked
        if isinstance(index, Vamana) and labels:
            options["labels"] = {name: np.repeat(codes, vectors.lengths) for name, codes in labels.items()}
        index.build(rows, **options).save(folder)
        cost = Cost.of(dense_recall(index, rows, asked, self.metric), folder_bytes(folder), len(rows))
        return Made(index.spec, cost, index.labels if isinstance(index, Vamana) else {})

    def extended(self, base: Any, vectors: MultiVectors) -> Tailed:
        """Scan what came later."""
        scan = partial(Flat, metric=self.metric)
        return (base if isinstance(base, Tailed) else Tailed(base, scan)).with_more(vectors.tokens)


class Sparse(Kind["csr_array"]):
    """One sparse vector per document, compared by dot product."""

    name = "sparse"
    prefix = "sparse_"
    since = 2
    stem = SPARSE
    most_dim = (1 << 31) - 1
    one = "a sparse vector"
    words = "sparse vectors"
    units = "terms"
    form = "with indices and values"
    indexes = (SparseIndex,)
    examples = "Inverted or Seismic(4000,0.2)"

    @property
    def scores(self) -> str:
        """Whatever the metric of the collection."""
        return "dot"

    def taken(self, x: Any, name: str) -> csr_array:
        """Weights above 0."""
        return check_weights(as_sparse(x, dim=self.dim, name=name), name)

    def from_column(self, column: pa.ChunkedArray, name: str) -> Any:
        """The size of the vocabulary is not in the column."""
        return from_arrow(column, dim=self.dim, name=name)

    def encode(
        self, encoder: Encoder, rows: pa.Table, fields: Sequence[str], split: bool, progress: Progress | None
    ) -> tuple[Any, None]:
        """One vector per document, of all of its passages."""
        return encode_whole(encoder, rows, fields, split, progress), None

    def to_column(self, vectors: csr_array) -> pa.Array:
        """Return lists of columns and lists of weights."""
        return to_arrow(vectors)

    def of_rows(self, rows: pa.Table | pa.RecordBatch) -> csr_array:
        """Return one row per document."""
        return sparse_vectors_of(rows, self.dim or 0)

    def problems(self, rows: pa.RecordBatch) -> list[str]:
        """Return whether a weight is negative."""
        negative = int((self.of_rows(rows).data < 0).sum())
        return [f"have {negative} negative weights of terms"] if negative else []

    def default_spec(self, vectors: csr_array) -> str:
        """Exact, and up to some hundred thousand texts the faster one too (benchmarks/sparse.py)."""
        return "Inverted"

    def build(
        self, vectors: csr_array, spec: str | None, folder: Path, labels: Mapping[str, NDArray[np.int64]]
    ) -> Made | None:
        """Index all documents."""
        index = self.index(spec or self.default_spec(vectors)).build(vectors)
        index.save(folder)
        return Made(index.spec, Cost.of(sparse_recall(index, vectors), folder_bytes(folder), vectors.shape[0]))

    def extended(self, base: Any, vectors: csr_array) -> SparseIndex:
        """Add rows to a copy that shares what is there; they are scanned."""
        from scipy.sparse import csr_array

        if base is None:
            base = self.index("Inverted").build(csr_array((0, vectors.shape[1]), dtype=np.float32))
        more: SparseIndex = copy.copy(base)
        more.add(vectors)
        return more


class Multi(Kind[MultiVectors]):
    """One vector per token, compared by MaxSim: the sum, over a query's tokens, of the best that a document has."""

    name = "multi"
    prefix = "multi_"
    since = 3
    stem = TOKENS
    one = "a set of token vectors"
    words = "token vectors"
    form = "with a list of {dim} numbers per token"
    indexes = (TokenIndex,)
    examples = "MaxSim or FDE(20,5,16),PQ256x8,Vamana32 -> PQ32"

    @property
    def scores(self) -> str:
        """Cosines of tokens, or else their dot products."""
        return "cosine" if self.metric == "cosine" else "dot"

    def taken(self, x: Any, name: str) -> MultiVectors:
        """Tokens that float16 can hold."""
        sets = as_multi(x, dim=self.dim, name=name)
        largest = np.maximum(sets.tokens.max(axis=1, initial=0.0), -sets.tokens.min(axis=1, initial=0.0))
        odd = np.flatnonzero((largest > _LARGEST) | ((largest > 0) & (largest < _LEAST)))
        if len(odd):
            raise InvalidInput(
                f"token {odd[0]} of {name} has a largest value of magnitude {largest[odd[0]]:.3g}; tokens are stored "
                f"in half precision, which takes 0 or {_LEAST:.2g} to {_LARGEST:.0f}: scale them, to length 1 for one"
            )
        return sets

    def from_column(self, column: pa.ChunkedArray, name: str) -> Any:
        """A record without tokens may hold null or an empty list."""
        array = column.combine_chunks()
        if pa.types.is_null(array.type):
            array = array.cast(pa.list_(pa.null()))
        if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
            raise InvalidInput(f"{name} has the Arrow type {array.type}; expected lists of token vectors")
        lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        each = array.flatten()
        tokens = from_arrow(each, self.dim, name) if len(each) else np.zeros((0, self.dim or 1), np.float32)
        return MultiVectors(tokens, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    def encode(
        self, encoder: Encoder, rows: pa.Table, fields: Sequence[str], split: bool, progress: Progress | None
    ) -> tuple[Any, None]:
        """Return the tokens of all passages of each document."""
        return encode_tokens(encoder, rows, fields, split, progress), None

    @staticmethod
    def dim_of(vectors: MultiVectors) -> int:
        """Return the dimensions of a token."""
        return vectors.dim

    def to_column(self, vectors: MultiVectors) -> pa.Array:
        """Return lists of tokens in half precision."""
        return to_arrow(vectors).cast(pa.list_(pa.list_(pa.float16(), vectors.dim)))

    def of_rows(self, rows: pa.Table | pa.RecordBatch) -> MultiVectors:
        """Return the tokens of each document."""
        return vectors_of(rows, self.column, self.dim)

    def default_spec(self, vectors: MultiVectors) -> str:
        """A scan up to 2^25 numbers, encodings beyond.

        There a scan takes one core some 54 ms for a query of 23 tokens, and encodings 8 with tokens in 8 bits
        (benchmarks/results/multi_vector-search.json); they miss some, `build` says how many.
        """
        return _TOKEN_SCAN if vectors.tokens.size <= _SCANNED_NUMBERS else "FDE(20,5,16),LVQ4,Flat -> LVQ8"

    def build(
        self, vectors: MultiVectors, spec: str | None, folder: Path, labels: Mapping[str, NDArray[np.int64]]
    ) -> Made | None:
        """Index all documents, unless none has a token."""
        if not len(vectors.tokens):
            return None
        index = self.index(spec or self.default_spec(vectors)).build(vectors)
        index.save(folder)
        recall = token_recall(index, vectors, self.scores)
        return Made(index.spec, Cost.of(recall, folder_bytes(folder), len(vectors.tokens)))

    def extended(self, base: Any, vectors: MultiVectors) -> Tailed:
        """Scan what came later."""
        scan = partial(self.index, _TOKEN_SCAN)
        return (base if isinstance(base, Tailed) else Tailed(base, scan)).with_more(vectors)


KINDS: dict[str, type[Kind[Any]]] = {kind.name: kind for kind in (Dense, Sparse, Multi)}
"""By name, in the order in which lists are fused."""


def kinds_of(manifest: Manifest, table: DocumentTable | None = None) -> dict[str, Kind[Any]]:
    """Return the kinds that a collection has: dense vectors always, the others where it has dimensions for them."""
    dense = Dense(manifest.dim, manifest.metric, manifest.generation)
    if table is not None:
        dense.dim = table.dim_of(dense.column) or dense.dim
    dims = {name: manifest.setting(kind, "dim") for name, kind in KINDS.items() if name != DENSE}
    return {DENSE: dense} | {name: KINDS[name](dim, manifest.metric) for name, dim in dims.items() if dim is not None}


def damaged_index(problem: str) -> Damaged:
    """Return the error for what `Kind.check_index` found."""
    return Damaged(f"{problem} to build it again")


def lacking(kind: type[Kind[Any]], name: str) -> InvalidInput:
    """Return the error for vectors of a kind that a collection does not have."""
    return InvalidInput(
        f"{name} are given, but the collection has no {kind.words}; create it with {kind.called('dim')}= (how many "
        f"{kind.units} they have) or {kind.called('encoder')}="
    )
