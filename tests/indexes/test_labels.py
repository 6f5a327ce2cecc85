"""Links among the rows of each label: what they find, what they cost a search without a filter, and any change."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.errors import Damaged, InvalidInput
from isometry.indexes import Flat, Vamana, load_index
from isometry.indexes import labels as module
from isometry.storage import read_folder, write_folder

N, D = 3000, 12


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(module, "FEWEST", 100)


@pytest.fixture(scope="module")
def x():
    x = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
    x[1:40:2] = x[0]  # twins, of every label
    return x


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(1)
    venue = rng.choice([7, 3, 11, 5], N, p=[0.5, 0.3, 0.18, 0.02])
    return {"venue": venue, "year": np.where(rng.random(N) < 0.4, -1, 2020)}


def built(x, given, threads=1):
    return Vamana(metric="l2", degree=24, threads=threads).build(x, labels=given)


def share_found(index, x, live, mask, k=10, **options):
    ids, _ = index.search(x[::60] + 0.01, k, allowed=mask, **options)
    assert mask[ids[ids >= 0]].all()
    assert ((ids >= 0).sum(1) == min(k, (mask & live).sum())).all()
    wanted, _ = Flat(metric="l2").build(x).search(x[::60] + 0.01, k, allowed=mask & live)
    return np.mean([len(set(a) & set(b) - {-1}) / (b >= 0).sum() for a, b in zip(ids, wanted, strict=True)])


def assert_sound(index):
    """Links stay within a label, lead to rows that are there, and to all of them."""
    leaders = index._twins.leaders(index._slots.used())
    for each in index._labels:
        for code, entry in enumerate(each.entries):
            rows = set(leaders[each.codes[leaders] == code].tolist())
            if entry < 0:
                assert len(rows) < module.FEWEST or not rows
                continue
            seen, todo = {int(entry)}, [int(entry)]
            while todo:
                more = {other for other in each.links[todo.pop()].tolist() if other >= 0} - seen
                seen |= more
                todo += more
            assert seen == rows
        free = index._slots.row_ids < 0
        assert (each.codes[free] == -1).all()
        assert (each.links[free] == -1).all()


def test_a_label_is_searched_by_its_own_links(x, given):
    index, live = built(x, given), np.ones(N, np.bool_)
    assert_sound(index)
    assert index.labels == {"venue": 3, "year": 1}  # one has too few rows
    venue = given["venue"]
    for mask in (venue == 7, venue == 3, (venue == 7) & (given["year"] == 2020), given["year"] == 2020):
        assert share_found(index, x, live, mask, strategy="labels", effort=64) > 0.95
        plan = index.plan(x[:5], allowed=mask, strategy="labels")
        assert (plan.strategy, plan.queries["labels"], plan.matching) == ("labels", 5, mask.sum())
        assert "links among the" in plan.why
        assert plan.costs["labels"] < plan.costs["bridge"]


def test_the_planner_takes_what_is_least_work(x, given):
    index = built(x, given)
    for mask in (given["venue"] == 7, given["venue"] == 11, given["venue"] == 5, given["venue"] >= 7):
        plan = index.plan(x[:5], allowed=mask, effort=10)
        assert plan.strategy == min(plan.costs, key=plan.costs.get)
    assert "labels" not in index.plan(x[:5], allowed=given["venue"] >= 7).costs
    for where in (given["venue"] == 5, given["venue"] >= 7):
        with pytest.raises(InvalidInput, match="no label"):
            index.search(x[:1], allowed=where, strategy="labels")


def test_a_search_without_a_filter_is_what_it_is_without_labels(given):
    x = np.random.default_rng(5).standard_normal((N, D)).astype(np.float32)
    plain, labelled = Vamana(metric="l2", degree=24).build(x), built(x, given)
    assert np.array_equal(plain._graph, labelled._graph)
    for a, b in zip(plain.search(x[:50]), labelled.search(x[:50]), strict=True):
        assert np.array_equal(a, b)


def test_the_same_for_any_number_of_threads(x, given):
    one, three = built(x, given, 1), built(x, given, 3)
    for a, b in zip(one._labels, three._labels, strict=True):
        assert np.array_equal(a.links, b.links)
        assert np.array_equal(a.entries, b.entries)


def test_any_change_and_files(x, given, tmp_path):
    index, rng = built(x[:2000], {name: codes[:2000] for name, codes in given.items()}), np.random.default_rng(2)
    live = np.arange(N) < 2000
    for step in range(4):
        gone = rng.choice(np.flatnonzero(live), 200, replace=False)
        index.remove(gone)
        live[gone] = False
        assert_sound(index)
        index.save(tmp_path / f"{step}")
        index = load_index(tmp_path / f"{step}")
        new = slice(2000 + 250 * step, 2250 + 250 * step)
        index.add(x[new], labels={name: codes[new] for name, codes in given.items()})
        live[new] = True
        assert_sound(index)
        mask = (given["venue"] == 3)[: index.n_rows]
        assert share_found(index, x[: index.n_rows], live[: index.n_rows], mask, strategy="labels", effort=64) > 0.95
    index.remove(np.flatnonzero(live & (given["venue"] == 3)))
    assert_sound(index)
    assert index.labels["venue"] == 2
    index.remove(np.arange(index.n_rows))
    assert index.labels == {"venue": 0, "year": 0}
    index.add(x[:300], labels={"venue": np.full(300, 8)})  # a label that was not there
    assert_sound(index)
    assert index.labels == {"venue": 1, "year": 0}


def test_rows_without_a_label_are_found_all_the_same(x, given):
    index = built(x[:2000], {"venue": given["venue"][:2000]})
    index.add(x[2000:])
    mask = np.append((given["venue"] == 7)[:2000], np.ones(1000, np.bool_))
    assert share_found(index, x, np.ones(N, np.bool_), mask, effort=64) > 0.95
    assert "labels" not in index.plan(x[:1], allowed=mask).costs


def test_folders_without_labels_are_written_as_before(x, given, tmp_path):
    Vamana(degree=8).build(x[:200]).save(tmp_path / "plain")
    Vamana(degree=8).build(x[:200], labels={"venue": given["venue"][:200]}).save(tmp_path / "labelled")
    assert [read_folder(tmp_path / name).kind_version for name in ("plain", "labelled")] == [1, 2]


@pytest.mark.parametrize("name", ["codes", "links", "entries"])
def test_links_that_leave_a_label_are_refused(x, given, name, tmp_path):
    index = built(x, given)
    parameters, arrays = index.state()
    bad = np.array(arrays[f"labels0_{name}"])
    if name == "links":
        slot = np.flatnonzero(index._labels[0].codes == 0)[0]
        bad[slot, 0] = np.flatnonzero(index._labels[0].codes == 1)[0]
    else:
        bad[0] = len(index._labels[0].values) if name == "codes" else index._labels[0].entries[2]
    arrays[f"labels0_{name}"] = bad
    write_folder(tmp_path / "x", "Vamana", parameters, arrays, kind_version=2)
    with pytest.raises(Damaged):
        load_index(tmp_path / "x")


@pytest.mark.parametrize(
    "labels", [[1, 2], {"a": [1, 2]}, {"a": np.zeros(N)}, {"a": np.zeros((N, 1), int)}, {1: np.zeros(N, int)}]
)
def test_labels_that_make_no_sense_are_refused(x, labels):
    with pytest.raises(InvalidInput, match="labels"):
        Vamana(degree=8).build(x, labels=labels)


def test_labels_that_were_not_declared_are_refused(x, given):
    index = built(x[:200], {"venue": given["venue"][:200]})
    with pytest.raises(InvalidInput, match=r"'year'.*'venue'.*build again"):
        index.add(x[200:210], labels={"year": given["year"][200:210]})
