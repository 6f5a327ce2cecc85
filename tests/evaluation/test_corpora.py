"""Short texts from the folder of data sets, their vectors, and what is kept of them."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isometry.encoders import Fingerprint
from isometry.errors import InvalidInput, NotFound
from isometry.evaluation import corpora
from isometry.evaluation.corpora import load_vectors, short_texts, synthetic_vectors, unit, widened
from isometry.indexes import Flat

GLOSS = '00001740 03 n 02 entity 0 physical_thing(a) 0 001 ~ 00001930 n 0000 | that which is perceived; "an entity"\n'


class Letters:
    """Counts letters: an encoder that costs nothing."""

    kind, dim, fingerprint = "dense", 26, Fingerprint("letters", "0" * 64)
    texts = 0

    def encode_document(self, texts):
        Letters.texts += len(texts)
        return np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], np.float32)

    encode_query = encode_document


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Return a folder with 300 titles, of which two are the same, one is short and one is long."""
    monkeypatch.setattr(corpora, "JUDGED", 20)
    monkeypatch.setattr(corpora, "TRAINING", 30)
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghij"), 5)) for _ in range(200)]
    titles = [" ".join(rng.choice(words, 6)) for _ in range(297)]
    folder = tmp_path / "data"
    (folder / "acl_anthology").mkdir(parents=True)
    table = pa.table({"title": [*titles, titles[0], "short", "long " * 100], "abstract": [None] * 300})
    pq.write_table(table, folder / "acl_anthology" / "papers.parquet")
    (folder / "telecom_standards").mkdir()
    etsi = pa.table({"title": ["  Two   spaces in a title "], "keywords": [[f"{w} key", w] for w in words[:1]]})
    pq.write_table(etsi, folder / "telecom_standards" / "etsi.parquet")
    (folder / "multi30k").mkdir()
    with gzip.open(folder / "multi30k" / "train.tsv.gz", "wt") as file:
        file.write('en\tde\nA man with a "hat on\tEin Mann\nA man without a hat\tEin Mann\n')
    return folder


@pytest.fixture
def wordnet(tmp_path):
    """Return a folder with 60 sets of synonyms."""
    folder = tmp_path / "wordnet"
    folder.mkdir()
    lines = ["  1 This software and database is being provided to you\n", GLOSS]
    lines += [f"{i:08} 03 n 01 thing_{i} 0 000 | a definition of thing number {i}\n" for i in range(59)]
    (folder / "data.noun").write_text("".join(lines))
    for part in ("verb", "adj", "adv"):
        (folder / f"data.{part}").write_text("")
    return folder


def test_texts_are_distinct_and_queries_are_held_out(data):
    texts = short_texts(data, wordnet=None)
    assert texts.sources == {
        "ACL Anthology titles": 297,
        "ACL Anthology first sentences": 0,
        "ETSI titles": 1,
        "Multi30K captions": 2,
    }
    assert len(texts.queries) == 50
    assert len({*texts.base, *texts.queries}) == len(texts.base) + len(texts.queries) == 300
    assert {"Two spaces in a title", 'A man with a "hat on'} <= {*texts.base, *texts.queries}
    assert texts == short_texts(data, wordnet=None)
    assert texts.base != short_texts(data, wordnet=None, seed=1).base
    assert short_texts(data, wordnet=None, n=7).base == texts.base[:7]


def test_wordnet_gives_definitions_and_names(data, wordnet):
    texts = short_texts(data, wordnet=wordnet)
    assert texts.sources["WordNet glosses"] == 60
    every = {*texts.base, *texts.queries}
    assert {"that which is perceived", "a definition of thing number 3"} <= every
    assert "entity, physical thing" in texts.names
    assert "thing 3" in texts.names
    assert not every & set(texts.names)


def test_too_few_texts_are_an_error(tmp_path):
    with pytest.raises(NotFound, match=r"found 0 short texts .* wordnet-base"):
        short_texts(tmp_path, wordnet=None)


def test_vectors_are_made_once(data, wordnet, tmp_path, monkeypatch):
    monkeypatch.setattr("isometry.encoders.load_encoder", lambda *_, **__: Letters())
    texts, home = short_texts(data, wordnet=wordnet), tmp_path / "home"
    first = load_vectors("minilm", texts, home)
    assert first.x.shape == (len(texts.base), 26)
    assert (len(first.queries), len(first.training)) == (20, 30)
    assert np.allclose(np.linalg.norm(first.x, axis=1), 1)
    encoded = Letters.texts
    again = load_vectors("minilm", texts, home)
    assert Letters.texts == encoded
    assert np.array_equal(first.x, again.x)
    named = load_vectors("minilm", texts, home, view="names")
    assert named.name == "minilm 26-d, names as queries"
    assert np.array_equal(named.x, first.x)
    assert Letters.texts == encoded + len(texts.names)
    static = load_vectors("minilm", texts, home, view="static")
    assert static.queries.shape == first.queries.shape
    assert (static.queries * first.queries).sum(axis=1).mean() > 0.99, "the same encoder maps onto itself"
    assert not list(home.glob("*.parts"))


def test_a_space_of_several_layers_has_them_side_by_side(data, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("isometry.encoders.load_encoder", lambda *_, **options: asked.append(options) or Letters())
    texts = short_texts(data, wordnet=None)
    assert load_vectors("minilm-layers", texts, tmp_path).name == "minilm-layers 26-d"
    load_vectors("minilm", texts, tmp_path)
    assert asked == [{"last_layers": 4}, {"last_layers": 1}]


def test_exact_neighbours_are_kept(data, wordnet, tmp_path, monkeypatch):
    monkeypatch.setattr("isometry.encoders.load_encoder", lambda *_, **__: Letters())
    vectors = load_vectors("minilm", short_texts(data, wordnet=wordnet), tmp_path).head(200, queries=5)
    exact = vectors.exact(10)
    assert np.array_equal(exact, Flat(metric="dot").build(vectors.x).search(vectors.queries, 10)[0])
    monkeypatch.setattr(corpora.VectorSet, "_scan", lambda _: pytest.fail("searched again"))
    again = load_vectors("minilm", short_texts(data, wordnet=wordnet), tmp_path).head(200, queries=5)
    assert np.array_equal(again.exact(10), exact)


def test_lsa_has_unit_vectors_of_the_dimension_asked_for(data, tmp_path):
    pytest.importorskip("sklearn")
    vectors = load_vectors("lsa", short_texts(data, wordnet=None), tmp_path, dim=64)
    assert vectors.dim == 64
    norms = np.linalg.norm(vectors.x, axis=1)
    assert np.all((norms < 1e-6) | (np.abs(norms - 1) < 1e-5))
    again = load_vectors("lsa", short_texts(data, wordnet=None), tmp_path / "elsewhere", dim=64)
    assert np.array_equal(again.x, vectors.x)
    with pytest.raises(InvalidInput, match="at most as many"):
        load_vectors("lsa", short_texts(data, wordnet=None), tmp_path, dim=5_000)


def test_lsa_is_fitted_once(data, tmp_path, monkeypatch):
    extmath = pytest.importorskip("sklearn.utils.extmath")
    vectors = load_vectors("lsa", short_texts(data, wordnet=None), tmp_path, dim=64)
    for kept in set(tmp_path.glob("lsa64-*.npy")) - set(tmp_path.glob("lsa64-axes-*.npy")):
        kept.unlink()
    monkeypatch.setattr(extmath, "randomized_svd", lambda *_, **__: pytest.fail("fitted again"))
    again = load_vectors("lsa", short_texts(data, wordnet=None), tmp_path, dim=64)
    assert np.array_equal(again.x, vectors.x)


def test_unknown_spaces_and_missing_names_are_named(data, tmp_path):
    texts = short_texts(data, wordnet=None)
    with pytest.raises(InvalidInput, match="space is 'word2vec'"):
        load_vectors("word2vec", texts, tmp_path)
    with pytest.raises(NotFound, match="view 'names' needs more than 20"):
        load_vectors("minilm", texts, tmp_path, view="names")


def test_synthetic_queries_leave_the_data_as_they_are_shifted():
    near, far = (synthetic_vectors(2_000, 64, rank=0.25, shift=shift) for shift in (0.0, 1.0))
    assert np.allclose(np.linalg.norm(near.x, axis=1), 1, atol=1e-5)
    kept = [np.linalg.norm(v.queries @ np.linalg.svd(v.x, full_matrices=False)[2][:16].T) for v in (near, far)]
    assert kept[0] > 1.5 * kept[1]
    assert np.array_equal(near.x, synthetic_vectors(2_000, 64, rank=0.25).x)
    assert near.exact(5).shape == (2_000, 5)
    with pytest.raises(InvalidInput, match="shift is 2"):
        synthetic_vectors(100, 8, shift=2)


def test_more_vectors_are_made_from_the_real_ones():
    x = synthetic_vectors(500, 32, rank=0.25).x
    wide = widened(x, 1_200, share=0.3)
    assert wide.shape == (1_200, 32)
    assert np.array_equal(wide[:500], x)
    assert np.allclose(np.linalg.norm(wide, axis=1), 1, atol=1e-5)
    assert np.array_equal(wide, widened(x, 1_200, share=0.3))
    assert len(widened(x, 100)) == 100
    assert (wide[500:] @ x.T).max(axis=1).mean() > 0.85


def test_unit_leaves_zeros_alone():
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
