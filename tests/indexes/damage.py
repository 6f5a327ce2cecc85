"""Flips every byte of a small saved index, one at a time, and opens and searches what that leaves.

Run by `test_vamana` and `test_sparse` in a process of its own, as a crash would take the tests along.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, issparse

from isometry import storage
from isometry.errors import Damaged, IsometryError, NewerFormat
from isometry.indexes import index_from_spec, load_index

SPARSE = ("Inverted", "Seismic")


def vectors(spec):
    """Return nine vectors of the kind that an index takes, two of them equal."""
    x = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    x[5] = x[2]
    return csr_array(np.maximum(np.tile(x, 6), 0)) if spec in SPARSE else x


def use(folder, x):
    """Return what an opened index answers, after it was changed too."""
    index = load_index(folder)
    answers = [index.search(x[:2], 4), index.search(x[:2], 4, allowed=np.arange(index.n_rows) % 2 == 0)]
    index.add(x[:2] if issparse(x) else -x[:2])
    index.remove([0, 5])
    return [*answers, index.search(x[:2], 4)]


def same(answers, expected):
    return all(np.array_equal(*pair) for a, b in zip(answers, expected, strict=True) for pair in zip(a, b, strict=True))


def main(folder: Path, spec: str, metric: str, verified: bool) -> None:
    """Print as JSON how many flips were refused, changed nothing or changed the answer, and what else happened."""
    path = folder / "index"
    x = vectors(spec)
    index_from_spec(spec, metric=metric).build(x).save(path)
    expected = use(path, x)
    if not verified:
        storage.ALWAYS_VERIFIED_BYTES = -1
    counts = {"refused": 0, "same": 0, "changed": 0, "other": []}
    rng = np.random.default_rng(1)
    for file in sorted(path.iterdir()):
        good = file.read_bytes()
        for at in range(len(good)):
            bad = bytearray(good)
            bad[at] ^= 1 << int(rng.integers(8))
            file.write_bytes(bad)
            try:
                with np.errstate(all="ignore"):
                    counts["same" if same(use(path, x), expected) else "changed"] += 1
            except (Damaged, NewerFormat):
                counts["refused"] += 1
            except IsometryError as error:
                # Numbers that nobody verified may be too large to compute with.
                counts["refused"] += 1
                if verified:
                    counts["other"].append(f"{file.name} byte {at}: {type(error).__name__}: {error}")
            except Exception as error:
                counts["other"].append(f"{file.name} byte {at}: {type(error).__name__}: {error}")
        file.write_bytes(good)
    json.dump(counts, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "verified")
