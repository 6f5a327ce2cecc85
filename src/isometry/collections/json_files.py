"""JSON lines and JSON arrays, read record by record in bounded memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

from isometry.collections.attributes import show
from isometry.errors import BadRecord

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

MAX_RECORD_BYTES = 64 * 2**20
_CHUNK = 2**20
_SPACE = " \t\r\n"


def read_lines(stream: BinaryIO, refuse: Callable[[int, str], None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line number and the object of every line that is not blank.

    A line that can't be read goes to ``refuse(line, reason)``, which may raise. Memory: one line of at most
    `MAX_RECORD_BYTES`.
    """
    number = 0
    while line := stream.readline(MAX_RECORD_BYTES + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) > MAX_RECORD_BYTES:
            while line and not line.endswith(b"\n"):
                line = stream.readline(_CHUNK)
            refuse(number, f"the line is longer than {MAX_RECORD_BYTES // 2**20} MiB; split the record")
        elif not line.isspace():
            record, reason = parse(line)
            if record is None:
                refuse(number, reason)
            else:
                yield number, record


def parse(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """Return the JSON object of a line, or None and the reason why there is none."""
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        hint = "; the file looks like UTF-16" if b"\0" in line[:100] else ""
        return None, f"not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}{hint}; convert the file"
    except json.JSONDecodeError as error:
        near = show(error.doc[max(0, error.pos - 15) : error.pos + 15])
        return None, f"bad JSON: {error.msg} at column {error.pos + 1}, near {near}"
    except (ValueError, RecursionError) as error:
        return None, f"bad JSON: {error}"
    if not isinstance(value, dict):
        hint = "; a file that is one JSON array is read when its name ends in .json" if isinstance(value, list) else ""
        return None, f"expected a JSON object, found {show(value)}{hint}"
    return value, ""


def starts_like_lines(stream: BinaryIO) -> bool:
    """Whether the first line that is not blank is one whole JSON object (else: an array or a printed object)."""
    while line := stream.readline(MAX_RECORD_BYTES):
        line = line.removeprefix(b"\xef\xbb\xbf").strip()
        if line:
            return line.startswith(b"{") and (line.endswith(b"}") or parse(line)[0] is not None)
    return True


def read_values(
    text: io.TextIOBase, source: str, refuse: Callable[[int, str], None]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line number and object of each element of a JSON array, or of objects that follow each other.

    Broken syntax always raises `BadRecord`, since what follows it can't be told apart; an element that is not an
    object goes to `refuse`. Memory: one element of at most `MAX_RECORD_BYTES` characters and one chunk.
    """
    decoder = json.JSONDecoder()
    buffer, start, line, ended = "", 0, 1, False
    in_array, after_value, closed = False, False, False

    def fail(reason: str) -> BadRecord:
        return BadRecord(f"{source}, line {line}: bad JSON: {reason}")

    while True:
        stripped = len(buffer)
        while start < stripped and buffer[start] in _SPACE:
            line += buffer[start] == "\n"
            start += 1
        if start == len(buffer):
            if ended:
                break
            buffer, start = text.read(_CHUNK), 0
            ended = not buffer
            continue
        character = buffer[start]
        if closed:
            raise fail(f"something follows the end of the array: {show(buffer[start : start + 20])}")
        if character == "[" and not in_array and not after_value:
            in_array, start = True, start + 1
            continue
        if character == "]" and in_array:
            closed, start = True, start + 1
            continue
        if in_array and after_value:
            if character != ",":
                raise fail(f"expected ',' or ']' between records, near {show(buffer[start : start + 20])}")
            after_value, start = False, start + 1
            continue
        try:
            value, end = decoder.raw_decode(buffer, start)
        except json.JSONDecodeError as error:
            incomplete = error.msg.startswith("Unterminated string") or error.pos > len(buffer) - 16
            if ended or not incomplete:
                line += buffer.count("\n", start, error.pos)
                raise fail(f"{error.msg}, near {show(buffer[max(start, error.pos - 15) : error.pos + 15])}") from None
            if len(buffer) - start > MAX_RECORD_BYTES:
                raise fail(f"a record is longer than {MAX_RECORD_BYTES // 2**20} MiB") from None
            more = text.read(max(_CHUNK, len(buffer) - start))
            buffer, start, ended = buffer[start:] + more, 0, not more
            continue
        except (ValueError, RecursionError) as error:
            raise fail(str(error)) from None
        if isinstance(value, dict):
            yield line, value
        else:
            refuse(line, f"expected a JSON object, found {show(value)}")
        line += buffer.count("\n", start, end)
        start, after_value = end, True
    if in_array and not closed:
        raise fail("the array is never closed")
