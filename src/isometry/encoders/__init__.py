"""Encoders: from texts to vectors, with sentence-transformers' two methods and a fingerprint of the space."""

from isometry.encoders.base import Encoder, Fingerprint
from isometry.encoders.loading import load_encoder
from isometry.encoders.passages import split_passages
from isometry.encoders.resolving import DEFAULT_ENCODER

__all__ = ["DEFAULT_ENCODER", "Encoder", "Fingerprint", "load_encoder", "split_passages"]
