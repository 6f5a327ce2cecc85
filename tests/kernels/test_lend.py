from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from isometry.kernels.lend import lent
from isometry.kernels.score import inlined


class Pair(NamedTuple):
    first: Any
    second: Any


@inlined()
def put(pair, slot, seen, todo, count):
    if not seen[slot]:
        seen[slot] = True
        todo[count] = slot
        if count < 2:
            pair.first[slot] += pair.second[slot]
        count += 1
    return count


def gather(pair, slots, seen, out):
    pair, slots, seen, out = lent((pair, slots, seen, out))
    room = np.empty(len(slots), np.int64), np.zeros(3, np.float32)
    for turn in range(len(out)):
        todo, unused = lent(room)
        seen[:] = False
        count = 0
        for slot in slots:
            if slot < 0:
                break
            count = put(pair, slot, seen, todo, count)
        out[turn] = todo[:count].sum() + len(unused)


def test_what_is_lent_reads_and_writes_the_same_memory():
    first, second = np.zeros(9), np.arange(9.0)
    slots, seen = np.array([4, 7, 4, 2, 7, -1, 3], np.int32), np.zeros(9, np.bool_)
    out = np.zeros(1000, np.int64)
    njit(gather)(Pair(first, second), slots, seen, out)
    assert (out == 4 + 7 + 2 + 3).all()
    assert first.tolist() == [0, 0, 0, 0, 4000, 0, 0, 7000, 0]


def test_references_to_what_is_lent_are_not_counted():
    def count_ups(function):
        compiled = njit(function)
        pair = Pair(np.zeros(9), np.zeros(9))
        compiled(pair, np.zeros(3, np.int32), np.zeros(9, np.bool_), np.zeros(2, np.int64))
        return "\n".join(compiled.inspect_llvm().values()).count("call void @NRT_incref")

    def gather_owned(pair, slots, seen, out):
        todo = np.empty(len(slots), np.int64)
        for turn in range(len(out)):
            seen[:] = False
            count = 0
            for slot in slots:
                if slot < 0:
                    break
                count = put(pair, slot, seen, todo, count)
            out[turn] = todo[:count].sum()

    assert count_ups(gather) < count_ups(gather_owned)
