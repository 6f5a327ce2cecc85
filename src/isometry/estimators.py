"""What transforms and codecs have in common: the check at their border, and fitted state that can be stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from typing import Any, ParamSpec, Self, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from isometry.errors import DimensionMismatch, InvalidInput, check_choice
from isometry.vectors import as_dense, is_plain

__all__ = [
    "Freezable",
    "check_vectors",
    "estimator_classes",
    "fitted_arrays",
    "generator",
    "one_blas_thread",
    "restore",
    "state",
]

P = ParamSpec("P")
R = TypeVar("R")

LARGEST = 2.0**125
"""No value of a vector may be larger: then no difference, range or mean leaves float32."""
_ROOMS = ("isometry.transforms", "isometry.codecs")


def check_vectors(estimator: Any, x: Any, *, reset: bool, name: str = "X") -> NDArray[np.float32]:
    """Return `x` as a contiguous, finite (n, d) float32 array, checked against what `estimator` was fitted with.

    Parameters
    ----------
    estimator : scikit-learn estimator
    x : array-like, (n, d)
        What scikit-learn takes, data frames of numbers included.
    reset : bool
        Whether `estimator` is being fitted: then d and the names of the columns are noted, and n = 0 is refused.
    name : str
        What to call `x` in an error.

    Raises
    ------
    DimensionMismatch
        d is not that of `fit`.
    InvalidInput
        Not two axes of real numbers; NaN, infinity, or a value beyond 2^125.
    """
    if not reset and _is_plain(estimator, x):
        return x if _largest(x) <= LARGEST else _bounded(as_dense(x, name=name), name)
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data

    if not reset:
        check_is_fitted(estimator)
    try:
        with np.errstate(over="ignore"):
            array = check_array(
                x,
                dtype=np.float32,
                order="C",
                ensure_all_finite=False,
                ensure_min_samples=int(reset),
                estimator=estimator,
                input_name=name,
            )
        if not reset and array.shape[1] != estimator.n_features_in_:
            raise DimensionMismatch(
                f"{name} has {array.shape[1]} features, but {type(estimator).__name__} is expecting "
                f"{estimator.n_features_in_} features as input"
            )
        validate_data(estimator, x, reset=reset, skip_check_array=True)
    except InvalidInput:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidInput(str(error)) from None
    return _bounded(as_dense(array, name=name), name)


class Freezable:
    """An estimator that can be told to stay as it is: for what was trained, and must not be fitted again by an index.

    Attributes
    ----------
    frozen_ : bool
        Only after `freeze`.
    """

    def freeze(self) -> Self:
        """Keep what was learned: from now on `fit` only checks its input, and a clone is a copy with the same state.

        An index clones and fits its transforms and its codec; frozen ones it takes as they are.

        Raises
        ------
        NotFittedError
            There is nothing to keep yet.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        self.frozen_ = True
        return self

    def __sklearn_clone__(self) -> Self:
        if not getattr(self, "frozen_", False):
            return super().__sklearn_clone__()  # type: ignore[misc]
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        return copy

    def _stays(self, x: Any) -> bool:
        """Return whether `fit` has nothing to do but to check its input."""
        if getattr(self, "frozen_", False):
            check_vectors(self, x, reset=False)
            return True
        return False


def _is_plain(estimator: Any, x: Any) -> TypeGuard[NDArray[np.float32]]:
    """Whether scikit-learn would return `x` as it is; asking it takes ten times as long as projecting one query."""
    return is_plain(x, getattr(estimator, "n_features_in_", None)) and not hasattr(estimator, "feature_names_in_")


def _largest(vectors: NDArray[np.float32]) -> float:
    """Return the largest magnitude; NaN where there is one."""
    return max(float(vectors.max(initial=0.0)), -float(vectors.min(initial=0.0)))


def _bounded(vectors: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    largest = _largest(vectors)
    if largest > LARGEST:
        raise InvalidInput(f"{name} has a value of magnitude {largest:.3g}; expected at most 2^125: scale the vectors")
    return vectors


def generator(random_state: Any) -> np.random.Generator:
    """Return the generator that a ``random_state`` of scikit-learn's stands for: an integer, a RandomState or None."""
    from sklearn.utils import check_random_state

    return np.random.default_rng(check_random_state(random_state).randint(2**31))


def one_blas_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function during which the BLAS starts no threads.

    Matrices of some hundred rows are not worth them, and where a processor is busy otherwise they wait for each other
    a hundred times as long as they compute.
    """

    @wraps(function)
    def alone(*args: P.args, **options: P.kwargs) -> R:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, user_api="blas"):
            return function(*args, **options)

    return alone


@cache
def estimator_classes() -> dict[str, type[Any]]:
    """Return the classes that `isometry.transforms` and `isometry.codecs` export, by name."""
    rooms = [vars(import_module(room)) for room in _ROOMS]
    return {
        name: item
        for room in rooms
        for name, item in room.items()
        if isinstance(item, type) and hasattr(item, "get_params")
    }


def fitted_arrays(estimator: Any) -> dict[str, NDArray[Any]]:
    """Return what an estimator has learned, of the arrays that it holds, by name."""
    # feature_names_in_, which a data frame leaves behind, is not needed to transform
    return {
        name: value
        for name, value in _fitted(estimator).items()
        if isinstance(value, np.ndarray) and value.ndim and value.dtype != object
    }


def _fitted(estimator: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(estimator).items() if name.endswith("_") and name[0] != "_"}


def state(estimator: Any) -> tuple[str, dict[str, Any], dict[str, NDArray[Any]]]:
    """Return what makes a fitted estimator: (name of its class, parameters, arrays).

    Parameters are what ``__init__`` takes, and fitted numbers and strings; arrays are the fitted ones. Both are named
    as on the estimator, and simple enough for `isometry.storage.write_folder`.

    Raises
    ------
    InvalidInput
        A class that is none of ours, or a parameter that is not a number, a string or None.
    """
    kind = type(estimator).__name__
    if estimator_classes().get(kind) is not type(estimator):
        raise InvalidInput(
            f"{kind} can't be stored; expected one of {', '.join(estimator_classes())}, without a subclass of them"
        )
    parameters: dict[str, Any] = {}
    arrays = fitted_arrays(estimator)
    for name, value in {**estimator.get_params(deep=False), **_fitted(estimator)}.items():
        if name in arrays or name == "feature_names_in_":
            continue
        if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.ndim):
            parameters[name] = value.item()
        elif value is None or isinstance(value, bool | int | float | str):
            parameters[name] = value
        else:
            raise InvalidInput(f"{kind}.{name} is {value!r:.80}; expected a number, a string or None to store it")
    return kind, parameters, arrays


def restore(kind: str, parameters: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:
    """Return the estimator that `state` took apart; `arrays` are kept as they are, memory-mapped ones too.

    Raises
    ------
    InvalidInput
        An unknown kind or parameter.
    """
    made = estimator_classes()[check_choice("kind", kind, estimator_classes())]
    known = made._get_param_names()
    estimator = made(**{name: value for name, value in parameters.items() if name in known})
    fitted = {name: value for name, value in parameters.items() if name not in known} | arrays
    for name, value in fitted.items():
        if not name.isidentifier() or not name.endswith("_") or name[0] == "_":
            raise InvalidInput(f"{kind} has no parameter {name!r}; expected {', '.join(known)} or fitted state")
        setattr(estimator, name, value)
    return estimator
