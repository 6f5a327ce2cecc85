"""Alignment: take vectors of one embedding space into another, learned from pairs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isometry.errors import DimensionMismatch, InvalidInput, check_choice, check_range
from isometry.estimates import Estimate, bootstrap_mean
from isometry.estimators import check_vectors, generator, one_blas_thread
from isometry.kernels.project import project
from isometry.transforms.linear import Linear, check_finite
from isometry.vectors import as_dense

__all__ = ["METHODS", "Alignment", "retrieval_kept"]

METHODS = ("procrustes", "linear", "mlp")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FEWEST_PAIRS = 40
_HELD_OUT_SHARE = 0.2
_MOST_HELD_OUT = 1000
_NEIGHBOURS = 10
_EPOCHS = 40
_BATCH = 128
_RATE = 1e-3
_SMALLEST = 2.0**-140
_BLOCK = 256

Floats = NDArray[np.float64]


class _Map(NamedTuple):
    """What a method has learned: y = matrix (x - mean) + offset + output relu(hidden (x - mean) + bias)."""

    matrix: Floats
    mean: Floats
    offset: Floats
    hidden: Floats
    bias: Floats
    output: Floats

    def __call__(self, x: NDArray[Any]) -> Floats:
        z = x.astype(np.float64) - self.mean
        y = z @ self.matrix.T + self.offset
        return y + np.maximum(z @ self.hidden.T + self.bias, 0) @ self.output.T if len(self.bias) else y


class Alignment(Linear):
    r"""A map from one embedding space to another: :math:`x \mapsto A\,(x - \mu) + \nu`, or a small network.

    Fitted on pairs, items that both encoders have seen: ``fit(new, old)`` with the vectors of the new encoder and those
    that the old one gave the same items. Queries of the new encoder can then search the old vectors, without encoding
    the documents again.

    Parameters
    ----------
    method : {"best", "procrustes", "linear", "mlp"}, default "best"
        ``procrustes``: A is orthogonal (where dimensions differ, its shorter side is orthonormal) times one scale:
        safe with few pairs. ``linear``: any A, by ridge regression. ``mlp``: the linear map and a network of one hidden
        layer that learns what it leaves. ``best`` keeps the one that keeps most retrieval on pairs held out.
    regularization : float, optional
        Of the ridge regression, in units of the mean variance of a dimension. By default the best of five on pairs held
        out.
    hidden : int, default 512
        Width of the network's hidden layer.
    random_state : int, RandomState or None, default 0
        What draws the pairs held out, and the network.

    Attributes
    ----------
    components_ : (d', d) float32
        A.
    mean_, offset_ : (d,), (d',) float32
        :math:`\mu` and :math:`\nu`, the means of both sides.
    hidden_, hidden_bias_, output_ : (h, d), (h,), (d', h) float32
        The network, which adds ``output_ @ relu(hidden_ @ (x - mean_) + hidden_bias_)``; h is 0 for the other methods.
    method_ : str
        The method that was kept.
    kept_, kept_low_, kept_high_ : float or None
        Share of the ten nearest vectors of the target space that a mapped vector finds as well, with its interval: by
        the map learned from the other pairs, on pairs that chose nothing. None with fewer than 40 pairs.
    n_features_in_ : int
        d.

    Notes
    -----
    A fifth of the pairs, at most 1,000, are held out: half of them choose, the other half give `kept_`; then the chosen
    map is learned from all. `fit` costs :math:`O(n\,d\,(d + d') + d^3)`, and :math:`O(n\,h\,(d + d'))` for each of up
    to 40 passes of the network; `transform` :math:`O(n\,d\,d')`. No result is scaled to a norm; compare by cosine.

    Alignment is not symmetric: fit another one for the way back.

    References
    ----------
    Schönemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 31, 1966. Smith, Turban,
    Hamblin, Hammerla, Offline bilingual word vectors, orthogonal transformations and the inverted softmax, ICLR 2017.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> old = rng.standard_normal((500, 16)) @ rng.standard_normal((16, 16))
    >>> new = old @ rng.standard_normal((16, 24))
    >>> align = Alignment().fit(new[:400], old[:400])
    >>> print(align.method_, f"{retrieval_kept(align.transform(new[400:]), old[400:], old[:400]).mean:.2f}")
    linear 1.00
    """

    spec_fields: ClassVar[tuple[str, ...]] = ()

    mean_: NDArray[np.float32]
    offset_: NDArray[np.float32]
    hidden_: NDArray[np.float32]
    hidden_bias_: NDArray[np.float32]
    output_: NDArray[np.float32]

    def __init__(
        self,
        method: str = "best",
        *,
        regularization: float | None = None,
        hidden: int = 512,
        random_state: Any = 0,
    ) -> None:
        self.method = method
        self.regularization = regularization
        self.hidden = hidden
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    @one_blas_thread
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the map from vectors (n, d) to the vectors (n, d') of the same items in the other space.

        Raises
        ------
        InvalidInput
            NaN, infinity, no pairs, not two axes, no `y`, or a parameter out of its range.
        DimensionMismatch
            X and y have different numbers of rows.
        """
        x = check_vectors(self, X, reset=True)
        target = _targets(y, len(x))
        check_choice("method", self.method, ("best", *METHODS))
        check_range("hidden", self.hidden, 1, 2**16)
        if self.regularization is not None and not 0 <= float(self.regularization) < np.inf:
            raise InvalidInput(f"regularization is {self.regularization!r}; expected a number >= 0 or None")
        rng = generator(self.random_state)
        tried = METHODS if self.method == "best" else (self.method,)
        strengths = STRENGTHS if self.regularization is None else (float(self.regularization),)
        self.kept_ = self.kept_low_ = self.kept_high_ = None
        if len(x) < FEWEST_PAIRS:
            warnings.warn(
                f"alignment is learned from {len(x)} pairs; with fewer than {FEWEST_PAIRS} none is held out, and how "
                f"much retrieval it keeps is not known",
                stacklevel=3,
            )
            plan = _Plan(tried[0], max(strengths), 1)
        else:
            order = rng.permutation(len(x))
            held = min(int(_HELD_OUT_SHARE * len(x)), _MOST_HELD_OUT)
            judge, choose, learn = order[: held // 2], order[held // 2 : held], order[held:]
            plan, learned = self._chosen((x[learn], target[learn]), (x[choose], target[choose]), tried, strengths, rng)
            found = retrieval_kept(learned(x[judge]), target[judge], target[learn])
            self.kept_, self.kept_low_, self.kept_high_ = found.mean, found.low, found.high
        self.method_ = plan.method
        fitted = _learned(plan, (x, target), int(self.hidden), rng)
        with np.errstate(over="ignore"):
            parts = [np.ascontiguousarray(part, np.float32) for part in fitted]
        if not all(np.isfinite(part).all() for part in parts):
            raise InvalidInput("the map leaves float32, since y is far larger than X; bring both to similar scales")
        self.components_, self.mean_, self.offset_, self.hidden_, self.hidden_bias_, self.output_ = parts
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the vectors (n, d') of the other space for the rows of (n, d).

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another d than that of `fit`, NaN, infinity, or vectors whose image leaves float32.
        """
        x = check_vectors(self, X, reset=False)
        out = self._projected(x, self.mean_)
        with np.errstate(over="ignore", invalid="ignore"):
            out += self.offset_
            if len(self.hidden_):
                within = project(x - self.mean_, self.hidden_)
                out += project(np.maximum(within + self.hidden_bias_, 0), self.output_)
        check_finite(out, "X")
        return out

    def _chosen(
        self,
        parts: tuple[NDArray[Any], NDArray[Any]],
        held: tuple[NDArray[Any], NDArray[Any]],
        tried: tuple[str, ...],
        strengths: tuple[float, ...],
        rng: np.random.Generator,
    ) -> tuple[_Plan, _Map]:
        """Return what keeps most retrieval on the pairs held out; of equals the simplest."""
        x, target = held
        candidates = _candidates(parts, held, tried, strengths, int(self.hidden), rng)
        best, most = None, -1.0
        for plan, learned in candidates:
            kept = retrieval_kept(learned(x), target, parts[1]).mean
            if kept > most:
                best, most = (plan, learned), kept
        assert best is not None
        return best


class _Plan(NamedTuple):
    """A method, the strength of its regularization, and how often the network sees the pairs."""

    method: str
    strength: float
    epochs: int


def retrieval_kept(mapped: ArrayLike, target: ArrayLike, base: ArrayLike, k: int = _NEIGHBOURS) -> Estimate:
    """Return the share of the k nearest vectors of `base` that mapped vectors find as their true counterparts do.

    Parameters
    ----------
    mapped : (n, d) float
        Vectors brought into the space of `base`; none of them may have taught the map.
    target : (n, d) float
        The vectors that the same items have in that space.
    base : (m, d) float
        What is searched, by cosine: stored vectors, without those of the items themselves.
    k : int, default 10
        At most m are looked at.

    Returns
    -------
    Estimate
        Mean over the items, with its interval.

    Raises
    ------
    DimensionMismatch, InvalidInput
        Shapes do not fit, or there is nothing to search.

    Notes
    -----
    O(n m d). Items without a direction (zeros) in the target space are left out; equal cosines count as found.
    """
    one, other, stored = (_unit(np.asarray(each, np.float64)) for each in (mapped, target, base))
    if one.shape != other.shape or stored.ndim != 2 or stored.shape[1:] != one.shape[1:]:
        raise DimensionMismatch(
            f"mapped is {one.shape}, target {other.shape} and base {stored.shape}; expected (n, d), (n, d) and (m, d)"
        )
    if not len(stored) or not len(one):
        raise InvalidInput(f"{len(one)} vectors search {len(stored)}; expected at least one of each")
    k = min(check_range("k", k, 1), len(stored))
    shares = [np.zeros(0)]
    for start in range(0, len(one), _BLOCK):
        true, found = (each[start : start + _BLOCK] @ stored.T for each in (other, one))
        picked = np.argpartition(-found, k - 1, axis=1)[:, :k]
        worst = np.partition(true, -k, axis=1)[:, -k]
        shares.append((np.take_along_axis(true, picked, axis=1) >= worst[:, None] - 1e-9).mean(axis=1))
    pointing = other.any(axis=1)
    return bootstrap_mean(np.concatenate(shares)[pointing] if pointing.any() else np.zeros(1))


def _targets(y: Any, n: int) -> NDArray[np.float32]:
    if y is None:
        raise InvalidInput(
            "alignment requires y to be passed, but the target y is None; call fit(X, y) with the vectors of the same "
            "items in the other space"
        )
    array = np.asarray(y)
    target = as_dense(array[:, None] if array.ndim == 1 else array, name="y")
    if len(target) != n:
        raise DimensionMismatch(f"X has {n} rows and y {len(target)}; expected a pair per row")
    return target


def _candidates(
    parts: tuple[NDArray[Any], NDArray[Any]],
    held: tuple[NDArray[Any], NDArray[Any]],
    tried: tuple[str, ...],
    strengths: tuple[float, ...],
    hidden: int,
    rng: np.random.Generator,
) -> Iterator[tuple[_Plan, _Map]]:
    """Yield maps learned from `parts`, the simplest first; the network goes on from the best ridge regression."""
    if "procrustes" in tried:
        yield _Plan("procrustes", 0.0, 0), _procrustes(*parts)
    if tried == ("procrustes",):
        return
    regressions = list(zip(strengths, _ridge(*parts, strengths), strict=True))
    if "linear" in tried:
        yield from ((_Plan("linear", strength, 0), learned) for strength, learned in regressions)
    if "mlp" in tried:
        strength, start = max(regressions, key=lambda each: retrieval_kept(each[1](held[0]), held[1], parts[1]).mean)
        errors = {
            epoch: (float(np.square(learned(held[0]) - held[1]).sum()), learned)
            for epoch, learned in enumerate(_network(start, *parts, hidden, _EPOCHS, rng), 1)
            if epoch % 5 == 0 or epoch == 1
        }
        epochs = min(errors, key=lambda epoch: errors[epoch][0])
        yield _Plan("mlp", strength, epochs), errors[epochs][1]


def _learned(plan: _Plan, pairs: tuple[NDArray[Any], NDArray[Any]], hidden: int, rng: np.random.Generator) -> _Map:
    if plan.method == "procrustes":
        return _procrustes(*pairs)
    start = next(_ridge(*pairs, (plan.strength,)))
    return start if plan.method == "linear" else list(_network(start, *pairs, hidden, plan.epochs, rng))[-1]


def _centred(x: NDArray[Any]) -> tuple[Floats, Floats]:
    wide = x.astype(np.float64)
    mean = wide.mean(axis=0)
    return wide - mean, mean


def _affine(matrix: Floats, mean: Floats, offset: Floats) -> _Map:
    return _Map(matrix, mean, offset, np.zeros((0, len(mean))), np.zeros(0), np.zeros((len(offset), 0)))


def _procrustes(x: NDArray[Any], y: NDArray[Any]) -> _Map:
    (z, mean), (t, offset) = _centred(x), _centred(y)
    u, values, v = np.linalg.svd(t.T @ z, full_matrices=False)
    turn = u @ v
    size = float(np.square(z @ turn.T).sum())
    return _affine(turn * (values.sum() / size if size > _SMALLEST**2 else 1.0), mean, offset)


def _ridge(x: NDArray[Any], y: NDArray[Any], strengths: tuple[float, ...]) -> Iterator[_Map]:
    (z, mean), (t, offset) = _centred(x), _centred(y)
    values, vectors = np.linalg.eigh(z.T @ z)
    across = vectors.T @ (z.T @ t)
    least = 1e-10 * max(float(values[-1]), 0.0)  # directions that no vector has
    for strength in strengths:
        damped = np.maximum(values, 0) + strength * max(float(values.mean()), 0.0)
        inverse = np.divide(1.0, damped, out=np.zeros_like(damped), where=damped > least)
        yield _affine((vectors @ (inverse[:, None] * across)).T, mean, offset)


def _network(
    start: _Map, x: NDArray[Any], y: NDArray[Any], hidden: int, epochs: int, rng: np.random.Generator
) -> Iterator[_Map]:
    """Yield after each pass a network that learns what `start` leaves of `y`, by Adam on the squared error."""
    z = x.astype(np.float64) - start.mean
    rest = y.astype(np.float64) - start(x)
    size, error = (max(float(np.sqrt(np.square(each).mean())), _SMALLEST) for each in (z, rest))
    z, rest = z / size, rest / error
    d = z.shape[1]
    parameters = [
        rng.standard_normal((hidden, d)) * np.sqrt(2 / d),
        np.zeros(hidden),
        np.zeros((rest.shape[1], hidden)),
    ]
    moments = [(np.zeros_like(each), np.zeros_like(each)) for each in parameters]
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(z))
        for batch in np.split(order, range(_BATCH, len(z), _BATCH)):
            step += 1
            inner, bias, output = parameters
            within = np.maximum(z[batch] @ inner.T + bias, 0)
            miss = (within @ output.T - rest[batch]) / len(batch)
            back = (miss @ output) * (within > 0)
            for i, slope in enumerate((back.T @ z[batch], back.sum(axis=0), miss.T @ within)):
                first, second = moments[i]
                first += 0.1 * (slope - first)
                second += 0.001 * (np.square(slope) - second)
                scaled = np.sqrt(second / (1 - 0.999**step)) + 1e-8
                parameters[i] = parameters[i] - _RATE * first / (1 - 0.9**step) / scaled
        inner, bias, output = parameters
        yield start._replace(hidden=inner, bias=bias * size, output=output * (error / size))


def _unit(x: Floats) -> Floats:
    with np.errstate(under="ignore"):
        largest = np.abs(x).max(axis=-1, keepdims=True, initial=0)
        scaled = np.divide(x, largest, out=np.zeros_like(x), where=largest > 0)
        length = np.linalg.norm(scaled, axis=-1, keepdims=True)
        return np.divide(scaled, length, out=np.zeros_like(scaled), where=length > 0)
