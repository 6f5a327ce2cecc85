"""Free embeddings: right gradients, right verdicts, the paper's small figures, and every refusal."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from isometry.errors import Diverged, InvalidInput, TooLarge
from isometry.evaluation.limit import all_subsets, check_memory, critical_n, fit_embeddings
from isometry.evaluation.limit.free import _among_first, _Objective, _padded

torch = pytest.importorskip("torch")


def objective(sets, loss, *, temperature=0.1, margin=0.0):
    rows = [np.asarray(row) for row in sets]
    positive, weight = _padded(rows, max(map(len, rows)))
    return _Objective(torch.from_numpy(positive), torch.from_numpy(weight).double(), loss, temperature, margin)


def reference(sets, loss, x, temperature, half):
    """The same losses, written query by query for autograd."""
    queries, documents = x[: len(sets)], x[len(sets) :]
    scores = queries @ documents.T
    total = 0.0
    pairs = sum(map(len, sets))
    for row, wanted in zip(scores, sets, strict=True):
        logs = (row / temperature).log_softmax(0)[wanted]
        if loss == "infonce":
            total = total - logs.sum() / pairs
        elif loss == "infonce-sum":
            total = total - logs.logsumexp(0) * len(wanted) / pairs
        else:
            others = [j for j in range(len(row)) if j not in wanted]
            threshold = ((row[wanted].min() + row[others].max()) / 2).detach()
            missing = (1 - (row[wanted] - threshold) / half).clamp(min=0)
            above = (1 + (row[others] - threshold) / half).clamp(min=0)
            total = total + ((missing**2).sum() + (above**2).sum()) / len(sets)
    return total


@pytest.mark.parametrize("loss", ["infonce", "infonce-sum", "hinge"])
@pytest.mark.parametrize("sets", [[[0, 1], [2, 3], [1, 4]], [[0], [1, 2, 3], [4, 2]]], ids=["even", "uneven"])
def test_gradients_are_those_of_autograd(loss, sets):
    x = torch.nn.functional.normalize(torch.randn(2, 8, 3, dtype=torch.float64), dim=2)
    ours = objective(sets, loss, margin=0.4)
    losses, gradient = ours.loss_and_gradient(x.clone())
    for place in range(2):
        leaf = x[place].clone().requires_grad_()
        expected = reference(sets, loss, leaf, 0.1, ours.half)
        expected.backward()
        assert losses[place] == pytest.approx(float(expected.detach()), rel=1e-6)
        np.testing.assert_allclose(gradient[place], leaf.grad, rtol=1e-6, atol=1e-9)


def lead_by_lp(documents, wanted):
    """The exact answer for one query over fixed documents: the best lead with |q| coordinates at most 1."""
    others = [j for j in range(len(documents)) if j not in wanted]
    gaps = np.array([documents[j] - documents[i] for i in wanted for j in others])
    d = documents.shape[1]
    done = linprog(
        c=[*np.zeros(d), -1.0],
        A_ub=np.hstack([gaps, np.ones((len(gaps), 1))]),
        b_ub=np.zeros(len(gaps)),
        bounds=[(-1, 1)] * d + [(None, None)],
        method="highs",
    )
    return -done.fun


@pytest.mark.parametrize(("n", "dim"), [(6, 3), (8, 4)])
def test_a_solved_fit_is_separable_and_a_linear_program_agrees(n, dim):
    sets = all_subsets(n, 2)
    (fit,) = fit_embeddings(sets, n, dim, steps=4_000)
    per_query = [lead_by_lp(fit.documents.astype(float), row.tolist()) for row in sets]
    assert fit.solved == (fit.reason == "solved")
    if fit.solved:
        assert min(per_query) >= fit.margin - 1e-6
        assert fit.recall == 1.0
    else:
        assert fit.margin <= 0


def test_what_no_vectors_can_do_is_never_solved():
    """In one dimension a query ranks by its sign: of three documents the middle one is never first."""
    (fit,) = fit_embeddings([[0], [1], [2]], 3, 1, steps=300)
    assert not fit.solved
    assert fit.recall < 1


def test_same_seed_same_vectors_whoever_else_is_fitted():
    sets = all_subsets(7, 2)
    alone = fit_embeddings(sets, 7, 4, seeds=[3], steps=200, check_every=1_000)[0]
    beside = fit_embeddings(sets, 7, 4, seeds=[1, 3], steps=200, check_every=1_000)[1]
    np.testing.assert_allclose(alone.documents, beside.documents, atol=2e-3)
    again = fit_embeddings(sets, 7, 4, seeds=[3], steps=200, check_every=1_000)[0]
    np.testing.assert_array_equal(alone.documents, again.documents)


def test_the_hinge_reaches_the_lead_it_is_asked_for():
    sets = all_subsets(6, 2)
    first = fit_embeddings(sets, 6, 5, steps=3_000)
    (fit,) = fit_embeddings(sets, 6, 5, loss="hinge", margin=0.1, start=first, steps=5_000)
    assert fit.solved
    assert fit.margin > 0.1
    np.testing.assert_allclose(np.linalg.norm(fit.queries, axis=1), 1, atol=1e-6)


def test_everything_relevant_is_trivially_solved():
    (fit,) = fit_embeddings([[0, 1, 2]], 3, 2)
    assert (fit.solved, fit.steps, fit.recall) == (True, 1, 1.0)


def test_why_it_stopped_is_recorded():
    sets = all_subsets(8, 2)
    assert fit_embeddings(sets, 8, 2, steps=60)[0].reason == "out of steps"
    stalled = fit_embeddings(sets, 8, 2, patience=20, min_delta=1e-2, steps=5_000)[0]
    assert (stalled.reason, stalled.solved) == ("loss stalled", False)
    assert stalled.steps < 5_000


def test_progress_is_told():
    told = []
    fit_embeddings(all_subsets(8, 2), 8, 2, steps=120, progress=lambda *said: told.append(said[:2]))
    assert told == [(1, 120), (51, 120), (101, 120), (120, 120)]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
)
@settings(deadline=None)
def test_counting_the_first_k_is_brute_force(relevant, others):
    k = len(relevant)
    ranked = sorted([(-score, 1) for score in relevant] + [(-score, 0) for score in others])
    expected = sum(mark for _, mark in ranked[:k])
    assert _among_first(np.sort(relevant)[::-1], np.sort(others)[::-1]) == expected


def test_memory_is_refused_before_anything_is_made():
    with pytest.raises(TooLarge, match=r"needs [\d,]+ bytes; memory_bytes allows 1,000") as caught:
        fit_embeddings(all_subsets(10, 2), 10, 4, memory_bytes=1_000)
    assert isinstance(caught.value, MemoryError)
    needed = check_memory(45, 10, 4, 2, 1, 1 << 30)
    assert f"{needed:,} bytes" in str(caught.value)
    with pytest.raises(TooLarge):
        critical_n(1_000, start=3_000)


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(Diverged, match="lower learning_rate"):
        fit_embeddings([[0], [1]], 3, 2, learning_rate=1e12, temperature=0.001, steps=2_000, start=broken())


def broken():
    (fit,) = fit_embeddings([[0], [1]], 3, 2, steps=1)
    return [dataclasses.replace(fit, queries=np.full_like(fit.queries, np.nan))]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"relevant": []}, "no query"),
        ({"relevant": [[0], []]}, "query 1 has no relevant"),
        ({"relevant": [[0, 7]]}, "names document 7"),
        ({"relevant": [[-1]]}, "names document -1"),
        ({"relevant": [[0, 1, 2, 3, 4]], "documents": 4}, "k is 5 but there are 4 documents"),
        ({"documents": 0}, "documents is 0"),
        ({"dim": 0}, "dim is 0"),
        ({"loss": "tripel"}, "loss is 'tripel'"),
        ({"loss": "hinge"}, "the hinge loss needs"),
        ({"temperature": 0}, "temperature is 0"),
        ({"margin": 3}, "margin is 3"),
        ({"steps": 0}, "steps is 0"),
        ({"seeds": []}, "expected one per seed"),
        ({"start": []}, "expected one per seed"),
    ],
)
def test_bad_input(change, said):
    given_ = {"relevant": [[0], [1, 2]], "documents": 4, "dim": 2} | change
    with pytest.raises(InvalidInput, match=said):
        fit_embeddings(given_.pop("relevant"), given_.pop("documents"), given_.pop("dim"), **given_)


def test_golden_critical_n_of_the_paper_at_four_dimensions():
    """Table 6 says 10; seeds differ by one."""
    found = critical_n(4, seeds=(0, 1), start=9, sweep=(0, 1))
    assert abs(found.median - 10) <= 1
    assert found.attempts[max(found.values)].count("solved") >= 1


def test_critical_n_of_k_out_of_its_reach_ends_at_k():
    found = critical_n(1, k=2, seeds=(0,), start=5, sweep=(0, 0), steps=200)
    assert 2 <= found.values[0] <= 4
