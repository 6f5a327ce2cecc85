"""One writer at a time: a lock that names its holder and dies with it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
import weakref
from pathlib import Path

from isometry.errors import Locked

__all__ = ["WriterLock"]

_HOLDER_BYTES = 4096


class WriterLock:
    """An exclusive advisory lock on a file, held from `acquire` until `release` or the end of the process.

    The operating system drops the lock when its owner ends in any way, `kill -9` and power loss included, so no
    stale lock is ever left to clean up. Children made by ``fork`` do not inherit it.

    Parameters
    ----------
    path : Path
        The lock file; created when absent. It stays behind when the lock is released and means nothing then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        _LOCKS.add(self)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def acquire(self) -> None:
        """Take the lock, or raise `Locked` at once with the holder's process, host, command and time."""
        if self._fd is not None:
            return
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _describe(os.pread(fd, _HOLDER_BYTES, 0))
            os.close(fd)
            raise Locked(
                f"{self.path.parent} is being written to by {holder}; wait for it to finish, or close it there "
                "(reading is possible meanwhile)"
            ) from None
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        command = " ".join(sys.argv)[:200]
        note = {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": time.time()}
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(note).encode()[:_HOLDER_BYTES], 0)

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def __del__(self) -> None:
        self.release()


def _describe(note: bytes) -> str:
    try:
        holder = json.loads(note)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(holder["since"])))
        return f"process {int(holder['pid'])} on {holder['host']} ({holder['command']!s:.200}) since {since}"
    except (ValueError, KeyError, TypeError):
        return "another process"


_LOCKS: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _release_in_child() -> None:
    # A forked child shares the open file, so its copy would keep the lock alive after the parent has ended.
    for lock in list(_LOCKS):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)
