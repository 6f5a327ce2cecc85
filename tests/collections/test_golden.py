"""Collections written by earlier versions open, answer, and can be written to."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import isometry as iso

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("collection-v*"))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_opens_answers_and_goes_on(golden, tmp_path):
    path = shutil.copytree(golden, tmp_path / "c.iso")
    with iso.open(path) as collection:
        assert collection.verify().problems == []
        assert len(collection) == 3
        assert collection.search([1.0, 0.0, 0.0], k=1).ids == ["tides"]
        assert collection.search("hunting owls").ids == ["owls 🦉"]
        assert collection.search("flour").ids == ["bread"]
        assert collection.search([1.0, 1.0, 1.0], where="day = date '2020-01-02' and checked").ids == ["tides"]
        assert collection.get(["tides"]).to_pylist()[0]["tags"] == ["sea", "moon"]
        assert (collection.stats().spec, collection.stats().unindexed) == ("Flat", 1)
        later = {"id": "tides", "text": "Ebb and flow.", "vector": [0.0, 0.0, 2.0]}
        if collection.sparse_dim is not None:
            assert collection.search(csr_array(np.eye(9, dtype=np.float32)[[7]]))[0].ids == ["bread", "tides"]
            assert collection.stats().sparse_spec == "Inverted"
            later["sparse_vector"] = {"indices": [7], "values": [3.0]}
        tokens = np.array([[0.0, 1.0], [1.0, 0.0]])
        if collection.multi_dim is not None:
            hits = collection.search(tokens, mode="multi")
            assert (hits.ids, hits.scores.tolist()) == (["bread", "tides"], [2.0, 1.5])
            assert collection.stats().multi_spec == "Float16,MaxSim"
            later["multi_vector"] = [[2.0, 2.0]]
        collection.upsert([later])
        if collection.multi_dim is not None:
            assert collection.search(tokens, mode="multi").ids == ["tides", "bread"]
        if collection.sparse_dim is not None:
            assert collection.search(csr_array(np.eye(9, dtype=np.float32)[[7]]))[0].ids == ["tides", "bread"]
        assert collection.search([0.0, 0.0, 1.0], k=1).ids == ["tides"]
        assert collection.optimize().build.documents == 3
        if collection.migration is not None:
            pytest.importorskip("wordllama")
            assert (collection.migration.stage, collection.migration.embedded) == ("serving", 1)
            assert collection.migrate().stage == "switched"
            assert collection.search("night birds", k=1, mode="dense").ids == ["owls 🦉"]


def test_there_is_a_golden_collection_for_every_format_version():
    from isometry.collections.manifest import FORMAT_VERSION

    assert [path.name for path in GOLDEN] == [f"collection-v{n}" for n in range(1, FORMAT_VERSION + 1)]
