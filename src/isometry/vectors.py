"""The three shapes of an embedding, and the checks at the border.

======== ============================== ======================================================
shape    in memory                      in Arrow
======== ============================== ======================================================
dense    ``(n, d)`` float32 array       ``fixed_size_list<float32>[d]``
sparse   ``(n, vocabulary)`` CSR array  ``struct<indices: list<int32>, values: list<float32>>``
multi    `MultiVectors`                 ``list<fixed_size_list<float32>[d]>``
======== ============================== ======================================================

Every function below takes any of the three and keeps its shape. Everything else in the library trusts what the
``as_*`` functions let through: right shape, float32, finite, contiguous.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from isometry.errors import DimensionMismatch, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from scipy.sparse import csr_array

    Vectors: TypeAlias = "NDArray[np.float32] | csr_array | MultiVectors"

__all__ = [
    "MultiVectors",
    "as_dense",
    "as_multi",
    "as_sparse",
    "concat",
    "from_arrow",
    "is_plain",
    "sparse_rows",
    "take",
    "to_arrow",
]


class MultiVectors:
    """A batch of items with several vectors each (one per token, patch or passage).

    Parameters
    ----------
    tokens : (t, d) array of float
        The vectors of all items, one item after another.
    offsets : (n + 1,) array of int
        Item ``i`` owns ``tokens[offsets[i]:offsets[i + 1]]``; starts at 0, never decreases, ends at t.

    Raises
    ------
    InvalidInput
        Offsets that do not describe the tokens; tokens with NaN or infinity.

    Examples
    --------
    >>> batch = MultiVectors.from_list([np.ones((2, 3)), np.zeros((0, 3)), np.ones((1, 3))])
    >>> len(batch), batch.dim, batch[0].shape, batch[1:].lengths.tolist()
    (3, 3, (2, 3), [0, 1])
    """

    __slots__ = ("offsets", "tokens")

    def __init__(self, tokens: Any, offsets: Any) -> None:
        self.tokens: NDArray[np.float32] = as_dense(tokens, name="tokens")
        self.offsets: NDArray[np.int64] = _as_offsets(offsets, len(self.tokens))

    @classmethod
    def from_list(cls, items: Sequence[Any], dim: int | None = None) -> MultiVectors:
        """Join per-item ``(t_i, d)`` arrays; `dim` is needed only when there is no item."""
        if len(items) == 0:
            if dim is None:
                raise InvalidInput("no items and no dim: the number of dimensions is unknown; pass dim=")
            return cls(np.zeros((0, dim), np.float32), [0])
        parts = [as_dense(item, dim=dim, name=f"items[{i}]") for i, item in enumerate(items)]
        for i, part in enumerate(parts):
            _check_dim(part.shape[1], parts[0].shape[1], f"items[{i}]")
        return cls(np.concatenate(parts), np.concatenate([[0], np.cumsum([len(part) for part in parts])]))

    @property
    def dim(self) -> int:
        """Number of dimensions of each vector."""
        return self.tokens.shape[1]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of vectors of each item, shape (n,)."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """Bytes held by tokens and offsets."""
        return self.tokens.nbytes + self.offsets.nbytes

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        """One item's ``(t_i, d)`` view for an int; a `MultiVectors` for a slice, index array or mask."""
        if isinstance(key, int | np.integer):
            i = range(len(self))[key]
            return self.tokens[self.offsets[i] : self.offsets[i + 1]]
        if isinstance(key, slice) and len(run := range(len(self))[key]) and run.step == 1:
            offsets = self.offsets[run.start : run.stop + 1]
            return MultiVectors(self.tokens[offsets[0] : offsets[-1]], offsets - offsets[0])
        rows = np.arange(len(self))[key]
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return MultiVectors(self.tokens[np.repeat(self.offsets[rows], lengths) + within], offsets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MultiVectors):
            return NotImplemented
        return np.array_equal(self.offsets, other.offsets) and np.array_equal(self.tokens, other.tokens)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"MultiVectors({len(self)} items, {len(self.tokens)} vectors of {self.dim} dimensions)"


def as_dense(x: Any, dim: int | None = None, name: str = "x") -> NDArray[np.float32]:
    """Return `x` as a contiguous, finite ``(n, d)`` float32 array, without a copy where it is one already.

    Parameters
    ----------
    x : array-like of float, (n, d)
        A single vector must be passed as ``x[None]``. Float64, float16 and integers are converted; objects, strings,
        booleans and complex numbers are refused, and so is a value that float32 can't hold.
    dim : int, optional
        Expected d.
    name : str
        What to call `x` in an error.

    Raises
    ------
    DimensionMismatch
        d is not `dim`.
    InvalidInput
        Not a 2-D array of numbers, no columns, NaN or infinity (the first bad row is named).
    """
    array = _as_numbers(x, name)
    if array.ndim != 2:
        hint = f"; for one vector pass {name}[None]" if array.ndim == 1 else ""
        raise InvalidInput(f"{name} has shape {array.shape}; expected two axes (n, d){hint}")
    if array.shape[1] == 0:
        raise InvalidInput(f"{name} has shape {array.shape}; expected at least one dimension per vector")
    if dim is not None:
        _check_dim(array.shape[1], dim, name)
    _check_finite(array, name)
    return array


def is_plain(x: Any, dim: int | None) -> TypeGuard[NDArray[np.float32]]:
    """Whether `as_dense` would return `x` as it is, unless it holds NaN or infinity: a look at its form alone."""
    return (
        type(x) is np.ndarray and x.dtype == np.float32 and x.ndim == 2 and x.flags.c_contiguous and x.shape[1] == dim
    )


def as_sparse(x: Any, dim: int | None = None, name: str = "x") -> csr_array:
    """Return `x` as a canonical CSR array of float32: sorted columns, duplicates added up, explicit zeros dropped.

    Parameters
    ----------
    x : SciPy sparse array or matrix, (n, vocabulary)
    dim : int, optional
        Expected vocabulary size.
    name : str
        What to call `x` in an error.

    Raises
    ------
    DimensionMismatch, InvalidInput
        As `as_dense`; also for a CSR whose index arrays point outside its shape.
    """
    from scipy.sparse import csr_array, issparse

    if not issparse(x) or x.ndim != 2:
        raise InvalidInput(f"{name} is {type(x).__name__}; expected a two-axis SciPy sparse array")
    if dim is not None:
        _check_dim(x.shape[1], dim, name)
    if x.format == "csr":
        try:
            x.check_format(full_check=True)
        except ValueError as error:
            raise InvalidInput(f"{name} is not a valid CSR array: {error}") from None
    values = _as_numbers(x.data, f"{name}.data")
    finite = np.isfinite(values)
    if not finite.all():
        raise InvalidInput(f"{name} has {np.sum(~finite)} values that are NaN or infinite; remove them")
    if x.format == "csr" and x.has_canonical_format and values.all():
        if values is x.data and isinstance(x, csr_array) and x.indices.dtype == np.int32:
            return x
        return csr_array((values, x.indices, x.indptr), shape=x.shape)
    result = csr_array(x, dtype=np.float32, copy=True)
    result.sum_duplicates()
    result.eliminate_zeros()
    return result


def as_multi(x: Any, dim: int | None = None, name: str = "x") -> MultiVectors:
    """Return `x` as `MultiVectors`: as it is, or joined from a sequence of ``(t_i, d)`` arrays.

    Raises
    ------
    DimensionMismatch, InvalidInput
        As `as_dense`.
    """
    if not isinstance(x, MultiVectors):
        if isinstance(x, np.ndarray) and x.dtype != object and x.ndim != 3:
            raise InvalidInput(f"{name} has shape {x.shape}; expected MultiVectors or a sequence of (t_i, d) arrays")
        try:
            items = list(x)
        except TypeError:
            raise InvalidInput(f"{name} is {type(x).__name__}; expected MultiVectors or a sequence of arrays") from None
        x = MultiVectors.from_list(items, dim=dim)
    if dim is not None:
        _check_dim(x.dim, dim, name)
    return x


def take(x: Vectors, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Vectors:
    """Return the given rows (index array, boolean mask or slice) in the given order, in the shape of `x`."""
    return x[rows]


def concat(parts: Sequence[Vectors]) -> Vectors:
    """Return all rows of `parts`, one part after another.

    Raises
    ------
    InvalidInput
        No parts, or parts of unlike shape.
    DimensionMismatch
        Parts of unlike dimension.
    """
    if len(parts) == 0:
        raise InvalidInput("nothing to concatenate: pass at least one batch of vectors")
    kinds = {_kind(part) for part in parts}
    if len(kinds) > 1:
        raise InvalidInput(f"can't concatenate {' and '.join(sorted(kinds))} vectors; convert them to one shape first")
    for i, part in enumerate(parts):
        _check_dim(_dim(part), _dim(parts[0]), f"parts[{i}]")
    multi = [part for part in parts if isinstance(part, MultiVectors)]
    if multi:
        starts = np.cumsum([0, *(len(part.tokens) for part in multi)])
        offsets = [part.offsets[1:] + start for part, start in zip(multi, starts, strict=False)]
        return MultiVectors(np.concatenate([part.tokens for part in multi]), np.concatenate([[0], *offsets]))
    dense = [part for part in parts if isinstance(part, np.ndarray)]
    if dense:
        return np.concatenate(dense)
    from scipy.sparse import vstack

    return vstack(parts, format="csr", dtype=np.float32)


def to_arrow(x: Vectors) -> pa.Array:
    """Return `x` as an Arrow array of n rows (types in the module's table); dense and sparse values are not copied."""
    import pyarrow as pa

    if isinstance(x, MultiVectors):
        return pa.ListArray.from_arrays(_int32(x.offsets, "vectors in one batch"), to_arrow(x.tokens))
    if isinstance(x, np.ndarray):
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(x, np.float32).reshape(-1)), x.shape[1])
    offsets = _int32(x.indptr, "non-zeros in one batch")
    indices = pa.ListArray.from_arrays(offsets, _int32(x.indices, "columns"))
    values = pa.ListArray.from_arrays(offsets, pa.array(x.data, pa.float32()))
    return pa.StructArray.from_arrays([indices, values], names=["indices", "values"])


def from_arrow(array: pa.Array | pa.ChunkedArray, dim: int | None = None, name: str = "vectors") -> Vectors:
    """Read vectors from Arrow: the inverse of `to_arrow`; also a plain ``list<float>`` and a ``map<int, float>``.

    Parameters
    ----------
    array : Arrow array or chunked array
        The types of the module's table, with any float width. A ``list<float>`` whose rows are all equally long reads
        as dense, a ``map<int, float>`` as sparse.
    dim : int, optional
        Expected d; required for sparse (Arrow does not store the size of the vocabulary).
    name : str
        What to call the column in an error.

    Raises
    ------
    InvalidInput, DimensionMismatch
        Null rows or values, unequal lengths, an unsupported type, or what the ``as_*`` functions refuse.
    """
    import pyarrow as pa

    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if array.null_count:
        row = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0]
        raise InvalidInput(f"{name} has {array.null_count} null rows, first at row {row}; every row needs a vector")
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        return as_dense(_flat(array, name).reshape(-1, kind.list_size), dim, name)
    if pa.types.is_map(kind):
        entries = slice(array.offsets[0].as_py(), array.offsets[-1].as_py())
        return _csr(array.offsets, array.keys[entries], array.items[entries], dim, name)
    if pa.types.is_struct(kind) and {"indices", "values"} <= {field.name for field in kind}:
        return sparse_rows(array, dim, name)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = array.value_lengths().to_numpy()
        inner = kind.value_type
        if pa.types.is_fixed_size_list(inner):
            tokens = _flat(array.flatten(), name).reshape(-1, inner.list_size)
            return as_multi(MultiVectors(tokens, np.concatenate([[0], np.cumsum(lengths)])), dim, name)
        if pa.types.is_floating(inner) or pa.types.is_integer(inner):
            width = int(lengths[0]) if len(lengths) else (dim or 0)
            if (lengths != width).any():
                row = int(np.flatnonzero(lengths != width)[0])
                raise DimensionMismatch(f"{name} has {lengths[row]} dimensions in row {row} but {width} in row 0")
            return as_dense(_flat(array, name).reshape(len(array), width), dim, name)
    raise InvalidInput(
        f"{name} has the Arrow type {kind}; expected fixed_size_list<float> (dense), list<fixed_size_list<float>> "
        "(multi), or struct<indices, values> or map<int, float> (sparse)"
    )


def sparse_rows(array: pa.Array, dim: int | None, name: str = "vectors") -> csr_array:
    """Read a struct array with the fields ``indices`` and ``values``; a null row has no values.

    Raises
    ------
    InvalidInput, DimensionMismatch
        As `from_arrow`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    indices, values = pc.struct_field(array, "indices"), pc.struct_field(array, "values")
    lengths, others = (part.value_lengths().fill_null(0) for part in (indices, values))
    if not lengths.equals(others):
        raise InvalidInput(f"{name} has rows with unlike numbers of indices and values")
    offsets = np.concatenate([[0], np.cumsum(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)])
    return _csr(pa.array(offsets), indices.flatten(), values.flatten(), dim, name)


def _kind(x: Vectors) -> str:
    if isinstance(x, MultiVectors):
        return "multi"
    return "dense" if isinstance(x, np.ndarray) else "sparse"


def _dim(x: Vectors) -> int:
    return x.dim if isinstance(x, MultiVectors) else x.shape[1]


def _as_numbers(x: Any, name: str) -> NDArray[np.float32]:
    try:
        array = np.asarray(x)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{name} can't be read as an array of numbers: {error}") from None
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise InvalidInput(f"{name} has dtype {array.dtype}; expected real numbers (float32 is stored)")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def _check_dim(seen: int, expected: int, name: str) -> None:
    if seen != expected:
        raise DimensionMismatch(f"{name} has {seen} dimensions; expected {expected}")


def _check_finite(array: NDArray[np.float32], name: str, block_rows: int = 4096) -> None:
    for start in range(0, len(array), block_rows):
        block = array[start : start + block_rows]
        if not np.isfinite(block).all():
            row = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            count = int(
                sum(
                    (~np.isfinite(array[i : i + block_rows]).all(axis=1)).sum()
                    for i in range(start, len(array), block_rows)
                )
            )
            raise InvalidInput(
                f"{name} has {count} rows with NaN, infinity or values beyond float32, first at row {row}; "
                "drop or repair those rows"
            )


def _as_offsets(offsets: Any, n_tokens: int) -> NDArray[np.int64]:
    array = np.asarray(offsets)
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) == 0:
        raise InvalidInput(f"offsets have dtype {array.dtype} and shape {array.shape}; expected integers (n + 1,)")
    array = np.ascontiguousarray(array, dtype=np.int64)
    if array[0] != 0 or array[-1] != n_tokens or (np.diff(array) < 0).any():
        raise InvalidInput(
            f"offsets run from {array[0]} to {array[-1]} for {n_tokens} tokens; "
            "expected to start at 0, never decrease, and end at the number of tokens"
        )
    return array


def _int32(values: NDArray[Any], what: str) -> pa.Array:
    import pyarrow as pa

    if len(values) and values.max() > np.iinfo(np.int32).max:
        raise InvalidInput(f"{values.max()} {what} is more than Arrow's 32-bit lists hold; use smaller batches")
    return pa.array(values.astype(np.int32, copy=False))


def _flat(array: pa.Array, name: str) -> NDArray[Any]:
    values = array.flatten()
    if values.null_count:
        raise InvalidInput(f"{name} has {values.null_count} null values inside vectors; replace or drop them")
    return values.to_numpy(zero_copy_only=False)


def _csr(offsets: pa.Array, indices: pa.Array, values: pa.Array, dim: int | None, name: str) -> csr_array:
    import pyarrow as pa
    from scipy.sparse import csr_array

    if dim is None:
        raise InvalidInput(f"{name} is sparse and Arrow does not store the size of the vocabulary; pass dim=")
    if indices.null_count or values.null_count:
        raise InvalidInput(f"{name} has null indices or values; drop them")
    if not pa.types.is_integer(indices.type) and len(indices):
        raise InvalidInput(f"{name} has indices of the Arrow type {indices.type}; expected integers")
    if not len(indices):  # of a type that says nothing, where every row is empty
        indices, values = pa.array([], pa.int32()), pa.array([], pa.float32())
    starts = offsets.to_numpy()
    columns = indices.to_numpy()
    if len(columns) and (columns.min() < 0 or columns.max() >= dim):
        raise DimensionMismatch(f"{name} has columns from {columns.min()} to {columns.max()}; expected 0 to {dim - 1}")
    data = (values.to_numpy(), columns, starts - starts[0])
    return as_sparse(csr_array(data, shape=(len(starts) - 1, dim)), dim, name)
