"""JPQ, Distill-VQ and BEBR on small problems: what they gain, what they leave alone, what they refuse."""

from __future__ import annotations

import doctest
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isometry.codecs import ProductQuantizer, RecurrentBinary  # noqa: E402
from isometry.errors import DimensionMismatch, InvalidInput  # noqa: E402
from isometry.indexes import IVF, CompressedFlat, load_index  # noqa: E402
from isometry.learning import BEBR, JPQ, DistillVQ, LiveIndex, hard_negatives  # noqa: E402
from isometry.learning.negatives import positives_of  # noqa: E402
from isometry.learning.quantizers import ProductModule  # noqa: E402
from isometry.learning.recurrent import RecurrentModule  # noqa: E402

D = 16


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def pairs():
    """Return (documents, queries): pairs share half of the directions; in the others documents differ for nothing."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((1000, D)) * (np.arange(D) % 2)
    noise = [rng.standard_normal((1000, D)) * np.where(np.arange(D) % 2, 0.3, size) for size in (1.5, 0.3)]
    return tuple(unit(shared + each) for each in noise)


@pytest.fixture(scope="module")
def codec(pairs):
    return ProductQuantizer(4, bits=4).fit(pairs[0])


def reciprocal_ranks(index, queries, answers):
    found = index.search(queries, k=10)[0]
    hits = found == np.asarray(answers)[:, None]
    return np.where(hits.any(axis=1), 1 / (1 + hits.argmax(axis=1)), 0)


def test_the_module_is_the_codec(pairs, codec):
    module = ProductModule(codec)
    x = pairs[0][:50]
    codes = codec.transform(x)
    assert torch.equal(module.numbers(codes), module.nearest(torch.from_numpy(x)))
    decoded = module(module.numbers(codes)).detach().numpy() + codec.mean_
    assert np.allclose(decoded, codec.inverse_transform(codes), atol=1e-6)
    soft = module.soft(torch.from_numpy(x))
    assert np.allclose(soft.detach().numpy() + codec.mean_, decoded, atol=1e-5)
    assert float(torch.autograd.grad(soft.sum(), module.codebooks)[0].abs().sum()) > 0
    assert np.array_equal(module.codec(keep_assignment=False).codebooks_, codec.codebooks_)
    with pytest.raises(InvalidInput, match="16 dimensions can't be cut into 3"):
        ProductModule(ProductQuantizer(3, bits=4).fit(pairs[0]))


def test_a_frozen_codec_goes_through_an_index_and_back(pairs, codec, tmp_path):
    module = ProductModule(codec)
    with torch.no_grad():
        module.codebooks += 0.01
    trained = module.codec(keep_assignment=True)
    index = CompressedFlat(metric="dot", codec=trained).build(pairs[0])
    expected = pairs[1][:20] @ (trained.inverse_transform(codec.transform(pairs[0]))).T
    ids, scores = index.search(pairs[1][:20], k=5)
    assert np.allclose(scores, -np.sort(-expected, axis=1)[:, :5], atol=1e-5)
    index.save(tmp_path / "index")
    again = load_index(tmp_path / "index")
    assert np.array_equal(again.search(pairs[1][:20], k=5)[0], ids)
    assert again.add(pairs[1][:1]) == [1000]
    assert "frozen_" not in vars(ProductQuantizer(4, bits=4).fit(pairs[0]))


def test_a_live_index_is_exact_over_its_codes(pairs, codec):
    codes = codec.transform(pairs[0])
    live = LiveIndex(codec, codes)
    scores = pairs[1][:10] @ (codec.inverse_transform(codes) - codec.mean_).T
    ids, found = live.search(pairs[1][:10], k=7)
    assert np.allclose(found, -np.sort(-scores, axis=1)[:, :7], atol=1e-5)
    few = LiveIndex(codec, codes[:3]).search(pairs[1][:2], k=5)
    assert (few[0][:, 3:] == -1).all()
    assert np.isneginf(few[1][:, 3:]).all()
    positives = [np.array([row[0], row[2]]) for row in ids]
    mined = hard_negatives(live, pairs[1][:10], positives, 3)
    assert np.array_equal(mined, ids[:, [1, 3, 4]])


def test_jpq_gains_on_new_queries_and_moves_no_code():
    rng = np.random.default_rng(1)
    even = np.arange(D) % 2 == 0  # what queries and documents have there goes with nothing, and the map can drop it
    shared = rng.standard_normal((1000, D)) * ~even
    noise = [rng.standard_normal((1000, D)) * np.where(even, size, 0.3) for size in (0.7, 1.5)]
    documents, queries = (unit(shared + each) for each in noise)
    codec = ProductQuantizer(4, bits=4).fit(documents)
    learn, test = slice(0, 700), slice(700, 1000)
    trained = JPQ(epochs=8, scale=20, n_negatives=100, query_rate=0.02, centroid_rate=0.02).fit(
        codec, documents, queries[learn], [[i] for i in range(700)]
    )
    assert np.array_equal(trained.codec_.transform(documents), codec.transform(documents))
    answers = np.arange(1000)[test]
    before = reciprocal_ranks(CompressedFlat(metric="dot", codec=codec).build(documents), queries[test], answers)
    index = CompressedFlat(metric="dot", codec=trained.codec_).build(documents)
    after = reciprocal_ranks(index, trained.map_queries(queries[test]), answers)
    assert after.mean() > 1.2 * before.mean()
    assert trained.history_[-1] < trained.history_[0]


def test_jpq_leaves_queries_alone_and_draws_negatives_if_asked(pairs, codec):
    labels = [[i] for i in range(200)]
    options = {"epochs": 1, "scale": 20, "n_negatives": 20}
    still = JPQ(query_rate=0, **options).fit(codec, pairs[0], pairs[1][:200], labels)
    assert np.array_equal(still.query_map_, np.eye(D))
    found = [
        JPQ(negatives=each, **options).fit(codec, pairs[0], pairs[1][:200], labels).codec_.codebooks_
        for each in ("live", "live", "static", "random")
    ]
    assert np.array_equal(found[0], found[1]), "same seed, same centroids"
    assert not np.array_equal(found[0], found[3])
    assert not np.array_equal(found[0], codec.codebooks_)


def test_distillation_comes_nearer_to_exact_search_without_labels(pairs, codec):
    documents, queries = pairs
    trained = DistillVQ(epochs=15, n_best=50, batch_size=100, centroid_rate=0.03).fit(codec, documents, queries[:700])
    exact = np.argsort(-queries[700:] @ documents.T, axis=1)[:, :10]

    def overlap(each):
        found = CompressedFlat(metric="dot", codec=each).build(documents).search(queries[700:], k=10)[0]
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)])

    assert overlap(trained.codec_) > 1.05 * overlap(codec)
    assert trained.history_[-1] < trained.history_[0]
    assert "assigning_codebooks_" not in vars(trained.codec_)


def test_distilled_lists_are_looked_at_in_a_better_order(pairs, tmp_path):
    documents, queries = pairs
    start = IVF(metric="dot", n_lists=40, codec=ProductQuantizer(4, bits=4)).build(documents)
    options = {"n_best": 50, "batch_size": 100, "centroid_rate": 0.03, "list_rate": 0.01}
    trained = DistillVQ(epochs=15, **options).fit(start.codec, documents, queries[:700], centroids=start.centroids)
    exact = np.argsort(-queries[700:] @ documents.T, axis=1)[:, :10]

    def overlap(index, effort):
        found = index.search(queries[700:], k=10, effort=effort)[0]
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)])

    plain, moved = (
        IVF(metric="dot", centroids=each).build(documents) for each in (start.centroids, trained.centroids_)
    )
    assert overlap(moved, 4) > 1.04 * overlap(plain, 4)
    assert overlap(moved, 40) == overlap(plain, 40) == 1
    coded = IVF(metric="dot", centroids=trained.centroids_, codec=trained.codec_).build(documents)
    assert overlap(coded, 8) > 1.05 * overlap(start, 8)
    coded.save(tmp_path / "index")
    assert overlap(load_index(tmp_path / "index"), 8) == overlap(coded, 8)
    assert trained.list_weight_ > 0
    before, after = trained.list_entropy_
    assert 4 < before < np.log2(40)
    assert abs(after - before) < 0.5


def test_a_step_moves_the_lists_that_it_touches_and_no_others(pairs):
    documents, queries = pairs
    start = IVF(metric="dot", n_lists=100, codec=ProductQuantizer(4, bits=4)).build(documents)
    trained = DistillVQ(epochs=1, batch_size=10, n_best=5, n_drawn=1).fit(
        start.codec, documents, queries[:10], centroids=start.centroids
    )
    best = np.argsort(-queries[:10] @ documents.T, axis=1)[:, :5]
    moved = np.flatnonzero((trained.centroids_ != start.centroids).any(axis=1))
    assert 0 < len(moved) <= 20
    assert set(moved.tolist()) <= set(start.lists[best].ravel().tolist())


def test_interrupted_distillation_of_lists_goes_on_as_if_it_had_not_been(pairs, tmp_path):
    documents, queries = pairs
    start = IVF(metric="dot", n_lists=20, codec=ProductQuantizer(4, bits=4)).build(documents)
    arguments = (start.codec, documents, queries[:200])
    teacher = DistillVQ(epochs=3, batch_size=50)
    whole = teacher.fit(*arguments, centroids=start.centroids).centroids_

    def stop(done, *_):
        if done == 2:
            raise KeyboardInterrupt

    options = {"centroids": start.centroids, "checkpoint": tmp_path / "state"}
    with pytest.raises(KeyboardInterrupt):
        DistillVQ(epochs=3, batch_size=50).fit(*arguments, progress=stop, **options)
    again = DistillVQ(epochs=3, batch_size=50).fit(*arguments, **options)
    assert np.array_equal(again.centroids_, whole)
    with pytest.raises(DimensionMismatch):
        teacher.fit(*arguments, centroids=start.centroids[:, :5])


@pytest.mark.parametrize("options", [{"loss": "mse"}, {"loss": "rank_net"}, {"in_batch": False}, {"n_drawn": 0}])
def test_ways_to_distill(pairs, codec, options):
    trained = DistillVQ(epochs=1, n_best=20, batch_size=50, **options).fit(codec, pairs[0][:300], pairs[1][:50])
    assert np.isfinite(trained.codec_.codebooks_).all()
    assert not np.array_equal(trained.codec_.codebooks_, codec.codebooks_)


def test_the_recurrent_module_is_the_codec(pairs):
    codec = RecurrentBinary(12, bits=3).fit(pairs[0])
    module = RecurrentModule(codec, hidden=8)
    values = module(torch.from_numpy(pairs[0][:100])).detach().numpy()
    assert np.array_equal(4 * values, codec.numbers(pairs[0][:100]))
    with torch.no_grad():
        for part in module.parts:
            part.out.weight += 0.1
    moved = module.codec()
    same = 4 * module(torch.from_numpy(pairs[0][:100])).detach().numpy() == moved.numbers(pairs[0][:100])
    assert same.mean() > 0.999, "up to rounding at a border"
    assert not np.array_equal(moved.numbers(pairs[0][:100]), codec.numbers(pairs[0][:100]))
    assert moved.hidden_ == 8


def test_trained_codes_find_partners_better(pairs):
    documents, queries = pairs
    learn, test = slice(0, 700), slice(700, 1000)
    codec = RecurrentBinary(D, bits=2).fit(documents[learn])
    trained = BEBR(hidden=32, epochs=20, batch_size=128, rate=0.02).fit(codec, queries[learn], documents[learn])

    def found(each):
        index = CompressedFlat(metric="cosine", codec=each).build(documents[test])
        return reciprocal_ranks(index, queries[test], np.arange(300)).mean()

    assert found(trained.codec_) > 1.3 * found(codec)
    assert 0 <= trained.dead_bits_ < 0.5


def test_new_queries_search_old_codes_only_if_they_were_trained_to(pairs):
    documents, queries = pairs
    learn, test = slice(0, 700), slice(700, 1000)
    turn = np.linalg.qr(np.random.default_rng(5).standard_normal((D, D)))[0].astype(np.float32)
    old = RecurrentBinary(24, bits=2).fit(documents[learn, :8])
    new = RecurrentBinary(24, bits=2).fit(documents[learn] @ turn)
    stored = old.numbers(documents[test, :8]).astype(np.float32)

    def found(codec, vectors):
        values = codec.numbers(vectors).astype(np.float32)
        scores = unit(values) @ unit(stored).T
        return np.mean(1 / (1 + (scores > np.diag(scores)[:, None]).sum(axis=1)))

    fits = {
        each: BEBR(hidden=32, epochs=20, batch_size=128, rate=0.02).fit(
            new, queries[learn] @ turn, documents[learn] @ turn, old=(old, documents[learn, :8]) if each else None
        )
        for each in (True, False)
    }
    at_random = np.mean(1 / np.arange(1, 301))
    assert found(fits[True].codec_, queries[test] @ turn) > 4 * at_random
    assert found(fits[False].codec_, queries[test] @ turn) < 2 * at_random


def test_pairs_of_one_item_are_no_negatives(pairs):
    codec = RecurrentBinary(D, bits=1).fit(pairs[0])
    given = codec, pairs[1][:50], pairs[0][:50]
    alone, others = (BEBR(hidden=8, epochs=1).fit(*given, items=items).history_[0] for items in ([0] * 50, range(50)))
    assert alone < 1 < others, "without negatives, only the block that decodes has something to learn"


def test_bad_input(pairs, codec):
    documents, queries = pairs
    with pytest.raises(InvalidInput, match="labels are None"):
        JPQ().fit(codec, documents, queries, None)
    with pytest.raises(InvalidInput, match="no query has a relevant document"):
        JPQ().fit(codec, documents, queries[:2], [[], []])
    with pytest.raises(InvalidInput, match="labels name rows 0 to 1000; expected 0 to 999"):
        positives_of([[0], [1000]], 2, 1000)
    with pytest.raises(DimensionMismatch, match="there are 3 queries and labels for 2"):
        positives_of([[0], [1]], 3, 1000)
    with pytest.raises(InvalidInput, match="zeros"):
        DistillVQ().fit(codec, np.vstack([documents, np.zeros((1, D))]), queries)
    with pytest.raises(InvalidInput, match="leaves each query a single candidate"):
        DistillVQ(n_drawn=0, in_batch=False).fit(codec, documents, queries)
    binary = RecurrentBinary(D).fit(documents)
    with pytest.raises(DimensionMismatch, match="there are 1000 queries and 999 documents"):
        BEBR().fit(binary, queries, documents[1:])
    with pytest.raises(InvalidInput, match="old codes have 16 coordinates of 1 bits"):
        BEBR().fit(binary, queries, documents, old=(RecurrentBinary(D, 1).fit(documents), documents))


@pytest.mark.parametrize("made", [JPQ, DistillVQ, BEBR])
def test_examples_in_the_docstrings_run(made):
    names = {**vars(sys.modules[made.__module__]), "np": np}
    tests = doctest.DocTestFinder(recurse=False).find(made, made.__name__, globs=names)
    assert any(test.examples for test in tests)
    for test in tests:
        assert doctest.DocTestRunner().run(test).failed == 0
