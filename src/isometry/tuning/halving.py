"""The search: all candidates on few vectors, the better ones on more, the best on all."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from isometry.errors import InvalidInput
from isometry.indexes.spec import parts
from isometry.tuning.candidates import Candidate, graphs, ladders
from isometry.tuning.journal import Journal
from isometry.tuning.measuring import Bench
from isometry.tuning.plan import Goal, Trial

__all__ = ["Search"]

Progress = Callable[[int, int | None, str], None]
_KEPT = (8, 4)
"""How many go on from one rung to the next."""
_DOUBTFUL = 2
_MORE = 6
"""How many are tried on all vectors beyond those, while none meets the goal."""


class Search:
    """Finds the best configuration for a goal; measures nothing twice.

    Parameters
    ----------
    bench : Bench
    journal : Journal
    progress : callable, optional

    Attributes
    ----------
    trials : list of Trial
        Everything that was measured.
    left_out : dict of str to str
        What was not, and why.
    """

    def __init__(self, bench: Bench, journal: Journal, progress: Progress | None = None) -> None:
        self.bench, self.journal = bench, journal
        self.trials: list[Trial] = []
        self.left_out: dict[str, str] = {}
        self._tell: Progress = progress or (lambda done, total, what: None)

    def best(self, goal: Goal) -> Trial | None:
        """Return the best configuration that meets the goal on all vectors; None if there is none.

        Scans come first: they are built in no time, and a graph over the same codes finds at most what they find. So
        graphs are tried only over codes that may do, and only when latency matters.
        """
        trials: dict[Candidate, Trial] = {}
        for done, ladder in enumerate(found := self._ladders(goal), 1):
            trials |= self._on_ladder(ladder, goal)
            self._tell(done, len(found), f"kinds of codes on {self.bench.sizes[0]:,} vectors")
        if goal.wants_speed:
            trials |= self._on_rung(0, self._graphs(goal, trials), goal)
        known = dict(trials)
        for rung in range(1, self.bench.last):
            kept = _kept(trials, goal, _KEPT[rung - 1])
            trials = self._on_rung(rung, kept, goal)
            known |= trials
        return self._on_all(goal, trials, known)

    def every(self, goal: Goal) -> list[Trial]:
        """Measure all candidates on all vectors: what `best` tries to do without."""
        found = [scan for ladder in self._ladders(goal) for scan in ladder]
        if goal.wants_speed:
            found += [graph for scan in found for graph in graphs(scan) if self._fits(graph, goal)]
        return list(self._on_rung(self.bench.last, found, goal).values())

    def _on_ladder(self, ladder: list[Candidate], goal: Goal) -> dict[Candidate, Trial]:
        """Measure on the fewest vectors what may be the best of a ladder: the finest, or the coarsest that still does.

        It is found by bisection; the ones before and after it are measured too.
        """
        quality = Goal(goal.recall, goal.ndcg_loss, aim=goal.objective)
        trials: dict[Candidate, Trial] = {}

        def fails(candidate: Candidate) -> bool:
            trials.update(self._on_rung(0, [candidate], goal))
            return candidate not in trials or not trials[candidate].may_meet(quality, 1)

        if fails(ladder[0]) or (goal.recall is None and goal.ndcg_loss is None):
            return trials
        place = bisect_left(ladder, True, 1, key=fails)
        if place > 1:
            fails(ladder[place - 2])
        return trials

    def _on_all(self, goal: Goal, trials: dict[Candidate, Trial], known: dict[Candidate, Trial]) -> Trial | None:
        """Measure the last few on all vectors, and while none of them does, those that were left behind."""
        last = self.bench.last
        if last == 0:
            return _best(trials.values(), goal)
        first = _kept(trials, goal, _KEPT[-1])
        order = goal.objective
        if order == "bytes_per_vector":  # known before, so the first that meets the goal is the best
            first.sort(key=lambda each: known[each].cost(order))
        met: list[Trial] = []
        for done, candidate in enumerate(first):
            self._tell(done, len(first), f"candidates on {self.bench.sizes[last]:,} vectors")
            met += [t for t in self._on_rung(last, [candidate], goal).values() if t.meets(goal)]
            if met and order == "bytes_per_vector":
                return met[0]
        if met:
            return _best(met, goal)
        others = [each for each, trial in known.items() if trial.may_meet(goal, 2) and each not in first]
        others.sort(key=lambda each: (not known[each].may_meet(goal, 1), known[each].cost(order)))
        for candidate in others[:_MORE]:
            for trial in self._on_rung(last, [candidate], goal).values():
                if trial.meets(goal):
                    return trial
        return None

    # -- candidates --------------------------------------------------------------------------------------------------

    def _ladders(self, goal: Goal) -> list[list[Candidate]]:
        every = ladders(self.bench.x.shape[1], parts(), second_looks=goal.wants_speed)
        fitting = ([each for each in ladder if self._fits(each, goal)] for ladder in every)
        return [ladder for ladder in fitting if ladder]

    def _graphs(self, goal: Goal, trials: dict[Candidate, Trial]) -> list[Candidate]:
        """Return graphs over the codes that are good enough; the most promising ones where nothing is asked of them."""
        able = Goal(goal.recall, goal.ndcg_loss, goal.bytes_per_vector, aim=goal.objective)
        fine = _kept(trials, able, len(trials))
        if goal.recall is None and goal.ndcg_loss is None:
            fine = sorted(fine, key=lambda each: trials[each].cost("recall"))[: _KEPT[0]]
        return [graph for scan in fine for graph in graphs(scan) if self._fits(graph, goal)]

    def _fits(self, candidate: Candidate, goal: Goal) -> bool:
        """Whether a candidate can be built at all, and in the bytes there are."""
        try:
            needed = self._row_bytes(candidate)
        except InvalidInput as error:
            self.left_out[candidate.spec] = str(error)
            return False
        if goal.bytes_per_vector is not None and needed > goal.bytes_per_vector:
            self.left_out[candidate.spec] = f"takes {needed:,.1f} bytes per vector"
            return False
        return True

    # -- measuring, once ---------------------------------------------------------------------------------------------

    def _row_bytes(self, candidate: Candidate) -> float:
        found = self._once(f"bytes of {candidate.spec}", lambda: {"bytes": self.bench.row_bytes(candidate)})
        return float(found["bytes"])

    def _on_rung(self, rung: int, candidates: Iterable[Candidate], goal: Goal) -> dict[Candidate, Trial]:
        wanted = list(candidates)
        size = self.bench.sizes[rung]
        asked = f"{size} rows, recall {goal.recall}, loss {goal.ndcg_loss}, latency {goal.latency_ms}"
        found: dict[Candidate, Trial] = {}
        for done, candidate in enumerate(wanted, 1):
            try:
                found[candidate] = self._trial(f"{candidate.spec} on {asked}", candidate, rung, goal)
            except InvalidInput as error:
                self.left_out[candidate.spec] = str(error)
            if len(wanted) > 1:
                self._tell(done, len(wanted), f"candidates on {size:,} vectors")
        return found

    def _trial(self, key: str, candidate: Candidate, rung: int, goal: Goal) -> Trial:
        row_bytes = self._row_bytes(candidate)
        trial = Trial.from_dict(
            self._once(key, lambda: {"trial": self.bench.measure(candidate, rung, goal, row_bytes).to_dict()})["trial"]
        )
        self.trials.append(trial)
        self.left_out.pop(candidate.spec, None)
        return trial

    def _once(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        known = self.journal.get(key)
        if known is None:
            began = time.perf_counter()
            try:
                known = dict(measure())
            except InvalidInput as error:
                known = {"refused": str(error)}
            known["seconds"] = time.perf_counter() - began
            self.journal.put(key, known)
        if "refused" in known:
            raise InvalidInput(known["refused"])
        return known


def _kept(trials: dict[Candidate, Trial], goal: Goal, most: int) -> list[Candidate]:
    """Return those that seem to meet the goal, best first, and the likeliest of those that would be better if they did.

    Where none may meet it, those of the best quality.
    """
    cost = {each: trial.cost(goal.objective) for each, trial in trials.items()}
    likely = sorted((each for each, trial in trials.items() if trial.may_meet(goal, 1)), key=cost.__getitem__)
    if goal.objective == "recall":
        least = max((trials[each].chosen.low for each in likely), default=0.0)
        likely = [each for each in likely if trials[each].chosen.high >= least]
    bar = cost[likely[0]] if likely else None
    doubtful = [
        each
        for each, trial in trials.items()
        if trial.may_meet(goal, 2) and not trial.may_meet(goal, 1) and (bar is None or cost[each] < bar)
    ]
    doubtful.sort(key=lambda each: -trials[each].chosen.mean)
    kept = likely[:most] + doubtful[: _DOUBTFUL if likely else most]
    return kept or sorted(trials, key=lambda each: -trials[each].chosen.mean)[:_DOUBTFUL]


def _best(trials: Iterable[Trial], goal: Goal) -> Trial | None:
    meeting: Sequence[Trial] = [trial for trial in trials if trial.meets(goal)]
    return min(meeting, key=lambda trial: trial.cost(goal.objective), default=None)
