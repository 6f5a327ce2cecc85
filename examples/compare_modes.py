"""Measure which way of searching is better, and whether the difference is more than chance.

Call it with a folder in BEIR layout (corpus.jsonl, queries.jsonl, qrels/test.tsv), each file plain or gzipped:

    python examples/compare_modes.py path/to/nfcorpus
"""

import sys
import tempfile

import isometry as iso
from isometry.encoders import DEFAULT_ENCODER
from isometry.evaluation import evaluate_collection, load_judged

judged = load_judged(sys.argv[1])
print(judged)
with tempfile.TemporaryDirectory() as folder, iso.create(f"{folder}/corpus.iso", encoder=DEFAULT_ENCODER) as corpus:
    corpus.add(judged.corpus)
    found = evaluate_collection(corpus, judged.queries, judged.qrels, modes=["lexical", "dense", "hybrid"])
    for mode, measured in found.measured.items():
        print(f"{mode:8}", {name: str(estimate) for name, estimate in measured.estimates.items()})
    print("hybrid - lexical, nDCG@10:", found.differences["hybrid"]["nDCG@10"])
