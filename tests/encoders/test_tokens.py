from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from isometry.encoders.tokens import BLOCK, PseudoTokens, Tokens


@pytest.fixture(scope="module")
def description(minilm_folder):
    return (minilm_folder / "tokenizer.json").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(description):
    """The tokenizer without any of our cutting."""
    tokenizer = Tokenizer.from_str(description)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from("ab \n.é😀日\x00"), max_size=400))
def test_cutting_before_reading_does_not_change_the_tokens(text, description, whole):
    tokens = Tokens(description, max_tokens=8)
    expected = whole.encode(text).ids
    assert tokens.ids([text])[0] == (expected if len(expected) <= 8 else [*expected[:7], expected[-1]])


def test_ten_megabytes_are_cut_at_once(description):
    tokens = Tokens(description, max_tokens=256)
    words = "word " * 2_000_000
    assert len(tokens.head(words)) < 10_000
    assert [len(ids) for ids in tokens.ids([words, "x" * 10_000_000])] == [256, 3]


def test_white_space_at_the_start_does_not_hide_the_text(description):
    tokens = Tokens(description, max_tokens=8)
    assert tokens.ids([" " * 100_000 + "cat"]) == tokens.ids(["cat"])


def test_offsets_do_not_depend_on_blocks(description, whole):
    text = "Over the lazy dog, 42 foxes jumped. " * (2 * BLOCK // 36)
    assert Tokens(description, 256).offsets(text).tolist() == [
        list(span) for span in whole.encode(text, add_special_tokens=False).offsets
    ]


def test_pseudo_tokens_are_no_fewer_than_real_ones(whole):
    text = (
        "Regularisation of over-parameterised transformers (see Fig. 3) isn't unproblematic; e.g. 3.14159 vs 2.71828."
    )
    assert len(PseudoTokens(256).offsets(text)) >= len(whole.encode(text, add_special_tokens=False).ids)
