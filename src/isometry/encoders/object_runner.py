"""Wraps an object of the user's own that has ``encode_query`` and ``encode_document``."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.encoders.base import Fingerprint
from isometry.encoders.tokens import PseudoTokens
from isometry.errors import InvalidInput, check_choice
from isometry.vectors import MultiVectors, as_dense, as_multi, as_sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from isometry.encoders.base import Kind, Role
    from isometry.vectors import Vectors

PROBE = "isometry"
DEFAULT_MAX_TOKENS = 512
CHECKS = {"dense": as_dense, "sparse": as_sparse, "multi": as_multi}


class ObjectRunner:
    """Hands batches to the object's two methods and checks what comes back.

    Parameters
    ----------
    encoder : object
        With ``encode_query(texts)`` and ``encode_document(texts)``. Its attributes ``kind``, ``dim`` and ``max_tokens``
        are believed; where they are missing, one document is encoded to see (and 512 tokens are assumed). A sparse one
        may tell the terms of its columns as ``vocabulary``.
    """

    document_prompt = ""
    batch_tokens = 8192

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        probe = encoder.encode_document([PROBE])
        self.kind: Kind = check_choice("kind", getattr(encoder, "kind", None) or _kind(probe), CHECKS)  # type: ignore[assignment]
        checked = CHECKS[self.kind](probe, name=self._output)
        seen = checked.dim if isinstance(checked, MultiVectors) else checked.shape[1]
        self.dim = int(getattr(encoder, "dim", None) or seen)
        self.max_tokens = int(getattr(encoder, "max_tokens", None) or DEFAULT_MAX_TOKENS)
        self.engine = f"{type(encoder).__module__}.{type(encoder).__qualname__}"
        self.tokens = PseudoTokens(self.max_tokens)
        self.vocabulary = getattr(encoder, "vocabulary", None)

    @property
    def _output(self) -> str:
        return f"the output of {type(self._encoder).__name__}"

    def prepare(self, texts: list[str], role: Role) -> tuple[list[str], NDArray[np.int64]]:
        """Return the texts, cut well after `max_tokens`, and their lengths estimated from characters."""
        heads = [self.tokens.head(text) for text in texts]
        return heads, np.fromiter((min(self.max_tokens, 2 + len(head) // 4) for head in heads), np.int64, len(heads))

    def run(self, items: list[str], role: Role) -> Vectors:
        """Encode one batch."""
        out = (self._encoder.encode_query if role == "query" else self._encoder.encode_document)(items)
        vectors = CHECKS[self.kind](out, dim=self.dim, name=self._output)
        rows = vectors.shape[0] if self.kind == "sparse" else len(vectors)
        if rows != len(items):
            raise InvalidInput(f"{self._output} has {rows} rows for {len(items)} texts; expected one row per text")
        return vectors


def object_fingerprint(encoder: Any, runner: ObjectRunner, name: str | None) -> Fingerprint:
    """Return the object's own ``fingerprint``, else one over its class, `name`, kind and dim.

    Weights can't be seen from outside, so a class whose vectors change should carry a ``fingerprint`` or be given a
    `name` with a version.
    """
    own = getattr(encoder, "fingerprint", None)
    if isinstance(own, Fingerprint):
        return own if name is None else Fingerprint(name, own.digest)
    space = {"class": runner.engine, "name": name, "kind": runner.kind, "dim": runner.dim, "own": own and str(own)}
    digest = hashlib.sha256(json.dumps(space, sort_keys=True).encode()).hexdigest()
    return Fingerprint(name or type(encoder).__name__, digest)


def _kind(vectors: Any) -> Kind:
    if isinstance(vectors, MultiVectors):
        return "multi"
    if hasattr(vectors, "tocsr"):
        return "sparse"
    if isinstance(vectors, list | tuple) and len(vectors) and np.ndim(vectors[0]) == 2:
        return "multi"
    return "dense"
