"""The Seismic system: its seven experiments on a tiny scale, and what they say of the claim."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from isometry.evaluation import draw_all
from isometry.systems import get_system, seismic
from isometry.systems.pages import page

SCALE = seismic.Scale(600, 0, 20, 600, 200, 1)
CLAIMS = ["speed", "blocking", "summaries", "neighbours", "values", "unskipped", "building"]


@pytest.fixture(scope="module")
def result():
    pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(seismic.SCALES, "small", SCALE)
        return get_system("seismic").reproduce()


def figures(result, measure):
    return {f.method: f.value for f in (*result.figures, *result.baselines) if f.measure == measure}


def test_both_indexes_and_exact_evaluation_are_timed(result):
    assert set(figures(result, "µs at 0.9")) == {"Seismic", "Inverted"}
    assert set(figures(result, "µs exact")) == {"SciPy product", "Inverted"}
    assert [figure.method for figure in result.baselines if figure.measure == "µs exact"] == ["SciPy product"]
    assert all(value > 100 for value in figures(result, "bytes per vector").values())


def test_every_part_of_the_method_has_its_figures(result):
    assert set(figures(result, "rows scored at 0.95")) == {
        "geometric blocks", "fixed blocks", "random blocks", "summaries of energy 0.4", "summaries of energy 1",
    }  # fmt: skip
    assert set(figures(result, "rows scored at 0.99")) == {"10 neighbours", "no neighbours"}
    weights = figures(result, "bytes per non-zero")
    assert 3 <= weights["uint8 values"] < weights["float16 values"] < 5
    losses = figures(result, "largest loss, share of a row's maximum")
    assert losses["float16 values"] < losses["uint8 values"] <= 0.501 / 255
    assert figures(result, "accuracy@10")["nothing cut or skipped"] >= 0.999


def test_every_claim_has_its_verdict(result):
    name = "synthetic sparse, 120 of 30,522 terms"
    assert list(result.settings["checks"]) == [f"{name}: {claim}" for claim in CLAIMS]
    assert result.settings["checks"][f"{name}: unskipped"]
    assert result.because.count("(holds)") == sum(result.settings["checks"].values())
    assert result.verdict in ("partly", "does not hold"), "too small for the claim to hold"
    assert "200,000 vectors or more; 600 were tried" in result.because


def test_the_page_has_tables_picture_and_command(result, tmp_path):
    text = page(get_system("seismic"), result)
    for part in ("seismic-speed-synthetic.png", "isometry reproduce seismic"):
        assert part in text
    assert {path.name for path in draw_all(result, tmp_path)} == {"seismic-speed-synthetic.png"}


def test_the_product_finds_the_best_rows_best_first():
    rng = np.random.default_rng(0)
    x, q = (csr_array(rng.random((n, 40), np.float32) * (rng.random((n, 40)) < 0.4)) for n in (200, 70))
    scores = (q @ x.T).toarray()
    for row, found in zip(scores, seismic._product(q, x.T.tocsr()), strict=True):
        assert found.tolist() == np.argsort(-row, kind="stable")[: seismic.K].tolist()
