"""The MUVERA system: its experiments on a tiny scale, and what they say of the claim."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.evaluation import draw_all
from isometry.evaluation.token_sets import text_tokens, topic_mixture
from isometry.systems import get_system, muvera
from isometry.systems.pages import page
from isometry.vectors import MultiVectors

SCALE = muvera.Scale(400, 0, 8, (), 2, (10, 4), 20, 1, 64)
DATA = "topics 128-d"


@pytest.fixture(scope="module")
def result():
    pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(muvera.SCALES, "small", SCALE)
        patch.setattr(muvera, "LADDER", ((4, 3, 8), (4, 4, 8), (20, 5, 16)))
        return get_system("muvera").reproduce()


def value(result, method, measure):
    (found,) = {
        figure.value
        for figure in (*result.figures, *result.baselines)
        if figure.method.startswith(method) and (figure.data, figure.measure) == (DATA, measure)
    }
    return found


def test_encodings_never_exceed_the_similarity(result):
    assert value(result, "FDE(5,4,0)", "largest excess per token") <= 1e-4


def test_filled_cells_keep_more_of_it(result):
    for k in (2, 4, 6):
        filled, empty = (
            value(result, f"FDE(5,{k},0), {words}", "share of the similarity")
            for words in ("filled", "empty cells left empty")
        )
        assert 1 >= filled > empty > 0


def test_candidates_are_counted_for_every_way(result):
    for depth in (10, 100):
        for method in ("FDE(20,5,16)", muvera.ONE_BY_ONE, f"{muvera.UNIQUE}"):
            counts = [
                figure.value
                for share in muvera.SHARES
                for figure in (*result.figures, *result.baselines)
                if (figure.method, figure.measure) == (method, f"candidates for {share:.0%} of the top {depth}")
            ]
            assert len(counts) == 3
            assert counts == sorted(counts)
            assert counts[0] >= 0.8 * depth
    assert value(result, "FDE(1,0,0)", "recall@10 of 100") < value(result, "FDE(20,5,16)", "recall@10 of 100")


def test_every_index_is_measured(result):
    for spec in (muvera.EXACT, *muvera.OURS, *(rival.format(64) for rival in muvera.RIVALS)):
        assert value(result, spec, "bytes per document") > 100
    assert value(result, muvera.EXACT, "ms per query at recall 0.95") > 0
    assert value(result, "PQ32,MaxSim", "bytes per token") == 32
    assert value(result, "Float16,MaxSim", "recall@10, all candidates") > 0.99


def test_the_verdict_tells_the_numbers(result):
    assert result.verdict in ("holds", "partly")
    for part in (
        "per token at most",
        "times the candidates",
        "up the ladder",
        "PQ32 keeps a token in 32 bytes",
        "scan",
    ):
        assert part in result.because


def test_the_page_has_tables_and_pictures(result, tmp_path):
    text = page(get_system("muvera"), result)
    assert "muvera-candidates-topics-128-d.png" in text
    assert "State: **works**" in text
    assert [path.name for path in draw_all(result, tmp_path)] == ["muvera-candidates-topics-128-d.png"]


def test_ranks_and_how_long_a_list_must_be():
    scores, ids = np.array([[5.0, 9, 7, 1]], np.float32), np.array([[1, 3, 0]])
    ranks = muvera._ranks(scores, ids)
    assert ranks.tolist() == [[0, 3, 2]]
    assert [muvera._needed(ranks, share) for share in (0.3, 0.6, 1.0)] == [1, 3, 4]


def test_a_mixture_of_topics_has_neighbours_and_is_the_same_again():
    sets = topic_mixture(50, 5, dim=32, seed=3)
    assert (len(sets.documents), len(sets.queries), sets.queries.lengths.max()) == (50, 5, 16)
    assert np.linalg.norm(sets.documents.tokens, axis=1) == pytest.approx(1, abs=1e-5)
    again = topic_mixture(50, 5, dim=32, seed=3)
    assert sets.documents == again.documents
    assert sets.queries == again.queries
    assert len(sets.head(2).queries) == 2


class Letters:
    """An encoder with a vector for every letter."""

    def encode_document(self, texts):
        axes = np.random.default_rng(0).standard_normal((256, 24)).astype(np.float32)
        return MultiVectors.from_list([axes[list(text.encode())] for text in texts])

    encode_query = encode_document


def test_texts_become_short_unit_tokens_once(tmp_path):
    calls = []

    def letters():
        calls.append(1)
        return Letters()

    told = []
    asked = {"dim": 8, "encoder": letters, "folder": tmp_path}
    sets = text_tokens("letters", ["abc", "de"], ["ab"], progress=lambda *what: told.append(what), **asked)
    assert sets.documents.lengths.tolist() == [3, 2]
    assert sets.documents.dim == sets.queries.dim == 8
    assert sets.documents[0][:2] == pytest.approx(sets.queries[0])
    assert np.linalg.norm(sets.documents.tokens, axis=1) == pytest.approx(1, abs=1e-3)
    again = text_tokens("letters", ["abc", "de"], ["ab"], **asked)
    assert again.documents == sets.documents
    assert len(calls) == 1
    assert told[-1] == (1, 1, "queries of letters encoded")
