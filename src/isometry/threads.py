"""Work shared out to threads: for kernels and a BLAS, which run without the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Scratch", "in_threads", "processors", "run_parts"]

Task = TypeVar("Task")
Found = TypeVar("Found")
Tool = TypeVar("Tool")


class Scratch(Generic[Tool]):
    """What one thread works in at a time: taken, given back and taken again by whichever thread comes next.

    Parameters
    ----------
    make : callable
        Returns a new one; called where none is free.
    """

    def __init__(self, make: Callable[[], Tool]) -> None:
        self._make = make
        self._free: list[Tool] = []

    def take(self) -> Tool:
        """Return one that nobody else has; what is not given back is made anew."""
        try:
            return self._free.pop()
        except IndexError:
            return self._make()

    def give(self, tool: Tool) -> None:
        """Take one back."""
        self._free.append(tool)


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(one: Callable[[Task], Found], tasks: Iterable[Task], threads: int | None = None) -> list[Found]:
    """Return what a function makes of every task, in their order, by at most `threads` threads (all processors)."""
    work = list(tasks)
    workers = min(len(work), threads or processors())
    if workers < 2:
        return [one(task) for task in work]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, work))


def run_parts(work: Callable[[int, int], Found], count: int, part: int, threads: int | None) -> list[Found]:
    """Return ``work(start, stop)`` of the parts of ``range(count)``, in their order; without any, of an empty one."""
    if count <= part:
        return [work(0, count)]
    starts = range(0, count, part)
    return in_threads(lambda start: work(start, min(start + part, count)), starts, threads)
