from __future__ import annotations

import doctest
import sys

import numpy as np
import pandas as pd
import pytest

from isometry.codecs import LVQ
from isometry.errors import DimensionMismatch, InvalidInput
from isometry.estimators import check_vectors, estimator_classes, restore, state
from isometry.storage import read_folder, write_folder
from isometry.transforms import LeanVec

X = np.random.default_rng(0).standard_normal((100, 12), dtype=np.float32)


def test_state_is_plain():
    kind, parameters, arrays = state(LVQ(4, 8).fit(X))
    assert kind == "LVQ"
    assert parameters == {"bits": 4, "residual_bits": 8, "n_features_in_": 12, "nbytes_per_vector_": 8 + 16 + 16}
    assert list(arrays) == ["mean_"]


def test_restored_arrays_stay_in_the_file(tmp_path):
    leanvec = LeanVec(4, rotate=True).fit(X, queries=X[:50])
    kind, parameters, arrays = state(leanvec)
    write_folder(tmp_path / "leanvec", kind, parameters, arrays)
    read = read_folder(tmp_path / "leanvec")
    again = restore(read.kind, read.parameters, read.arrays)
    assert again.components_ is read.arrays["components_"]
    assert np.array_equal(again.transform_query(X), leanvec.transform_query(X))
    assert again.loss_ == leanvec.loss_


def test_an_estimator_that_was_not_fitted_comes_back_unfitted():
    again = restore(*state(LeanVec(7, method="pca")))
    assert again.get_params() == LeanVec(7, method="pca").get_params()
    assert not hasattr(again, "components_")


def test_a_data_frame_is_taken_and_its_names_are_not_stored():
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(12)])
    codec = LVQ().fit(frame)
    assert codec.feature_names_in_.tolist() == list(frame.columns)
    again = restore(*state(codec))
    assert np.array_equal(again.transform(X), codec.transform(frame))


@pytest.mark.parametrize("kind", ["LVG", "os.system", "BaseEstimator", "Codec", "CodecBase", "", None])
def test_only_our_classes_are_restored(kind):
    with pytest.raises(InvalidInput, match="kind is"):
        restore(kind, {}, {})


@pytest.mark.parametrize("name", ["transform", "__class__", "_encode", "__dict__", "a b_", "_x_"])
def test_only_fitted_state_is_set(name):
    with pytest.raises(InvalidInput, match="has no parameter"):
        restore("LVQ", {name: 1}, {})


def test_what_is_not_ours_or_not_plain_is_not_stored():
    class Mine(LVQ):
        pass

    with pytest.raises(InvalidInput, match="Mine can't be stored; expected one of"):
        state(Mine().fit(X))
    with pytest.raises(InvalidInput, match=r"LeanVec.random_state is RandomState.* expected a number"):
        state(LeanVec(random_state=np.random.RandomState(0)))


def test_vectors_are_checked_at_the_border():
    codec = LVQ().fit(X)
    bad = X.copy()
    bad[17] = np.nan
    with pytest.raises(InvalidInput, match=r"X has 1 rows with NaN, infinity .* first at row 17"):
        codec.transform(bad)
    with pytest.raises(DimensionMismatch, match="queries has 11 features, but LVQ is expecting 12"):
        check_vectors(codec, X[:, :-1], reset=False, name="queries")
    with pytest.raises(InvalidInput, match=r"magnitude 1e\+38; expected at most 2\^125"):
        codec.transform(np.full((1, 12), 1e38))
    assert check_vectors(codec, X, reset=False) is X


@pytest.mark.parametrize("made", estimator_classes().values(), ids=estimator_classes())
def test_examples_in_the_docstrings_run(made):
    names = {**vars(sys.modules[made.__module__]), "np": np}
    tests = doctest.DocTestFinder(recurse=False).find(made, made.__name__, globs=names)
    assert any(test.examples for test in tests)
    for test in tests:
        assert doctest.DocTestRunner().run(test).failed == 0
