"""Flips every byte of a small saved index, one at a time, and opens and searches what that leaves.

Run by `test_vamana`, `test_sparse` and `test_multivector` in a process of its own, as a crash would take the tests
along.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from isometry import storage
from isometry.errors import Damaged, IsometryError, NewerFormat
from isometry.indexes import Flat, index_from_spec, labels, load_index
from isometry.indexes.levelled import Levelled
from isometry.indexes.sparse import SparseIndex
from isometry.vectors import MultiVectors


def items(index):
    """Return what an index holds: vectors, sparse ones, or sets of one to three."""
    d = 16 if getattr(index, "link_bits", None) else 3
    x = np.random.default_rng(0).standard_normal((9, d)).astype(np.float32)
    x[5] = x[2]
    if isinstance(index, SparseIndex):
        return csr_array(np.maximum(np.tile(x, 6), 0))
    return x if isinstance(index, Flat | Levelled) else MultiVectors(np.tile(x, (2, 1)), np.r_[0:18:2, 18])


def use(folder, **options):
    """Return what an opened index answers, with options for a filter, and after it was changed too."""
    index = load_index(folder)
    x = items(index)
    even = np.arange(index.n_rows) % 2 == 0
    answers = [index.search(x[:2], 4, effort=4), index.search(x[:2], 4, allowed=even, **options)]
    index.add(x[6:8])
    index.remove([0, 5])
    return [*answers, index.search(x[:2], 4, effort=4)]


def same(answers, expected):
    return all(np.array_equal(*pair) for a, b in zip(answers, expected, strict=True) for pair in zip(a, b, strict=True))


def main(folder: Path, spec: str, metric: str, verified: bool, labelled: bool) -> None:
    """Print as JSON how many flips were refused, changed nothing or changed the answer, and what else happened."""
    path = folder / "index"
    index = index_from_spec(spec, metric=metric)
    options, declared = {}, {}
    if labelled:
        labels.FEWEST, options = 2, {"strategy": "labels"}
        declared = {"labels": {"odd": np.arange(len(items(index))) % 2}}
    index.build(items(index), **declared).save(path)
    expected = use(path, **options)
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
                    counts["same" if same(use(path, **options), expected) else "changed"] += 1
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
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "verified", "labelled" in sys.argv[5:])
