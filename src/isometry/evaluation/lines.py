"""Read text files line by line, plain or gzip, with errors that name the line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isometry.errors import BadRecord, Damaged, NotFound


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield ``(line number from 1, line without its end)`` for every line that is not blank.

    Raises
    ------
    NotFound, BadRecord, Damaged
        No such file; a line that is not UTF-8; broken or cut-off gzip data.
    """
    if not path.is_file():
        raise NotFound(f"{path} does not exist or is not a file")
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise BadRecord(f"{path} line {number}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Damaged(f"{path} is damaged after line {number}: {error}; get the file again") from error


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield ``(line number from 1, object)`` for every line of a JSON-lines file.

    Raises
    ------
    NotFound, BadRecord, Damaged
        As `read_lines`, and a line that is not a JSON object.
    """
    for number, line in read_lines(path):
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadRecord(f"{path} line {number}: not valid JSON ({error}); expected one object per line") from error
        if not isinstance(record, dict):
            raise BadRecord(f"{path} line {number}: a JSON {type(record).__name__}; expected an object in braces")
        yield number, record
