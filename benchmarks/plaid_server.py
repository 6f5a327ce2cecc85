"""fast-plaid in an environment of its own: its pins clash with ours, so it answers over pipes.

    python -m venv FOLDER && FOLDER/bin/pip install fast-plaid

`benchmarks/multi_vector.py --plaid FOLDER/bin/python` starts this file there. Every line of standard input is a JSON
object; each is answered by one on standard output: of `build` (folder of token arrays, bits, threads) the seconds and
bytes, of `search` (candidates, probes) the seconds and, as a file, the ids. Seconds are processor time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def sets(folder: str, role: str) -> list[Any]:
    """Return sets of tokens that the benchmark wrote."""
    import torch

    tokens, lengths = (np.load(f"{folder}/{role}-{part}.npy", allow_pickle=False) for part in ("tokens", "lengths"))
    return list(torch.from_numpy(tokens.astype(np.float32)).split(lengths.tolist()))


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the library prints must not mix with answers
    import torch
    from fast_plaid import search

    index: Any = None
    queries: list[Any] = []
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "build":
            torch.set_num_threads(asked["threads"])
            documents, queries = sets(asked["folder"], "documents"), sets(asked["folder"], "queries")
            path = f"{asked['folder']}/fast-plaid-{asked['bits']}"
            start = time.process_time()
            index = search.FastPlaid(path, device="cpu")
            index.create(documents, nbits=asked["bits"])
            seconds = time.process_time() - start
            told = {"seconds": seconds, "bytes": sum(f.stat().st_size for f in Path(path).rglob("*") if f.is_file())}
            torch.set_num_threads(1)
        else:
            options = {"top_k": asked["k"], "n_full_scores": asked["candidates"], "n_ivf_probe": asked["probes"]}
            ids = np.full((len(queries), asked["k"]), -1)
            start = time.process_time()
            found = index.search(queries, show_progress=False, **options)
            seconds = time.process_time() - start
            for row, hits in zip(ids, found, strict=True):
                row[: len(hits)] = [number for number, _ in hits]
            np.save(asked["ids"], ids)
            told = {"seconds": seconds}
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    main()
