"""What was asked of a tuning run, what each candidate reached, and which one is the answer."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from isometry.errors import Damaged, InvalidInput, NewerFormat
from isometry.estimates import Estimate
from isometry.storage import atomic_write_json, read_json

__all__ = ["BOUNDS", "Goal", "Plan", "Trial", "memory_bytes"]

BOUNDS = ("recall", "ndcg_loss", "bytes_per_vector", "latency_ms")
_WORDS = {
    "recall": "recall@10 of at least {:g}",
    "ndcg_loss": "an nDCG@10 loss of at most {:g}",
    "bytes_per_vector": "at most {:,.4g} bytes per vector",
    "latency_ms": "at most {:g} ms per query",
}
_OBJECTIVES = {
    "recall": "the most recall",
    "ndcg_loss": "the least loss of nDCG",
    "bytes_per_vector": "the fewest bytes",
    "latency_ms": "the lowest latency",
}
_KIND, _FORMAT, _MAX_BYTES = "isometry-plan", 1, 1 << 24
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_MEMORY = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(|[kmgt]i?)(?:b|bytes)?\s*", re.IGNORECASE)


def memory_bytes(memory: Any) -> float:
    """Return the bytes that ``"200MB"``, ``"1.5 GiB"`` or a number of bytes stand for.

    MB is a million bytes, MiB is 2^20.

    Raises
    ------
    InvalidInput
        It can't be read, or is not above zero.
    """
    count = math.nan
    if isinstance(memory, str) and (match := _MEMORY.fullmatch(memory)):
        count = float(match[1]) * _UNITS[match[2].lower()]
    elif isinstance(memory, int | float) and not isinstance(memory, bool):
        count = float(memory)
    if not 0 < count < math.inf:
        raise InvalidInput(f"memory is {memory!r}; expected bytes above zero, as in '200MB', '1.5 GiB' or 200_000_000")
    return count


@dataclass(frozen=True)
class Goal:
    """What a configuration must keep to; at least one bound.

    Attributes
    ----------
    recall : float, optional
        Least recall@10 against exact search, above 0 and at most 1.
    ndcg_loss : float, optional
        Most that nDCG@10 may fall below that of exact search, from 0 up to 1.
    bytes_per_vector : float, optional
        At least 1.
    latency_ms : float, optional
        Of one query by one thread, the median.
    aim : str, optional
        Which quantity to make as good as it can be. By default what is not bounded: quality without a bound on it,
        else bytes, else latency.
    """

    recall: float | None = None
    ndcg_loss: float | None = None
    bytes_per_vector: float | None = None
    latency_ms: float | None = None
    aim: str | None = None

    def __post_init__(self) -> None:
        if not self.bounds and self.aim is None:
            raise InvalidInput("no bound is given; pass memory= or bytes_per_vector=, recall=, ndcg_loss=, latency_ms=")
        if self.aim is not None and self.aim not in BOUNDS:
            raise InvalidInput(f"aim is {self.aim!r}; expected one of {', '.join(BOUNDS)}")
        ranges: dict[str, tuple[Callable[[float], bool], str]] = {
            "recall": (lambda x: 0 < x <= 1, "a share above 0 and up to 1, such as 0.95"),
            "ndcg_loss": (lambda x: 0 <= x < 1, "a number from 0 to below 1, such as 0.01"),
            "bytes_per_vector": (lambda x: 1 <= x < math.inf, "at least 1 byte: no vector can be told apart in less"),
            "latency_ms": (lambda x: 0 < x < math.inf, "milliseconds above 0"),
        }
        for name, bound in self.bounds.items():
            fits, expected = ranges[name]
            if isinstance(bound, bool) or not isinstance(bound, int | float) or not fits(bound):
                raise InvalidInput(f"{name} is {bound!r}; expected {expected}")

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that were given, by name."""
        return {name: getattr(self, name) for name in BOUNDS if getattr(self, name) is not None}

    @property
    def objective(self) -> str:
        """Name of the quantity to make as good as it can be within the bounds."""
        if self.aim is not None:
            return self.aim
        if self.recall is None and self.ndcg_loss is None:
            return "recall"
        return "bytes_per_vector" if self.bytes_per_vector is None else "latency_ms"

    @property
    def wants_speed(self) -> bool:
        """Whether latency decides anything. Where it does not, a scan is never worse than a graph."""
        return self.latency_ms is not None or self.objective == "latency_ms"

    def relaxed(self, bound: str) -> Goal:
        """Return the goal to come as near to `bound` as the other bounds allow."""
        return Goal(**{**self.bounds, bound: None}, aim=bound)

    def __str__(self) -> str:
        wanted = " and ".join(_WORDS[name].format(bound) for name, bound in self.bounds.items())
        return f"{wanted or 'no bound'}, with {_OBJECTIVES[self.objective]}"


@dataclass(frozen=True)
class Trial:
    """What one configuration reached.

    Attributes
    ----------
    spec : str
        As `isometry.index_from_spec` reads it.
    effort : int or None
        For `search`; None where it has no use.
    rows : int
        How many vectors were indexed for it.
    whole : bool
        Measured on all vectors (up to `most_rows`). Otherwise on a sample around some of the queries, and bytes and
        latency are what all vectors are expected to take.
    chosen : Estimate
        Recall@10 on the queries that `effort` was chosen by.
    recall : Estimate
        Recall@10 on queries that nothing was chosen by; equal to `chosen` unless `whole`.
    ndcg : Estimate or None
        nDCG@10 on the queries that nothing was chosen by; needs judgements.
    ndcg_loss : Estimate or None
        How much lower that is than the nDCG@10 of exact search, query by query.
    chosen_ndcg_loss : float or None
        The same on the queries that `effort` was chosen by.
    bytes_per_vector : float
    latency_ms : float
        Of one query by one thread, the median.
    build_s : float
        Seconds that building took.
    """

    spec: str
    effort: int | None
    rows: int
    whole: bool
    chosen: Estimate
    recall: Estimate
    bytes_per_vector: float
    latency_ms: float
    build_s: float
    ndcg: Estimate | None = None
    ndcg_loss: Estimate | None = None
    chosen_ndcg_loss: float | None = None

    def meets(self, goal: Goal) -> bool:
        """Whether all bounds are kept.

        Recall must reach its bound at the low end of the interval on the queries that chose the effort, and again on
        average over the others; the loss of nDCG must be within its bound on both.
        """
        return self.may_meet(goal, 0) and self.recall.mean >= (goal.recall or 0)

    def may_meet(self, goal: Goal, doubt: float) -> bool:
        """Whether the bounds are kept when recall is `doubt` half-widths of its interval above its low end."""
        if goal.recall is not None:
            low, high = self.chosen.low, self.chosen.high
            if low + doubt * (high - low) / 2 < goal.recall:
                return False
        if goal.ndcg_loss is not None:
            slack = doubt * 0.01
            losses = (self.chosen_ndcg_loss, self.ndcg_loss.mean if self.ndcg_loss else None)
            if any(loss is None or loss > goal.ndcg_loss + slack for loss in losses):
                return False
        within_memory = goal.bytes_per_vector is None or self.bytes_per_vector <= goal.bytes_per_vector
        return within_memory and (goal.latency_ms is None or self.latency_ms <= goal.latency_ms * (1 + doubt / 4))

    def cost(self, objective: str) -> tuple[float, ...]:
        """Return what to order trials by, the best first; what differs by less than can be measured is a tie."""
        recall, latency = -round(self.chosen.mean, 3), float(f"{self.latency_ms:.2g}")
        if objective == "recall":
            return recall, self.bytes_per_vector, latency
        if objective == "ndcg_loss":
            return round(self.chosen_ndcg_loss or 0.0, 3), recall, self.bytes_per_vector
        if objective == "bytes_per_vector":
            return self.bytes_per_vector, latency
        return latency, self.bytes_per_vector

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Any) -> Trial:
        """Read what `to_dict` gave.

        Raises
        ------
        InvalidInput
            Something is missing or of another kind.
        """
        if not isinstance(record, dict) or set(record) != {each.name for each in fields(cls)}:
            raise InvalidInput(f"a trial is {record!r:.100}; expected an object with its fields")
        for name in ("chosen", "recall"):
            record = {**record, name: _estimate(record[name])}
        for name in ("ndcg", "ndcg_loss"):
            record = {**record, name: None if record[name] is None else _estimate(record[name])}
        effort, loss = record["effort"], record["chosen_ndcg_loss"]
        fits = isinstance(record["spec"], str) and isinstance(record["whole"], bool)
        fits &= _is_count(record["rows"]) and (effort is None or _is_count(effort)) and (loss is None or _is_real(loss))
        if not fits or not all(_is_real(record[name]) for name in ("bytes_per_vector", "latency_ms", "build_s")):
            raise InvalidInput(f"a trial is {record!r:.100}; expected numbers")
        return cls(**record)


@dataclass(frozen=True)
class Plan:
    """The answer of `isometry.tune`.

    Attributes
    ----------
    goal : Goal
    n, dim : int
        Vectors that were to be indexed, and their dimensions.
    metric : str
    best : Trial or None
        The configuration to build; None when none that was tried meets the goal.
    nearest : dict of str to Trial
        When nothing meets the goal: by bound, what comes nearest to it while keeping the other bounds, where there is
        such a thing.
    trials : tuple of Trial
        Each configuration at the most vectors it was measured on.
    left_out : dict of str to str
        Configurations that were not measured, and why.
    settings : dict
        Numbers of queries, seed, threads, rows.
    seconds : float
        Time that was spent measuring, in this run and those that it resumes.
    """

    goal: Goal
    n: int
    dim: int
    metric: str
    best: Trial | None
    nearest: dict[str, Trial] = field(hash=False)
    trials: tuple[Trial, ...]
    left_out: dict[str, str] = field(hash=False)
    settings: dict[str, Any] = field(hash=False)
    seconds: float

    @property
    def met(self) -> bool:
        """Whether a configuration that keeps all bounds was found."""
        return self.best is not None

    @property
    def spec(self) -> str:
        """What to build.

        Raises
        ------
        InvalidInput
            Nothing meets the goal; `nearest` has what comes near.
        """
        return self._best().spec

    @property
    def effort(self) -> int | None:
        """What to search with.

        Raises
        ------
        InvalidInput
            As `spec`.
        """
        return self._best().effort

    def _best(self) -> Trial:
        if self.best is None:
            raise InvalidInput(f"{self.verdict}; look at plan.nearest, and relax a bound or take one of those")
        return self.best

    @property
    def frontier(self) -> tuple[Trial, ...]:
        """The trials that no other one beats in bytes, latency and recall at once, smallest first."""
        kept = [a for a in self.trials if not any(_dominates(b, a) for b in self.trials)]
        return tuple(sorted(kept, key=lambda trial: (trial.bytes_per_vector, trial.latency_ms)))

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        if self.best is None:
            return f"nothing that was tried has {self.goal}"
        effort = "" if self.best.effort is None else f" with effort {self.best.effort}"
        return f"{self.best.spec}{effort} has {self.goal}"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return headings and rows of text: the answer or what is nearest to it, then the rest of the frontier."""
        with_ndcg = any(trial.ndcg_loss for trial in self.trials)
        heads = ["", "spec", "effort", "recall@10", *(["nDCG@10", "loss"] if with_ndcg else [])]
        heads += ["bytes", "ms", "build s", "rows"]
        marked = {"plan": self.best} if self.best else {f"nearest in {_SHORT[b]}": t for b, t in self.nearest.items()}
        shown = [(mark, trial) for mark, trial in marked.items() if trial]
        shown += [("", trial) for trial in self.frontier if trial not in marked.values()]
        rows = []
        for mark, trial in shown:
            quality = [str(trial.recall)]
            if with_ndcg:
                quality += [str(trial.ndcg or ""), f"{trial.ndcg_loss.mean:+.4f}" if trial.ndcg_loss else ""]
            numbers = [f"{trial.bytes_per_vector:,.1f}", f"{trial.latency_ms:.3g}", f"{trial.build_s:.3g}"]
            size = f"{trial.rows:,}" if trial.whole else f"{trial.rows:,} (sample)"
            rows.append([mark, trial.spec, str(trial.effort or ""), *quality, *numbers, size])
        return heads, rows

    def __str__(self) -> str:
        heads, rows = self.table()
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (heads, *rows)]
        verdict = self.verdict[0].upper() + self.verdict[1:]
        return "\n".join([f"{verdict}.", *lines])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {"kind": _KIND, "format": _FORMAT, **asdict(self), "trials": [t.to_dict() for t in self.trials]}

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as a JSON file; an old one stays until the new one is whole."""
        atomic_write_json(path, self.to_dict())

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> Plan:
        """Read and check a file that `to_json` wrote, of at most 16 MiB.

        Raises
        ------
        NotFound, Damaged, NewerFormat
        """
        where = Path(path)
        record = read_json(where, max_bytes=_MAX_BYTES)
        version = record.pop("format", None)
        if record.pop("kind", None) != _KIND or not _is_count(version):
            raise Damaged(f"{where} is not a plan of isometry.tune")
        if version > _FORMAT:
            raise NewerFormat(f"{where} has format {version}, this isometry reads up to {_FORMAT}: upgrade it")
        try:
            return cls._from_dict(record)
        except (KeyError, TypeError, AttributeError, InvalidInput) as error:
            raise Damaged(f"{where} is not a whole plan: {type(error).__name__} {error}") from None

    @classmethod
    def _from_dict(cls, record: dict[str, Any]) -> Plan:
        best = record["best"]
        plan = cls(
            **{
                **record,
                "goal": Goal(**record["goal"]),
                "best": None if best is None else Trial.from_dict(best),
                "nearest": {name: Trial.from_dict(trial) for name, trial in record["nearest"].items()},
                "trials": tuple(map(Trial.from_dict, record["trials"])),
            }
        )
        texts = all(isinstance(text, str) for text in (plan.metric, *plan.left_out.values()))
        whole = texts and isinstance(plan.settings, dict) and _is_count(plan.n) and _is_count(plan.dim)
        if not whole or not _is_real(plan.seconds) or not set(plan.nearest) <= set(BOUNDS):
            raise InvalidInput("a field is of another type")
        return plan


_SHORT = {"recall": "recall", "ndcg_loss": "nDCG", "bytes_per_vector": "bytes", "latency_ms": "latency"}


def latest(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Return for each spec and effort the trial on the most vectors; for each spec only those of that size."""
    kept: dict[str, dict[int | None, Trial]] = {}
    for trial in trials:
        known = kept.setdefault(trial.spec, {})
        most = max((other.rows for other in known.values()), default=0)
        if trial.rows > most:
            known.clear()
        if trial.rows >= most:
            known[trial.effort] = trial
    return tuple(trial for known in kept.values() for trial in known.values())


def _dominates(one: Trial, other: Trial) -> bool:
    a = (one.bytes_per_vector, one.latency_ms, -one.recall.mean)
    b = (other.bytes_per_vector, other.latency_ms, -other.recall.mean)
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def _estimate(record: Any) -> Estimate:
    if not isinstance(record, Mapping) or not all(_is_real(record.get(name)) for name in ("mean", "low", "high", "n")):
        raise InvalidInput(f"an estimate is {record!r:.100}; expected mean, low, high and n")
    return Estimate(*(record[name] for name in ("mean", "low", "high", "n")))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
