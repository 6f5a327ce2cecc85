"""Small real collections."""

from __future__ import annotations

import pytest

import isometry as iso
from isometry.encoders import load_encoder

NOTES = [
    {
        "id": "tides",
        "title": "Tides",
        "text": "The moon pulls the sea; high water follows.",
        "year": 1687,
        "tags": ["sea"],
    },
    {
        "id": "owls",
        "title": "Owls",
        "text": "Owls hunt mice at night by hearing alone.",
        "year": 1973,
        "tags": ["bird"],
    },
    {
        "id": "bread",
        "title": "Bread",
        "text": "Flour, water, salt and yeast; bake until brown.",
        "year": 2020,
        "tags": [],
    },
    {"id": "moths", "title": None, "text": "Moths steer by the moon and circle lamps.", "year": None, "tags": None},
]


@pytest.fixture(scope="session")
def encoder():
    """A real static encoder: thousands of texts per second."""
    pytest.importorskip("wordllama")
    return load_encoder("wordllama")


@pytest.fixture
def notes(tmp_path, encoder):
    """Four encoded documents with attributes."""
    with iso.create(tmp_path / "notes.iso", encoder="wordllama") as collection:
        collection.add(NOTES)
        yield collection


@pytest.fixture
def points(tmp_path):
    """Own vectors, no encoder: three points in the plane."""
    with iso.create(tmp_path / "points.iso", dim=2, metric="dot") as collection:
        collection.add(
            [{"id": name, "vector": vector} for name, vector in [("x", [1, 0]), ("y", [0, 1]), ("xy", [1, 1])]]
        )
        yield collection
