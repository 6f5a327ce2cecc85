"""Late interaction at the price of a dense search: fixed dimensional encodings find candidates, MaxSim orders them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry.errors import Damaged, InvalidInput
from isometry.indexes.flat import Flat
from isometry.indexes.keeping import State, part_state, read_part, restored
from isometry.indexes.levelled import Levelled
from isometry.indexes.registry import index_classes
from isometry.indexes.spec import Spec, index_from_spec, parse_spec, part_spec
from isometry.indexes.tokens import TokenIndex
from isometry.storage import Folder, inner_state
from isometry.vectors import MultiVectors

__all__ = ["MultiVector"]

_QUERIES, _RESULTS = 256, 2**22
_DENSE = (Flat, Levelled)


class MultiVector(TokenIndex):
    r"""Approximate nearest sets of vectors, by a dense index over their encodings and a second look at their tokens.

    Each set becomes one vector, whose dot product with that of a query is near their MaxSim. A dense index of any kind
    finds `effort` candidates by it; these are scored with all their tokens, as `codec` keeps them:
    ``"FDE(20,5,16),PQ256x8,Vamana32 -> PQ32"``.

    Parameters
    ----------
    metric : {"cosine", "dot"}, default "cosine"
        How two tokens are compared. ``dot`` takes them as they are.
    fde : FDE, optional
        How sets are encoded; ``FDE(20, 5, 16)`` by default.
    index : str or Spec, default "LVQ4,Flat"
        Specification of the dense index over the encodings, whatever comes before ``->``. It compares by dot product.
    codec : codec, optional
        How tokens are kept for the second look, ``LVQ(bits=8)`` by default.

    Notes
    -----
    `effort` is the number of candidates, 100 by default, and the effort of the dense search: the one knob. Of encodings
    that have many dimensions four bits each are plenty, as whatever they misplace among the candidates is put right.

    Building needs 4 bytes for every number of the encodings of all sets, beside the tokens. A set without tokens has
    an id but is never a hit. The answer is the same for any number of threads, and for one query or many; any number
    of threads may search at once, `build`, `add` and `remove` must have the index to themselves.

    References
    ----------
    Dhulipala, Hadian, Jayaram, Lee, Mirrokni, MUVERA: Multi-Vector Retrieval via Fixed Dimensional Encodings, 2024,
    arXiv:2405.19504.

    Examples
    --------
    >>> from isometry.codecs import LVQ
    >>> from isometry.transforms import FDE
    >>> rng = np.random.default_rng(0)
    >>> sets = [rng.standard_normal((20, 32)) for _ in range(500)]
    >>> index = MultiVector(fde=FDE(10, 4, 8), index="LVQ8,Vamana16", codec=LVQ(bits=4)).build(sets)
    >>> index.search([sets[3][:5], sets[7]], k=1, effort=50)[0].tolist(), index.spec
    ([[3], [7]], 'FDE(10,4,8),LVQ8,Vamana16 -> LVQ4')
    """

    kind: ClassVar[str] = "MultiVector"
    spec_around: ClassVar[str] = "FDE"

    @classmethod
    def from_spec(cls, transform: Any, index: Spec, refine: Any, *, metric: str = "cosine") -> Self:
        """Return the index of a specification that begins with an FDE."""
        return cls(metric=metric, fde=transform, index=index, codec=refine)

    def __init__(
        self, *, metric: str = "cosine", fde: Any = None, index: str | Spec = "LVQ4,Flat", codec: Any = None
    ) -> None:
        from isometry.transforms import FDE

        super().__init__(metric=metric, codec=codec)
        fde, inner = FDE() if fde is None else fde, index if isinstance(index, Spec) else parse_spec(index)
        if inner.refine is not None or any(part.name == self.spec_around for part in inner.transforms):
            raise InvalidInput(
                f"index is {str(inner)!r}; expected a dense index over the encodings, without another FDE, and without "
                "a codec after '->': that one holds the tokens, pass it as codec"
            )
        index_from_spec(inner, metric="dot")
        refine = None if codec is None else part_spec(codec)
        self._spec = str(Spec(inner.index, (part_spec(fde), *inner.transforms), inner.codec, refine))
        self._parts: tuple[Any, Spec] | None = fde, inner
        self._dense: Any = None
        self._fde: Any = None
        self._fde_stored: State | None = None

    def _default_codec(self) -> Any:
        from isometry.codecs import LVQ

        return LVQ(bits=8)

    def _candidates(
        self, queries: MultiVectors, most: int, wanted: NDArray[np.bool_], threads: int | None
    ) -> Sequence[NDArray[np.int64]]:
        found: list[NDArray[np.int64]] = []
        allowed = None if np.count_nonzero(wanted) == len(self._dense) else wanted
        step = max(1, min(_QUERIES, _RESULTS // most))
        for start in range(0, len(queries), step):
            encoded = self._encoder.transform_query(queries[start : start + step], threads=threads)
            ids, _ = self._dense.search(encoded, most, effort=most, allowed=allowed, threads=threads)
            found += [row[row >= 0] for row in ids]
        return found

    @property
    def _encoder(self) -> Any:
        """The fitted FDE, made of what was stored when it is first needed."""
        if self._fde is None:
            from isometry.transforms import FDE

            assert self._fde_stored is not None
            fde = restored(self._fde_stored, FDE, self.dim)
            try:
                size = fde.transform([np.zeros((0, self.dim), np.float32)]).shape[1]
            except InvalidInput as error:
                raise Damaged(f"the index was read with an FDE that can't encode: {error}") from None
            if size != self._dense.dim:
                raise Damaged(f"the index was read with {fde!r:.80}, which does not fit {self._dense}")
            self._fde = fde
        return self._fde

    def _fresh(self, dim: int) -> tuple[Any, Spec]:
        """Return what a build starts from, as given or as read from a folder: an FDE for `dim`, and the dense index."""
        from sklearn.base import clone

        if self._parts is None:
            self._parts = self._encoder, parse_spec(self._dense.spec)
        fde, inner = self._parts
        return clone(fde).fit([np.zeros((0, dim), np.float32)]), inner

    def _memory(self, n: int, dim: int) -> int:
        return 8 * n * int(self._fresh(dim)[0].n_components_)

    def _enter(self, sets: MultiVectors) -> None:
        fde, inner = self._fresh(sets.dim)
        dense = index_from_spec(inner, metric="dot").build(fde.transform(sets))
        self._fde, self._fde_stored, self._dense = fde, None, dense

    def _append(self, sets: MultiVectors) -> None:
        self._dense.add(self._encoder.transform(sets))

    def _drop(self, ids: NDArray[np.int64], kept: NDArray[np.bool_] | None) -> None:
        self._dense.remove(ids)

    def _more_bytes(self) -> int:
        return int(self._dense.nbytes)

    def _more_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        from isometry.estimators import state

        described, learned = part_state("fde", state(self._fde) if self._fde_stored is None else self._fde_stored)
        dense = self._dense
        parameters, arrays = inner_state("dense", dense.kind, dense.kind_version, *dense.state())
        return parameters | {"fde": described}, arrays | learned

    def _read(self, folder: Folder) -> None:
        inner = folder.inner("dense")
        made: Any = index_classes().get(inner.kind)
        if made is None or not issubclass(made, _DENSE):
            raise folder.damaged(f"it holds an index of the kind {inner.kind!r} over its encodings")
        self._dense, self._fde_stored, self._parts = made.from_folder(inner), read_part(folder, "fde"), None
        if self._dense.metric != "dot" or self._dense.n_rows != self.n_rows:
            raise folder.damaged(
                f"the index over its encodings holds {self._dense.n_rows} rows by {self._dense.metric}"
            )
