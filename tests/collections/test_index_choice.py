"""Which vector index a collection builds: what was asked for, else what serves so many vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest

import isometry as iso
from isometry.codecs import Binary
from isometry.collections import kinds
from isometry.indexes import default_spec

GRAPH = "LVQ4x8,Vamana16"


@pytest.fixture
def documents():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((20, 32))
    vectors = (centres[rng.integers(20, size=800)] + 0.5 * rng.standard_normal((800, 32))).astype(np.float32)
    return [{"id": str(i), "even": i % 2 == 0} for i in range(800)], vectors


@pytest.fixture
def collection(tmp_path, documents):
    made = iso.create(tmp_path / "c.iso", metric="cosine")
    made.add(documents[0], vectors=documents[1])
    return made


def test_a_scan_for_few_and_a_graph_for_many():
    assert default_spec(43_000, 384) == "Flat"
    assert default_spec(44_000, 384) == "LVQ4x8,Vamana64"


def test_the_choice_grows_with_the_collection(collection, monkeypatch):
    assert collection.build().spec == "Flat"
    monkeypatch.setattr(kinds, "default_spec", lambda n, d: GRAPH)
    report = collection.optimize().build
    assert report.spec == GRAPH
    assert report.recall > 0.9


def test_what_was_asked_for_stays(collection, tmp_path):
    assert collection.build(GRAPH).spec == GRAPH
    collection.close()
    again = iso.open(tmp_path / "c.iso")
    assert again.optimize().build.spec == GRAPH
    assert again.stats().spec == GRAPH


@pytest.mark.parametrize("spec", [GRAPH, "LVQ8,IVF16"])
def test_an_index_in_a_collection_finds_filters_and_forgets(collection, documents, spec):
    vectors = documents[1]
    assert collection.build(spec).spec == spec
    exact = vectors @ vectors[7] / np.linalg.norm(vectors, axis=1)
    hits = collection.search(vectors[7], k=10)
    assert hits.ids[0] == "7"
    assert len(set(hits.ids) & {str(i) for i in np.argsort(-exact)[:10]}) >= 9
    only = collection.search(vectors[7], k=10, where="even")
    assert len(only) == 10
    assert all(int(name) % 2 == 0 for name in only.ids)
    collection.delete(ids=["7"])
    collection.add([{"id": "new", "even": True}], vectors=vectors[7:8])
    assert collection.search(vectors[7], k=1).ids == ["new"]
    assert not collection.verify().problems


def test_a_manifest_without_the_wish_is_read(collection, tmp_path):
    collection.build("Flat")
    collection.close()
    path = tmp_path / "c.iso" / "collection.json"
    manifest = json.loads(path.read_text())
    del manifest["spec"]
    manifest.pop("checksum", None)
    path.write_text(json.dumps(manifest))
    assert iso.open(tmp_path / "c.iso").build().spec == "Flat"


def test_what_compression_costs_is_said_and_kept(collection, tmp_path):
    assert collection.stats().recall is None
    built = {spec: collection.build(spec) for spec in ("Flat", "LVQ8,Flat", "Binary,Flat")}
    assert built["Flat"].recall == 1
    assert built["LVQ8,Flat"].recall > 0.95 > built["Binary,Flat"].recall
    sizes = [report.bytes_per_vector for report in built.values()]
    assert sizes == sorted(sizes, reverse=True)
    collection.close()
    stats = iso.open(tmp_path / "c.iso").stats()
    names = ("recall", "recall_interval", "recall_queries", "bytes_per_vector")
    assert [getattr(stats, name) for name in names] == [getattr(built["Binary,Flat"], name) for name in names]
    low, high = stats.recall_interval
    assert low <= stats.recall <= high


def test_an_index_learns_nothing_from_what_measures_it(collection, documents, monkeypatch):
    monkeypatch.setattr(kinds, "_FEWEST_LEARNED", 200)
    seen = []
    fit = Binary.fit
    monkeypatch.setattr(Binary, "fit", lambda self, X, y=None: seen.append(len(X)) or fit(self, X, y))
    report = collection.build("Binary,Flat")
    assert seen == [len(documents[1]) - report.recall_queries]
