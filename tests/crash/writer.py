"""A writer that is killed: it does random writes and notes in a journal what it begins and what was acknowledged.

Run as ``python writer.py COLLECTION JOURNAL SEED``; it goes on until it is killed or its parent is gone. The journal is
appended to with plain `write` calls, which survive the process.
"""

from __future__ import annotations

import json
import os
import random
import sys

import isometry as iso

IDS = 200


def main(path: str, journal: str, seed: int) -> None:
    parent = os.getppid()
    random_ = random.Random(seed)
    log = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with iso.open(path) as collection:
        collection.delete([])
        note(log, {"event": "started"})
        stamp = 0
        while os.getppid() == parent:
            stamp += 1
            step = plan(random_, f"{seed}-{stamp}")
            note(log, {"event": "begin", **step})
            perform(collection, step)
            note(log, {"event": "ack"})


def plan(random_: random.Random, stamp: str) -> dict:
    """Choose what to do next; all of it follows from the random numbers."""
    action = random_.choices(["add", "upsert", "delete", "build", "optimize"], [4, 4, 3, 2, 1])[0]
    step = {"action": action, "stamp": stamp}
    if action in ("add", "upsert", "delete"):
        step["ids"] = random_.sample(range(IDS), random_.randint(1, 40))
    if action in ("add", "upsert"):
        step["batch_rows"] = random_.choice([5, 1000])
    return step


def perform(collection: iso.Collection, step: dict) -> None:
    """Do one step; adding leaves ids alone that are stored."""
    if step["action"] == "add":
        collection.add(documents(step), on_duplicate="skip", batch_rows=step["batch_rows"])
    elif step["action"] == "upsert":
        collection.upsert(documents(step), batch_rows=step["batch_rows"])
    elif step["action"] == "delete":
        collection.delete([f"doc-{number}" for number in step["ids"]])
    elif step["action"] == "build":
        collection.build()
    else:
        collection.optimize()


def documents(step: dict) -> list[dict]:
    """Return documents that tell which step wrote them."""
    return [
        {
            "id": f"doc-{n}",
            "text": f"written in {step['stamp']}",
            "stamp": step["stamp"],
            "vector": [1.0, float(n), 0.5],
            "sparse_vector": {"indices": [n], "values": [1.0]},
        }
        for n in step["ids"]
    ]


def note(log: int, event: dict) -> None:
    """Append one line to the journal in one call."""
    os.write(log, json.dumps(event).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
