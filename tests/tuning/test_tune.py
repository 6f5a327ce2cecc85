"""Whole runs on small data: what is promised, what is refused, and that nothing is measured twice."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

import isometry as iso
from isometry.errors import Damaged, DimensionMismatch, InvalidInput
from isometry.indexes import Flat, index_from_spec
from isometry.testing.estimator import vectors
from isometry.tuning import Goal, draw, measuring, tune, write_html
from isometry.tuning.candidates import Candidate, ladders
from isometry.tuning.halving import Search
from isometry.tuning.journal import FILE, Journal
from isometry.tuning.measuring import Bench
from isometry.tuning.problem import prepare

pytestmark = pytest.mark.usefixtures("few_parts")

SMALL, LARGE = vectors(600, 1), vectors(4600, 2)


def reached(spec, effort, x, queries, metric="cosine"):
    """Recall@10 of a configuration, found without any of the code under test."""
    exact, _ = Flat(metric=metric).build(x).search(queries, 10)
    found, _ = index_from_spec(spec, metric=metric).build(x).search(queries, 10, effort=effort)
    return np.mean([np.isin(hits, best).mean() for hits, best in zip(found, exact, strict=True)])


# -- what is found -----------------------------------------------------------------------------------------------------


@pytest.fixture
def even_clock(monkeypatch):
    """Of equally small indexes the faster is chosen, which a busy machine may see otherwise: let clocks tick evenly."""
    ticks = count()
    monkeypatch.setattr(measuring, "time", SimpleNamespace(perf_counter=lambda: 1e-4 * next(ticks)))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_recall_alone_gives_the_fewest_bytes_and_keeps_its_promise(metric):
    plan = tune(LARGE, recall=0.9, metric=metric)
    assert plan.met
    assert plan.best.whole
    assert plan.best.chosen.low >= 0.9
    assert plan.best.recall.mean >= 0.9
    assert plan.best.bytes_per_vector < 4 * 24
    fresh = reached(plan.spec, plan.effort, LARGE, vectors(2000, 3), metric)
    assert plan.best.recall.low <= fresh <= plan.best.recall.high


@pytest.mark.parametrize(
    ("goal", "quantity"),
    [(Goal(recall=0.9), "bytes_per_vector"), (Goal(bytes_per_vector=46), "recall")],
)
def test_as_good_as_measuring_everything(goal, quantity):
    bench = Bench(prepare(LARGE), most_rows=10**6)
    found = Search(bench, Journal()).best(goal)
    every = [trial for trial in Search(bench, Journal()).every(goal) if trial.meets(goal)]
    if quantity == "recall":
        assert found.recall.mean >= 0.95 * max(trial.recall.mean for trial in every)
    else:
        assert found.bytes_per_vector <= 1.05 * min(trial.bytes_per_vector for trial in every)


def test_memory_alone_gives_the_most_recall_within_it():
    plan = tune(LARGE, memory=f"{46 * len(LARGE) / 1000}kB")
    assert plan.goal.bytes_per_vector == pytest.approx(46)
    assert plan.best.bytes_per_vector <= 46
    assert plan.left_out["Flat"].startswith("takes 100.0 bytes per vector")
    assert all(trial.bytes_per_vector <= 46 for trial in plan.trials)


def test_memory_and_recall_give_the_lowest_latency_and_try_graphs():
    plan = tune(LARGE, bytes_per_vector=300, recall=0.8)
    assert plan.met
    assert any("Vamana" in trial.spec for trial in plan.trials)
    assert plan.best.bytes_per_vector <= 300
    whole = [trial for trial in plan.trials if trial.whole and trial.meets(plan.goal)]
    assert plan.best.cost("latency_ms") == min(trial.cost("latency_ms") for trial in whole)


def test_nothing_below_the_target_is_returned():
    plan = tune(LARGE, bytes_per_vector=42, recall=0.97)
    assert not plan.met
    assert plan.best is None
    with pytest.raises(InvalidInput, match="nothing that was tried"):
        plan.spec  # noqa: B018
    within, good = plan.nearest["recall"], plan.nearest["bytes_per_vector"]
    assert within.bytes_per_vector <= 42
    assert within.recall.mean < 0.97
    assert good.bytes_per_vector > 42
    assert good.meets(Goal(recall=0.97))
    assert {"nearest in recall", "nearest in bytes"} <= {row[0] for row in plan.table()[1]}


def test_a_budget_that_nothing_fits_shows_the_smallest():
    plan = tune(SMALL, bytes_per_vector=2)
    assert not plan.met
    smallest = plan.nearest["bytes_per_vector"]
    assert smallest.bytes_per_vector == min(trial.bytes_per_vector for trial in plan.trials)


def test_the_same_seed_chooses_the_same(even_clock):
    one, two = (tune(LARGE, recall=0.9, seed=5, threads=threads) for threads in (1, 2))
    assert (one.spec, one.effort, one.best.recall) == (two.spec, two.effort, two.best.recall)


def test_what_is_asked_was_never_fitted(monkeypatch):
    problem, built = prepare(LARGE), []
    whole = Bench._build

    def build(self, spec, x):
        built.append(x)
        return whole(self, spec, x)

    monkeypatch.setattr(Bench, "_build", build)
    plan = tune(LARGE, recall=0.9)
    asked = {row.tobytes() for row in problem.queries} - {LARGE[-1].tobytes()}  # the last two rows are equal
    stored = {row.tobytes() for x in built if x.shape[1] == 24 for row in x}
    assert len(asked) > 500
    assert not asked & stored
    assert plan.settings["choosing_queries"] + plan.settings["promising_queries"] == len(problem.queries)
    assert plan.best.chosen.n == plan.settings["choosing_queries"]
    assert plan.best.recall.n == plan.settings["promising_queries"]


def test_a_cap_on_rows_scales_bytes_and_says_so():
    plan = tune(LARGE, recall=0.9, most_rows=1000)
    assert plan.best.rows == 1000
    assert plan.n == len(LARGE)
    index = index_from_spec(plan.spec).build(LARGE)
    assert plan.best.bytes_per_vector == pytest.approx(index.nbytes / len(LARGE), rel=0.02)


def test_a_sample_tells_about_all(monkeypatch):
    """Recall on the fewest vectors is that on all: what competes for the first places is there."""
    bench = Bench(prepare(LARGE), most_rows=10**6)
    goal, candidate = Goal(recall=0.9), Candidate("LVQ4")
    row_bytes = bench.row_bytes(candidate)
    few, all_ = (bench.measure(candidate, rung, goal, row_bytes) for rung in (0, bench.last))
    assert few.rows < all_.rows
    assert few.chosen.low <= all_.chosen.mean <= few.chosen.high
    assert few.bytes_per_vector == pytest.approx(all_.bytes_per_vector, rel=0.02)


def test_equal_vectors_and_zeros():
    for x in (np.ones((200, 8), np.float32), np.zeros((200, 8), np.float32)):
        plan = tune(x, recall=0.9)
        assert plan.best.recall.mean == 1


def test_candidates_of_few_and_of_many_dimensions():
    known = (
        "Flat",
        "Vamana",
        "LVQ",
        "Float16",
        "BFloat16",
        "PCA",
        "OPQ",
        "PQ",
        "RaBitQ",
        "Binary",
        "LeanVec",
        "Float8",
    )
    for d in (1, 2, 7, 24, 384, 1024):
        specs = [each.spec for ladder in ladders(d, known, second_looks=True) for each in ladder]
        assert len(specs) == len(set(specs))
        for spec in specs:
            assert index_from_spec(spec).spec == spec
    assert "Int8,Flat" not in specs


# -- going on --------------------------------------------------------------------------------------------------------


def test_a_second_run_measures_nothing_anew(tmp_path, monkeypatch):
    first = tune(LARGE, bytes_per_vector=60, recall=0.8, resume=tmp_path / "kept")

    def never(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(Bench, "_build", never)
    assert tune(LARGE, bytes_per_vector=60, recall=0.8, resume=tmp_path / "kept") == first


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch, even_clock):
    whole, left = Bench.measure, [4]

    def measure(self, *args):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return whole(self, *args)

    monkeypatch.setattr(Bench, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        tune(LARGE, recall=0.9, resume=tmp_path)
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"key": "cut o')
    left[0] = 100
    plan = tune(LARGE, recall=0.9, resume=tmp_path)
    measured = 100 - left[0]
    assert (
        measured == sum("trial" in line or "refused" in line for line in (tmp_path / FILE).read_text().splitlines()) - 4
    )
    assert plan.spec == tune(LARGE, recall=0.9).spec


def test_measurements_of_other_data_are_refused(tmp_path):
    tune(SMALL, recall=0.9, resume=tmp_path)
    for x, settings in ((SMALL[:-1], {}), (SMALL, {"seed": 1}), (SMALL, {"metric": "l2"})):
        with pytest.raises(InvalidInput, match="other vectors"):
            tune(x, recall=0.9, resume=tmp_path, **settings)
    lines = (tmp_path / FILE).read_text().splitlines()
    (tmp_path / FILE).write_text("\n".join([lines[0], "[]", *lines[1:]]) + "\n")
    with pytest.raises(Damaged, match="line 2"):
        tune(SMALL, recall=0.9, resume=tmp_path)


def test_progress_is_told():
    told = []
    tune(LARGE, recall=0.9, progress=lambda *what: told.append(what))
    assert told
    assert all(0 <= done <= total and isinstance(what, str) for done, total, what in told)


# -- judgements --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged():
    """Queries near some rows, which are what is relevant for them."""
    pytest.importorskip("ir_measures")
    rng = np.random.default_rng(4)
    rows = rng.permutation(len(SMALL) - 2)[:120]
    queries = SMALL[rows] + 0.2 * rng.standard_normal((120, 24)).astype(np.float32)
    return queries, {i: {int(row): 1} for i, row in enumerate(rows)}


def test_a_loss_of_ndcg_is_bounded(judged):
    queries, qrels = judged
    plan = tune(SMALL, ndcg_loss=0.02, queries=queries, qrels=qrels)
    assert plan.best.ndcg_loss.mean <= 0.02
    assert plan.best.chosen_ndcg_loss <= 0.02
    assert plan.best.ndcg.mean > 0.5
    assert "nDCG@10" in plan.table()[0]


def test_documents_of_several_vectors_are_tuned_and_built(tmp_path, judged):
    queries, qrels = judged
    collection = iso.create(tmp_path / "notes.iso", encoder=None)
    offsets = np.arange(0, len(SMALL) + 1, 2)
    own = iso.vectors.MultiVectors(SMALL, offsets)
    collection.add([{"id": f"d{i}", "text": "note"} for i in range(len(own))], vectors=own)
    asked = {f"q{i}": query for i, query in enumerate(queries)}
    relevant = {f"q{i}": {f"d{row // 2}": 1 for row in rows} for i, rows in qrels.items()}
    plan = tune(collection, ndcg_loss=0.02, recall=0.8, queries=asked, qrels=relevant)
    assert plan.n == len(SMALL)
    assert plan.best.ndcg.mean > 0.5
    report = collection.build(plan.spec)
    assert report.spec == plan.spec
    hits = collection.search(queries[0], 3, effort=plan.effort)
    assert len(hits.ids) == 3


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "no bound is given"),
        ({"recall": 0}, "recall is 0"),
        ({"recall": 1.5}, "recall is 1.5"),
        ({"memory": "plenty"}, "memory is 'plenty'"),
        ({"memory": "100"}, "at least 1 byte"),
        ({"bytes_per_vector": 0.9}, "at least 1 byte"),
        ({"memory": "1MB", "bytes_per_vector": 3}, "both given"),
        ({"ndcg_loss": 0.1}, "without qrels"),
        ({"recall": 0.9, "qrels": {"0": {"1": 1}}}, "without queries"),
        ({"recall": 0.9, "queries": SMALL[:5]}, "5 queries"),
        ({"recall": 0.9, "queries": ["a text"] * 30}, "no encoder"),
        ({"recall": 0.9, "queries": SMALL[:40] * np.nan}, "queries has 40 rows with NaN"),
        ({"recall": 0.9, "queries": SMALL[:40], "qrels": {"0": {"x": 1}}}, "judge none"),
        ({"recall": 0.9, "queries": SMALL[:40], "qrels": {"0": {"1": 1}}}, "only 1 of the queries"),
        ({"recall": 0.9, "metric": "hamming"}, "metric is 'hamming'"),
        ({"recall": 0.9, "threads": 0}, "threads is 0"),
        ({"recall": 0.9, "most_rows": 5}, "most_rows is 5"),
        ({"recall": 0.9, "seed": -1}, "seed is -1"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, told):
    with pytest.raises(InvalidInput, match=told):
        tune(SMALL, **settings)


def test_vectors_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(DimensionMismatch, match="queries has 3 dimensions"):
        tune(SMALL, recall=0.9, queries=np.ones((30, 3)))
    with pytest.raises(InvalidInput, match="99 vectors"):
        tune(SMALL[:99], recall=0.9)
    for bad in (SMALL * np.inf, SMALL[0], "papers.iso", None):
        with pytest.raises(InvalidInput):
            tune(bad, recall=0.9)
    collection = iso.create(tmp_path / "words.iso", encoder=None)
    collection.add([{"id": "a", "text": "only words"}])
    with pytest.raises(InvalidInput, match="vectors"):
        tune(collection, recall=0.9)
    with pytest.raises(InvalidInput, match="leave metric out"):
        tune(collection, recall=0.9, metric="l2")


# -- pictures ----------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a page refers to, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.links, self.texts = [], [], {}

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "input", "br"):
            self.open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][1]:
            self.texts[self.open[-1][1]] = data


@pytest.mark.parametrize("budget", [46, 2])
def test_the_page_needs_nothing_else_and_holds_everything(tmp_path, budget):
    plan = tune(SMALL, bytes_per_vector=budget)
    text = write_html(plan, tmp_path / "tune.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open
    assert not page.links
    assert not any(word in text for word in ("http:", "https:", "//cdn", "url(", "@import", "fetch("))
    points = json.loads(page.texts["data"])
    assert {point["spec"] for point in points} == {trial.spec for trial in plan.trials}
    assert sum(point["plan"] for point in points) == plan.met
    assert json.loads(page.texts["goal"]) == {"bytes_per_vector": budget}


def test_a_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    assert draw(tune(SMALL, recall=0.9), tmp_path / "tune.png").read_bytes().startswith(b"\x89PNG")
