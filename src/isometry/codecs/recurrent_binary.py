"""Recurrent binarisation: a few bits per coordinate, each for what the bits before it left over."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from isometry.codecs.base import CodecBase
from isometry.errors import DimensionMismatch, check_range
from isometry.estimators import LARGEST, Freezable, check_vectors, generator, one_blas_thread
from isometry.kernels.project import project
from isometry.kernels.rows import BitRows, NibbleRows, PlaneRows, code_bytes, pack_nibbles, pack_planes, padded_copy
from isometry.vectors import as_dense

__all__ = ["Block", "RecurrentBinary", "flat_weights", "split_weights"]

_HEADER = 4
_TURNS = 20
_RIDGE = 1e-3
_LAYOUTS: dict[int, type[BitRows] | type[NibbleRows]] = {1: BitRows, 4: NibbleRows}
_SPREADS = {1: 1.0, 2: 1.0, 3: 0.853, 4: 0.746}
"""Deviation of a coordinate, by bits, for which evenly spaced codes lose least of a normal distribution."""
_SMALLEST = np.float32(2.0**-100)


class Block(NamedTuple):
    r"""A map :math:`y = A x + b + O\,relu(H x + c)`; without a hidden layer H, c and O are empty."""

    matrix: NDArray[np.float32]
    bias: NDArray[np.float32]
    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    output: NDArray[np.float32]

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (n, out) for rows (n, in), each depending on its row alone."""
        y = project(x, self.matrix) + self.bias
        if len(self.hidden_bias):
            y += project(np.maximum(project(x, self.hidden) + self.hidden_bias, 0), self.output)
        return y


class RecurrentBinary(Freezable, CodecBase):
    r"""Codes of B bits per coordinate for the direction of a vector, by a small network, and its length.

    With x of length 1, :math:`b_0 = sign(W x)`. Each further bit looks at what is missing: :math:`r_t = sign(R_t(x -
    f_t))` with :math:`f_t = B_t(b_{t-1})`, and :math:`b_t = b_{t-1} + 2^{-t} r_t`. So a coordinate is one of
    :math:`2^B` evenly spaced numbers. **Queries are coded as vectors are**, and scores are
    :math:`\|q\| \|x\| \cos(b_q, b_x)`, products of whole numbers.

    `fit` finds linear maps in closed form, without torch: a sound start. `isometry.learning.BEBR` trains them on pairs,
    and adds hidden layers.

    Parameters
    ----------
    width : int, optional
        m, the number of coordinates; by default d.
    bits : int, default 2
        B, from 1 to 4. One bit is a plain hash.
    max_samples : int, default 32_768
        At most this many rows, drawn without replacement, are learned from.
    random_state : int, RandomState or None, default 0

    Attributes
    ----------
    weights_ : (p,) float32
        All blocks one after another: W, then a :math:`B_t` and an :math:`R_t` for each further bit, then what decodes.
        `split_weights` takes them apart.
    hidden_ : int
        Width of the hidden layers, 0 after `fit`.
    mean_ : (d,) float32
        Zeros: blocks have a bias of their own.
    nbytes_per_vector_ : int
        4, and m B / 8, in which m is rounded up to a multiple of 64 (of 32 for 4 bits).
    n_features_in_ : int
        d.

    Notes
    -----
    `fit` costs :math:`O(n\,d^2 + n\,d\,m)` for a few turns, `transform` and `queries` 2 B - 1 blocks,
    :math:`O(d\,m)` each (:math:`O(h\,(d + m))` more with hidden layers). sign(0) is +1.

    Scores compare codes with codes. So unlike those of other codecs they are not products with `inverse_transform`,
    which asks one more block for the vector that is likely behind a code.

    Codes are bytes ``[scale float32, codes]``, little-endian: a value is scale * (2 code - 2^B + 1).

    Differences from the paper: every block has a linear path beside the hidden layer, which is where training starts
    from; no batch normalisation, and :math:`f_t` is not brought to length 1; the length of a vector is kept, so inner
    products can be compared too.

    References
    ----------
    Gan et al., Binary embedding-based retrieval at Tencent, KDD 2023, arXiv:2302.08714. The start is the rotation of
    Gong, Lazebnik, Iterative quantization, CVPR 2011.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((1000, 32), dtype=np.float32)
    >>> x /= np.linalg.norm(x, axis=1, keepdims=True)
    >>> for bits in (1, 2, 3, 4):
    ...     codec = RecurrentBinary(bits=bits).fit(x)
    ...     codes = codec.transform(x)
    ...     values = codec.queries(x)
    ...     print(codes.shape[1], f"{np.abs(values[:100] @ values.T - x[:100] @ x.T).mean():.3f}")
    12 0.111
    20 0.062
    28 0.035
    20 0.020
    """

    spec_name: ClassVar[str] = "RecurrentBinary"
    spec_fields: ClassVar[tuple[str, ...]] = ("width", "bits")
    maps_queries: ClassVar[bool] = True

    weights_: NDArray[np.float32]
    hidden_: int

    def __init__(
        self, width: int | None = None, bits: int = 2, *, max_samples: int = 32_768, random_state: Any = 0
    ) -> None:
        self.width = width
        self.bits = bits
        self.max_samples = max_samples
        self.random_state = random_state

    @one_blas_thread
    def fit(self, X: Any, y: Any = None) -> Self:
        """Find linear blocks from vectors (n, d).

        Raises
        ------
        InvalidInput
            NaN, infinity, no rows, not two axes, or a parameter out of its range.
        """
        if self._stays(X):
            return self
        x = check_vectors(self, X, reset=True)
        d = x.shape[1]
        m = d if self.width is None else check_range("width", self.width, 1, 2**16)
        bits = check_range("bits", self.bits, 1, 4)
        check_range("max_samples", self.max_samples, 1)
        rng = generator(self.random_state)
        rows = x[rng.permutation(len(x))[: int(self.max_samples)]]
        z, _ = directions(rows)
        self.mean_ = np.zeros(d, np.float32)
        self.hidden_ = 0
        self.weights_ = flat_weights(_linear_blocks(z.astype(np.float64), m, bits, rng))
        self.nbytes_per_vector_ = _HEADER + _packed_bytes(m, bits)
        return self

    @property
    def n_values(self) -> int:
        """Coordinates of a code: m."""
        return self.n_features_in_ if self.width is None else int(self.width)

    def blocks(self) -> list[Block]:
        """Return the blocks: W, then a B_t and an R_t for each further bit, then what decodes."""
        return split_weights(self.weights_, self.n_features_in_, self.n_values, int(self.bits), int(self.hidden_))

    def numbers(self, x: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return the codes of vectors (n, d) as odd whole numbers (n, m): :math:`2^{B-1} b`."""
        z, _ = directions(x)
        blocks = self.blocks()
        total = _signs(blocks[0](z))
        for t in range(1, int(self.bits)):
            near = blocks[2 * t - 1](total.astype(np.float32) * np.float32(2.0 ** (1 - t)))
            total = (2 * total + _signs(blocks[2 * t](z - near))).astype(np.int8)
        return total

    @one_blas_thread
    def carried_over(self, old: Any, new: Any) -> RecurrentBinary:
        """Return a frozen codec for vectors of another space, whose codes are about those that this one gives.

        A linear map from that space is found by least squares, and put before the blocks. It is where training goes on
        from when an encoder changes: see `isometry.learning.BEBR`.

        Parameters
        ----------
        old, new : (n, d) and (n, d') float
            The same items in this codec's space, and in the other one.

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another d than that of `fit`, other numbers of rows, NaN, infinity, not two axes.
        """
        check_is_fitted(self)
        mine, theirs = (directions(as_dense(x, name=name))[0] for x, name in ((old, "old"), (new, "new")))
        if len(mine) != len(theirs) or mine.shape[1] != self.n_features_in_:
            raise DimensionMismatch(
                f"old vectors are {mine.shape} and new ones {theirs.shape}; expected as many of both, the old ones "
                f"with {self.n_features_in_} dimensions"
            )
        found_map = _regression(theirs.astype(np.float64), mine.astype(np.float64))
        there, shift = (part.astype(np.float32) for part in found_map)
        back = np.linalg.pinv(there).astype(np.float32)
        blocks = []
        for number, block in enumerate(self.blocks()):
            if number % 2 == 0 and number < 2 * int(self.bits) - 1:  # W and all R_t, which read vectors
                moved = shift if number == 0 else np.zeros_like(shift)
                blocks.append(
                    Block(
                        block.matrix @ there,
                        block.bias + block.matrix @ moved,
                        block.hidden @ there,
                        block.hidden_bias + block.hidden @ moved,
                        block.output,
                    )
                )
            else:
                blocks.append(
                    block._replace(
                        matrix=back @ block.matrix, bias=back @ (block.bias - shift), output=back @ block.output
                    )
                )
        found = RecurrentBinary(self.n_values, self.bits, max_samples=self.max_samples, random_state=self.random_state)
        found.n_features_in_ = theirs.shape[1]
        found.mean_ = np.zeros(theirs.shape[1], np.float32)
        found.hidden_, found.nbytes_per_vector_ = self.hidden_, self.nbytes_per_vector_
        found.weights_ = flat_weights(blocks)
        return found.freeze()

    def queries(self, q: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values of the codes of queries (nq, d): (nq, m), as long as the queries."""
        array = np.ascontiguousarray(q, np.float32)
        numbers = self.numbers(array)
        return _scales(array, numbers)[:, None] * numbers

    def inverse_transform(self, X: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return vectors (n, d), as long as those that were encoded, that look where those are likely to have looked.

        Raises
        ------
        InvalidInput
            Not (n, nbytes_per_vector_) bytes.
        """
        from isometry.kernels.rows import values_of

        values = values_of(self.fine_rows(X), self.n_values).astype(np.float64)
        largest = np.abs(values).max(axis=1, keepdims=True, initial=0)  # (2^B - 1) scales
        scale = np.ascontiguousarray(np.asarray(X)[:, :_HEADER]).view("<f4").astype(np.float64)
        odd = np.divide(values, scale, out=np.zeros_like(values), where=largest > 0)
        unit = self.blocks()[-1]((odd / 2 ** (int(self.bits) - 1)).astype(np.float32))
        length = scale * np.sqrt(np.square(odd).sum(axis=1, keepdims=True))
        found = _lengths_one(unit).astype(np.float64) * length
        return np.clip(found, -2 * LARGEST, 2 * LARGEST).astype(np.float32)

    def fine_rows(self, codes: NDArray[np.uint8]) -> BitRows | NibbleRows | PlaneRows:
        """Return codes (n, nbytes_per_vector_) as a layout of `isometry.kernels.rows`: a copy."""
        array = self._checked_codes(codes)
        scale = np.ascontiguousarray(array[:, :_HEADER]).view("<f4").astype(np.float32, copy=False)
        constants = np.concatenate([2 * scale, scale * np.float32(1 - 2 ** int(self.bits))], axis=1)
        return _LAYOUTS.get(int(self.bits), PlaneRows)(padded_copy(array[:, _HEADER:]), padded_copy(constants))

    def _encode(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        bits, numbers = int(self.bits), self.numbers(x)
        codes = ((numbers.astype(np.int16) + 2**bits - 1) // 2).astype(np.uint8)
        out = np.empty((len(x), self.nbytes_per_vector_), np.uint8)
        out[:, :_HEADER] = _scales(x, numbers)[:, None].astype("<f4").view(np.uint8)
        out[:, _HEADER:] = pack_nibbles(codes) if bits == 4 else pack_planes(codes, bits)
        return out


def split_weights(weights: NDArray[np.float32], d: int, m: int, bits: int, hidden: int) -> list[Block]:
    """Return the blocks that `flat_weights` put in one array.

    Raises
    ------
    ValueError
        Of other sizes.
    """
    found, at = [], 0
    for n_in, n_out in [(d, m), *[(m, d), (d, m)] * (bits - 1), (m, d)]:
        parts = []
        for shape in ((n_out, n_in), (n_out,), (hidden, n_in), (hidden,), (n_out, hidden)):
            size = int(np.prod(shape, dtype=np.int64))
            parts.append(weights[at : at + size].reshape(shape))
            at += size
        found.append(Block(*parts))
    if at != len(weights):
        raise ValueError(f"{len(weights)} weights; expected {at}")
    return found


def flat_weights(blocks: list[Block]) -> NDArray[np.float32]:
    """Return all numbers of blocks in one array (p,)."""
    return np.concatenate([np.asarray(part, np.float32).ravel() for block in blocks for part in block])


def directions(x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return rows of length 1, and their lengths; a row of zeros stays as it is."""
    wide = x.astype(np.float64)
    length = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    unit = np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)
    return unit.astype(np.float32), length[:, 0]


def _scales(x: NDArray[np.float32], numbers: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return by what codes must be multiplied to be as long as their vectors."""
    size = np.sqrt(np.square(numbers, dtype=np.float64).sum(axis=1))
    return (directions(x)[1] / size).astype(np.float32)


def _packed_bytes(m: int, bits: int) -> int:
    return code_bytes(m, 4) if bits == 4 else bits * code_bytes(m, 1)


def _signs(x: NDArray[np.floating[Any]]) -> NDArray[np.int8]:
    return np.where(x >= 0, np.int8(1), np.int8(-1))


def _lengths_one(x: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.sqrt(np.square(x).sum(axis=1, keepdims=True))
    return x / np.maximum(length, _SMALLEST)


def _linear_blocks(z: NDArray[np.float64], m: int, bits: int, rng: np.random.Generator) -> list[Block]:
    """Return blocks without hidden layers, which round W (z - mean) to the nearest code, coordinate by coordinate."""
    mean = z.mean(axis=0)
    turn = _SPREADS[bits] * _rotation(z - mean, m, rng)
    back = np.linalg.pinv(turn).astype(np.float64)
    coordinates = (z - mean) @ turn.T
    total = _signs(coordinates).astype(np.float64)
    blocks = [_block(turn, -turn @ mean)]
    for t in range(1, bits):
        blocks += [_block(back, mean), _block(turn, np.zeros(m))]
        total += 2.0**-t * _signs(coordinates - total @ (turn @ back).T)
    return [*blocks, _block(*_regression(total, z))]


def _block(matrix: NDArray[np.float64], bias: NDArray[np.float64]) -> Block:
    n_out, n_in = matrix.shape
    empty = np.zeros((0, n_in), np.float32), np.zeros(0, np.float32), np.zeros((n_out, 0), np.float32)
    return Block(matrix.astype(np.float32), bias.astype(np.float32), *empty)


def _rotation(z: NDArray[np.float64], m: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (m, d): orthonormal rows for the leading directions, turned by ITQ; beyond d, further random rotations.

    Scaled so that coordinates of a row have a mean square of 1.
    """
    d = z.shape[1]
    found: list[NDArray[np.float64]] = []
    for start in range(0, m, d):
        size = min(d, m - start)
        leading = np.linalg.eigh(z.T @ z)[1].T[::-1][:size]
        turn = np.linalg.qr(rng.standard_normal((size, size)))[0]
        short = z @ leading.T
        for _ in range(_TURNS if start == 0 else 0):
            u, _, v = np.linalg.svd(_signs(short @ turn.T).astype(np.float64).T @ short)
            turn = u @ v
        found.append(turn @ leading)
    rows = np.concatenate(found)
    spread = np.sqrt(np.square(z @ rows.T).mean())
    return rows / spread if spread > float(_SMALLEST) else rows


def _regression(b: NDArray[np.float64], z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the matrix and bias that make z of codes b, by ridge regression."""
    centre, mean = b.mean(axis=0), z.mean(axis=0)
    c = b - centre
    gram = c.T @ c
    gram += max(_RIDGE * np.trace(gram) / len(gram), 1e-12) * np.eye(len(gram))
    matrix = np.linalg.solve(gram, c.T @ (z - mean)).T.astype(np.float64)
    return matrix, mean - matrix @ centre
