"""A measured claim: figures, baselines of the same run, verdict and environment, as one JSON file."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from isometry.errors import Damaged, InvalidInput, NewerFormat, check_choice
from isometry.estimates import Estimate
from isometry.evaluation import tables
from isometry.evaluation.environment import Environment
from isometry.evaluation.measures import Measured
from isometry.storage import atomic_write_json, read_json

if TYPE_CHECKING:
    from rich.console import RenderableType

Verdict = Literal["holds", "partly", "does not hold", "not measured"]
VERDICTS: tuple[Verdict, ...] = ("holds", "partly", "does not hold", "not measured")

_KIND = "isometry-result"
_FORMAT = 1
_MAX_BYTES = 64 << 20

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of a table: what was measured, by which method, on which data.

    Attributes
    ----------
    data, method, measure : str
        Together they name the figure.
    value : float
    low, high : float or None
        Interval of the value.
    n : int or None
        How many queries (seeds, documents ...) are behind it.
    paper : float or None
        The paper's number for the same thing.
    note : str
    """

    data: str
    method: str
    measure: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    paper: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high", "paper"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise InvalidInput(
                    f"{name} of {self.measure} of {self.method} on {self.data} is {number}; expected a finite number"
                )
        if (self.low is None) != (self.high is None):
            raise InvalidInput(
                f"{self.measure} of {self.method} on {self.data} has one end of an interval; expected both or none"
            )

    @classmethod
    def of(
        cls, estimate: Estimate, *, data: str, method: str, measure: str, paper: float | None = None, note: str = ""
    ) -> Figure:
        """Make a figure of a mean and its interval."""
        return cls(
            data=data,
            method=method,
            measure=measure,
            value=estimate.mean,
            low=estimate.low,
            high=estimate.high,
            n=estimate.n,
            paper=paper,
            note=note,
        )


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Curves that belong to a result; `isometry.evaluation.plots.draw` makes a picture of them.

    Attributes
    ----------
    name : str
        Part of the picture's file name.
    title, x_label, y_label : str
    curves : dict of str to list of [x, y]
        Points by the curve's label.
    log_x, log_y : bool
    """

    name: str
    title: str
    x_label: str
    y_label: str
    curves: dict[str, list[list[float]]] = field(hash=False)
    log_x: bool = False
    log_y: bool = False

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").isalnum():
            raise InvalidInput(f"plot name is {self.name!r}; expected letters, digits and hyphens")
        for label, points in self.curves.items():
            if not points or any(len(point) != 2 or not all(map(math.isfinite, point)) for point in points):
                raise InvalidInput(f"curve {label!r} of plot {self.name!r} is not a list of finite [x, y] points")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an experiment found.

    Attributes
    ----------
    verdict : {"holds", "partly", "does not hold", "not measured"}
        Whether the claim survived.
    because : str
        The numbers behind the verdict, in a sentence or two.
    figures, baselines : tuple of Figure
        Of the method, and of what it is compared with in the same run.
    plots : tuple of Plot
    settings : dict
        Everything that was chosen: sizes, dimensions, learning rates ... (JSON data).
    """

    verdict: Verdict
    because: str
    figures: tuple[Figure, ...]
    baselines: tuple[Figure, ...] = ()
    plots: tuple[Plot, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_choice("verdict", self.verdict, VERDICTS)
        if not self.because:
            raise InvalidInput("because is empty; expected the numbers behind the verdict")
        names = [(figure.data, figure.method, figure.measure) for figure in (*self.figures, *self.baselines)]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidInput(f"two figures are called {twice}; data, method and measure together must differ")


@dataclass(frozen=True, kw_only=True)
class Result(Outcome):
    """An outcome with its name, claim and environment; saved as JSON, shown as a table.

    Attributes
    ----------
    name, title, claim : str
    environment : Environment
    """

    name: str
    title: str
    claim: str
    environment: Environment

    @classmethod
    def of(cls, outcome: Outcome, *, name: str, title: str, claim: str, environment: Environment) -> Result:
        """Complete an outcome."""
        found = {each.name: getattr(outcome, each.name) for each in dataclasses.fields(Outcome)}
        return cls(**found, name=name, title=title, claim=claim, environment=environment)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {"kind": _KIND, "format": _FORMAT} | dataclasses.asdict(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON file; the old one stays until the new one is whole.

        Raises
        ------
        InvalidInput
            `settings` hold something that JSON can't.
        """
        atomic_write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Result:
        """Read and check a file that `save` wrote.

        Raises
        ------
        NotFound, Damaged, NewerFormat
            No such file; not a result, or a field is missing or of another type; written by a newer version.
        """
        where = Path(path)
        return cls._from_dict(read_json(where, max_bytes=_MAX_BYTES), where)

    @classmethod
    def _from_dict(cls, record: Mapping[str, Any], where: Path) -> Result:
        if record.get("kind") != _KIND:
            raise Damaged(f"{where} is not a result: its kind is {record.get('kind')!r}, expected {_KIND!r}")
        version = record.get("format")
        if not isinstance(version, int) or version < 1:
            raise Damaged(f"{where} has format {version!r}; expected a whole number from 1")
        if version > _FORMAT:
            raise NewerFormat(f"{where} has format {version}, this isometry reads up to {_FORMAT}: upgrade it")
        try:
            return cls(
                name=_typed(record, "name", str),
                title=_typed(record, "title", str),
                claim=_typed(record, "claim", str),
                verdict=record["verdict"],
                because=_typed(record, "because", str),
                figures=_many(record, "figures", _figure),
                baselines=_many(record, "baselines", _figure),
                plots=_many(record, "plots", _plot),
                settings=_typed(record, "settings", dict),
                environment=_environment(_typed(record, "environment", dict)),
            )
        except KeyError as error:
            raise Damaged(f"{where} is not a whole result: {error} is missing") from None
        except (TypeError, InvalidInput) as error:
            raise Damaged(f"{where} is not a whole result: {error}") from None

    def __rich__(self) -> RenderableType:
        return tables.as_rich(self)

    def to_markdown(self) -> str:
        """Return the figures as a Markdown table."""
        return tables.as_markdown(self)


def figures_of(
    measured: Measured, *, data: str, method: str, paper: Mapping[str, float] | None = None, note: str = ""
) -> tuple[Figure, ...]:
    """Make a figure of every measure of a run.

    Parameters
    ----------
    measured : Measured
    data, method : str
    paper : mapping of measure to float, optional
        The paper's numbers for the same measures.
    """
    known = paper or {}
    return tuple(
        Figure.of(estimate, data=data, method=method, measure=measure, paper=known.get(measure), note=note)
        for measure, estimate in measured.estimates.items()
    )


def _figure(record: Mapping[str, Any]) -> Figure:
    number = (int, float)
    return Figure(
        data=_typed(record, "data", str),
        method=_typed(record, "method", str),
        measure=_typed(record, "measure", str),
        value=_typed(record, "value", number),
        low=_optional(record, "low", number),
        high=_optional(record, "high", number),
        n=_optional(record, "n", int),
        paper=_optional(record, "paper", number),
        note=_typed(record, "note", str),
    )


def _plot(record: Mapping[str, Any]) -> Plot:
    return Plot(
        name=_typed(record, "name", str),
        title=_typed(record, "title", str),
        x_label=_typed(record, "x_label", str),
        y_label=_typed(record, "y_label", str),
        curves=_typed(record, "curves", dict),
        log_x=_typed(record, "log_x", bool),
        log_y=_typed(record, "log_y", bool),
    )


def _environment(record: Mapping[str, Any]) -> Environment:
    kinds: dict[str, Any] = {"packages": dict, "cores": int, "threads": int, "seed": int, "wall_s": (int, float)}
    names = [each.name for each in dataclasses.fields(Environment)]
    return Environment(**{name: _typed(record, name, kinds.get(name, str)) for name in names})


def _many(record: Mapping[str, Any], key: str, make: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
    items: Iterable[Any] = _typed(record, key, list)
    return tuple(make(_mapping(item, key)) for item in items)


def _mapping(item: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise InvalidInput(f"an entry of {key} is {item!r}; expected an object")
    return item


def _optional(record: Mapping[str, Any], key: str, kind: Any) -> Any:
    return None if record[key] is None else _typed(record, key, kind)


def _typed(record: Mapping[str, Any], key: str, kind: Any) -> Any:
    value = record[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InvalidInput(f"{key} is {value!r}; expected another type")
    return value
