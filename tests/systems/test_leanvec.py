"""The LeanVec system: its five experiments on a tiny scale, and what they say of the claim."""

from __future__ import annotations

import pytest

from isometry.evaluation import draw_all
from isometry.systems import get_system, leanvec
from isometry.systems.pages import page

SCALE = leanvec.Scale(0, 0, 0, (), (64,), 1_200, 100, 16, (400,), 1)


@pytest.fixture(scope="module")
def result():
    pytest.importorskip("numba")
    pytest.importorskip("sklearn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(leanvec.SCALES, "small", SCALE)
        return get_system("leanvec").reproduce()


def value(result, method, measure, data):
    (found,) = {
        figure.value
        for figure in (*result.figures, *result.baselines)
        if (figure.method, figure.measure) == (method, measure) and f"{figure.data} ".startswith(data)
    }
    return found


def test_learned_projections_keep_more_where_queries_are_unlike_the_data(result):
    for shift in (50, 100):
        data = f"synthetic 64-d, queries shifted by {shift}%, d="
        recall = {
            method: value(result, f"projection: {method}", "recall@10 of 50", data)
            for method in ("pca", "eigenvector search", "frank wolfe", "closed form")
        }
        assert recall["closed form"] == max(recall.values()) > recall["pca"]


def test_every_index_is_measured_in_all_five_ways(result):
    data = "synthetic 64-d, queries shifted by 0%, n=1,200"
    every = (*result.figures, *result.baselines)
    methods = {figure.method for figure in every if (figure.measure, figure.data) == ("build s", data)}
    chosen = result.settings["chosen components"]["synthetic 64-d, queries shifted by 0%"]
    assert chosen % 16 == 0
    assert f"LeanVec{chosen},LVQ8,Vamana16 -> LVQ8" in methods
    assert len(methods) == 6 + (chosen != 32)
    for method in methods:
        assert value(result, method, "bytes per vector", data) > 16
        assert value(result, method, f"recall@10, effort {leanvec.LARGE}", data) > 0.95
        assert value(result, method, "QPS at 0.9", f"{data}; 2 threads, batch 1,000") > 0
        assert value(result, method, "QPS at 0.9", f"{data}; 1 thread, batch 1 ") > 0
    lean = [method for method in methods if "LeanVec" in method]
    built = {figure.method for figure in result.figures if (figure.measure, figure.data) == ("build s", data)}
    assert built == set(lean)
    assert result.settings["components"]["synthetic 64-d, queries shifted by 0%"] == 32


def test_the_verdict_tells_the_numbers_of_all_experiments(result):
    assert result.verdict in ("partly", "does not hold"), "too small for the claim to hold"
    for part in ("more of the true 10 than PCA on 2 of 2 sets", "over float16", "as fast as over float32", "the gain"):
        assert part in result.because


def test_the_page_has_tables_pictures_and_command(result, tmp_path):
    text = page(get_system("leanvec"), result)
    for part in ("leanvec-speed.png", "leanvec-crossover.png", "isometry reproduce leanvec"):
        assert part in text
    assert {path.name for path in draw_all(result, tmp_path)} == {"leanvec-speed.png", "leanvec-crossover.png"}


def test_components_follow_the_paper():
    assert [leanvec._components(dim) for dim in (64, 384, 768, 1024)] == [32, 160, 192, 256]
