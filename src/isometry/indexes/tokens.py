"""Sets of token vectors as a codec keeps them, scored by MaxSim: what every index of multi-vectors ends with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from isometry import ranked
from isometry.errors import Damaged, InvalidInput, check_choice
from isometry.estimators import fitted_arrays
from isometry.indexes.base import SMALLEST_NORM, check_allowed, check_row_ids, check_search, not_built
from isometry.indexes.keeping import State, part_state, read_part, read_rows, restored, rows_state
from isometry.indexes.levelled import check_memory
from isometry.indexes.levels import check_norms, frozen, frozen_rows
from isometry.kernels.rows import grown
from isometry.storage import Folder, write_folder
from isometry.threads import in_threads
from isometry.vectors import MultiVectors, as_multi, concat

if TYPE_CHECKING:
    from isometry.kernels.rows import Rows

__all__ = ["TOKEN_METRICS", "TokenIndex", "Tokens"]

TOKEN_METRICS = ("cosine", "dot")
"""How two tokens are compared; the score of a set is the sum, over the query's tokens, of the largest of its tokens."""
_LARGEST_NORM = 2.0**50
"""Sums of products of tokens up to this norm stay in float32, however many tokens a query has."""


class Tokens:
    """Sets of token vectors, one after another, as a codec keeps them.

    Parameters
    ----------
    metric : {"cosine", "dot"}
        Under ``cosine`` tokens, and those of queries, are scaled to norm 1; a token of zeros stays as it is.
    codec : codec
        Cloned, not changed.

    Attributes
    ----------
    dim : int
        Dimensions of a token.
    offsets : (n + 1,) int64
        Set i owns the tokens ``offsets[i]`` to ``offsets[i + 1]``.
    alive : (n,) bool
        Which sets were not removed.
    """

    dim: int
    offsets: NDArray[np.int64]
    alive: NDArray[np.bool_]

    def __init__(self, metric: str, codec: Any) -> None:
        self.metric = metric
        self._given = codec
        self._fitted: Any = None
        self._stored: State | None = None
        self._mapped = False

    # -- changing ------------------------------------------------------------------------------------------------------

    def enter(self, x: Any, name: str, dim: int | None = None) -> MultiVectors:
        """Return sets in the form of the metric.

        Raises
        ------
        DimensionMismatch, InvalidInput
            Another dimension than `dim`, NaN, infinity, or a token longer than 2^50.
        """
        sets = as_multi(x, dim=dim, name=name)
        norms = check_norms(sets.tokens, f"tokens of {name}:")
        if norms.max(initial=0.0) > _LARGEST_NORM:
            row = int(norms.argmax())
            raise InvalidInput(
                f"token {row} of {name} has norm {norms[row]:.3g}; expected at most 2^50, so that sums of products "
                "stay in float32: scale the tokens down"
            )
        if self.metric == "dot":
            return sets
        inverse = np.divide(np.float32(1), norms, out=np.zeros_like(norms), where=norms >= SMALLEST_NORM)
        return MultiVectors(sets.tokens * inverse[:, None], sets.offsets)

    def fit(self, sets: MultiVectors) -> Self:
        """Fit the codec on sets that `enter` returned, and keep them."""
        from sklearn.base import clone

        self.dim = sets.dim
        # Without tokens, one of zeros stands in until some come.
        self._fitted = clone(self._given).fit(sets.tokens if len(sets.tokens) else np.zeros((1, sets.dim), np.float32))
        self._asked_dim = self._fitted.queries(np.zeros((1, sets.dim), np.float32)).shape[1]
        self._keep(self._coded(sets), sets.offsets.copy(), np.ones(len(sets), np.bool_))
        return self

    def append(self, sets: MultiVectors) -> None:
        """Keep more sets that `enter` returned; the codec stays as it is."""
        rows, first = self._coded(sets), len(self)
        last = first + len(sets.tokens)
        own = self._own
        if self._mapped or last > len(own[0]):
            # Amortised O(tokens added): there is room for a quarter more.
            own = type(own)(*(grown(array[:first], max(last, first + first // 4)) for array in own))
        for array, values in zip(own, rows, strict=True):
            array[first:last] = values
        alive = np.append(self.alive, np.ones(len(sets), np.bool_))
        self._keep(own, np.append(self.offsets, first + sets.offsets[1:]), alive)

    def drop(self, ids: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Take sets out for good; where most tokens would be theirs, their bytes too.

        Returns
        -------
        (t,) bool or None
            Which tokens are left, where bytes were given back.
        """
        alive = self.alive.copy()
        alive[ids] = False
        lengths = np.diff(self.offsets)
        left = np.where(alive, lengths, 0)
        if 2 * left.sum() > len(self):
            self._keep(self._own, self.offsets, alive, mapped=self._mapped)
            return None
        kept = np.repeat(alive, lengths)
        own = type(self._own)(*(grown(array[: len(kept)][kept], int(left.sum())) for array in self._own))
        self._keep(own, np.concatenate([[0], np.cumsum(left)]), alive)
        return kept

    # -- asking --------------------------------------------------------------------------------------------------------

    @property
    def codec(self) -> Any:
        """The fitted codec, made of what was stored when it is first needed."""
        if self._fitted is None:
            from isometry.codecs import Codec

            assert self._stored is not None
            codec = restored(self._stored, Codec, self.dim)
            if codec.mean_.shape != (self.dim,) or codec.mean_.dtype != np.float32:
                raise Damaged(f"the index was read with a codec whose mean is {codec.mean_!r:.80}")
            self._fitted = codec
        return self._fitted

    def __len__(self) -> int:
        """Return the number of tokens."""
        return int(self.offsets[-1])

    @property
    def nbytes(self) -> int:
        """Bytes of codes, offsets and what the codec has learned."""
        stored = {} if self._stored is None else self._stored[2]
        learned = stored if self._fitted is None else fitted_arrays(self._fitted)
        codes = sum(array[: len(self)].nbytes for array in self._rows)
        return codes + self.offsets.nbytes + self.alive.nbytes + sum(array.nbytes for array in learned.values())

    @property
    def bytes_per_token(self) -> float:
        """Bytes that the codes of a token take."""
        return float(sum(array[:1].nbytes for array in self._rows))

    def findable(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """Return which sets can be hits: there, allowed, and with a token at least."""
        found = self.alive & (np.diff(self.offsets) > 0)
        return found if allowed is None else found & allowed

    def scores(self, query: NDArray[np.float32], ids: NDArray[np.int64], threads: int | None) -> NDArray[np.float32]:
        """Return the MaxSim (c,) of a query's tokens (m, d) with each of some sets that are findable."""
        from isometry.kernels.maxsim import maxsim

        asked, shift = self._asked(query)
        return maxsim(asked, self._rows, self.offsets, ids, threads) + np.float32(shift.sum(dtype=np.float64))

    def matches(
        self, query: NDArray[np.float32], ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return which token of each set is nearest to each of the query's, and how near: (c, m) each."""
        from isometry.kernels.maxsim import matches

        asked, shift = self._asked(query)
        numbers, products = matches(asked, self._rows, self.offsets, ids)
        return numbers, products + shift

    # -- keeping -------------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return parameters and arrays for `isometry.storage.write_folder`."""
        from isometry.estimators import state

        layout, arrays = rows_state("tokens", self._rows, len(self))
        described, learned = part_state("codec", state(self._fitted) if self._stored is None else self._stored)
        parameters = {
            "metric": self.metric,
            "dim": self.dim,
            "asked_dim": self._asked_dim,
            "tokens": layout,
            "codec": described,
        }
        return parameters, arrays | learned | {"offsets": self.offsets, "alive": self.alive}

    @classmethod
    def from_folder(cls, folder: Folder) -> Tokens:
        """Return the sets that `state` described; the codec is made when it is needed."""
        metric = folder.parameter("metric", str)
        if metric not in TOKEN_METRICS:
            raise folder.damaged(f"metric is {metric!r}")
        tokens = cls(metric, None)
        tokens.dim, tokens._asked_dim = (folder.parameter(name, int) for name in ("dim", "asked_dim"))
        if not (0 < tokens.dim < 2**31 and 0 < tokens._asked_dim < 2**31):
            raise folder.damaged(f"its tokens have {tokens.dim} dimensions, and {tokens._asked_dim} in queries")
        tokens._stored = read_part(folder, "codec")
        offsets = folder.array("offsets", np.int64, (None,))
        if not len(offsets) or offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
            raise folder.damaged("its offsets do not start at 0 or go down")
        rows = read_rows(folder, "tokens", int(offsets[-1]), tokens._asked_dim)
        tokens._keep(rows, offsets, folder.array("alive", bool, (len(offsets) - 1,)), mapped=True)
        return tokens

    # -- within --------------------------------------------------------------------------------------------------------

    def _coded(self, sets: MultiVectors) -> Any:
        return self.codec.fine_rows(self.codec.transform(sets.tokens))

    def _keep(self, rows: Any, offsets: NDArray[np.int64], alive: NDArray[np.bool_], *, mapped: bool = False) -> None:
        self._own, self._mapped = rows, mapped
        self._rows: Rows = frozen_rows(rows)
        self.offsets, self.alive = frozen(offsets), frozen(alive)

    def _asked(self, query: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return a query's tokens as rows are multiplied with, and what that lacks for each of them."""
        codec = self.codec
        asked = np.ascontiguousarray(codec.queries(query), np.float32)
        if asked.shape != (len(query), self._asked_dim):
            raise Damaged(
                f"the index was read with a codec that does not fit it: it makes queries of shape {asked.shape}; "
                f"expected {(len(query), self._asked_dim)}"
            )
        return asked, np.vecdot(query, codec.mean_)


class TokenIndex:
    """Base of an index of multi-vectors: candidates are found somehow, and put in order by MaxSim.

    A subclass says in `_candidates` which sets are scored, and keeps what it needs for that in `_enter`, `_append`,
    `_drop` and `_more_state`.
    """

    kind: ClassVar[str]
    kind_version: ClassVar[int] = 1
    default_effort: ClassVar[int] = 100

    def __init__(self, *, metric: str = "cosine", codec: Any = None) -> None:
        self.metric = check_choice("metric", metric, TOKEN_METRICS)
        self._given = codec
        self._tokens: Tokens | None = None
        self._spec = ""

    @property
    def spec(self) -> str:
        """The index in words."""
        return self._spec

    @property
    def dim(self) -> int:
        """Number of dimensions of a token."""
        return self._built().dim

    @property
    def n_rows(self) -> int:
        """Number of ids given out so far, removed ones included: the length of an `allowed` mask."""
        return 0 if self._tokens is None else len(self._tokens.alive)

    @property
    def nbytes(self) -> int:
        """Bytes that searches read, with what has been learned."""
        return self._built().nbytes + self._more_bytes()

    @property
    def bytes_per_token(self) -> float:
        """Bytes that the codes of a token take."""
        return self._built().bytes_per_token

    def __len__(self) -> int:
        return 0 if self._tokens is None else int(np.count_nonzero(self._tokens.alive))

    def __repr__(self) -> str:
        size = "empty" if self._tokens is None else f"{len(self)} sets of {len(self._tokens)} tokens"
        return f"{self.kind}({self.spec!r}, metric={self.metric!r}): {size}"

    def build(self, x: Any) -> Self:
        """Index sets of tokens, forgetting what was there.

        Parameters
        ----------
        x : MultiVectors or sequence of (t, d) arrays
            Sets without tokens get an id, and are never hits.

        Raises
        ------
        InvalidInput
            NaN, infinity, a token longer than 2^50, unlike dimensions, or what a codec refuses.
        TooLarge
            More memory would be needed than there is.
        """
        tokens = Tokens(self.metric, self._codec())
        sets = tokens.enter(x, "x")
        check_memory(
            8 * sets.tokens.size + self._memory(len(sets), sets.dim),
            f"{len(sets)} sets of {len(sets.tokens)} tokens",
            f"the index {self.spec}",
            "build several smaller ones",
        )
        self._enter(sets)
        self._tokens = tokens.fit(sets)
        self._drop_empty(sets, 0)
        return self

    def add(self, x: Any) -> NDArray[np.int64]:
        """Append sets of tokens and return their ids; what was learned stays as `build` learned it.

        Raises
        ------
        DimensionMismatch, InvalidInput, TooLarge
            As `build`.
        """
        if self._tokens is None:
            return np.arange(self.build(x).n_rows)
        first, tokens = self.n_rows, self._tokens
        if not len(tokens):  # nothing to learn from has come until now
            sets = as_multi(x, dim=tokens.dim)
            gone = np.flatnonzero(~tokens.alive)
            self.build(
                concat([MultiVectors(np.zeros((0, tokens.dim), np.float32), np.zeros(first + 1, np.int64)), sets])
            )
            self.remove(gone)
            return np.arange(first, self.n_rows)
        sets = tokens.enter(x, "x", tokens.dim)
        self._append(sets)
        tokens.append(sets)
        self._drop_empty(sets, first)
        return np.arange(first, self.n_rows)

    def remove(self, ids: Any) -> int:
        """Drop sets for good; their ids are never used again. Bytes are given back once half of all tokens are gone.

        Parameters
        ----------
        ids : int or sequence of int
            Ids removed before are passed over.

        Returns
        -------
        int
            Number of sets that were there until now.
        """
        tokens = self._tokens
        rows = check_row_ids(ids, self.n_rows)
        if tokens is None or not len(rows := rows[tokens.alive[rows]]):
            return 0
        self._drop(rows, tokens.drop(rows))
        return len(rows)

    def search(
        self,
        q: Any,
        k: int = 10,
        *,
        effort: int | None = None,
        allowed: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `k` best sets for each query.

        Parameters
        ----------
        q : MultiVectors or sequence of (m, d) arrays
            A query without tokens has no hits.
        k : int, default 10
            More than there are sets is allowed; the places left hold -1 and -inf.
        effort : int, optional
            How many candidates are scored with all their tokens, at least k.
        allowed : (n_rows,) bool, optional
            Only sets marked True are candidates. Where no more than `effort` are, all of them are scored.
        threads : int, optional
            At most this many; by default all processors.

        Returns
        -------
        ids : (nq, k) int64
        scores : (nq, k) float32
            Best first; equal scores by smaller id. The sum, over the query's tokens, of the largest similarity with a
            token of the set, as the codec keeps it.

        Raises
        ------
        DimensionMismatch, InvalidInput
            A query or an option that makes no sense.
        """
        k, effort, threads = check_search(k, effort, threads)
        tokens = self._built()
        queries = tokens.enter(q, "q", tokens.dim)
        wanted = tokens.findable(check_allowed(allowed, self.n_rows))
        ids, scores = ranked.empty(len(queries), k)
        asking = np.flatnonzero(queries.lengths)
        if not len(asking) or not wanted.any():
            return ids, scores
        most = max(effort or self.default_effort, k)
        if np.count_nonzero(wanted) <= most:
            candidates: Sequence[NDArray[np.int64]] = [np.flatnonzero(wanted)] * len(asking)
        else:
            asked = queries if len(asking) == len(queries) else queries[asking]
            candidates = self._candidates(asked, most, wanted, threads)
        alone = threads if len(asking) == 1 else 1

        def one(j: int) -> None:
            i, some = asking[j], candidates[j]
            found = tokens.scores(queries[i], some, alone)
            ids[i : i + 1], scores[i : i + 1] = ranked.rank(np.zeros(len(some), np.int64), some, found, 1, k)

        in_threads(one, range(len(asking)), threads)
        return ids, scores

    def matches(self, query: Any, ids: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return which token of each set answers each token of one query best: why a hit is one.

        Parameters
        ----------
        query : (m, d) array of float
        ids : int or sequence of int
            Sets, in any order.

        Returns
        -------
        numbers : (c, m) int64
            Counted from the first token of the set; of equals the first; -1 in a set without tokens.
        similarities : (c, m) float32
            A row of them adds up to the set's score; -inf in a set without tokens.

        Raises
        ------
        DimensionMismatch, InvalidInput
            A query as `search` refuses it, or an id that is not there, or was removed.
        """
        tokens = self._built()
        asked = tokens.enter([query], "query", tokens.dim)
        rows = np.atleast_1d(np.asarray(ids))
        gone = np.setdiff1d(check_row_ids(rows, self.n_rows), np.flatnonzero(tokens.alive))
        if len(gone):
            raise InvalidInput(f"id {gone[0]} was removed; expected ids of sets that are there")
        return tokens.matches(asked[0], rows.astype(np.int64))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the index to the folder `path`, atomically; see `isometry.storage.write_folder`."""
        write_folder(path, self.kind, *self.state(), kind_version=self.kind_version, overwrite=overwrite)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters and arrays that `save` writes and `from_folder` reads."""
        parameters, arrays = self._built().state()
        more, added = self._more_state()
        return parameters | {"spec": self.spec} | more, arrays | added

    @classmethod
    def from_folder(cls, folder: Folder) -> Self:
        """Return the index in a folder that `isometry.storage.read_folder` opened; nothing is loaded yet."""
        folder.require_version(cls.kind_version)
        tokens = Tokens.from_folder(folder)
        index = cls(metric=tokens.metric)
        index._tokens, index._spec = tokens, folder.parameter("spec", str)
        index._read(folder)
        return index

    def _built(self) -> Tokens:
        if self._tokens is None:
            raise not_built(f"{self.kind} index")
        return self._tokens

    # -- what finds candidates -----------------------------------------------------------------------------------------

    def _codec(self) -> Any:
        """Return what tokens are kept by: as given, as read from a folder, or the default."""
        if self._given is not None:
            return self._given
        return self._default_codec() if self._tokens is None else self._tokens.codec

    def _default_codec(self) -> Any:
        from isometry.codecs import Float32

        return Float32()

    def _drop_empty(self, sets: MultiVectors, first: int) -> None:
        empty = np.flatnonzero(sets.lengths == 0)
        if len(empty):
            self._drop(first + empty, None)

    def _candidates(
        self, queries: MultiVectors, most: int, wanted: NDArray[np.bool_], threads: int | None
    ) -> Sequence[NDArray[np.int64]]:
        """Return for each query the ids of `most` or fewer sets to score, none twice; of those `wanted`, (n,) bool."""
        raise NotImplementedError

    def _memory(self, n: int, dim: int) -> int:
        """Return the bytes that building needs beside the tokens."""
        return 0

    def _enter(self, sets: MultiVectors) -> None:
        """Learn from sets, and keep what finds them."""

    def _append(self, sets: MultiVectors) -> None:
        """Keep what finds more sets."""

    def _drop(self, ids: NDArray[np.int64], kept: NDArray[np.bool_] | None) -> None:
        """Forget sets that were removed or have no tokens; `kept` marks the tokens left if their bytes were freed."""

    def _more_bytes(self) -> int:
        return 0

    def _more_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {}

    def _read(self, folder: Folder) -> None:
        """Read what `_more_state` returned, checked."""
