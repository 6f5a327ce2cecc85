"""Pictures seen twice: pairs of views as vectors, without a model of pictures."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isometry.errors import Damaged, InvalidInput, NotFound, check_range
from isometry.evaluation.corpora import unit
from isometry.evaluation.training_sets import TrainingSet

__all__ = ["load_picture_views", "read_idx_pictures"]

_MAGIC = 2051
_MOST_BYTES = 2**28
_SHIFT, _TURN, _CONTRAST, _NOISE = 1.0, 6.0, 0.25, 0.05


def read_idx_pictures(file: Path, most: int | None = None) -> NDArray[np.uint8]:
    """Return the first pictures of a gzipped IDX file, the format of MNIST and its successors.

    Parameters
    ----------
    file : Path
    most : int, optional
        Only so many.

    Returns
    -------
    (n, height, width) uint8

    Raises
    ------
    NotFound, Damaged
        There is no such file; it is no IDX file of bytes in three dimensions, ends early, or is beyond 256 MiB.
    """
    try:
        with gzip.open(file) as opened:
            magic, n, height, width = struct.unpack(">4I", opened.read(16))
            n = n if most is None else min(n, most)
            if magic != _MAGIC or n * height * width > _MOST_BYTES:
                raise Damaged(
                    f"{file} begins with {magic}, {n}, {height}, {width}; expected {_MAGIC} and at most 256 MiB"
                )
            found = opened.read(n * height * width)
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except (struct.error, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Damaged(f"{file} is no gzipped IDX file: {error}") from None
    if len(found) != n * height * width:
        raise Damaged(f"{file} ends after {len(found)} of {n * height * width} bytes")
    return np.frombuffer(found, np.uint8).reshape(n, height, width)


def load_picture_views(
    file: Path, *, n: int = 10_000, n_learn: int = 6_000, dim: int = 256, seed: int = 0
) -> TrainingSet:
    """Return one view of each picture as documents, and others of the same pictures as queries.

    A view is shifted by up to a pixel, turned by up to 6 degrees, of more or less contrast, and noisy. Vectors are
    random features of it, the positive parts of fixed random projections, less their mean: what an encoder without any
    training sees.

    Parameters
    ----------
    file : Path
        As `read_idx_pictures` reads it.
    n : int
        Pictures.
    n_learn : int
        The first so many are to learn from; the others judge.
    dim : int
    seed : int

    Raises
    ------
    NotFound, Damaged
        As `read_idx_pictures`.
    InvalidInput
        There are not more pictures than those to learn from.
    """
    check_range("n", n, 1)
    pictures = np.divide(read_idx_pictures(file, n), 255, dtype=np.float32)
    if len(pictures) <= n_learn:
        raise InvalidInput(f"{file} has {len(pictures)} pictures, and {n_learn} are to be learned from")
    rng = np.random.default_rng(seed)
    projection = rng.standard_normal((pictures[0].size, dim)).astype(np.float32)
    documents, queries = (np.maximum(_views(pictures, rng) @ projection, 0) for _ in range(2))
    mean = documents.mean(axis=0)
    x, q = (unit(each - mean) for each in (documents, queries))
    ids, asked = tuple(f"d{i}" for i in range(len(x))), tuple(f"q{i}" for i in range(n_learn, len(x)))
    return TrainingSet(
        "pictures of clothes",
        x,
        q[:n_learn],
        tuple(np.array([i], np.int64) for i in range(n_learn)),
        q[n_learn:],
        ids,
        asked,
        {query: {ids[n_learn + i]: 1} for i, query in enumerate(asked)},
    )


def _views(pictures: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a changed copy of every picture, flat."""
    from scipy.ndimage import affine_transform

    n = len(pictures)
    centre = (np.array(pictures.shape[1:]) - 1) / 2
    turns, shifts = np.deg2rad(rng.uniform(-_TURN, _TURN, n)), rng.uniform(-_SHIFT, _SHIFT, (n, 2))
    seen = np.empty((n, pictures[0].size), np.float32)
    for i, (turn, shift) in enumerate(zip(turns, shifts, strict=True)):
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        seen[i] = affine_transform(pictures[i], matrix, centre - matrix @ (centre + shift), order=1).ravel()
    seen *= rng.uniform(1 - _CONTRAST, 1 + _CONTRAST, (n, 1)).astype(np.float32)
    return seen + np.float32(_NOISE) * rng.standard_normal(seen.shape, dtype=np.float32)
