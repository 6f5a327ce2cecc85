"""Which index to build when nobody says."""

from __future__ import annotations

__all__ = ["default_spec"]

_SCANNED_VALUES = 2**24


def default_spec(n: int, d: int) -> str:
    """Return the specification of an index that serves n vectors of d dimensions well.

    Up to 2^24 values, 64 MiB, a scan takes a few milliseconds, finds everything and needs no building: ``"Flat"``.
    Beyond, a graph walks over 4 bits per dimension and puts its hits in order with 12: about d * 1.5 + 276 bytes per
    vector.
    """
    return "Flat" if n * d <= _SCANNED_VALUES else "LVQ4x8,Vamana64"
