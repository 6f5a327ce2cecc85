"""The newest state of a collection on disk, kept in memory and checked for news with two `stat` calls."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from isometry.collections.kinds import DENSE, kinds_of
from isometry.collections.manifest import MANIFEST, Manifest
from isometry.collections.segment import Segment
from isometry.collections.table import VECTORS, DocumentTable
from isometry.collections.view import View
from isometry.errors import Damaged, NotFound, check_range

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DOCUMENTS", "INDEXES", "State"]

DOCUMENTS, INDEXES = "documents.lance", "indexes"
_ATTEMPTS = 3
_RACY_NS = 2_000_000_000


class State:
    """What a handle on a collection sees.

    Parameters
    ----------
    path : Path
    version : int, optional
        Always show this version rather than the newest one.
    """

    def __init__(self, path: Path, version: int | None = None) -> None:
        self.path = path
        self.manifest = Manifest.read(path)
        self.pinned = version
        self._guard = threading.RLock()
        self._view: View | None = None
        self._stamp: tuple[int, ...] = ()
        if version is not None:
            self._view = self._view_of(check_range("version", version, 1))
            self.manifest = self._view.manifest

    def view(self) -> View:
        """Return a view of the newest state; cheap when nothing changed."""
        with self._guard:
            if self._view is None or not (self.pinned is not None or self._unchanged(self._view)):
                # The stamp is taken first: a commit during the load makes it old, never the other way round.
                stamp = self._read_stamp()
                self._view = self._load(self._view)
                self._stamp = stamp
            return self._view

    def forget(self) -> None:
        """Drop what is in memory, so that the next `view` looks anew."""
        with self._guard:
            if self.pinned is None:
                self._view, self._stamp = None, ()

    def open_segment(self, manifest: Manifest) -> Segment | None:
        """Open the segment that a manifest points to; None when nothing is indexed.

        Raises
        ------
        Damaged
            Its files are damaged or gone; the documents are not.
        """
        if manifest.segment is None:
            return None
        try:
            return Segment.open(self.path / INDEXES / manifest.segment)
        except (NotFound, Damaged) as error:
            raise Damaged(f"{error}. The documents are unharmed: run optimize to build the index again") from error

    def _load(self, known: View | None) -> View:
        for attempt in range(_ATTEMPTS):
            self.manifest = manifest = Manifest.read(self.path)
            same = known is not None and manifest.generation == known.manifest.generation
            old = known if known is not None and same and manifest.segment == known.segment_name else None
            try:
                segment = old.segment if old is not None else self.open_segment(manifest)
            except Damaged:
                # A writer may have replaced the segment between our reading of the manifest and of the segment.
                if attempt + 1 == _ATTEMPTS or Manifest.read(self.path).segment == manifest.segment:
                    raise
                continue
            table = old.table.newest() if old is not None else DocumentTable(self.path / DOCUMENTS)
            if old is not None and table is old.table and manifest == old.manifest:
                return old
            if Manifest.read(self.path).generation != manifest.generation:
                continue  # a switch of encoders came between manifest and documents
            return View(table, segment, manifest, previous=old)
        raise AssertionError("the loop returns or raises")

    def _view_of(self, version: int) -> View:
        known = DocumentTable(self.path / DOCUMENTS).versions()
        if version not in known:
            span = f"{known[0]} to {known[-1]}" if known else "none, it is empty"
            raise NotFound(f"{self.path} has no version {version}; it can show {span}")
        table = DocumentTable(self.path / DOCUMENTS, version=version)
        manifest = self.manifest.as_of(version)
        column = kinds_of(manifest, table)[DENSE].column
        if column not in table.schema.names and any(name.startswith(VECTORS) for name in table.schema.names):
            raise NotFound(
                f"version {version} of {self.path} is from before its encoder was changed, and what was needed to "
                "search it is gone; open a later version"
            )
        return View(table, self.open_segment(manifest), manifest)

    def _unchanged(self, view: View) -> bool:
        stamp = self._read_stamp()
        # Two commits within one tick of the clock share a time stamp, so a young stamp proves nothing.
        settled = time.time_ns() - max(stamp[1], stamp[3]) > _RACY_NS
        if settled and stamp == self._stamp:
            return True
        if stamp[:2] != self._stamp[:2] or view.table.newest() is not view.table:
            return False
        if settled:
            self._stamp = stamp
        return True

    def _read_stamp(self) -> tuple[int, ...]:
        """Return what changes on disk with every commit: the manifest is replaced, the table's folder gets a file."""
        stamp: list[int] = []
        for path in (self.path / MANIFEST, self.path / DOCUMENTS / "_versions"):
            try:
                status = os.stat(path)
                stamp += [status.st_ino, status.st_mtime_ns]
            except FileNotFoundError:
                stamp += [0, 0]
        return tuple(stamp)
