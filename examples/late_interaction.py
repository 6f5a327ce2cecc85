"""Search token by token: a collection with a vector for every token, and which of them answered which of the query."""

import isometry as iso

texts = [
    "Owls hunt at night and sleep by day.",
    "The moon pulls the sea, so tides come and go.",
    "A harbour froze in January; ships waited outside the port.",
    "Ravens solve puzzles for food.",
    "Snow closed the mountain road over the pass.",
]
# Any multi-vector model goes here; in this one the vectors of tokens are the same in every text.
notes = iso.create("late.iso", multi_encoder="wordllama-tokens")
notes.add([{"id": str(number), "text": text} for number, text in enumerate(texts)])

# Encodings of the sets find candidates, PQ codes of 32 bytes a token put them in order.
built = notes.build(multi_spec="FDE(10,3,16),LVQ4,Flat -> PQ32")
print(f"{built.multi_spec}: recall@10 {built.multi_recall:.2f}, {built.multi_bytes_per_vector:,.0f} bytes per token")

for query in ("which birds hunt in the dark", "frozen port", "a blocked alpine street"):
    hits = notes.search(query, k=1, mode="multi")
    found = [f"{match.query.strip('▁')}~{match.document.strip('▁')} {match.similarity:.2f}" for match in hits.tokens[0]]
    print(f"{hits.scores[0]:6.2f}  {query!r}: {hits[0].row['text']!r} by {', '.join(found)}")
