"""The FANNS system on a tiny scale: every strategy in every cell, none breaking a filter."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.evaluation import draw_all
from isometry.evaluation.fanns import Speed
from isometry.indexes import Flat
from isometry.systems import fanns, get_system
from isometry.systems.pages import page

SCALE = fanns.Scale(4_200, 0, 16, 20, 16, (0.01, 0.4), 1)


@pytest.fixture(scope="module")
def result():
    pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(fanns.SCALES, "small", SCALE)
        return get_system("fanns").reproduce()


def test_every_cell_has_a_best_and_none_breaks_its_filter(result):
    cells = result.settings["cells"]
    assert [(cell["kind"], cell["wanted"]) for cell in cells] == [
        (kind, share) for kind in ("independent", "correlated", "anti-correlated") for share in (0.01, 0.4)
    ]
    assert all(cell["best"] in (*fanns.ONE_WAY, fanns.POST) for cell in cells)
    assert not any(cell["violations"] or cell["short lists of the planner"] for cell in cells)
    assert all(cell["recall"] >= 0.95 and cell["recall at the usual effort"] >= 0.9 for cell in cells)
    assert all(abs(cell["share"] / cell["wanted"] - 1) < 0.1 for cell in cells)
    assert result.verdict in ("partly", "does not hold"), "too small for the claim to hold"
    assert "0 ids broke a filter, 0 lists were too short" in result.because


def test_filtering_afterwards_collapses_where_the_filter_runs_against_the_queries(result):
    recalls = {f.method: f.value for f in (*result.figures, *result.baselines) if f.measure.startswith("recall@10")}
    assert recalls["post-filter"] < 0.5
    assert recalls["planner"] >= 0.95
    assert [figure.method for figure in result.baselines if figure.measure.startswith("recall@10")] == ["post-filter"]


def test_the_page_has_tables_picture_and_command(result, tmp_path):
    text = page(get_system("fanns"), result)
    for part in ("fanns-collapse.png", "isometry reproduce fanns", "QPS, 0.4"):
        assert part in text
    assert {path.name for path in draw_all(result, tmp_path)} == {"fanns-collapse.png"}


def test_filtering_afterwards_keeps_the_best_that_pass():
    x = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)
    mask = np.arange(500) % 2 == 0
    index = Flat(metric="dot").build(x)
    ids = fanns.post_filtered(index, x[:5], mask, 500)
    assert np.array_equal(ids, index.search(x[:5], 10, allowed=mask)[0])
    assert (fanns.post_filtered(index, x[:5], mask, 10) == -1).any()


def test_the_ratio_is_to_the_best_of_the_others():
    def speed(seconds):
        return Speed(10, 0.95, seconds, 0, 0)

    assert fanns.ratio({"planner": speed(0.2), "scan": speed(0.1), "walk": speed(float("nan"))}) == 0.5
    assert fanns.ratio({"planner": speed(float("nan")), "scan": speed(0.1)}) == 0
