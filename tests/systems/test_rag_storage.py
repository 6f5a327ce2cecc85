"""The RAG-storage system on tiny sets: what the paper's formulas do, and what is said of its claims."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.errors import InvalidInput
from isometry.evaluation import draw_all
from isometry.evaluation.judged_vectors import JudgedVectors
from isometry.systems import get_system, rag_storage
from isometry.systems.pages import page

D = 64


def judged(name, seed):
    """Return a set whose relevant documents are the nearest two, off the origin as encoders' vectors are."""
    rng = np.random.default_rng(seed)
    scales = np.linspace(1.5, 0.3, D)
    x = rng.standard_normal((400, D)) * scales + 0.4
    queries = x[:80] + 0.5 * rng.standard_normal((80, D)) * scales
    x, queries = ((part / np.linalg.norm(part, axis=1, keepdims=True)).astype(np.float32) for part in (x, queries))
    best = np.argsort(-queries @ x.T, axis=1)
    qrels = {f"q{i}": {f"d{best[i, 0]}": 2, f"d{best[i, 1]}": 1} for i in range(80)}
    return JudgedVectors(name, x, queries, tuple(f"d{i}" for i in range(400)), tuple(qrels), qrels)


@pytest.fixture(scope="module")
def result():
    pytest.importorskip("ir_measures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rag_storage, "_load", lambda *_: iter([judged("one", 0), judged("two", 1)]))
        return get_system("rag-storage").reproduce()


def change(result, method):
    (found,) = (
        figure
        for figure in (*result.figures, *result.baselines)
        if (figure.data, figure.method, figure.measure) == (rag_storage.POOLED, method, "relative change")
    )
    return found


def test_the_scoring_of_int8_is_what_loses(result):
    official = change(result, f"int8, {rag_storage.OFFICIAL}")
    fair = change(result, "int8, the same codes de-quantised")
    assert official.high < -0.01 < fair.value
    assert change(result, "Int8").value > -0.01


def test_a_plain_cast_to_four_bits_loses_everything_and_a_scale_repairs_it(result):
    assert change(result, "float4_e2m1fn, plain cast").value < -0.3
    assert change(result, "Float4").value > -0.1


def test_more_bits_are_not_worse(result):
    by_bits = [change(result, f"RaBitQ{bits}").value for bits in (1, 2, 4, 8)]
    assert by_bits == sorted(by_bits)
    assert change(result, "float16, plain cast").value == pytest.approx(0, abs=0.002)


def test_every_claim_is_marked(result):
    assert result.verdict in ("holds", "partly")
    assert sum(result.because.count(f"{mark} (") for mark in rag_storage._MARKS) == 8
    assert "float8 beats int8 of the same size as the paper scores it: holds" in result.because
    assert "planner" in result.because
    assert {figure.data.split(",")[0] for figure in result.figures if figure.method == "planner"} == {"one", "two"}


def test_bytes_are_those_of_the_codes(result):
    found = {
        figure.method: figure.value
        for figure in (*result.figures, *result.baselines)
        if figure.measure == "bytes per vector"
    }
    assert found["float32"] == 4 * D
    assert found["float8_e4m3fn, plain cast"] == D
    assert found["Int4"] == D / 2
    assert found["PCA 50% + float8_e4m3fn"] == D / 2
    assert found["OPQ32,PQ32x8"] == 32


def test_the_page_and_the_picture_show_it(result, tmp_path):
    text = page(get_system("rag-storage"), result)
    assert "de-quantised" in text
    pytest.importorskip("matplotlib")
    assert [path.name for path in draw_all(result, tmp_path)] == ["rag-storage-plane.png"]


def test_without_data_it_says_what_is_needed():
    with pytest.raises(InvalidInput, match="judged sets med, cranfield"):
        get_system("rag-storage").reproduce()


def test_the_autoencoder_learns():
    pytest.importorskip("torch")
    x = judged("one", 0).x
    reduced = rag_storage._autoencoder(16, x, seed=0)(x)
    assert reduced.shape == (400, 16)
    near = np.argsort(-x @ x.T, axis=1)[:, 1]
    reduced /= np.linalg.norm(reduced, axis=1, keepdims=True)
    ranks = (np.take_along_axis(reduced @ reduced.T, near[:, None], axis=1) <= reduced @ reduced.T).sum(1)
    assert np.median(ranks) < 100
