"""The collection: documents, attributes and vectors in one durable, searchable folder."""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from isometry.collections.answers import answer, choose_modes
from isometry.collections.ingest import Given
from isometry.collections.kinds import DENSE, KINDS, lacking
from isometry.collections.lock import WriterLock
from isometry.collections.manifest import Manifest
from isometry.collections.queries import as_queries
from isometry.collections.reports import AddReport, BuildReport, OptimizeReport, Stats, VerifyReport
from isometry.collections.segment import build_segment
from isometry.collections.space import Space
from isometry.collections.state import DOCUMENTS, INDEXES, State
from isometry.collections.table import ID, DocumentTable, folder_bytes
from isometry.collections.verify import check_collection
from isometry.collections.where import check_where, filter_errors
from isometry.collections.writing import Writing
from isometry.errors import InvalidInput, ReadOnly, check_choice, check_range
from isometry.indexes import default_spec
from isometry.storage import fsync_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from isometry.collections.costs import Cost
    from isometry.encoders import Encoder, Progress
    from isometry.encoders.base import Kind as KindName

__all__ = ["LOCK", "Collection"]

LOCK = ".writer.lock"


class Collection:
    """Documents with attributes and vectors, durable on disk; made by `create` and `open`.

    A search sees every write that was acknowledged before it, in this process or another. Every batch of a write is
    one atomic commit: after a crash it is there as a whole or not at all. Handles may be shared between threads.
    """

    def __init__(
        self, path: Path, *, version: int | None = None, encoders: Mapping[KindName, Encoder] | None = None
    ) -> None:
        self.path = path
        self._state = State(path, version)
        manifest, loaded = self._state.manifest, encoders or {}
        self._spaces: dict[str, Space] = {
            kind.name: Space(path, manifest.setting(kind, "encoder"), loaded.get(kind.name), kind.name)
            for kind in KINDS.values()
        }
        self._lock = WriterLock(path / LOCK)
        self._writing = threading.RLock()

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Version of the documents: grows with every commit; 0 while there are none."""
        return self._state.view().table.version

    @property
    def versions(self) -> list[int]:
        """Versions that `open` can still show, oldest first."""
        return self._state.view().table.versions()

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the attributes."""
        table = self._state.view().table
        return pa.schema([table.schema.field(name) for name in table.columns])

    @property
    def metric(self) -> str:
        """How vectors are compared: ``"cosine"``, ``"dot"`` or ``"l2"``."""
        return self._state.manifest.metric

    @property
    def text_fields(self) -> tuple[str, ...]:
        """Fields whose text, joined by a space, is searched."""
        return self._state.manifest.text_fields

    @property
    def dim(self) -> int | None:
        """Dimensions of the vectors; None while there are none."""
        return self._state.manifest.dim or self._state.view().table.dim

    @property
    def encoder(self) -> Encoder | None:
        """The encoder of dense vectors, loaded when first asked for; None for a collection of your own vectors.

        Raises
        ------
        SpaceMismatch
            What the stored name leads to today has other weights than the encoder the vectors were made with.
        InvalidInput
            The collection was made with an encoder object; pass it to `open`.
        """
        return self._spaces["dense"].encoder

    @property
    def sparse_dim(self) -> int | None:
        """Terms of the vocabulary of the sparse vectors; None for a collection without them."""
        return self._state.manifest.sparse_dim

    @property
    def sparse_encoder(self) -> Encoder | None:
        """As `encoder`, for sparse vectors."""
        return self._spaces["sparse"].encoder

    @property
    def multi_dim(self) -> int | None:
        """Dimensions of the token vectors; None for a collection without them."""
        return self._state.manifest.multi_dim

    @property
    def multi_encoder(self) -> Encoder | None:
        """As `encoder`, for multi-vectors."""
        return self._spaces["multi"].encoder

    def __len__(self) -> int:
        return len(self._state.view())

    def __repr__(self) -> str:
        return f"Collection({str(self.path)!r}, {len(self)} documents, version {self.version})"

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another writer in and drop what is held in memory; the handle can be used again."""
        with self._writing:
            self._lock.release()
            self._state.forget()

    def refresh(self) -> None:
        """Look for changes by other processes now; searches do so on their own."""
        self._state.forget()
        self._state.view()

    def get(self, ids: Sequence[str]) -> pa.Table:
        """Return the documents with these ids, in this order; ids that are not stored are left out."""
        wanted = _check_ids(ids)
        table = self._state.view().table
        found = table.scan(table.columns, pc.field(ID).isin(pa.array(wanted, pa.string()))) if table.version else None
        if found is None or not len(found):
            return self.schema.empty_table()
        place = {name: row for row, name in enumerate(found[ID].to_pylist())}
        return found.take([place[name] for name in dict.fromkeys(wanted) if name in place])

    def stats(self) -> Stats:
        """Return the collection in numbers."""
        view = self._state.view()
        segment = view.segment
        told: dict[str, Any] = {}
        for name, kind in KINDS.items():
            space = self._spaces[kind.name]
            told[kind.called("spec")] = segment.specs.get(name) if segment else None
            told[kind.called("dim")] = view.kinds[name].dim if name in view.kinds else None
            told[kind.called("encoder")] = str(space.fingerprint) if space.fingerprint is not None else None
            told |= _cost_of(segment.costs.get(name) if segment else None, kind.prefix)
        return Stats(
            path=str(self.path),
            documents=len(view),
            vectors=view.n_vectors,
            unindexed=view.n_tail,
            deleted_in_index=view.n_dead,
            version=view.table.version,
            versions=len(view.table.versions()),
            metric=self.metric,
            **told,
            attributes={field.name: str(field.type) for field in self.schema},
            fragments=view.table.fragments()[0],
            bytes_documents=folder_bytes(self.path / DOCUMENTS),
            bytes_index=folder_bytes(segment.path) if segment else 0,
        )

    def verify(self) -> VerifyReport:
        """Read everything and compare it with what it should be: rows, ids, vectors, checksums of the index.

        Returns
        -------
        VerifyReport
            With one line per problem; O(size of the collection).
        """
        began = time.perf_counter()
        manifest = Manifest.read(self.path)
        found = check_collection(self.path / DOCUMENTS, self.path / INDEXES, manifest)
        return VerifyReport(**found, seconds=time.perf_counter() - began)

    # -- searching -------------------------------------------------------------------------------------------------

    def search(
        self,
        query: Any,
        k: int = 10,
        *,
        mode: str | None = None,
        where: Any = None,
        effort: int | None = None,
        threads: int | None = None,
        explain: bool = False,
    ) -> Any:
        """Find the best documents for a query, or for each of several.

        Parameters
        ----------
        query : str, vector, or a list of either
            A text, a ``(d,)`` vector, a list of texts, an ``(nq, d)`` array, a SciPy sparse array of ``(terms,)`` or
            ``(nq, terms)``, or `MultiVectors`, one set of tokens per query; with ``mode="multi"`` also one ``(t, d)``
            array of tokens, or a list of such.
        k : int
            How many documents, at least 1; all of them are returned when there are fewer.
        mode : {"dense", "sparse", "multi", "lexical", "hybrid"}, optional
            By meaning (vectors), by weighted terms (sparse vectors), token by token (multi-vectors), by words (BM25),
            or by all that the collection has, fused by reciprocal rank. Default: for a text the most that the
            collection has; for a vector its own kind. `Hits.mode` says which was used, `Hits.terms` what query and hit
            have in common, `Hits.tokens` which token answers which.
        where : str or pyarrow.compute.Expression, optional
            Only documents that match: SQL text such as ``"year >= 2019 and venue = 'ACL'"``, or an expression, which
            is safe with values that come from users.
        effort : int, optional
            Work harder for better recall; what it means depends on the index. In hybrid search it is told to one index
            only: that of dense vectors if there is one, else of sparse ones, else of tokens.
        threads : int, optional
            Threads for vector search; default all.
        explain : bool, default False
            Keep in `Hits.plan` how the filter was gone about and why, which takes the time of another search.

        Returns
        -------
        Hits or list of Hits
            A list when a list was asked for.

        Raises
        ------
        InvalidInput, DimensionMismatch, SpaceMismatch, FilterError
            A query that is empty or does not fit the collection, k < 1, an unknown mode, a filter that can't be read.
        """
        k = check_range("k", k, 1)
        queries = as_queries(query, mode)
        view = self._state.view()
        has_text = bool(view.text_fields) or not view.table.version
        mode, lists = choose_modes(mode, queries, self._spaces, has_text)
        hits = answer(view, self._spaces, queries, k, mode, lists, where, effort, threads, explain)
        return hits[0] if queries.single else hits

    # -- writing ---------------------------------------------------------------------------------------------------

    def add(
        self,
        source: Any,
        *,
        vectors: Any = None,
        sparse_vectors: Any = None,
        multi_vectors: Any = None,
        encoded_by: Any = None,
        batch_rows: int = 1024,
        on_error: str = "raise",
        on_duplicate: str = "error",
        progress: Progress | None = None,
    ) -> AddReport:
        """Store new documents.

        Parameters
        ----------
        source : path, Arrow, pandas, polars, iterable of dict, or dict
            Files: ``.jsonl[.gz]``, ``.json``, ``.csv[.gz]``, ``.tsv``, ``.parquet``, ``.arrow``.
        vectors : (n, d) array or MultiVectors, optional
            Your own vectors, one row per record (or several per record); a column ``vector`` will do as well.
        sparse_vectors : (n, terms) SciPy sparse array, optional
            Your own sparse vectors, of weights that are not negative, for a collection that has such; a column
            ``sparse_vector`` of ``{"indices": [...], "values": [...]}`` will do as well.
        multi_vectors : MultiVectors or sequence of (t, d) arrays, optional
            Your own token vectors, for a collection that has such; a column ``multi_vector`` of lists of lists will do
            as well. They are stored in half precision. A document without tokens is not found by them.
        encoded_by : Encoder, Fingerprint or a list of them, optional
            Which encoder made `vectors`, which `sparse_vectors`, and which `multi_vectors`; required where the
            collection has an encoder for them, and must be that one.
        batch_rows : int
            Documents per atomic commit.
        on_error : {"raise", "skip"}
            What to do with a record that can't be read: stop, or count it and go on.
        on_duplicate : {"error", "skip"}
            What to do with an id that is stored already. ``"skip"`` makes an interrupted `add` go on where it stopped.
        progress : callable, optional
            Called as ``progress(done, total, what)`` after every batch.

        Returns
        -------
        AddReport

        Raises
        ------
        DuplicateIds
            An id twice in one batch, or stored already. Batches before it are stored.
        BadRecord, SchemaMismatch, InvalidInput, DimensionMismatch, SpaceMismatch, StorageFull
            What is wrong with the record, attribute, vector or disk. Batches before it are stored, this one is not.
        Locked
            Another process is writing.
        """
        check_choice("on_duplicate", on_duplicate, ("error", "skip"))
        given = _given(vectors, sparse_vectors, multi_vectors)
        return self._write(source, given, encoded_by, batch_rows, on_error, on_duplicate, progress)

    def upsert(
        self,
        source: Any,
        *,
        vectors: Any = None,
        sparse_vectors: Any = None,
        multi_vectors: Any = None,
        encoded_by: Any = None,
        batch_rows: int = 1024,
        on_error: str = "raise",
        progress: Progress | None = None,
    ) -> AddReport:
        """Store documents, replacing those whose id is stored already as a whole.

        Parameters, result and errors are those of `add`. A replaced document and its replacement change places in one
        commit: no search sees both or neither.
        """
        given = _given(vectors, sparse_vectors, multi_vectors)
        return self._write(source, given, encoded_by, batch_rows, on_error, "replace", progress)

    def delete(self, ids: Sequence[str] | None = None, where: Any = None) -> int:
        """Delete documents by id or by filter, in one atomic commit.

        Parameters
        ----------
        ids : sequence of str, optional
            Ids that are not stored are passed over.
        where : str or pyarrow.compute.Expression, optional
            As for `search`.

        Returns
        -------
        int
            How many were deleted.

        Raises
        ------
        InvalidInput
            Not exactly one of the two.
        FilterError, Locked, ReadOnly
        """
        if (ids is None) == (where is None):
            raise InvalidInput("pass either ids= or where= to say what to delete")
        with self._writing:
            table = self._begin_write()
            if not table.version:
                return 0
            if ids is not None:
                table, gone = table.delete_ids(pa.array(_check_ids(ids), pa.string()))
            else:
                checked = check_where(where, table.schema)
                assert checked is not None
                with filter_errors(checked):
                    table, gone = table.delete(checked.scan_filter)
            return gone

    def build(
        self,
        spec: str | None = None,
        *,
        sparse_spec: str | None = None,
        multi_spec: str | None = None,
        progress: Progress | None = None,
    ) -> BuildReport:
        """Index all documents, so that opening and searching stay fast; report what recall it reaches.

        Searches go on meanwhile; the new index takes over in one step, and a build that is interrupted leaves the old
        one in place.

        Parameters
        ----------
        spec : str, optional
            Vector index to build, such as ``"Flat"`` or ``"LVQ8,Vamana64"``, now and whenever `optimize` builds again.
            Default: what was asked for before, else `isometry.indexes.default_spec` of what there is.
        sparse_spec : str, optional
            Index over sparse vectors to build, where there are any, such as ``"Inverted"`` or ``"Seismic(4000,0.2)"``,
            now and later. Default: what was asked for before, else ``"Inverted"``, which is exact.
        multi_spec : str, optional
            Index over token vectors to build, where there are any, such as ``"PQ32,MaxSim"`` or
            ``"FDE(20,5,16),PQ256x8,Vamana32 -> PQ32"``, now and later. Default: what was asked for before, else an
            exact scan of up to 2^25 numbers, and encodings beyond.
        progress : callable, optional

        Returns
        -------
        BuildReport

        Raises
        ------
        SpecError, Locked, ReadOnly, StorageFull
        """
        began = time.perf_counter()
        with self._writing:
            table = self._begin_write()
            manifest = Manifest.read(self.path)
            asked = dict(zip(KINDS, (spec, sparse_spec, multi_spec), strict=True))
            specs = {name: asked[name] or manifest.setting(kind, "spec") for name, kind in KINDS.items()}
            for name, wanted in specs.items():
                if wanted is not None:
                    KINDS[name](None, self.metric).index(wanted)
            folder = self.path / INDEXES
            folder.mkdir(exist_ok=True)
            aside = folder / f".building-{uuid.uuid4().hex}"
            built = build_segment(table, manifest, specs, aside, progress)
            name = f"{1 + max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0):06d}"
            fsync_path(aside)
            os.rename(aside, folder / name)
            fsync_path(folder)
            # A search in another thread may put an older manifest into the state at any time: the one written decides.
            manifest = manifest.with_segment(name, specs)
            manifest.write(self.path)
            self._sweep(name)
            told: dict[str, Any] = {}
            for kind in KINDS.values():
                told[kind.called("spec")] = built.specs.get(kind.name)
                told |= _cost_of(built.costs.get(kind.name), kind.prefix)
            told["spec"] = told["spec"] or specs[DENSE] or default_spec(0, 1)
            return BuildReport(
                documents=len(built),
                vectors=int(built.starts[-1]),
                **told,
                nbytes=folder_bytes(folder / name),
                seconds=time.perf_counter() - began,
            )

    def optimize(self, *, keep: timedelta = timedelta(hours=1), progress: Progress | None = None) -> OptimizeReport:
        """Join small files, index what is not indexed, and drop what only old versions need.

        Parameters
        ----------
        keep : timedelta
            Versions younger than this can still be opened afterwards, so that readers are not disturbed.
        progress : callable, optional

        Returns
        -------
        OptimizeReport

        Raises
        ------
        Locked, ReadOnly, StorageFull
        """
        began = time.perf_counter()
        with self._writing:
            table = self._begin_write()
            fragments, size = table.fragments()[0], folder_bytes(self.path)
            table = table.compact()
            build = self.build(progress=progress)
            table.forget(keep)
            return OptimizeReport(
                build=build,
                fragments_before=fragments,
                fragments_after=table.fragments()[0],
                bytes_before=size,
                bytes_after=folder_bytes(self.path),
                seconds=time.perf_counter() - began,
            )

    # -- inside ----------------------------------------------------------------------------------------------------

    def _write(
        self,
        source: Any,
        given: Given,
        encoded_by: Any,
        batch_rows: int,
        on_error: str,
        on_duplicate: str,
        progress: Progress | None,
    ) -> AddReport:
        began = time.perf_counter()
        self._check_origin(given, encoded_by)
        kinds = self._state.view().kinds
        for name in given:
            if name not in kinds:
                raise lacking(KINDS[name], KINDS[name].called("vectors"))
        given = {name: kinds[name].taken(own, kinds[name].called("vectors")) for name, own in given.items()}
        with self._writing:
            work = Writing(self._state.manifest, self._spaces, batch_rows, on_error, on_duplicate)
            work.run(self._begin_write(), source, given, progress)
        return AddReport(
            added=work.added,
            replaced=work.replaced,
            skipped=work.skipped,
            bad=work.reading.bad,
            problems=[(str(line), why) for line, why in work.reading.bad_lines],
            batches=work.batches,
            seconds=time.perf_counter() - began,
        )

    def _check_origin(self, given: Given, encoded_by: Any) -> None:
        """Raise `SpaceMismatch` unless every kind of vectors given comes from its space, as far as that is known."""
        several = encoded_by if isinstance(encoded_by, list | tuple) else () if encoded_by is None else (encoded_by,)
        said: list[Any] = [getattr(each, "fingerprint", each) for each in several]
        every = self._spaces.values()
        spaces = [space for space in every if space.kind in given]
        if said and not spaces:  # in a column of the records, not seen yet
            spaces = [space for space in every if space.fingerprint in said] or [self._spaces["dense"]]
        for space in spaces:
            others = [other.fingerprint for other in every if other is not space]
            space.check_vectors([each for each in said if each not in others])

    def _begin_write(self) -> DocumentTable:
        """Take the writer lock, and look at the newest state under it."""
        if self._state.pinned is not None:
            raise ReadOnly(
                f"{self.path} is open at version {self._state.pinned}, read-only; open it without version= to write"
            )
        if not self._lock.held:
            self._lock.acquire()
            self._sweep(Manifest.read(self.path).segment)
        return DocumentTable(self.path / DOCUMENTS)

    def _sweep(self, in_use: str | None) -> None:
        """Remove indexes that nothing points to: older ones, and what an interrupted build left."""
        folder = self.path / INDEXES
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name != in_use:
                shutil.rmtree(entry, ignore_errors=True)


def _check_ids(ids: Iterable[Any]) -> list[str]:
    if isinstance(ids, str):
        raise InvalidInput(f"ids is the text {ids!r}; expected a list of ids: [{ids!r}]")
    wanted = list(ids)
    for place, name in enumerate(wanted):
        if not isinstance(name, str):
            raise InvalidInput(f"ids[{place}] is {name!r} of type {type(name).__name__}; ids are texts")
    return wanted


def _cost_of(cost: Cost | None, prefix: str = "") -> dict[str, Any]:
    """Return what reports say about the price of an index."""
    said = {
        "recall": cost and cost.recall,
        "recall_interval": cost and (cost.low, cost.high),
        "recall_queries": cost.queries if cost else 0,
        "bytes_per_vector": cost and cost.bytes_per_vector,
    }
    return {f"{prefix}{name}": value for name, value in said.items()}


def _given(*vectors: Any) -> Given:
    """Return the caller's own vectors, which come in the order of `KINDS`, by kind."""
    return {name: own for name, own in zip(KINDS, vectors, strict=True) if own is not None}
