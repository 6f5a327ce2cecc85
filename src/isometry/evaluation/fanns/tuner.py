"""Greedy coordinate search over lists of candidates, as the benchmark tunes every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isometry.errors import InvalidInput

__all__ = ["Tuned", "tune_greedily"]


@dataclass(frozen=True)
class Tuned:
    """What a greedy search found.

    Attributes
    ----------
    values : dict of str to value
    reward : float
    tried : int
        How many settings were measured.
    """

    values: dict[str, Any] = field(hash=False)
    reward: float
    tried: int


def tune_greedily(
    candidates: Mapping[str, Sequence[Any]],
    reward: Callable[[dict[str, Any]], float],
    *,
    start: Mapping[str, int] | None = None,
    gain: float = 0.01,
) -> Tuned:
    """Move one parameter at a time one step along its list while that is rewarded (Iff et al., section 5.1).

    Parameters
    ----------
    candidates : mapping of str to sequence
        The values of each parameter, in order.
    reward : callable
        From a value of every parameter to what is to be large; each setting is asked for once.
    start : mapping of str to int, optional
        Places to begin at; the middle of a list by default.
    gain : float, default 0.01
        Sweeps go on while one of their steps gained more than this share.

    Raises
    ------
    InvalidInput
        A parameter without candidates, or a start outside of its list.
    """
    if not candidates or any(not len(values) for values in candidates.values()):
        raise InvalidInput(f"candidates are {dict(candidates)!r:.80}; expected a value or more for each parameter")
    at = {name: (start or {}).get(name, len(values) // 2) for name, values in candidates.items()}
    for name, place in at.items():
        if not 0 <= place < len(candidates[name]):
            raise InvalidInput(f"start of {name} is {place}; expected a place from 0 to {len(candidates[name]) - 1}")
    known: dict[tuple[int, ...], float] = {}

    def measured(places: dict[str, int]) -> float:
        key = tuple(places.values())
        if key not in known:
            known[key] = reward({name: candidates[name][place] for name, place in places.items()})
        return known[key]

    best, gained = measured(at), True
    while gained:
        gained = False
        for name in at:
            for step in (1, -1):
                moved = at | {name: at[name] + step}
                if not 0 <= moved[name] < len(candidates[name]) or (found := measured(moved)) <= best:
                    continue
                gained = gained or found > best + gain * abs(best)
                best, at = found, moved
    return Tuned({name: candidates[name][place] for name, place in at.items()}, best, len(known))
