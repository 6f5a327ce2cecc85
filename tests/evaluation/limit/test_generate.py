"""Generated sets: the rule kept to the letter, names unique, order shuffled, layout readable again."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from isometry.errors import AlreadyExists, InvalidInput
from isometry.evaluation import JudgedSet, load_judged
from isometry.evaluation.limit import PATTERNS, generate_limit, load_limit, regenerate, save_judged
from isometry.evaluation.limit.generate import thing_asked, things_liked
from isometry.evaluation.limit.people import n_people, people
from isometry.evaluation.limit.things import things


@pytest.mark.parametrize("pattern", PATTERNS)
def test_exactly_the_judged_people_like_what_is_asked_for(pattern):
    judged = generate_limit(documents=200, queries=80, pattern=pattern, seed=3)
    likes = {document["id"]: things_liked(document["text"]) for document in judged.corpus}
    assert len(likes) == len(judged.corpus) == 200
    for query, text in judged.queries.items():
        thing = thing_asked(text)
        assert {name for name, liked in likes.items() if thing in liked} == set(judged.qrels[query])
    assert all(len(set(liked)) == len(liked) == 45 for liked in likes.values())


def test_the_default_is_the_papers():
    judged = generate_limit(documents=60)
    assert len(judged.queries) == 1_000
    assert {len(grades) for grades in judged.qrels.values()} == {2}
    per_document = Counter(name for grades in judged.qrels.values() for name in grades)
    assert len(per_document) == 46
    assert set(per_document.values()) <= set(range(37, 46))
    assert len({frozenset(grades) for grades in judged.qrels.values()}) == 1_000


def test_order_does_not_tell_the_relevant():
    judged = generate_limit(documents=2_000, seed=1)
    relevant = {name for grades in judged.qrels.values() for name in grades}
    rows = [row for row, document in enumerate(judged.corpus) if document["id"] in relevant]
    assert 600 < np.mean(rows) < 1_400


def test_same_seed_same_set():
    first, again = generate_limit(documents=50, queries=20, seed=5), generate_limit(documents=50, queries=20, seed=5)
    assert (first.corpus, first.queries, first.qrels) == (again.corpus, again.queries, again.qrels)
    assert first.corpus != generate_limit(documents=50, queries=20, seed=6).corpus


def test_written_sets_are_read_again(tmp_path):
    judged = generate_limit(documents=30, queries=10)
    home = save_judged(judged, tmp_path / "a" / "set")
    again = load_judged(home)
    assert list(again.corpus) == list(judged.corpus)
    assert (again.queries, again.qrels) == (judged.queries, judged.qrels)
    with pytest.raises(AlreadyExists, match="already there"):
        save_judged(judged, home)
    assert [path.name for path in home.parent.iterdir()] == ["set"]


def test_the_published_queries_get_a_corpus_again(shared_data):
    judged = load_limit(shared_data / "limit", documents=300)
    assert (len(judged.corpus), len(judged.queries)) == (300, 1_000)
    likes = {document["id"]: {thing.lower() for thing in things_liked(document["text"])} for document in judged.corpus}
    for query, text in judged.queries.items():
        asked = thing_asked(text).lower()
        assert set(judged.qrels[query]) == {name for name, liked in likes.items() if asked in liked}
    with pytest.raises(InvalidInput, match="46 are judged relevant"):
        load_limit(shared_data / "limit", documents=45)


def test_the_published_small_corpus_is_cut_into_the_same_things(shared_data):
    small = load_judged(shared_data / "limit" / "limit-small")
    for document in small.corpus:
        assert len(things_liked(document["text"])) == 45


def test_there_are_enough_words_of_our_own():
    assert len(things()) >= 1_848
    assert len(set(map(str.lower, things()))) == len(things())
    assert not any("," in thing or " and " in thing or " likes " in thing for thing in things())
    assert n_people() > 1_000_000
    random = np.random.default_rng(0)
    drawn = people(60_000, random, frozenset(people(5, np.random.default_rng(0))))
    assert len(set(drawn)) == 60_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"documents": 45}, "needs 46 documents; documents is 45"),
        ({"documents": 0}, "documents is 0"),
        ({"documents": 9_000, "queries": 3_000}, "queries is 3,000; there are"),
        ({"documents": 5_000_000}, "5,000,000 names"),
        ({"documents": 60, "things_each": 0}, "things_each is 0"),
        ({"documents": 60, "pattern": "disjoint"}, "needs 2,000 documents"),
        ({"documents": 60, "k": 61, "pattern": "cycle"}, "k is 61 but there are 60"),
        ({"documents": 60, "seed": -1}, "seed is -1"),
    ],
)
def test_bad_input(arguments, said):
    with pytest.raises(InvalidInput, match=said):
        generate_limit(**arguments)


def test_only_limit_queries_can_be_regenerated():
    with pytest.raises(InvalidInput, match="expected the form"):
        regenerate(JudgedSet("x", [], {"q": "who?"}, {"q": {"d": 1}}))
