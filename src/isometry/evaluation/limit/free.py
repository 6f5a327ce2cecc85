"""Free embeddings: vectors of queries and documents fitted to judgements directly, with no text in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from isometry.errors import Diverged, InvalidInput, MissingExtra, TooLarge, check_choice, check_range
from isometry.evaluation.limit.patterns import check_k

if TYPE_CHECKING:
    import torch

LOSSES = ("infonce", "infonce-sum", "hinge")
DEFAULT_MEMORY = 4 << 30

_HINGE_SLACK = 1.1
_ALONE_BELOW = 1 << 20

Progress = Callable[[int, int | None, str], None]


@dataclass(frozen=True)
class Fit:
    """Vectors that were fitted to judgements, and how that ended.

    Attributes
    ----------
    queries, documents : (m, d), (n, d) float32
        Unit vectors; scores are their dot products.
    solved : bool
        Every relevant document of every query scores above all its others by more than the margin asked for.
    margin : float
        Smallest lead of a relevant document over one that is not, over all queries; negative while some are wrong.
    recall : float
        Share of relevant documents among the first |relevant| of their query.
    loss : float
    steps : int
    reason : str
        Why it stopped: "solved", "loss stalled" or "out of steps".
    """

    queries: NDArray[np.float32]
    documents: NDArray[np.float32]
    solved: bool
    margin: float
    recall: float
    loss: float
    steps: int
    reason: str


def fit_embeddings(
    relevant: Sequence[Sequence[int]] | NDArray[np.int64],
    documents: int,
    dim: int,
    *,
    seeds: Sequence[int] = (0,),
    loss: str = "infonce",
    temperature: float = 0.1,
    margin: float = 0.0,
    learning_rate: float = 0.01,
    steps: int = 100_000,
    patience: int = 1_000,
    min_delta: float = 1e-5,
    check_every: int = 50,
    start: Sequence[Fit] | None = None,
    memory_bytes: int = DEFAULT_MEMORY,
    device: str | None = None,
    progress: Progress | None = None,
) -> list[Fit]:
    r"""Look for unit vectors whose dot products rank the relevant documents of every query first.

    Parameters
    ----------
    relevant : (m, k) int, or m sequences of int
        Numbers of each query's relevant documents, at least one each.
    documents : int
        n; documents are numbered 0 to n - 1.
    dim : int
        d, at least 1.
    seeds : sequence of int
        One fit per seed, computed side by side; a fit does not depend on the others.
    loss : {"infonce", "infonce-sum", "hinge"}
        See Notes.
    temperature : float
        Of the two InfoNCE losses, 0.001 to 100.
    margin : float
        0 to 2. A fit is solved when relevant documents lead by more than this. The hinge loss needs one above 0.
    learning_rate, steps, patience, min_delta, check_every : float, int, int, float, int
        Adam's rate; most steps; stop when the loss has not fallen by `min_delta` for `patience` steps; steps between
        looks at whether it is solved.
    start : sequence of Fit, optional
        Begin from these, one per seed, in place of random vectors.
    memory_bytes : int
        Refuse to begin when more is needed.
    device : str, optional
        A torch device; default the first GPU, else the processor.
    progress : callable, optional
        Called with (step, steps, what) at every look.

    Returns
    -------
    list of Fit
        In the order of `seeds`.

    Raises
    ------
    InvalidInput
        No query, one without a relevant document or with an unknown one, or a setting out of range.
    TooLarge
        More memory is needed than allowed; said before anything is allocated.
    Diverged
        The loss became NaN or infinite.
    MissingExtra
        torch is not installed.

    Notes
    -----
    With scores :math:`s = QD^T` and temperature τ, "infonce" is the mean over all pairs of a query and one of its
    relevant documents of :math:`-\log softmax(s_i / τ)_j`: what the paper's program computes. "infonce-sum" is what its
    footnote writes: the logarithm of the relevant documents' summed probability. "hinge" puts a threshold between the
    worst relevant and the best other document of each query and squares what comes closer to it than half the margin;
    thresholds lose nothing, because for binary relevance row thresholds and pairwise order need the same rank
    (Proposition 1).

    All queries and documents take part in every step of Adam; then rows are scaled to length 1. Gradients are written
    out, so a step is three matrix products: O(m n d) time. Memory O(m n + (m + n) d) per seed.

    References
    ----------
    Weller et al., arXiv:2508.21038, section 4 and Proposition 1.
    """
    sets = _check_relevant(relevant, check_range("documents", documents, 1))
    check_range("dim", dim, 1)
    check_choice("loss", loss, LOSSES)
    _check_number("temperature", temperature, 1e-3, 100)
    _check_number("learning_rate", learning_rate, 1e-12, 1e12)
    _check_number("min_delta", min_delta, 0, 1e12)
    _check_number("margin", margin, 0, 2)
    if loss == "hinge" and margin == 0:
        raise InvalidInput("margin is 0; the hinge loss needs the lead that it should reach, such as margin=0.05")
    for name, count in (("steps", steps), ("patience", patience), ("check_every", check_every)):
        check_range(name, count, 1)
    if not seeds or (start is not None and len(start) != len(seeds)):
        raise InvalidInput(f"seeds are {list(seeds)!r} and start holds {len(start or ())} fits; expected one per seed")
    widest = max(map(len, sets))
    check_memory(len(sets), documents, dim, widest, len(seeds), memory_bytes)
    torch = _torch()
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if start is None:
        first = np.stack([_random_vectors(len(sets), documents, dim, seed) for seed in seeds])
    else:
        first = np.stack([np.concatenate([fit.queries, fit.documents]) for fit in start])
    positive, weight = _padded(sets, widest)
    objective = _Objective(
        torch.from_numpy(positive).to(where), torch.from_numpy(weight).to(where), loss, temperature, margin
    )
    ends: list[Fit | None] = [None] * len(seeds)
    alive = list(range(len(seeds)))
    best, waited = [float("inf")] * len(seeds), [0] * len(seeds)
    adam = _Adam(torch.from_numpy(first).to(where), learning_rate)
    # Threads that wait for each other in products this small cost far more than they bring.
    alone = len(seeds) * len(sets) * documents < _ALONE_BELOW
    with torch.no_grad(), threadpool_limits(1) if alone else nullcontext():
        for step in range(steps):
            losses, gradient = objective.loss_and_gradient(adam.x)
            adam.step(gradient)
            looking = step % check_every == 0 or step == steps - 1
            margins = objective.margins(adam.x) if looking else [-2.0] * len(alive)
            reasons = {}
            for place, (i, value) in enumerate(zip(alive, losses, strict=True)):
                if not np.isfinite(value):
                    raise Diverged(
                        f"the loss is {value} at step {step} (seed {seeds[i]}); lower learning_rate, which is "
                        f"{learning_rate}, or raise temperature, which is {temperature}"
                    )
                waited[i] = 0 if value < best[i] - min_delta else waited[i] + 1
                best[i] = min(best[i], value) if waited[i] == 0 else best[i]
                if margins[place] > margin:
                    reasons[place] = "solved"
                elif waited[i] >= patience:
                    reasons[place] = "loss stalled"
                elif step == steps - 1:
                    reasons[place] = "out of steps"
            for place, reason in reasons.items():
                x = adam.x[place].cpu().numpy()
                ends[alive[place]] = _fit(x[: len(sets)], x[len(sets) :], sets, margin, losses[place], step + 1, reason)
            if reasons:
                stay = [place for place in range(len(alive)) if place not in reasons]
                alive = [alive[place] for place in stay]
                adam.keep(stay)
            if progress is not None and looking:
                progress(step + 1, steps, f"free embeddings, {dim} dimensions")
            if not alive:
                break
    return [end for end in ends if end is not None]


def check_memory(queries: int, documents: int, dim: int, widest: int, fits: int, memory_bytes: int) -> int:
    """Return the bytes that fits side by side take, or raise `TooLarge` when there are too many.

    Parameters
    ----------
    queries, documents, dim : int
    widest : int
        Relevant documents of the query that has most.
    fits : int
    memory_bytes : int
        What is allowed.
    """
    scores = 4 * queries * documents
    vectors = 4 * (queries + documents) * dim
    needed = fits * (5 * scores + 6 * vectors) + (8 + 4 + 4 * fits) * queries * widest
    if needed > memory_bytes:
        raise TooLarge(
            f"fitting {queries:,} queries over {documents:,} documents in {dim} dimensions needs {needed:,} bytes; "
            f"memory_bytes allows {memory_bytes:,}. Allow more, or take a sample of the queries"
        )
    return needed


class _Objective:
    """Loss, gradient and margin of vectors ``x`` (b, m + n, d): queries first, then documents."""

    def __init__(
        self, positive: torch.Tensor, weight: torch.Tensor, loss: str, temperature: float, margin: float
    ) -> None:
        self.positive, self.weight = positive, weight
        self.share = weight.sum(dim=1, keepdim=True)
        self.loss, self.temperature, self.half = loss, temperature, _HINGE_SLACK * margin / 2

    def loss_and_gradient(self, x: torch.Tensor) -> tuple[list[float], torch.Tensor]:
        m = len(self.positive)
        queries, documents = x[:, :m], x[:, m:]
        scores = queries @ documents.transpose(1, 2)
        losses, slope = (self._hinge if self.loss == "hinge" else self._infonce)(scores)
        gradient = _torch().empty_like(x)
        _torch().bmm(slope, documents, out=gradient[:, :m])
        _torch().bmm(slope.transpose(1, 2), queries, out=gradient[:, m:])
        return losses.tolist(), gradient

    def margins(self, x: torch.Tensor) -> list[float]:
        m = len(self.positive)
        low, high = self._nearest(x[:, :m] @ x[:, m:].transpose(1, 2))
        found: list[float] = (low - high).amin(dim=(1, 2)).tolist()
        return found

    def _infonce(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logs = scores.div_(self.temperature).log_softmax(dim=-1)
        index = self.positive.expand(len(scores), -1, -1)
        chosen = logs.gather(2, index)
        slope = logs.exp_().mul_(self.share)
        if self.loss == "infonce":
            pull = self.weight.expand_as(chosen)
            losses = -(chosen * pull).sum(dim=(1, 2))
        else:
            mass = (chosen + (self.weight > 0).log()).softmax(dim=-1)
            total = (chosen + (self.weight > 0).log()).logsumexp(dim=-1, keepdim=True)
            pull = mass * self.share
            losses = -(total * self.share).sum(dim=(1, 2))
        return losses, slope.scatter_add_(2, index, -pull).div_(self.temperature)

    def _hinge(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low, high = self._nearest(scores)
        index = self.positive.expand(len(scores), -1, -1)
        scores = scores.sub_((low + high) / 2)
        missing = (self.half - scores.gather(2, index)).clamp_(min=0).div_(self.half) * (self.weight > 0)
        above = (scores.add_(self.half).clamp_(min=0)).div_(self.half).scatter_(2, index, 0.0)
        losses = ((missing**2).sum(dim=(1, 2)) + (above**2).sum(dim=(1, 2))) / scores.shape[1]
        return losses, above.scatter_add_(2, index, -missing).mul_(2 / (self.half * scores.shape[1]))

    def _nearest(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each query's worst relevant and best other score."""
        index = self.positive.expand(len(scores), -1, -1)
        low = scores.gather(2, index).amin(dim=2, keepdim=True)
        high = scores.scatter(2, index, -1.0).amax(dim=2, keepdim=True)
        return low, high


class _Adam:
    """Adam without weight decay; rows are scaled to length 1 after each step."""

    _BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8

    def __init__(self, x: torch.Tensor, rate: float) -> None:
        torch = _torch()
        self.x, self._rate, self._t = x, rate, 0
        self._mean, self._square = torch.zeros_like(x), torch.zeros_like(x)

    def step(self, gradient: torch.Tensor) -> None:
        self._t += 1
        self._mean.lerp_(gradient, 1 - self._BETA1)
        self._square.mul_(self._BETA2).addcmul_(gradient, gradient, value=1 - self._BETA2)
        size = (self._square / (1 - self._BETA2**self._t)).sqrt_().add_(self._EPS)
        self.x.addcdiv_(self._mean, size, value=-self._rate / (1 - self._BETA1**self._t))
        self.x.div_(self.x.norm(dim=2, keepdim=True))

    def keep(self, places: list[int]) -> None:
        self.x, self._mean, self._square = self.x[places], self._mean[places], self._square[places]


def _fit(
    queries: NDArray[np.float32],
    documents: NDArray[np.float32],
    sets: list[NDArray[np.int64]],
    margin: float,
    loss: float,
    steps: int,
    reason: str,
) -> Fit:
    """Judge the vectors on their own, in float64, whatever the loop saw."""
    scores = queries.astype(np.float64) @ documents.T.astype(np.float64)
    leads, found = [], 0
    for row, wanted in zip(scores, sets, strict=True):
        others = np.delete(row, wanted)
        best_other = others.max(initial=-1.0)
        leads.append(row[wanted].min() - best_other)
        bar = np.partition(others, -len(wanted))[-len(wanted) :] if len(others) >= len(wanted) else others
        found += _among_first(np.sort(row[wanted])[::-1], np.sort(bar)[::-1])
    lead = float(min(leads))
    return Fit(queries, documents, lead > margin, lead, found / sum(map(len, sets)), loss, steps, reason)


def _among_first(relevant: NDArray[np.float64], others: NDArray[np.float64]) -> int:
    """Return how many relevant scores are among the first len(relevant) of both lists; ties count against them."""
    k = len(relevant)
    above = np.searchsorted(-others, -relevant, side="right")
    return int(np.count_nonzero(np.arange(k) + above < k))


def _random_vectors(m: int, n: int, dim: int, seed: int) -> NDArray[np.float32]:
    random = np.random.default_rng([check_range("seed", seed, 0), m, n, dim])
    x = random.standard_normal((m + n, dim), dtype=np.float32)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def _check_relevant(relevant: Any, documents: int) -> list[NDArray[np.int64]]:
    sets = [np.unique(np.asarray(row, dtype=np.int64)) for row in relevant]
    if not sets:
        raise InvalidInput("relevant holds no query; expected at least one")
    for number, row in enumerate(sets):
        if not len(row):
            raise InvalidInput(
                f"query {number} has no relevant document; expected at least one, or leave the query out"
            )
        check_k(len(row), documents)
        if row[0] < 0 or row[-1] >= documents:
            raise InvalidInput(
                f"query {number} names document {row[0] if row[0] < 0 else row[-1]}; there are {documents}: expected "
                f"0 to {documents - 1}"
            )
    return sets


def _padded(sets: list[NDArray[np.int64]], widest: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return (m, widest) document numbers and weights; a short row repeats its first document with weight 0."""
    total = sum(map(len, sets))
    positive = np.empty((len(sets), widest), np.int64)
    weight = np.zeros((len(sets), widest), np.float32)
    for i, row in enumerate(sets):
        positive[i], weight[i, : len(row)] = row[0], 1 / total
        positive[i, : len(row)] = row
    return positive, weight


def _check_number(name: str, value: float, low: float, high: float) -> None:
    if not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidInput(f"{name} is {value!r}; expected a number from {low:g} to {high:g}")


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("encode", "fitting free embeddings", "torch") from error
    return torch
