"""Random sums: a cosine of sets of parts up to noise, and the side check's figures on LIMIT-small."""

from __future__ import annotations

import numpy as np
import pytest

from isometry.encoders import Encoder
from isometry.errors import InvalidInput
from isometry.evaluation import document_text, load_judged, measure, run_from_arrays
from isometry.evaluation.limit import RandomSums
from isometry.indexes import Flat


def test_scores_are_the_cosine_of_the_sets_of_things():
    encoder = RandomSums(1 << 14)
    documents = encoder.encode_document(
        ["A B likes Tea, Elm Trees and Jam.", "C D likes Jam.", "E F likes Tea and Rum."]
    )
    query = encoder.encode_query(["Who likes Elm Trees?"])
    np.testing.assert_allclose(query @ documents.T, [[3**-0.5, 0, 0]], atol=0.03)
    assert (documents @ documents.T)[0, 2] == pytest.approx(6**-0.5, abs=0.03)


def test_words_need_no_knowledge_of_things():
    encoder = RandomSums(4096, parts="words")
    near, far = encoder.encode_document(["A B likes Elm Trees and Jam.", "C D likes Oak Trees and Elm Chairs."])
    query = encoder.encode_query(["Who likes Elm Trees?"])[0]
    assert query @ near > query @ far > 0.1


def test_it_is_an_encoder_with_a_space_of_its_own():
    encoder = RandomSums(64)
    assert isinstance(encoder, Encoder)
    assert encoder.fingerprint != RandomSums(64, seed=1).fingerprint != RandomSums(64, parts="words").fingerprint
    np.testing.assert_array_equal(
        encoder.encode_document(["A likes Jam."]), RandomSums(64).encode_document(["A likes Jam."])
    )
    assert encoder.encode_document([]).shape == (0, 64)
    assert not RandomSums(64, parts="words").encode_query(["?!"]).any()
    assert encoder.encode_document(["A likes Jam."]).dtype == np.float32


@pytest.mark.parametrize(("dim", "expected"), [(128, 0.41), (256, 0.65), (512, 0.89), (1024, 0.99)])
def test_golden_recall_at_2_on_limit_small(shared_data, dim, expected):
    judged = load_judged(shared_data / "limit" / "limit-small")
    encoder = RandomSums(dim)
    index = Flat().build(encoder.encode_document([document_text(document) for document in judged.corpus]))
    found = run_from_arrays(
        list(judged.queries),
        [document["id"] for document in judged.corpus],
        *index.search(encoder.encode_query(list(judged.queries.values())), k=2),
    )
    assert measure(found, judged.qrels, ["R@2"])["R@2"].mean == pytest.approx(expected, abs=0.04)


def test_bad_input():
    with pytest.raises(InvalidInput, match="dim is 0"):
        RandomSums(0)
    with pytest.raises(InvalidInput, match="parts is 'items'"):
        RandomSums(8, parts="items")
    with pytest.raises(InvalidInput, match="expected the form"):
        RandomSums(8).encode_query(["tea?"])
