from __future__ import annotations

import bm25s
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.indexes.vocabulary import Vocabulary
from isometry.indexes.words import Words, stop_words_of


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_cut_as_bm25s_does(text):
    expected = bm25s.tokenize([text], stopwords=None, return_ids=False, show_progress=False)[0]
    assert Words.split(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, WORLD! a b2 x_y", ["hello", "world", "b2", "x_y"]),
        ("", []),
        ("naïve Café ÉTÉ", ["naïve", "café", "été"]),
        ("nai\u0308ve cafe\u0301", ["naïve", "café"]),
        ("ＦＵＬＬ　ｗｉｄｔｈ ﬁne", ["full", "width", "fine"]),
        ("信息检索", ["信息", "息检", "检索"]),
        ("茶 and 绿茶", ["茶", "and", "绿茶"]),
        ("東京タワーは", ["東京", "京タ", "タワ", "ワー", "ーは"]),
        ("한국어", ["한국", "국어"]),
        ("BM25检索v2", ["bm25", "检索", "v2"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("Привет, мир", ["привет", "мир"]),
        ("𠀀𠀁 😀 tea", ["𠀀𠀁", "tea"]),
        ("nul\0byte", ["nul", "byte"]),
        ("lone \ud800 surrogate", ["lone", "surrogate"]),
        ("don't stop", ["don", "stop"]),
    ],
)
def test_examples(text, words):
    assert Words.split(text) == words


@given(st.text())
def test_any_text_gives_words_that_can_be_stored(text):
    for word in Words.split(text):
        assert 1 <= len(word) <= 255
        word.encode("utf-8")


@given(st.text(), st.sampled_from(["english", "german", None]))
def test_words_one_by_one_or_together(text, language):
    words = Words(language, stop_words_of(language))
    kept = [words.keep(word) for word in words.split(text)]
    assert words(text) == [word for word in kept if word is not None]


def test_long_runs_are_cut():
    assert [len(word) for word in Words.split("x" * 600)] == [255, 255, 90]
    assert [len(word) for word in Words.split("é" * 600)] == [255, 255, 90]


def test_stop_words_go_before_stemming():
    words = Words("english", ["running"])
    assert words("running runs runner") == ["run", "runner"]


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"]), max_size=5)), st.text(max_size=5))
def test_vocabulary_finds_what_is_in_it(words, other):
    ordered = sorted(words)
    vocabulary = Vocabulary.of(ordered)
    assert vocabulary.words() == ordered
    assert vocabulary.fits()
    assert [vocabulary.find(word) for word in ordered] == list(range(len(ordered)))
    if other not in words and other.isprintable():
        assert vocabulary.find(other) == -1
