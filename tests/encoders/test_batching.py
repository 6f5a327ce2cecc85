from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isometry.encoders.batching import MAX_ROWS, distinct, plan


@given(st.lists(st.text(max_size=3)))
def test_distinct_rebuilds_the_input(texts):
    unique, inverse = distinct(texts)
    assert len(set(unique)) == len(unique)
    assert [unique[i] for i in inverse] == texts


@given(st.lists(st.integers(0, 300), max_size=400), st.integers(1, 2000))
def test_batches_hold_every_row_once_within_the_budget(lengths, budget):
    lengths = np.array(lengths, np.int64)
    batches = list(plan(lengths, budget))
    assert sorted(np.concatenate([np.zeros(0, int), *batches])) == list(range(len(lengths)))
    for rows in batches:
        assert 1 <= len(rows) <= MAX_ROWS
        assert len(rows) == 1 or len(rows) * lengths[rows].max() <= budget
    order = [lengths[row] for rows in batches for row in rows]
    assert order == sorted(order, reverse=True)
