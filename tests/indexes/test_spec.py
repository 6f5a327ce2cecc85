from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.errors import InvalidInput, IsometryError, SpecError
from isometry.indexes import METRICS, Flat, index_from_spec
from isometry.indexes.spec import Part, PartSpec, Spec, parse_spec, parts


@dataclass
class Made:
    name: str
    options: dict[str, Any]

    def fit(self, x): ...

    def transform(self, x): ...


def part(name, role, fields=(), slots=()):
    return Part(name, role, lambda **options: Made(name, options), fields, slots)


KNOWN = {
    entry.name: entry
    for entry in (
        part("LeanVec", "transform", ("dim",)),
        part("FDE", "transform", ("repetitions", "bits", "projection")),
        part("LVQ", "codec", ("bits", "residual_bits")),
        part("PQ", "codec", ("subspaces", "bits")),
        part("Float8", "codec", ("exponent",)),
        part("Vamana", "index", ("degree", "alpha"), ("transform", "codec", "refine")),
        part("Flat", "index"),
    )
}
numbers = st.integers(0, 10**9 - 1) | st.floats(0, 1e8).filter(lambda x: (x == 0 or x > 1e-90) and len(repr(x)) < 18)


def named(role):
    def numbered(entry):
        return st.lists(numbers, max_size=len(entry.fields)).map(lambda values: PartSpec(entry.name, tuple(values)))

    return st.sampled_from([entry for entry in KNOWN.values() if entry.role == role]).flatmap(numbered)


specs = st.builds(
    Spec,
    named("index"),
    st.lists(named("transform"), max_size=3).map(tuple),
    st.none() | named("codec"),
    st.none() | named("codec"),
)


@given(specs)
def test_what_is_printed_reads_back(spec):
    text = str(spec)
    again = parse_spec(text, KNOWN)
    assert again == spec
    assert str(again) == text


@given(specs, st.data())
def test_spaces_do_not_matter(spec, data):
    text = str(spec)
    for symbol in (",", "->"):
        text = text.replace(symbol, data.draw(st.sampled_from([symbol, f" {symbol}", f"{symbol} ", f"\t{symbol}  "])))
    assert parse_spec(f"  {text} ", KNOWN) == spec


@given(st.text(max_size=30) | st.lists(st.sampled_from([*KNOWN, ",", "->", "8", "(", ")", "x", " "])).map("".join))
def test_any_text_is_a_spec_or_a_spec_error(text):
    try:
        spec = parse_spec(text, KNOWN)
    except SpecError:
        return
    assert parse_spec(str(spec), KNOWN) == spec


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("Flat", "Flat"),
        ("LeanVec160,LVQ8,Vamana32", "LeanVec160,LVQ8,Vamana32"),
        ("FDE(20,5,16),PQ256x8,Vamana32 -> LVQ4", "FDE(20,5,16),PQ256x8,Vamana32 -> LVQ4"),
        ("LVQ(4, 8),Vamana(32,1.2)->LVQ(8)", "LVQ4x8,Vamana(32,1.2) -> LVQ8"),
        ("Float8,Flat", "Float8,Flat"),
        ("Float8(4),Flat", "Float8(4),Flat"),
    ],
)
def test_examples(text, printed):
    assert str(parse_spec(text, KNOWN)) == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Flt", "character 1: unknown part 'Flt'; did you mean 'Flat'"),
        ("LVQ8,Vamna32", "character 6: unknown part 'Vamna32'; did you mean 'Vamana'"),
        ("LVQ8", "no index; end with one of Vamana, Flat"),
        ("Flat8", "Flat is given 1 numbers; it takes none"),
        ("LVQ8x8x8,Flat", "at most 2 \\(bits, residual_bits\\)"),
        ("LVQ8x,Flat", "numbers of 'LVQ8x' can't be read"),
        ("LVQ8,LeanVec3,Flat", "LVQ is a codec; its place is right before the index"),
        ("Flat,Flat", "character 1: Flat is an index"),
        ("Flat -> Flat", "character 9: Flat is not a codec"),
        ("Flat ->", "a name is missing"),
        ("Flat, ", "a name is missing"),
        (",Flat", "expected a name"),
        ("Flat Flat", "expected ',' or '->' or the end"),
        ("Flat -> LVQ8 -> LVQ8", "character 14"),
        ("Flat(", "character 5"),
        ("LVQ(-1),Flat", "can't be read"),
        ("LVQ(1e999),Flat", "can't be read"),
        ("LVQ1234567890,Flat", "can't be read"),
        ("", "expected a string"),
        ("F" * 1001, "at most 1000"),
        (None, "expected a string"),
    ],
)
def test_errors_say_where_and_what(text, message):
    with pytest.raises(SpecError, match=message):
        parse_spec(text, KNOWN)


def test_parts_are_made_and_put_together():
    made = index_from_spec("LeanVec160,LVQ8,Vamana(32,1.2) -> LVQ4x8", metric="dot", known=KNOWN)
    assert made == Made(
        "Vamana",
        {
            "degree": 32,
            "alpha": 1.2,
            "metric": "dot",
            "transform": (Made("LeanVec", {"dim": 160}),),
            "codec": Made("LVQ", {"bits": 8}),
            "refine": Made("LVQ", {"bits": 4, "residual_bits": 8}),
        },
    )


def test_several_transforms_come_in_their_order():
    made = index_from_spec("LeanVec8,FDE,Vamana", known=KNOWN)
    assert [part.name for part in made.options["transform"]] == ["LeanVec", "FDE"]


def test_an_index_gets_only_what_it_takes():
    with pytest.raises(SpecError, match="Flat takes no codec"):
        index_from_spec("LVQ8,Flat", known=KNOWN)


TOKENS, SPARSE = {"MaxSim", "PLAID"}, {"Inverted", "Seismic"}


@pytest.mark.parametrize("metric", METRICS)
def test_every_index_prints_the_spec_it_was_made_from(metric):
    indexes = [entry for entry in parts().values() if entry.role == "index"]
    assert {"Flat", "Vamana", *TOKENS, *SPARSE} <= {entry.name for entry in indexes}
    for entry in indexes:
        assert index_from_spec(entry.name).metric == ("dot" if entry.name in SPARSE else "cosine")
        if (metric == "l2" and entry.name in TOKENS) or (metric != "dot" and entry.name in SPARSE):
            continue
        index = index_from_spec(entry.name, metric=metric)
        assert index.metric == metric
        assert str(parse_spec(index.spec)) == index.spec


def test_a_spec_object_is_checked_too():
    assert isinstance(index_from_spec(Spec(PartSpec("Flat"))), Flat)
    with pytest.raises(SpecError):
        index_from_spec(Spec(PartSpec("Nothing")))
    with pytest.raises(InvalidInput, match="metric"):
        index_from_spec("Flat", metric="l3")
    assert issubclass(SpecError, IsometryError)


def test_what_is_only_an_index_needs_no_other_room():
    code = """
import sys
from isometry.indexes import index_from_spec
from isometry.indexes.spec import parse_spec
assert str(parse_spec("Flat")) == index_from_spec("Flat").spec == "Flat"
assert "sklearn" not in sys.modules and "isometry.codecs" not in sys.modules
assert str(parse_spec("LeanVec160,LVQ4x8,Flat -> Float16")) == "LeanVec160,LVQ4x8,Flat -> Float16"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_transforms_and_codecs_are_known():
    assert {entry.role for entry in parts().values()} == {"transform", "codec", "index"}
    known = {"LVQ": parts()["LVQ"], "Bare": Part("Bare", "index", Flat)}
    with pytest.raises(SpecError, match=r"Bare takes no codec, but the spec 'LVQ4x8,Bare' names one"):
        index_from_spec("LVQ4x8,Bare", known=known)
    for spec in ("LVQ4x8,Flat", "LeanVec8,LVQ8,Flat -> Float16"):
        assert index_from_spec(spec).spec == spec
    with pytest.raises(SpecError, match="unknown part 'LVG8'; did you mean 'LVQ'"):
        parse_spec("LVG8,Flat")
