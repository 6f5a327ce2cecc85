"""Work that is shared out comes back whole, in order, and with its errors."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.threads import Scratch, in_threads, processors, run_parts


@given(st.integers(0, 60), st.integers(1, 20), st.one_of(st.none(), st.integers(1, 4)))
def test_parts_cover_everything_once_and_in_order(count, part, threads):
    found = run_parts(lambda start, stop: list(range(start, stop)), count, part, threads)
    assert [i for piece in found for i in piece] == list(range(count))
    assert all(len(piece) <= part for piece in found)


@pytest.mark.parametrize("threads", [1, 3, None])
def test_tasks_keep_their_order(threads):
    assert in_threads(lambda task: task * 2, [3, 1, 2], threads) == [6, 2, 4]
    assert in_threads(lambda task: task, [], threads) == []


def test_one_thread_is_the_caller():
    assert in_threads(lambda _: threading.get_ident(), range(3), 1) == [threading.get_ident()] * 3


def test_errors_reach_the_caller():
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda task: 1 // task, [1, 0, 1], 2)


def test_processors_are_counted():
    assert processors() >= 1


def test_scratch_is_used_again_and_never_by_two_at_once():
    made: list[list[int]] = []

    def make() -> list[int]:
        made.append([])
        return made[-1]

    scratch = Scratch(make)
    first = scratch.take()
    assert scratch.take() is not first
    scratch.give(first)
    assert scratch.take() is first
    scratch.give(first)

    def work(_: int) -> None:
        mine = scratch.take()
        assert not mine
        mine.append(threading.get_ident())
        mine.pop()
        scratch.give(mine)

    in_threads(work, range(20_000), 8)
    assert len(made) <= 2 + 8
