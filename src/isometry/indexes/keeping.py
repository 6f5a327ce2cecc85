"""Rows and fitted estimators in the folder of an index: how they are written, and what is checked when read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isometry.errors import Damaged, InvalidInput
from isometry.kernels import rows as layouts
from isometry.kernels.rows import TableRows, TurnedRows, code_bytes, unturned

if TYPE_CHECKING:
    from isometry.storage import Folder

__all__ = ["State", "part_state", "read_part", "read_rows", "restored", "rows_state"]

State = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
"""What `isometry.estimators.state` makes of an estimator."""

_SPARE_BYTES = 64
_LAYOUTS: dict[str, type[Any]] = {
    name: item
    for name, item in vars(layouts).items()
    if isinstance(item, type) and issubclass(item, tuple) and item is not TurnedRows
}


def rows_state(name: str, rows: Any, used: int) -> tuple[str, dict[str, Any]]:
    """Return the layout and the arrays of the first `used` rows, with what kernels may read beyond them."""
    arrays = {}
    if isinstance(rows, TurnedRows):
        rows = TableRows(unturned(rows.codes))
    for field, array in rows._asdict().items():
        spare = np.zeros((_spare(array), array.shape[1]), array.dtype)
        arrays[f"{name}_{field}"] = [array[:used], spare]
    return type(rows).__name__, arrays


def read_rows(folder: Folder, name: str, used: int, d: int) -> Any:
    """Return the rows that `rows_state` described under the parameter `name`, for queries of d dimensions."""
    layout = _LAYOUTS.get(folder.parameter(name, str))
    if layout is None:
        raise folder.damaged(f"its {name} level is of the layout {folder.parameters[name]!r:.40}")
    shapes = layouts.shapes(layout, d)
    arrays = []
    for field, (width, dtype) in zip(layout._fields, shapes, strict=True):
        array = folder.array(f"{name}_{field}", dtype, (None, width))
        if len(array) != used + _spare(array) or (width is None and not _is_planes(array.shape[1], d)):
            raise folder.damaged(f"array '{name}_{field}' has the shape {array.shape}")
        arrays.append(array)
    return layout(*arrays)


def part_state(role: str, stored: State) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the parameter that describes an estimator, and its arrays."""
    kind, values, fitted = stored
    described = {"kind": kind, "parameters": values, "arrays": sorted(fitted)}
    return described, {f"{role}_{name.lower()}": array for name, array in fitted.items()}


def read_part(folder: Folder, role: str) -> State:
    """Return what `part_state` described under the parameter `role`, for `isometry.estimators.restore`."""
    entry = folder.parameter(role, dict)
    kind, values, names = (entry.get(name) for name in ("kind", "parameters", "arrays"))
    if not isinstance(kind, str) or not isinstance(values, dict) or not isinstance(names, list):
        raise folder.damaged(f"{role} is described by {entry!r:.80}")
    missing = [name for name in names if f"{role}_{name}".lower() not in folder.arrays]
    if missing:
        raise folder.damaged(f"array {missing[0]!r:.80} of its {role} is missing")
    return kind, values, {name: folder.arrays[f"{role}_{name}".lower()] for name in names}


def restored(stored: State, kind: type[Any], dim: int) -> Any:
    """Return the estimator that `read_part` found, or raise `Damaged` where it is no `kind` for vectors of `dim`."""
    from isometry.estimators import restore

    try:
        part = restore(*stored)
    except InvalidInput as error:
        raise Damaged(f"the index was read with a part that can't be made: {error}") from None
    if not isinstance(part, kind) or getattr(part, "n_features_in_", None) != dim:
        raise Damaged(f"the index was read with {part!r:.80}; expected a {kind.__name__} for {dim} dimensions")
    return part


def _spare(array: NDArray[Any]) -> int:
    """Return how many rows of zeros follow."""
    return -(-_SPARE_BYTES // max(1, array.shape[1] * array.itemsize))


def _is_planes(width: int, d: int) -> bool:
    """Tell whether a row has room for 1 to 8 whole planes of d bits."""
    planes, rest = divmod(width, code_bytes(d, 1))
    return 1 <= planes <= 8 and not rest
