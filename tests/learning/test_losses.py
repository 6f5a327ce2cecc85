"""Losses against formulas written out in NumPy, and what they must not do."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isometry.errors import DimensionMismatch, InvalidInput  # noqa: E402
from isometry.learning.estimators import nearest, sign  # noqa: E402
from isometry.learning.losses import info_nce, lambda_rank, list_net, rank_net, spread_temperature  # noqa: E402


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def nce(q, c, positives, allowed, tau, hardest=None):
    q, c = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (q, c))
    losses = []
    for i, p in enumerate(positives):
        scores = c @ q[i] / tau
        others = sorted((scores[j] for j in range(len(c)) if j != p and allowed[i, j]), reverse=True)[:hardest]
        losses.append(math.log(sum(map(math.exp, [scores[p], *others]))) - scores[p])
    return np.array(losses)


@pytest.mark.parametrize("hardest", [None, 2, 50])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_info_nce_is_the_formula(hardest, chunk):
    q, c = draw(5, 4), draw(7, 4, seed=1)
    positives, allowed = np.array([6, 0, 3, 3, 1]), np.random.default_rng(2).random((5, 7)) < 0.7
    weights = np.array([1.0, 0, 2, 1, 1])
    expected = (nce(q.numpy(), c.numpy(), positives, allowed, 0.2, hardest) * weights).sum() / weights.sum()
    found = info_nce(
        q, c, positives=torch.from_numpy(positives), mask=torch.from_numpy(allowed), weights=torch.from_numpy(weights),
        temperature=0.2, hardest=hardest, chunk=chunk,
    )  # fmt: skip
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_chunks_have_the_gradient_of_the_whole():
    q, c = draw(6, 4).requires_grad_(), draw(6, 4, seed=1).requires_grad_()
    whole = torch.autograd.grad(info_nce(q, c, hardest=3), (q, c))
    parts = torch.autograd.grad(info_nce(q, c, hardest=3, chunk=2), (q, c))
    assert all(torch.allclose(one, other) for one, other in zip(whole, parts, strict=True))


def test_own_candidates_are_those_of_a_shared_set():
    q, c = draw(4, 3), draw(6, 3, seed=1)
    own = torch.stack([c[[i, *(j for j in range(6) if j != i)]] for i in range(4)])
    assert float(info_nce(q, own)) == pytest.approx(float(info_nce(q, c)))
    assert float(info_nce(q, own, similarity="dot")) == pytest.approx(float(info_nce(q, c, similarity="dot")))


def test_a_query_without_negatives_has_no_loss():
    q = draw(3, 4).requires_grad_()
    loss = info_nce(q, draw(3, 4, seed=1), mask=torch.zeros((3, 3), dtype=torch.bool))
    assert loss.item() == 0
    assert float(torch.autograd.grad(loss, q)[0].abs().max()) == 0


def test_list_net_is_the_cross_entropy_and_least_at_the_target():
    s, t = draw(3, 5), draw(3, 5, seed=1)
    soft = [np.exp(x.numpy() / 0.5) / np.exp(x.numpy() / 0.5).sum(axis=1, keepdims=True) for x in (t, s)]
    assert float(list_net(s, t, temperature=0.5)) == pytest.approx(-(soft[0] * np.log(soft[1])).sum(axis=1).mean())
    assert float(list_net(t, t)) < float(list_net(s, t))
    some = torch.tensor([[True, True, False, True, False]]).expand(3, 5)
    assert float(list_net(s, t, mask=some)) == pytest.approx(float(list_net(s[:, [0, 1, 3]], t[:, [0, 1, 3]])))


def test_lists_that_are_masked_out_give_no_nan():
    s = draw(2, 3).requires_grad_()
    mask = torch.tensor([[True, True, True], [False, False, True]])
    for loss in (list_net(s, draw(2, 3, seed=1), mask=mask), rank_net(s, draw(2, 3, seed=1), mask=mask)):
        gradient = torch.autograd.grad(loss, s)[0]
        assert torch.isfinite(gradient).all()
        assert float(gradient[1].abs().max()) == 0
        assert float(gradient[0].abs().max()) > 0


def test_rank_net_is_the_formula():
    s, t = draw(1, 4).numpy()[0], draw(1, 4, seed=1).numpy()[0]
    pairs = [(i, j) for i in range(4) for j in range(4) if t[i] > t[j]]
    total = sum((t[i] - t[j]) * math.log1p(math.exp(s[j] - s[i])) for i, j in pairs)
    expected = total / sum(t[i] - t[j] for i, j in pairs)
    assert float(rank_net(torch.from_numpy(s)[None], torch.from_numpy(t)[None])) == pytest.approx(expected)


def test_lambda_rank_is_the_formula():
    s = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    relevant = torch.tensor([[False, True, False, True]])
    pairs = {(1, 0): 1 - 1 / 2, (1, 2): 1 / 2 - 1 / 3, (3, 0): 1 - 1 / 4, (3, 2): 1 / 3 - 1 / 4}
    terms = {pair: weight * math.log1p(math.exp(s[0, pair[1]] - s[0, pair[0]])) for pair, weight in pairs.items()}
    assert float(lambda_rank(s, relevant)) == pytest.approx(sum(terms.values()) / 2)
    # Below the cut a rank counts as infinity: of two that lie there the order does not matter.
    cut = terms[1, 0] + terms[1, 2] / pairs[1, 2] / 2 + terms[3, 0] / pairs[3, 0]
    assert float(lambda_rank(s, relevant, cut=2)) == pytest.approx(cut / 2)
    assert float(lambda_rank(s, torch.zeros_like(relevant))) == 0


def test_the_temperature_spreads_as_wide_as_asked():
    for scale in (1e-3, 1.0, 1e3):
        t = scale * draw(20, 100)
        soft = (t / spread_temperature(t, 10)).softmax(dim=1)
        spread = (-(soft * soft.log().clamp_min(-1e3)).sum(dim=1)).exp().median()
        assert float(spread) == pytest.approx(10, rel=0.01)
    assert spread_temperature(torch.zeros(3, 5), 2) == 1
    with pytest.raises(InvalidInput, match="size is 200"):
        spread_temperature(t, 200)


def test_the_gradient_of_a_sign_is_that_of_what_lies_near():
    x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], requires_grad=True)
    assert sign(x).tolist() == [-1, -1, 1, 1, 1]
    assert torch.autograd.grad(sign(x).sum(), x)[0].tolist() == [0, 1, 1, 1, 0]


def test_a_choice_is_hard_and_its_gradient_soft():
    x, weights, centroids = draw(20, 3), draw(20, 3, seed=1), draw(6, 3, seed=2).requires_grad_()
    closeness = -torch.cdist(x, centroids).square()
    chosen = nearest(x, centroids, 0.5)
    assert torch.equal(chosen, centroids[closeness.argmax(dim=1)])
    share = (closeness / 0.5).softmax(dim=1)
    hard = torch.nn.functional.one_hot(closeness.argmax(dim=1), 6).to(x.dtype)
    expected = (hard + share - share.detach()) @ centroids
    ours, theirs = (torch.autograd.grad((each * weights).sum(), centroids)[0] for each in (chosen, expected))
    assert torch.allclose(ours, theirs)


def test_bad_input():
    q, c = draw(3, 4), draw(2, 4)
    with pytest.raises(DimensionMismatch, match="3 queries have 2 candidates"):
        info_nce(q, c)
    with pytest.raises(DimensionMismatch, match=r"expected \(n, d\) with"):
        info_nce(q, draw(3, 5))
    with pytest.raises(InvalidInput, match="positives are"):
        info_nce(q, c, positives=torch.tensor([0, 1, 2]))
    with pytest.raises(DimensionMismatch, match="mask is"):
        info_nce(q, q, mask=torch.ones((2, 2), dtype=torch.bool))
    for temperature in (0, -1, float("nan")):
        with pytest.raises(InvalidInput, match="temperature"):
            info_nce(q, q, temperature=temperature)
    with pytest.raises(InvalidInput, match="weights are"):
        info_nce(q, q, weights=-torch.ones(3))
    with pytest.raises(DimensionMismatch, match=r"expected \(n, m\) for all"):
        list_net(q, c)
