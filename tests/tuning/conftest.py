from __future__ import annotations

import pytest

from isometry.tuning import halving

FEW = ("Flat", "Vamana", "LVQ", "Float16", "PCA")


@pytest.fixture
def few_parts(monkeypatch):
    """Only some of the parts, so that few kernels have to be compiled."""
    monkeypatch.setattr(halving, "parts", lambda: dict.fromkeys(FEW))
