"""Search the documentation of the installed Python by meaning, by words, and by what it is about."""

import tempfile

import pyarrow.compute as pc

import isometry as iso
from isometry.demo import gather
from isometry.encoders import DEFAULT_ENCODER

with tempfile.TemporaryDirectory() as folder, iso.create(f"{folder}/docs.iso", encoder=DEFAULT_ENCODER) as docs:
    docs.add(gather(limit=400))
    question = "how many items are there of each"
    for mode in ("lexical", "dense", "hybrid"):
        print(mode, docs.search(question, k=3, mode=mode).ids)
    short_functions = (pc.field("kind") == "function") & (pc.field("lines") < 20)
    for hit in docs.search("send something over the network", k=5, where=short_functions):
        print(f"{hit.score:.3f}  {hit.id}: {hit.row['text']}")
