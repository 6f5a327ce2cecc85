r"""Pairs of matrices that shorten queries and vectors so that their inner products survive.

For queries q and vectors x, :math:`\langle q, x \rangle \approx \langle A q, B x \rangle` with A, B of shape (d, D).
Every function below takes the second moments :math:`K_q = E[q q^T]` and :math:`K_x = E[x x^T]`, (D, D) float64, and
returns ``(A, B)``; they differ in what they minimise, and over which pairs. `loss` says how good a pair is.

References
----------
Tepper, Bhati, Aguerrebere, Hildebrand, Willke, LeanVec, TMLR 2024, arXiv:2312.16335 (`principal_directions`,
`eigenvector_search`, `frank_wolfe`); Tepper, Bhati, Aguerrebere, Willke, GleanVec, arXiv:2410.22347 (`closed_form`,
there called LeanVec-Sphering).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svd
from scipy.optimize import minimize_scalar

__all__ = [
    "Pair",
    "closed_form",
    "eigenvector_search",
    "frank_wolfe",
    "loss",
    "principal_directions",
    "second_moment",
]

Matrix: TypeAlias = NDArray[np.float64]
Pair: TypeAlias = tuple[Matrix, Matrix]

STEPS = 500
TOLERANCE = 1e-3
STEP_EXPONENT = 0.999
_SMALLEST_SPREAD = 1e-8
_BLOCK_ROWS = 4096


def second_moment(x: NDArray[np.float32], origin: NDArray[np.float64]) -> Matrix:
    """Return the mean of (x - origin)(x - origin)^T over the rows of `x`: O(n D^2), a few thousand rows at a time."""
    total = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), _BLOCK_ROWS):
        block = x[start : start + _BLOCK_ROWS] - origin
        total += block.T @ block
    return total / max(len(x), 1)


def loss(a: Matrix, b: Matrix, k_q: Matrix, k_x: Matrix) -> float:
    r"""Return :math:`\sqrt{f(A, B) / f(0, 0)}`: 0 when nothing is lost, 1 when everything is.

    :math:`f(A, B) = E[(\langle Aq, Bx \rangle - \langle q, x \rangle)^2] = tr[(A^T B - I)^T K_q (A^T B - I) K_x]`.
    """
    everything = float(np.vdot(k_q, k_x))
    if everything <= 0:
        return 0.0
    return math.sqrt(max(_loss(a, b, k_q, k_x, everything) / everything, 0.0))


def principal_directions(k_q: Matrix, k_x: Matrix, d: int) -> Pair:
    """Return A = B = the d leading eigenvectors of K_x; the queries are not asked."""
    p = _leading(k_x, d)
    return p, p


def eigenvector_search(k_q: Matrix, k_x: Matrix, d: int) -> Pair:
    r"""Return A = B = the leading eigenvectors of :math:`\beta K_q + (1 - \beta) K_x` for the best :math:`\beta`.

    The loss is minimised over :math:`\beta` in [0, 1] by Brent's method, about 20 eigendecompositions.
    """

    def mixed(beta: float) -> Matrix:
        return _leading(beta * k_q + (1 - beta) * k_x, d)

    found = minimize_scalar(
        lambda beta: loss(*(mixed(beta),) * 2, k_q, k_x), bounds=(0, 1), method="bounded", options={"xatol": 1e-3}
    )
    best = min((mixed(beta) for beta in (0.0, float(found.x), 1.0)), key=lambda p: loss(p, p, k_q, k_x))
    return best, best


def frank_wolfe(k_q: Matrix, k_x: Matrix, d: int, rng: np.random.Generator) -> Pair:
    """Return a pair that minimises the loss over matrices of spectral norm <= 1, by block-coordinate Frank-Wolfe.

    Step t has the length (t + 1)^-0.999; the search ends when the loss changes by less than 0.1 %, or after 500 steps.
    At the start A = B = 0, where the gradient is 0 too: the first direction of A is drawn by `rng`.
    """
    everything = float(np.vdot(k_q, k_x))
    k_xq = k_x @ k_q
    a = b = np.zeros((d, len(k_x)))
    before = everything
    for step in range(STEPS):
        share = (step + 1.0) ** -STEP_EXPONENT
        gradient = b @ k_x @ b.T @ a @ k_q - b @ k_xq if step else rng.standard_normal(a.shape)
        a = (1 - share) * a + share * _nearest_orthonormal(-gradient)
        gradient = a @ k_q @ a.T @ b @ k_x - a @ k_xq.T
        b = (1 - share) * b + share * _nearest_orthonormal(-gradient)
        now = _loss(a, b, k_q, k_x, everything)
        if abs(before - now) <= TOLERANCE * abs(before):
            break
        before = now
    return a, b


def closed_form(k_q: Matrix, k_x: Matrix, d: int) -> Pair:
    r"""Return the pair with the least loss of all pairs of rank d, by Eckart and Young.

    With :math:`W = K_q^{1/2}` and U, :math:`\Lambda` the leading eigenvectors and values of :math:`W K_x W`:
    :math:`A = \Lambda^{1/4} U^T W^{-1}`, :math:`B = \Lambda^{-1/4} U^T W`. `k_q` must be positive definite.
    The directions are ordered, so fewer can be taken later.

    The paper has no :math:`\Lambda`; it leaves :math:`A^T B` as it is and makes :math:`E[(Aq)_i^2] = E[(Bx)_i^2]`. Of
    all scalings of the directions this one loses least when B x is rounded in equal steps: the error is the product of
    both sums, which Cauchy-Schwarz bounds from below. Queries like the data make B the principal directions.
    """
    values, vectors = np.linalg.eigh(k_q)
    root = np.sqrt(values)
    whiten = (vectors * root) @ vectors.T
    product = whiten @ k_x @ whiten
    u = _leading(product, d)
    spread = np.einsum("ij,jk,ik->i", u, product, u, optimize=True)
    if spread.max() > 0:
        scale = np.maximum(spread, _SMALLEST_SPREAD * spread.max())[:, None] ** 0.25
    else:
        scale = np.ones((d, 1))
    return scale * (u @ (vectors / root) @ vectors.T), u @ whiten / scale


def _loss(a: Matrix, b: Matrix, k_q: Matrix, k_x: Matrix, everything: float) -> float:
    return float(np.vdot(a @ k_q @ a.T, b @ k_x @ b.T) - 2 * np.vdot(a @ k_q, b @ k_x) + everything)


def _leading(symmetric: Matrix, d: int) -> Matrix:
    """Return the d leading eigenvectors as rows, each with its largest entry positive."""
    # All of them: LAPACK's search for a few returns none at times, where eigenvalues are equal.
    rows = np.linalg.eigh(symmetric)[1].T[::-1][:d]
    largest = rows[np.arange(d), np.abs(rows).argmax(axis=1)]
    return rows * np.where(largest < 0, -1.0, 1.0)[:, None]


def _nearest_orthonormal(matrix: Matrix) -> Matrix:
    u, _, v = svd(matrix, full_matrices=False)
    return u @ v
