"""Compares every kernel that reads vectors with its NumPy reference, at the level that this process compiles for.

Run by `test_simd` and `test_score`, once per level: the level is fixed when the kernels are imported.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from scipy.sparse import csr_array, hstack, random_array

from isometry.codecs import LVQ, Binary, Float8
from isometry.indexes import Inverted, Seismic, Vamana
from isometry.kernels import links, reference, simd
from isometry.kernels.compiled import kernel
from isometry.kernels.graph import offer
from isometry.kernels.level import LEVEL
from isometry.kernels.rows import (
    BFloat16Rows,
    Float4Rows,
    Float16Rows,
    Float32Rows,
    PlaneRows,
    SignedByteRows,
    SignedNibbleRows,
    TableRows,
    TurnedRows,
    pack_nibbles,
    pack_planes,
    padded_copy,
    turned,
    values_of,
)
from isometry.kernels.score import QUERY_SPARE, decode, prepare, score, score_fine, touch

DIMS = (1, 7, 16, 17, 100, 127, 128, 129, 160, 384, 1000)
LVQS = [(4, 0), (8, 0), (4, 4), (4, 8), (8, 4), (8, 8)]


# -- operations on registers -------------------------------------------------------------------------------------------


@kernel
def sums(f32, f16, bf16, u8, u7, i8, out, whole, stored):
    """Apply every operation to 64 values; results go to `out` and `stored` (floats) and to `whole` (integers)."""
    at, of, ob, on, oi = (simd.address(f32), simd.address(f16), simd.address(bf16), simd.address(u8), simd.address(i8))
    a, b = simd.load_f32(at), simd.load_f32(at + 64)
    out[0] = simd.sum_f32(a)
    out[1] = simd.sum_f32(simd.fma(a, b, simd.load_f32(at + 128)))
    out[2] = simd.sum_f32(simd.add_f32(a, b))
    out[3] = simd.sum_f32(simd.zero_f32())
    out[4] = simd.sum_f32(simd.fma(simd.f16_to_f32(of), b, simd.zero_f32()))
    out[5] = simd.sum_f32(simd.fma(simd.bf16_to_f32(ob), b, simd.zero_f32()))
    out[6] = simd.sum_f32(simd.fma(simd.load_u8_as_f32(on), b, simd.zero_f32()))
    both = simd.load_u8x16(on)
    out[7] = simd.sum_f32(simd.fma(simd.nibbles_as_f32(both, 0), b, simd.zero_f32()))
    out[8] = simd.sum_f32(simd.fma(simd.nibbles_as_f32(both, 4), b, simd.zero_f32()))
    ones = simd.dot_u8_i8(simd.zero_i32(), simd.load_u8(on), simd.load_i8(oi))
    whole[0] = simd.sum_i32(ones)
    whole[1] = simd.sum_i32(simd.add_i32(ones, simd.dot_u8_i8(ones, simd.load_u8(on), simd.load_i8(oi))))
    whole[2] = simd.sum_i32(simd.dot_u7_i8(simd.zero_i32(), simd.low_nibbles(simd.load_u8(on)), simd.load_i8(oi)))
    whole[3] = simd.sum_i32(simd.dot_u7_i8(simd.zero_i32(), simd.high_nibbles(simd.load_u8(on)), simd.load_i8(oi)))
    whole[4] = simd.count_ones(simd.load_u64(on))
    out[9] = simd.largest_f32(simd.larger_f32(a, b))
    out[10] = simd.sum_f32(simd.larger_f32(simd.spread_f32(at + 4), simd.lowest_f32()))
    whole[5] = simd.first_largest(a, simd.count_from(7))
    whole[6] = simd.sum_i32(simd.where_larger(a, b, simd.count_from(0), simd.count_from(100)))
    whole[7] = simd.sum_i32(simd.dot_u7_i8(simd.zero_i32(), simd.load_u8(simd.address(u7)), simd.load_i8(oi)))
    out[11] = simd.sum_f32(simd.fill_f32(f32[1]))
    out[12] = simd.sum_f32(simd.smaller_but_zero_f32(simd.size_f32(a), simd.fma(a, simd.zero_f32(), simd.zero_f32())))
    out[13] = simd.sum_f32(simd.smaller_but_zero_f32(simd.size_f32(a), simd.size_f32(b)))
    out[14] = simd.least_f32(b)
    for count in range(18):
        whole[8 + count] = simd.count_reaching_f32(simd.first_f32(at, count), b)
        simd.store_first_f32(simd.address(stored) + 64 * (count + 1), a, count)
    simd.store_f32(simd.address(stored), b)
    simd.prefetch(on)
    simd.prefetch(0)


@kernel
def sixteen_bits(numbers, codes, table, places, wide_places, totals, taken, bits):
    """Apply the operations on 16-bit numbers, and those that read a table at sixteen places."""
    at, spread = simd.address(numbers), simd.spread_u16(int(numbers[1]))
    simd.store_u16(simd.address(totals), simd.add_parts_u16(simd.load_u16(at), simd.address(codes), spread))
    simd.store_u16(simd.address(totals) + 64, simd.larger_u16(simd.load_u16(at), spread))
    simd.store_f32(simd.address(taken), simd.take_u16(simd.address(table), simd.address(places)))
    simd.store_f32(simd.address(taken) + 64, simd.take_u32(simd.address(table), simd.address(wide_places)))
    bits[0] = simd.reaching_u16(simd.load_u16(at), spread)
    bits[1], bits[2], bits[3] = simd.lowest_bit(bits[0]), simd.lowest_bit(40), simd.lowest_bit(0)
    value = simd.address(table)
    bits[4] = simd.exceeding_f32(simd.load_f32(value), simd.spread_f32(value + 12))


def compare_sixteen_bits(seed):
    """Yield (name, seen, expected, tolerance) of the operations on 16-bit numbers."""
    rng = np.random.default_rng(seed)
    numbers, codes = rng.integers(65536, size=32, dtype=np.uint16), rng.integers(256, size=32, dtype=np.uint8)
    table, places = rng.standard_normal(50000).astype(np.float32), rng.integers(16, 50000, size=16)
    table[1:3] = np.nan, np.inf
    totals, taken, bits = np.zeros(64, np.uint16), np.zeros(32, np.float32), np.zeros(5, np.int64)
    sixteen_bits(numbers, codes, table, places.astype(np.uint16), places.astype(np.uint32), totals, taken, bits)
    share = int(numbers[1])
    yield "add parts", totals[:32], (numbers + (codes.astype(int) * share >> 8)) % 65536, 0
    yield "larger", totals[32:], np.maximum(numbers, share), 0
    yield "taken", taken, np.tile(table[places], 2), 0
    reached = np.flatnonzero(numbers >= share)
    exceeding = np.flatnonzero(~(table[:16] <= table[3]))
    yield "reaching", bits, [int((1 << reached).sum()), reached[0], 3, 64, int((1 << exceeding).sum())], 0


def compare_operations(seed, extreme):
    """Yield (name, seen, expected) of every operation; integers must be exact."""
    rng = np.random.default_rng(seed)
    f32 = rng.standard_normal(64).astype(np.float32)
    half = rng.standard_normal(64).astype(np.float16)
    half[:6] = [0, -0.0, 6e-8, 6.1e-5, 65504, -1.5]
    bf16 = (rng.standard_normal(64).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    u8 = np.full(64, 255, np.uint8) if extreme else rng.integers(0, 256, 64, dtype=np.uint8)
    i8 = np.full(64, -128, np.int8) if extreme else rng.integers(-128, 128, 64, dtype=np.int8)
    out, whole, stored = np.full(15, np.nan, np.float32), np.full(26, -1, np.int64), np.zeros((19, 16), np.float32)
    f32[5] = f32[11] = 9
    sums(f32, half.view(np.uint16), bf16, u8, u8 >> 1, i8, out, whole, stored)
    a, b, c = f32[:16].astype(float), f32[16:32].astype(float), f32[32:48].astype(float)
    upper = (bf16.astype(np.uint32) << 16).view(np.float32)
    terms = [a, np.concatenate([a * b, c]), np.concatenate([a, b]), np.zeros(1), half[:16].astype(float) * b]
    terms += [upper[:16] * b, u8[:16] * b, (u8[:16] & 15) * b, (u8[:16] >> 4) * b]
    terms += [np.maximum(a, b).max(keepdims=True), np.full(16, a[1]), np.full(16, a[1])]
    terms += [np.abs(a), np.minimum(np.abs(a), np.abs(b)), b.min(keepdims=True)]
    for i, part in enumerate(terms):
        yield f"float {i}", float(out[i]), float(part.sum()), 1e-6 * float(np.abs(part).sum())
    wide, signed = u8.astype(int), i8.astype(int)
    dot = int(wide @ signed)
    expected = [dot, 3 * dot, int((wide & 15) @ signed), int((wide >> 4) @ signed), int(np.bitwise_count(u8).sum())]
    expected += [12, int(np.where(a > b, np.arange(16), np.arange(100, 116)).sum()), int((wide >> 1) @ signed)]
    expected += [int((a >= b)[:count].sum()) for count in range(18)]
    yield "stored", stored[0], b, 0
    yield "stored in part", stored[1:], a * (np.arange(16) < np.arange(18)[:, None]), 0
    for i, value in enumerate(expected):
        yield f"integer {i}", int(whole[i]), value, 0


# -- layouts -----------------------------------------------------------------------------------------------------------


@kernel
def products(rows, query, spare, quick, fine, decoded):
    """Score every row for a query (d,) by all the functions that walks call."""
    d = len(query)
    values, codes = np.zeros(d + spare, np.float32), np.zeros(d + spare, np.int8)
    values[:d] = query
    ready = prepare(rows, values, codes)
    one = np.zeros(d + spare, np.float32)
    for slot in range(len(quick)):
        touch(rows, slot)
        quick[slot] = score(rows, ready, slot)
        fine[slot] = score_fine(rows, ready, slot)
        decode(rows, slot, one)
        decoded[slot] = one[:d]
        one[:d] = 0
        if np.any(one):
            decoded[slot] = np.nan


def layouts(d, seed):
    """Yield rows of every layout."""
    x = np.random.default_rng(seed).standard_normal((9, d)).astype(np.float32)
    x[0], x[1] = 0, 3
    yield Float32Rows(padded_copy(x))
    yield Float16Rows(padded_copy(x.astype(np.float16).view(np.uint16)))
    yield BFloat16Rows(padded_copy((x.view(np.uint32) >> 16).astype(np.uint16)))
    for codec in (Float8("e4m3"), Float8("e5m2", scaled=False), Binary()):
        yield codec.fine_rows(codec.fit_transform(x))
    for bits, residual_bits in LVQS:
        lvq = LVQ(bits, residual_bits).fit(x)
        yield lvq.fine_rows(lvq.transform(x))
    rng = np.random.default_rng(seed)
    constants = padded_copy(rng.standard_normal((9, 2)).astype(np.float32))
    for bits in (1, 2, 3, 5, 8):
        yield PlaneRows(padded_copy(pack_planes(rng.integers(2**bits, size=(9, d)).astype(np.uint8), bits)), constants)
    nibbles = pack_nibbles(rng.integers(16, size=(9, d)).astype(np.uint8))
    yield SignedNibbleRows(padded_copy(nibbles))
    yield Float4Rows(padded_copy(nibbles), padded_copy(constants[:, :1]))
    whole = np.pad(rng.integers(256, size=(9, d)).astype(np.uint8), ((0, 0), (0, -d % 16)))
    yield SignedByteRows(padded_copy(whole))
    if d in (7, 16, 100):
        codes = rng.integers(256, size=(9, d)).astype(np.uint8)
        yield TableRows(padded_copy(codes))
        yield TurnedRows(turned(codes))


def compare_layouts(d, seed):
    """Yield (name, seen, expected) of every layout for queries of d values: drawn, zero, tiny, and whole multiples."""
    for scale in (1.0, 0.0, 1e-30, None):
        for rows in layouts(d, seed):
            width = 256 * d if isinstance(rows, TableRows | TurnedRows) else d
            rng = np.random.default_rng(seed + 1)
            drawn = 0.013 * rng.integers(-7, 8, width) if scale is None else scale * rng.standard_normal(width)
            query = drawn.astype(np.float32)
            n = 9
            quick, fine = np.empty(n, np.float32), np.empty(n, np.float32)
            decoded = np.empty((n, width), np.float32)
            products(rows, query, QUERY_SPARE, quick, fine, decoded)
            values = values_of(rows, width)
            # Sums of codes cancel against their lowest value, so the error goes with the largest term.
            size = 1e-5 * float(np.abs(values).max() * np.abs(query).sum()) + 1e-37
            name = f"{type(rows).__name__} {d} {scale}"
            yield f"{name} decode", decoded, values[:n], 1e-5 * float(np.abs(values).max())
            yield f"{name} fine", fine, reference.score_fine(rows, query)[:n], size
            yield f"{name} score", quick, reference.score(rows, query)[:n], size


# -- lists -------------------------------------------------------------------------------------------------------------


@kernel
def offered(values, scores, slots, places):
    """Offer values to a list one by one, and write the place of each; returns its size."""
    size = 0
    for i in range(len(values)):
        size, places[i] = offer(scores, slots, size, values[i], np.int32(i))
    return size


def compare_lists(room, seed):
    """Yield (name, seen, expected, tolerance) of a list of so many entries, some of them equal, with room around it."""
    rng = np.random.default_rng(seed)
    for count in (room // 2 + 1, room, 4 * room + 1):
        values = rng.integers(0, 1 + count // 2, count).astype(np.float32)
        around, behind = np.full(room + 32, 7, np.float32), np.full(room + 32, 7, np.int32)
        places = np.full(count, -1)
        size = offered(values, around[16:-16], behind[16:-16], places)
        order = np.argsort(-values, kind="stable")[:room]
        name = f"list of {room}, {count} offered"
        edges = np.delete(around, slice(16, 16 + size)), np.delete(behind, slice(16, 16 + size))
        yield f"{name}: around", np.concatenate(edges), 7, 0
        yield f"{name}: scores", around[16 : 16 + size], values[order], 0
        yield f"{name}: slots", behind[16 : 16 + size], order, 0
        ahead = [min(room, int((values[:i] >= values[i]).sum())) for i in range(count)]
        yield f"{name}: places", places, ahead, 0


# -- codes beside links ------------------------------------------------------------------------------------------------


@kernel
def added_up(codes, bits, turned, steps, out):
    """Write what the codes of all links add up to for a query, and the step of the tables."""
    tables, sums = np.empty((bits // 4, 2, 16), np.uint8), np.empty(links.GROUP, np.uint16)
    step, lowest = links._tables_of(turned, bits, tables)
    steps[0] = step
    for slot in range(codes.shape[0]):
        for group in range(codes.shape[1]):
            links._add_up(codes, slot, 0, group, bits, tables, sums)
            for j in range(links.GROUP):
                out[slot, group, j] = step * sums[j] + lowest


def compare_links(bits, seed):
    """Yield (name, seen, expected, tolerance) of products with codes, and of a search through all rows."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((150, bits)).astype(np.float32)
    index = Vamana(metric="dot", degree=40, codec=LVQ(8), link_bits=bits).build(x)
    codes, turned = index._codes.links().codes, rng.standard_normal(bits).astype(np.float32)
    step, seen = np.empty(1, np.float32), np.empty((*codes.shape[:2], links.GROUP), np.float32)
    added_up(codes, bits, turned, step, seen)
    held = codes[:, :, 12 * links.GROUP :].reshape(*codes.shape[:2], -1, links.GROUP)
    signs = 2.0 * np.unpackbits(held, axis=2, bitorder="little") - 1
    yield f"links of {bits}", seen, np.einsum("sgbj,b->sgj", signs, turned), float(bits // 8 * step[0]) * 1.01
    for name, one, other in zip(
        ("ids", "scores"),
        index.search(x[:9], 150, effort=150),
        index.search(x[:9], 150, allowed=np.ones(150, np.bool_), strategy="scan"),
        strict=True,
    ):
        yield f"links of {bits}: {name}", one, other, 0


# -- sparse rows -------------------------------------------------------------------------------------------------------


def compare_sparse(n_terms, values):
    """Yield (name, seen, expected, tolerance) of scans, of sums of posting lists and of blocks read to the end."""
    rng = np.random.default_rng(n_terms)
    # More rows than a part of the sums holds, and one term in most of them.
    dense = random_array((20_000, 40), density=0.1, rng=rng, dtype=np.float32)
    often = csr_array(
        (rng.random(18_000), (rng.permutation(20_000)[:18_000], np.zeros(18_000, int))), shape=(20_000, 1)
    )
    rest = csr_array((20_000, n_terms - 41), dtype=np.float32)
    ends = random_array((20_000, n_terms), density=2 / n_terms, rng=rng, dtype=np.float32)
    x = (hstack([often, dense, rest]) + ends).tocsr().astype(np.float32)
    queries = x[:3]
    for index in (Inverted(values=values), Seismic(values=values, n_postings=10**6, max_fraction=100)):
        index.build(x)
        base = index._ready()
        stored = base.forward.decoded()
        asked = base.terms.renumbered(queries)
        exact = (asked @ stored.T).toarray()
        best = -np.sort(-exact, axis=1)[:, :5]
        options = {} if isinstance(index, Inverted) else {"heap_factor": 0, "query_cut": 1000}
        for name, found in (
            ("search", index.search(queries, 5, **options)),
            ("scan", index.search(queries, 5, effort=1000)),
        ):
            ids, scores = found
            yield f"{index} {values} {name}", scores, best, 2e-6
            yield f"{index} {values} {name} ids", np.take_along_axis(exact, ids, 1), scores, 2e-6


def main():
    """Print what differs, as JSON."""
    wrong, count = [], 0
    checks = [compare_operations(seed, extreme) for seed, extreme in ((0, False), (1, False), (2, True))]
    checks += [compare_sixteen_bits(seed) for seed in range(3)]
    checks += [compare_layouts(d, seed) for seed, d in enumerate(DIMS)]
    checks += [compare_lists(room, seed) for seed, room in enumerate((1, 2, 15, 16, 17, 64, 65, 200))]
    checks += [compare_links(bits, seed) for seed, bits in enumerate((16, 48, 1024, 2560))]
    checks += [compare_sparse(1000, "float16"), compare_sparse(70_000, "uint8")]
    for check in checks:
        for name, seen, expected, tolerance in check:
            count += 1
            error = np.abs(np.asarray(seen, float) - expected).max()
            if not error <= tolerance:
                wrong.append(f"{name}: off by {error:.3g}, {tolerance:.3g} allowed")
    json.dump({"level": LEVEL, "count": count, "wrong": wrong}, sys.stdout)


if __name__ == "__main__":
    main()
