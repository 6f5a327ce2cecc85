from __future__ import annotations

import json
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
from typer.testing import CliRunner

from isometry.cli import app
from isometry.indexes import index_from_spec
from isometry.indexes.warmup import every_spec, warm_up
from isometry.kernels import graph, scan
from isometry.kernels.compiled import kernel_folder
from isometry.kernels.rows import TWO_LEVELS, Rows, TurnedRows

SPEC = "LVQ8,Vamana16"
FLOATS = "Vamana16"
USE = """
import sys
import numpy as np
from isometry.indexes import index_from_spec, linkrows, load_index
from isometry.kernels import filtered, graph, scan
linkrows._CODED_FROM = 0
x = np.random.default_rng(5).standard_normal((2000, 40)).astype(np.float32)
index = index_from_spec(sys.argv[1], metric="l2").build(x[:1500])
index.add(x[1500:])
index.remove(np.arange(0, 2000, 3))
index.save("x.index")
opened = load_index("x.index")
for one in (index, opened):
    for share in (0.01, 0.8, 1):
        one.search(x[:3], allowed=np.arange(2000) < share * 2000)
    one.search(x[:3], allowed=np.arange(2000) < 1000, strategy="bridge")
    one.add(x[:5])
    one.remove(int(one._slots.row_ids[one._entries[0]]))
several = [(f"{each.__name__}.{name}", item) for each in (graph, filtered, scan) for name, item in vars(each).items()]
kernels = {name: item for name, item in several if hasattr(item, "stats") and hasattr(item, "py_func")}
missed = {name: str(item.stats.cache_misses) for name, item in kernels.items() if item.stats.cache_misses}
assert not missed, missed
assert sum(len(item.stats.cache_hits) for item in kernels.values()) > 8
"""


def isometry(*words: str):
    return CliRunner().invoke(app, ["warmup", *words])


def test_says_where_and_how_long():
    result = isometry(SPEC, "--threads", "1")
    assert result.exit_code == 0, result.stderr
    assert "Ready in" in result.stdout
    assert str(kernel_folder()) in result.stdout.replace("\n", "")


@pytest.mark.parametrize("spec", [SPEC, FLOATS])
def test_afterwards_nothing_is_compiled_any_more(tmp_path, spec):
    told = json.loads(isometry(spec, "--threads", "1", "--json").stdout)
    assert told["specs"] == [spec]
    assert told["kernels"] > 0
    assert told["bytes"] > 0
    done = subprocess.run([sys.executable, "-c", USE, spec], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_scans_of_tables_for_several_queries_are_compiled_too():
    warm_up(["OPQ4,PQ4,Flat"], threads=1)
    assert scan.best.signatures
    compiled = len(scan.best_of_tables.signatures)
    assert compiled
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2000, 40)).astype(np.float32)
    index_from_spec("OPQ4,PQ4,Flat", metric="dot").build(x).search(x[:20], threads=1)
    assert len(scan.best_of_tables.signatures) == compiled


def test_a_graph_of_few_links_tries_every_kernel():
    warm_up([SPEC], threads=1)
    kernels = [getattr(graph, name) for name in graph.__all__ if hasattr(getattr(graph, name), "signatures")]
    assert len(kernels) > 8
    assert [kernel.__name__ for kernel in kernels if not kernel.signatures] == []


def test_progress_is_told():
    told = []
    warm_up([SPEC, "Vamana8", "Vamana32"], threads=1, progress=lambda *what: told.append(what))
    assert told == [(1, 2, "layouts compiled"), (2, 2, "layouts compiled")]


def test_every_layout_is_walked_and_refined():
    specs = every_spec()
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    pairs = set()
    for spec in specs:
        assert index_from_spec(spec).spec == spec
    assert {"Inverted", "Seismic"} <= set(specs)
    alone = [spec for spec in specs if "Vamana2" in spec and "->" not in spec]
    for spec in alone:
        levels = index_from_spec(spec)._levels
        levels.fit(x, None)
        pairs.add((type(levels.walk).__name__, type(levels.fine).__name__))
    assert len(pairs) == len(alone)
    assert {walk for walk, _ in pairs} | {"Float8E5M2Rows"} == {layout.__name__ for layout in get_args(Rows)} - {
        layout.__name__ for layout in (*TWO_LEVELS.values(), TurnedRows)
    }
    lists = index_from_spec(next(spec for spec in specs if spec.startswith("PQ") and "x4,IVF" in spec))
    lists.build(np.tile(x, (20, 5)))
    assert isinstance(lists._levels.walk, TurnedRows)
    assert len(specs) == len(set(specs))


@pytest.mark.parametrize("spec", ["Vamanna32", "LVQ8", "LVQ8,BM25"])
def test_a_wrong_specification_is_refused_before_anything_is_compiled(spec):
    result = isometry("Vamana32", spec)
    assert result.exit_code == 1
    assert "spec" in result.stderr
