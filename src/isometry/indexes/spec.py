"""Indexes in words: ``"LeanVec160,LVQ8,Vamana32 -> LVQ4"`` and back.

.. code-block:: text

    spec      = { transform "," } [ codec "," ] index [ "->" codec ]
    part      = name [ numbers ]
    numbers   = integer { "x" integer }  |  "(" number { "," number } ")"

The codec after ``->`` holds the vectors for a second, finer look at what the index found. Which names there are is
asked from the classes themselves: a class with ``spec_name`` is a part, its ``spec_fields`` are the parameters that the
numbers stand for, in order; 0 stands for None. An index class with ``spec_around``, the name of a transform, is made
where a specification begins with it, around the index that the rest describes: ``"FDE(20,5,16),PQ256x8,Flat -> LVQ4"``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal

from isometry.errors import SpecError, did_you_mean

__all__ = ["Part", "PartSpec", "Spec", "chain_text", "index_from_spec", "parse_spec", "part_spec", "parts"]

Role = Literal["transform", "codec", "index"]
_ROOMS: tuple[tuple[Role, str], ...] = (
    ("transform", "isometry.transforms"),
    ("codec", "isometry.codecs"),
    ("index", "isometry.indexes"),
)
_LONGEST = 1000
_NUMBER = r"\d{1,9}(?:\.\d{1,17})?(?:[eE][+-]?\d{1,2})?"
_TOKEN = re.compile(r"\s*(?P<word>[A-Za-z][A-Za-z0-9_]*(?:\([^()]*\))?)\s*")
_NUMBERS = re.compile(rf"(?P<short>\d{{1,9}}(?:x\d{{1,9}})*)?|\((?P<long>\s*{_NUMBER}\s*(?:,\s*{_NUMBER}\s*)*)\)")


@dataclass(frozen=True)
class Part:
    """Something that a specification can name.

    Attributes
    ----------
    name : str
    role : {"transform", "codec", "index"}
    make : callable
        The class, or its ``from_spec``.
    fields : tuple of str
        Parameters of `make` that the numbers after the name stand for, in order.
    slots : tuple of str
        For an index: which of ``transform``, ``codec`` and ``refine`` it takes.
    """

    name: str
    role: Role
    make: Callable[..., Any]
    fields: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartSpec:
    """One part with its numbers: ``LVQ8`` is ``PartSpec("LVQ", (8,))``."""

    name: str
    numbers: tuple[int | float, ...] = ()

    def __str__(self) -> str:
        whole = all(isinstance(number, int) for number in self.numbers)
        if not self.numbers or (len(self.numbers) <= 2 and whole and not self.name[-1].isdigit()):
            return self.name + "x".join(map(str, self.numbers))
        return f"{self.name}({','.join(map(repr, self.numbers))})"


@dataclass(frozen=True)
class Spec:
    """A whole specification; ``str`` prints the one form that `parse_spec` reads back as an equal object."""

    index: PartSpec
    transforms: tuple[PartSpec, ...] = ()
    codec: PartSpec | None = None
    refine: PartSpec | None = None

    def __str__(self) -> str:
        chain = [*self.transforms, *([self.codec] if self.codec else []), self.index]
        return ",".join(map(str, chain)) + (f" -> {self.refine}" if self.refine else "")


@cache
def parts() -> Mapping[str, Part]:
    """Return the parts that exist, by name."""
    return {part.name: part for role, room in _ROOMS for part in _parts_in(room, role)}


@cache
def _indexes() -> Mapping[str, Part]:
    """Return the parts that are indexes: scikit-learn, which the other rooms import, takes about a second."""
    return {part.name: part for role, room in _ROOMS if role == "index" for part in _parts_in(room, role)}


def _parts_in(room: str, role: Role) -> Iterator[Part]:
    items: list[Any] = list(vars(import_module(room)).values())
    for item in items:
        name = vars(item).get("spec_name") if isinstance(item, type) else None
        if name is not None:
            fields, slots = (tuple(getattr(item, attribute, ())) for attribute in ("spec_fields", "spec_slots"))
            yield Part(name, role, getattr(item, "from_spec", item), fields, slots)


@cache
def _outer() -> Mapping[str, Any]:
    """Return the index classes that are made around another index, by the transform that asks for them."""
    room: list[Any] = list(vars(import_module("isometry.indexes")).values())
    return {vars(item)["spec_around"]: item for item in room if isinstance(item, type) and "spec_around" in vars(item)}


def parse_spec(text: str, known: Mapping[str, Part] | None = None) -> Spec:
    """Read a specification string; spaces around its parts do not matter.

    Parameters
    ----------
    text : str
    known : mapping, optional
        Parts by name; by default all that isometry has.

    Raises
    ------
    SpecError
        With the place in the text, and a similar name where one exists.
    """
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST:
        raise SpecError(f"spec is {text!r:.80}; expected a string such as 'Flat', of at most {_LONGEST} characters")
    if known is None:
        try:
            return _Parser(text, _indexes()).spec()
        except SpecError:
            known = parts()
    return _Parser(text, known).spec()


def index_from_spec(spec: str | Spec, *, metric: str | None = None, known: Mapping[str, Part] | None = None) -> Any:
    """Return a new, empty index as a specification describes it.

    Parameters
    ----------
    spec : str or Spec
        E.g. ``"Flat"``; the index prints it back as ``index.spec``.
    metric : {"cosine", "dot", "l2"}, optional
        By default the index's own: ``"cosine"``, of sparse vectors ``"dot"``.
    known : mapping, optional
        Parts by name; by default all that isometry has.

    Raises
    ------
    SpecError
        It can't be parsed, or the index does not take a part that it names.
    InvalidInput
        A number that a part refuses.
    """
    compared = {} if metric is None else {"metric": metric}
    # A Spec is printed and read again, so that one built by hand passes the same checks.
    parsed = parse_spec(str(spec) if isinstance(spec, Spec) else spec, known)
    only_an_index = not (parsed.transforms or parsed.codec or parsed.refine)
    available = known if known is not None else _indexes() if only_an_index else parts()
    if parsed.transforms and parsed.transforms[0].name in _outer():
        first, *others = parsed.transforms
        refine = _make(parsed.refine, available) if parsed.refine else None
        inner = Spec(parsed.index, tuple(others), parsed.codec)
        return _outer()[first.name].from_spec(_make(first, available), inner, refine, **compared)
    index = available[parsed.index.name]
    wanted = {
        "transform": tuple(_make(part, available) for part in parsed.transforms) or None,
        "codec": _make(parsed.codec, available) if parsed.codec else None,
        "refine": _make(parsed.refine, available) if parsed.refine else None,
    }
    given = {slot: part for slot, part in wanted.items() if part is not None}
    for slot in given:
        if slot not in index.slots:
            raise SpecError(f"{index.name} takes no {slot}, but the spec {str(parsed)!r} names one; leave it out")
    return _make(parsed.index, available, **compared, **given)


def _make(part: PartSpec, known: Mapping[str, Part], **more: Any) -> Any:
    entry = known[part.name]
    return entry.make(**dict(zip(entry.fields, part.numbers, strict=False)), **more)


class _Parser:
    """Reads one specification from left to right."""

    def __init__(self, text: str, known: Mapping[str, Part]) -> None:
        self._text = text
        self._known = known
        self._at = 0

    def spec(self) -> Spec:
        place, part = self._part()
        places, chain = [place], [part]
        while self._take(","):
            place, part = self._part()
            places.append(place)
            chain.append(part)
        end = self._at
        refine = self._refine() if self._take("->") else None
        if self._at < len(self._text):
            raise self._error(self._at, f"found {self._text[self._at :]!r:.40}; expected ',' or '->' or the end")
        roles = [self._known[part.name].role for part in chain]
        if "index" not in roles:
            raise self._error(end, f"no index; end with one of {', '.join(self._names('index'))}")
        for i, (place, part, role) in enumerate(zip(places, chain, roles, strict=True)):
            if role == "index" and i < len(chain) - 1:
                raise self._error(place, f"{part.name} is an index; only '-> codec' may follow it")
            if role == "codec" and i != len(chain) - 2:
                raise self._error(place, f"{part.name} is a codec; its place is right before the index")
        codec = chain[-2] if "codec" in roles else None
        return Spec(chain[-1], tuple(chain[: -2 if codec else -1]), codec, refine)

    def _refine(self) -> PartSpec:
        place, part = self._part()
        if self._known[part.name].role != "codec":
            raise self._error(place, f"{part.name} is not a codec; expected one after '->'")
        return part

    def _part(self) -> tuple[int, PartSpec]:
        token = _TOKEN.match(self._text, self._at)
        if token is None:
            rest = self._text[self._at :].strip()
            raise self._error(self._at, f"found {rest!r:.40}; expected a name" if rest else "a name is missing")
        word, place = token["word"], token.start("word")
        for name in sorted(self._known, key=len, reverse=True):
            numbers = _NUMBERS.fullmatch(word, len(name)) if word.startswith(name) else None
            if numbers is not None:
                break
        else:
            name = re.match("[A-Za-z_]*", word)[0]  # type: ignore[index]
            if name in self._known:
                raise self._error(place, f"the numbers of {word!r:.60} can't be read")
            raise self._error(place, f"unknown part {word!r:.60}{did_you_mean(name, self._known)}")
        values = self._numbers(numbers)
        fields = self._known[name].fields
        if len(values) > len(fields):
            takes = f"at most {len(fields)} ({', '.join(fields)})" if fields else "none"
            raise self._error(place, f"{name} is given {len(values)} numbers; it takes {takes}")
        self._at = token.end()
        return place, PartSpec(name, values)

    @staticmethod
    def _numbers(match: re.Match[str]) -> tuple[int | float, ...]:
        if match["short"]:
            return tuple(map(int, match["short"].split("x")))
        texts = [text.strip() for text in match["long"].split(",")] if match["long"] else []
        return tuple(int(text) if text.isdecimal() else float(text) for text in texts)

    def _take(self, symbol: str) -> bool:
        found = self._text.startswith(symbol, self._at)
        if found:
            self._at += len(symbol)
        return found

    def _names(self, role: str) -> list[str]:
        return [part.name for part in self._known.values() if part.role == role]

    def _error(self, place: int, problem: str) -> SpecError:
        return SpecError(f"spec {self._text!r:.120}, character {place + 1}: {problem}")


def chain_text(parts: Mapping[str, Any], index: PartSpec) -> str:
    """Return the specification of an index with transforms, a ``codec`` and a ``refine``, which may be None."""
    codec, refine = (parts[role] if parts[role] is None else part_spec(parts[role]) for role in ("codec", "refine"))
    return str(Spec(index, tuple(map(part_spec, parts["transform"])), codec, refine))


def part_spec(part: Any, least: int = 1) -> PartSpec:
    """Return a part as it stands in a specification: ``LVQ(bits=8)`` is ``LVQ8``.

    Usual values at the end are left out, down to `least` numbers, and further where they are None.
    """
    usual = type(part)()
    fields = list(getattr(part, "spec_fields", ()))
    while (
        fields
        and getattr(part, fields[-1]) == getattr(usual, fields[-1])
        and (len(fields) > least or getattr(part, fields[-1]) is None)
    ):
        fields.pop()
    values = (getattr(part, field) for field in fields)
    return PartSpec(part.spec_name, tuple(0 if value is None else value for value in values))
