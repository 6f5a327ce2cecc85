"""What every encoder must do, as checks that run against anything `isometry.encoders.load_encoder` takes.

.. code-block:: python

    import pytest
    from isometry.testing import EncoderCase, encoder_checks

    CASES = [EncoderCase("mine", MyEncoder)]

    @pytest.mark.parametrize("check", encoder_checks(), ids=lambda check: check.__name__)
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_conformance(case, check):
        check(case)
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.encoders import Encoder, Fingerprint, load_encoder, split_passages
from isometry.errors import InvalidInput
from isometry.vectors import MultiVectors

__all__ = ["EncoderCase", "check_encoder", "encoder_checks"]

Check = Callable[["EncoderCase"], None]

TEXTS = [
    "The cat sat on the mat.",
    "Graph neural networks pass messages along edges.",
    "",
    "a",
    "Straße, naïve, 日本語, 𝒳 and 😀",
    "a NUL \x00 and a tab\t inside",
    "The cat sat on the mat.",
    "word " * 2000,
]


@dataclass(frozen=True)
class EncoderCase:
    """One row of the conformance table.

    Parameters
    ----------
    name : str
        What test reports call it.
    make : callable
        ``make()`` returns what `load_encoder` takes: an encoder, an object with the two methods, or a name.
    tolerance : float
        Largest difference of a value between two encodings of one text in different company (padding, batch size).
    """

    name: str
    make: Callable[[], Any]
    tolerance: float = 1e-5

    def __str__(self) -> str:
        return self.name


def check_encoder(case: EncoderCase) -> None:
    """Run all checks. Raises `AssertionError` with what is wrong."""
    for check in encoder_checks():
        check(case)


def encoder_checks() -> tuple[Check, ...]:
    """Return all checks, each a function of a case."""
    return tuple(check for name, check in globals().items() if name.startswith("check_") and name != "check_encoder")


def check_protocol(case: EncoderCase) -> None:
    """An encoder has the members of the protocol, with sensible values."""
    encoder = load_encoder(case.make())
    _expect(isinstance(encoder, Encoder), "it lacks a member of isometry.encoders.Encoder")
    _expect(encoder.kind in ("dense", "sparse", "multi"), f"kind is {encoder.kind!r}")
    _expect(encoder.dim > 0 and encoder.max_tokens > 0, f"dim {encoder.dim}, max_tokens {encoder.max_tokens}")


def check_fingerprint_is_stable(case: EncoderCase) -> None:
    """Making the encoder again gives the same space; the fingerprint survives storage."""
    first, second = load_encoder(case.make()).fingerprint, load_encoder(case.make()).fingerprint
    _expect(first == second, f"two encoders made alike have the fingerprints {first} and {second}")
    _expect(Fingerprint.from_dict(first.to_dict()) == first, "the fingerprint changes when stored and read")


def check_vectors_are_well_formed(case: EncoderCase) -> None:
    """Any text gives one finite float32 row of `dim`, for queries and documents; no text gives no row."""
    encoder = load_encoder(case.make())
    for encode in (encoder.encode_query, encoder.encode_document):
        for texts in (TEXTS, TEXTS[:1], []):
            rows = _rows(encode(texts))
            _expect(len(rows) == len(texts), f"{len(rows)} rows for {len(texts)} texts")
            for text, row in zip(texts, rows, strict=True):
                _expect(row.dtype == np.float32, f"dtype {row.dtype}")
                _expect(row.shape[-1] == encoder.dim, f"{row.shape[-1]} dimensions, {encoder.dim} promised")
                _expect(bool(np.isfinite(row).all()), f"a value is not finite for the text {text[:40]!r}")


def check_order_and_company_do_not_matter(case: EncoderCase) -> None:
    """A text has the same vector alone, among others, twice, in reverse order, and from several threads."""
    encoder = load_encoder(case.make())
    encode = encoder.encode_document
    together = _rows(encode(TEXTS))
    alone = [_rows(encode([text]))[0] for text in TEXTS]
    backwards = _rows(encode(TEXTS[::-1]))[::-1]
    with ThreadPoolExecutor(4) as pool:
        threaded = [_rows(vectors)[0] for vectors in pool.map(encode, [[text] for text in TEXTS])]
    for name, rows in (("alone", alone), ("in reverse order", backwards), ("from a thread", threaded)):
        for text, row, other in zip(TEXTS, together, rows, strict=True):
            same = row.shape == other.shape and np.allclose(row, other, rtol=0, atol=case.tolerance)
            _expect(same, f"the vector of {text[:40]!r} differs {name} by more than {case.tolerance}")
    _expect(np.array_equal(together[0], together[6]), "equal texts of one call have different vectors")


def check_weights_of_terms(case: EncoderCase) -> None:
    """A sparse encoder gives no weight below 0, and no term to a text without a word."""
    encoder = load_encoder(case.make())
    if encoder.kind != "sparse":
        return
    for encode in (encoder.encode_query, encoder.encode_document):
        weights: Any = encode([*TEXTS, " \n\t"])
        _expect(weights.has_canonical_format, "columns of a row are not sorted, or occur twice")
        _expect(not weights.nnz or weights.data.min() > 0, f"a weight is {weights.data.min()}")
        for row in (TEXTS.index(""), len(TEXTS)):
            _expect(not weights[[row]].nnz, f"a text without a word has {weights[[row]].nnz} terms")


def check_bad_input_is_refused(case: EncoderCase) -> None:
    """A single string and items that are not strings raise `InvalidInput`."""
    encoder = load_encoder(case.make())
    bad: tuple[Any, ...] = ("one string", None, 7, [None], ["a", 1], [b"bytes"], ["lone \ud800 surrogate"])
    for texts in bad:
        for encode in (encoder.encode_query, encoder.encode_document):
            try:
                encode(texts)
            except InvalidInput:
                continue
            raise AssertionError(f"{texts!r} was accepted")


def check_progress(case: EncoderCase) -> None:
    """Progress rises to its total."""
    calls: list[tuple[int, int | None, str]] = []
    load_encoder(case.make()).encode_document(TEXTS, progress=lambda *call: calls.append(call))
    done = [call[0] for call in calls]
    _expect(bool(calls) and done == sorted(done) and done[-1] == calls[-1][1], f"progress was called with {calls}")


def check_passages(case: EncoderCase) -> None:
    """Passages of a long text cover it without gap or overlap, and each can be encoded."""
    encoder = load_encoder(case.make())
    text = "One sentence after another. " * (min(encoder.max_tokens, 2000))
    spans = split_passages(encoder, text)
    borders = [0, *(stop for _, stop in spans)]
    _expect(spans == list(pairwise(borders)) and borders[-1] == len(text), "spans do not tile")
    _expect(len(spans) > 1, f"{len(text)} characters make one passage of an encoder with {encoder.max_tokens} tokens")


def _rows(vectors: Any) -> list[NDArray[np.float32]]:
    if isinstance(vectors, MultiVectors):
        return list(vectors)
    return list(vectors.toarray() if hasattr(vectors, "toarray") else vectors)


def _expect(condition: bool, problem: str) -> None:
    if not condition:
        raise AssertionError(problem)
