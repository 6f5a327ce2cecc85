"""What transforms and codecs alike must do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from isometry.errors import DimensionMismatch, InvalidInput
from isometry.estimators import restore, state
from isometry.storage import read_folder, write_folder

__all__ = [
    "BAD",
    "EXEMPT",
    "expect",
    "raises",
    "same",
    "same_however_asked",
    "spec_numbers_are_parameters",
    "survives_bad_input",
    "survives_storage",
    "vectors",
    "works_in_a_pipeline",
    "works_with_scikit_learn",
]

EXEMPT = {
    "check_dtype_object": "a value that is no number raises InvalidInput, a ValueError; scikit-learn wants a TypeError",
}
"""Checks of scikit-learn that a part need not pass, with the reason."""
BAD = (
    np.full((3, 24), np.nan, np.float32),
    np.full((3, 24), -np.inf, np.float32),
    np.full((3, 24), 1e300),
    np.full((3, 24), 3e38, np.float32),
    np.zeros(24, np.float32),
    np.zeros((3, 0), np.float32),
    np.zeros((3, 24), complex),
    np.array([["a", "b"]]),
    None,  # last, since None may be the default of an argument
)
"""What every method that takes vectors must refuse with `InvalidInput`."""


def vectors(n: int, seed: int, d: int = 24) -> NDArray[np.float32]:
    """Return clustered vectors far from the origin, with a spectrum that falls; the last two rows are equal."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((8, d)) + 1
    x = (centres[rng.integers(8, size=n)] + rng.standard_normal((n, d)) / np.sqrt(1 + np.arange(d))).astype(np.float32)
    x[-2:-1] = x[-1:]
    return x


def works_with_scikit_learn(estimator: Any, exempt: Mapping[str, str]) -> None:
    """Run scikit-learn's own checks."""
    from sklearn.utils.estimator_checks import check_estimator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, expected_failed_checks=dict(exempt), on_fail=None, on_skip=None)
    failed = [f"{result['check_name']}: {result['exception']!r}" for result in results if result["status"] == "failed"]
    expect(not failed, "scikit-learn's checks fail: " + "; ".join(failed))


def works_in_a_pipeline(estimator: Any, y: Any = None) -> None:
    """A clone in a pipeline gives what the parts give one after another, both fitted to `y` where there is one."""
    x = vectors(100, 0)
    scaled = StandardScaler().fit_transform(x)
    piped = make_pipeline(StandardScaler(), clone(estimator)).fit(x, y).transform(x)
    same(clone(estimator).fit(scaled, y).transform(scaled), piped, "a pipeline gives other results than its parts")
    expect(clone(estimator).get_params() == estimator.get_params(), "a clone has other parameters")


def spec_numbers_are_parameters(estimator: Any) -> None:
    """What a specification string sets exists as a parameter, if one can name it."""
    missing = set(getattr(estimator, "spec_fields", ())) - set(estimator.get_params())
    expect(not missing, f"spec_fields names {sorted(missing)}, which __init__ does not take")
    name = getattr(estimator, "spec_name", "none")
    expect(isinstance(name, str) and name.isidentifier(), "spec_name is not a name")


def survives_bad_input(
    make: Callable[[], Any], fitted: Any, methods: Mapping[str, Callable[[Any], Any]], y: Any = None
) -> None:
    """Nonsense is refused with `InvalidInput` by `fit` and the methods of the fitted estimator, which works on."""
    x = vectors(100, 0)
    before = {name: method(x) for name, method in methods.items()}
    for bad in BAD:
        raises(InvalidInput, f"fit({bad!r:.60})", make().fit, bad, y)
        for name, method in methods.items():
            raises(InvalidInput, f"{name}({bad!r:.60})", method, bad)
    raises(InvalidInput, "fit to no rows", make().fit, x[:0], y)
    for name, method in methods.items():
        raises(DimensionMismatch, f"{name} with another dimension", method, x[:, :-1])
        raises(NotFittedError, f"{name} before fit", getattr(make(), name), x)
    for name, method in methods.items():
        same(before[name], method(x), f"refused input changed what {name} returns")
    expect(fitted.n_features_in_ == x.shape[1], "refused input changed n_features_in_")


def survives_storage(fitted: Any, method: Callable[[Any, Any], Any], folder: Path) -> None:
    """`state` goes through a folder and back: the restored estimator, its arrays memory-mapped, gives the same."""
    x = vectors(100, 1)
    kind, parameters, arrays = state(fitted)
    write_folder(folder / "estimator", kind, parameters, arrays, overwrite=True)
    read = read_folder(folder / "estimator")
    again = restore(read.kind, read.parameters, read.arrays)
    same(method(fitted, x), method(again, x), "an estimator that was stored gives other results")
    expect(again.get_params() == fitted.get_params(), "it came back with other parameters")
    expect(state(again)[1] == parameters and state(again)[2].keys() == arrays.keys(), "it came back changed")


def same_however_asked(method: Callable[[Any], Any], name: str) -> None:
    """One row or many, any order in memory, any float type, several threads at once: the same to the last bit."""
    x = vectors(300, 1)
    reference = method(x)
    same(reference, np.concatenate([method(x[i : i + 1]) for i in range(300)]), f"{name} depends on other rows")
    same(reference, np.concatenate([method(x[:7]), method(x[7:200]), method(x[200:])]), f"{name} depends on batches")
    same(reference, method(np.asfortranarray(x)), f"{name} depends on the order in memory")
    same(reference, method(x.astype(np.float64)), f"{name} depends on the float type")
    same(reference, method(x.tolist()), f"{name} does not take lists")
    x.flags.writeable = False
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(method, [x] * 8):
            same(reference, result, f"concurrent calls of {name} disturb each other")
    expect(len(method(x[:0])) == 0, f"{name} of no rows is not empty")


def expect(condition: bool, message: str) -> None:
    """Raise `AssertionError` with `message` unless `condition`."""
    if not condition:
        raise AssertionError(message)


def raises(error: type[Exception], what: str, call: Callable[..., Any], *arguments: Any) -> None:
    """Raise `AssertionError` unless the call raises `error`."""
    try:
        call(*arguments)
    except error:
        return
    raise AssertionError(f"{what} did not raise {error.__name__}")


def same(one: Any, other: Any, message: str) -> None:
    """Raise `AssertionError` unless two arrays are equal in type, shape and every bit."""
    equal = one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    expect(equal, message)
