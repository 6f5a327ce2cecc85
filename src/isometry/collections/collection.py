"""The collection: documents, attributes and vectors in one durable, searchable folder."""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from isometry.collections import scalar_indexes
from isometry.collections.answers import answer, choose_modes
from isometry.collections.attributes import BOOLEAN, DATE, INTEGER, STRING, TIMESTAMP, type_words
from isometry.collections.ingest import Given
from isometry.collections.kinds import DENSE, KINDS, kinds_of, lacking
from isometry.collections.lock import WriterLock
from isometry.collections.manifest import Manifest
from isometry.collections.migrating import Migrating, unused_columns
from isometry.collections.migration import MIGRATIONS, STAGES
from isometry.collections.queries import as_queries
from isometry.collections.reports import (
    AddReport,
    BuildReport,
    MigrationReport,
    OptimizeReport,
    Stats,
    VerifyReport,
)
from isometry.collections.segment import build_segment
from isometry.collections.space import Spaces
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
    from isometry.collections.space import Space
    from isometry.encoders import Encoder, Progress
    from isometry.encoders.base import Kind as KindName

__all__ = ["LOCK", "Collection"]

_LABELS = (STRING, INTEGER, BOOLEAN, DATE, TIMESTAMP)
"""Types of attributes that rows can be linked by: one value, of which many rows may have the same."""

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
        self._spaces = Spaces(path, self._state.manifest, encoders or {})
        self._lock = WriterLock(path / LOCK)
        self._writing = threading.RLock()
        self._migrating = threading.Lock()

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
        return self._state.view().kinds[DENSE].dim

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
        return self._space("dense").encoder

    @property
    def sparse_dim(self) -> int | None:
        """Terms of the vocabulary of the sparse vectors; None for a collection without them."""
        return self._state.manifest.sparse_dim

    @property
    def sparse_encoder(self) -> Encoder | None:
        """As `encoder`, for sparse vectors."""
        return self._space("sparse").encoder

    @property
    def multi_dim(self) -> int | None:
        """Dimensions of the token vectors; None for a collection without them."""
        return self._state.manifest.multi_dim

    @property
    def multi_encoder(self) -> Encoder | None:
        """As `encoder`, for multi-vectors."""
        return self._space("multi").encoder

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
        spaces = self._spaces.of(view.manifest)
        for name, kind in KINDS.items():
            space = spaces[kind.name]
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
            migration=report.to_dict() if (report := self.migration) is not None else None,
            attributes={field.name: str(field.type) for field in self.schema},
            scalar_indexes=view.table.scalar_indexes,
            labels=segment.labels if segment else {},
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
        spaces = self._spaces.of(view.manifest)
        mode, lists = choose_modes(mode, queries, spaces, has_text)
        hits = answer(view, spaces, queries, k, mode, lists, where, effort, threads, explain)
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
        labels: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> BuildReport:
        """Index all documents and their attributes, so that opening and searching stay fast; report the recall.

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
        labels : sequence of str, optional
            Attributes that many searches ask one value of, such as ``["venue"]``: a graph (``Vamana``) then links the
            rows of each value among each other as well, now and whenever `optimize` builds again. Not for lists and
            floats. Default: those asked for before; ``[]`` for none.
        progress : callable, optional

        Returns
        -------
        BuildReport

        Raises
        ------
        InvalidInput, SpecError, Locked, ReadOnly, StorageFull
        """
        with self._writing:
            table = self._begin_write()
            table = table.index(scalar_indexes.chosen(table))
            manifest = Manifest.read(self.path)
            if labels is not None:
                manifest = replace(manifest, labels=_check_labels(labels, table))
            specs = dict(zip(KINDS, (spec, sparse_spec, multi_spec), strict=True))
            # A search in another thread may put an older manifest into the state at any time: the one written decides.
            manifest, report = self._built(table, manifest, specs, progress)
            manifest.write(self.path)
            self._sweep(manifest)
            return report

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
            table = table.without(unused_columns(table, Manifest.read(self.path))).compact()
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

    # -- changing the encoder --------------------------------------------------------------------------------------

    @property
    def migration(self) -> MigrationReport | None:
        """How far a change of encoders has come; None where none is under way."""
        return Migrating(self).report()

    def migrate(
        self,
        encoder: Any = None,
        *,
        until: str = "switched",
        sample: int = 5000,
        method: str = "best",
        spec: str | None = None,
        seed: int = 0,
        batch_rows: int = 1024,
        progress: Progress | None = None,
    ) -> MigrationReport:
        """Go over to another encoder of dense vectors, without encoding all documents first; or go on doing so.

        From passages that both encoders have seen a map is learned, and what retrieval it keeps is measured: then the
        migration is *planned*, and nothing has changed. Next queries are encoded by the new encoder and mapped into the
        space of the stored vectors: it is *serving*. Then the documents are encoded anew, batch by batch; searches go
        on over the old vectors, other threads may write, and what was done is kept whatever happens: call it again to
        go on. At last the new vectors are indexed and searched instead, in one step: the collection has *switched*.
        Until `finish_migration`, `rollback_migration` leads back from wherever it is.

        Parameters
        ----------
        encoder : str, path or object, optional
            The new encoder, as for `create`. None goes on with the migration that is under way.
        until : {"planned", "serving", "switched"}
            How far to go.
        sample : int, default 5000
            Stored passages to encode anew and learn the map from. With 0 there is no map, and the old encoder serves
            until the switch; so even a collection without vectors gets some.
        method : {"best", "procrustes", "linear", "mlp"}
            The kind of map, as for `isometry.transforms.Alignment`.
        spec : str, optional
            Index over the new vectors. Default: what was asked for of the old ones.
        seed : int
            Draws the sample.
        batch_rows : int
            Documents that are encoded and kept in one step.
        progress : callable, optional
            Called as ``progress(done, total, what)``.

        Returns
        -------
        MigrationReport

        Raises
        ------
        InvalidInput
            The encoder is the one that there is, or not one of dense vectors; another migration is under way; there is
            no text, or there are too few pairs to learn from; none is under way and no encoder is given; it was rolled
            back meanwhile.
        SpaceMismatch, NotFound, MissingExtra, SpecError, Locked, ReadOnly, StorageFull

        Notes
        -----
        Vectors of the new encoder are kept aside until the switch, which adds them to the table as columns of their
        own and reads all documents to index them. It waits for nothing, but writers wait for it, as for `build`.

        Documents that are added before the switch are encoded by the old encoder, and again by the new one in their
        turn; those added after it by the new one only, and again by the old one should it be rolled back.
        """
        began = time.perf_counter()
        check_choice("until", until, STAGES)
        if not self._migrating.acquire(blocking=False):
            raise InvalidInput(f"another thread migrates {self.path}; wait for it to end")
        try:
            work, build = Migrating(self), None
            work.plan(encoder, sample, method, seed, spec, progress)
            if until != "planned":
                work.serve()
            stage = Manifest.read(self.path).migration
            if until == "switched" and stage is not None and stage.stage == "serving":
                work.embed(batch_rows, progress)
                build = work.switch(batch_rows, progress)
            report = work.report(build, time.perf_counter() - began)
        finally:
            self._migrating.release()
        if report is None:
            raise InvalidInput(f"the migration of {self.path} was ended meanwhile, by a rollback for one")
        return report

    def rollback_migration(self, *, batch_rows: int = 1024, progress: Progress | None = None) -> None:
        """Return to the encoder from before the migration that is under way, at whatever stage it is.

        Nothing of the documents is lost: what was written after the switch is encoded by the old encoder first.

        Parameters
        ----------
        batch_rows : int
            Documents that are encoded and kept in one step.
        progress : callable, optional

        Raises
        ------
        InvalidInput
            No migration is under way; or documents were written after the switch to a collection of your own vectors.
        Locked, ReadOnly, StorageFull
        """
        Migrating(self).roll_back(batch_rows, progress)

    def finish_migration(self, *, keep: timedelta = timedelta(hours=1)) -> None:
        """Give up the vectors and the index of the old encoder, after a switch; there is no way back from here.

        Parameters
        ----------
        keep : timedelta
            Versions younger than this keep their files, so that readers are not disturbed; `optimize` drops them later.

        Raises
        ------
        InvalidInput
            No migration has switched.
        Locked, ReadOnly, StorageFull
        """
        Migrating(self).finish(keep)

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
        with self._writing:
            table = self._begin_write()
            manifest = Manifest.read(self.path)
            spaces, kinds = self._spaces.of(manifest), kinds_of(manifest, table)
            _check_origin(spaces, given, encoded_by)
            for name in given:
                if name not in kinds:
                    raise lacking(KINDS[name], KINDS[name].called("vectors"))
            given = {name: kinds[name].taken(own, kinds[name].called("vectors")) for name, own in given.items()}
            work = Writing(manifest, spaces, batch_rows, on_error, on_duplicate)
            work.run(table, source, given, progress)
        return AddReport(
            added=work.added,
            replaced=work.replaced,
            skipped=work.skipped,
            bad=work.reading.bad,
            problems=[(str(line), why) for line, why in work.reading.bad_lines],
            batches=work.batches,
            seconds=time.perf_counter() - began,
        )

    def _space(self, name: str) -> Space:
        return self._spaces.of(self._state.view().manifest)[name]

    def _built(
        self, table: DocumentTable, manifest: Manifest, asked: dict[str, str | None], progress: Progress | None
    ) -> tuple[Manifest, BuildReport]:
        """Index all documents in a new folder; return the manifest that points to it, not written yet."""
        began = time.perf_counter()
        specs = {name: asked.get(name) or manifest.setting(kind, "spec") for name, kind in KINDS.items()}
        for name, wanted in specs.items():
            if wanted is not None:
                KINDS[name](None, manifest.metric).index(wanted)
        folder = self._new_folder(INDEXES)
        folder.parent.mkdir(exist_ok=True)
        aside = folder.parent / f".building-{uuid.uuid4().hex}"
        built = build_segment(table, manifest, specs, aside, progress)
        fsync_path(aside)
        os.rename(aside, folder)
        fsync_path(folder.parent)
        told: dict[str, Any] = {}
        for kind in KINDS.values():
            told[kind.called("spec")] = built.specs.get(kind.name)
            told |= _cost_of(built.costs.get(kind.name), kind.prefix)
        told["spec"] = told["spec"] or specs[DENSE] or default_spec(0, 1)
        report = BuildReport(
            documents=len(built),
            vectors=int(built.starts[-1]),
            **told,
            labels=built.labels,
            nbytes=folder_bytes(folder),
            seconds=time.perf_counter() - began,
        )
        return manifest.with_segment(folder.name, specs), report

    def _new_folder(self, below: str) -> Path:
        """Return a numbered folder that does not exist yet."""
        parent = self.path / below
        taken = [int(entry.name) for entry in parent.iterdir() if entry.name.isdigit()] if parent.is_dir() else []
        return parent / f"{1 + max(taken, default=0):06d}"

    def _begin_write(self) -> DocumentTable:
        """Take the writer lock, and look at the newest state under it."""
        if self._state.pinned is not None:
            raise ReadOnly(
                f"{self.path} is open at version {self._state.pinned}, read-only; open it without version= to write"
            )
        if not self._lock.held:
            self._lock.acquire()
            self._sweep(Manifest.read(self.path))
        return DocumentTable(self.path / DOCUMENTS)

    def _sweep(self, manifest: Manifest) -> None:
        """Remove what nothing points to: older indexes, ended migrations, and what interrupted work left."""
        migration = manifest.migration
        kept = {
            INDEXES: {manifest.segment, migration and migration.segment},
            MIGRATIONS: {migration and migration.folder},
        }
        for below, in_use in kept.items():
            folder = self.path / below
            for entry in folder.iterdir() if folder.is_dir() else ():
                if entry.name not in in_use:
                    shutil.rmtree(entry, ignore_errors=True)


def _check_origin(spaces: dict[str, Space], given: Given, encoded_by: Any) -> None:
    """Raise `SpaceMismatch` unless every kind of vectors given comes from its space, as far as that is known."""
    several = encoded_by if isinstance(encoded_by, list | tuple) else () if encoded_by is None else (encoded_by,)
    said: list[Any] = [getattr(each, "fingerprint", each) for each in several]
    checked = [space for space in spaces.values() if space.kind in given]
    if said and not checked:  # in a column of the records, not seen yet
        checked = [space for space in spaces.values() if space.fingerprint in said] or [spaces[DENSE]]
    for space in checked:
        others = [other.fingerprint for other in spaces.values() if other is not space]
        space.check_vectors([each for each in said if each not in others])


def _check_ids(ids: Iterable[Any]) -> list[str]:
    if isinstance(ids, str):
        raise InvalidInput(f"ids is the text {ids!r}; expected a list of ids: [{ids!r}]")
    wanted = list(ids)
    for place, name in enumerate(wanted):
        if not isinstance(name, str):
            raise InvalidInput(f"ids[{place}] is {name!r} of type {type(name).__name__}; ids are texts")
    return wanted


def _check_labels(labels: Sequence[str], table: DocumentTable) -> tuple[str, ...]:
    """Return the attributes to link rows by; raises `InvalidInput` for what can't be one."""
    if isinstance(labels, str):
        raise InvalidInput(f"labels is the text {labels!r}; expected a list of attributes: [{labels!r}]")
    names = tuple(dict.fromkeys(labels))
    for name in names:
        if name not in table.columns or name == ID:
            raise InvalidInput(f"labels names {name!r}, which is no attribute; there are: {', '.join(table.columns)}")
        if (dtype := table.schema.field(name).type) not in _LABELS:
            raise InvalidInput(
                f"labels names {name!r}, which holds {type_words(dtype)}; expected one value per document"
            )
    return names


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
