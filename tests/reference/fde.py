"""Fixed dimensional encodings as the paper writes them down, token by token and cell by cell."""

from __future__ import annotations

import numpy as np


def chamfer(query, document):
    """Return the sum over the query's tokens of their largest product with a token of the document."""
    if len(query) == 0 or len(document) == 0:
        return 0.0
    return float((query.astype(float) @ document.astype(float).T).max(axis=1).sum())


def encode(tokens, tables, *, repetitions, k_sim, dim, average, fill, scale=1.0):
    """Return the encoding (dim,) of one set of tokens; arguments as `isometry.kernels.fde.encode`."""
    planes, projections, places = (np.asarray(table, float) for table in tables)
    tokens = tokens.astype(float)
    blocks = []
    for r in range(repetitions):
        bits = (tokens @ planes[:, r * k_sim : (r + 1) * k_sim] > 0).astype(int)
        projected = tokens @ projections[r] if len(projections) else tokens
        for cell in range(2**k_sim):
            wanted = np.array([cell >> j & 1 for j in range(k_sim)], int)
            apart = (bits != wanted).sum(axis=1)
            inside = projected[apart == 0]
            block = np.zeros(projected.shape[1])
            if len(inside):
                block = inside.mean(axis=0) if average else inside.sum(axis=0)
            elif fill and len(tokens):
                block = projected[apart.argmin()]
            blocks.append(block)
    whole = np.concatenate(blocks) * scale
    if len(places) == 0:
        return whole
    out = np.zeros(dim)
    numbers = places.astype(int)
    np.add.at(out, numbers >> 1, whole * (1 - 2 * (numbers & 1)))
    return out
