"""Search by late interaction: a vector for every word, and which word of the query found which word of a text."""

import re

from isometry import index_from_spec
from isometry.encoders import load_encoder
from isometry.vectors import MultiVectors

texts = [
    "Owls hunt at night and sleep by day.",
    "The moon pulls the sea, so tides come and go.",
    "A harbour froze in January; ships waited outside the port.",
    "Ravens solve puzzles for food.",
    "Snow closed the mountain road over the pass.",
]
encoder = load_encoder("wordllama")  # any multi-vector model goes here; this one has a vector for every word alone


def words(text):
    return re.findall(r"\w{3,}", text.lower())


def vectors(some):
    return MultiVectors.from_list([encoder.encode_document(words(text)) for text in some])


# Encodings of the sets find candidates, PQ codes of 32 bytes a word put them in order.
index = index_from_spec("FDE(10,3,16),LVQ4,Flat -> PQ32").build(vectors(texts))
print(index)
for query in ("which birds hunt in the dark", "frozen port", "a blocked alpine street"):
    asked = vectors([query])
    ids, scores = index.search(asked, k=1)
    best = int(ids[0, 0])
    numbers, near = index.matches(asked[0], [best])
    found = [f"{word}~{words(texts[best])[number]}" for word, number in zip(words(query), numbers[0], strict=True)]
    print(f"{scores[0, 0]:6.2f}  {query!r}: {texts[best]!r} by {', '.join(found)}")
