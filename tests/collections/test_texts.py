"""What is encoded of a document."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from isometry.collections.texts import encode_passages, join_texts

ROWS = pa.table(
    {
        "title": ["Owls at night", "", None, None],
        "text": ["Flour, water and salt. " * 600, "bread " * 2000, "short", None],
    }
)
FIELDS = ("title", "text")


def test_join_leaves_out_what_is_empty():
    assert join_texts(ROWS, FIELDS)[2:] == ["short", ""]
    assert join_texts(ROWS, ("title", "nothing"))[0] == "Owls at night"
    assert join_texts(ROWS, ("nothing",)) == [""] * 4


def test_the_title_heads_every_passage(encoder):
    spans, vectors = encode_passages(encoder, ROWS, FIELDS, split=True)
    texts = join_texts(ROWS, FIELDS)
    assert vectors.lengths.tolist() == [len(cuts) for cuts in spans]
    assert vectors.lengths[3] == 0
    for row, heading in enumerate(["Owls at night ", "", ""]):
        bodies = [texts[row][start:end] for start, end in spans[row]]
        expected = encoder.encode_document([bodies[0], *(heading + body for body in bodies[1:])])
        assert np.allclose(vectors[row], expected, atol=1e-6)


def test_without_passages_every_text_has_one_vector(encoder):
    spans, vectors = encode_passages(encoder, ROWS, FIELDS, split=False)
    assert vectors.lengths.tolist() == [1, 1, 1, 0]
    assert spans[0] == [(0, len(join_texts(ROWS, FIELDS)[0]))]
