"""Operations on registers, and scores of every layout, at every level of instructions that kernels are compiled for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isometry.errors import InvalidInput
from isometry.kernels.level import LEVELS, detect

ROOT = Path(__file__).parents[2]
OLD = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}


def compare(**environment: str):
    """Run the comparison of `levels` in a process of its own and return what it found."""
    command = [sys.executable, "-c", "from tests.kernels.levels import main; main()"]
    unset = {"ISOMETRY_KERNELS", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_computes_what_numpy_does(level):
    if level == "vnni" and compare_level() != "vnni":
        pytest.skip("this processor has no AVX-512 VNNI")
    found = compare(ISOMETRY_KERNELS=level)
    assert found["level"] == level
    assert found["count"] > 900
    assert not found["wrong"]


def test_an_old_processor_computes_what_numpy_does():
    found = compare(**OLD)
    assert found["level"] == "vector"
    assert not found["wrong"]


def compare_level():
    """Return the level of this processor when nothing forces another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ISOMETRY_KERNELS", raising=False)
        return detect()


def test_an_unknown_level_is_refused(monkeypatch):
    monkeypatch.setenv("ISOMETRY_KERNELS", "vector512")
    with pytest.raises(InvalidInput, match="ISOMETRY_KERNELS is 'vector512'; expected one of vnni, vector, plain"):
        detect()


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_can_be_forced(level, monkeypatch):
    monkeypatch.setenv("ISOMETRY_KERNELS", level)
    assert detect() == level


@pytest.mark.parametrize(
    ("name", "features", "level"),
    [
        ("generic", "", "vector"),
        ("generic", None, "vector"),
        ("znver5", "+avx512f,+avx512bw,+avx512vnni", "vnni"),
        ("skylake-avx512", "+avx512f,+avx512bw,-avx512vnni", "vector"),
    ],
)
def test_the_level_follows_the_processor_that_numba_compiles_for(name, features, level, monkeypatch):
    monkeypatch.delenv("ISOMETRY_KERNELS", raising=False)
    monkeypatch.setattr("isometry.kernels.level.config.CPU_NAME", name)
    monkeypatch.setattr("isometry.kernels.level.config.CPU_FEATURES", features)
    assert detect() == level
