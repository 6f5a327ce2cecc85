from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isometry.indexes.slots import Slots


def new(n):
    return Slots(np.arange(n, dtype=np.int64), np.arange(n, dtype=np.int32))


def assert_consistent(slots):
    for id_, slot in enumerate(slots.slot_of.tolist()):
        assert slot < 0 or slots.row_ids[slot] == id_
    assert np.count_nonzero(slots.row_ids >= 0) == len(slots) == len(slots.used())


def test_free_slots_are_used_first_under_new_ids():
    slots = new(4)
    slots.drop(np.array([1, 3]))
    assert slots.used().tolist() == [0, 2]
    assert slots.take(1).tolist() == [1]
    assert slots.row_ids.tolist() == [0, 4, 2, -1]
    assert slots.slot_of.tolist() == [0, -1, 2, -1, 1]


def test_the_capacity_grows_by_a_quarter_at_least():
    slots = new(100)
    assert slots.take(1).tolist() == [100]
    assert slots.capacity == 125
    assert slots.take(50).tolist() == list(range(101, 151))
    assert slots.capacity == 156
    assert len(slots) == 151


def test_rows_change_places():
    slots = new(3)
    slots.move(2, 0)
    assert slots.row_ids.tolist() == [2, 1, 0]
    assert slots.slot_of.tolist() == [2, 1, 0]


@given(st.integers(0, 20), st.lists(st.integers(0, 12), max_size=12), st.integers(0, 1000))
def test_ids_and_slots_agree_after_any_changes(n, counts, seed):
    rng = np.random.default_rng(seed)
    slots = new(n)
    ever, alive = n, set(range(n))
    for count in counts:
        if rng.random() < 0.5:
            taken = slots.take(count)
            assert len(set(taken.tolist())) == count
            alive |= set(range(ever, ever + count))
            ever += count
        elif alive:
            gone = rng.permutation(sorted(alive))[:count]
            slots.drop(gone)
            alive -= set(gone.tolist())
        if len(alive) > 1:
            slots.move(*(int(slots.slot_of[id_]) for id_ in rng.permutation(sorted(alive))[:2]))
        assert len(slots.slot_of) == ever
        assert set(np.flatnonzero(slots.slot_of >= 0).tolist()) == alive
        assert_consistent(slots)
