from __future__ import annotations

import sys

import numpy as np
import pytest

from isometry.evaluation import memory
from isometry.evaluation.memory import PeakMemory

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells it")
def test_memory_that_was_given_back_counts_and_what_was_there_before_does_not():
    kept = np.ones(40 * MIB, np.uint8)
    with PeakMemory() as peak:
        np.ones(100 * MIB, np.uint8)
    assert peak.nbytes is not None
    assert 90 * MIB < peak.nbytes < 130 * MIB
    with PeakMemory() as less:
        np.ones(10 * MIB, np.uint8)
    assert less.nbytes is not None
    assert less.nbytes < 60 * MIB
    assert kept.all()


def test_nothing_is_claimed_where_the_system_can_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_PROCESS", tmp_path / "nowhere")
    with PeakMemory() as peak:
        pass
    assert peak.nbytes is None
