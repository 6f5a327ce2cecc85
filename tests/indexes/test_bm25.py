from __future__ import annotations

import copy
from itertools import pairwise

import bm25s
import numpy as np
import pytest
import Stemmer
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.errors import Damaged, InvalidInput
from isometry.indexes import BM25, Inverted, Seismic, load_index
from isometry.indexes.bm25 import METHODS
from isometry.storage import read_folder, write_folder

TEXTS = [
    "A cat sat on the mat; the cat purred.",
    "Dogs bark at cats, and cats run.",
    "Graph neural networks for retrieval",
    "",
    "the of and",
    "Retrieval of documents by neural networks: retrieval, retrieval!",
    "naïve café Straße",
]


def scores_of_bm25s(texts, query, **options):
    """Return bm25s's own scores of all texts for one query."""
    stemmer = Stemmer.Stemmer("english")
    cut = {"stopwords": "en", "stemmer": stemmer, "show_progress": False}
    index = bm25s.BM25(**options)
    index.index(bm25s.tokenize(texts, **cut), show_progress=False)
    words = bm25s.tokenize([query], return_ids=False, **cut)[0]
    return index.get_scores(words) if words else np.zeros(len(texts), np.float32)


def scores_of(index, query):
    ids, scores = index.search([query], k=index.n_rows)
    found = np.zeros(index.n_rows, np.float32)
    found[ids[ids >= 0]] = scores[ids >= 0]
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("settings", [{}, {"k1": 0.9, "b": 0.4, "delta": 1.0}, {"k1": 0.01}, {"b": 0}])
@pytest.mark.parametrize(
    "query", ["cats on mats", "neural retrieval retrieval", "the", "", "café naïve", "nothing here"]
)
def test_equals_bm25s_to_the_last_bit(method, settings, query):
    index = BM25(method=method, **settings).build(TEXTS)
    expected = scores_of_bm25s(TEXTS, query, method=method, **settings)
    found = scores_of(index, query)
    hits = found != 0
    np.testing.assert_array_equal(found[hits], expected[hits])
    # What bm25s scores otherwise is what a text gets for words it does not hold: nothing, or the method's lower bound.
    assert len(np.unique(expected[~hits])) <= 1


def test_equals_bm25s_on_real_documents(shared_data):
    import gzip
    import json

    with gzip.open(shared_data / "med" / "corpus.jsonl.gz", "rt") as file:
        texts = [json.loads(line)["text"] for line in file]
    with gzip.open(shared_data / "med" / "queries.jsonl.gz", "rt") as file:
        queries = [json.loads(line)["text"] for line in file]
    index = BM25().build(texts)
    for query in queries:
        np.testing.assert_array_equal(scores_of(index, query), scores_of_bm25s(texts, query))


def test_only_texts_that_share_a_word_are_hits():
    index = BM25().build(TEXTS)
    assert sorted(index.search(["cat"], 10)[0][0].tolist()) == [-1] * 8 + [0, 1]
    for query in ("", "the", "zebra", "\0", "?!"):
        ids, scores = index.search([query], 3)
        assert (ids == -1).all()
        assert np.isneginf(scores).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_word_that_all_texts_hold_never_gives_a_hit_of_zero(method):
    ids, scores = BM25(method=method).build(["apple pie", "apple tart", "apple"]).search(["apple"], 3)
    assert (scores[ids >= 0] > 0).all()


words = st.sampled_from(["ant", "bee", "cow", "dog", "elk", "fox"])
documents = st.lists(st.lists(words, max_size=6).map(" ".join), max_size=8)


@settings(max_examples=100, deadline=None)
@given(built=documents, added=documents, cuts=st.lists(st.integers(0, 8), max_size=3), method=st.sampled_from(METHODS))
def test_additions_in_parts_or_at_once(built, added, cuts, method, tmp_path_factory):
    if not any(built):  # without words there are no statistics to freeze: the first words to come set them
        built = [*built, "ant"]
    at_once, in_parts = (BM25(method=method).build(built) for _ in range(2))
    at_once.add(added)
    edges = [0, *sorted(min(cut, len(added)) for cut in cuts), len(added)]
    for start, stop in pairwise(edges):
        in_parts.add(added[start:stop])
    path = tmp_path_factory.mktemp("bm25") / "index"
    in_parts.save(path)
    for query in ("ant bee", "fox", "dog dog elk"):
        expected = at_once.search([query], 20)
        for index in (in_parts, load_index(path)):
            for got, want in zip(index.search([query], 20), expected, strict=True):
                np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("method", METHODS)
def test_a_text_added_again_scores_as_the_one_that_was_built(method):
    index = BM25(method=method).build(TEXTS)
    index.add([TEXTS[5], TEXTS[0]])
    found = scores_of(index, "neural cats in retrieval")
    np.testing.assert_array_equal(found[[7, 8]], found[[5, 0]])


def test_words_unknown_at_the_build_are_found_after_adding():
    index = BM25().build(TEXTS)
    index.add(["a zebra", "zebra zebra stripes"])
    assert index.search(["zebra"], 2)[0].tolist() == [[8, 7]]
    assert index.search(["stripes and cats"], 9)[0][0, 0] == 8


def test_building_again_refreshes_the_statistics():
    index = BM25().build(TEXTS[:2])
    index.add(TEXTS[2:])
    np.testing.assert_array_equal(
        scores_of(index.build(TEXTS), "retrieval of cats"), scores_of(BM25().build(TEXTS), "retrieval of cats")
    )


def test_many_small_additions_stay_few_segments():
    index = BM25().build(TEXTS)
    for i in range(300):
        index.add([f"note number{i} about cats"])
    assert len(index._added) <= 10
    assert index.search(["number123"], 1)[0].tolist() == [[130]]


@settings(max_examples=60, deadline=None)
@given(texts=documents, query=st.lists(words, max_size=4).map(" ".join), data=st.data())
def test_masks_and_removals_take_away_and_nothing_else(texts, query, data):
    index = BM25().build(texts)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))), bool)
    gone = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=3)) if texts else []
    ids, scores = index.search([query], len(texts) + 1)
    index.remove(gone)
    kept = [
        (item, score)
        for item, score in zip(ids[0], scores[0], strict=True)
        if item >= 0 and allowed[item] and item not in gone
    ]
    found_ids, found_scores = index.search([query], len(texts) + 1, allowed=allowed)
    hits = found_ids[0] >= 0
    assert list(zip(found_ids[0][hits], found_scores[0][hits], strict=True)) == kept


def test_large_and_small_queries_select_alike():
    """Few hits among many texts take another way through the code than many hits."""
    rare, common = ["needle hay"] * 3, ["hay stack"] * 2000
    index = BM25().build([*common, *rare, *common])
    assert index.search(["needle"], 5)[0].tolist() == [[2000, 2001, 2002, -1, -1]]
    assert index.search(["stack"], 3)[0].tolist() == [[0, 1, 2]]
    assert index.search(["needle stack"], 4)[0].tolist() == [[2000, 2001, 2002, 0]]


def test_a_ten_megabyte_text():
    index = BM25().build(["word " * 2_000_000 + "needle", "x" * 10_000_000, "needle"])
    assert index.search(["needle"], 3)[0].tolist() == [[2, 0, -1]]
    assert index.search(["x" * 10_000_000], 1)[0].tolist() == [[1]]


@pytest.mark.parametrize(
    "options",
    [
        {"k1": -1},
        {"k1": float("nan")},
        {"k1": float("inf")},
        {"k1": "1"},
        {"k1": True},
        {"k1": 0, "method": "bm25+"},
        {"b": 1.1},
        {"delta": -0.1},
        {"method": "okapi"},
        {"language": "klingon"},
        {"language": 3},
        {"stop_words": [1]},
        {"stop_words": "the"},
    ],
)
def test_bad_options(options):
    with pytest.raises(InvalidInput):
        BM25(**options)


def test_languages_and_stop_words():
    german = BM25(language="german").build(["die Häuser", "die Katze"])
    assert german.search(["das Haus"], 2)[0].tolist() == [[0, -1]]
    assert german.search(["die"], 2)[0].tolist() == [[-1, -1]]
    assert BM25(language="finnish").stop_words == ()
    assert BM25(language=None).build(["running the"]).search(["run"], 1)[0].tolist() == [[-1]]
    assert BM25(stop_words=["cat"]).build(["the cat"]).search(["cat"], 1)[0].tolist() == [[-1]]
    assert BM25(stop_words=[]).build(["the cat"]).search(["the"], 1)[0].tolist() == [[0]]


def test_stop_words_come_from_the_folder(tmp_path):
    BM25(stop_words=["cat"]).build(["the cat"]).save(tmp_path / "x")
    assert load_index(tmp_path / "x").stop_words == ("cat",)


CHANGES = {
    "language": ({"language": "klingon"}, {}),
    "k1": ({"k1": None}, {}),
    "method": ({"method": 3}, {}),
    "stop words": ({"stop_words": "the"}, {}),
    "rows negative": ({"n_rows": -1}, {}),
    "rows huge": ({"n_rows": 2**40}, {}),
    "rows fewer than built": ({"n_rows": 2}, {}),
    "no mean": ({"mean_length": None}, {}),
    "words cut": ({}, {"words": np.zeros(3, np.uint8)}),
    "word offsets empty": ({}, {"word_offsets": np.zeros(0, np.int64)}),
    "offsets too few": ({}, {"offsets": np.zeros(2, np.int64)}),
    "weights too few": ({}, {"weights": np.zeros(1, np.float32)}),
    "alive too short": ({}, {"alive": np.ones(1, bool)}),
    "added without words": ({}, {"added_rows": np.zeros(1, np.int32)}),
}


@pytest.mark.parametrize(("parameters", "arrays"), CHANGES.values(), ids=CHANGES.keys())
def test_folders_that_do_not_fit_together(tmp_path, parameters, arrays):
    BM25().build(TEXTS).save(tmp_path / "good")
    good = read_folder(tmp_path / "good")
    write_folder(tmp_path / "bad", "BM25", good.parameters | parameters, good.arrays | arrays)
    with pytest.raises(Damaged):
        load_index(tmp_path / "bad")


def test_entries_of_texts_that_do_not_exist(tmp_path):
    BM25().build(TEXTS).save(tmp_path / "good")
    good = read_folder(tmp_path / "good")
    rows = good.arrays["rows"] + 1000
    write_folder(tmp_path / "bad", "BM25", good.parameters, good.arrays | {"rows": rows})
    with pytest.raises(Damaged, match="does not have"):
        load_index(tmp_path / "bad").search(["cat"])


def test_a_copy_takes_texts_that_the_original_does_not():
    index = BM25().build(TEXTS)
    index.add(["zebra"])
    twin = copy.copy(index)
    twin.add(["zebra yak"])
    twin.remove([7])
    assert index.search(["zebra yak"], 2)[0].tolist() == [[7, -1]]
    assert twin.search(["zebra yak"], 2)[0].tolist() == [[8, -1]]


@pytest.mark.parametrize("method", ["lucene", "robertson", "atire"])
def test_explanations_add_up_to_scores(method):
    index = BM25(method=method).build(["a cat sat on a cat", "dogs bark", "the cats sleep", "", "a", "b", "c"])
    index.add(["cats and zebras", "zebra"])
    query = "cat cat zebra sleeping unknown"
    ids, scores = index.search([query], k=9)
    hits = ids[0][ids[0] >= 0]
    for said, score in zip(index.explain(query, hits), scores[0], strict=False):
        assert sum(count * weight for _, count, weight in said) == pytest.approx(float(score), rel=1e-5)
        assert {word for word, _, _ in said} <= {"cat", "zebra", "sleep"}
    assert [(word, count) for word, count, _ in index.explain(query, 0)[0]] == [("cat", 2)]
    assert index.explain(query, [1, 3]) == [[], []]
    with pytest.raises(InvalidInput, match="id 9 does not exist"):
        index.explain(query, [9])


@pytest.mark.parametrize("make", [Inverted, lambda: Seismic(n_postings=1000)])
def test_its_weights_can_be_searched_as_sparse_vectors(make):
    rng = np.random.default_rng(0)
    words = np.array([f"{a}{b}{c}" for a in "bdfg" for b in "aeio" for c in "lmnr"])
    texts = [" ".join(rng.choice(words, 12)) for _ in range(300)]
    index = BM25(language=None).build(texts[:250])
    index.add(texts[250:])
    index.remove([3, 260])
    sparse = make().build(index.weights())
    queries = ["bal bam bam dil", texts[7], "unknown", ""]
    ids, scores = index.search(queries, k=20)
    assert scores == pytest.approx(sparse.search(index.counts(queries), k=20, effort=1000)[1], rel=2e-3)
    assert not np.isin(sparse.search(index.counts(texts), k=300, effort=1000)[0], [3, 260]).any()
    assert index.counts(queries)[[0], :].sum() == 4
    assert (ids[2:] == -1).all()
