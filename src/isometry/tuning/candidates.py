"""Which configurations are worth trying: transforms x codecs x second looks x indexes, of the parts that exist."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

__all__ = ["DEGREES", "Candidate", "graphs", "scans"]

DEGREES = (32, 64)
"""Links per vector of the graphs that are tried."""
_LINK_BYTES = 4

_PLAIN = (
    "", "Float16", "BFloat16", "LVQ4x8", "LVQ4x4", "LVQ8", "Int8", "Float8", "RaBitQ8", "RaBitQ7", "RaBitQ6", "RaBitQ5",
    "RaBitQ4", "LVQ4", "Int4", "Float4", "RaBitQ3", "RaBitQ2", "RaBitQ1", "Binary",
)  # fmt: skip
_AFTER_PROJECTION = ("Float16", "LVQ8", "Int8", "Float8", "RaBitQ6", "RaBitQ4", "LVQ4", "RaBitQ2")
_KEPT = (3 / 4, 1 / 2, 1 / 3, 1 / 4, 1 / 8)
"""Shares of the dimensions that a projection keeps."""
_PER_SUBSPACE = (2, 3, 4, 6, 8, 12, 16, 32)
"""Dimensions that a product quantizer codes together."""
_STAGES = (8, 16, 32, 64)
_COARSE = ("LVQ4", "RaBitQ4", "RaBitQ2", "RaBitQ1", "Binary")
_SECOND_LOOKS = ("Float16", "LVQ8", "RaBitQ6", "LVQ4", "RaBitQ4")
_LEAN = (1 / 2, 1 / 4)
_LEAN_CODECS = ("LVQ8", "LVQ4")
_NAMES = ("RaBitQ", "LVQ")


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
    def link_bytes(self) -> int:
        """Bytes per vector of the graph."""
        return _LINK_BYTES * self.degree

    @property
    def scan(self) -> Candidate:
        """The same codes, scanned."""
        return Candidate(self.chain, self.refine)


def scans(d: int, known: Collection[str], *, second_looks: bool) -> list[Candidate]:
    """Return what to try by scanning, of vectors of `d` dimensions.

    Parameters
    ----------
    d : int
    known : collection of str
        Names of the parts that exist.
    second_looks : bool
        Also short codes with finer ones behind them. They are faster, but never smaller or better than the finer ones
        alone.
    """
    found = [Candidate(chain) for chain in (*_PLAIN, *_quantizers(d), *_projections(d))]
    if second_looks:
        found += [Candidate(coarse, fine) for coarse in _COARSE for fine in _SECOND_LOOKS if _finer(fine, coarse)]
        found += [
            Candidate(f"LeanVec{_rounded(d, share)},{codec}", fine)
            for share in _LEAN
            for codec in _LEAN_CODECS
            for fine in ("LVQ8", "Float16")
        ]
    return [each for each in dict.fromkeys(found) if all(_is_known(part, known) for part in _parts(each))]


def graphs(scan: Candidate) -> list[Candidate]:
    """Return the graphs over the codes of a scan."""
    return [Candidate(scan.chain, scan.refine, degree) for degree in DEGREES]


def _quantizers(d: int) -> Iterator[str]:
    for size in _PER_SUBSPACE:
        if d % size == 0 and d > size:
            for bits in ("x8", "x4"):
                yield f"PQ{d // size}{bits}"
                yield f"OPQ{d // size},PQ{d // size}{bits}"
    yield from (f"RVQ{stages}" for stages in _STAGES if stages <= d)


def _projections(d: int) -> Iterator[str]:
    for share in _KEPT:
        kept = _rounded(d, share)
        if kept < d:
            yield from (f"PCA{kept},{codec}" for codec in _AFTER_PROJECTION)


def _rounded(d: int, share: float) -> int:
    """Return a share of `d` as a multiple of 16 where d is large enough for that."""
    step = 16 if d >= 64 else 1
    return max(step, round(d * share / step) * step)


def _finer(fine: str, coarse: str) -> bool:
    return _bits(fine) > _bits(coarse)


def _bits(codec: str) -> int:
    named = next((name for name in _NAMES if codec.startswith(name)), None)
    return int(codec.removeprefix(named)) if named else {"Binary": 1}.get(codec, 16)


def _parts(candidate: Candidate) -> list[str]:
    return [part for part in (*candidate.chain.split(","), candidate.refine) if part]


def _is_known(part: str, known: Collection[str]) -> bool:
    return any(part == name or part.removeprefix(name).replace("x", "").isdigit() for name in known)
