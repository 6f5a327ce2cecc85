"""The forward index: sparse rows in a compact form, of which any one can be read at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from isometry.errors import TooLarge, check_choice
from isometry.indexes.levels import frozen

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from isometry.kernels.sparse import SparseRows
    from isometry.storage import Folder

__all__ = ["Forward", "Terms", "Values"]

Values = Literal["float16", "uint8"]
VALUES: tuple[Values, ...] = ("float16", "uint8")
_CHUNK = 16
_VALUE_BYTES = {"float16": 2, "uint8": 1}
_TOP_EXPONENT = 15
_TABLE_PER_TERM, _SMALL_TABLE = 16, 2**17


class Terms:
    """The terms that occur, numbered from 0: often ones first, so that what a query is spread over stays in the cache.

    Attributes
    ----------
    columns : (t,) int64
        The column that a number stands for.
    """

    def __init__(self, columns: NDArray[np.int64]) -> None:
        self.columns = columns
        self._numbers = np.argsort(columns, kind="stable").astype(np.int32)
        self._ascending = columns[self._numbers]
        # A vocabulary's columns are looked up in a table; hashes of words, say, are searched for.
        last = int(self._ascending[-1]) if len(columns) else 0
        self._table: NDArray[np.int32] | None = None
        if last < _TABLE_PER_TERM * len(columns) + _SMALL_TABLE:
            self._table = np.full(last + 2, -1, np.int32)
            self._table[self._ascending] = self._numbers

    @classmethod
    def of(cls, x: csr_array) -> Terms:
        """Number the columns of a matrix by how often they occur, equally frequent ones in their order."""
        columns, counts = np.unique(x.indices, return_counts=True)
        return cls(columns[np.argsort(-counts, kind="stable")].astype(np.int64))

    def __len__(self) -> int:
        return len(self.columns)

    def numbers(self, columns: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the numbers of columns; -1 for those that do not occur."""
        if self._table is not None:
            return self._table[np.minimum(columns, len(self._table) - 1)]
        places = np.searchsorted(self._ascending, columns).clip(max=len(self) - 1)
        return np.where(self._ascending[places] == columns, self._numbers[places], np.int32(-1)).astype(np.int32)

    def renumbered(self, x: csr_array) -> csr_array:
        """Return a matrix with a column per number, whose rows are in the order of the numbers; it holds no others."""
        from scipy.sparse import csr_array

        shape = x.shape[0], max(1, len(self))
        out = csr_array((x.data.copy(), self.numbers(x.indices), x.indptr), shape=shape)
        out.sort_indices()  # in place
        return out


class Forward:
    """Compact rows: chunks of sixteen entries, see `isometry.kernels.sparse`.

    Parameters
    ----------
    rows : SparseRows
    n_terms : int

    Notes
    -----
    Terms take 2 bytes where there are at most 65,536, else 4. Values are float16 or one of 255 steps, times a scale of
    the row: of float16, the power of two that brings the row's largest weight below 2^15, so that nothing is clipped
    and weights down to 2^-29 of the largest keep 11 significant bits; of uint8, 1/255 of the row's largest weight. No
    weight becomes 0.
    """

    def __init__(self, rows: SparseRows, n_terms: int) -> None:
        self.rows = rows
        self.n_terms = n_terms

    @classmethod
    def of(cls, x: csr_array, values: Values = "float16") -> Forward:
        """Pack the rows of a CSR matrix whose columns are numbers of terms."""
        from isometry.kernels.sparse import SparseRows

        check_choice("values", values, VALUES)
        n, n_terms = x.shape
        lengths = np.diff(x.indptr).astype(np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(-(-lengths // _CHUNK))])
        if starts[-1] >= 2**32:
            raise TooLarge(f"{x.nnz} weights are more than one forward index holds: use several indexes")
        largest = np.zeros(n, np.float32)
        filled = lengths > 0
        if filled.any():
            largest[filled] = np.maximum.reduceat(x.data, x.indptr[:-1][filled].astype(np.int64))
        wide = n_terms > 2**16
        term_bytes, number = (64, np.dtype("<u4")) if wide else (32, np.dtype("<u2"))
        chunks = np.zeros((int(starts[-1]), term_bytes + _CHUNK * _VALUE_BYTES[values]), np.uint8)
        scales = _scales(largest, values)
        terms_out, values_out = chunks[:, :term_bytes].view(number), chunks[:, term_bytes:]
        for first in range(0, n, 65536):
            last = min(first + 65536, n)
            part = slice(int(x.indptr[first]), int(x.indptr[last]))
            of_row = np.repeat(np.arange(first, last), lengths[first:last])
            place = starts[of_row] * _CHUNK + np.arange(part.start, part.stop) - x.indptr[of_row]
            at = place // _CHUNK, place % _CHUNK
            terms_out[at] = x.indices[part]
            quotients = x.data[part] / scales[of_row]
            if values == "uint8":
                values_out[at] = np.rint(quotients).clip(1, 255)
            else:
                values_out.view("<f2")[at] = np.maximum(quotients, np.float32(2.0**-24))
        return cls(SparseRows(frozen(chunks), frozen(starts.astype(np.uint32)), frozen(scales)), n_terms)

    def __len__(self) -> int:
        return len(self.rows.scales)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        return sum(array.nbytes for array in self.rows)

    @property
    def values(self) -> Values:
        """What a value is kept as."""
        return "uint8" if self.rows.chunks.shape[1] % 32 else "float16"

    def decoded(self) -> csr_array:
        """Return the rows as they are scored: CSR, float32, columns ascending."""
        from scipy.sparse import csr_array

        chunks, starts, scales = self.rows.chunks, self.rows.starts, self.rows.scales
        term_bytes = 64 if chunks.shape[1] > 64 else 32
        terms = chunks[:, :term_bytes].view(f"<u{term_bytes // _CHUNK}").reshape(-1)
        stored = chunks[:, term_bytes:] if self.values == "uint8" else chunks[:, term_bytes:].view("<f2")
        bounds = starts.astype(np.int64) * _CHUNK
        weights = stored.reshape(-1).astype(np.float32) * np.repeat(scales, bounds[1:] - bounds[:-1])
        present = weights != 0
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(present)])[bounds]
        return csr_array((weights[present], terms[present].astype(np.int64), indptr), shape=(len(self), self.n_terms))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays to save."""
        return {f"row_{name}": array for name, array in self.rows._asdict().items()}

    @classmethod
    def from_folder(cls, folder: Folder, n_terms: int) -> Forward:
        """Return the rows that were saved, checked: kernels trust what they are given."""
        from isometry.kernels.sparse import SparseRows

        chunks = folder.array("row_chunks", np.uint8, (None, None))
        scales = folder.array("row_scales", np.float32, (None,))
        starts = folder.array("row_starts", np.uint32, (len(scales) + 1,))
        wide = n_terms > 2**16
        if chunks.shape[1] not in ((80, 96) if wide else (48, 64)):
            raise folder.damaged(f"array 'row_chunks' is {chunks.shape[1]} bytes wide")
        if starts[0] != 0 or starts[-1] != len(chunks) or (starts[1:] < starts[:-1]).any():
            raise folder.damaged(f"array 'row_starts' does not cut {len(chunks)} chunks into rows")
        if not (np.isfinite(scales) & (scales >= 0)).all():
            raise folder.damaged("array 'row_scales' holds what is no scale")
        terms = chunks[:, : 64 if wide else 32].view("<u4" if wide else "<u2")
        largest = max((int(terms[i : i + 2**16].max()) for i in range(0, len(terms), 2**16)), default=0)
        if largest >= max(1, n_terms):
            raise folder.damaged(f"array 'row_chunks' leads to term {largest}, beyond 0 to {n_terms - 1}")
        return cls(SparseRows(frozen(chunks), frozen(starts), frozen(scales)), n_terms)


def _scales(largest: NDArray[np.float32], values: Values) -> NDArray[np.float32]:
    """Return the scale of each row by its largest weight."""
    if values == "uint8":
        scales = largest / np.float32(255)
    else:
        scales = np.ldexp(np.float32(1), np.frexp(largest)[1] - _TOP_EXPONENT).astype(np.float32)
    return np.where(largest > 0, np.maximum(scales, np.finfo(np.float32).tiny), np.float32(1)).astype(np.float32)
