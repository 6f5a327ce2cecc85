"""Work in parts, by threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["run_parts"]

T = TypeVar("T")


def run_parts(work: Callable[[int, int], T], count: int, part: int, threads: int | None) -> list[T]:
    """Return ``work(start, stop)`` of the parts of ``range(count)``, in order, by at most `threads` threads."""
    if count <= part:
        return [work(0, count)]
    parts = [(start, min(start + part, count)) for start in range(0, count, part)]
    workers = min(threads or os.cpu_count() or 1, len(parts))
    if workers <= 1:
        return [work(*bounds) for bounds in parts]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda bounds: work(*bounds), parts))
