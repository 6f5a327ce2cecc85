"""Changing the encoder of a collection: a map first, then new vectors batch by batch, then one switch of the manifest.

Until the switch, the vectors, the index and the documents stay as they are; new vectors are kept aside by the sequence
numbers of their documents, which every write makes anew. So what is added, replaced or deleted meanwhile needs no
bookkeeping: what has no new vectors yet is what is left to do.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isometry.collections.kinds import DENSE, Dense, kinds_of
from isometry.collections.manifest import Manifest
from isometry.collections.migration import MIGRATIONS, SPACE, Batches, Fit, Migration, columns_of, write_map
from isometry.collections.reports import BuildReport, MigrationReport
from isometry.collections.space import load_of_kind, space_record
from isometry.collections.table import ID, ROWS_PER_WRITE, SEQ, SPANS, VECTORS
from isometry.collections.texts import headings, join_texts
from isometry.errors import InvalidInput, check_choice, check_range
from isometry.estimates import bootstrap_mean

if TYPE_CHECKING:
    from datetime import timedelta

    import pyarrow as pa
    from numpy.typing import NDArray

    from isometry.collections.collection import Collection
    from isometry.collections.table import DocumentTable
    from isometry.collections.view import View
    from isometry.encoders import Encoder, Progress

__all__ = ["FEWEST_PAIRS", "Migrating", "unused_columns"]

FEWEST_PAIRS = 50
_JUDGED_SHARE, _MOST_JUDGED = 5, 500
_NEIGHBOURS = 10


class Pairs(NamedTuple):
    """Stored passages, as both encoders see them."""

    documents: NDArray[np.int64]
    new: NDArray[np.float32]
    old: NDArray[np.float32]
    textless: float
    texts_per_second: float


class Migrating:
    """The steps of a migration of one collection, each of which may be the last of a process.

    Parameters
    ----------
    collection : Collection
        Whose locks, state and spaces are used.
    """

    def __init__(self, collection: Collection) -> None:
        self._of = collection

    # -- before anything changes ---------------------------------------------------------------------------------------

    def plan(
        self, encoder: Any, sample: int, method: str, seed: int, spec: str | None, progress: Progress | None
    ) -> None:
        """Fit and judge a map, and note it; or find out that this has been done."""
        from isometry.transforms.align import METHODS

        check_range("sample", sample, 0)
        check_choice("method", method, ("best", *METHODS))
        check_range("seed", seed, 0)
        collection = self._of
        with collection._writing:
            collection._begin_write()
            manifest = Manifest.read(collection.path)
        migration = manifest.migration
        if encoder is None:
            if migration is None:
                raise InvalidInput(f"{collection.path} has no migration to go on with; name the new encoder")
            return
        loaded = load_of_kind(encoder, DENSE)
        asked = {"sample": sample, "method": method, "seed": seed}
        there = collection._spaces.of(manifest)[DENSE]
        if migration is not None and migration.stage == "switched":
            if there.fingerprint == loaded.fingerprint:
                return
            raise InvalidInput(
                f"{collection.path} has gone over to {there.fingerprint} and keeps what it had before; finish that "
                "migration, or roll it back, before the next one"
            )
        if there.fingerprint == loaded.fingerprint:
            raise InvalidInput(f"the vectors of {collection.path} are those of {loaded.fingerprint} already")
        if migration is not None:
            same = collection._spaces.other(manifest).fingerprint == loaded.fingerprint
            if same and (migration.stage == "serving" or (migration.asked == asked and spec in (None, migration.spec))):
                collection._spaces.keep(loaded)
                return
            if migration.stage == "serving":
                raise InvalidInput(
                    f"{collection.path} is on its way to {collection._spaces.other(manifest).fingerprint}; go on with "
                    f"that, or roll it back, before {loaded.fingerprint}"
                )
        generation = manifest.generation + 1
        spec = spec or manifest.spec
        index = Dense(loaded.dim, manifest.metric, generation).index(spec) if spec is not None else None
        alignment = fit = None
        if sample:
            view = collection._state.view()
            pairs = draw_pairs(view, loaded, sample, seed, progress)
            if index is not None:  # better to hear of what does not fit the new vectors now than after encoding them
                index.build(pairs.new)
            alignment, fit = fit_map(view, pairs, method, seed)
        with collection._writing:
            collection._begin_write()
            folder = collection._new_folder(MIGRATIONS)
            folder.mkdir(parents=True)
            if alignment is not None:
                write_map(folder, alignment)
            record = space_record(encoder, loaded)
            planned = Migration("planned", record, loaded.dim, generation, spec, None, folder.name, asked, fit)
            self._write(replace(Manifest.read(collection.path), migration=planned))
        collection._spaces.keep(loaded)

    def serve(self) -> None:
        """Let queries be encoded by the new encoder, and mapped, from now on."""
        with self._of._writing:
            self._of._begin_write()
            manifest = Manifest.read(self._of.path)
            if manifest.migration is not None and manifest.migration.stage == "planned":
                self._write(replace(manifest, migration=replace(manifest.migration, stage="serving")))

    # -- from the old vectors to the new -------------------------------------------------------------------------------

    def embed(self, batch_rows: int, progress: Progress | None) -> None:
        """Make the new vectors that are not there yet, and keep each batch in one step; others may write meanwhile."""
        check_range("batch_rows", batch_rows, 1)
        collection = self._of
        table, manifest, migration = self._serving()
        kind = _kind(manifest, migration)
        encoder = collection._spaces.other(manifest).encoder
        assert encoder is not None
        batches = self._batches(migration)
        done, there, left = batches.seq, np.zeros(0, np.int64), np.zeros(0, np.int64)
        seen = -1
        while True:
            if table.version != seen:
                seen = table.version
                there = table.scan([SEQ])[SEQ].to_numpy() if seen else there
                left = np.flatnonzero(~np.isin(there, done))
            if not len(left):
                return
            offsets, left = left[:batch_rows], left[batch_rows:]
            rows = table.take(offsets, _texts_of(table, manifest))
            vectors, spans = _encoded(rows, kind, encoder, manifest, len(there))
            with collection._writing:
                table = self._serving(migration)[0]
                batches.add(there[offsets], vectors, spans)
            done = np.concatenate([done, there[offsets]])
            if progress is not None:
                progress(len(there) - len(left), len(there), "documents embedded")

    def switch(self, batch_rows: int, progress: Progress | None) -> BuildReport:
        """Put the new vectors into the table, index them, and let them be what is searched, in one step."""
        collection = self._of
        with collection._writing:
            self.embed(batch_rows, progress)  # what was written since then
            table, manifest, migration = self._serving()
            table = table.without(unused_columns(table, replace(manifest, migration=None)))
            batches = self._batches(migration)
            if len(table):
                table = table.fill(batches.columns(_kind(manifest, migration)))
            own = {name: getattr(manifest, name) for name in SPACE}
            left = replace(migration, stage="switched", since=table.version, **own)
            switched, report = collection._built(table, manifest.swapped(left), {}, progress)
            self._write(switched)
            return report

    # -- leaving -------------------------------------------------------------------------------------------------------

    def roll_back(self, batch_rows: int, progress: Progress | None) -> None:
        """Be as before the migration, with all documents that were written since."""
        check_range("batch_rows", batch_rows, 1)
        with self._of._writing:
            table = self._of._begin_write()
            manifest = Manifest.read(self._of.path)
            if manifest.migration is None:
                raise InvalidInput(f"{self._of.path} has no migration to roll back")
            back = replace(manifest, migration=None)
            if manifest.migration.stage == "switched":
                table = self._completed(table, manifest, batch_rows, progress)
                back = manifest.swapped(None)
            self._write(back)
            table.without(unused_columns(table, back))

    def finish(self, keep: timedelta) -> None:
        """Give up what only the old space needs."""
        with self._of._writing:
            table = self._of._begin_write()
            manifest = Manifest.read(self._of.path)
            if manifest.migration is None or manifest.migration.stage != "switched":
                raise InvalidInput(f"{self._of.path} has no migration that has switched, so there is none to finish")
            done = replace(manifest, migration=None)
            self._write(done)
            table.without(unused_columns(table, done)).forget(keep)

    # -- telling -------------------------------------------------------------------------------------------------------

    def report(self, build: BuildReport | None = None, seconds: float = 0.0) -> MigrationReport | None:
        """Return how far the migration has come; None where there is none."""
        view = self._of._state.view()
        manifest, migration = view.manifest, view.manifest.migration
        if migration is None:
            return None
        names = [str(space.fingerprint) if space.fingerprint is not None else None for space in self._both(manifest)]
        switched, fit = migration.stage == "switched", migration.fit
        embedded = len(view)
        if not switched:
            there = view.table.scan([SEQ])[SEQ].to_numpy() if view.table.version else np.zeros(0, np.int64)
            embedded = int(np.isin(there, self._batches(migration).seq).sum())
            names.reverse()
        left = view.n_vectors * (1 - embedded / max(1, len(view)))
        return MigrationReport(
            stage=migration.stage,
            encoder=names[0] or "",
            previous=names[1],
            method=fit.method if fit else None,
            pairs=fit.pairs if fit else 0,
            kept=fit.kept if fit else None,
            kept_interval=(fit.low, fit.high) if fit else None,
            judged=fit.judged if fit else 0,
            textless=fit.textless if fit else None,
            mapped=migration.mapped,
            documents=len(view),
            embedded=embedded,
            seconds_left=left / fit.texts_per_second if fit and not switched else None,
            build=build,
            seconds=seconds,
        )

    # -- inside --------------------------------------------------------------------------------------------------------

    def _both(self, manifest: Manifest) -> tuple[Any, Any]:
        return self._of._spaces.of(manifest)[DENSE], self._of._spaces.other(manifest)

    def _write(self, manifest: Manifest) -> None:
        manifest.write(self._of.path)
        self._of._sweep(manifest)

    def _batches(self, migration: Migration) -> Batches:
        assert migration.dim is not None
        return Batches(self._of.path / MIGRATIONS / migration.folder, migration.dim)

    def _serving(self, expected: Migration | None = None) -> tuple[DocumentTable, Manifest, Migration]:
        """Return what is there now, or raise where the migration is not under way any more."""
        with self._of._writing:
            table = self._of._begin_write()
            manifest = Manifest.read(self._of.path)
            found = manifest.migration
            if found is None or found.stage != "serving" or (expected is not None and found.folder != expected.folder):
                raise InvalidInput(f"the migration of {self._of.path} was ended meanwhile, by a rollback for one")
            return table, manifest, found

    def _completed(
        self, table: DocumentTable, manifest: Manifest, batch_rows: int, progress: Progress | None
    ) -> DocumentTable:
        """Give vectors of the old space to documents that were written after the switch."""
        migration = manifest.migration
        assert migration is not None
        assert migration.since is not None
        kind = _kind(manifest, migration)
        if kind.column not in table.schema.names:
            return table
        first = (migration.since + 1) * ROWS_PER_WRITE
        rows = table.scan([SEQ, *_texts_of(table, manifest)], f"{SEQ} >= {first} AND {kind.column} IS NULL")
        if not len(rows):
            return table
        space = self._of._spaces.other(manifest)
        if space.record is None:
            raise InvalidInput(
                f"{len(rows)} documents of {self._of.path} were written after the switch and have no vectors of your "
                f"own, {rows[ID][0].as_py()!r} for one; delete them to roll back, or finish the migration"
            )
        encoder = space.encoder
        assert encoder is not None
        for start in range(0, len(rows), batch_rows):
            part = rows.slice(start, batch_rows)
            vectors, spans = _encoded(part, kind, encoder, manifest, len(rows))
            table = table.update(columns_of(kind, vectors, spans).add_column(0, SEQ, part[SEQ]))
            if progress is not None:
                progress(min(len(rows), start + batch_rows), len(rows), "documents embedded")
        return table


def draw_pairs(view: View, encoder: Encoder, sample: int, seed: int, progress: Progress | None) -> Pairs:
    """Encode some of the stored passages anew.

    Raises
    ------
    InvalidInput
        There is nothing to pair: no vectors, no text, or too few of both.
    """
    dense: Any = view.kinds[DENSE]
    hint = "pass sample=0 to do without a map: the old encoder serves until all documents are encoded anew"
    if dense.column not in view.table.schema.names:
        raise InvalidInput(f"there are no vectors to map queries onto; {hint}")
    if not view.text_fields:
        raise InvalidInput(
            f"no column is one of the text fields {', '.join(view.manifest.text_fields)}, so there is no text to encode"
        )
    documents, vectors = view.draw(sample, np.random.default_rng(seed))
    rows = view.rows(documents, [*view.text_fields, dense.column])
    stored = dense.of_rows(rows)
    old = stored.tokens[stored.offsets[:-1] + view.places(documents, vectors)]
    texts = join_texts(rows, view.text_fields)
    for row, (cut, heading) in enumerate(
        zip(view.spans(documents, vectors), headings(rows, view.text_fields), strict=True)
    ):
        if cut is not None:
            body = texts[row][cut[0] : cut[1]]
            texts[row] = f"{heading} {body}" if heading and cut[0] else body
    said = np.array([bool(text.strip()) for text in texts], bool)
    if len(texts) and not said.any():
        raise InvalidInput(
            f"none of {len(texts)} documents drawn has a text in {', '.join(view.text_fields)} to encode"
        )
    first = {text: row for row, text in reversed(list(enumerate(texts))) if said[row]}
    kept = np.sort(np.fromiter(first.values(), np.int64, len(first)))
    began = time.perf_counter()
    new: Any = encoder.encode_document([texts[row] for row in kept], progress=progress)
    rate = len(kept) / max(1e-9, time.perf_counter() - began)
    pointing = new.any(axis=1) & old[kept].any(axis=1)
    kept, new = kept[pointing], new[pointing]
    if len(kept) < FEWEST_PAIRS or len(view) < 2:
        raise InvalidInput(
            f"{len(kept)} different texts with vectors, in {len(view)} documents, are too few to judge a map; "
            f"expected at least {FEWEST_PAIRS}: {hint}"
        )
    return Pairs(documents[kept], new, old[kept], 1 - float(said.mean()), rate)


def fit_map(view: View, pairs: Pairs, method: str, seed: int) -> tuple[Any, Fit]:
    """Learn a map from most pairs, and judge it by what the others find in the collection, mapped and as stored."""
    from isometry.transforms import Alignment

    order = np.random.default_rng(seed + 1).permutation(len(pairs.new))
    judge, learn = np.split(order, [min(_MOST_JUDGED, len(order) // _JUDGED_SHARE)])
    alignment = Alignment(method, random_state=seed).fit(pairs.new[learn], pairs.old[learn])
    k = min(_NEIGHBOURS, len(view) - 1)
    documents = pairs.documents[judge]
    mapped = alignment.transform(pairs.new[judge])
    true, found = (
        [
            set(hits[hits != own][:k].tolist())
            for own, hits in zip(documents, view.search(DENSE, asked, k + 1, view.allowed(None)).documents, strict=True)
        ]
        for asked in (pairs.old[judge], mapped)
    )
    kept = bootstrap_mean([len(a & b) / len(a) for a, b in zip(true, found, strict=True)], seed=seed)
    fit = Fit(
        method=alignment.method_,
        pairs=len(order),
        kept=kept.mean,
        low=kept.low,
        high=kept.high,
        judged=kept.n,
        textless=pairs.textless,
        texts_per_second=pairs.texts_per_second,
    )
    return alignment, fit


def unused_columns(table: DocumentTable, manifest: Manifest) -> list[str]:
    """Return the columns of vectors that neither the collection nor its migration needs."""
    used = [kinds_of(manifest)[DENSE]]
    if manifest.migration is not None:
        used.append(_kind(manifest, manifest.migration))
    needed = {name for kind in used for name in (kind.column, kind.spans)}
    return [name for name in table.schema.names if name.startswith((VECTORS, SPANS)) and name not in needed]


def _kind(manifest: Manifest, migration: Migration) -> Dense:
    """Return the vectors of the other space."""
    return Dense(migration.dim, manifest.metric, migration.generation)


def _texts_of(table: DocumentTable, manifest: Manifest) -> list[str]:
    """Return the columns to read of documents that are to be encoded."""
    return [ID, *(name for name in manifest.text_fields if name in table.columns and name != ID)]


def _encoded(rows: pa.Table, kind: Dense, encoder: Encoder, manifest: Manifest, total: int) -> tuple[Any, Any]:
    """Return vectors and spans of documents, as `Writing` would store them."""
    fields = [name for name in manifest.text_fields if name in rows.column_names]
    made, spans = kind.encode(encoder, rows, fields, manifest.passages, None)
    return kind.taken(made, f"what {encoder.fingerprint} made of {total} documents"), spans
