"""Compiling ahead: every kernel for every layout of vectors, so that no search waits for the compiler.

Kernels are compiled for the arrays that they are called with. The only list of those that can't go out of date is the
indexes themselves: a tiny one of each sort is built, searched and changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from isometry.indexes.filtering import STRATEGIES
from isometry.indexes.ivf import IVF
from isometry.indexes.linkcodes import STEP
from isometry.indexes.multivector import MultiVector
from isometry.indexes.sparse import SparseIndex
from isometry.indexes.spec import PartSpec, index_from_spec, parse_spec
from isometry.indexes.tokens import TokenIndex
from isometry.indexes.vamana import Vamana
from isometry.kernels.project import project
from isometry.threads import processors
from isometry.vectors import MultiVectors

__all__ = ["every_spec", "warm_up"]

_FLOATS = ("Float32", "Float16", "BFloat16")
_LEVELS = ("LVQ8", "LVQ4")
_BYTES = "LVQ8,Vamana2"
_TWO_LEVELS = ("LVQ4x4", "LVQ4x8", "LVQ8x4", "LVQ8x8")
_SMALL = ("Binary", "Float4", "Float8", "Int4", "Int8", "PQ2", "RaBitQ2")
"""One codec for each of the other layouts; where they walk, full vectors that put hits in order are ``LVQ8``."""
_LISTS = (*_FLOATS, *_LEVELS, "LVQ4x8", "PQ2", "PQ4x4")
"""What inverted lists usually hold."""
_SPARSE = ("Inverted", "Seismic")
_GRAPH, _CODED_GRAPH = (2,), (2, 4, STEP)
_CODED = ("Float32", "LVQ8", "LVQ4x8")
"""What usually is read where links have codes."""
_ROWS, _DIM = 600, 16
"""More rows than those from which scans look up tables of several queries at once."""


def every_spec() -> list[str]:
    """Return specifications that together read every layout in a walk, with usual ones every usual finer one.

    Then come lists of usual layouts; those of sparse vectors, whose rows have layouts of their own, come last.
    """
    walks = [*_FLOATS, *_LEVELS]
    alone = [f"{codec},Vamana2" for codec in (*walks, *_TWO_LEVELS, *_SMALL)]
    coded = [f"{codec},{PartSpec(Vamana.spec_name, _CODED_GRAPH)}" for codec in _CODED]
    pairs = [(codec, refine) for codec in walks for refine in (*walks, *_TWO_LEVELS) if refine != codec]
    pairs += [(codec, "LVQ8") for codec in _SMALL]
    lists = [f"{codec},IVF2" for codec in _LISTS]
    refined = [f"{codec},Vamana2 -> {refine}" for codec, refine in pairs]
    return [*alone, *coded, *refined, *lists, *_SPARSE]


def warm_up(
    specs: Sequence[str], *, threads: int | None = None, progress: Callable[[int, int | None, str], None] | None = None
) -> None:
    """Compile what indexes of these specifications need, and keep it in the cache of kernels.

    Parameters
    ----------
    specs : sequence of str
    threads : int, optional
        Compile in at most this many processes; by default one per processor.
    progress : callable, optional
        Called as ``progress(done, total, what)``.

    Raises
    ------
    SpecError, InvalidInput
        A specification that no index fits.
    """
    for spec in specs:
        index_from_spec(spec)
    smallest = {_smallest(spec) for spec in specs}
    if any(map(_walks_floats, smallest)):
        smallest.add(_BYTES)  # by these many floats are linked
    specs = sorted(smallest, key=lambda spec: ("->" in spec, spec))
    workers = min(threads or processors(), len(specs))
    if workers < 2:
        for done, spec in enumerate(specs):
            _drive(spec)
            _report(progress, done + 1, len(specs))
        return
    # First those without a second codec: what builds their graphs is then compiled for the others.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done, job in enumerate(as_completed([pool.submit(_drive, spec) for spec in specs])):
            job.result()
            _report(progress, done + 1, len(specs))


def _report(progress: Callable[[int, int | None, str], None] | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total, "layouts compiled")


def _smallest(spec: str) -> str:
    """Return an index that calls the same kernels: they know layouts, not dimensions, and few links try all of them."""
    parsed = parse_spec(spec)
    index = parsed.index
    if index.name == Vamana.spec_name:
        given = dict(zip(Vamana.spec_fields, index.numbers, strict=False))
        index = PartSpec(index.name, _CODED_GRAPH if given.get("link_bits") else _GRAPH)
    elif index.name == IVF.spec_name:
        index = PartSpec(index.name, (2,))
    encoded = any(part.name == MultiVector.spec_around for part in parsed.transforms)
    return str(replace(parsed, transforms=(PartSpec(MultiVector.spec_around, (1, 3, 2)),) * encoded, index=index))


def _walks_floats(spec: str) -> bool:
    parsed = parse_spec(spec)
    return parsed.index.name == Vamana.spec_name and (parsed.codec is None or parsed.codec.name in _FLOATS)


def _drive(spec: str) -> None:
    """Have an index of few vectors do everything that an index does."""
    x: Any = np.random.default_rng(0).standard_normal((_ROWS, _DIM), dtype=np.float32)
    project(x[:1], x[:1])
    index = index_from_spec(spec, metric="dot")
    if isinstance(index, TokenIndex):
        x = MultiVectors(x, np.arange(_ROWS + 1))
    elif isinstance(index, SparseIndex):
        x = csr_array(np.abs(x))
    index.build(x)
    for several in (1, 8):
        index.search(x[:several], threads=1)
    if isinstance(index, SparseIndex):
        index.add(x[:1])
        index.search(x[:1], threads=1)
    if not isinstance(index, Vamana):
        return
    for strategy in STRATEGIES:
        index.search(x[:1], k=1, effort=4, allowed=np.arange(_ROWS) % 2 == 0, threads=1, strategy=strategy)
    index.add(x[:1])
    for most in (_ROWS // 2, _ROWS - 1):
        index.remove(np.arange(most))
