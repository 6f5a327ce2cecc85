"""Bring your own vectors: no encoder, no torch, exact search with filters."""

import tempfile

import numpy as np

import isometry as iso

rng = np.random.default_rng(0)
vectors = rng.standard_normal((5000, 64), dtype=np.float32)
rows = [{"id": f"item-{i}", "price": float(i % 100), "in_stock": i % 3 > 0} for i in range(len(vectors))]

with tempfile.TemporaryDirectory() as folder, iso.create(f"{folder}/items.iso", dim=64, metric="dot") as items:
    print(items.add(rows, vectors=vectors))
    near_item_7 = items.search(vectors[7], k=5, where="in_stock and price < 20")
    for hit in near_item_7:
        print(f"{hit.score:8.3f}  {hit.id:10}  {hit.row['price']:5.1f}")
