"""Arrays that inner loops read without counting who refers to them.

Numba counts the references to an array that is handed to another function, also to one that is inlined. Where it can't
tell that both counts cancel, an inner loop adds up and takes off atomically what nobody reads: it was a third of a
graph search.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

__all__ = ["lent"]


@intrinsic
def lent(typing_context: Any, value: Any) -> Any:
    """Return an array, or a named tuple of arrays, whose references are not counted: the owner must outlive it.

    The owner is one that the caller of a kernel holds, or that is used again after what was lent: in a loop, where each
    turn lends it anew.
    """
    if not _lends(value):
        return None

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _without_owner(context, builder, signature.return_type, values[0])

    return value(value), codegen


def _lends(kind: Any) -> bool:
    if isinstance(kind, types.BaseTuple):
        return all(isinstance(part, types.Number) or _lends(part) for part in kind)
    return isinstance(kind, types.Array | types.NoneType)


def _without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        array = arrayobj.make_array(kind)(context, builder, value)
        array.meminfo = ir.Constant(cgutils.voidptr_t, None)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        for i, part in enumerate(kind):
            one = _without_owner(context, builder, part, builder.extract_value(value, i))
            value = builder.insert_value(value, one, i)
    return value
