"""Every error that isometry raises on purpose.

Each one is an `IsometryError` and also the built-in exception a Python user would expect, so ``except ValueError``
keeps working. Messages say what is wrong, the value seen, what was expected and what to do.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class IsometryError(Exception):
    """Base class of all errors raised on purpose by this library."""


class InvalidInput(IsometryError, ValueError):
    """A value passed by the caller is wrong: shape, dtype, range, NaN, emptiness."""


class DimensionMismatch(InvalidInput):
    """A vector has another number of dimensions than the place it is meant for."""


class DuplicateIds(InvalidInput):
    """An id occurs twice in one batch, or `add` met an id that is already stored."""


class BadRecord(InvalidInput):
    """A record of an input file can't be read; the message names file and line."""


class SchemaMismatch(InvalidInput, TypeError):
    """An attribute holds a value of another type than the collection has for it."""


class FilterError(InvalidInput):
    """A ``where`` that can't be parsed, names an unknown column or compares unlike types."""


class SpaceMismatch(InvalidInput):
    """Vectors of two different embedding spaces (encoders) were about to be mixed."""


class SpecError(InvalidInput):
    """An index specification string can't be parsed."""


class NotFound(IsometryError, FileNotFoundError):
    """A path that should exist does not, or is not what it should be."""


class AlreadyExists(IsometryError, FileExistsError):
    """Something that must not be overwritten is already there."""


class Damaged(IsometryError, OSError):
    """A stored file does not hold what its manifest promises."""


class NewerFormat(IsometryError, OSError):
    """A file was written by a newer version of isometry than this one."""


class Locked(IsometryError, RuntimeError):
    """Another process is writing to this collection."""


class ReadOnly(IsometryError, RuntimeError):
    """A write was attempted through a handle that can only read."""


class NotBuilt(IsometryError, NotImplementedError):
    """Something is planned and described, but does not exist yet."""


class TooLarge(InvalidInput, MemoryError):
    """The work asked for needs more memory than it may take; the message says how much."""


class Diverged(IsometryError, ArithmeticError):
    """A computation left the finite numbers."""


class StorageFull(IsometryError, OSError):
    """The disk is full (or a quota is reached); the collection is as it was before the write."""


class MissingExtra(IsometryError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, extra: str, purpose: str, package: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'isometry[{extra}]'"
        )
        self.extra = extra


def check_range(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return `value` as an int when ``low <= value <= high``, else raise `InvalidInput`."""
    import operator

    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < low or (high is not None and number > high):
        expected = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
        raise InvalidInput(f"{name} is {value!r}; expected {expected}")
    return number


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value` when it is one of `choices`, else raise `InvalidInput` with the nearest choice."""
    known = list(choices)
    if isinstance(value, str) and value in known:
        return value
    raise InvalidInput(f"{name} is {value!r}; expected one of {', '.join(known)}{did_you_mean(value, known)}")


def did_you_mean(value: Any, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` when a known word is near `value`, else the empty string."""
    near = get_close_matches(str(value), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
