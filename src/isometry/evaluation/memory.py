"""What a piece of work takes in RAM at its most, as the system counts it."""

from __future__ import annotations

import gc
from contextlib import suppress
from pathlib import Path
from typing import Self

__all__ = ["PeakMemory"]

_PROCESS = Path("/proc/self")


class PeakMemory:
    """Counts, between entering and leaving, how much more memory than before this process has in RAM at its most.

    Attributes
    ----------
    nbytes : int or None
        None where the system can't tell: it is Linux that can.

    Examples
    --------
    >>> with PeakMemory() as peak:
    ...     _ = b"x" * 50_000_000
    >>> megabytes = peak.nbytes and peak.nbytes / 1e6  # about 50
    """

    nbytes: int | None = None
    _before: int | None = None

    def __enter__(self) -> Self:
        gc.collect()
        with suppress(OSError):
            (_PROCESS / "clear_refs").write_text("5")  # the count of the most begins anew
            self._before = _status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            self.nbytes = _status("VmHWM") - self._before


def _status(name: str) -> int:
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
