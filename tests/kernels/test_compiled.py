"""Where compiled kernels are kept, for whom, and what happens when they can't be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isometry.kernels import compiled
from isometry.kernels.compiled import kernel_folder

CODE = """
import sys, numpy as np
from isometry.kernels import compiled
@compiled.kernel
def twice(x):
    return x + x
assert twice(21) == 42
print(sum(twice.stats.cache_hits.values()), sum(twice.stats.cache_misses.values()))
"""
MANY = """
import sys, time, numpy as np
from pathlib import Path
from isometry.kernels import compiled
@compiled.kernel
def twice(x):
    return x + x
ready, kinds, *compiled_before = sys.argv[1:]
Path(ready).touch()
while len(list(Path(ready).parent.glob("ready*"))) < 3:
    time.sleep(0.001)
for kind in kinds.split():
    assert twice(np.dtype(kind).type(3)) == 6
assert not (compiled_before and twice.stats.cache_misses), twice.stats
"""
KINDS = ["int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64", "uint64"]


def command(file: Path, code: str) -> list[str]:
    file.write_text(code)
    return [sys.executable, str(file)]


def run(tmp_path, code: str = CODE, **environment: str) -> str:
    done = subprocess.run(
        command(tmp_path / "kernels.py", code),
        env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOMETRY_CACHE", str(tmp_path / "a"))
    assert kernel_folder().parent == tmp_path / "a" / "kernels"
    monkeypatch.delenv("ISOMETRY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert kernel_folder().parent == tmp_path / "b" / "isometry" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert kernel_folder().parent == Path.home() / ".cache" / "isometry" / "kernels"


def test_the_second_process_compiles_nothing(tmp_path):
    environment = {"ISOMETRY_CACHE": str(tmp_path / "cache")}
    assert run(tmp_path, **environment) == "0 1"
    assert run(tmp_path, **environment) == "1 0"
    assert run(tmp_path, **environment, ISOMETRY_KERNELS="plain") == "0 1"


def test_another_processor_is_another_kernel(tmp_path):
    environment = {"ISOMETRY_CACHE": str(tmp_path / "cache"), "ISOMETRY_KERNELS": "vector"}
    assert run(tmp_path, **environment) == "0 1"
    assert run(tmp_path, **environment, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == "0 1"


def test_without_a_folder_every_process_compiles(tmp_path):
    (tmp_path / "file").touch()
    environment = {"ISOMETRY_CACHE": str(tmp_path / "file")}
    assert [run(tmp_path, **environment).split()[0] for _ in range(2)] == ["0", "0"]


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_made_again(tmp_path, suffix):
    environment = {"ISOMETRY_CACHE": str(tmp_path / "cache")}
    run(tmp_path, **environment)
    [file] = (tmp_path / "cache").rglob(f"*.{suffix}")
    file.write_bytes(file.read_bytes()[:100])
    assert run(tmp_path, **environment) == "0 1"
    assert run(tmp_path, **environment) == "1 0"


def test_a_full_disk_only_costs_the_cache(tmp_path):
    full = CODE.replace(
        "@compiled", "import numba.core.caching as c\ndef fail(*_): raise OSError(28, 'No space left')\n"
        "c.IndexDataCacheFile.save = fail\n@compiled", 1
    )  # fmt: skip
    assert run(tmp_path, full, ISOMETRY_CACHE=str(tmp_path / "cache")) == "0 1"


def test_processes_that_compile_at_once_do_not_mix_up_their_kernels(tmp_path):
    """Each compiles for the same types in another order; afterwards all are there, each as what it is."""
    environment = os.environ | {"ISOMETRY_CACHE": str(tmp_path / "cache")}
    # Numba knows a kernel by its file: all processes run the same one, which nothing may write to from here on.
    base = command(tmp_path / "kernels.py", MANY)

    def start(i: int, *more: str) -> subprocess.Popen:
        words = [*base, str(tmp_path / f"ready{i}"), " ".join(KINDS[3 * i :] + KINDS[: 3 * i]), *more]
        return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)

    def finish(*processes: subprocess.Popen) -> None:
        try:
            for process in processes:
                _, errors = process.communicate(timeout=120)
                assert process.returncode == 0, errors
        finally:
            for process in processes:  # without one of them the others would wait for ever
                process.kill()

    finish(*(start(i) for i in range(3)))
    finish(start(0, "compiled"))


def test_a_change_reaches_what_imports_it_and_nothing_else(monkeypatch, tmp_path):
    room = tmp_path / "kernels"
    shutil.copytree(Path(compiled.__file__).parent, room)
    monkeypatch.setattr(compiled, "__file__", str(room / "compiled.py"))
    state = compiled._sources.__wrapped__
    before = {path.name: state(path) for path in room.glob("*.py")}
    (room / "graph.py").write_text((room / "graph.py").read_text() + "\n")
    changed = {name for name in before if state(room / name) != before[name]}
    assert {"graph.py", "scan.py"} <= changed
    assert not changed & {"simd.py", "rows.py", "score.py", "kmeans.py", "encode.py"}


def test_machine_code_is_the_kernel_for_those_types():
    @compiled.kernel
    def second(pair, i):
        return pair[1][i]

    pair = (np.arange(3.0), np.arange(5, 8))
    code = compiled.machine_code(second, pair, 0)
    assert code(pair, 1) == second(pair, 1) == 6
    assert len(second.overloads) == 1
