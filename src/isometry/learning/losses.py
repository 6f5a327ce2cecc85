"""Losses: vectors or scores in, one number out. None of them knows what made the vectors."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from isometry.errors import DimensionMismatch, InvalidInput, check_range

__all__ = ["info_nce", "lambda_rank", "list_net", "rank_net", "spread_temperature"]

Similarity = Literal["cosine", "dot"]


def info_nce(
    queries: Tensor,
    candidates: Tensor,
    *,
    positives: Tensor | None = None,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    similarity: Similarity = "cosine",
    temperature: float = 0.05,
    hardest: int | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Return the cross-entropy of finding each query's positive among candidates.

    .. math:: -\frac{1}{\sum_i w_i} \sum_i w_i \log \frac{e^{s(q_i, c_{p_i}) / \tau}}{\sum_{j \in C_i} e^{s(q_i, c_j) /
        \tau}}

    Parameters
    ----------
    queries : (n, d) float
    candidates : (m, d) or (n, m, d) float
        One set for all queries, or one for each.
    positives : (n,) int64, optional
        Which candidate is a query's positive; by default the i-th for query i, of own sets the first.
    mask : (n, m) bool, optional
        False where a candidate is out of the set, such as another document of the same item. Positives always count.
    weights : (n,) float, optional
        How much a query counts: at least 0, not all 0.
    similarity : {"cosine", "dot"}, default "cosine"
    temperature : float, default 0.05
        :math:`\tau`, above 0.
    hardest : int, optional
        Besides the positive only so many candidates count, those with the highest scores.
    chunk : int, optional
        So many queries at a time; their scores are made again on the way back, so that memory is O(chunk m).

    Raises
    ------
    DimensionMismatch, InvalidInput
        Shapes do not fit, or a number is out of its range.

    References
    ----------
    van den Oord, Li, Vinyals, Representation learning with contrastive predictive coding, arXiv:1807.03748.
    """
    n, (own, m) = len(queries), _candidate_shape(queries, candidates)
    if not temperature > 0:
        raise InvalidInput(f"temperature is {temperature!r}; expected a number above 0")
    if positives is None:
        if not own and n > m:
            raise DimensionMismatch(f"{n} queries have {m} candidates; pass positives, or a candidate for each query")
        positives = torch.zeros(n, dtype=torch.int64) if own else torch.arange(n)
    positives = positives.to(queries.device)
    if positives.shape != (n,) or (n and not 0 <= int(positives.min()) <= int(positives.max()) < m):
        raise InvalidInput(f"positives are {tuple(positives.shape)} numbers; expected {n} of them from 0 to {m - 1}")
    if mask is not None and mask.shape != (n, m):
        raise DimensionMismatch(f"mask is {tuple(mask.shape)}; expected {(n, m)}")
    if hardest is not None:
        check_range("hardest", hardest, 1)
    if similarity == "cosine":
        queries, candidates = (functional.normalize(each, dim=-1) for each in (queries, candidates))

    def losses(some: Tensor, theirs: Tensor, right: Tensor, allowed: Tensor | None) -> Tensor:
        scores = torch.einsum("nd,nmd->nm", some, theirs) if own else some @ theirs.T
        scores = scores / temperature
        positive = scores.gather(1, right[:, None])
        out = torch.zeros_like(scores, dtype=torch.bool) if allowed is None else ~allowed
        rest = scores.masked_fill(out.scatter(1, right[:, None], True), -math.inf)
        if hardest is not None and hardest < m:
            rest = rest.topk(hardest, dim=1).values
        return torch.cat([positive, rest], dim=1).logsumexp(dim=1) - positive[:, 0]

    size = n if chunk is None else check_range("chunk", chunk, 1)
    parts = []
    for start in range(0, n, max(size, 1)):
        part = slice(start, start + size)
        given = queries[part], candidates[part] if own else candidates, positives[part]
        allowed = None if mask is None else mask[part]
        parts.append(losses(*given, allowed) if size >= n else checkpoint(losses, *given, allowed, use_reentrant=False))
    return _mean(torch.cat(parts) if parts else queries.new_zeros(0), weights)


def list_net(scores: Tensor, targets: Tensor, *, temperature: float = 1.0, mask: Tensor | None = None) -> Tensor:
    r"""Return the cross-entropy between two softmaxes over the same candidates, :math:`-\sum_j softmax(t)_j \log
    softmax(s)_j`, averaged over queries.

    Parameters
    ----------
    scores, targets : (n, m) float
        Of the student, and of the teacher.
    temperature : float, default 1.0
        Both are divided by it.
    mask : (n, m) bool, optional
        False where a candidate does not count. A query with fewer than two is left out.

    References
    ----------
    Cao, Qin, Liu, Tsai, Li, Learning to rank: from pairwise approach to listwise approach, ICML 2007.
    """
    mask = _list_mask(scores, targets, mask)
    if not temperature > 0:
        raise InvalidInput(f"temperature is {temperature!r}; expected a number above 0")
    counts = mask.sum(dim=1) >= 2
    mask = mask | ~counts[:, None]  # no softmax over nothing
    wanted = (targets / temperature).masked_fill(~mask, -math.inf).softmax(dim=1)
    found = (scores / temperature).masked_fill(~mask, -math.inf).log_softmax(dim=1)
    return _mean(-(wanted * found.masked_fill(~mask, 0)).sum(dim=1), counts.to(scores.dtype))


def rank_net(scores: Tensor, targets: Tensor, *, mask: Tensor | None = None) -> Tensor:
    r"""Return the logistic loss of pairs in the wrong order, :math:`\sum_{t_i > t_j} (t_i - t_j)
    \log(1 + e^{s_j - s_i})` per query, over the sum of :math:`t_i - t_j`.

    Parameters
    ----------
    scores, targets : (n, m) float
        Of the student; of the teacher, or grades.
    mask : (n, m) bool, optional
        False where a candidate does not count.

    References
    ----------
    Burges et al., Learning to rank using gradient descent, ICML 2005.
    """
    mask = _list_mask(scores, targets, mask)
    gaps = (targets[:, :, None] - targets[:, None, :]).clamp_min(0) * (mask[:, :, None] & mask[:, None, :])
    wrong = functional.softplus(scores[:, None, :] - scores[:, :, None])
    total = gaps.sum(dim=(1, 2))
    return _mean((gaps * wrong).sum(dim=(1, 2)) / total.clamp_min(1e-12), (total > 0).to(scores.dtype))


def lambda_rank(
    scores: Tensor, relevant: Tensor, *, ranks: Tensor | None = None, mask: Tensor | None = None, cut: int | None = None
) -> Tensor:
    r"""Return the logistic loss of pairs of a relevant and another candidate, weighted by what swapping them does to
    the reciprocal rank: :math:`\sum_{i \in R, j \notin R} |1/\pi_i - 1/\pi_j| \log(1 + e^{s_j - s_i})`.

    Parameters
    ----------
    scores : (n, m) float
    relevant : (n, m) bool
    ranks : (n, m) int, optional
        :math:`\pi`, from 1; by default the order of `scores`, equal ones by their place.
    mask : (n, m) bool, optional
        False where a candidate does not count.
    cut : int, optional
        Candidates ranked below it weigh as if they were at infinity.

    Returns
    -------
    Tensor
        Mean over the queries that have both kinds of candidates; each is divided by its number of relevant ones.

    References
    ----------
    Burges, Ragno, Le, Learning to rank with nonsmooth cost functions, NIPS 2006. Zhan et al., JPQ, CIKM 2021, with the
    weights of their released code.
    """
    mask = _list_mask(scores, relevant, mask)
    if ranks is None:
        order = scores.detach().masked_fill(~mask, -math.inf).sort(dim=1, descending=True, stable=True).indices
        ranks = torch.empty_like(order).scatter_(
            1, order, torch.arange(1, scores.shape[1] + 1, device=scores.device).expand_as(order)
        )
    gain = 1.0 / ranks.to(scores.dtype)
    if cut is not None:
        gain = gain.masked_fill(ranks > check_range("cut", cut, 1), 0)
    good, bad = relevant & mask, ~relevant & mask
    rows, columns = good.nonzero(as_tuple=True)
    weight = (gain[rows, columns, None] - gain[rows]).abs() * bad[rows]
    wrong = functional.softplus(scores[rows] - scores[rows, columns, None])
    each = torch.zeros_like(scores[:, 0]).index_add(0, rows, (weight * wrong).sum(dim=1))
    each = each / good.sum(dim=1).clamp_min(1)
    return _mean(each, (good.any(dim=1) & bad.any(dim=1)).to(scores.dtype))


def spread_temperature(targets: Tensor, size: float = 10.0) -> float:
    """Return the temperature at which the softmax of a teacher's scores spreads over about `size` candidates.

    That is: the exponential of its entropy has this median over the queries. Found by bisection.

    Parameters
    ----------
    targets : (n, m) float
    size : float, default 10
        At least 1, at most m.

    References
    ----------
    The spread of 5 to 20 is what made distillation work on unit vectors: Xiao et al., Distill-VQ, SIGIR 2022, use 1 for
    inner products of BERT models, which are far larger.
    """
    if not 1 <= size <= targets.shape[1]:
        raise InvalidInput(
            f"size is {size!r}; expected a number from 1 to {targets.shape[1]}, the candidates of a query"
        )
    deviation = float(targets.double().std(dim=1, correction=0).median())
    if deviation <= 0:
        return 1.0
    low, high = math.log(deviation) - 12, math.log(deviation) + 12
    for _ in range(40):
        middle = (low + high) / 2
        logs = (targets.double() / math.exp(middle)).log_softmax(dim=1)
        spread = float((-(logs.exp() * logs).sum(dim=1)).exp().median())
        low, high = (middle, high) if spread < size else (low, middle)
    return math.exp((low + high) / 2)


def _candidate_shape(queries: Tensor, candidates: Tensor) -> tuple[bool, int]:
    own = candidates.ndim == 3
    fits = candidates.ndim in (2, 3) and queries.ndim == 2 and candidates.shape[-1] == queries.shape[-1]
    if not fits or (own and len(candidates) != len(queries)):
        raise DimensionMismatch(
            f"queries are {tuple(queries.shape)} and candidates {tuple(candidates.shape)}; expected (n, d) with (m, d) "
            "or (n, m, d)"
        )
    return own, candidates.shape[-2]


def _list_mask(scores: Tensor, others: Tensor, mask: Tensor | None) -> Tensor:
    found = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    if scores.ndim != 2 or others.shape != scores.shape or found.shape != scores.shape:
        raise DimensionMismatch(
            f"scores are {tuple(scores.shape)}, what they are compared with {tuple(others.shape)} and the mask "
            f"{tuple(found.shape)}; expected (n, m) for all"
        )
    return found


def _mean(each: Tensor, weights: Tensor | None) -> Tensor:
    """Return the weighted mean; 0, with a gradient of 0, where nothing has a weight."""
    if weights is None:
        weights = torch.ones_like(each)
    if weights.shape != each.shape or bool((weights < 0).any()):
        raise InvalidInput(f"weights are {tuple(weights.shape)}; expected one for each of {len(each)} queries, >= 0")
    total = weights.sum()
    return (each * weights).sum() / torch.where(total > 0, total, torch.ones_like(total))
