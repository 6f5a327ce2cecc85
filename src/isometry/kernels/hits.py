"""Lists of hits, as `isometry.ranked` orders them."""

from __future__ import annotations

from isometry.kernels.score import inlined

__all__ = ["keep"]


@inlined()
def keep(scores, ids, size, value, id_):
    """Put a hit into a list kept best first, equal scores by smaller id; returns the new size."""
    k = len(ids)
    if size == k and (value < scores[k - 1] or (value == scores[k - 1] and id_ > ids[k - 1])):
        return size
    place = min(size, k - 1)
    while place > 0 and (scores[place - 1] < value or (scores[place - 1] == value and ids[place - 1] > id_)):
        scores[place] = scores[place - 1]
        ids[place] = ids[place - 1]
        place -= 1
    scores[place] = value
    ids[place] = id_
    return min(size + 1, k)
