from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isometry import ranked


@given(
    pairs=st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 20)), st.sampled_from([0.0, 0.5, 1.0, -2.0])),
    k=st.integers(1, 12),
)
def test_rank_is_a_sort_by_score_then_id(pairs, k):
    columns = np.array([(query, item) for query, item in pairs], np.int64).reshape(-1, 2)
    ids, scores = ranked.rank(columns[:, 0], columns[:, 1], np.array(list(pairs.values())), 4, k)
    for query in range(4):
        best = sorted((-score, item) for (q, item), score in pairs.items() if q == query)[:k]
        assert ids[query].tolist() == [item for _, item in best] + [-1] * (k - len(best))
        assert scores[query].tolist() == [-score for score, _ in best] + [-np.inf] * (k - len(best))
