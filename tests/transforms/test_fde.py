"""Fixed dimensional encodings: what the paper promises, and what stored encodings rely on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from isometry.errors import DimensionMismatch, InvalidInput, NewerFormat
from isometry.estimators import restore, state
from isometry.indexes.spec import parse_spec
from isometry.storage import read_folder, write_folder
from isometry.transforms import FDE
from isometry.transforms.fde import _tables
from isometry.vectors import MultiVectors
from tests.reference import fde as reference

SMALL = {"repetitions": 2, "k_sim": 3, "dim_proj": 4}

GOLDEN = [
    (
        {"repetitions": 1, "k_sim": 1, "dim_proj": 4},
        [-0.3229167, 0.1458333, 0.0, -0.1770833, 0.296875, -0.6875, 0.0, -0.390625],
        [-0.96875, 0.4375, 0.0, -0.53125, 0.59375, -1.375, 0.0, -0.78125],
    ),
    (
        {"repetitions": 2, "k_sim": 2, "dim_proj": None, "dim_final": 8, "random_state": 5},
        [-2.2864583, -0.34375, -0.65625, 0.5104167, -0.140625, 0.9895834, 0.6770834, 0.1770833],
        [-1.125, -0.171875, -0.359375, 0.15625, -0.171875, 0.390625, 0.078125, -0.046875],
    ),
    (
        {"repetitions": 1, "k_sim": 1, "dim_proj": 3, "projection": "sign"},
        [-0.4330127, 0.0601406, -0.0601407, 0.0360844, 0.3067173, -0.0360844],
        [-1.2990381, 0.1804219, -0.1804219, 0.0721688, 0.6134347, -0.0721688],
    ),
]


def unit_sets(lengths, d, seed, spread=2.0):
    """Return sets of unit tokens; those of one set are about as near to each other as a document's are."""
    rng = np.random.default_rng(seed)
    sets = []
    for length in lengths:
        x = rng.standard_normal((length, d)) + spread * rng.standard_normal(d) / np.sqrt(d)
        sets.append((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32))
    return sets


def similarities(queries, documents):
    return np.array([[reference.chamfer(q, p) for p in documents] for q in queries])


@pytest.mark.parametrize("projection", ["count-sketch", "sign"])
@pytest.mark.parametrize("dim_final", [None, 50])
@pytest.mark.parametrize("dim_proj", [4, 12, 0, None])
@pytest.mark.parametrize("fill", [True, False])
def test_documents_are_averaged_and_queries_summed_up_by_the_definition(projection, dim_final, dim_proj, fill):
    sets = unit_sets([1, 30, 0, 100], 12, 0)
    fde = FDE(3, 4, dim_proj, dim_final, fill=fill, projection=projection).fit(sets)
    size = dim_proj or 12
    total = 3 * 16 * size
    tables = _tables(fde.seed_, 12, 3, 4, size, projection, total if dim_final else 0, fde.n_components_)
    assert len(tables.projections) == (3 if size < 12 else 0)
    assert fde.n_components_ == (dim_final or total)
    options = {"repetitions": 3, "k_sim": 4, "dim": fde.n_components_}
    documents = [reference.encode(x, tables, **options, average=True, fill=fill) for x in sets]
    queries = [reference.encode(x, tables, **options, average=False, fill=False, scale=1 / 3) for x in sets]
    assert fde.transform(sets) == pytest.approx(np.array(documents), abs=1e-5)
    assert fde.transform_query(sets) == pytest.approx(np.array(queries), abs=1e-5)


@given(
    repetitions=st.integers(1, 6),
    k=st.integers(0, 7),
    d=st.integers(2, 24),
    fill=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=100, deadline=None)
def test_without_projections_no_score_is_over_the_similarity(repetitions, k, d, fill, seed):
    """Lemma A.3 of the paper, for 100 pairs each time."""
    rng = np.random.default_rng(seed)
    queries, documents = (unit_sets(rng.integers(1, 33, 10), d, seed + i) for i in (0, 10**7))
    fde = FDE(repetitions, k, None, fill=fill, random_state=seed).fit(queries)
    scores = fde.transform_query(queries) @ fde.transform(documents).T
    allowed = 1e-4 * np.array([len(q) for q in queries])[:, None]
    exact = similarities(queries, documents)
    # An unfilled cell counts as 0, which is over a similarity below 0.
    inside = (
        exact if fill else np.array([[np.maximum(q @ p.T, 0).max(axis=1).sum() for p in documents] for q in queries])
    )
    assert (scores <= inside + allowed).all()


def test_fill_brings_scores_nearer_and_more_so_with_more_cells():
    documents = unit_sets([30] * 40, 64, 0)
    rng = np.random.default_rng(1)
    queries = []
    for document in documents:
        x = document[:8] + rng.standard_normal((8, 64)).astype(np.float32) / 16
        queries.append(x / np.linalg.norm(x, axis=1, keepdims=True))
    exact = np.array([reference.chamfer(q, p) for q, p in zip(queries, documents, strict=True)])

    def ratio(k, fill):
        fde = FDE(5, k, None, fill=fill).fit(documents)
        return float(((fde.transform_query(queries) * fde.transform(documents)).sum(axis=1) / exact).mean())

    filled, unfilled = ([ratio(k, fill) for k in range(1, 8)] for fill in (True, False))
    assert all(one >= other for one, other in zip(filled, unfilled, strict=True))
    assert filled == sorted(filled)
    assert filled[-1] > 1.1 * unfilled[-1]
    # A cell with the right document token in it grows rarer with the number of cells.
    assert unfilled[-1] < max(unfilled)


def test_queries_are_never_filled():
    sets = unit_sets([1], 16, 0)
    fde = FDE(1, 5, None).fit(sets)
    assert (fde.transform(sets).reshape(32, 16) == sets[0]).all()
    blocks = fde.transform_query(sets).reshape(32, 16)
    assert blocks.any(axis=1).sum() == 1
    assert np.array_equal(blocks.sum(axis=0), sets[0][0])


@pytest.mark.parametrize("projection", ["count-sketch", "sign"])
@pytest.mark.parametrize(("dim_proj", "dim_final"), [(8, None), (None, 500), (8, 100)])
def test_projections_are_unbiased(projection, dim_proj, dim_final):
    """Over many seeds with the same cells, sketched scores are on average those without a sketch."""
    sets = unit_sets([20] * 6, 32, 0)
    plain, sketched = [], []
    for seed in range(200):
        exact = FDE(2, 3, None, random_state=seed).fit(sets)
        sketch = FDE(2, 3, dim_proj, dim_final, projection=projection, random_state=seed).fit(sets)
        plain.append(exact.transform_query(sets) @ exact.transform(sets).T)
        sketched.append(sketch.transform_query(sets) @ sketch.transform(sets).T)
    error = np.array(sketched) - np.array(plain)
    assert (np.abs(error.mean(axis=0)) < 4.5 * error.std(axis=0) / np.sqrt(200)).all()
    assert error.std() > 0.01


def test_one_cell_pools():
    sets = unit_sets([1, 5, 40], 16, 0)
    fde = FDE(1, 0, None).fit(sets)
    assert fde.transform(sets) == pytest.approx(np.array([x.mean(axis=0) for x in sets]), abs=1e-6)
    assert fde.transform_query(sets) == pytest.approx(np.array([x.sum(axis=0) for x in sets]), abs=1e-5)


def test_scores_find_the_most_similar_document():
    documents = unit_sets([40] * 200, 64, 0, spread=0)
    rng = np.random.default_rng(2)
    queries = [x[:5] + rng.standard_normal((5, 64)).astype(np.float32) / 12 for x in documents[:100]]
    queries = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in queries]
    best = similarities(queries, documents).argmax(axis=1)

    def found(*options, **more):
        fde = FDE(*options, **more).fit(documents)
        return float(np.mean((fde.transform_query(queries) @ fde.transform(documents).T).argmax(axis=1) == best))

    assert found(1, 0, None) < 0.5  # one average of all tokens
    assert found() > 0.97
    assert found(20, 5, None, 2560) > 0.9
    assert found(2, 4, 16) < 0.5 < found(20, 4, 16)


def test_sets_of_any_size():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10_000, 16)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    fde = FDE(**SMALL).fit([x])
    sets = [np.zeros((0, 16)), x[:1], x, np.repeat(x[:1], 50, axis=0), np.zeros((3, 16))]
    documents, queries = fde.transform(sets), fde.transform_query(sets)
    for encoded in (documents, queries):
        assert encoded.shape == (5, 64)
        assert np.isfinite(encoded).all()
        assert not encoded[0].any()
        assert not encoded[4].any()
    assert documents[3] == pytest.approx(documents[1], abs=1e-5)
    assert queries[3] == pytest.approx(50 * queries[1], rel=1e-4)
    assert fde.transform(MultiVectors(np.zeros((0, 16)), [0])).shape == (0, 64)
    assert np.array_equal(fde.transform(MultiVectors.from_list(sets)), documents)
    assert np.array_equal(FDE(**SMALL).fit_transform(sets), documents)


def test_tokens_are_not_normalised():
    sets = unit_sets([9, 20], 16, 0)
    fde = FDE(**SMALL).fit(sets)
    assert fde.transform([4 * x for x in sets]) == pytest.approx(4 * fde.transform(sets), rel=1e-5)
    big = fde.transform([x * np.float32(2.0**59) for x in sets])
    assert np.isfinite(big).all()


def test_bad_input_is_refused():
    sets = unit_sets([3, 4], 16, 0)
    fde = FDE(**SMALL).fit(sets)
    for method in (fde.transform, fde.transform_query):
        with pytest.raises(DimensionMismatch, match="has 15 dimensions; expected 16"):
            method([x[:, :15] for x in sets])
        with pytest.raises(InvalidInput, match="NaN"):
            method([np.full((2, 16), np.nan)])
        with pytest.raises(InvalidInput, match=r"magnitude 1e\+30; expected at most 2\^60"):
            method([np.full((2, 16), 1e30)])
        with pytest.raises(InvalidInput, match="expected MultiVectors or a sequence"):
            method(sets[0])
    with pytest.raises(NotFittedError):
        FDE().transform(sets)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("repetitions", 0, "an integer >= 1"),
        ("k_sim", 21, "an integer from 0 to 20"),
        ("k_sim", -1, "an integer from 0 to 20"),
        ("dim_proj", 17, "an integer from 0 to 16"),
        ("dim_proj", -1, "an integer from 0 to 16"),
        ("dim_final", 65, "an integer from 1 to 64"),
        ("projection", "sparse", "one of count-sketch, sign"),
    ],
)
def test_bad_parameters_are_named(name, value, expected):
    with pytest.raises(InvalidInput, match=f"{name} is {value!r}; expected {expected}"):
        FDE(**SMALL | {name: value}).fit(unit_sets([3], 16, 0))


def test_encodings_of_more_numbers_than_fit_are_refused():
    with pytest.raises(InvalidInput, match=r"repetitions=2000, k_sim=20 and 16 numbers a cell make 33,554,432,000"):
        FDE(2000, 20, 16).fit(unit_sets([3], 16, 0))


def test_stored_encodings_stay_valid():
    """These numbers were stored once: encodings on a disk must agree with those made by later versions."""
    tokens = (np.arange(40, dtype=np.float32).reshape(5, 8) * 37 % 41 - 20) / 32
    for options, document, query in GOLDEN:
        fde = FDE(**options).fit([tokens])
        assert fde.layout_version_ == 1
        assert fde.transform([tokens])[0] == pytest.approx(document, abs=1e-6)
        assert fde.transform_query([tokens])[0] == pytest.approx(query, abs=1e-6)


def test_another_layout_is_refused():
    sets = unit_sets([3], 16, 0)
    fde = FDE(**SMALL).fit(sets)
    fde.layout_version_ = 2
    with pytest.raises(NewerFormat, match="layout version 2; expected 1"):
        fde.transform(sets)


def test_only_parameters_are_stored(tmp_path):
    sets = unit_sets([3, 70], 16, 0)
    fde = FDE(3, 4, 8, 100, random_state=np.random.RandomState(7).randint(99)).fit(sets)
    kind, parameters, arrays = state(fde)
    assert arrays == {}
    write_folder(tmp_path / "fde", kind, parameters, arrays)
    read = read_folder(tmp_path / "fde")
    again = restore(read.kind, read.parameters, read.arrays)
    assert again.get_params() == fde.get_params()
    assert again.transform(sets).tobytes() == fde.transform(sets).tobytes()
    assert again.transform_query(sets).tobytes() == fde.transform_query(sets).tobytes()


def test_seeds_decide():
    sets = unit_sets([20], 16, 0)
    one, same, other = (FDE(**SMALL, random_state=seed).fit(sets).transform(sets) for seed in (0, 0, 1))
    assert one.tobytes() == same.tobytes()
    assert np.abs(one - other).max() > 0.1
    unknown = FDE(**SMALL, random_state=None).fit(sets)
    assert unknown.transform(sets).tobytes() == unknown.transform(sets).tobytes()


def test_random_numbers_of_repetitions_and_purposes_differ():
    tables = _tables(0, 64, 4, 5, 16, "count-sketch", 4 * 32 * 16, 1000)
    planes = tables.planes.T
    assert np.abs(np.corrcoef(planes) - np.eye(20)).max() < 0.6
    assert abs(planes.mean()) < 0.1
    assert abs(planes.std() - 1) < 0.1
    assert (np.abs(tables.projections).sum(axis=2) == 1).all()
    assert len({table.tobytes() for table in tables.projections}) == 4
    assert 0.4 < (tables.places & 1).mean() < 0.6
    assert np.unique(tables.places >> 1).size > 800


def test_it_is_an_estimator_and_a_part_of_specifications():
    fde = FDE(4, 3, 8, 64, fill=False, projection="sign", random_state=3)
    assert clone(fde).get_params() == fde.get_params()
    assert clone(fde).set_params(k_sim=2).k_sim == 2
    part = parse_spec("FDE(20,5,16),Flat").transforms[0]
    assert (part.name, part.numbers, str(part)) == ("FDE", (20, 5, 16), "FDE(20,5,16)")
