"""How a search among the rows that pass a filter is done, and why.

No way is best for every filter. A scan of the rows that pass is exact and grows with their number; a walk past all
rows grows as fewer pass; a bridging walk, past rows that pass only, hardly depends on the filter, but needs enough of
them to hang together. So the work of each is estimated, in vectors that a walk scores, and the least is done. The
estimate is made of counts that a build takes on its own graph: they are the same on any machine, so the choice is too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput, check_choice

if TYPE_CHECKING:
    from isometry.indexes.labels import Region
    from isometry.indexes.slots import Slots
    from isometry.indexes.twins import Twins

__all__ = [
    "LABELS",
    "STRATEGIES",
    "WAYS",
    "FilterPlan",
    "Masks",
    "Passing",
    "WalkCosts",
    "Way",
    "choose",
    "filter_plan",
]

Made = TypeVar("Made")

STRATEGIES = ("scan", "bridge", "walk")
"""In the order of the numbers that `isometry.kernels.filtered` knows them by."""
LABELS = "labels"
"""Past rows of the label that all rows which pass have, by links among them."""
WAYS = (*STRATEGIES, LABELS)
NEAR = 4
"""Rows that a query opens before it looks how many pass around it: more cost more than they told."""
SHARES = (0.02, 0.1, 0.4, 0.8)
_LOGS = tuple(math.log(share) for share in SHARES)
WIDTHS = (16, 64)
WALK_SHARE = 0.8
SAMPLE = 32
FEWEST_COUNTED = 4096
"""Below so many rows a scan is the least work, whatever walks cost."""
_NEVER = 2.0
_COUNTING = 1.1
"""How much longer a walk takes for a row that it scores, as it also notes what passes."""
_WALKED = tuple(0.05 * i for i in range(6, 21))
_USUAL = ((9.0, 0.55), (10.0, 0.31), (11.0, 0.36), (12.0, 0.56), (8.0, 0.36))
"""Bases and slopes of a graph's walks, by its degree: bridging at each of `SHARES`, then walking."""
_LARGEST = 1e12
_REMEMBERED = 8
_TOGETHER = 16
"""Rows that pass within two steps of a row, on average, from which those that pass hang together."""


@dataclass(frozen=True)
class FilterPlan:
    """What was done to search among the rows that pass a filter, and why.

    Attributes
    ----------
    strategy : str
        ``"scan"``: all rows that pass were looked at. ``"bridge"``: a walk past rows that pass, looking through those
        that do not. ``"walk"``: a walk past all rows, until enough of those that pass were found. ``"labels"``: a walk
        by the links of a declared attribute, past rows of the label that all rows which pass have. ``"masked"``: the
        index looked at what it always does, less what does not pass. Where queries went different ways, that of most.
    matching, rows : int
        How many rows pass, of how many.
    near_share : float or None
        Share of rows that pass among those seen near the queries, of the label's rows under ``"labels"``; None
        where no walk counted.
    costs : dict of str to float
        What each strategy was expected to cost, in vectors scored by a walk.
    queries : dict of str to int
        How many queries went which way.
    why : str
    """

    strategy: str
    matching: int
    rows: int
    near_share: float | None = None
    costs: dict[str, float] = field(default_factory=dict, hash=False)
    queries: dict[str, int] = field(default_factory=dict, hash=False)
    why: str = ""

    @property
    def selectivity(self) -> float:
        """Share of all rows that pass."""
        return self.matching / self.rows if self.rows else 0.0

    @property
    def correlation(self) -> float | None:
        """How much likelier a row passes near the queries than anywhere: above 1 in favour of them, below 1 against."""
        return self.near_share / self.selectivity if self.near_share is not None and self.matching else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "strategy": self.strategy,
            "matching": self.matching,
            "rows": self.rows,
            "selectivity": self.selectivity,
            "correlation": self.correlation,
            "costs": self.costs,
            "queries": self.queries,
            "why": self.why,
        }

    def __str__(self) -> str:
        return f"{self.strategy}: {self.matching:,} of {self.rows:,} rows pass ({self.selectivity:.2%}); {self.why}"


class Passing(NamedTuple):
    """The rows that pass a filter, as walks and scans want them, and what was decided about them.

    Attributes
    ----------
    marks, leading : (capacity,) bool
        Slots of rows that pass; slots in the graph that pass or have a twin that does.
    slots : (m,) int32
        Slots of rows that pass, in the order of memory; by id where there are twins.
    ways : dict of (int, str or None) to Way
        By width and strategy.
    """

    marks: NDArray[np.bool_]
    leading: NDArray[np.bool_]
    slots: NDArray[np.int32]
    ways: dict[tuple[int, str | None], Way]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], slots: Slots, twins: Twins) -> Passing:
        """Return what a mask over ids marks: O(n)."""
        marks = np.zeros(slots.capacity, np.bool_)
        found = slots.slot_of[mask]
        found = found[found >= 0]
        marks[found] = True
        # Among many equal rows a scan keeps those that come first, which must be those of the smaller ids.
        chosen = (found if len(twins.following) else np.flatnonzero(marks)).astype(np.int32)
        chosen.flags.writeable = False
        leading = twins.spread(marks, twins.leaders(slots.used())) if len(twins.following) else marks
        return cls(marks, leading, chosen, {})


class Masks(Generic[Made]):
    """What was made of the last masks that were asked for, by their bits."""

    def __init__(self) -> None:
        self._made: dict[bytes, Made] = {}

    def of(self, mask: NDArray[np.bool_], make: Callable[[NDArray[np.bool_]], Made]) -> Made:
        """Return what is made of a mask, as it was made for an equal one not long ago."""
        key = np.packbits(mask).tobytes()
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = make(mask)
            while len(self._made) > _REMEMBERED:
                self._made.pop(next(iter(self._made)), None)
        return found


class Way(NamedTuple):
    """Which ways the queries of a search may go.

    Attributes
    ----------
    bridge_from, walk_from : float
        Shares of passing rows near a query from which it bridges, and from which it walks; else it scans.
    costs : dict of str to float
    width : int
        How many rows that pass are looked for.
    region : Region or None
        Where to go; None for all rows.
    """

    bridge_from: float
    walk_from: float
    costs: dict[str, float]
    width: int
    region: Region | None = None

    @property
    def scans(self) -> bool:
        """Whether no query can do anything else."""
        return min(self.bridge_from, self.walk_from) > 1


@dataclass(frozen=True)
class WalkCosts:
    """What walks through one graph cost: ``base + slope * width`` vectors scored or looked through.

    Attributes
    ----------
    bridge : sequence of (base, slope)
        For each of `SHARES`.
    walk : (base, slope)
        Where all rows pass.
    """

    bridge: Sequence[tuple[float, float]]
    walk: tuple[float, float]

    @classmethod
    def usual(cls, degree: int) -> WalkCosts:
        """Return what walks cost in a graph that was not measured: as on 20,000 sentence embeddings."""
        lines = [(base * degree, slope * degree) for base, slope in _USUAL]
        return cls(lines[:-1], lines[-1])

    @classmethod
    def fitted(cls, work: NDArray[np.floating], degree: int) -> WalkCosts:
        """Return the costs behind the mean work (shares, widths) of bridging, then of walking, at `WIDTHS`."""
        slopes = (work[:, 1] - work[:, 0]) / (WIDTHS[1] - WIDTHS[0])
        bases = work[:, 0] - slopes * WIDTHS[0]
        lines = [(float(base), float(slope)) for base, slope in zip(bases, slopes, strict=True)]
        return cls(lines[:-1], (lines[-1][0], lines[-1][1] * math.sqrt(WALK_SHARE)))

    @classmethod
    def parse(cls, numbers: list[Any], degree: int) -> WalkCosts:
        """Return what `numbers` wrote.

        Raises
        ------
        InvalidInput
            It did not write that.
        """
        plain = all(
            isinstance(each, int | float) and not isinstance(each, bool) and abs(each) < _LARGEST for each in numbers
        )
        if len(numbers) != 2 * len(SHARES) + 2 or not plain:
            raise InvalidInput(f"costs of filtered walks are {numbers!r:.80}; expected {2 * len(SHARES) + 2} numbers")
        pairs = [(float(a), float(b)) for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
        return cls(pairs[:-1], pairs[-1])

    def numbers(self) -> list[float]:
        """Return everything as one list."""
        return [number for pair in (*self.bridge, self.walk) for number in pair]

    def of_bridge(self, share: float, width: int) -> float:
        """Return the work of a bridging walk where a share of the rows pass."""
        work = [base + slope * width for base, slope in self.bridge]
        at = math.log(max(share, 1e-9))
        for i in range(1, len(SHARES)):
            if at < _LOGS[i]:
                part = max(0.0, (at - _LOGS[i - 1]) / (_LOGS[i] - _LOGS[i - 1]))
                return work[i - 1] + part * (work[i] - work[i - 1])
        return work[-1]

    def of_walk(self, share: float, width: int) -> float:
        """Return the work of a walk past all rows with the recall of a bridging one of that width."""
        return self.walk[0] + self.walk[1] * width / math.sqrt(max(share, 1e-9))


def choose(
    costs: WalkCosts,
    matching: int,
    rows: int,
    width: int,
    degree: int,
    terms: int,
    strategy: str | None = None,
    regions: Sequence[Region] = (),
) -> Way:
    """Return which ways queries may go among `matching` of `rows` rows; with a `strategy`, that one only.

    `terms` is how many numbers a score adds up; each of the `regions` has all rows that pass.

    Raises
    ------
    InvalidInput
        An unknown strategy, or one that there is no region for.
    """
    share = matching / rows
    expected = {
        "scan": matching * _scan_price(terms),
        "bridge": costs.of_bridge(share, width),
        "walk": costs.of_walk(share, width),
    }
    within = [_within(region, matching, width, degree) for region in regions]
    region = min(range(len(within)), key=lambda i: within[i][0], default=None)
    if region is not None:
        expected[LABELS] = within[region][0]
    if strategy is not None:
        check_choice("strategy", strategy, WAYS)
        if strategy == LABELS and region is None:
            raise InvalidInput(f"strategy is {LABELS!r}, but no label that was linked has all rows that pass")
        if strategy != LABELS:
            forced = {"scan": (_NEVER, _NEVER), "bridge": (0.0, _NEVER), "walk": (_NEVER, 0.0)}[strategy]
            return Way(*forced, expected, width)
    elif matching <= width or expected["scan"] == min(expected.values()):
        return Way(_NEVER, _NEVER, expected, width)
    if region is not None and (strategy or expected[LABELS] == min(expected.values())):
        _, wide, costs, degree = within[region]
        return Way(*_turns(costs, wide, degree), expected, min(wide, matching), regions[region])
    return Way(*_turns(costs, width, degree), expected, width)


def _turns(costs: WalkCosts, width: int, degree: int) -> tuple[float, float]:
    """Return the shares of passing rows near a query from which it bridges, and from which it walks."""
    better = (share for share in _WALKED if _COUNTING * costs.of_walk(share, width) <= costs.of_bridge(share, width))
    return _TOGETHER / degree**2, next(better, _NEVER)


def _within(region: Region, matching: int, width: int, degree: int) -> tuple[float, int, WalkCosts, int]:
    """Return the work of a search through the rows of a label, how wide it is, what walks there cost, and their links.

    Fewer links find as much when more rows are looked for.
    """
    links, share = region.links.shape[1], matching / region.rows
    costs, wide = WalkCosts.usual(links), math.ceil(width * math.sqrt(degree / links))
    work = min(costs.of_walk(share, wide), costs.of_bridge(share, wide) if share < 1 else math.inf)
    return work, wide, costs, links


def _scan_price(terms: int) -> float:
    """Return what scanning a row costs in units of scoring one that a walk comes to, which waits for memory.

    As measured for rows of 24 to 768 dimensions by 8 and 4 bits, between one query and many.
    """
    return 0.1 + 0.32 * terms / (terms + 200)


def planned(
    way: Way, matching: int, rows: int, ways: NDArray[np.int8] | None, shares: NDArray[np.float32] | None
) -> FilterPlan:
    """Return the plan of a search whose queries went some `ways`; None where all had to scan."""
    costs = {name: round(cost, 1) for name, cost in way.costs.items()}
    told = ", ".join(f"{name} {cost:,.0f}" for name, cost in costs.items())
    if ways is None:
        why = f"looking at them all is the least work (expected: {told} vectors)"
        return FilterPlan("scan", matching, rows, None, costs, {}, why)
    counted = Counter(WAYS[each] for each in ways.tolist())
    near = float(np.mean(shares)) if shares is not None and len(shares) else None
    strategy = max(WAYS, key=lambda name: counted[name])
    where = "" if near is None else f"around the queries {near:.1%} pass; "
    if way.region is not None:
        where = f"by the links among the {way.region.rows:,} rows of one {way.region.name!r}; {where}"
    names = STRATEGIES if way.region is None else WAYS
    why = f"{where}expected work: {told} vectors"
    return FilterPlan(strategy, matching, rows, near, costs, {name: counted[name] for name in names}, why)


def filter_plan(index: Any, q: Any, k: int, allowed: NDArray[np.bool_], **options: Any) -> FilterPlan:
    """Return how an index searches among the rows that a mask marks, also one that has no choice.

    Raises
    ------
    IsometryError
        As its ``search``.
    """
    if hasattr(index, "plan"):
        found: FilterPlan = index.plan(q, k, allowed=allowed, **options)
        return found
    matching = int(np.count_nonzero(allowed))
    why = f"{type(index).__name__} has one way: it passes over the rows that are masked"
    return FilterPlan("masked", matching, index.n_rows, why=why)
