from __future__ import annotations

import numpy as np
import pytest

from isometry.encoders import encode_to_folder, load_encoder, read_encoded
from isometry.errors import Damaged, InvalidInput, NotFound, SpaceMismatch

from .objects import DenseObject, MultiObject, SparseObject

TEXTS = [f"text number {i} of many" for i in range(25)]


class Counting(DenseObject):
    """Dies at a given text."""

    def __init__(self, dies_at=None):
        self.seen, self.dies_at = 0, dies_at

    def encode_document(self, texts):
        if self.dies_at in texts:
            raise KeyboardInterrupt
        self.seen += len(texts)
        return super().encode_document(texts)


def wrapped(**options):
    inner = Counting(**options)
    encoder = load_encoder(inner)
    inner.seen = 0
    return inner, encoder


@pytest.mark.parametrize("made", [DenseObject, SparseObject, MultiObject])
@pytest.mark.parametrize("shard_rows", [7, 25, 100])
def test_equals_encoding_at_once(made, shard_rows, tmp_path):
    encoder = load_encoder(made())
    stored = encode_to_folder(encoder, TEXTS, tmp_path / "new" / "e", shard_rows=shard_rows)
    direct = encoder.encode_document(TEXTS)
    for vectors in (stored, read_encoded(tmp_path / "new" / "e")):
        if made is MultiObject:
            assert vectors == direct
        else:
            dense = [v.toarray() if made is SparseObject else v for v in (vectors, direct)]
            np.testing.assert_array_equal(*dense)


def test_goes_on_where_it_stopped(tmp_path):
    _, encoder = wrapped(dies_at=TEXTS[16])
    with pytest.raises(KeyboardInterrupt):
        encode_to_folder(encoder, TEXTS, tmp_path, shard_rows=5)
    with pytest.raises(NotFound, match="finished"):
        read_encoded(tmp_path)
    inner, encoder = wrapped()
    calls = []
    vectors = encode_to_folder(encoder, iter(TEXTS), tmp_path, shard_rows=5, progress=lambda *c: calls.append(c))
    assert inner.seen == 10
    assert calls == [(done, None, "texts") for done in (5, 10, 15, 20, 25)]
    np.testing.assert_array_equal(vectors, encoder.encode_document(TEXTS))


def test_other_input_is_refused(tmp_path):
    _, encoder = wrapped()
    encode_to_folder(encoder, TEXTS, tmp_path, shard_rows=5)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(SpaceMismatch):
        encode_to_folder(load_encoder(Counting(), name="other"), TEXTS, tmp_path, shard_rows=5)
    for texts, options in [
        (["another", *TEXTS[1:]], {}),
        (TEXTS[:10], {}),
        ([*TEXTS, "more"], {}),
        (TEXTS, {"role": "query"}),
        (TEXTS, {"shard_rows": 6}),
    ]:
        with pytest.raises(InvalidInput):
            encode_to_folder(encoder, texts, tmp_path, **{"shard_rows": 5} | options)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_nothing_to_encode(tmp_path):
    encoder = load_encoder(DenseObject())
    assert encode_to_folder(encoder, [], tmp_path).shape == (0, encoder.dim)


@pytest.mark.parametrize("texts", ["one string", [1], ["a", None]])
def test_bad_texts_are_refused(texts, tmp_path):
    with pytest.raises(InvalidInput):
        encode_to_folder(load_encoder(DenseObject()), texts, tmp_path)


def test_a_damaged_shard_is_found(tmp_path):
    encode_to_folder(load_encoder(DenseObject()), TEXTS, tmp_path)
    array = next((tmp_path / "shard-000000").glob("*.npy"))
    array.write_bytes(array.read_bytes()[:-1] + b"\x01")
    with pytest.raises(Damaged):
        read_encoded(tmp_path)
