"""What every index must do, as checks that run against any class with the methods of `isometry.indexes.Index`.

.. code-block:: python

    import pytest
    from isometry.testing import IndexCase, index_checks

    CASES = [IndexCase("MyIndex", lambda metric: MyIndex(metric=metric), recall=0.9)]

    @pytest.mark.parametrize("check", index_checks(), ids=lambda check: check.__name__)
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_conformance(case, check, tmp_path):
        check(case, tmp_path)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from isometry.errors import AlreadyExists, InvalidInput
from isometry.indexes.base import METRICS, Index, Mutable
from isometry.storage import read_folder
from isometry.vectors import MultiVectors

__all__ = ["IndexCase", "check_index", "index_checks"]

Result = tuple[NDArray[np.int64], NDArray[np.float32]]
Check = Callable[["IndexCase", Path], None]


def _vectors(n: int, seed: int) -> NDArray[np.float32]:
    """Return clustered vectors of 24 dimensions, a few of them equal."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((8, 24))
    x = (centres[rng.integers(8, size=n)] + 0.7 * rng.standard_normal((n, 24))).astype(np.float32)
    x[n // 2 : n // 2 + 3] = x[:1]
    return x


@dataclass(frozen=True)
class IndexCase:
    """One row of the conformance table.

    Parameters
    ----------
    name : str
        What test reports call it.
    make : callable
        ``make(metric)`` returns a new, empty index.
    metrics : sequence of str
        Those to test; ``make`` gets each.
    data : callable
        ``data(n, seed)`` returns n items of the kind the index holds: an array, `MultiVectors` or a list of texts; by
        default dense vectors.
    bad : sequence
        Values that `build`, `add` and `search` must refuse with `InvalidInput`.
    recall : float
        Least recall@10 against the exact answer; None when the index defines the answer itself.
    """

    name: str
    make: Callable[[str], Any]
    metrics: Sequence[str] = METRICS
    data: Callable[[int, int], Any] = _vectors
    bad: Sequence[Any] = field(
        default=(
            np.full((3, 24), np.nan, np.float32),
            np.full((3, 24), np.inf, np.float32),
            np.zeros(24, np.float32),
            np.zeros((3, 0), np.float32),
            np.array([["a", "b"]]),
            None,
        ),
        repr=False,
    )
    recall: float | None = 1.0

    def __str__(self) -> str:
        return self.name


def check_index(case: IndexCase, folder: Path) -> None:
    """Run all checks; `folder` is an empty folder to write to. Raises `AssertionError` with what is wrong."""
    for check in index_checks():
        part = folder / check.__name__
        part.mkdir()
        check(case, part)


def index_checks() -> tuple[Check, ...]:
    """Return all checks, each a function of a case and an empty folder."""
    return tuple(check for name, check in globals().items() if name.startswith("check_") and name != "check_index")


def check_protocol(case: IndexCase, folder: Path) -> None:
    """An index has the members of the protocol and says how large it is."""
    for metric, index in _built(case):
        _expect(isinstance(index, Index), "it lacks a member of isometry.indexes.Index")
        _expect(index.metric == metric, f"metric is {index.metric!r} after make({metric!r})")
        _expect(
            len(index) == index.n_rows == 300, f"len {len(index)} and n_rows {index.n_rows} after building 300 items"
        )
        _expect(isinstance(index.spec, str) and index.dim > 0, f"spec {index.spec!r}, dim {index.dim}")


def check_results_are_well_formed(case: IndexCase, folder: Path) -> None:
    """Shapes, dtypes, order and padding are as promised, for k from 1 to more than there is."""
    for _, index in _built(case):
        for k in (1, 10, 1000):
            ids, scores = index.search(case.data(7, 1), k=k)
            _well_formed((ids, scores), 7, k, index.n_rows)
        _well_formed(index.search(case.data(7, 1)[:0], k=5), 0, 5, index.n_rows)


def check_recall(case: IndexCase, folder: Path) -> None:
    """The index finds what exact search finds."""
    if case.recall is None:
        return
    for metric, index in _built(case):
        queries = case.data(20, 1)
        ids, scores = index.search(queries, k=10)
        exact_ids, exact_scores = _exact(case.data(300, 0), queries, 10, metric)
        overlap = float(
            np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids.tolist(), exact_ids.tolist(), strict=True)])
        )
        _expect(overlap >= case.recall, f"{metric}: recall@10 is {overlap:.3f}, at least {case.recall} is promised")
        if case.recall == 1:
            _expect(np.array_equal(ids, exact_ids), f"{metric}: ids differ from exact search")
            _expect(
                np.allclose(scores, exact_scores, rtol=1e-6, atol=1e-6), f"{metric}: scores differ from exact search"
            )


def check_same_answer_however_asked(case: IndexCase, folder: Path) -> None:
    """One query or many, any threads, a second index, several callers at once: the same ids and scores."""
    for _, index in _built(case):
        queries = case.data(20, 1)
        reference = index.search(queries, k=10)
        for threads in (1, 2, 3):
            _equal(reference, index.search(queries, k=10, threads=threads), f"threads={threads} changes the answer")
        single = [index.search(queries[i : i + 1], k=10) for i in range(20)]
        _equal(reference, _stack(single), "one query at a time gives other answers than a batch")
        again = case.make(index.metric).build(case.data(300, 0))
        _equal(reference, again.search(queries, k=10), "building twice gives different indexes")
        with ThreadPoolExecutor(4) as pool:
            for result in pool.map(partial(index.search, k=10, threads=1), [queries] * 8):
                _equal(reference, result, "concurrent searches disturb each other")


def check_effort_is_accepted(case: IndexCase, folder: Path) -> None:
    """`effort` from 1 upwards gives well-formed results, and full effort is not worse."""
    for _, index in _built(case):
        for effort in (1, 10, 1000):
            _well_formed(index.search(case.data(5, 1), k=10, effort=effort), 5, 10, index.n_rows)


def check_allowed(case: IndexCase, folder: Path) -> None:
    """Masked rows are never returned; k is still reached; an all-false mask finds nothing."""
    rng = np.random.default_rng(3)
    for _, index in _built(case):
        queries = case.data(10, 1)
        reachable = index.search(queries, k=300)[0]
        for share in (0.02, 0.3, 0.9, 1.0):
            allowed = rng.random(300) < share
            ids, scores = index.search(queries, k=10, allowed=allowed)
            _well_formed((ids, scores), 10, 10, 300)
            _expect(bool(allowed[ids[ids >= 0]].all()), f"a masked row was returned at {share:.0%} allowed")
            for row, everything in zip(ids, reachable, strict=True):
                possible = min(10, int(allowed[everything[everything >= 0]].sum()))
                _expect(int((row >= 0).sum()) == possible, f"fewer hits than exist at {share:.0%} allowed")
        ids, _ = index.search(queries, k=10, allowed=np.zeros(300, bool))
        _expect(bool((ids == -1).all()), "something was found though nothing is allowed")
        _equal(
            index.search(queries, k=10),
            index.search(queries, k=10, allowed=np.ones(300, bool)),
            "a mask that allows everything changes the answer",
        )


def check_bad_input(case: IndexCase, folder: Path) -> None:
    """Nonsense is answered with `InvalidInput`, and the index still works afterwards."""
    for metric, index in _built(case):
        queries = case.data(3, 1)
        reference = index.search(queries)
        for bad in case.bad:
            _refuses(f"build({bad!r:.60})", case.make(metric).build, bad)
            _refuses(f"search({bad!r:.60})", index.search, bad)
            if isinstance(index, Mutable):
                _refuses(f"add({bad!r:.60})", index.add, bad)
        for options in (
            {"k": 0},
            {"k": -1},
            {"k": 2.5},
            {"k": True},
            {"threads": 0},
            {"effort": 0},
            {"allowed": np.ones(299, bool)},
            {"allowed": np.ones(300, np.int64)},
            {"allowed": [True] * 301},
        ):
            _refuses(f"search(q, {options!r:.60})", index.search, queries, **options)
        _refuses("search before build", case.make(metric).search, queries)
        _refuses("save before build", case.make(metric).save, folder / "nothing")
        _equal(reference, index.search(queries), "refused input changed the index")


def check_saving(case: IndexCase, folder: Path) -> None:
    """A saved index answers as the one in memory; its arrays are memory-mapped; nothing is overwritten unasked."""
    for metric, index in _built(case):
        queries, path = case.data(10, 1), folder / metric
        reference = index.search(queries)
        index.save(path)
        for verify in (False, True):
            loaded = type(index).from_folder(read_folder(path, index.kind, verify=verify))
            _equal(reference, loaded.search(queries), "a loaded index answers differently")
            _expect(
                (loaded.spec, loaded.metric, len(loaded)) == (index.spec, metric, len(index)), "it came back changed"
            )
        _raises(AlreadyExists, "save over an existing folder", index.save, path)
        loaded.save(path, overwrite=True)
        _equal(reference, loaded.search(queries), "overwriting a folder disturbs the index that was loaded from it")
        again = type(index).from_folder(read_folder(path))
        _equal(reference, again.search(queries), "an index saved over itself answers differently")


def check_adding(case: IndexCase, folder: Path) -> None:
    """Added rows follow in order and are found; in one go or in several, built or loaded before."""
    for metric, index in _built(case):
        if not isinstance(index, Mutable):
            return
        more, path = case.data(60, 2), folder / metric
        index.save(path)
        ids = index.add(more)
        _expect(ids.dtype == np.int64 and np.array_equal(ids, np.arange(300, 360)), f"add returned {ids!r:.60}")
        _expect(len(index) == index.n_rows == 360, f"{len(index)} rows after adding 60 to 300")
        found = index.search(more, k=5)[0]
        share = float(np.mean((found == ids[:, None]).any(axis=1)))
        _expect(share >= (case.recall or 0.9) * 0.95, f"only {share:.0%} of added rows are found by themselves")
        _expect(index.add(more[:0]).shape == (0,), "adding nothing returned ids")
        loaded: Any = type(index).from_folder(read_folder(path))
        for start in range(0, 60, 7):
            loaded.add(more[start : start + 7])
        queries = case.data(10, 1)
        _equal(index.search(queries), loaded.search(queries), "adding to a loaded index, in parts, gives other answers")
        loaded.save(path, overwrite=True)
        again = type(index).from_folder(read_folder(path))
        _equal(index.search(queries), again.search(queries), "additions do not survive saving")
        fresh = case.make(metric)
        _expect(np.array_equal(fresh.add(more), np.arange(60)), "adding to an empty index does not start at id 0")
        _well_formed(fresh.search(queries), 10, 10, 60)


def check_removing(case: IndexCase, folder: Path) -> None:
    """Removed rows never come back: not after adding, saving or masking; their ids are not used again."""
    for metric, index in _built(case):
        if not isinstance(index, Mutable):
            return
        queries = case.data(10, 1)
        gone = np.unique(index.search(queries, k=3)[0])
        gone = gone[gone >= 0]
        _expect(index.remove(gone) == len(gone), "remove did not count what it removed")
        _expect(index.remove(gone.tolist()) == 0 and index.remove([]) == 0, "rows were removed twice")
        _expect(len(index) == 300 - len(gone) and index.n_rows == 300, "the sizes are wrong after removing")
        for wrong in ([300], [-1], [0.5], ["a"], [[1]]):
            _refuses(f"remove({wrong!r})", index.remove, wrong)
        new = index.add(case.data(20, 2))
        _expect(int(new[0]) == 300, "an id was used again")
        index.save(folder / metric)
        for one in (index, type(index).from_folder(read_folder(folder / metric))):
            for allowed in (None, np.ones(320, bool)):
                ids = one.search(queries, k=320, allowed=allowed)[0]
                _expect(not np.isin(ids, gone).any(), "a removed row was returned")
        index.remove(np.arange(320))
        _expect(len(index) == 0 and bool((index.search(queries)[0] == -1).all()), "an emptied index finds something")
        index.add(case.data(20, 2))
        _well_formed(index.search(queries), 10, 10, 340)


def check_extremes(case: IndexCase, folder: Path) -> None:
    """No items, one item, all items equal."""
    for metric in case.metrics:
        for n in (0, 1, 300):
            items = case.data(1, 0)
            index = case.make(metric).build(items[:0] if n == 0 else _repeat(items, n))
            ids, scores = index.search(items, k=5)
            _well_formed((ids, scores), 1, 5, n)
            _expect(ids[0].tolist() == [*range(min(n, 5)), *[-1] * (5 - min(n, 5))], f"{n} equal items gave {ids}")
            index.save(folder / f"{metric}{n}")
            loaded = type(index).from_folder(read_folder(folder / f"{metric}{n}"))
            _equal((ids, scores), loaded.search(items, k=5), f"{n} items do not survive saving")


def _built(case: IndexCase) -> list[tuple[str, Any]]:
    return [(metric, case.make(metric).build(case.data(300, 0))) for metric in case.metrics]


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _raises(error: type[Exception], what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    try:
        call(*arguments, **options)
    except error:
        return
    raise AssertionError(f"{what} did not raise {error.__name__}")


def _refuses(what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    _raises(InvalidInput, what, call, *arguments, **options)


def _equal(one: Result, other: Result, message: str) -> None:
    _expect(np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1]), message)


def _stack(results: list[Result]) -> Result:
    return np.concatenate([ids for ids, _ in results]), np.concatenate([scores for _, scores in results])


def _repeat(items: Any, n: int) -> Any:
    return list(items) * n if isinstance(items, list) else items[np.zeros(n, np.int64)]


def _well_formed(result: Result, nq: int, k: int, n_rows: int) -> None:
    ids, scores = result
    _expect(ids.shape == scores.shape == (nq, k), f"shapes {ids.shape} and {scores.shape}; expected ({nq}, {k})")
    _expect(ids.dtype == np.int64 and scores.dtype == np.float32, f"dtypes {ids.dtype} and {scores.dtype}")
    hit = ids >= 0
    _expect(bool((ids[~hit] == -1).all() and np.isneginf(scores[~hit]).all()), "missing hits are not -1 and -inf")
    _expect(bool((ids < n_rows).all() and np.isfinite(scores[hit]).all()), "a hit has no row or no finite score")
    _expect(bool((hit[:, 1:] <= hit[:, :-1]).all()), "a missing hit comes before a hit")
    for row, values in zip(ids, scores, strict=True):
        found, of = row[row >= 0], values[row >= 0]
        _expect(len(np.unique(found)) == len(found), "a row was returned twice")
        _expect(
            np.array_equal(np.lexsort((found, -of)), np.arange(len(found))), "hits are not ordered by score, then id"
        )


def _exact(x: Any, q: Any, k: int, metric: str) -> Result:
    """Return the answer from a full float64 score matrix."""
    if isinstance(x, MultiVectors):
        scores = np.array([[_similarities(p, query, metric).max(axis=1).sum() for p in x] for query in q])
    else:
        scores = _similarities(x, q, metric)
    scores = scores.astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


def _similarities(x: Any, q: Any, metric: str) -> NDArray[np.float64]:
    a, b = (np.asarray(rows.toarray() if issparse(rows) else rows, np.float64) for rows in (x, q))
    if metric == "cosine":
        a, b = a / np.linalg.norm(a, axis=1, keepdims=True), b / np.linalg.norm(b, axis=1, keepdims=True)
    return -np.square(b[:, None] - a).sum(axis=2) if metric == "l2" else b @ a.T
