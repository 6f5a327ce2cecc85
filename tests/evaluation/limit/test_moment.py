"""The moment curve: brute force, closed-form leads, and where each precision ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.errors import InvalidInput
from isometry.evaluation.limit import all_subsets, moment_curve, moment_margin, moment_queries, moment_reach


def leads(n, k):
    sets = all_subsets(n, k)
    scores = moment_queries(sets, n) @ moment_curve(n, k).T
    worst = np.take_along_axis(scores, sets, axis=1).min(axis=1)
    np.put_along_axis(scores, sets, -np.inf, axis=1)
    return worst - scores.max(axis=1)


@given(st.integers(1, 4).flatmap(lambda k: st.tuples(st.integers(k + 1, 14), st.just(k))))
@settings(deadline=None, max_examples=30)
def test_every_set_comes_first_and_the_closed_form_is_the_smallest_lead(sizes):
    found = leads(*sizes)
    assert (found > 0).all()
    assert found.min() == pytest.approx(moment_margin(*sizes), rel=1e-6)


def test_vectors_are_unit_vectors_of_2k_dimensions():
    curve = moment_curve(7, 3)
    assert curve.shape == (7, 6)
    np.testing.assert_allclose(np.linalg.norm(curve, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(moment_queries(all_subsets(7, 3), 7), axis=1), 1)


@pytest.mark.parametrize(("n", "lead"), [(46, 3.0e-5), (200, 8.4e-8), (800, 3.3e-10)])
def test_golden_leads_for_pairs(n, lead):
    assert moment_margin(n, 2) == pytest.approx(lead, rel=0.02)


def test_precision_decides_how_far_it_goes():
    reached = [moment_reach(2, precision, most=800).n for precision in ("int8", "float16", "float32", "float64")]
    assert reached == sorted(reached)
    assert reached[0] < 20
    assert 100 <= reached[2] < 250
    assert reached[3] == 800


def test_where_the_search_ended_is_told():
    free = moment_reach(2, "float64", most=40)
    assert (free.n, free.bounded, free.exhaustive) == (40, True, True)
    assert not moment_reach(2, "int8").bounded


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: moment_curve(2, 3), "k is 3 but there are 2"),
        (lambda: moment_curve(0, 1), "n is 0"),
        (lambda: moment_reach(2, "float8"), "precision is 'float8'"),
        (lambda: moment_reach(2, most=2), "most is 2"),
        (lambda: moment_margin(100_000, 4), "sets; expected at most"),
        (lambda: moment_reach(6, most=1_000), "sets; expected at most"),
    ],
)
def test_bad_input(call, said):
    with pytest.raises(InvalidInput, match=said):
        call()
