"""BEBR: train the codes of `RecurrentBinary` on pairs, also so that they match the codes of an older one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from isometry.codecs import RecurrentBinary
from isometry.codecs.recurrent_binary import Block, directions, flat_weights
from isometry.errors import DimensionMismatch, InvalidInput, check_range
from isometry.learning.estimators import sign
from isometry.learning.losses import info_nce
from isometry.learning.training import Progress, batches_of, shared_vectors, train

__all__ = ["BEBR", "RecurrentModule"]


class _Block(nn.Module):
    def __init__(self, block: Block, hidden: int) -> None:
        super().__init__()
        n_out, n_in = block.matrix.shape
        self.linear = nn.Linear(n_in, n_out)
        self.within = nn.Linear(n_in, hidden)
        self.out = nn.Linear(hidden, n_out, bias=False)
        kept = len(block.hidden_bias)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(np.array(block.matrix)))
            self.linear.bias.copy_(torch.from_numpy(np.array(block.bias)))
            if hidden:
                nn.init.kaiming_normal_(self.within.weight)
            self.within.bias.zero_()
            self.out.weight.zero_()  # training starts from the linear map
            self.within.weight[:kept] = torch.from_numpy(np.array(block.hidden))
            self.within.bias[:kept] = torch.from_numpy(np.array(block.hidden_bias))
            self.out.weight[:, :kept] = torch.from_numpy(np.array(block.output))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.out(torch.relu(self.within(x)))

    def block(self) -> Block:
        parts = (self.linear.weight, self.linear.bias, self.within.weight, self.within.bias, self.out.weight)
        return Block(*(part.detach().cpu().numpy() for part in parts))


class RecurrentModule(nn.Module):
    """The blocks of a `RecurrentBinary` as a network.

    Parameters
    ----------
    codec : RecurrentBinary
        Fitted; it is not changed.
    hidden : int
        Width of the hidden layers, at least that of the codec.
    """

    def __init__(self, codec: RecurrentBinary, hidden: int) -> None:
        super().__init__()
        check_is_fitted(codec)
        check_range("hidden", hidden, int(codec.hidden_))
        self._codec = codec
        self.parts = nn.ModuleList(_Block(block, hidden) for block in codec.blocks())

    def forward(self, z: Tensor) -> Tensor:
        """Return the codes (n, m) of vectors (n, d) of length 1, with values between -2 and 2."""
        total = sign(self.parts[0](z))
        for t in range(1, int(self._codec.bits)):
            near = self.parts[2 * t - 1](total)
            total = total + 2.0**-t * sign(self.parts[2 * t](z - near))
        return total

    def decoded(self, codes: Tensor) -> Tensor:
        """Return what is likely behind codes: vectors (n, d), of any length."""
        return self.parts[-1](codes)

    def codec(self) -> RecurrentBinary:
        """Return a frozen `RecurrentBinary` with these blocks."""
        blocks = [part.block() for part in self.parts if isinstance(part, _Block)]
        trained = deepcopy(self._codec)
        trained.hidden_ = len(blocks[0].hidden_bias)
        trained.weights_ = flat_weights(blocks)
        return trained.freeze()


class BEBR:
    r"""Trains a `RecurrentBinary` codec on pairs of vectors that should match.

    The loss is `isometry.learning.info_nce` between the codes of both sides, in both directions, with the hardest
    negatives of the batch. No text, image or encoder is needed. Without pairs of two kinds, give a vector and a noisy
    copy of it: codes then learn to keep neighbours, not to know what is relevant.

    **Changing the encoder**: with `old` codes are trained to match those that another codec made of the same items'
    vectors in an older space, so that new queries search codes that are stored already. Begin with
    `RecurrentBinary.carried_over`, whose codes resemble the old ones before any training.

    Parameters
    ----------
    hidden : int, default 0
        Width of the hidden layers; 0 keeps all maps linear. They pay off from hundreds of thousands of pairs on: fewer
        are learned by heart.
    epochs : int, default 5
    batch_size : int, default 256
        Pairs.
    rate : float, default 1e-4
        Learning rate. With thousands of pairs ten times as much makes codes worse than they were before training; from
        blocks that are far from a solution (an encoder that changed, without `RecurrentBinary.carried_over`) it takes
        more.
    temperature : float, default 0.05
    hardest : int or None, default 20
        Negatives that count for each vector; None counts all.
    compatibility : float, default 1.0
        Weight of the loss that ties new queries to old codes.
    seed : int, default 0

    Attributes
    ----------
    codec_ : RecurrentBinary
        Frozen: any index takes it as it is, and needs no torch.
    history_ : list of float
        Mean loss of every epoch.
    dead_bits_ : float
        Share of the bits that are the same for 99 of 100 documents.

    Notes
    -----
    A step costs :math:`O(b\,B\,(d + m)\,h)` for a batch of b pairs, and :math:`O(b^2 m)` for their scores. On one
    thread of torch's, the same seed gives the same codec.

    Differences from the paper: AdamW in place of SGD; 20 negatives, not 5; negatives come from the batch alone, as in
    the released code. The compatible loss is described in the paper and missing from that code; it is

    .. math:: L = L(\phi(q), \phi(d)) + \lambda L(\phi(q), \phi_{old}(d_{old})).

    References
    ----------
    Gan et al., Binary embedding-based retrieval at Tencent, KDD 2023, arXiv:2302.08714.

    Examples
    --------
    >>> from isometry.codecs import RecurrentBinary
    >>> rng = np.random.default_rng(0)
    >>> documents = rng.standard_normal((400, 16), dtype=np.float32)
    >>> queries = (documents + 0.3 * rng.standard_normal((400, 16))).astype(np.float32)
    >>> trained = BEBR(hidden=16, epochs=2).fit(RecurrentBinary(16).fit(documents), queries, documents)
    >>> trained.codec_.transform(documents).shape
    (400, 20)
    """

    codec_: RecurrentBinary
    history_: list[float]
    dead_bits_: float

    def __init__(
        self,
        *,
        hidden: int = 0,
        epochs: int = 5,
        batch_size: int = 256,
        rate: float = 1e-4,
        temperature: float = 0.05,
        hardest: int | None = 20,
        compatibility: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.rate = rate
        self.temperature = temperature
        self.hardest = hardest
        self.compatibility = compatibility
        self.seed = seed

    def fit(
        self,
        codec: RecurrentBinary,
        queries: Any,
        documents: Any,
        *,
        items: Iterable[Any] | None = None,
        old: tuple[RecurrentBinary, Any] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Train on pairs: row i of one side belongs to row i of the other.

        Parameters
        ----------
        codec : RecurrentBinary
            Fitted; it is not changed.
        queries, documents : (n, d) float
        items : iterable of n hashable, optional
            What a pair is about: pairs of one item are no negatives for each other.
        old : (RecurrentBinary, (n, d') float), optional
            The codec whose codes are stored, and the documents' vectors in its space. Its codes have as many
            coordinates and bits as the new ones.
        checkpoint, progress
            As in `isometry.learning.train`.

        Raises
        ------
        InvalidInput, DimensionMismatch
            Fewer than two pairs, sides that do not fit, zero vectors, NaN, or a parameter out of its range.
        Diverged
            As `isometry.learning.train`.
        """
        asked, answered = shared_vectors(queries, documents, names=("queries", "documents"))
        n = len(asked)
        if len(answered) != n or n < 2:
            raise DimensionMismatch(f"there are {n} queries and {len(answered)} documents; expected pairs, at least 2")
        if asked.shape[1] != codec.n_features_in_:
            raise DimensionMismatch(f"vectors have {asked.shape[1]} dimensions; the codec has {codec.n_features_in_}")
        size = check_range("batch_size", self.batch_size, 2)
        check_range("hidden", self.hidden, 0)
        known = np.arange(n) if items is None else np.unique(np.array(list(items)), return_inverse=True)[1]
        if len(known) != n:
            raise DimensionMismatch(f"there are {n} pairs and {len(known)} items; expected one for each")
        q, d = (torch.from_numpy(directions(side)[0]) for side in (asked, answered))
        stored = None if old is None else _old_values(codec, *old, n)
        torch.manual_seed(self.seed)
        module = RecurrentModule(codec, max(int(self.hidden), int(codec.hidden_)))
        places = torch.from_numpy(known)

        def batches(epoch: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
            return [part for part in batches_of(n, size, rng) if len(part) > 1]

        def loss(batch: NDArray[np.int64]) -> Tensor:
            some = torch.from_numpy(batch)
            mine = places[some]
            one, other = module(q[some]), module(d[some])
            options: dict[str, Any] = {
                "mask": mine[:, None] != mine[None, :],
                "temperature": self.temperature,
                "hardest": self.hardest,
            }
            total = info_nce(one, other, **options) + info_nce(other, one, **options)
            # The block that decodes learns beside the others, without a say in what codes become.
            near = nn.functional.normalize(module.decoded(other.detach()), dim=1)
            total = total + (1 - (near * d[some]).sum(dim=1)).mean()
            if stored is not None:
                total = total + self.compatibility * info_nce(one, stored[some], **options)
            return total

        self.history_ = train(
            module,
            batches,
            loss,
            epochs=self.epochs,
            rates=self.rate,
            clip=5.0,
            seed=self.seed,
            checkpoint=checkpoint,
            progress=progress,
        )
        self.codec_ = module.codec()
        self.dead_bits_ = _dead_bits(self.codec_, answered)
        return self


def _old_values(codec: RecurrentBinary, old: RecurrentBinary, documents: Any, n: int) -> Tensor:
    (vectors,) = shared_vectors(documents, names=("the old documents",))
    if (old.n_values, int(old.bits)) != (codec.n_values, int(codec.bits)):
        raise InvalidInput(
            f"old codes have {old.n_values} coordinates of {old.bits} bits and new ones {codec.n_values} of "
            f"{codec.bits}; expected the same, or they can't be compared"
        )
    if len(vectors) != n:
        raise DimensionMismatch(f"there are {n} pairs and {len(vectors)} old documents; expected one for each")
    return torch.from_numpy(old.numbers(vectors).astype(np.float32))


def _dead_bits(codec: RecurrentBinary, documents: NDArray[np.float32]) -> float:
    numbers = codec.numbers(documents).astype(np.int16)
    codes = (numbers + 2 ** int(codec.bits) - 1) // 2
    shares = np.array([((codes >> bit) & 1).mean(axis=0) for bit in range(int(codec.bits))])
    return float((np.minimum(shares, 1 - shares) < 0.01).mean())
