"""Real static encoders of unlike dimension, as objects and by name, and real texts for them: no network, no torch."""

from __future__ import annotations

import builtins
import hashlib
import inspect
import itertools
import math
import os
import statistics
from functools import cache
from typing import Any

import numpy as np

from isometry.encoders import Fingerprint, load_encoder

PARTS = (str, bytes, list, dict, set, int, float, math, os, statistics, itertools, builtins)


@cache
def whole() -> Any:
    """Return wordllama, loaded once."""
    return load_encoder("wordllama")


class Short:
    """The first numbers of wordllama's vectors, which are made to be cut: another space."""

    kind, max_tokens = "dense", 64

    def __init__(self, dim: int = 64, sign: int = 1) -> None:
        self.dim, self.sign = dim, sign

    @property
    def fingerprint(self) -> Fingerprint:
        name = f"short-{self.dim * self.sign}"
        return Fingerprint(name, hashlib.sha256(name.encode()).hexdigest())

    def encode_document(self, texts: list[str], *, progress: Any = None) -> np.ndarray:
        cut = whole().encode_document(texts)[:, : self.dim] * np.float32(self.sign)
        norms = np.linalg.norm(cut, axis=1, keepdims=True)
        return np.divide(cut, norms, out=np.zeros_like(cut), where=norms > 0)

    encode_query = encode_document


def documents(most: int = 150) -> list[dict[str, str]]:
    """Return what the standard library says of its functions."""
    found: dict[str, str] = {}
    for part in PARTS:
        for name, item in sorted(vars(part).items()):
            text = inspect.getdoc(item) or ""
            if callable(item) and not name.startswith("_") and len(text) > 30:
                found.setdefault(" ".join(text.split())[:300], f"{part.__name__}.{name}")
    rows = [{"id": name, "title": name, "text": text} for text, name in found.items()]
    assert len(rows) > most
    return rows[:most]
