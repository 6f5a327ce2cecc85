"""Import OpenVINO without its telemetry."""

from __future__ import annotations

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """Import OpenVINO and return it.

    Importing it as it is forks a process that reports the use over the network. While its telemetry package can't be
    imported it takes a stub of its own that does nothing; a program that has imported the package is left alone.
    """
    hidden = "openvino_telemetry"
    already_there = hidden in sys.modules
    if not already_there:
        sys.modules[hidden] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        if not already_there:
            del sys.modules[hidden]
    return openvino
