"""Measure which way of searching is better, and whether the difference is more than chance.

Call it with a folder in BEIR layout (corpus.jsonl, queries.jsonl, qrels/test.tsv), each file plain or gzipped:

    python examples/compare_modes.py path/to/nfcorpus
"""

import sys
import tempfile

import isometry as iso
from isometry.encoders import DEFAULT_ENCODER
from isometry.evaluation import load_judged, measure

judged = load_judged(sys.argv[1])
print(judged)
with tempfile.TemporaryDirectory() as folder, iso.create(f"{folder}/corpus.iso", encoder=DEFAULT_ENCODER) as corpus:
    corpus.add(judged.corpus)
    measured = {}
    for mode in ("lexical", "dense", "hybrid"):
        found = corpus.search(list(judged.queries.values()), k=100, mode=mode)
        run = {
            query: dict(zip(hits.ids, hits.scores.tolist(), strict=True))
            for query, hits in zip(judged.queries, found, strict=True)
        }
        measured[mode] = measure(run, judged.qrels)
        print(f"{mode:8}", {name: str(estimate) for name, estimate in measured[mode].estimates.items()})
    print("hybrid against lexical, nDCG@10:", measured["hybrid"].difference(measured["lexical"], "nDCG@10"))
