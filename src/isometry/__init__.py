"""Isometry: keep the meaning, drop the bytes."""

from isometry._version import __version__

__all__ = ["__version__"]
