"""What an encoder is: two methods, a shape, and a fingerprint that says which space its vectors live in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from isometry.errors import InvalidInput

if TYPE_CHECKING:
    from isometry.vectors import Vectors

Kind: TypeAlias = Literal["dense", "sparse", "multi"]
Role: TypeAlias = Literal["query", "document"]
Progress: TypeAlias = Callable[[int, int | None, str], None]


@dataclass(frozen=True)
class Fingerprint:
    """Identity of an embedding space: two encoders with equal fingerprints make comparable vectors.

    Parameters
    ----------
    name : str
        What a person calls the encoder; `load_encoder(name)` usually finds it again. Not part of the identity.
    digest : str
        64 lower-case hexadecimal digits: SHA-256 over weights, prompts, modules (pooling, normalisation) and dimension.

    Examples
    --------
    >>> str(Fingerprint("my-model", "0123456789ab" + 52 * "0"))
    'my-model@0123456789ab'
    """

    name: str = field(compare=False)
    digest: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidInput(f"the name of a fingerprint is {self.name!r}; expected a non-empty string")
        if not isinstance(self.digest, str) or len(self.digest) != 64 or set(self.digest) - set("0123456789abcdef"):
            raise InvalidInput(f"the digest of a fingerprint is {self.digest!r}; expected 64 hexadecimal digits")

    def __str__(self) -> str:
        return f"{self.name}@{self.digest[:12]}"

    def to_dict(self) -> dict[str, str]:
        """Return ``{"name": ..., "digest": ...}``, for JSON."""
        return {"name": self.name, "digest": self.digest}

    @classmethod
    def from_dict(cls, data: Any) -> Fingerprint:
        """Read what `to_dict` wrote; anything else raises `InvalidInput`."""
        if not isinstance(data, dict) or set(data) != {"name", "digest"}:
            raise InvalidInput(f"a fingerprint is stored as {data!r}; expected a mapping with name and digest")
        return cls(data["name"], data["digest"])


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors; queries and documents may be treated differently (prompts)."""

    @property
    def kind(self) -> Kind:
        """Shape of the vectors: ``"dense"``, ``"sparse"`` or ``"multi"``."""

    @property
    def dim(self) -> int:
        """Number of dimensions; of a sparse encoder the size of its vocabulary."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that count; the rest is cut off."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Which space the vectors live in."""

    def encode_query(self, texts: list[str], *, progress: Progress | None = None) -> Vectors:
        """Return one row per text: ``(n, d)`` float32, a CSR array or `MultiVectors`, all finite."""

    def encode_document(self, texts: list[str], *, progress: Progress | None = None) -> Vectors:
        """As `encode_query`, for what is searched rather than for what is asked."""
