"""How stored vectors lie in memory: one named tuple of arrays per layout, on which Numba dispatches.

Every array is C-contiguous and made by `padded`, so a kernel may read past the end of a row: what it finds there is
finite, and the query that it meets is zero. A value is what a codec's ``inverse_transform`` gives, minus the mean that
the codec holds.

====================  ==========================================  =================================================
layout                arrays                                      value of dimension j
====================  ==========================================  =================================================
`Float32Rows`         values (n, d) float32                       itself
`Float16Rows`         values (n, d) uint16                        the IEEE half whose bits they are
`BFloat16Rows`        values (n, d) uint16                        the upper half of a float32
`Float8E4M3Rows` ...  values (n, d) uint8, scales (n, 1)          scale * the float of 8 bits, which is finite
`BitRows`             codes (n, s) uint8, constants (n, 2)        step * bit + low, with step, low = constants
`ByteRows`            codes (n, s) uint8, constants (n, 2)        step * code + low, with step, low = constants
`NibbleRows`          the same with 4-bit codes, two in a byte    the same
`ByteNibbleRows` ...  codes, residuals, constants                 the same + step / levels * residual - step / 2
`PlaneRows`           codes (n, s) uint8, constants (n, 2)        step * code + low, codes of 1 to 8 bits
`SignedByteRows`      codes (n, s) uint8                          code - 128
`SignedNibbleRows`    the same with 4-bit codes, two in a byte    code - 8
`Float4Rows`          codes (n, s) uint8, scales (n, 1)           scale * the float of 4 bits
`TableRows`           codes (n, m) uint8, d = 256 m               1 where j = 256 i + code i for an i, else 0
`TurnedRows`          codes (n / `GROUP`, m, `GROUP`) uint8       the same; the last index is that of a row in its group
====================  ==========================================  =================================================

Bits: dimension 8 b + i is bit i of byte b; s is a multiple of 8. Bytes: s is d rounded up to 16. Nibbles: dimensions
are taken in blocks of 128, which fill 64 bytes: byte i of a block holds dimension i in its low half and dimension
64 + i in its high half. A last block of r < 128 dimensions fills t = 16 ceil(r / 32) bytes: dimension i low, dimension
t + i high. What pads a row is code 0. Planes: codes of B bits are B rows of bits one after another, the highest bits
first. Floats of 4 bits (e2m1) are 0, .5, 1, 1.5, 2, 3, 4 and 6, and from code 8 on the same below zero.

The query of `TableRows` is a table: 256 numbers for each byte of a row, of which it adds one. `TurnedRows` are never
stored, only kept in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "GROUP",
    "TWO_LEVELS",
    "BFloat16Rows",
    "BitRows",
    "ByteByteRows",
    "ByteNibbleRows",
    "ByteRows",
    "Float4Rows",
    "Float8E4M3Rows",
    "Float8E5M2Rows",
    "Float16Rows",
    "Float32Rows",
    "NibbleByteRows",
    "NibbleNibbleRows",
    "NibbleRows",
    "PlaneRows",
    "Rows",
    "SignedByteRows",
    "SignedNibbleRows",
    "TableRows",
    "TurnedRows",
    "TwoLevelRows",
    "code_bytes",
    "codes_of",
    "grown",
    "pack_nibbles",
    "pack_planes",
    "padded",
    "padded_copy",
    "shapes",
    "turned",
    "unpack_nibbles",
    "unpack_planes",
    "unturned",
    "values_at",
    "values_of",
]

ALIGNMENT = 64
GROUP = 32
"""Rows that lie together in `TurnedRows`."""
_BLOCK = 128


class Float32Rows(NamedTuple):
    """Plain vectors."""

    values: NDArray[np.float32]


class Float16Rows(NamedTuple):
    """Bits of IEEE half precision."""

    values: NDArray[np.uint16]


class BFloat16Rows(NamedTuple):
    """Upper halves of float32."""

    values: NDArray[np.uint16]


class Float8E4M3Rows(NamedTuple):
    """Floats of 8 bits, 4 of them exponent and 3 fraction; a scale per row."""

    values: NDArray[np.uint8]
    scales: NDArray[np.float32]


class Float8E5M2Rows(NamedTuple):
    """Floats of 8 bits, 5 of them exponent and 2 fraction; a scale per row."""

    values: NDArray[np.uint8]
    scales: NDArray[np.float32]


class BitRows(NamedTuple):
    """One bit per dimension; (step, low) per row."""

    codes: NDArray[np.uint8]
    constants: NDArray[np.float32]


class ByteRows(NamedTuple):
    """One byte per dimension; (step, low) per row."""

    codes: NDArray[np.uint8]
    constants: NDArray[np.float32]


class NibbleRows(NamedTuple):
    """Half a byte per dimension; (step, low) per row."""

    codes: NDArray[np.uint8]
    constants: NDArray[np.float32]


class NibbleNibbleRows(NamedTuple):
    """4-bit codes with 4-bit residuals."""

    codes: NDArray[np.uint8]
    residuals: NDArray[np.uint8]
    constants: NDArray[np.float32]


class NibbleByteRows(NamedTuple):
    """4-bit codes with 8-bit residuals."""

    codes: NDArray[np.uint8]
    residuals: NDArray[np.uint8]
    constants: NDArray[np.float32]


class ByteNibbleRows(NamedTuple):
    """8-bit codes with 4-bit residuals."""

    codes: NDArray[np.uint8]
    residuals: NDArray[np.uint8]
    constants: NDArray[np.float32]


class ByteByteRows(NamedTuple):
    """8-bit codes with 8-bit residuals."""

    codes: NDArray[np.uint8]
    residuals: NDArray[np.uint8]
    constants: NDArray[np.float32]


class PlaneRows(NamedTuple):
    """Codes of 1 to 8 bits, each bit in a plane of its own; (step, low) per row."""

    codes: NDArray[np.uint8]
    constants: NDArray[np.float32]


class SignedByteRows(NamedTuple):
    """One byte per dimension about 128, and nothing per row."""

    codes: NDArray[np.uint8]


class SignedNibbleRows(NamedTuple):
    """Half a byte per dimension about 8, and nothing per row."""

    codes: NDArray[np.uint8]


class Float4Rows(NamedTuple):
    """Floats of 4 bits, 2 of them exponent and 1 fraction; a scale per row."""

    codes: NDArray[np.uint8]
    scales: NDArray[np.float32]


class TableRows(NamedTuple):
    """Bytes that each choose one of 256 numbers of a query."""

    codes: NDArray[np.uint8]


class TurnedRows(NamedTuple):
    """The same, with the first bytes of `GROUP` rows one after another, then their second ones and so on."""

    codes: NDArray[np.uint8]


Rows: TypeAlias = (
    Float32Rows
    | Float16Rows
    | BFloat16Rows
    | Float8E4M3Rows
    | Float8E5M2Rows
    | BitRows
    | ByteRows
    | NibbleRows
    | NibbleNibbleRows
    | NibbleByteRows
    | ByteNibbleRows
    | ByteByteRows
    | PlaneRows
    | SignedByteRows
    | SignedNibbleRows
    | Float4Rows
    | TableRows
    | TurnedRows
)
TwoLevelRows: TypeAlias = NibbleNibbleRows | NibbleByteRows | ByteNibbleRows | ByteByteRows
TWO_LEVELS: dict[tuple[int, int], type[TwoLevelRows]] = {
    (4, 4): NibbleNibbleRows,
    (4, 8): NibbleByteRows,
    (8, 4): ByteNibbleRows,
    (8, 8): ByteByteRows,
}
"""The two-level layouts by (bits of the codes, bits of the residuals)."""
_BITS: dict[type, tuple[int, int]] = {ByteRows: (8, 0), NibbleRows: (4, 0), BitRows: (1, 0)} | {
    layout: bits for bits, layout in TWO_LEVELS.items()
}

_SIGNED_BITS: dict[type, int] = {SignedByteRows: 8, SignedNibbleRows: 4}
_FRACTION_BITS: dict[type, int] = {Float8E4M3Rows: 3, Float8E5M2Rows: 2}
_FLOAT4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
_FLOAT4 = np.concatenate([_FLOAT4, -_FLOAT4])
_TABLE = 256


def padded(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return an uninitialised array that starts on a cache line and is followed by 64 bytes of zeros."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    memory = np.empty(size + 2 * ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    memory[start + size :] = 0
    return memory[start : start + size].view(kind).reshape(shape)


def padded_copy(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of `array`, contiguous or not, made by `padded`."""
    copy = padded(array.shape, array.dtype)
    copy[...] = array
    return copy


def grown(array: NDArray[Any], capacity: int, fill: float = 0) -> NDArray[Any]:
    """Return a copy of `array` with `capacity` rows; new ones are filled, surplus ones left out."""
    copy = padded((capacity, *array.shape[1:]), array.dtype)
    copy[: len(array)] = array[:capacity]
    copy[len(array) :] = fill
    return copy


def turned(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return codes (n, m) as `TurnedRows` hold them; rows that fill the last group are 0."""
    n, m = codes.shape
    groups = padded((-(-n // GROUP), m, GROUP), np.uint8)
    whole = n // GROUP
    groups[:whole] = codes[: whole * GROUP].reshape(whole, GROUP, m).transpose(0, 2, 1)
    if whole < len(groups):
        groups[whole, :, n % GROUP :] = 0
        groups[whole, :, : n % GROUP] = codes[whole * GROUP :].T
    return groups


def unturned(groups: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the codes of all rows of all groups, (n, m)."""
    return groups.transpose(0, 2, 1).reshape(-1, groups.shape[1])


def code_bytes(d: int, bits: int) -> int:
    """Return the bytes that d codes of 1, 4 or 8 bits take in a row, padding included; none for 0 bits."""
    if bits == 1:
        return 8 * -(-d // 64)
    if bits == 4:
        whole, rest = divmod(d, _BLOCK)
        return whole * _BLOCK // 2 + 16 * -(-rest // 32)
    return 16 * -(-d // 16) if bits == 8 else 0


def shapes(layout: type[Any], d: int) -> list[tuple[int | None, Any]]:
    """Return (values in a row, dtype) of each array of a layout for d dimensions; None: `planes` of any number."""
    if layout is Float32Rows:
        return [(d, np.float32)]
    if layout in (Float16Rows, BFloat16Rows):
        return [(d, np.uint16)]
    if layout in _FRACTION_BITS:
        return [(d, np.uint8), (1, np.float32)]
    if layout in _SIGNED_BITS:
        return [(code_bytes(d, _SIGNED_BITS[layout]), np.uint8)]
    if layout is Float4Rows:
        return [(code_bytes(d, 4), np.uint8), (1, np.float32)]
    if layout is PlaneRows:
        return [(None, np.uint8), (2, np.float32)]
    if layout is TableRows:
        return [(d // _TABLE, np.uint8)]
    levels: list[tuple[int | None, Any]] = [(code_bytes(d, bits), np.uint8) for bits in _BITS[layout] if bits]
    return [*levels, (2, np.float32)]


def pack_nibbles(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return codes (n, d) of 0 to 15 as (n, s) bytes in the nibble layout."""
    d = codes.shape[1]
    packed = np.zeros((len(codes), code_bytes(d, 4)), np.uint8)
    for low, high, at in _nibble_blocks(d):
        packed[:, at : at + low.stop - low.start] = codes[:, low]
        packed[:, at : at + high.stop - high.start] |= codes[:, high] << 4
    return packed


def unpack_nibbles(packed: NDArray[np.uint8], d: int) -> NDArray[np.uint8]:
    """Return the codes (n, d) that `pack_nibbles` packed."""
    codes = np.empty((len(packed), d), np.uint8)
    for low, high, at in _nibble_blocks(d):
        codes[:, low] = packed[:, at : at + low.stop - low.start] & 15
        codes[:, high] = packed[:, at : at + high.stop - high.start] >> 4
    return codes


def pack_planes(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Return codes (n, d) of `bits` bits as (n, s) bytes in the layout of planes."""
    n, d = codes.shape
    packed = np.zeros((n, bits, code_bytes(d, 1)), np.uint8)
    for plane in range(bits):
        row = np.packbits(codes >> (bits - 1 - plane) & 1, axis=1, bitorder="little")
        packed[:, plane, : row.shape[1]] = row
    return packed.reshape(n, bits * code_bytes(d, 1))


def unpack_planes(packed: NDArray[np.uint8], d: int) -> NDArray[np.uint8]:
    """Return the codes (n, d) that `pack_planes` packed."""
    codes = np.zeros((len(packed), d), np.uint8)
    for plane in np.split(packed, packed.shape[1] // code_bytes(d, 1), axis=1):
        codes = (codes << 1).astype(np.uint8) | np.unpackbits(plane, axis=1, count=d, bitorder="little")
    return codes


def codes_of(stored: NDArray[np.uint8], bits: int, d: int) -> NDArray[np.uint8]:
    """Return the codes (n, d) that rows of 1-bit, 4-bit or 8-bit codes hold."""
    if bits == 1:
        return np.unpackbits(stored, axis=1, count=d, bitorder="little")
    return unpack_nibbles(stored, d) if bits == 4 else stored[:, :d]


def values_at(rows: Any, slots: NDArray[np.int32], d: int) -> NDArray[np.float32]:
    """Return the values (m, d) of some rows; not of `TurnedRows`."""
    return values_of(type(rows)(*(array[slots] for array in rows)), d)


def values_of(rows: Rows, d: int) -> NDArray[np.float32]:
    """Return the values (n, d) of rows in any layout: what the kernels' scores are scores of."""
    if isinstance(rows, Float32Rows):
        return rows.values
    if isinstance(rows, Float16Rows):
        return rows.values.view(np.float16).astype(np.float32)
    if isinstance(rows, BFloat16Rows):
        return (rows.values.astype(np.uint32) << 16).view(np.float32)
    if isinstance(rows, Float8E4M3Rows | Float8E5M2Rows):
        return rows.scales * _float8_values(rows.values, _FRACTION_BITS[type(rows)])
    if isinstance(rows, SignedByteRows | SignedNibbleRows):
        bits = _SIGNED_BITS[type(rows)]
        return codes_of(rows.codes, bits, d).astype(np.float32) - np.float32(2 ** (bits - 1))
    if isinstance(rows, Float4Rows):
        return rows.scales * _FLOAT4[unpack_nibbles(rows.codes, d)]
    if isinstance(rows, PlaneRows):
        return rows.constants[:, :1] * unpack_planes(rows.codes, d) + rows.constants[:, 1:]
    if isinstance(rows, TableRows | TurnedRows):
        codes = rows.codes if isinstance(rows, TableRows) else unturned(rows.codes)
        chosen = np.zeros((*codes.shape, _TABLE), np.float32)
        np.put_along_axis(chosen, codes[:, :, None].astype(np.intp), 1, axis=2)
        return chosen.reshape(len(chosen), d)
    bits, residual_bits = _BITS[type(rows)]
    step, low = rows.constants[:, :1], rows.constants[:, 1:]
    values = step * codes_of(rows.codes, bits, d) + low
    if not isinstance(rows, ByteRows | NibbleRows | BitRows):
        fine = step / np.float32(2**residual_bits - 1)
        values += fine * codes_of(rows.residuals, residual_bits, d) - step / 2
    return values


def _float8_values(codes: NDArray[np.uint8], fraction_bits: int) -> NDArray[np.float32]:
    """Return the numbers that finite floats of 8 bits stand for."""
    wide = codes.astype(np.uint32)
    magnitudes = ((wide & 0x7F) << (23 - fraction_bits)).view(np.float32) * np.float32(
        2.0 ** (128 - 2 ** (6 - fraction_bits))
    )
    return np.where(wide & 0x80, -magnitudes, magnitudes)


def _nibble_blocks(d: int) -> Iterator[tuple[slice, slice, int]]:
    """Yield per block the dimensions in the low halves, those in the high halves, and where its bytes start."""
    for first in range(0, d, _BLOCK):
        size = code_bytes(min(_BLOCK, d - first), 4)
        middle = min(first + size, d)
        yield slice(first, middle), slice(middle, min(middle + size, d)), first // 2
