"""How many threads a search may use: our own, and those of the BLAS library behind NumPy."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["at_most", "available"]


def available() -> int:
    """Return the number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def at_most(threads: int | None) -> Iterator[None]:
    """Keep NumPy's BLAS at `threads` threads or fewer in the block; None leaves it as the user has set it.

    The number is one per process, so overlapping blocks get the smallest of what they ask for, and the last to leave
    puts back what the first had found. Entering costs a few microseconds: the libraries are looked up once.
    """
    if threads is None:
        yield
        return
    _limit.enter(threads)
    try:
        yield
    finally:
        _limit.leave(threads)


@cache
def _blas_libraries() -> tuple[Any, ...]:
    from threadpoolctl import ThreadpoolController

    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


class _Limit:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: list[int] = []
        self._found: list[int] = []

    def enter(self, threads: int) -> None:
        with self._lock:
            if not self._wanted:
                self._found = [library.get_num_threads() for library in _blas_libraries()]
            self._wanted.append(threads)
            self._apply()

    def leave(self, threads: int) -> None:
        with self._lock:
            self._wanted.remove(threads)
            self._apply()

    def _apply(self) -> None:
        for library, found in zip(_blas_libraries(), self._found, strict=True):
            library.set_num_threads(min([found, *self._wanted]))


_limit = _Limit()
