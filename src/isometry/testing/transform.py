"""What every transform of dense vectors must do, as checks that run against any class like `isometry.transforms`' own.

.. code-block:: python

    import pytest
    from isometry.testing import TransformCase, transform_checks

    CASES = [TransformCase("MyTransform", lambda: MyTransform(8))]

    @pytest.mark.parametrize("check", transform_checks(), ids=lambda check: check.__name__)
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_conformance(case, check, tmp_path):
        check(case, tmp_path)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from isometry.errors import InvalidInput
from isometry.testing import estimator
from isometry.testing.estimator import BAD, expect, raises, same, vectors

__all__ = ["TransformCase", "check_transform", "transform_checks"]

Check = Callable[["TransformCase", Path], None]


@dataclass(frozen=True)
class TransformCase:
    """One row of the conformance table.

    Parameters
    ----------
    name : str
        What test reports call it.
    make : callable
        ``make()`` returns a new transform, with parameters that suit vectors of 2 dimensions (scikit-learn's checks).
    queries : bool, default False
        Whether `fit` takes ``queries=`` and queries have a method of their own, ``transform_query``.
    targets : bool, default False
        Whether `fit` needs ``y``, vectors that those it is given belong to.
    exempt : mapping
        Checks of scikit-learn that it need not pass, with the reason.
    """

    name: str
    make: Callable[[], Any]
    queries: bool = False
    targets: bool = False
    exempt: Mapping[str, str] = field(default_factory=lambda: dict(estimator.EXEMPT), repr=False)

    def __str__(self) -> str:
        return self.name


def check_transform(case: TransformCase, folder: Path) -> None:
    """Run all checks; `folder` is an empty folder to write to. Raises `AssertionError` with what is wrong."""
    for check in transform_checks():
        part = folder / check.__name__
        part.mkdir()
        check(case, part)


def transform_checks() -> tuple[Check, ...]:
    """Return all checks, each a function of a case and an empty folder."""
    return tuple(check for name, check in globals().items() if name.startswith("check_") and name != "check_transform")


def check_scikit_learn(case: TransformCase, folder: Path) -> None:
    """It passes scikit-learn's own checks, and works in a pipeline; a specification can set its parameters."""
    estimator.works_with_scikit_learn(case.make(), case.exempt)
    estimator.works_in_a_pipeline(case.make(), vectors(100, 3, 16) if case.targets else None)
    estimator.spec_numbers_are_parameters(case.make())


def check_results_are_well_formed(case: TransformCase, folder: Path) -> None:
    """Vectors and queries become finite float32 rows of one width."""
    x, fitted = vectors(100, 0), _fitted(case)
    results = {name: method(x) for name, method in _methods(case, fitted).items()}
    for name, result in results.items():
        expect(result.dtype == np.float32 and len(result) == 100, f"{name} gave {result.dtype} {result.shape}")
        expect(bool(np.isfinite(result).all()), f"{name} gave NaN or infinity")
    expect(len({result.shape for result in results.values()}) == 1, "vectors and queries differ in width")


def check_same_answer_however_asked(case: TransformCase, folder: Path) -> None:
    """A row has the same result alone, among others, from any memory, from several threads, from a second fit."""
    for name, method in _methods(case, _fitted(case)).items():
        estimator.same_however_asked(method, name)
        again = _methods(case, _fitted(case))[name]
        same(method(vectors(50, 1)), again(vectors(50, 1)), f"fitting twice gives a different {name}")


def check_bad_input(case: TransformCase, folder: Path) -> None:
    """Nonsense is answered with `InvalidInput`, and the transform still works afterwards."""
    fitted = _fitted(case)
    y = vectors(3, 3, 16) if case.targets else None
    estimator.survives_bad_input(case.make, fitted, _methods(case, fitted), y)
    if case.targets:
        x = vectors(100, 0)
        for bad in (*BAD, x[:0], x[:-1]):
            raises(InvalidInput, f"fit(x, {bad!r:.60})", partial(case.make().fit, x), bad)
    if case.queries:
        x = vectors(100, 0)
        for bad in (*BAD[:-1], x[:0], x[:, :-1]):
            raises(InvalidInput, f"fit(x, queries={bad!r:.60})", partial(case.make().fit, x, queries=bad))


def check_storage(case: TransformCase, folder: Path) -> None:
    """`isometry.estimators.state` and `restore` carry it through a folder."""
    estimator.survives_storage(
        _fitted(case), lambda each, x: np.hstack([method(x) for method in _methods(case, each).values()]), folder
    )


def check_extremes(case: TransformCase, folder: Path) -> None:
    """Constant, zero, tiny, huge and few vectors are transformed to finite ones."""
    large = np.float32(1e30)
    for name, x in {
        "equal vectors": np.repeat(vectors(1, 0), 5, axis=0),
        "constant vectors": np.arange(5, dtype=np.float32)[:, None].repeat(24, axis=1),
        "zeros": np.zeros((5, 24), np.float32),
        "one row": vectors(1, 0),
        "tiny values": vectors(50, 0) * np.float32(1e-30),
        "subnormal values": vectors(50, 0) * np.float32(1e-40),
        "large values": vectors(50, 0) * large,
        "one large value": np.eye(24, dtype=np.float32) * large,
        "empty dimensions": vectors(50, 0) * (np.arange(24) % 2).astype(np.float32),
    }.items():
        for queries in (None, x, vectors(3, 1), np.zeros_like(x)) if case.queries else (None,):
            given = {"y": x[:, ::-1]} if case.targets else {}
            given |= {} if queries is None else {"queries": queries}
            fitted = case.make().fit(x, **given)
            for method in _methods(case, fitted).values():
                expect(bool(np.isfinite(method(x)).all()), f"{name} became NaN or infinity")


def _fitted(case: TransformCase) -> Any:
    given = {"queries": vectors(50, 2)} if case.queries else {}
    given |= {"y": vectors(100, 3, 16)} if case.targets else {}
    return case.make().fit(vectors(100, 0), **given)


def _methods(case: TransformCase, fitted: Any) -> dict[str, Callable[[Any], Any]]:
    names = ("transform", "transform_query") if case.queries else ("transform",)
    return {name: getattr(fitted, name) for name in names}
