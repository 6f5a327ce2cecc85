"""The collection: documents, attributes and vectors in one durable, searchable folder."""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isometry.collections.hits import Hits
from isometry.collections.ingest import check_distinct, shape_rows, shown, user_vectors, with_ids
from isometry.collections.lock import WriterLock
from isometry.collections.manifest import MANIFEST, Manifest
from isometry.collections.queries import Queries, as_queries
from isometry.collections.records import ReadReport, read
from isometry.collections.reports import AddReport, BuildReport, OptimizeReport, Stats, VerifyReport
from isometry.collections.segment import DEFAULT_SPEC, Segment, build_segment
from isometry.collections.table import ID, DocumentTable, folder_bytes
from isometry.collections.texts import join_texts
from isometry.collections.verify import check_collection
from isometry.collections.view import Found, View
from isometry.collections.where import check_where, filter_errors
from isometry.errors import (
    AlreadyExists,
    Damaged,
    DimensionMismatch,
    DuplicateIds,
    InvalidInput,
    NotFound,
    ReadOnly,
    SpaceMismatch,
    check_choice,
    check_range,
)
from isometry.indexes import METRICS, index_from_spec
from isometry.rerank import reciprocal_rank_fusion
from isometry.storage import fsync_dir

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from isometry.encoders import Encoder, Fingerprint, Progress

__all__ = ["Collection", "create", "open"]

MODES = ("dense", "lexical", "hybrid")
DOCUMENTS, INDEXES, LOCK = "documents.lance", "indexes", ".writer.lock"
_BUILDING = "building"
_FUSION_DEPTH = 100
_RACY_NS = 2_000_000_000


def create(
    path: str | os.PathLike[str],
    *,
    encoder: Any = None,
    dim: int | None = None,
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
    dim : int, optional
        Dimensions of your own vectors; else learnt from the first batch.
    metric : {"cosine", "dot", "l2"}
        How vectors are compared.
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
    if dim is not None:
        dim = check_range("dim", dim, 1, 1 << 20)
    names = (text_fields,) if isinstance(text_fields, str) else tuple(text_fields)
    if not names or not all(isinstance(name, str) and name for name in (*names, id_field)):
        raise InvalidInput(f"text_fields is {text_fields!r}, id_field is {id_field!r}; expected names of fields")
    loaded = _load_encoder(encoder) if encoder is not None else None
    if loaded is not None:
        if dim not in (None, loaded.dim):
            raise DimensionMismatch(
                f"dim is {dim} but {loaded.fingerprint} makes {loaded.dim} dimensions; leave dim out"
            )
        dim = loaded.dim
    manifest = Manifest(
        uuid=str(uuid.uuid4()),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        metric=metric,
        dim=dim,
        encoder=_encoder_record(encoder, loaded) if loaded else None,
        id_field=id_field,
        text_fields=names,
        passages=bool(passages),
    )
    _place(folder, manifest, overwrite)
    return Collection(folder, encoder=loaded)


def open(path: str | os.PathLike[str], *, version: int | None = None, encoder: Any = None) -> Collection:
    """Open a collection that is there. Any number of processes may read; one may write.

    Parameters
    ----------
    path : str or path
    version : int, optional
        Look at the documents as they were at this version (see `Collection.versions`), read-only.
    encoder : str, path or object, optional
        For a collection whose encoder was passed as an object, or to use a loaded one again. Its fingerprint must be
        the one that the collection was made with.

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
    return Collection(Path(path), version=version, encoder=_load_encoder(encoder) if encoder is not None else None)


class Collection:
    """Documents with attributes and vectors, durable on disk; made by `create` and `open`.

    A search sees every write that was acknowledged before it, in this process or another. Every batch of a write is
    one atomic commit: after a crash it is there as a whole or not at all. Handles may be shared between threads.
    """

    def __init__(self, path: Path, *, version: int | None = None, encoder: Encoder | None = None) -> None:
        self.path = path
        self._manifest = Manifest.read(path)
        self._pinned = version
        self._lock = WriterLock(path / LOCK)
        self._guard = threading.RLock()
        self._encoder: Encoder | None = None
        self._view: View | None = None
        self._stamp: tuple[int, ...] = ()
        if encoder is not None:
            self._encoder = self._same_space(encoder)
        if version is not None:
            self._open_version(check_range("version", version, 1))

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Version of the documents: grows with every commit; 0 while there are none."""
        return self._current().table.version

    @property
    def versions(self) -> list[int]:
        """Versions that `open` can still show, oldest first."""
        return self._current().table.versions()

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the attributes."""
        table = self._current().table
        return pa.schema([table.schema.field(name) for name in table.columns])

    @property
    def metric(self) -> str:
        """How vectors are compared: ``"cosine"``, ``"dot"`` or ``"l2"``."""
        return self._manifest.metric

    @property
    def text_fields(self) -> tuple[str, ...]:
        """Fields whose text, joined by a space, is searched."""
        return self._manifest.text_fields

    @property
    def dim(self) -> int | None:
        """Dimensions of the vectors; None while there are none."""
        return self._manifest.dim

    @property
    def encoder(self) -> Encoder | None:
        """The encoder, loaded when first asked for; None for a collection of your own vectors.

        Raises
        ------
        SpaceMismatch
            What the stored name leads to today has other weights than the encoder the vectors were made with.
        InvalidInput
            The collection was made with an encoder object; pass it to `open`.
        """
        record = self._manifest.encoder
        with self._guard:
            if self._encoder is None and record is not None:
                if record.get("reference") is None:
                    raise InvalidInput(
                        f"{self.path} was made with an encoder object ({self._space()}), which has no name to load "
                        "it by; pass it: isometry.open(path, encoder=...)"
                    )
                self._encoder = self._same_space(_load_encoder(record["reference"]))
            return self._encoder

    def __len__(self) -> int:
        return len(self._current())

    def __repr__(self) -> str:
        return f"Collection({str(self.path)!r}, {len(self)} documents, version {self.version})"

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another writer in and drop what is held in memory; the handle can be used again."""
        with self._guard:
            self._lock.release()
            if self._pinned is None:
                self._view, self._stamp = None, ()

    def refresh(self) -> None:
        """Look for changes by other processes now; searches do so on their own."""
        with self._guard:
            if self._pinned is None:
                self._stamp = ()
                self._current()

    def get(self, ids: Sequence[str]) -> pa.Table:
        """Return the documents with these ids, in this order; ids that are not stored are left out."""
        wanted = _check_ids(ids)
        table = self._current().table
        found = table.scan(table.columns, pc.field(ID).isin(wanted)) if table.version else None
        if found is None or not len(found):
            return self.schema.empty_table()
        place = {name: row for row, name in enumerate(found[ID].to_pylist())}
        return found.take([place[name] for name in dict.fromkeys(wanted) if name in place])

    def stats(self) -> Stats:
        """Return the collection in numbers."""
        view = self._current()
        segment = view.segment
        return Stats(
            path=str(self.path),
            documents=len(view),
            vectors=view.n_vectors,
            unindexed=view.n_tail,
            deleted_in_index=view.n_dead,
            version=view.table.version,
            versions=len(view.table.versions()),
            spec=segment.spec if segment else None,
            metric=self.metric,
            dim=self.dim,
            encoder=self._space(),
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
    ) -> Any:
        """Find the best documents for a query, or for each of several.

        Parameters
        ----------
        query : str, vector, or a list of either
            A text, a ``(d,)`` vector, a list of texts, or an ``(nq, d)`` array.
        k : int
            How many documents, at least 1; all of them are returned when there are fewer.
        mode : {"dense", "lexical", "hybrid"}, optional
            By meaning (vectors), by words (BM25), or both, fused by reciprocal rank. Default: for a text the most that
            the collection has; for a vector, dense. `Hits.mode` says which was used.
        where : str or pyarrow.compute.Expression, optional
            Only documents that match: SQL text such as ``"year >= 2019 and venue = 'ACL'"``, or an expression, which
            is safe with values that come from users.
        effort : int, optional
            Work harder for better recall; what it means depends on the index.
        threads : int, optional
            Threads for vector search; default all.

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
        queries = as_queries(query)
        view = self._current()
        mode = self._choose_mode(mode, queries, view)
        vectors = self._query_vectors(queries) if mode != "lexical" else None
        allowed = view.allowed(where)
        if mode == "dense" and vectors is not None:
            found = view.search_dense(vectors, k, allowed, effort, threads)
        elif mode == "lexical":
            found = view.search_lexical(queries.texts or [], k, allowed)
        else:
            depth = max(k, _FUSION_DEPTH)
            dense = view.search_dense(vectors, depth, allowed, effort, threads)  # type: ignore[arg-type]
            found = _fuse(dense, view.search_lexical(queries.texts or [], depth, allowed), k)
        hits = [self._hits(view, found, row, mode) for row in range(len(queries))]
        return hits[0] if queries.single else hits

    # -- writing ---------------------------------------------------------------------------------------------------

    def add(
        self,
        source: Any,
        *,
        vectors: Any = None,
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
        encoded_by : Encoder or Fingerprint, optional
            Which encoder made `vectors`; required for a collection that has an encoder, and must be that one.
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
        return self._write(source, vectors, encoded_by, batch_rows, on_error, on_duplicate, progress)

    def upsert(
        self,
        source: Any,
        *,
        vectors: Any = None,
        encoded_by: Any = None,
        batch_rows: int = 1024,
        on_error: str = "raise",
        progress: Progress | None = None,
    ) -> AddReport:
        """Store documents, replacing those whose id is stored already as a whole.

        Parameters, result and errors are those of `add`. A replaced document and its replacement change places in one
        commit: no search sees both or neither.
        """
        return self._write(source, vectors, encoded_by, batch_rows, on_error, "replace", progress)

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
        with self._guard:
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

    def build(self, spec: str | None = None, *, progress: Progress | None = None) -> BuildReport:
        """Index all documents, so that opening and searching stay fast; report what recall it reaches.

        Searches go on meanwhile; the new index takes over in one step, and a build that is interrupted leaves the old
        one in place.

        Parameters
        ----------
        spec : str, optional
            Vector index to build, such as ``"Flat"``; default the one in use.
        progress : callable, optional

        Returns
        -------
        BuildReport

        Raises
        ------
        SpecError, Locked, ReadOnly, StorageFull
        """
        began = time.perf_counter()
        with self._guard:
            table = self._begin_write()
            spec = spec or self._spec_in_use() or DEFAULT_SPEC
            index_from_spec(spec, metric=self.metric)
            folder = self.path / INDEXES
            folder.mkdir(exist_ok=True)
            aside = folder / f".{_BUILDING}-{uuid.uuid4().hex}"
            built, recall = build_segment(table, self._manifest, spec, aside, progress)
            name = f"{1 + max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0):06d}"
            fsync_dir(aside)
            os.rename(aside, folder / name)
            fsync_dir(folder)
            self._manifest = self._manifest.with_segment(name)
            self._manifest.write(self.path)
            self._sweep()
            return BuildReport(
                spec=built.spec or spec,
                documents=len(built),
                vectors=int(built.starts[-1]),
                recall=recall.mean if recall else None,
                recall_interval=(recall.low, recall.high) if recall else None,
                recall_queries=recall.n if recall else 0,
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
        with self._guard:
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
        vectors: Any,
        encoded_by: Any,
        batch_rows: int,
        on_error: str,
        on_duplicate: str,
        progress: Progress | None,
    ) -> AddReport:
        began = time.perf_counter()
        check_range("batch_rows", batch_rows, 1)
        check_choice("on_error", on_error, ("raise", "skip"))
        self._check_space(encoded_by, vectors)
        if vectors is not None and on_error == "skip":
            raise InvalidInput("on_error='skip' would shift records against vectors=; put them in a column 'vector'")
        if vectors is not None:
            _check_count(source, vectors)
        counts = dict.fromkeys(("added", "replaced", "skipped", "batches"), 0)
        reading = ReadReport()
        with self._guard:
            table = self._begin_write()
            stored_ids = table.scan([ID])[ID].combine_chunks() if table.version else pa.array([], pa.string())
            used = 0
            for records in read(
                source,
                batch_rows=batch_rows,
                on_error=on_error,
                report=reading,
                id_field=self._manifest.id_field,
                text_fields=self._manifest.text_fields,
                schema=pa.schema([table.schema.field(name) for name in table.columns]) if table.version else None,
            ):
                given = None
                if vectors is not None:
                    if used + len(records) > len(vectors):
                        raise InvalidInput(f"{len(vectors)} vectors came with more records; expected as many")
                    given = vectors[used : used + len(records)]
                used += len(records)
                records = with_ids(records, self._manifest.id_field)
                records, own = user_vectors(records, given, self.dim)
                check_distinct(records[ID])
                if on_duplicate != "replace":
                    records, own, left_out = _without_stored(records, own, stored_ids, on_duplicate)
                    counts["skipped"] += left_out
                if len(records):
                    if own is not None:
                        self._learn_dim(own.dim)
                    rows = shape_rows(
                        records,
                        table.schema,
                        self._manifest,
                        self.encoder if own is None else None,
                        own,
                        table.version,
                        f"batch {counts['batches'] + 1}",
                    )
                    replaced = 0
                    if on_duplicate == "replace":
                        table, replaced = table.upsert(rows)
                    else:
                        table = table.append(rows)
                        stored_ids = pa.concat_arrays([stored_ids, *rows[ID].chunks])
                    counts["batches"] += 1
                    counts["replaced"] += replaced
                    counts["added"] += len(rows) - replaced
                if progress is not None:
                    progress(used, reading.total, "documents")
            if vectors is not None and used != len(vectors):
                raise InvalidInput(
                    f"{len(vectors)} vectors came with {used} records; the records are stored, check the pairing"
                )
        problems = [(str(line), why) for line, why in reading.bad_lines]
        return AddReport(**counts, bad=reading.bad, problems=problems, seconds=time.perf_counter() - began)

    def _begin_write(self) -> DocumentTable:
        """Take the writer lock, and look at the newest state under it."""
        if self._pinned is not None:
            raise ReadOnly(
                f"{self.path} is open at version {self._pinned}, read-only; open it without version= to write"
            )
        if not self._lock.held:
            self._lock.acquire()
            self._manifest = Manifest.read(self.path)
            self._sweep()
        return DocumentTable(self.path / DOCUMENTS)

    def _sweep(self) -> None:
        """Remove indexes that nothing points to: older ones, and what an interrupted build left."""
        folder = self.path / INDEXES
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name != self._manifest.segment:
                shutil.rmtree(entry, ignore_errors=True)

    def _current(self) -> View:
        """Return a view of the newest state on disk; cheap when nothing changed."""
        with self._guard:
            if self._view is not None and (self._pinned is not None or self._unchanged()):
                return self._view
            stamp = self._read_stamp()
            self._view = self._load_view()
            self._stamp = stamp
            return self._view

    def _load_view(self) -> View:
        for attempt in range(3):
            manifest = Manifest.read(self.path)
            old = self._view if self._view is not None and manifest.segment == _name(self._view.segment) else None
            try:
                segment = old.segment if old is not None else self._open_segment(manifest)
            except (NotFound, Damaged):
                # A writer may have replaced the segment between reading the manifest and opening it.
                if attempt == 2 or Manifest.read(self.path).segment == manifest.segment:
                    raise
                continue
            self._manifest = manifest
            table = old.table.newest() if old is not None else DocumentTable(self.path / DOCUMENTS)
            if old is not None and table is old.table:
                return old
            return View(table, segment, manifest.metric, manifest.text_fields, previous=old)
        raise AssertionError("unreachable")

    def _open_segment(self, manifest: Manifest) -> Segment | None:
        if manifest.segment is None:
            return None
        try:
            return Segment.open(self.path / INDEXES / manifest.segment)
        except (NotFound, Damaged) as error:
            raise Damaged(f"{error}. The documents are unharmed: run optimize to build the index again") from error

    def _open_version(self, version: int) -> None:
        newest = DocumentTable(self.path / DOCUMENTS)
        if version not in newest.versions():
            known = newest.versions()
            span = f"{known[0]} to {known[-1]}" if known else "none, it is empty"
            raise NotFound(f"{self.path} has no version {version}; it can show {span}")
        table = DocumentTable(self.path / DOCUMENTS, version=version)
        self._view = View(table, self._open_segment(self._manifest), self._manifest.metric, self._manifest.text_fields)

    def _read_stamp(self) -> tuple[int, ...]:
        """Return what changes on disk with every commit, from two `stat` calls."""
        stamp: list[int] = []
        for path in (self.path / MANIFEST, self.path / DOCUMENTS / "_versions"):
            try:
                status = os.stat(path)
                stamp += [status.st_ino, status.st_mtime_ns]
            except FileNotFoundError:
                stamp += [0, 0]
        return tuple(stamp)

    def _unchanged(self) -> bool:
        stamp = self._read_stamp()
        # Two commits within one tick of the clock share a time stamp, so a young stamp proves nothing.
        settled = time.time_ns() - max(stamp[1], stamp[3]) > _RACY_NS
        if stamp == self._stamp and settled:
            return True
        if stamp[:2] != self._stamp[:2] or self._view is None:
            return False
        table = self._view.table
        return table.newest() is table

    def _spec_in_use(self) -> str | None:
        try:
            segment = self._open_segment(self._manifest)
        except Damaged:
            return None
        return segment.spec if segment is not None else None

    def _choose_mode(self, mode: str | None, queries: Queries, view: View) -> str:
        has_text = bool(view.text_fields) or not view.table.version
        has_space = self._manifest.encoder is not None
        if mode is None:
            if queries.texts is None:
                return "dense"
            return "hybrid" if has_space and has_text else "dense" if has_space else "lexical"
        mode = check_choice("mode", mode, MODES)
        if mode != "dense" and queries.texts is None:
            raise InvalidInput(f"mode is {mode!r} but the query is a vector; pass a text, or mode='dense'")
        if mode != "lexical" and queries.texts is not None and not has_space:
            raise InvalidInput(
                f"mode is {mode!r} but the collection has no encoder to turn a text into a vector; "
                "pass a vector, or mode='lexical'"
            )
        return mode

    def _query_vectors(self, queries: Queries) -> NDArray[np.float32]:
        if queries.vectors is not None:
            dim = self.dim
            if dim is not None and queries.vectors.shape[1] != dim:
                raise DimensionMismatch(
                    f"the query has {queries.vectors.shape[1]} dimensions; the collection has {dim}"
                )
            return queries.vectors
        encoder = self.encoder
        assert encoder is not None
        vectors: Any = encoder.encode_query(queries.texts or [])
        return vectors

    def _hits(self, view: View, found: Found, row: int, mode: str) -> Hits:
        documents = found.documents[row]
        there = documents >= 0
        documents, vectors = documents[there], found.vectors[row][there]
        columns = view.table.columns

        def rows() -> pa.Table:
            return view.rows(documents, columns)

        def passages() -> list[str | None]:
            spans = view.spans(documents, vectors)
            if not any(spans):
                return [None] * len(spans)
            texts = join_texts(view.rows(documents, view.text_fields), view.text_fields)
            return [text[cut[0] : cut[1]] if cut else None for text, cut in zip(texts, spans, strict=True)]

        return Hits(view.ids(documents), found.scores[row][there], mode, rows, passages)

    def _learn_dim(self, dim: int) -> None:
        if self._manifest.dim is None:
            self._manifest = self._manifest.with_dim(dim)
            self._manifest.write(self.path)

    def _space(self) -> str | None:
        record = self._manifest.encoder
        if record is None:
            return None
        from isometry.encoders import Fingerprint

        return str(Fingerprint.from_dict(record["fingerprint"]))

    def _same_space(self, encoder: Encoder) -> Encoder:
        self._check_fingerprint(encoder.fingerprint)
        return encoder

    def _check_space(self, encoded_by: Any, vectors: Any) -> None:
        if vectors is not None and encoded_by is None and self._manifest.encoder is not None:
            raise SpaceMismatch(
                f"the collection's vectors are made by {self._space()}; say that yours are too with "
                "encoded_by=<that encoder>, or leave vectors out and let the collection encode"
            )
        if encoded_by is not None:
            self._check_fingerprint(getattr(encoded_by, "fingerprint", encoded_by))

    def _check_fingerprint(self, fingerprint: Fingerprint) -> None:
        from isometry.encoders import Fingerprint

        record = self._manifest.encoder
        if record is None:
            raise SpaceMismatch(
                f"{self.path} holds vectors of unknown origin (it was made without an encoder), so {fingerprint} can't "
                "be checked against them; open it without encoder="
            )
        own = Fingerprint.from_dict(record["fingerprint"])
        if own != fingerprint:
            raise SpaceMismatch(
                f"{self.path} holds vectors of {own}, the encoder given is {fingerprint}: vectors of two spaces can't "
                "be compared; open it with the first, or encode the documents again with the second"
            )


def _name(segment: Segment | None) -> str | None:
    return segment.path.name if segment is not None else None


def _load_encoder(encoder: Any) -> Encoder:
    from isometry.encoders import load_encoder

    loaded = load_encoder(encoder)
    if loaded.kind != "dense":
        raise InvalidInput(f"{loaded.fingerprint} is a {loaded.kind} encoder; a collection takes a dense one")
    return loaded


def _encoder_record(given: Any, loaded: Encoder) -> dict[str, Any]:
    reference = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if reference is not None and Path(reference).is_dir():
        reference = str(Path(reference).resolve())
    return {"reference": reference, "fingerprint": loaded.fingerprint.to_dict()}


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
        fsync_dir(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        if lock is not None:
            lock.release()


def _check_ids(ids: Iterable[Any]) -> list[str]:
    if isinstance(ids, str):
        raise InvalidInput(f"ids is the text {ids!r}; expected a list of ids: [{ids!r}]")
    wanted = list(ids)
    for place, name in enumerate(wanted):
        if not isinstance(name, str):
            raise InvalidInput(f"ids[{place}] is {name!r} of type {type(name).__name__}; ids are texts")
    return wanted


def _check_count(source: Any, vectors: Any) -> None:
    """Compare the numbers of records and vectors before anything is stored, where the source tells its size."""
    try:
        n = 1 if isinstance(source, dict) else None if isinstance(source, str | os.PathLike) else len(source)
        given = len(vectors)
    except TypeError:
        return
    if n is not None and n != given:
        raise InvalidInput(f"{given} vectors came with {n} records; expected as many")


def _without_stored(records: pa.Table, vectors: Any, stored: pa.Array, on_duplicate: str) -> tuple[pa.Table, Any, int]:
    known = pc.is_in(stored, value_set=records[ID].combine_chunks()) if len(stored) else pa.array([], pa.bool_())
    if not pc.any(known).as_py():
        return records, vectors, 0
    there = stored.filter(known)
    if on_duplicate == "error":
        raise DuplicateIds(
            f"{len(there)} ids are stored already: {shown(there.to_pylist())}; use upsert to replace those documents, "
            "or on_duplicate='skip' to leave them as they are"
        )
    keep = np.flatnonzero(~pc.is_in(records[ID].combine_chunks(), value_set=there).to_numpy(zero_copy_only=False))
    return records.take(keep), None if vectors is None else vectors[keep], len(records) - len(keep)


def _fuse(dense: Found, lexical: Found, k: int) -> Found:
    documents, scores = reciprocal_rank_fusion(
        [(dense.documents, dense.scores), (lexical.documents, lexical.scores)], k=k
    )
    vectors = np.full_like(documents, -1)
    for row in range(len(documents)):
        best = dict(zip(dense.documents[row].tolist(), dense.vectors[row].tolist(), strict=True))
        vectors[row] = [best.get(document, -1) for document in documents[row].tolist()]
    return Found(documents, scores, vectors)
