"""Late interaction by centroids of tokens: sets that share one with the query, ranked by their centroids alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isometry.errors import InvalidInput, check_range
from isometry.indexes.levels import frozen
from isometry.indexes.spec import PartSpec, chain_text
from isometry.indexes.tokens import TokenIndex
from isometry.storage import Folder
from isometry.threads import in_threads
from isometry.vectors import MultiVectors

__all__ = ["Plaid"]

_MOST_CENTROIDS = 2**16
_SAMPLE = 32
_ITERATIONS = 8
_PROBES = 4


class Plaid(TokenIndex):
    r"""Approximate nearest sets of vectors, by k-means over all tokens: ``"PQ32,PLAID1024x4"``.

    Every token is known by its nearest centroid. For each token of a query the sets are gathered that have one under
    the nearest `probes` centroids; they are ranked by MaxSim with every token replaced by its centroid, which takes a
    look-up per token; the best `effort` are scored with all their tokens, as `codec` keeps them.

    Parameters
    ----------
    metric : {"cosine", "dot"}, default "cosine"
        How two tokens are compared. ``dot`` takes them as they are.
    n_centroids : int, optional
        Up to 65,536. By default, or with 0, the power of two below :math:`16 \sqrt t` for t tokens, at most that.
    probes : int, default 4
        How many centroids of a query's token are looked under.
    codec : codec, optional
        How tokens are kept for the last look, float32 by default.
    random_state : int, default 0
        Draws the tokens that centroids are learned from.

    Notes
    -----
    A token takes 2 bytes for its centroid and up to 8 for its place in the lists, beside its codes. Learning looks at
    32 tokens per centroid. Any number of threads may search at once; `build`, `add` and `remove` must have the index
    to themselves.

    Unlike the paper: no centroid is left out for a low score, and there is one ranking by centroids instead of two.

    References
    ----------
    Santhanam, Khattab, Potts, Zaharia, PLAID: An efficient engine for late interaction retrieval, CIKM 2022,
    arXiv:2205.09707.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sets = [rng.standard_normal((20, 32)) for _ in range(500)]
    >>> index = Plaid(n_centroids=64).build(sets)
    >>> index.search([sets[3][:5], sets[7]], k=1, effort=50)[0].tolist(), index.spec
    ([[3], [7]], 'PLAID64')
    """

    kind: ClassVar[str] = "Plaid"
    spec_name: ClassVar[str] = "PLAID"
    spec_fields: ClassVar[tuple[str, ...]] = ("n_centroids", "probes")
    spec_slots: ClassVar[tuple[str, ...]] = ("codec",)

    def __init__(
        self,
        *,
        metric: str = "cosine",
        n_centroids: int | None = None,
        probes: int = _PROBES,
        codec: Any = None,
        random_state: int = 0,
    ) -> None:
        super().__init__(metric=metric, codec=codec)
        many = None if n_centroids is None else check_range("n_centroids", n_centroids, 0, _MOST_CENTROIDS)
        self.n_centroids = many or None
        self.probes = check_range("probes", probes, 1, _MOST_CENTROIDS)
        self.random_state = check_range("random_state", random_state, 0)
        first = (self.n_centroids,) if self.n_centroids else ()
        numbers = first if self.probes == _PROBES else (self.n_centroids or 0, self.probes)
        self._spec = chain_text({"transform": (), "codec": codec, "refine": None}, PartSpec(self.spec_name, numbers))
        self._centroids: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._numbers: NDArray[np.uint16] = np.empty(0, np.uint16)
        self._lists: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def _candidates(
        self, queries: MultiVectors, most: int, wanted: NDArray[np.bool_], threads: int | None
    ) -> Sequence[NDArray[np.int64]]:
        from isometry.kernels.maxsim import maxsim
        from isometry.kernels.rows import Float32Rows, TableRows
        from isometry.kernels.scan import products

        starts, members = self._members()
        rows, tables = Float32Rows(frozen(self._centroids)), TableRows(frozen(self._numbers[:, None]))
        probes = min(self.probes, len(self._centroids))
        alone = threads if len(queries) == 1 else 1

        def one(i: int) -> NDArray[np.int64]:
            near = np.empty((len(queries[i]), len(self._centroids)), np.float32)
            products(rows, frozen(queries[i]), near)
            probed = np.unique(np.argpartition(-near, probes - 1, axis=1)[:, :probes])
            found = np.zeros_like(wanted)
            for number in probed.tolist():
                found[members[starts[number] : starts[number + 1]]] = True
            found &= wanted
            ids = np.flatnonzero(found if np.count_nonzero(found) >= most else wanted)
            scores = maxsim(near, tables, self._built().offsets, ids, alone)
            return ids[np.argsort(-scores, kind="stable")[:most]]

        return in_threads(one, range(len(queries)), threads)

    def _members(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the sets under each centroid as (starts, ids); found anew after a change."""
        if self._lists is None:
            offsets = self._built().offsets
            owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
            pairs = np.unique(self._numbers.astype(np.int64) * len(offsets) + owners)
            numbers, ids = np.divmod(pairs, len(offsets))
            self._lists = np.searchsorted(numbers, np.arange(len(self._centroids) + 1)), ids
        return self._lists

    def _enter(self, sets: MultiVectors) -> None:
        from isometry.estimators import generator
        from isometry.kernels.kmeans import train, training_rows

        tokens = sets.tokens if len(sets.tokens) else np.zeros((1, sets.dim), np.float32)
        usual = 2 ** int(math.log2(16 * math.sqrt(len(tokens))))
        k = min(self.n_centroids or usual, _MOST_CENTROIDS, len(tokens))
        rng = generator(self.random_state)
        rows, scale = training_rows(tokens, np.zeros(sets.dim, np.float32), k * _SAMPLE, rng)
        self._centroids = scale * train(rows, np.array([0, sets.dim]), k, n_iter=_ITERATIONS, rng=rng)
        self._numbers, self._lists = self._nearest(sets), None

    def _append(self, sets: MultiVectors) -> None:
        self._numbers, self._lists = np.append(self._numbers, self._nearest(sets)), None

    def _drop(self, ids: NDArray[np.int64], kept: NDArray[np.bool_] | None) -> None:
        if kept is not None:
            self._numbers, self._lists = self._numbers[kept], None

    def _nearest(self, sets: MultiVectors) -> NDArray[np.uint16]:
        from isometry.kernels.kmeans import assign

        return assign(sets.tokens, self._centroids, np.array([0, sets.dim]))[:, 0].astype(np.uint16)

    def _more_bytes(self) -> int:
        return self._centroids.nbytes + self._numbers.nbytes + sum(array.nbytes for array in self._members())

    def _more_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        values = {name: getattr(self, name) for name in ("n_centroids", "probes", "random_state")}
        return values, {"centroids": self._centroids, "numbers": self._numbers}

    def _read(self, folder: Folder) -> None:
        values: dict[str, Any] = {n: folder.parameters.get(n) for n in ("n_centroids", "probes", "random_state")}
        try:
            made = Plaid(metric=self.metric, **values)
        except InvalidInput as error:
            raise folder.damaged(str(error)) from None
        self.n_centroids, self.probes, self.random_state = made.n_centroids, made.probes, made.random_state
        self._centroids = folder.array("centroids", np.float32, (None, self.dim))
        self._numbers = folder.array("numbers", np.uint16, (len(self._built()),))
        if not self._numbers.max(initial=0) < len(self._centroids) <= _MOST_CENTROIDS:
            raise folder.damaged(f"its tokens are under centroids up to {self._numbers.max(initial=0)}")
