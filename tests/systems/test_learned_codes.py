"""JPQ, Distill-VQ and BEBR as systems, on tiny sets: what is measured, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isometry.errors import InvalidInput
from isometry.evaluation.training_sets import (
    TrainingSet,
    load_folds,
    load_news_threads,
    load_split_set,
    posts_by_thread,
)
from isometry.systems import bebr, distill_vq, get_system, jpq, learned_codes
from isometry.systems.pages import page

D = 16


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def made(name, seed):
    """Return a set whose queries agree with their document in half of the dimensions, and hardly in the others."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1_000, D))
    queries = x[:400] + np.where(np.arange(D) % 2, 2.0, 0.2) * rng.standard_normal((400, D))
    judged = {f"q{i}": {f"d{i}": 1} for i in range(300, 400)}
    labels = tuple(np.array([i]) for i in range(300))
    x, queries = unit(x), unit(queries)
    ids = tuple(f"d{i}" for i in range(1_000))
    return TrainingSet(name, x, queries[:300], labels, queries[300:], ids, tuple(judged), judged)


@pytest.fixture
def small(monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("ir_measures")
    monkeypatch.setattr(learned_codes, "load_sets", lambda *_: [made("one", 0), made("two", 1)])


def values(result, measure, data="one"):
    return {f.method: f.value for f in (*result.figures, *result.baselines) if (f.data, f.measure) == (data, measure)}


def test_jpq(small, monkeypatch):
    monkeypatch.setitem(jpq.SCALES, "small", jpq.Scale(2, (2, 16), 1, 2_000))
    folds = [replace(made(f"part {i}", i), learn_queries=made("", i).learn_queries[:50]) for i in range(2)]
    folds = [replace(fold, labels=fold.labels[:50]) for fold in folds]
    monkeypatch.setattr(jpq, "load_folds", lambda *_: folds)
    monkeypatch.setattr(jpq, "WAYS", {way: jpq.WAYS[way] for way in ("JPQ", "JPQ, random negatives")})
    result = get_system("jpq").reproduce()
    found = values(result, "RR@10")
    assert {"JPQ, 2 bytes", "PQ, 2 bytes", "ITQ, 16 bits", "JPQ, random negatives, 2 bytes", "JPQ, 16 bytes"} <= set(
        found
    )
    assert found["OPQ, 2 bytes"] < found["OPQ, 16 bytes"] < found[learned_codes.EXACT] + 0.02
    assert "codes stay what they are: holds" in result.because
    assert result.because.count(": holds") + result.because.count(": partly") + result.because.count(": does not") == 10
    joined = {f.method: f.n for f in result.figures if (f.data, f.measure) == (jpq.FOLDED, "RR@10")}
    assert joined["JPQ, 2 bytes"] == 200
    assert not any(f.data.startswith("part") for f in (*result.figures, *result.baselines))
    scans = values(result, "ms per query", "2,000 vectors of 768 dimensions")
    assert len(scans) == 3
    assert min(scans.values()) > 0
    sizes = values(result, "bytes per vector")
    assert sizes["JPQ, 2 bytes"] == sizes["OPQ, 2 bytes"] == 2
    assert "2 seeds" in next(f.note for f in result.figures if f.method == "JPQ, 2 bytes")
    assert "isometry reproduce jpq" in page(get_system("jpq"), result)


def test_distill_vq(small, monkeypatch):
    monkeypatch.setitem(distill_vq.SCALES, "small", distill_vq.Scale(1, (2, 4), 1, 1, 1))
    result = get_system("distill-vq").reproduce()
    found = values(result, "overlap@10")
    assert {*(f"{way}, 2 bytes" for way in distill_vq.WAYS), "JPQ, 10% of the labels, 2 bytes", "PQ, 4 bytes"} <= set(
        found
    )
    assert found[learned_codes.EXACT] == 1
    assert found["OPQ, 2 bytes"] < found["OPQ, 4 bytes"]
    assert result.because.count("on one ") == result.because.count("on two ") == 13
    assert set(result.settings["temperatures"]) == {"one", "two"}
    deep = values(result, "R@100")
    for way in (distill_vq.OURS, distill_vq.KMEANS, distill_vq.COSINE):
        assert [deep[f"{way} lists alone, {probes} looked at"] for probes in (1, 2, 3)] == sorted(
            deep[f"{way} lists alone, {probes} looked at"] for probes in (1, 2, 3)
        )
    assert found["Distill-VQ lists and 2 bytes, 8 looked at"] > 0
    assert result.settings["lists"]["two"]["seed 0"]["lists"] == distill_vq.n_lists(1_000) == 7


def test_lists_are_few_where_documents_are():
    assert [distill_vq.n_lists(n) for n in (10, 3_633, 17_831, 10**6)] == [2, 26, 128, 128]
    assert [distill_vq._probes(n) for n in (10, 3_633, 10**6)] == [[1], [1, 2, 4, 8, 13], [1, 2, 4, 8, 64]]


def test_a_share_of_the_labels_is_drawn():
    labels = tuple(np.array([i, i + 1]) for i in range(50))
    kept = [len(rows) for rows in distill_vq._some(labels, 0.1, 0)]
    assert sorted(kept) == [0] * 45 + [2] * 5
    assert [len(rows) for rows in distill_vq._some(labels, 1.0, 0)] == [2] * 50
    assert sum(map(len, distill_vq._some(labels, 0.001, 0))) == 2


def test_claims_are_summed_up():
    checks = [learned_codes.Check("a", "holds", "1"), learned_codes.Check("b", "does not hold", "2")]
    assert learned_codes.summed_up(checks) == ("partly", "a: holds (1); b: does not hold (2).")
    assert [learned_codes.summed_up([check])[0] for check in checks] == ["holds", "does not hold"]
    assert [learned_codes.graded(*each) for each in ((True, True), (False, True), (False, False))] == [
        "holds",
        "partly",
        "does not hold",
    ]


def test_bebr(small, monkeypatch):
    monkeypatch.setitem(bebr.SCALES, "small", bebr.Scale(1, 3, (16,), (1, 2), 0))
    monkeypatch.setattr(bebr, "load_sets", lambda *_: [made("one", 0), made("two", 1), made("pictures", 2)])
    monkeypatch.setitem(bebr.TRAINER, "rate", 1e-3)
    result = get_system("bebr").reproduce()
    found = values(result, "R@10")
    assert found[bebr.ITQ] < found[learned_codes.EXACT]
    assert found[bebr.BLIND] < 0.1 < found[bebr.CROSS]
    assert {"BEBR, 16 x 1 bits", "BEBR, 16 x 2 bits", bebr.ELSEWHERE, "RaBitQ, 2 bits", "OPQ, 4 bytes"} <= set(found)
    assert result.because.count("on one ") == result.because.count("on two ") == 9
    assert result.because.count("on pictures ") == 8
    assert bebr.ELSEWHERE not in values(result, "R@10", "pictures")
    (plot,) = result.plots
    assert [x for x, _ in plot.curves["one, 16 coordinates"]] == [16, 32]
    sizes = values(result, "bytes per vector")
    assert sizes[bebr.CROSS] == sizes[bebr.OLD] == 4 + 8 * 2
    assert sizes[bebr.RECURRENT] == 8 + 8 * 2


def test_posts_lose_headers_quotes_and_doubles():
    words = " ".join(f"word{i}" for i in range(25))
    raw = [
        ("a", f"From: x\nSubject: Re: RE: tides\nLines: 3\n\nx@y writes:\n> quoted text\n{words} one\n"),
        ("b", f"Subject: tides\n\n{words} two"),
        ("c", f"Subject: Re: tides\n\n{words} two"),
        ("d", "Subject: tides\n\ntoo short"),
        ("e", f"From: z\n\n{words} three"),
    ]
    posts, threads = posts_by_thread(raw)
    assert posts == {"a": f"{words} one", "b": f"{words} two"}
    assert threads == {"tides": ["a", "b"]}


class Lengths:
    """Encodes a text by its length."""

    def encode_document(self, texts):
        return unit(np.array([[len(text), 1, 0] for text in texts]))

    encode_query = encode_document


def test_threads_are_split_and_ids_may_occur_in_two_groups(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"label": label, "id": "7", "text": f"Subject: {label}\n\n" + f"{label} " * 25} for label in ("sci", "rec")]
    rows += [{"label": "sci", "id": f"{i}", "text": f"Subject: moon\n\n{i} " + "word " * 20} for i in range(20, 23)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "posts.parquet")
    found = load_news_threads(tmp_path / "posts.parquet", Lengths(), n_learn=2)
    assert found.document_ids == ("sci/7", "rec/7", "sci/20", "sci/21", "sci/22")
    assert found.x.shape == (5, 3)
    assert len(found.learn_queries) == len(found.labels) == 2
    assert len(found.queries) == 1
    learned = {found.document_ids[row] for rows in found.labels for row in rows}
    judged = {document for grades in found.qrels.values() for document in grades}
    assert learned | judged == set(found.document_ids)
    assert not learned & judged
    with pytest.raises(InvalidInput, match="has 3 threads, and 3 are to be learned from"):
        load_news_threads(tmp_path / "posts.parquet", Lengths(), n_learn=3)


def test_a_split_set_has_no_query_on_both_sides(shared_data):
    found = load_split_set(shared_data / "nfcorpus", Lengths())
    assert found.x.shape == (len(found.document_ids), 3)
    assert len(found.learn_queries) == len(found.labels) > 2_000
    assert len(found.queries) == len(found.query_ids) > 300
    assert max(rows.max() for rows in found.labels) < len(found.x)


def test_every_query_judges_in_one_part_and_teaches_in_the_others(shared_data):
    folds = load_folds(shared_data / "cranfield", Lengths())
    asked = [name for fold in folds for name in fold.query_ids]
    assert len(asked) == len(set(asked)) == 225
    assert {len(fold.queries) for fold in folds} == {45}
    for fold in folds:
        assert len(fold.learn_queries) == len(fold.labels) == 180
        assert fold.qrels.keys() == set(fold.query_ids)
    with pytest.raises(InvalidInput, match=r"folds is 226; expected an integer from 2 to 225"):
        load_folds(shared_data / "cranfield", Lengths(), folds=226)
