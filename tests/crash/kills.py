"""Kill a writer at random instants, many times, and check after each kill that nothing acknowledged is lost.

``python -m tests.crash.kills 1000`` is the long run for nights; `test_kills` does a short one with every test run.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

import isometry as iso
from tests.crash import writer

START_TIMEOUT_S = 60


def run(kills: int, seed: int = 0) -> dict[str, int]:
    """Kill `kills` writers of one collection; return how many steps were acknowledged and how many were cut off.

    Raises
    ------
    AssertionError
        A collection that differs from what was acknowledged, naming the kill and the seed.
    """
    random_ = random.Random(seed)
    counts = {"kills": 0, "acknowledged": 0, "cut_off": 0, "cut_off_stored": 0}
    with tempfile.TemporaryDirectory() as folder:
        path, journal = Path(folder) / "c.iso", Path(folder) / "journal"
        iso.create(path, dim=3, metric="dot", sparse_dim=writer.IDS).close()
        stored: dict[str, str] = {}
        for kill in range(kills):
            journal.unlink(missing_ok=True)
            _write_until_killed(path, journal, seed * 1_000_003 + kill, random_)
            steps = [json.loads(line) for line in journal.read_bytes().splitlines()]
            acknowledged, cut_off = _split(steps)
            for step in acknowledged:
                stored = _outcomes(stored, step)[-1]
            found = _check(path, [stored] if cut_off is None else _outcomes(stored, cut_off), f"{kill=} {seed=}")
            counts["kills"] += 1
            counts["acknowledged"] += len(acknowledged)
            counts["cut_off"] += cut_off is not None
            counts["cut_off_stored"] += found != stored
            stored = found
    return counts


def _write_until_killed(path: Path, journal: Path, seed: int, random_: random.Random) -> None:
    command = [sys.executable, writer.__file__, str(path), str(journal), str(seed)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (journal.exists() and journal.stat().st_size) and process.poll() is None:
            assert time.monotonic() < deadline, "the writer did not start"
            time.sleep(0.01)
        time.sleep(random_.uniform(0, 0.6))
    finally:
        died = process.poll()
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert died is None, f"the writer ended by itself: {errors.decode()[-2000:]}"


def _split(steps: list[dict]) -> tuple[list[dict], dict | None]:
    """Return the acknowledged steps and the one that was begun and not acknowledged."""
    acknowledged, open_step = [], None
    for step in steps:
        if step["event"] == "begin":
            open_step = step
        elif step["event"] == "ack" and open_step is not None:
            acknowledged.append(open_step)
            open_step = None
    return acknowledged, open_step


def _outcomes(stored: dict[str, str], step: dict) -> list[dict[str, str]]:
    """Return every state that a step may leave behind, from untouched to done: after each whole batch."""
    states = [dict(stored)]
    names = [f"doc-{number}" for number in step.get("ids", [])]
    if step["action"] in ("add", "upsert"):
        for start in range(0, len(names), step["batch_rows"]):
            state = dict(states[-1])
            for name in names[start : start + step["batch_rows"]]:
                if step["action"] == "upsert" or name not in state:
                    state[name] = step["stamp"]
            states.append(state)
    elif step["action"] == "delete":
        states.append({name: stamp for name, stamp in stored.items() if name not in names})
    return states


def _check(path: Path, allowed: list[dict[str, str]], label: str) -> dict[str, str]:
    """Reopen, compare with the states that are allowed, verify, search, and write once more."""
    with iso.open(path) as collection:
        rows = collection.get([f"doc-{number}" for number in range(writer.IDS)]).to_pylist()
        found = {row["id"]: row["stamp"] for row in rows}
        assert found in allowed, f"{label}: stored {found}, allowed {allowed}"
        report = collection.verify()
        assert report.ok, f"{label}: {report.problems}"
        hits = collection.search([0.0, 1.0, 0.0], k=writer.IDS)
        assert sorted(hits.ids) == sorted(found), f"{label}: search finds {hits.ids}"
        assert len(collection.search("written", k=writer.IDS, mode="lexical")) == len(found), label
        (hits,) = collection.search(csr_array(np.ones((1, writer.IDS), np.float32)), k=writer.IDS, effort=1000)
        assert sorted(hits.ids) == sorted(found), f"{label}: search for terms finds {hits.ids}"
        after = {"id": "after", "text": "the next write works", "stamp": label, "vector": [0.0, 0.0, 0.0]}
        collection.upsert([{**after, "sparse_vector": {"indices": [0], "values": [1.0]}}])
        assert collection.get(["after"])["stamp"].to_pylist() == [label]
        assert collection.delete(["after"]) == 1
    return found


if __name__ == "__main__":
    print(
        json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    )
