from __future__ import annotations

import subprocess
import sys

import pytest

from isometry.evaluation import memory
from isometry.evaluation.memory import PeakMemory

# In a process of its own: from one that has used much more, the system may take back as much meanwhile.
CODE = """
import numpy as np
from isometry.evaluation.memory import PeakMemory
MIB = 2**20
kept = np.ones(40 * MIB, np.uint8)
with PeakMemory() as peak:
    np.ones(100 * MIB, np.uint8)
assert peak.nbytes is not None
assert 90 * MIB < peak.nbytes < 130 * MIB, peak.nbytes
with PeakMemory() as less:
    np.ones(10 * MIB, np.uint8)
assert less.nbytes is not None
assert less.nbytes < 60 * MIB, less.nbytes
with PeakMemory() as text:
    _ = b"x" * 50_000_000
assert text.nbytes > 40_000_000, text.nbytes
assert kept.all()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells it")
def test_memory_that_was_given_back_counts_and_what_was_there_before_does_not():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_is_claimed_where_the_system_can_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_PROCESS", tmp_path / "nowhere")
    with PeakMemory() as peak:
        pass
    assert peak.nbytes is None
