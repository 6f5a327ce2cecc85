"""Inverted lists: which are looked at, what is found in them, and that nothing else is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.codecs import LVQ, Float16, ProductQuantizer, RaBitQ, ResidualQuantizer
from isometry.errors import Damaged, DimensionMismatch, InvalidInput
from isometry.indexes import IVF, METRICS, Flat, index_from_spec, load_index
from isometry.kernels import lists as kernels
from isometry.storage import read_folder, write_folder

D = 24


def clustered(n, seed):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((20, D))
    return (centres[rng.integers(20, size=n)] + 0.6 * rng.standard_normal((n, D))).astype(np.float32)


@pytest.fixture(scope="module")
def x():
    x = clustered(2_000, 0)
    x[500:520] = x[3]
    x[7] = 0
    return x


@pytest.fixture(scope="module")
def q():
    return clustered(40, 1)


def recall(index, x, q, effort, allowed=None):
    exact = Flat(metric=index.metric).build(x).search(q, 10, allowed=allowed)[0]
    found = index.search(q, 10, effort=effort, allowed=allowed)[0]
    return np.mean([np.isin(a[a >= 0], b).mean() for a, b in zip(exact, found, strict=True)])


# -- searching ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [None, 0.01, 0.3])
def test_all_lists_together_are_a_scan(x, q, metric, share):
    allowed = None if share is None else np.random.default_rng(0).random(len(x)) < share
    index = IVF(metric=metric, n_lists=30).build(x)
    ids, scores = index.search(q, 12, effort=30, allowed=allowed)
    expected_ids, expected = Flat(metric=metric).build(x).search(q, 12, allowed=allowed)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    assert (ids == expected_ids).mean() > 0.98, "but for rows that float32 can't tell apart"


@pytest.mark.parametrize("metric", METRICS)
def test_more_effort_finds_more(x, q, metric):
    index = index_from_spec("LVQ8,IVF50", metric=metric).build(x)
    found = [recall(index, x, q, effort) for effort in (1, 4, 16, 50, 5_000)]
    assert found == sorted(found)
    assert 0.2 < found[0] < 0.9 < found[2]
    assert found[3] == found[4] > 0.97


@pytest.mark.parametrize("metric", METRICS)
def test_lists_are_those_whose_centroids_the_metric_puts_first(x, q, metric):
    index = IVF(metric=metric, n_lists=30).build(x)
    centroids, lists = index.centroids, index.lists
    asked = q - x.mean(axis=0) if metric == "l2" else q
    near = {
        "cosine": (asked @ centroids.T) / np.linalg.norm(centroids, axis=1),
        "dot": asked @ centroids.T,
        "l2": -np.square(asked[:, None] - centroids).sum(axis=2),
    }[metric]
    whole = Flat(metric=metric).build(x).search(q, 2_000)[0]
    order = np.argsort(-near, axis=1)[:, :3]
    for row, ids, looked_at in zip(index.search(q, 10, effort=3)[0], whole, order, strict=True):
        assert row.tolist() == ids[np.isin(lists[ids], looked_at)][:10].tolist()
    everything = index.search(q, 2_000, effort=3)[0]
    assert (np.sort(everything, axis=1) == np.arange(2_000)).all(), "k hits come back where there are k rows"


def test_every_row_is_in_the_list_of_its_nearest_centroid(x):
    index = IVF(metric="dot").build(x)
    assert len(index.centroids) == round(4 * np.sqrt(2_000))
    nearest = np.square(x[:, None] - index.centroids).sum(axis=2).argmin(axis=1)
    assert (index.lists == nearest).mean() > 0.999
    index.remove([0, 5])
    assert index.lists[[0, 5]].tolist() == [-1, -1]
    new = index.add(x[:3])
    assert (index.lists[new] == nearest[:3]).all()


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize(
    "codec", [ProductQuantizer(6), ProductQuantizer(6, bits=4), ResidualQuantizer(3), LVQ(bits=4), RaBitQ(4), Float16()]
)
def test_a_score_is_that_of_the_centroid_and_of_what_it_leaves_over(x, q, metric, codec):
    index = IVF(metric=metric, n_lists=10, codec=codec, residual=True).build(x[100:600])
    rows, asked = x[100:600], q
    if metric == "cosine":
        rows, asked = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, q))
    coarse = index.centroids[index.lists]
    decoded = coarse + index.codec.inverse_transform(index.codec.transform((rows - coarse).astype(np.float32)))
    ids, scores = index.search(q, 20, effort=10)
    expected = np.take_along_axis(asked @ decoded.T, ids, axis=1)
    assert np.allclose(scores, expected, rtol=1e-4, atol=2e-4 * np.abs(expected).max())
    assert np.allclose(scores[:, 0], (asked @ decoded.T).max(axis=1), rtol=1e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_residuals_help_tables(x, q, metric):
    found = {
        residual: recall(
            IVF(metric=metric, n_lists=20, codec=ProductQuantizer(4), residual=residual).build(x), x, q, 20
        )
        for residual in (False, True, None)
    }
    assert found[None] == found[True] > found[False]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [0.02, 0.2, 0.7])
def test_masks_keep_recall_and_hits(x, q, metric, share):
    index = index_from_spec("LVQ8,IVF50", metric=metric).build(x)
    allowed = np.random.default_rng(1).random(len(x)) < share
    ids, _ = index.search(q, 10, effort=12, allowed=allowed)
    assert allowed[ids].all()
    assert (ids >= 0).all()
    assert recall(index, x, q, 12, allowed) >= recall(index, x, q, 12) - 0.05
    for i in range(20):  # more masks than are remembered
        assert (index.search(q[:2], 3, allowed=np.arange(len(x)) % 20 == i)[0] % 20 == i).all()


def test_queries_that_are_asked_together_have_the_answers_that_they_have_alone(x):
    many = clustered(300, 2)
    for spec in ("LVQ4x8,IVF40", "PQ8,IVF40", "PQ8x4,IVF40 -> LVQ8", "LeanVec12,LVQ8,IVF40"):
        index = index_from_spec(spec, metric="dot").build(x)
        together = index.search(many, 15, effort=5, threads=2)
        for i in range(0, 300, 23):
            for a, b in zip(index.search(many[i : i + 1], 15, effort=5, threads=1), together, strict=True):
                assert np.array_equal(a[0], b[i])


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("residual", [True, False])
def test_halves_of_bytes_are_looked_up_to_the_same_end(x, metric, residual, monkeypatch):
    many = clustered(70, 3)
    index = IVF(metric=metric, n_lists=15, codec=ProductQuantizer(8, bits=4), residual=residual).build(x)
    answers = []
    for looks_up in (index._levels.halved, False):
        monkeypatch.setattr(type(index._levels), "halved", looks_up)
        answers.append([index.search(many, k, effort=effort) for k, effort in ((1, 1), (10, 4), (300, 15))])
    for pair, other in zip(*answers, strict=True):
        for a, b in zip(pair, other, strict=True):
            assert np.array_equal(a, b)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_lists_that_are_chosen(data):
    n = data.draw(st.integers(1, 12))
    near = np.array([data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))], np.float32)
    sizes = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    probes, least = data.draw(st.integers(1, 14)), data.draw(st.integers(0, int(sizes.sum())))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    chosen = np.zeros((n, 1), np.bool_)
    kernels.choose(near, starts, probes, least, chosen)
    order = [c for c in np.argsort(-near[0], kind="stable") if sizes[c]]
    expected = order[:probes]
    while sum(sizes[expected]) < least:
        expected = order[: len(expected) + 1]
    assert np.flatnonzero(chosen[:, 0]).tolist() == sorted(expected)


# -- making ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_given_centroids_are_used_as_they_are(x, q, metric):
    first = IVF(metric=metric, n_lists=25, codec=ProductQuantizer(6), random_state=3).build(x)
    again = IVF(metric=metric, centroids=first.centroids, codec=first.codec).build(x)
    assert again.spec == first.spec == "PQ6,IVF25"
    assert np.array_equal(again.centroids, first.centroids)
    for a, b in zip(again.search(q, 5, effort=4), first.search(q, 5, effort=4), strict=True):
        assert np.array_equal(a, b)


def test_bad_centroids_are_refused(x):
    with pytest.raises(DimensionMismatch, match="centroids have 5 dimensions, but lists hold vectors of 24"):
        IVF(centroids=np.ones((3, 5))).build(x)
    for options in (
        {"centroids": np.ones((3, D)), "n_lists": 4},
        {"centroids": np.full((3, D), np.nan)},
        {"centroids": np.empty((0, D))},
        {"n_lists": 2**16 + 1},
        {"n_lists": -1},
        {"residual": 1},
        {"random_state": -1},
        {"threads": 0},
    ):
        with pytest.raises(InvalidInput):
            IVF(**options)


@pytest.mark.parametrize("spec", ["IVF30", "PQ8,IVF30 -> LVQ8"])
def test_the_index_is_the_same_for_any_number_of_threads(x, spec):
    made = []
    for threads in (1, 3):
        index = index_from_spec(spec)
        index.threads = threads
        made.append({name: np.concatenate([np.ravel(each) for each in array]) if isinstance(array, list) else array
                     for name, array in index.build(x).state()[1].items()})  # fmt: skip
    assert made[0].keys() == made[1].keys()
    for name in made[0]:
        assert np.array_equal(made[0][name], made[1][name]), name


def test_held_out_rows_teach_nothing(x):
    held = np.arange(0, 2_000, 3)
    other = x.copy()
    other[held] = clustered(len(held), 5)
    made = [IVF(metric="dot", n_lists=20, codec=ProductQuantizer(6)).build(each, held_out=held) for each in (x, other)]
    assert np.array_equal(made[0].centroids, made[1].centroids)


def test_fewer_rows_than_lists(x, q):
    index = IVF(n_lists=500).build(x[:9])
    assert len(index.centroids) == 9
    assert (np.sort(index.search(q, 9, effort=1)[0], axis=1) == np.arange(9)).all()


# -- keeping -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spec", ["IVF20", "OPQ6,PQ6,IVF20 -> LVQ8", "LVQ4x8,IVF"])
def test_a_saved_index_answers_and_changes_as_the_one_in_memory(x, q, metric, spec, tmp_path):
    index = index_from_spec(spec, metric=metric).build(x[:600])
    index.remove(np.arange(0, 600, 11))
    index.save(tmp_path / "x.index")
    opened = load_index(tmp_path / "x.index", verify=True)
    assert (opened.spec, opened.metric, opened.dim, len(opened)) == (spec, metric, D, len(index))
    assert 0 < index.nbytes <= opened.nbytes < 1.1 * index.nbytes
    for one in (index, opened):
        one.add(x[600:700])
        one.remove([1, 2, 50])
    assert np.array_equal(opened.lists, index.lists)
    mask = np.arange(700) > 9
    for a, b in zip(index.search(q, effort=6, allowed=mask), opened.search(q, effort=6, allowed=mask), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("spec", "metric", "mode"), [("IVF3", "cosine", "verified"), ("PQ3x4,IVF3 -> LVQ8", "l2", "unverified")]
)
def test_no_flipped_byte_crashes(spec, metric, mode, tmp_path):
    command = [sys.executable, Path(__file__).with_name("damage.py"), tmp_path, spec, metric, mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert not found["other"]
    assert found["refused"] > 500
    assert mode == "unverified" or not found["changed"]


def test_damage_that_checksums_do_not_see_is_refused(x, tmp_path):
    IVF(n_lists=20).build(x[:500]).save(tmp_path / "index")
    good = read_folder(tmp_path / "index")
    arrays = {name: np.array(array) for name, array in good.arrays.items()}

    def saved(parameters=None, **changed):
        write_folder(
            tmp_path / "bad", "IVF", good.parameters | (parameters or {}), arrays | changed, kind_version=1,
            overwrite=True,
        )  # fmt: skip
        return tmp_path / "bad"

    assert len(load_index(saved())) == 500
    for folder in (
        lambda: saved(lists=np.full(500, 20, np.uint16)),
        lambda: saved(lists=arrays["lists"][:-1]),
        lambda: saved(centroids=arrays["centroids"][:, 1:].copy()),
        lambda: saved(centroids=arrays["centroids"][:0]),
        lambda: saved({"residual": 3}),
        lambda: saved({"n_lists": -3}),
        lambda: saved({"random_state": -1}),
        lambda: saved({"metric": "angle"}),
    ):
        with pytest.raises(Damaged):
            load_index(folder())


@pytest.mark.parametrize("spec", ["IVF", "IVF64", "LVQ8,IVF16", "OPQ12,PQ12,IVF16 -> Float16", "PQ12x4,IVF -> LVQ8"])
def test_specifications_are_printed_back(spec):
    index = index_from_spec(spec, metric="dot")
    assert index.spec == spec
    assert index_from_spec(index.spec).spec == spec
