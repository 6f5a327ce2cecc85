"""Documents that every machine has: the documentation of the Python that runs this.

`gather` reads the docstrings of the standard library and of the installed packages from their sources, without
importing them, and adds the compiled part of the standard library. The result is a list of records with real attributes
(kind, package, signature, line count, exceptions raised, ...), enough to try search and filters without a download.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any

from isometry.errors import check_range

MAX_SOURCE_BYTES = 1_000_000
MAX_FILES_PER_PACKAGE = 40
MAX_TEXT = 320
MAX_SIGNATURE = 200
MIN_TEXT = 20

STDLIB_SHARE = 0.75
# fmt: off
SKIPPED_FOLDERS = frozenset([
    "dist-packages", "distutils", "encodings", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "testing",
    "tests", "turtledemo", "vendor",
])
# fmt: on
KINDS_BY_WEIGHT = ("module", "function", "class", "method")

# Compiled modules have no source to read. Importing these has no effect beyond defining names.
# fmt: off
COMPILED_MODULES = (
    "array", "binascii", "builtins", "cmath", "collections", "contextvars", "csv", "datetime", "decimal", "functools",
    "gc", "io", "itertools", "math", "mmap", "operator", "os", "re", "select", "socket", "sqlite3", "struct", "sys",
    "time", "unicodedata", "weakref", "zlib",
)
# fmt: on

Entry = dict[str, Any]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def gather(limit: int = 6000) -> list[Entry]:
    """Describe the public functions, classes, methods and modules of this Python, in a couple of seconds.

    Three quarters of the room go to the standard library (modules, functions and classes before methods), the rest to
    the installed packages, one entry of each in turn. Files that can't be read or parsed are passed over.

    Parameters
    ----------
    limit : int, default 6000
        Most entries to return, >= 1.

    Returns
    -------
    list of dict
        Sorted by id, the same on every run of one installation. Each has ``id`` and ``title`` (qualified name),
        ``text`` (the first paragraphs of the docstring, at most 320 characters), ``kind`` (module, class, function,
        method), ``module``, ``package``, ``origin`` (stdlib or installed), ``signature``, ``lines`` (None for compiled
        code), ``raises`` (names of the exceptions raised in the body), ``is_async`` and ``deprecated``.

    Raises
    ------
    InvalidInput
        `limit` is not a positive integer.

    Notes
    -----
    Nothing outside the standard library is imported: third-party sources are parsed with `ast`.
    """
    check_range("limit", limit, 1)
    entries = {entry["id"]: entry for entry in _standard_library(max(1, round(limit * STDLIB_SHARE)))}
    in_turn = zip_longest(*(_of_package(path) for path in _installed_packages()))
    for entry in filter(None, chain.from_iterable(in_turn)):
        if len(entries) >= limit:
            break
        entries.setdefault(entry["id"], entry)
    return [entries[name] for name in sorted(entries)]


def _standard_library(limit: int) -> list[Entry]:
    """Entries of the standard library, the weightiest kinds first when there are more than `limit`."""
    found: dict[str, Entry] = {}
    root = Path(sysconfig.get_paths()["stdlib"])
    for file, module in _sources(root, prefix=""):
        for entry in _of_file(file, module, "stdlib"):
            found.setdefault(entry["id"], entry)
    for name in COMPILED_MODULES:
        for entry in _of_compiled(name):
            found.setdefault(entry["id"], entry)
    return sorted(found.values(), key=lambda entry: (KINDS_BY_WEIGHT.index(entry["kind"]), entry["id"]))[:limit]


def _installed_packages() -> Iterator[Path]:
    """Top-level modules and packages of the site folders on the path, by name."""
    seen = set()
    for folder in sys.path:
        if Path(folder).name not in ("site-packages", "dist-packages"):
            continue
        for path in _listing(folder):
            is_package = path.is_dir() and (path / "__init__.py").is_file()
            if (is_package or path.suffix == ".py") and _is_public(path.stem) and path.stem not in seen:
                seen.add(path.stem)
                yield path


def _of_package(path: Path) -> Iterator[Entry]:
    """Entries of one installed package: its shallow modules first, a bounded number of files."""
    files = [(path, path.stem)] if path.is_file() else sorted(_sources(path, path.name), key=_depth_then_name)
    for file, module in files[:MAX_FILES_PER_PACKAGE]:
        yield from _of_file(file, module, "installed")


def _depth_then_name(source: tuple[Path, str]) -> tuple[int, str]:
    return source[1].count("."), source[1]


def _sources(folder: Path, prefix: str) -> Iterator[tuple[Path, str]]:
    """Python files under `folder` with their dotted module names; private and test folders are left out."""
    for path in _listing(folder):
        name = f"{prefix}.{path.stem}" if prefix else path.stem
        if path.name == "__init__.py" and prefix:
            yield path, prefix
        elif not _is_public(path.stem) or path.name in SKIPPED_FOLDERS or path.is_symlink():
            continue
        elif path.suffix == ".py":
            yield path, name
        elif path.is_dir() and (path / "__init__.py").is_file():
            yield from _sources(path, name)


def _listing(folder: str | Path) -> list[Path]:
    try:
        return [Path(folder, name) for name in sorted(os.listdir(folder))]
    except OSError:
        return []


def _is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def _of_file(file: Path, module: str, origin: str) -> Iterator[Entry]:
    """Entries of one source file; none when it is too large, unreadable or not valid Python."""
    try:
        if file.stat().st_size > MAX_SOURCE_BYTES:
            return
        source = file.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escapes are not our user's concern
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    yield from _entry(module, "module", module, origin, ast.get_docstring(tree), lines=source.count(b"\n"))
    for node, owner in _definitions(tree.body):
        yield from _of_definition(node, owner, module, origin)


def _definitions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[Definition, str]]:
    """Public definitions of a module or class body, also those under ``if`` and ``try``, with the owning class."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            handlers = [statement for handler in getattr(node, "handlers", []) for statement in handler.body]
            yield from _definitions(node.body + handlers + node.orelse, owner)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and _is_public(node.name):
            yield node, owner
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, f"{owner}{node.name}.")


def _of_definition(node: Definition, owner: str, module: str, origin: str) -> Iterator[Entry]:
    docstring = ast.get_docstring(node)
    if not docstring:
        return
    inside = list(ast.walk(node)) if not isinstance(node, ast.ClassDef) else []
    yield from _entry(
        f"{module}.{owner}{node.name}",
        "class" if isinstance(node, ast.ClassDef) else "method" if owner else "function",
        module,
        origin,
        docstring,
        signature=_signature(node),
        lines=(node.end_lineno or node.lineno) - node.lineno + 1,
        raises=sorted({_exception_name(inner.exc) for inner in inside if isinstance(inner, ast.Raise)} - {""}),
        is_async=isinstance(node, ast.AsyncFunctionDef),
        deprecated=any("deprecated" in ast.unparse(decorator) for decorator in node.decorator_list),
    )


def _signature(node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        return f"{node.name}({', '.join(ast.unparse(base) for base in node.bases)})"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def _exception_name(raised: ast.expr | None) -> str:
    """Return ``ValueError`` for ``raise ValueError(...)``; nothing for a bare ``raise`` or a raised variable."""
    if isinstance(raised, ast.Call):
        raised = raised.func
    name = raised.attr if isinstance(raised, ast.Attribute) else raised.id if isinstance(raised, ast.Name) else ""
    return name if name[:1].isupper() else ""


def _of_compiled(module_name: str) -> Iterator[Entry]:
    """Entries of a standard module's public names whose documentation exists only at run time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: ModuleType = importlib.import_module(module_name)
        for name, value in sorted(vars(module).items()):
            if _is_public(name) and getattr(value, "__name__", None) == name:
                yield from _of_object(value, name, module_name)


def _of_object(value: Any, name: str, module_name: str) -> Iterator[Entry]:
    if inspect.isclass(value):
        yield from _of_live(value, name, "class", module_name)
        for method_name, method in sorted(vars(value).items()):
            if _is_public(method_name) and inspect.isroutine(method):
                yield from _of_live(method, f"{name}.{method_name}", "method", module_name)
    elif inspect.isbuiltin(value):
        yield from _of_live(value, name, "function", module_name)


def _of_live(value: Any, name: str, kind: str, module_name: str) -> Iterator[Entry]:
    try:
        # The repr of a default may hold its address, which is another one in every run.
        signature = f"{name.rpartition('.')[2]}{re.sub(r' at 0x[0-9a-f]+', '', str(inspect.signature(value)))}"
    except (TypeError, ValueError):
        signature = None
    own_docstring = inspect.getdoc(value) if getattr(value, "__doc__", None) else None
    yield from _entry(f"{module_name}.{name}", kind, module_name, "stdlib", own_docstring, signature=signature)


def _entry(
    name: str,
    kind: str,
    module: str,
    origin: str,
    docstring: str | None,
    *,
    signature: str | None = None,
    lines: int | None = None,
    raises: list[str] | None = None,
    is_async: bool = False,
    deprecated: bool = False,
) -> Iterator[Entry]:
    """Yield the record of one documented thing, or nothing when its docstring says too little."""
    text = _opening(docstring or "")
    if len(text) >= MIN_TEXT:
        yield {
            "id": name,
            "title": name,
            "text": text,
            "kind": kind,
            "module": module,
            "package": module.partition(".")[0],
            "origin": origin,
            "signature": _shorten(signature, MAX_SIGNATURE) if signature else None,
            "lines": lines,
            "raises": raises or [],
            "is_async": is_async,
            "deprecated": deprecated or "deprecated" in text.lower(),
        }


def _opening(docstring: str) -> str:
    """First paragraphs of a docstring on one line, whole as long as they fit."""
    opening = ""
    for paragraph in inspect.cleandoc(docstring).split("\n\n"):
        longer = f"{opening} {' '.join(paragraph.split())}".strip()
        if opening and len(longer) > MAX_TEXT:
            break
        opening = longer
    # A source may hold half of a surrogate pair, which no file or terminal can take.
    return _shorten(opening.encode("utf-8", "replace").decode(), MAX_TEXT)


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1].rpartition(' ')[0]}…"
