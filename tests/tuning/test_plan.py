from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from isometry.errors import Damaged, InvalidInput, NewerFormat, NotFound
from isometry.estimates import Estimate
from isometry.tuning import Goal, Plan, Trial, memory_bytes
from isometry.tuning.plan import latest


def trial(spec="Flat", recall=0.97, size=100.0, ms=1.0, *, low=None, promised=None, rows=1000, whole=True, **more):
    chosen = Estimate(recall, recall - 0.01 if low is None else low, min(1.0, recall + 0.01), 100)
    promise = replace(chosen, mean=recall if promised is None else promised)
    return Trial(spec, 10, rows, whole, chosen, promise, size, ms, 0.5, **more)


def plan(**more):
    first = trial("LVQ8,Flat")
    given = {
        "goal": Goal(recall=0.95), "n": 1000, "dim": 24, "metric": "cosine", "best": first, "nearest": {},
        "trials": (first, trial("Flat", 1.0, 400.0, 0.5)), "left_out": {"Float16,Flat": "takes 60 bytes per vector"},
        "settings": {"seed": 0, "choosing_queries": 50, "promising_queries": 50}, "seconds": 3.0,
    }  # fmt: skip
    return Plan(**{**given, **more})


@pytest.mark.parametrize(
    ("text", "count"),
    [("200MB", 200e6), ("1.5 GiB", 1.5 * 2**30), ("64 kib", 65536), ("1e3", None), (1000, 1000), ("2 tb", 2e12),
     ("512", 512), ("3 bytes", 3), ("12B", 12)],
)  # fmt: skip
def test_memory_in_words(text, count):
    if count is None:
        with pytest.raises(InvalidInput, match="200MB"):
            memory_bytes(text)
    else:
        assert memory_bytes(text) == count


@pytest.mark.parametrize(
    "memory", ["", "MB", "-3MB", "3XB", "0", 0, -1, math.inf, math.nan, True, None, [1], "9" * 400]
)
def test_memory_that_makes_no_sense_is_refused(memory):
    with pytest.raises(InvalidInput, match="memory is"):
        memory_bytes(memory)


def test_the_objective_is_what_is_not_bounded():
    assert Goal(bytes_per_vector=100).objective == "recall"
    assert Goal(recall=0.9).objective == "bytes_per_vector"
    assert Goal(recall=0.9, bytes_per_vector=100).objective == "latency_ms"
    assert Goal(ndcg_loss=0.01).objective == "bytes_per_vector"
    assert Goal(latency_ms=1).objective == "recall"
    assert Goal(recall=0.9, latency_ms=1).objective == "bytes_per_vector"
    assert Goal(recall=0.9, bytes_per_vector=100).relaxed("recall").objective == "recall"
    assert not Goal(recall=0.9).wants_speed
    assert Goal(recall=0.9, bytes_per_vector=100).wants_speed


@pytest.mark.parametrize(
    "bounds",
    [{}, {"recall": 0}, {"recall": 1.01}, {"recall": math.nan}, {"recall": "high"}, {"recall": True},
     {"bytes_per_vector": 0.5}, {"bytes_per_vector": math.inf}, {"ndcg_loss": -0.1}, {"ndcg_loss": 1},
     {"latency_ms": 0}, {"recall": 0.9, "aim": "joy"}],
)  # fmt: skip
def test_goals_that_make_no_sense_are_refused(bounds):
    with pytest.raises(InvalidInput):
        Goal(**bounds)


def test_a_recall_is_met_at_the_low_end_and_again_by_the_others():
    goal = Goal(recall=0.95)
    assert trial(recall=0.97).meets(goal)
    assert not trial(recall=0.955).meets(goal), "the low end is below"
    assert not trial(recall=0.97, promised=0.949).meets(goal), "the other queries say otherwise"
    assert trial(recall=0.955).may_meet(goal, 1)
    assert trial(recall=0.945).may_meet(goal, 2)
    assert not trial(recall=0.93).may_meet(goal, 2)


def test_a_loss_of_ndcg_is_met_by_both_halves():
    goal = Goal(ndcg_loss=0.01)

    def lost(mean, chosen):
        return trial(ndcg=Estimate(0.5, 0.4, 0.6, 50), ndcg_loss=Estimate(mean, 0, 1, 50), chosen_ndcg_loss=chosen)

    assert lost(0.01, 0.01).meets(goal)
    assert not lost(0.02, 0.01).meets(goal)
    assert not lost(0.01, 0.02).meets(goal)
    assert not trial().meets(goal), "not measured is not met"


def test_memory_and_latency_are_bounds():
    assert trial(size=100, ms=1).meets(Goal(bytes_per_vector=100, latency_ms=1))
    assert not trial(size=100.1).meets(Goal(bytes_per_vector=100))
    assert not trial(ms=1.01).meets(Goal(latency_ms=1))


def test_ties_go_to_the_smaller():
    small, large = trial(recall=0.9702, size=50), trial(recall=0.9704, size=90)
    assert small.cost("recall") < large.cost("recall")
    assert trial(ms=1.001, size=50).cost("latency_ms") < trial(ms=1.0, size=90).cost("latency_ms")
    assert trial(size=50, ms=9).cost("bytes_per_vector") < trial(size=51, ms=1).cost("bytes_per_vector")


def test_the_frontier_has_nothing_that_another_one_beats():
    worse = trial("worse", 0.9, 500.0, 2.0)
    small = trial("small", 0.5, 10.0, 3.0)
    found = plan(trials=(*plan().trials, worse, small))
    assert [each.spec for each in found.frontier] == ["small", "LVQ8,Flat", "Flat"]


def test_only_what_was_measured_on_the_most_vectors_is_shown():
    few, many = trial(rows=100, whole=False), trial(rows=1000)
    assert latest([few, many, few]) == (many,)


def test_a_plan_prints_its_answer_first():
    text = str(plan())
    assert text.startswith("LVQ8,Flat with effort 10 has recall@10 of at least 0.95, with the fewest bytes.\n")
    assert text.splitlines()[2].startswith("plan")
    assert plan().met
    assert (plan().spec, plan().effort) == ("LVQ8,Flat", 10)


def test_a_plan_without_an_answer_never_pretends_to_have_one():
    near = trial("LVQ4,Flat", 0.9, 50.0)
    failed = plan(best=None, nearest={"recall": near}, goal=Goal(recall=0.95, bytes_per_vector=60))
    assert not failed.met
    assert str(failed).startswith("Nothing that was tried has recall@10 of at least 0.95 and at most 60 bytes")
    assert "nearest in recall" in str(failed)
    for name in ("spec", "effort"):
        with pytest.raises(InvalidInput, match="nothing that was tried"):
            getattr(failed, name)


def test_a_plan_survives_being_stored(tmp_path):
    for each in (plan(), plan(best=None, nearest={"recall": trial()}, goal=Goal(recall=0.9, latency_ms=3.0))):
        each.to_json(tmp_path / "plan.json")
        assert Plan.from_json(tmp_path / "plan.json") == each


@pytest.mark.parametrize(
    "change",
    [{"kind": "other"}, {"format": 0}, {"format": "1"}, {"goal": {"recall": 3}}, {"goal": []}, {"best": 3},
     {"best": {"spec": "Flat"}}, {"trials": [3]}, {"trials": None}, {"n": 0}, {"n": "3"}, {"seconds": "long"},
     {"left_out": {"Flat": 3}}, {"nearest": {"joy": {}}}, {"nearest": []}, {"settings": []}, {"surplus": 1}],
)  # fmt: skip
def test_a_damaged_plan_is_told(tmp_path, change):
    (tmp_path / "plan.json").write_text(json.dumps({**json.loads(json.dumps(plan().to_dict())), **change}))
    with pytest.raises(Damaged):
        Plan.from_json(tmp_path / "plan.json")


def test_a_plan_with_numbers_of_another_kind_is_damaged(tmp_path):
    record = json.loads(json.dumps(plan().to_dict()))
    for name, value in (("effort", "ten"), ("recall", {"mean": 1}), ("bytes_per_vector", None), ("whole", 1)):
        changed = {**record, "best": {**record["best"], name: value}}
        (tmp_path / "plan.json").write_text(json.dumps(changed))
        with pytest.raises(Damaged):
            Plan.from_json(tmp_path / "plan.json")


def test_newer_absent_and_huge_files(tmp_path):
    with pytest.raises(NotFound):
        Plan.from_json(tmp_path / "no.json")
    (tmp_path / "plan.json").write_text(json.dumps({**plan().to_dict(), "format": 2}))
    with pytest.raises(NewerFormat):
        Plan.from_json(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text(" " * ((1 << 24) + 1))
    with pytest.raises(Damaged):
        Plan.from_json(tmp_path / "plan.json")
