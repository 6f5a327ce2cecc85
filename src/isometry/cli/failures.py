"""What a failed command looks like: a paragraph on stderr and an exit status, no traceback for a mistake."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from isometry.cli.output import note, printable
from isometry.errors import IsometryError

FAILED = 1
INTERRUPTED = 128 + signal.SIGINT
READER_LEFT = 128 + 13  # SIGPIPE, by number because Windows lacks the name


class Interrupted(Exception):
    """Ctrl-C reached a command that has something to say about what is stored."""


@contextmanager
def explained_interrupt(explain: Any) -> Iterator[None]:
    """Turn Ctrl-C inside the block into `Interrupted` with the text that ``explain()`` returns."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(explain()) from None


class Guarded(TyperGroup):
    """A command group that turns exceptions of its commands into messages and exit statuses."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except Interrupted as interrupt:
            _leave(str(interrupt), INTERRUPTED)
        except KeyboardInterrupt:
            _leave("Interrupted.", INTERRUPTED)
        except BrokenPipeError:
            # The reader (head, less) has seen enough. What is still buffered must not fail again at shutdown.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(READER_LEFT) from None
        except IsometryError as error:
            _leave(f"Error: {error}", FAILED)
        except OSError as error:
            place = f" ({error.filename})" if error.filename else ""
            _leave(f"Error: {error.strerror or error}{place}", FAILED)


def _leave(message: str, status: int) -> None:
    note(printable(message))
    raise typer.Exit(status) from None
