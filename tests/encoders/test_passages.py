from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.encoders import headed_passages, load_encoder, split_passages
from isometry.errors import InvalidInput

from .objects import MultiObject

PIECES = ["a", "word", "antidisestablishmentarianism", " ", "\n", "\n\n", ". ", ", ", "é", "😀", "日本。", "\x00"]


class Words:
    """An encoder that shows no tokenizer."""

    max_tokens = 10


def tiles(spans, text):
    borders = [0, *(stop for _, stop in spans)]
    return spans == list(pairwise(borders)) and borders[-1] == len(text)


@settings(max_examples=100, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES)), rest=st.text())
def test_passages_tile_the_text_and_fit(pieces, rest):
    text = "".join(pieces) + rest
    encoder = load_encoder(MultiObject())
    spans = split_passages(encoder, text)
    assert tiles(spans, text)
    assert all(len(encoder.tokens.offsets(text[a:b])) <= encoder.passage_tokens for a, b in spans)


@settings(max_examples=40, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES)))
def test_real_tokens_fit_too(pieces, wordllama):
    text = "".join(pieces) * 40
    spans = split_passages(wordllama, text)
    assert tiles(spans, text)
    assert all(len(wordllama.tokens.offsets(text[a:b])) <= wordllama.passage_tokens for a, b in spans)


@pytest.mark.parametrize("text", ["", "short", "   "])
def test_what_fits_is_one_passage(text, wordllama):
    assert split_passages(wordllama, text) == [(0, len(text))]


@pytest.mark.parametrize(
    "passages",
    [
        ["One two three four.\n\n", "Five six. Seven eight."],
        ["One two three, four five. ", "Six seven. Eight."],
        ["One two three four, ", "five six seven eight"],
        ["one two three four five six ", "seven eight"],
    ],
    ids=["paragraph", "sentence", "clause", "word"],
)
def test_the_best_border_is_taken(passages):
    text = "".join(passages)
    assert [text[start:stop] for start, stop in split_passages(Words(), text)] == passages


def test_a_megabyte_takes_seconds_not_minutes(minilm):
    text = "The quick brown fox jumps over the lazy dog. " * (1_000_000 // 45)
    start = time.perf_counter()
    spans = split_passages(minilm, text)
    assert time.perf_counter() - start < 20
    assert tiles(spans, text)
    assert len(minilm.tokens.ids([text[slice(*spans[0])]])[0]) <= minilm.max_tokens


@pytest.mark.parametrize("text", [None, 7, b"bytes", ["a"], "\ud800"])
def test_what_is_no_text_is_refused(text, wordllama):
    with pytest.raises(InvalidInput):
        split_passages(wordllama, text)


def test_headed_passages_fit_the_encoder_and_begin_with_the_heading():
    encoder = load_encoder("wordllama")
    heading = "Owls at night"
    text = heading + " " + "Flour, water, salt and yeast; bake until brown. " * 300
    spans, passages = headed_passages(encoder, text, heading)
    assert len(spans) > 2
    assert [spans[0][0], spans[-1][1]] == [0, len(text)]
    assert all(passage.startswith(heading) for passage in passages)
    assert all(len(encoder.tokens.offsets(passage)) <= encoder.max_tokens for passage in passages)
    assert headed_passages(encoder, text)[0] == split_passages(encoder, text)


def test_a_heading_that_is_too_long_is_left_out():
    encoder = load_encoder("wordllama")
    heading = "very long title " * 100
    text = heading + "body " * 2000
    spans, passages = headed_passages(encoder, text, heading)
    assert passages == [text[start:stop] for start, stop in spans]
