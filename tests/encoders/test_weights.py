from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from isometry.encoders.weights import combine, read_tensors, tensor_digest
from isometry.errors import Damaged

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


def raw(path, header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


def test_reads_what_safetensors_writes(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": MATRIX, "half": MATRIX.astype(np.float16), "ids": np.arange(3)}, path, metadata={"format": "pt"})
    tensors = read_tensors(path)
    assert set(tensors) == {"a", "half"}
    assert np.array_equal(tensors["a"], MATRIX)
    assert np.array_equal(tensors["half"], MATRIX)
    tensors["a"][0] = 9
    assert np.array_equal(read_tensors(path)["a"], MATRIX), "the file must not change"


def test_bfloat16_is_widened(tmp_path):
    data = (MATRIX.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    header = {"a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}
    assert np.array_equal(read_tensors(raw(tmp_path / "x", header, data))["a"], MATRIX)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"not json", b""),
        ([], b""),
        ({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}, b"short"),
        ({"a": {"dtype": "F32", "shape": [9, 9], "data_offsets": [0, 24]}}, bytes(24)),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 23]}}, bytes(24)),
        ({"a": {"dtype": "F32", "shape": [2, 3]}}, bytes(24)),
        ({"a": {"dtype": "F32", "shape": "x", "data_offsets": [0, 24]}}, bytes(24)),
        ({"a": 7}, b""),
    ],
)
def test_damaged_files_are_named(tmp_path, header, data):
    with pytest.raises(Damaged, match=r"bad\.safetensors"):
        read_tensors(raw(tmp_path / "bad.safetensors", header, data))


@pytest.mark.parametrize("data", [b"", b"\x01", b"\xff" * 8])
def test_stubs_are_damaged(tmp_path, data):
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(Damaged):
        read_tensors(tmp_path / "bad")


def test_digests_see_values_and_shapes_but_not_the_order():
    a, b = tensor_digest(MATRIX), tensor_digest(MATRIX.reshape(3, 2))
    assert a != b != tensor_digest(MATRIX + 1)
    assert tensor_digest(MATRIX.astype(np.float16)) == a
    assert combine([a, b]) == combine([b, a, a]) != combine([a])
