"""What a figure was measured on: versions, processor, threads, seed, command."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from isometry._version import __version__
from isometry.threads import processors

_PACKAGES = (
    "numpy",
    "scipy",
    "pyarrow",
    "pylance",
    "bm25s",
    "torch",
    "transformers",
    "sentence-transformers",
    "openvino",
    "ir-measures",
    "numba",
    "scikit-learn",
)


@dataclass(frozen=True)
class Environment:
    """Where, when and how a result was measured.

    Attributes
    ----------
    isometry, python, platform : str
    packages : dict of str to str
        Versions of the installed packages that can change a figure.
    processor : str
        Model name; empty where the system does not tell.
    cores : int
        Cores this process may use.
    threads : int
        Threads the computation was limited to; `cores` where nothing was limited.
    seed : int
    command : str
        How to do it again.
    date : str
        UTC, ISO 8601, to the second.
    wall_s : float
        Seconds from start to end.
    """

    isometry: str
    python: str
    platform: str
    packages: dict[str, str] = field(hash=False)
    processor: str
    cores: int
    threads: int
    seed: int
    command: str
    date: str
    wall_s: float

    @classmethod
    def capture(cls, *, seed: int, command: str, wall_s: float, threads: int | None = None) -> Environment:
        """Read the environment of this process."""
        cores = processors()
        return cls(
            isometry=__version__,
            python=platform.python_version(),
            platform=f"{platform.system()} {platform.machine()}",
            packages=_versions(),
            processor=_processor(),
            cores=cores,
            threads=cores if threads is None else threads,
            seed=seed,
            command=command,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_s=round(wall_s, 3),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        return (
            f"isometry {self.isometry}, Python {self.python}, {self.platform}, "
            f"{self.processor or 'unknown processor'}, {self.cores} cores, {self.threads} threads, seed {self.seed}, "
            f"{self.wall_s:,.1f} s, {self.date}; {packages}"
        )


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
