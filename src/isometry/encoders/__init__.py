"""Encoders: from texts to vectors, with sentence-transformers' two methods and a fingerprint of the space."""

from isometry.encoders.base import Encoder, Fingerprint, Progress
from isometry.encoders.loading import load_encoder
from isometry.encoders.passages import headed_passages, split_passages
from isometry.encoders.resolving import DEFAULT_ENCODER, DEFAULT_SPARSE_ENCODER
from isometry.encoders.resumable import encode_to_folder, read_encoded

__all__ = [
    "DEFAULT_ENCODER",
    "DEFAULT_SPARSE_ENCODER",
    "Encoder",
    "Fingerprint",
    "Progress",
    "encode_to_folder",
    "headed_passages",
    "load_encoder",
    "read_encoded",
    "split_passages",
]
