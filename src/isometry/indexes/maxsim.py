"""Exact late interaction: every set of tokens is scored. The reference for all indexes of multi-vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isometry.indexes.spec import PartSpec, chain_text
from isometry.indexes.tokens import TokenIndex
from isometry.vectors import MultiVectors

__all__ = ["MaxSim"]


class MaxSim(TokenIndex):
    r"""The nearest of many sets of vectors, by scoring all of them: ``"MaxSim"``, or over codes ``"PQ32,MaxSim"``.

    The score of a set P for a query Q is the Chamfer similarity
    :math:`\sum_{q \in Q} \max_{p \in P} \langle q, p \rangle`, also known as late interaction.

    Parameters
    ----------
    metric : {"cosine", "dot"}, default "cosine"
        How two tokens are compared. ``dot`` takes them as they are.
    codec : codec, optional
        How tokens are kept, float32 by default.

    Notes
    -----
    A search costs O(m t d) for m tokens of a query and all t tokens, less with codecs that look products up. `effort`
    is accepted as every index accepts it; there is nothing to trade.

    Any number of threads may search at once; `build`, `add` and `remove` must have the index to themselves.

    References
    ----------
    Khattab, Zaharia, ColBERT: Efficient and effective passage search via contextualized late interaction over BERT,
    SIGIR 2020, arXiv:2004.12832.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sets = [rng.standard_normal((n, 16)) for n in (3, 0, 40, 7)]
    >>> index = MaxSim().build(sets)
    >>> index.search([sets[3][:2], sets[0]], k=4)[0]
    array([[ 3,  2,  0, -1],
           [ 0,  2,  3, -1]])
    """

    kind: ClassVar[str] = "MaxSim"
    spec_name: ClassVar[str] = "MaxSim"
    spec_slots: ClassVar[tuple[str, ...]] = ("codec",)

    def __init__(self, *, metric: str = "cosine", codec: Any = None) -> None:
        super().__init__(metric=metric, codec=codec)
        self._spec = chain_text({"transform": (), "codec": codec, "refine": None}, PartSpec(self.spec_name))

    def _candidates(
        self, queries: MultiVectors, most: int, wanted: NDArray[np.bool_], threads: int | None
    ) -> Sequence[NDArray[np.int64]]:
        return [np.flatnonzero(wanted)] * len(queries)
