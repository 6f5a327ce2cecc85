"""What a user may pass as a query, brought into one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.errors import InvalidInput
from isometry.vectors import MultiVectors, as_dense, as_multi, as_sparse

if TYPE_CHECKING:
    from isometry.encoders.base import Kind

__all__ = ["Queries", "as_queries"]


@dataclass(frozen=True)
class Queries:
    """A batch of queries: texts, or vectors of one kind.

    Attributes
    ----------
    texts : list of str or None
    kind : {"dense", "sparse", "multi"} or None
        Of the vectors; None for texts.
    vectors : (nq, d) float32, (nq, terms) CSR array, MultiVectors, or None
    single : bool
        One query was passed on its own, so one answer is expected rather than a list.
    """

    texts: list[str] | None
    kind: Kind | None
    vectors: Any
    single: bool

    def __len__(self) -> int:
        if self.texts is not None:
            return len(self.texts)
        return int(self.vectors.shape[0]) if hasattr(self.vectors, "shape") else len(self.vectors)


def as_queries(query: Any, mode: str | None = None) -> Queries:
    """Read a text, a vector, a sparse vector (a SciPy array of one axis), or several of one of them.

    Sets of token vectors come as `MultiVectors`, and where `mode` is ``"multi"`` also as an array (t, d), which is one
    query, or a sequence of such.

    Raises
    ------
    InvalidInput
        Anything else; an empty text; vectors with NaN, infinity or more than two axes.
    """
    if isinstance(query, str):
        return Queries(_check_texts([query]), None, None, single=True)
    if isinstance(query, list | tuple) and (not query or isinstance(query[0], str)):
        return Queries(_check_texts(list(query)), None, None, single=False)
    if hasattr(query, "tocsr"):
        single = query.ndim == 1
        rows = query.tocoo().reshape((1, query.shape[0])).tocsr() if single else query
        return Queries(None, "sparse", as_sparse(rows, name="query"), single)
    if isinstance(query, MultiVectors):
        return Queries(None, "multi", query, single=False)
    try:
        array = np.asarray(query)
    except (TypeError, ValueError):  # lists of unlike lengths are no array
        array = np.asarray(None)
    if mode == "multi" and array.ndim != 1:
        single = array.ndim == 2
        return Queries(None, "multi", as_multi([array] if single else query, name="query"), single)
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise InvalidInput(
            f"the query is {type(query).__name__} {query!r:.60}; expected a text, a vector, or a list of them"
        )
    single = array.ndim == 1
    return Queries(None, "dense", as_dense(array[None] if single else array, name="query"), single)


def _check_texts(texts: list[Any]) -> list[str]:
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(f"query {place} is {type(text).__name__} among texts; expected all texts or all vectors")
        if not text.strip():
            raise InvalidInput(f"query {place} is empty; expected some words to search for")
    return texts
