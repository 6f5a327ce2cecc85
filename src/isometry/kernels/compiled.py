"""How kernels are compiled: at their first call, then kept for this machine.

Numba's own cache looks at the file of a function alone, but a kernel is made of several files of this room, and of the
level it was compiled for. Ours is one folder per level, and in it one per state of a file with all that it imports from
this room, below ``$ISOMETRY_CACHE``, by default ``isometry`` in the user's cache folder (``$XDG_CACHE_HOME`` or
``~/.cache``).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit, typeof
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from isometry.cache import cache_folder
from isometry.kernels.level import LEVEL

__all__ = ["kernel", "kernel_folder", "machine_code", "summing"]

_IMPORTED = re.compile(r"^ *from isometry\.kernels(?:\.(\w+) import| import ([^(\n]+|\([^)]*\)))", re.MULTILINE)


def kernel_folder() -> Path:
    """Return the folder that kernels compiled for this processor's level are kept in."""
    return cache_folder() / "kernels" / LEVEL


def kernel(function: Callable[..., Any], fastmath: Any = False) -> Any:
    """Compile a function when it is first called, without the interpreter lock, and keep the result.

    Arrays are not checked for their bounds and division is as in NumPy. Where the cache folder can't be written, every
    process compiles for itself. `fastmath` names what the compiler may assume, as for Numba: only where no NaN enters.
    """
    dispatcher = njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)
    with suppress(OSError):
        dispatcher._cache = _Cache(function)
    return dispatcher


def summing(function: Callable[..., Any]) -> Any:
    """Compile as `kernel` does, with sums in any order, so that registers take several terms: only without NaN."""
    return kernel(function, {"reassoc", "nnan", "nsz", "contract"})


def machine_code(compiled: Any, *arguments: Any) -> Callable[..., Any]:
    """Return what a kernel runs for arguments of these types, for calls that never have others.

    Numba looks at the types of all arguments at every call, which takes longer than a short search where there are
    named tuples among them. This does not look: arguments of other types are read as if they were of these.
    """
    code: Callable[..., Any] = compiled.compile(tuple(map(typeof, arguments)))
    return code


@cache
def _sources(file: Path) -> str:
    """Return a digest of a file of this room and of all that it imports from it; for other files, of the whole room."""
    room = Path(__file__).parent
    found = {file} if file.parent == room else set(room.glob("*.py"))
    unread = list(found)
    while unread:
        names = _IMPORTED.findall(unread.pop().read_text())
        new = {
            path for name in re.findall(r"\w+", " ".join(map("".join, names))) if (path := room / f"{name}.py").exists()
        }
        unread += new - found
        found |= new
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class _Locator(_CacheLocator):
    """Tells Numba where to keep a function, and when what is there is out of date."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._line = function.__code__.co_firstlineno
        self._state = _sources(Path(function.__code__.co_filename))

    def get_cache_path(self) -> str:
        return str(kernel_folder() / self._state)

    def get_source_stamp(self) -> str:
        return self._state

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        locator = cls(py_func)
        locator.ensure_cache_path()
        return locator


class _Implementation(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012


class _Cache(FunctionCache):
    """Numba's cache, for many processes at once and for folders that are full or hold rubbish."""

    _impl_class = _Implementation

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged pickle fails in any way it likes: forget what is there and compile
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        # Numba numbers files by an index that it reads first: of two processes, one would overwrite the other's code.
        with suppress(OSError), _alone(self.cache_path):
            super().save_overload(sig, data)


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Wait until no other process writes to a folder."""
    with open(os.path.join(folder, "lock"), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
