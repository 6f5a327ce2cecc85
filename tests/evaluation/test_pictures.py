"""Pictures as pairs of views: the file is read with care, and views of one picture lie near each other."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from isometry.errors import Damaged, InvalidInput, NotFound
from isometry.evaluation.pictures import load_picture_views, read_idx_pictures


def written(file, pictures, magic=2051, n=None):
    head = struct.pack(">4I", magic, len(pictures) if n is None else n, *pictures.shape[1:])
    file.write_bytes(gzip.compress(head + pictures.tobytes()))
    return file


def blots(n):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:28, :28]
    centres = rng.uniform(6, 22, (n, 3, 2, 1, 1))
    distances = (rows - centres[:, :, 0]) ** 2 + (columns - centres[:, :, 1]) ** 2
    return (255 * np.exp(-distances / 12).max(axis=1)).astype(np.uint8)


def test_pictures_are_read_as_they_were_written(tmp_path):
    pictures = blots(5)
    file = written(tmp_path / "p.gz", pictures)
    assert (read_idx_pictures(file) == pictures).all()
    assert (read_idx_pictures(file, 2) == pictures[:2]).all()


def test_damaged_files_are_refused(tmp_path):
    pictures = blots(3)
    with pytest.raises(NotFound, match="no file"):
        read_idx_pictures(tmp_path / "none.gz")
    with pytest.raises(Damaged, match="begins with 2049"):
        read_idx_pictures(written(tmp_path / "labels.gz", pictures, magic=2049))
    with pytest.raises(Damaged, match="256 MiB"):
        read_idx_pictures(written(tmp_path / "large.gz", pictures, n=2**31))
    with pytest.raises(Damaged, match="ends after 2352 of 3136 bytes"):
        read_idx_pictures(written(tmp_path / "short.gz", pictures, n=4))
    whole = (tmp_path / "short.gz").read_bytes()
    for damaged in (b"", whole[:30], whole[: len(whole) // 2], b"no gzip at all, but some bytes"):
        (tmp_path / "cut.gz").write_bytes(damaged)
        with pytest.raises(Damaged, match="no gzipped IDX file"):
            read_idx_pictures(tmp_path / "cut.gz")


def test_views_of_one_picture_find_each_other(tmp_path):
    file = written(tmp_path / "p.gz", blots(120))
    found = load_picture_views(file, n=100, n_learn=60, dim=64)
    assert found.x.shape == (100, 64)
    assert found.learn_queries.shape == (60, 64)
    assert found.queries.shape == (40, 64)
    assert np.allclose(np.linalg.norm(found.x, axis=1), 1, atol=1e-5)
    own = found.judge(np.argsort(-(found.queries @ found.x.T), axis=1), -np.sort(-(found.queries @ found.x.T), axis=1))
    assert own["RR@10"].mean() > 0.8  # 10 places by chance: .03
    assert [rows.tolist() for rows in found.labels[:3]] == [[0], [1], [2]]
    again = load_picture_views(file, n=100, n_learn=60, dim=64)
    assert (again.x == found.x).all()
    assert (load_picture_views(file, n=100, n_learn=60, dim=64, seed=1).x != found.x).any()


def test_some_pictures_have_to_be_left_to_judge_by(tmp_path):
    with pytest.raises(InvalidInput, match="has 50 pictures, and 50"):
        load_picture_views(written(tmp_path / "p.gz", blots(50)), n_learn=50)
