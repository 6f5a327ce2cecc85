"""Which instructions the kernels use on this machine."""

from __future__ import annotations

import os
import platform
from typing import Literal, cast

import llvmlite.binding as llvm
from numba.core import config

from isometry.errors import check_choice

__all__ = ["ADDS_PAIRS", "CONVERTS_HALVES", "LEVEL", "LEVELS", "LOOKS_UP", "Level", "detect"]

Level = Literal["vnni", "vector", "plain"]
LEVELS: tuple[Level, ...] = ("vnni", "vector", "plain")
"""``vnni``: 512-bit vectors with the x86 byte dot product. ``vector``: LLVM vectors, which it lowers to whatever the
processor has. ``plain``: scalar loops, vectorised by the compiler if it can."""


def detect() -> Level:
    """Return the best level for the processor that Numba compiles for.

    The environment variable ``ISOMETRY_KERNELS`` forces another one. Numba's own ``NUMBA_CPU_NAME`` and
    ``NUMBA_CPU_FEATURES`` are followed, so that code for an older processor can be made and tested on a newer one.
    """
    forced = os.environ.get("ISOMETRY_KERNELS")
    if forced:
        return cast(Level, check_choice("ISOMETRY_KERNELS", forced, LEVELS))
    return "vnni" if {"avx512f", "avx512bw", "avx512vnni"} <= _features() else "vector"


def _features() -> set[str]:
    if config.CPU_FEATURES is not None:
        return {name[1:] for name in config.CPU_FEATURES.split(",") if name.startswith("+")}
    if config.CPU_NAME is not None:
        return set()
    return {name for name, present in llvm.get_host_cpu_features().items() if present}


LEVEL: Level = detect()
CONVERTS_HALVES = "f16c" in _features() or platform.machine() in ("aarch64", "arm64")
"""Whether the processor reads float16. Where it does not, LLVM calls a function that compiled code does not find."""
ADDS_PAIRS = LOOKS_UP = LEVEL != "plain" and "avx2" in _features()
"""Whether the processor has the x86 instructions that multiply bytes or words and add up neighbouring products, and the
one that looks up bytes in a table of sixteen."""
