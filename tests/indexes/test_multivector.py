"""Indexes of multi-vectors: MaxSim against NumPy, candidates against MaxSim, and what users hand over."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.codecs import LVQ, Float32
from isometry.errors import Damaged, DimensionMismatch, InvalidInput, NewerFormat, SpecError, TooLarge
from isometry.evaluation.token_sets import topic_mixture
from isometry.indexes import MaxSim, MultiVector, Plaid, index_from_spec, load_index
from isometry.storage import read_folder, write_folder
from isometry.transforms import FDE
from isometry.vectors import MultiVectors

SPECS = ["MaxSim", "FDE(8,3,8),LVQ8,Flat -> Float32", "Float32,PLAID16"]


def sets_of(lengths, d=16, seed=0, scale=1.0):
    """Return sets whose tokens are near one of twenty directions."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((20, d))
    tokens = centres[rng.integers(20, size=sum(lengths))] + 0.6 * rng.standard_normal((sum(lengths), d))
    return MultiVectors(scale * tokens, np.cumsum([0, *lengths]))


def by_numpy(sets, queries, metric):
    """Return MaxSim (nq, n) in float64; -inf where one of the two has no tokens."""

    def unit(x):
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        return x / np.where(norms > 0, norms, 1)

    bring = unit if metric == "cosine" else np.asarray
    scores = np.full((len(queries), len(sets)), -np.inf)
    for i, q in enumerate(queries):
        for j, p in enumerate(sets):
            if len(q) and len(p):
                scores[i, j] = (bring(q.astype(float)) @ bring(p.astype(float)).T).max(axis=1).sum()
    return scores


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 12), max_size=12),
    asked=st.lists(st.integers(0, 5), max_size=3),
    metric=st.sampled_from(["cosine", "dot"]),
    scale=st.sampled_from([1.0, 1e-6, 1e6]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_an_exact_search_is_brute_force(lengths, asked, metric, scale, seed, data):
    sets, queries = sets_of(lengths, seed=seed, scale=scale), sets_of(asked, seed=seed + 100)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))), bool)
    index = MaxSim(metric=metric).build(sets)
    expected = np.where(allowed, by_numpy(sets, queries, metric), -np.inf)
    ids, scores = index.search(queries, len(lengths) + 1, allowed=allowed)
    for row, values, wanted in zip(ids, scores, expected, strict=True):
        found = row[row >= 0]
        assert set(found.tolist()) == set(np.flatnonzero(wanted > -np.inf).tolist())
        assert values[: len(found)] == pytest.approx(wanted[found], rel=1e-4, abs=1e-5 * scale)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_with_all_candidates_every_index_is_exact(spec, metric):
    sets, queries = sets_of(np.random.default_rng(1).integers(0, 30, 200)), sets_of([1, 7, 0, 40], seed=5)
    expected = MaxSim(metric=metric).build(sets).search(queries, 20)
    found = index_from_spec(spec, metric=metric).build(sets).search(queries, 20, effort=200)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])
    assert (found[0][2] == -1).all(), "a query without tokens has no hits"


@pytest.mark.parametrize("spec", ["FDE(20,4,8),LVQ4,Flat -> Float32", "Float32,PLAID64x2"])
def test_few_candidates_find_most(spec):
    mixture = topic_mixture(2000, 30, dim=32, topics=50, seed=1)
    sets, queries = mixture.documents, mixture.queries
    exact = MaxSim().build(sets).search(queries, 10)[0]
    index = index_from_spec(spec).build(sets)
    recalls = [
        np.mean([np.isin(a, b).mean() for a, b in zip(exact, index.search(queries, 10, effort=effort)[0], strict=True)])
        for effort in (10, 100, 400)
    ]
    assert recalls[0] < recalls[1] < recalls[2]
    assert recalls[2] > 0.9


@pytest.mark.parametrize("spec", SPECS)
def test_sets_without_tokens_are_kept_and_never_found(spec):
    index = index_from_spec(spec).build(sets_of([0, 0, 0]))
    assert (len(index), index.n_rows) == (3, 3)
    queries = sets_of([4, 0], seed=1)
    assert (index.search(queries, 2)[0] == -1).all()
    index.remove([1])
    more = sets_of([5, 0, 7], seed=2)
    assert index.add(more).tolist() == [3, 4, 5]
    assert (len(index), index.n_rows) == (5, 6)
    assert sorted(index.search(more, 3, effort=1)[0][0].tolist()) == [-1, 3, 5]
    assert index.search(more, 1)[0].tolist() == [[3], [-1], [5]]
    numbers, similarities = index.matches(queries[0], [0, 5])
    assert (numbers[0] == -1).all()
    assert np.isneginf(similarities[0]).all()
    with pytest.raises(InvalidInput, match="id 1 was removed"):
        index.matches(queries[0], [1])


@pytest.mark.parametrize("spec", [*SPECS, "PQ4,MaxSim", "FDE(3,2,4),PQ8,Vamana8 -> PQ4"])
def test_long_single_and_equal_tokens(spec):
    sets = [*sets_of([1, 10_000, 30]), np.ones((10_000, 16)), np.repeat(sets_of([1], seed=7).tokens, 50, axis=0)]
    index = index_from_spec(spec).build(sets)
    for query in (np.ones((1, 16)), np.ones((10_000, 16)), sets[2]):
        scores = index.search([query], 5)[1]
        assert np.isfinite(scores).all()
    assert index.search([np.ones((10_000, 16))], 1)[0] == 3
    assert index.search([np.ones((10_000, 16))], 1)[1] == pytest.approx(10_000, rel=1e-2)


def test_products_of_the_longest_tokens_stay_finite():
    index = MaxSim(metric="dot").build([np.full((1, 4), 2.0**49), -np.full((1, 4), 2.0**49)])
    ids, scores = index.search([np.full((10_000, 4), 2.0**49)], 2)
    assert ids.tolist() == [[0, 1]]
    assert scores == pytest.approx(10_000 * 2.0**100 * np.array([[1, -1]]))


@pytest.mark.parametrize("spec", SPECS)
def test_what_makes_no_sense_is_refused(spec):
    index = index_from_spec(spec, metric="dot").build(sets_of([3, 4]))
    for call in (index.search, index.add):
        with pytest.raises(DimensionMismatch, match="has 8 dimensions; expected 16"):
            call([np.zeros((2, 8))])
        with pytest.raises(InvalidInput, match="row 1 has norm 4e"):
            call([np.zeros((1, 16)), np.full((1, 16), 1e20)])
        with pytest.raises(InvalidInput, match=r"token 0 of . has norm 4e\+16; expected at most 2\^50"):
            call([np.full((1, 16), 1e16)])
    with pytest.raises(DimensionMismatch):
        index.matches(np.zeros((2, 8)), [0])
    for wrong in ([2], [-1], ["a"]):
        with pytest.raises(InvalidInput):
            index.matches(np.ones((2, 16)), wrong)
    with pytest.raises(InvalidInput, match="metric is 'l2'; expected one of cosine, dot"):
        index_from_spec(spec, metric="l2")


@pytest.mark.parametrize("spec", [*SPECS, "PQ4,MaxSim"])
def test_matches_say_which_token_answers_which(spec):
    sets, query = sets_of([5, 20, 3]), sets_of([6], seed=3)[0]
    index = index_from_spec(spec).build(sets)
    ids, scores = index.search([query], 3)
    numbers, similarities = index.matches(query, ids[0])
    assert similarities.sum(axis=1) == pytest.approx(scores[0], rel=1e-5)
    assert (numbers.max(axis=1) < sets.lengths[ids[0]]).all()
    if spec == "MaxSim":
        for row, i in zip(numbers, ids[0], strict=True):
            unit = sets[i] / np.linalg.norm(sets[i], axis=1, keepdims=True)
            assert (row == (query @ unit.T).argmax(axis=1)).all()


@pytest.mark.parametrize("spec", SPECS)
def test_removing_most_gives_bytes_back_and_changes_no_answer(spec, tmp_path):
    sets, queries = sets_of([10] * 300), sets_of([5] * 6, seed=4)
    index = index_from_spec(spec).build(sets)
    index.save(tmp_path / "x")
    for one in (index, load_index(tmp_path / "x")):
        before = one.nbytes
        assert one.remove(np.arange(0, 100)) == 100
        assert one.nbytes >= before - 1000
        assert one.remove(np.arange(50, 200)) == 100
        assert one.nbytes < 0.8 * before
        left = np.arange(300) >= 200
        expected = MaxSim().build(sets).search(queries, 10, allowed=left)
        assert np.array_equal(one.search(queries, 10)[0], expected[0])
        one.add(sets[:3])
        assert one.search(sets[:3], 1)[0].tolist() == [[300], [301], [302]]


@pytest.mark.parametrize(
    ("spec", "printed"),
    [
        ("MaxSim", None),
        ("PQ32,MaxSim", None),
        ("PLAID", None),
        ("LVQ4,PLAID256x2", None),
        ("PLAID0x2", None),
        ("FDE(10,4,8),LVQ4,Flat -> LVQ4", None),
        ("FDE(20,4),PQ256x8,Vamana32 -> PQ32", "FDE20x4,PQ256x8,Vamana32 -> PQ32"),
        ("FDE(4,3,0,64),PCA16,Flat", None),
    ],
)
def test_specifications_are_printed_back(spec, printed, tmp_path):
    index = index_from_spec(spec, metric="dot")
    assert index.spec == (printed or spec)
    assert index_from_spec(index.spec).spec == index.spec
    index = index_from_spec(spec.replace("PQ256x8", "PQ8x8").replace("PQ32", "PQ4")).build(sets_of([3] * 40))
    index.save(tmp_path / "x")
    assert load_index(tmp_path / "x").spec == index.spec


def test_a_specification_is_what_the_parts_say():
    made = index_from_spec("FDE(10,4,8),LVQ4,Vamana16 -> LVQ4", metric="dot")
    same = MultiVector(metric="dot", fde=FDE(10, 4, 8), index="LVQ4,Vamana16", codec=LVQ(4))
    assert (made.spec, repr(made)) == (same.spec, repr(same))
    assert repr(made.build(sets_of([3, 4]))).endswith("2 sets of 7 tokens")
    assert Plaid(n_centroids=0).n_centroids is None


@pytest.mark.parametrize(
    "spec", ["PCA8,FDE10,Flat", "LVQ8,FDE10,Flat", "FDE10,FDE10,Flat", "FDE10,LVQ8,PLAID8", "FDE10"]
)
def test_an_fde_comes_first_and_before_a_dense_index(spec):
    with pytest.raises((SpecError, InvalidInput)):
        index_from_spec(spec).build(sets_of([3, 4]))


def test_the_codec_of_the_tokens_is_not_part_of_the_dense_index():
    with pytest.raises(InvalidInput, match="pass it as codec"):
        MultiVector(index="LVQ4,Flat -> LVQ8")


def test_what_is_handed_over_stays_as_it_was():
    fde, codec = FDE(2, 2, 4), Float32()
    MultiVector(fde=fde, codec=codec).build(sets_of([3, 4]))
    assert not hasattr(fde, "seed_")
    assert not hasattr(codec, "mean_")


def test_too_large_encodings_are_refused_before_anything_is_done():
    sets = MultiVectors(np.ones((0, 128)), np.zeros(1_000_001, np.int64))
    with pytest.raises(TooLarge, match="sets of 0 tokens need about"):
        MultiVector(fde=FDE(40, 8, None)).build(sets)


# -- folders -----------------------------------------------------------------------------------------------------------

CHANGES = {
    "metric": ({"metric": "l2"}, {}),
    "dimensions": ({"dim": 0}, {}),
    "asked dimensions": ({"asked_dim": 17}, {}),
    "layout": ({"tokens": "Float16Rows"}, {}),
    "codec": ({"codec": {"kind": 3}}, {}),
    "no FDE": ({"fde": None}, {}),
    "dense of another kind": ({"dense": {"kind": "MultiVector", "kind_version": 1, "parameters": {}}}, {}),
    "dense without version": ({"dense": {"kind": "Flat", "kind_version": 0, "parameters": {}}}, {}),
    "offsets go down": ({}, {"offsets": np.array([0, 9, 5, 12])}),
    "offsets lead out": ({}, {"offsets": np.array([0, 3, 5, 99])}),
    "offsets start late": ({}, {"offsets": np.array([1, 3, 5, 12])}),
    "no offsets": ({}, {"offsets": np.zeros(0, np.int64)}),
    "alive too short": ({}, {"alive": np.ones(2, bool)}),
    "tokens cut": ({}, {"tokens_values": np.ones((12, 16), np.float32)}),
    "more sets than encodings": ({}, {"offsets": np.array([0, 3, 5, 8, 12]), "alive": np.ones(4, bool)}),
}


@pytest.mark.parametrize(("parameters", "arrays"), CHANGES.values(), ids=CHANGES.keys())
def test_folders_that_do_not_fit_together(tmp_path, parameters, arrays):
    index_from_spec("FDE(2,2,4),Flat -> Float32").build(sets_of([3, 4, 5])).save(tmp_path / "good")
    good = read_folder(tmp_path / "good")
    write_folder(tmp_path / "bad", "MultiVector", good.parameters | parameters, good.arrays | arrays)
    with pytest.raises(Damaged):
        load_index(tmp_path / "bad")


@pytest.mark.parametrize(
    ("role", "field", "value"),
    [("fde", "n_features_in_", 15), ("fde", "repetitions", 3), ("codec", "n_features_in_", 15)],
)
def test_parts_that_do_not_fit_are_found_out_when_they_are_made(tmp_path, role, field, value):
    sets = sets_of([3] * 200)
    index_from_spec("FDE(2,2,4),Flat -> LVQ8").build(sets).save(tmp_path / "good")
    good = read_folder(tmp_path / "good")
    part = good.parameters[role]
    changed = part | {"parameters": part["parameters"] | {field: value}}
    write_folder(tmp_path / "bad", "MultiVector", good.parameters | {role: changed}, good.arrays)
    with pytest.raises(Damaged):
        load_index(tmp_path / "bad").search(sets[:1])


def test_encodings_of_another_layout_are_not_compared(tmp_path):
    sets = sets_of([3] * 200)
    index_from_spec("FDE(2,2,4),Flat -> LVQ8").build(sets).save(tmp_path / "good")
    good = read_folder(tmp_path / "good")
    fde = good.parameters["fde"]
    newer = fde | {"parameters": fde["parameters"] | {"layout_version_": 2}}
    write_folder(tmp_path / "newer", "MultiVector", good.parameters | {"fde": newer}, good.arrays)
    with pytest.raises(NewerFormat):
        load_index(tmp_path / "newer").search(sets[:1])


def test_centroids_that_do_not_fit(tmp_path):
    index_from_spec("PLAID4").build(sets_of([3, 4, 5])).save(tmp_path / "good")
    good = read_folder(tmp_path / "good")
    for i, (parameters, arrays) in enumerate(
        [
            ({}, {"numbers": np.full(12, 4, np.uint16)}),
            ({}, {"numbers": np.zeros(11, np.uint16)}),
            ({}, {"centroids": np.zeros((4, 15), np.float32)}),
            ({}, {"centroids": np.zeros((0, 16), np.float32)}),
            ({"probes": 0}, {}),
        ]
    ):
        write_folder(tmp_path / str(i), "Plaid", good.parameters | parameters, good.arrays | arrays)
        with pytest.raises(Damaged):
            load_index(tmp_path / str(i))


@pytest.mark.parametrize("spec", ["FDE(1,1,2),Flat -> LVQ8", "Float16,PLAID2"])
def test_no_flipped_byte_crashes(spec, tmp_path):
    command = [sys.executable, Path(__file__).with_name("damage.py"), tmp_path, spec, "cosine", "unverified"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert not found["other"]
    assert found["refused"] > 1000
