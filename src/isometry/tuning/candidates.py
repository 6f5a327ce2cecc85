"""Which configurations are worth trying: transforms x codecs x second looks x indexes, of the parts that exist."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

__all__ = ["DEGREES", "Candidate", "graphs", "ladders"]

DEGREES = (32, 64)
"""Links per vector of the graphs that are tried."""
_LINK_BYTES = 4

_ALONE = ("", "Float16", "BFloat16", "LVQ4x8", "LVQ4x4", "LVQ8", "Int8", "Float8", "LVQ4", "Int4", "Float4", "Binary")
_BITS = (8, 7, 6, 5, 4, 3, 2, 1)
_PER_SUBSPACE = (2, 3, 4, 6, 8, 12, 16, 24)
"""Dimensions that a product quantizer codes together."""
_STAGES = (16, 8, 4)
"""Codebooks of a residual quantizer; its tables grow with their square."""
_KEPT = (3 / 4, 1 / 2, 1 / 3, 1 / 4, 1 / 8)
"""Shares of the dimensions that a projection keeps."""
_AFTER_PROJECTION = ("LVQ8", "Float8", "RaBitQ6", "RaBitQ4", "LVQ4", "RaBitQ2")
_LEAN = (1 / 2, 1 / 4)
_LEAN_CODECS = ("LVQ8", "LVQ4")
_COARSE = ("LVQ4", "RaBitQ4", "RaBitQ2", "RaBitQ1", "Binary")
_FINE = ("Float16", "LVQ8", "RaBitQ6", "LVQ4")
_NAMED_BITS = re.compile(r"(?:RaBitQ|LVQ)(\d)")
_SHORTENED = re.compile(r"(?:PCA|LeanVec)(\d+)$")


@dataclass(frozen=True)
class Candidate:
    """A configuration in its parts.

    Attributes
    ----------
    chain : str
        Transforms and codec, such as ``"PCA128,Float8"``; empty for float32.
    refine : str
        Codec of the second look; may be empty.
    degree : int
        Links per vector; 0 for a scan.
    """

    chain: str = ""
    refine: str = ""
    degree: int = 0

    @property
    def spec(self) -> str:
        """As `isometry.index_from_spec` reads it."""
        index = f"Vamana{self.degree}" if self.degree else "Flat"
        chain = f"{self.chain}," if self.chain else ""
        return f"{chain}{index}" + (f" -> {self.refine}" if self.refine else "")

    @property
    def codec(self) -> str:
        """The codec of `chain`."""
        return self.chain.rpartition(",")[2]

    @property
    def link_bytes(self) -> int:
        """Bytes per vector of the graph."""
        return _LINK_BYTES * self.degree

    def kept(self, d: int) -> int:
        """Return how many of `d` dimensions the codec gets."""
        shortened = _SHORTENED.search(self.chain.rpartition(",")[0])
        return int(shortened[1]) if shortened else d


def ladders(d: int, known: Collection[str], *, second_looks: bool) -> list[list[Candidate]]:
    """Return what to try by scanning vectors of `d` dimensions, each list from the finest to the coarsest of a kind.

    Parameters
    ----------
    d : int
    known : collection of str
        Names of the parts that exist.
    second_looks : bool
        Also short codes with finer ones behind them. They are faster, but never smaller or better than the finer ones
        alone.
    """
    found = [*_plain(d), *(_behind(d) if second_looks else ())]
    possible = ([each for each in ladder if all(_is_known(part, known) for part in _parts(each))] for ladder in found)
    return [ladder for ladder in possible if ladder]


def graphs(scan: Candidate) -> list[Candidate]:
    """Return the graphs over the codes of a scan."""
    return [Candidate(scan.chain, scan.refine, degree) for degree in DEGREES]


def _plain(d: int) -> Iterator[list[Candidate]]:
    yield from ([Candidate(codec)] for codec in _ALONE)
    yield [Candidate(f"RaBitQ{bits}") for bits in _BITS]
    numbers = dict.fromkeys(round(d / size) for size in _PER_SUBSPACE if size < d)
    yield [Candidate(f"OPQ{number},PQ{number}") for number in numbers]
    yield [Candidate(f"RVQ{stages}") for stages in _STAGES if stages <= d]
    shortened = [kept for kept in dict.fromkeys(_rounded(d, share) for share in _KEPT) if kept < d]
    for codec in _AFTER_PROJECTION:
        yield [Candidate(f"PCA{kept},{codec}") for kept in shortened]


def _behind(d: int) -> Iterator[list[Candidate]]:
    for coarse in _COARSE:
        yield [Candidate(coarse, fine) for fine in _FINE if _bits(fine) > _bits(coarse)]
    for kept in dict.fromkeys(_rounded(d, share) for share in _LEAN):
        for codec in _LEAN_CODECS:
            yield [Candidate(f"LeanVec{kept},{codec}", fine) for fine in ("Float16", "LVQ8")]


def _rounded(d: int, share: float) -> int:
    """Return a share of `d`, as a multiple of 16 where d is large enough for that."""
    step = 16 if d >= 64 else 1
    return max(step, round(d * share / step) * step)


def _bits(codec: str) -> int:
    named = _NAMED_BITS.match(codec)
    return int(named[1]) if named else {"Binary": 1}.get(codec, 16)


def _parts(candidate: Candidate) -> list[str]:
    return [part for part in (*candidate.chain.split(","), candidate.refine) if part]


def _is_known(part: str, known: Collection[str]) -> bool:
    return any(part == name or part.removeprefix(name).replace("x", "").isdigit() for name in known)
