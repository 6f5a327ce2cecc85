"""What the library knows about a published system, and how its claim is measured again."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from isometry.errors import InvalidInput, NotBuilt, NotFound, check_choice, check_range

if TYPE_CHECKING:
    from isometry.evaluation import Outcome, Result

STAGES = (
    "search",
    "compress",
    "tables",
    "learn text",
    "learn vision",
    "learn graphs",
    "heads and generators",
    "judge and mend",
)
SIZES = ("small", "full")

Progress = Callable[[int, int | None, str], None]

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ARXIV = re.compile(r"\d{4}\.\d{4,5}")


class Experiment(Protocol):
    """Measures a system's claim next to its baselines.

    It gets the arguments of `System.reproduce`, checked, and imports what it needs when it is called.
    """

    def __call__(self, *, size: str, data: Path | None, seed: int, progress: Progress | None) -> Outcome:
        """Run, and return figures, baselines and a verdict."""
        ...


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a system was published.

    Attributes
    ----------
    title, authors : str
    year : int
    arxiv, doi : str or None
        At least one of the two.
    venue : str
        Empty for a preprint.
    note : str
        What is uncertain about this reference.
    """

    title: str
    authors: str
    year: int
    arxiv: str | None = None
    doi: str | None = None
    venue: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        check_range("year", self.year, 1900, 2100)
        if not self.title or not self.authors:
            raise InvalidInput("a paper needs a title and authors")
        if self.arxiv is None and self.doi is None:
            raise InvalidInput(f"{self.title!r} has neither an arXiv number nor a DOI; expected at least one")
        if self.arxiv is not None and not _ARXIV.fullmatch(self.arxiv):
            raise InvalidInput(f"arxiv is {self.arxiv!r}; expected a number such as 2508.21038")

    @property
    def url(self) -> str:
        """Where the paper is."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else f"https://doi.org/{self.doi}"

    def __str__(self) -> str:
        where = [self.venue, f"arXiv:{self.arxiv}" if self.arxiv else "", f"doi:{self.doi}" if self.doi else ""]
        places = ", ".join(place for place in where if place)
        note = f" ({self.note})" if self.note else ""
        return f"{self.authors.rstrip('.')}. {self.title}. {self.year}, {places}{note}."


@dataclass(frozen=True, kw_only=True)
class System:
    """A published method as a composition of parts, with the claim it is judged by.

    Attributes
    ----------
    name : str
        As typed: ``isometry reproduce NAME``.
    title, summary : str
        What it is called, and what it does in one or two sentences.
    stage : str
        One of `STAGES`.
    paper : Paper
    rooms : tuple of str
        Rooms of the library that it uses.
    parts : tuple of str
        Full names of what it is made of; those of a planned system may not exist yet.
    claim : str
        What the paper says, with its figure.
    first_look : str
        What reading and a first measurement found about that claim.
    pitfalls : tuple of str
        What a user should know before relying on it.
    experiment : callable or None
        See `Experiment`; None while the system is planned.
    """

    name: str
    title: str
    summary: str
    stage: str
    paper: Paper
    rooms: tuple[str, ...]
    parts: tuple[str, ...]
    claim: str
    pitfalls: tuple[str, ...]
    first_look: str = ""
    experiment: Experiment | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(f"name is {self.name!r}; expected lower-case words joined by hyphens")
        check_choice("stage", self.stage, STAGES)
        for field in ("title", "summary", "claim", "rooms", "parts", "pitfalls"):
            if not getattr(self, field):
                raise InvalidInput(f"system {self.name!r} has no {field}; expected some")

    @property
    def state(self) -> str:
        """``"works"`` when the claim can be measured here, else ``"planned"``."""
        return "planned" if self.experiment is None else "works"

    def missing_parts(self) -> tuple[str, ...]:
        """Return the parts that do not exist yet; none for a system that works."""
        return tuple(part for part in self.parts if not _exists(part))

    def reproduce(
        self, size: str = "small", data: str | Path | None = None, seed: int = 0, progress: Progress | None = None
    ) -> Result:
        """Measure the claim again, next to its baselines in the same run.

        Parameters
        ----------
        size : {"small", "full"}
            Minutes on a laptop, or as in the paper.
        data : path, optional
            Folder of data sets; a system that needs some says which when they are missing.
        seed : int
            Same seed, same figures; at least 0.
        progress : callable, optional
            Called with (done, total or None, what).

        Returns
        -------
        Result
            Figures, baselines, verdict, and the environment they were measured in.

        Raises
        ------
        NotBuilt
            The system is planned.
        InvalidInput, NotFound
            An argument is wrong, or `data` is no folder or lacks a file.
        """
        if self.experiment is None:
            raise NotBuilt(
                f"{self.name} is planned, so there is nothing to reproduce yet; "
                "`isometry systems` lists those with state 'works'"
            )
        check_choice("size", size, SIZES)
        check_range("seed", seed, 0)
        folder = None if data is None else Path(data)
        if folder is not None and not folder.is_dir():
            raise NotFound(f"data is {str(folder)!r}, which is not a folder; expected the one that holds the data sets")
        from isometry.evaluation import Environment, Result

        began = time.perf_counter()
        outcome = self.experiment(size=size, data=folder, seed=seed, progress=progress)
        environment = Environment.capture(
            seed=seed,
            command=f"isometry reproduce {self.name} --size {size} --seed {seed}"
            + (" --data FOLDER" if folder else ""),
            wall_s=time.perf_counter() - began,
        )
        return Result.of(outcome, name=self.name, title=self.title, claim=self.claim, environment=environment)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the experiment as plain data."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain |= {"paper": dataclasses.asdict(self.paper) | {"url": self.paper.url}, "state": self.state}
        del plain["experiment"]
        return plain


def _exists(name: str) -> bool:
    home, _, attribute = name.rpartition(".")
    try:
        return hasattr(import_module(home), attribute) or find_spec(name) is not None
    except ModuleNotFoundError:
        return False
