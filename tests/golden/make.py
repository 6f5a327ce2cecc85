"""Write the golden collection of this format, once per format version: ``python tests/golden/make.py FOLDER``.

Version 1 has no sparse vectors: it is what is written without ``sparse_dim`` and the columns ``sparse_vector``. Version
2 has no token vectors: it is what is written without ``multi_dim`` and the columns ``multi_vector``. Version 3 has no
migration: it is what is written without `begin_to_migrate`. Version 4 has no labels: it is what is written without
``labels=["year"]``.
"""

from __future__ import annotations

import datetime
import sys
from contextlib import suppress

import isometry as iso

DOCUMENTS = [
    {
        "id": "tides",
        "text": "The moon pulls the sea.",
        "year": 1687,
        "rating": 4.5,
        "checked": True,
        "day": datetime.date(2020, 1, 2),
        "tags": ["sea", "moon"],
        "vector": [1.0, 0.0, 0.0],
        "sparse_vector": {"indices": [2, 7], "values": [1.5, 0.5]},
        "multi_vector": [[1.0, 0.0], [0.5, 0.5]],
    },
    {
        "id": "owls 🦉",
        "text": "Owls hunt at night.",
        "year": None,
        "tags": [],
        "vector": [0.0, 1.0, 0.0],
        "sparse_vector": {"indices": [], "values": []},
        "multi_vector": [],
    },
    {
        "id": "gone",
        "text": "This one is deleted.",
        "vector": [9.0, 9.0, 9.0],
        "sparse_vector": {"indices": [7], "values": [9.0]},
        "multi_vector": [[9.0, 9.0]],
    },
]
LATER = [
    {
        "id": "bread",
        "text": "Flour and water.",
        "year": 2020,
        "vector": [0.0, 0.0, 1.0],
        "sparse_vector": {"indices": [7], "values": [2.0]},
        "multi_vector": [[0.0, 2.0]],
    }
]


def main(path: str) -> None:
    with iso.create(path, dim=3, metric="dot", sparse_dim=9, multi_dim=2) as collection:
        collection.add(DOCUMENTS)
        collection.delete(["gone"])
        collection.build(labels=["year"])
        collection.add(LATER)
        begin_to_migrate(collection)


def begin_to_migrate(collection: iso.Collection) -> None:
    def stop(done: int, total: int | None, what: str) -> None:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        collection.migrate("wordllama", sample=0, batch_rows=2, progress=stop)


if __name__ == "__main__":
    main(sys.argv[1])
