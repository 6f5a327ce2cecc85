from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.codecs import LVQ
from isometry.indexes import twins as module
from isometry.indexes.twins import Twins
from isometry.kernels.rows import Float32Rows, padded_copy


def rows_of(values):
    return Float32Rows(padded_copy(np.array(values, np.float32).reshape(len(values), -1)))


def slots(*numbers):
    return np.array(numbers, np.int32)


def chains(twins, leaders):
    """Return each leader's chain, the leader first."""
    found = []
    for leader in leaders.tolist():
        chain, at = [leader], leader
        while len(twins.following) and (at := int(twins.following[at])) >= 0:
            chain.append(at)
        found.append(chain)
    return found


def test_nothing_is_kept_while_no_rows_are_equal():
    twins = Twins()
    assert twins.pair(rows_of([1, 2, 3]), slots(), np.arange(3, dtype=np.int32)).tolist() == [0, 1, 2]
    assert len(twins.following) == 0
    assert twins.leaders(slots(0, 2)).tolist() == [0, 2]
    assert twins.release(slots(0, 1, 2), np.array([True, False, False])) == []


def test_equal_rows_hang_behind_the_first():
    twins, rows = Twins(), rows_of([5, 7, 5, 7, 5, 9])
    leaders = twins.pair(rows, slots(), np.arange(6, dtype=np.int32))
    assert leaders.tolist() == [0, 1, 5] == twins.leaders(np.arange(6, dtype=np.int32)).tolist()
    assert [sorted(chain) for chain in chains(twins, leaders)] == [[0, 2, 4], [1, 3], [5]]


def test_new_rows_hang_behind_leaders_that_are_there():
    twins, rows = Twins(), rows_of([1, 2, 1, 1, 3])
    leaders = twins.pair(rows, slots(), slots(0, 1))
    assert twins.pair(rows, leaders, slots(4, 2, 3)).tolist() == [4]
    assert [sorted(chain) for chain in chains(twins, slots(0, 1, 4))] == [[0, 2, 3], [1], [4]]


def test_equal_digests_of_different_rows_are_not_twins(monkeypatch):
    monkeypatch.setattr(module, "_digests", lambda rows, slots: np.zeros(len(slots), np.uint64))
    twins, rows = Twins(), rows_of([1, 2, 1, 2])
    leaders = twins.pair(rows, slots(), np.arange(4, dtype=np.int32))
    assert set(leaders.tolist()) >= {0, 1}
    for chain in chains(twins, leaders):
        assert len({float(rows.values[slot, 0]) for slot in chain}) == 1


@pytest.mark.parametrize("bits", [(4, 0), (8, 0), (4, 8)])
def test_codes_count_not_what_they_were_made_from(bits):
    x = np.random.default_rng(0).standard_normal((20, 33)).astype(np.float32)
    x[10:] = x[:10]
    lvq = LVQ(*bits).fit(x)
    rows = lvq.fine_rows(lvq.transform(x))
    assert Twins().pair(rows, slots(), np.arange(20, dtype=np.int32)).tolist() == list(range(10))
    rows.constants[15, 0] += 1
    assert Twins().pair(rows, slots(), np.arange(20, dtype=np.int32)).tolist() == [*range(10), 15]


def test_leaders_of_marked_twins_are_marked():
    twins, rows = Twins(), rows_of([1, 2, 1, 1, 2, 3])
    leaders = twins.pair(rows, slots(), np.arange(6, dtype=np.int32))
    marked = np.array([False, False, False, True, False, True])
    assert np.flatnonzero(twins.spread(marked, leaders)).tolist() == [0, 3, 5]


def test_a_chain_whose_leader_goes_keeps_its_place():
    twins, rows = Twins(), rows_of([1, 1, 1, 2])
    leaders = twins.pair(rows, slots(), np.arange(4, dtype=np.int32))
    [(twin, leader)] = twins.release(leaders, np.array([True, False, False, False]))
    assert leader == 0
    assert twin in (1, 2)
    assert chains(twins, slots(0)) == [[0, 3 - twin]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=25), st.integers(0, 1000))
def test_any_removals_leave_one_chain_for_each_value(values, seed):
    """After the caller moved the rows as told, the chains hold what is left, each value once."""
    rng = np.random.default_rng(seed)
    twins, rows = Twins(), rows_of(values)
    leaders = twins.pair(rows, slots(), np.arange(len(values), dtype=np.int32))
    held: dict[int, int | None] = dict(enumerate(values))
    while any(value is not None for value in held.values()):
        used = slots(*[slot for slot, value in held.items() if value is not None])
        leaders = twins.leaders(used)
        gone = np.zeros(len(values), np.bool_)
        gone[used[rng.random(len(used)) < 0.4]] = True
        left = sorted(held[slot] for slot in used.tolist() if not gone[slot])
        moves = twins.release(leaders, gone)
        for slot in np.flatnonzero(gone).tolist():
            held[slot] = None
        for twin, leader in moves:
            held[leader], held[twin] = held[twin], None
        used = slots(*[slot for slot, value in held.items() if value is not None])
        found = [[held[slot] for slot in chain] for chain in chains(twins, twins.leaders(used))]
        assert all(len(set(chain)) == 1 for chain in found)
        assert sorted(value for chain in found for value in chain) == left
        assert len(found) == len(set(left))
