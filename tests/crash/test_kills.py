"""Nothing acknowledged is lost when a writer is killed."""

from __future__ import annotations

from tests.crash.kills import run

KILLS = 50


def test_fifty_kills_lose_nothing():
    counts = run(KILLS, seed=1)
    assert counts["kills"] == KILLS
    assert counts["cut_off"] > KILLS // 5, f"most kills must hit a write that is under way: {counts}"
