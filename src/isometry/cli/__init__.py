"""The ``isometry`` command: every job of the library from a shell.

Commands import the rooms they need when they run, so that ``isometry --help`` and shell completion answer at once.
"""

from isometry.cli.app import app, main

__all__ = ["app", "main"]
