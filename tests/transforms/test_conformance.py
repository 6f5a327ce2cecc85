"""Every transform, against every promise: a new transform is one more row."""

from __future__ import annotations

import pytest

from isometry.testing import TransformCase, check_transform, transform_checks
from isometry.transforms import OPQ, PCA, Alignment, Hadamard, LeanVec, RandomProjection, Rotation, Whitening

CASES = [
    TransformCase("Alignment", lambda: Alignment(hidden=8), targets=True),
    TransformCase("Alignment-procrustes", lambda: Alignment("procrustes"), targets=True),
    TransformCase("Alignment-linear", lambda: Alignment("linear", regularization=0.0), targets=True),
    TransformCase("Alignment-mlp", lambda: Alignment("mlp", hidden=8), targets=True),
    TransformCase("Hadamard", Hadamard),
    TransformCase("LeanVec", LeanVec, queries=True),
    TransformCase("LeanVec-2", lambda: LeanVec(2), queries=True),
    TransformCase("LeanVec-pca", lambda: LeanVec(2, method="pca"), queries=True),
    TransformCase("LeanVec-ES", lambda: LeanVec(2, method="eigenvector_search"), queries=True),
    TransformCase("LeanVec-FW", lambda: LeanVec(2, method="frank_wolfe"), queries=True),
    TransformCase("LeanVec-rotated", lambda: LeanVec(2, rotate=True, center=False, shrinkage=0.0), queries=True),
    TransformCase("OPQ-1", lambda: OPQ(1)),
    TransformCase("OPQ-1-2", lambda: OPQ(1, 2, bits=4)),
    TransformCase("PCA", PCA),
    TransformCase("PCA-2", lambda: PCA(2)),
    TransformCase("PCA-2-uncentred", lambda: PCA(2, center=False)),
    TransformCase("RandomProjection", RandomProjection),
    TransformCase("Rotation", Rotation),
    TransformCase("Whitening", Whitening),
    TransformCase("Whitening-2", lambda: Whitening(2, regularization=0)),
]


@pytest.mark.parametrize("check", transform_checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_conformance(case, check, tmp_path):
    check(case, tmp_path)


def test_a_bad_transform_is_found_out(tmp_path):
    class Sloppy(LeanVec):
        def transform(self, X):
            return super().transform(X) + len(X)

    with pytest.raises(AssertionError, match="transform of Sloppy is not invariant"):
        check_transform(TransformCase("Sloppy", Sloppy, queries=True), tmp_path)
