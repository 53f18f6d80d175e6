"""The Hamming kernels: every pair within the radius, exactly once, whichever way they are found."""

from __future__ import annotations

import pickle

import numba
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videonovelty.matching import hamming, kernels

U8 = npt.NDArray[np.uint8]
SIZES = (8, 16, 32, 64)


def brute_force(known: U8, queries: U8, radius: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], U8]:
    differing = known.view(np.uint64)[None] ^ queries.view(np.uint64)[:, None]
    distance = np.bitwise_count(differing).sum(axis=2, dtype=np.int64)
    query_index, known_index = np.nonzero(distance <= radius)
    return query_index, known_index, distance[query_index, known_index].astype(np.uint8)


def flipped(codes: U8, flips: npt.NDArray[np.int64], rng: np.random.Generator) -> U8:
    """Return the codes with `flips[i]` bits of row i inverted."""
    n_bits = codes.shape[1] * 8
    order = rng.random((len(codes), n_bits)).argsort(axis=1)
    return codes ^ np.packbits(order < flips[:, None], axis=1)


def clustered(n: int, n_bytes: int, rng: np.random.Generator, *, centres: U8, most_flips: int) -> U8:
    codes = centres[rng.integers(0, len(centres), n)]
    return flipped(codes, rng.integers(0, most_flips + 1, n), rng)


def same(found: hamming.Pairs, expected: tuple[object, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def joined_by(way: str, known: U8, queries: U8, radius: int, tables: tuple[hamming.Table, ...]) -> hamming.Pairs:
    """Join by one of the two ways, however few the codes are."""
    hits = hamming.Hits(len(queries), None)
    rows, query_rows = hamming.checked(known, queries, radius)
    run = hamming._probe_join if way == "probe" else hamming._bucket_join
    run(hits, rows, query_rows, radius, tables, 1 << 30, distinct=False)
    return hits.pairs()


@settings(max_examples=60, deadline=None)
@given(
    n_bytes=st.sampled_from(SIZES),
    radius=st.integers(0, 31),
    n_known=st.integers(0, 150),
    n_queries=st.integers(0, 60),
    n_special=st.integers(0, 12),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_every_way_finds_exactly_the_pairs_of_brute_force(
    n_bytes: int, radius: int, n_known: int, n_queries: int, n_special: int, seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (4, n_bytes), dtype=np.uint8)
    known = clustered(n_known, n_bytes, rng, centres=centres, most_flips=20)
    queries = clustered(n_queries, n_bytes, rng, centres=centres, most_flips=20)
    for codes in (known, queries):
        codes[: n_special // 2] = 0
        codes[n_special // 2 : n_special] = 255
        codes[n_special : 2 * n_special] = centres[0]  # exact duplicates
    expected = brute_force(known, queries, radius)

    assert same(hamming.scan(known, queries, radius), expected)
    assert same(hamming.join(known, queries, radius), expected)
    assert same(hamming.scan(known, queries[:1], radius), brute_force(known, queries[:1], radius))
    choices = [c for c in hamming.exact_tables(n_bytes * 8, radius) if max(t.visits for t in c) <= 1000]
    if choices:
        tables = data.draw(st.sampled_from(choices))
        assert same(joined_by("bucket", known, queries, radius, tables), expected)
        assert same(joined_by("probe", known, queries, radius, tables), expected)


@pytest.mark.parametrize("n_bytes", SIZES)
@pytest.mark.parametrize("radius", [32, 40, 63, 64, 72, 100, 128, 180, 255])
def test_scan_and_join_are_exact_at_every_radius_a_byte_can_say(n_bytes: int, radius: int) -> None:
    rng = np.random.default_rng(radius)
    known = rng.integers(0, 256, (200, n_bytes), dtype=np.uint8)
    queries = flipped(known[:100], rng.integers(0, n_bytes * 8, 100), rng)
    known[3:6], queries[3:6] = 0, 255
    expected = brute_force(known, queries, radius)
    assert same(hamming.scan(known, queries, radius), expected)
    assert same(hamming.join(known, queries, radius), expected)


@pytest.mark.parametrize("n_bytes", SIZES)
def test_planted_near_duplicates_are_found_among_many_codes(n_bytes: int) -> None:
    rng = np.random.default_rng(5)
    known = rng.integers(0, 256, (70_000, n_bytes), dtype=np.uint8)
    chosen = rng.choice(len(known), 300, replace=False)
    radius = 4 if n_bytes == 8 else 31
    queries = rng.integers(0, 256, (3000, n_bytes), dtype=np.uint8)
    flips = rng.integers(0, radius + 1, 300)
    queries[:300] = flipped(known[chosen], flips, rng)

    # The smallest memory splits the known codes into blocks of 65,536.
    found = hamming.join(known, queries, radius, memory_bytes=1)

    planted = np.stack([np.arange(300), chosen, flips])
    among = np.stack(list(found))[:, np.isin(found.query_index, np.arange(300))]
    assert {tuple(column) for column in planted.T} <= {tuple(column) for column in among.T}
    assert same(hamming.scan(known, queries[:300], radius), tuple(x[found.query_index < 300] for x in found))


@pytest.mark.parametrize("way", ["probe", "bucket"])
@pytest.mark.parametrize(("n_bytes", "radius"), [(8, 7), (16, 20), (32, 31), (64, 31)])
def test_crowded_buckets_lose_no_pair_to_what_follows_the_substring(way: str, n_bytes: int, radius: int) -> None:
    rng = np.random.default_rng(8)
    centres = rng.integers(0, 256, (300, n_bytes), dtype=np.uint8)
    known = clustered(12_000, n_bytes, rng, centres=centres, most_flips=radius)
    queries = clustered(1500, n_bytes, rng, centres=centres, most_flips=radius)
    queries[:200] = known[:200] = 0  # a bucket of two hundred
    tables = min(hamming.exact_tables(n_bytes * 8, radius), key=lambda choice: sum(t.visits for t in choice))
    found = joined_by(way, known, queries, radius, tables)
    assert len(found.query_index) > 20_000
    assert same(found, tuple(hamming.scan(known, queries, radius)))


@pytest.mark.parametrize(("n_bits", "radius"), [(64, 7), (128, 31), (256, 15), (256, 31), (512, 31)])
def test_some_place_of_the_ring_looks_at_every_pair_within_the_radius(n_bits: int, radius: int) -> None:
    rng = np.random.default_rng(9)
    for tables in hamming.exact_tables(n_bits, radius)[::7]:
        ring = hamming._Ring.of(n_bits, tables)
        width, followers = ring.width, ring.followers
        assert (ring.places[:, 2] + 1).sum() == radius + 1, "one more than the radius is allowed in all"
        # as many differing bits as there may be, crowded into as few substrings as chance will have it
        counts = rng.multinomial(radius, rng.dirichlet(np.full(len(ring.places), 0.3)), 2000)
        counts = counts[(counts <= width).all(axis=1)]
        with_next = sum(np.roll(counts, -step, axis=1) for step in range(followers + 1))
        assert ((counts <= ring.places[:, 2]) & (with_next <= ring.places[:, 3])).any(axis=1).all()


@pytest.mark.parametrize("way", [hamming.scan, hamming.join])
def test_query_with_more_hits_than_the_cap_is_reported_and_gives_none(way: object) -> None:
    rng = np.random.default_rng(1)
    known = rng.integers(0, 256, (4000, 32), dtype=np.uint8)
    queries = rng.integers(0, 256, (3000, 32), dtype=np.uint8)
    known[:50] = 0
    known[50:60] = queries[1]
    queries[0] = 0

    pairs = way(known, queries, 31, max_hits_per_query=10)  # type: ignore[operator]
    assert np.flatnonzero(pairs.overflowed).tolist() == [0]
    query_index, known_index, distance = pairs
    assert query_index.tolist() == [1] * 10
    assert known_index.tolist() == list(range(50, 60))
    assert distance.tolist() == [0] * 10

    pairs = way(known, queries, 31, max_hits_per_query=9)  # type: ignore[operator]
    assert np.flatnonzero(pairs.overflowed).tolist() == [0, 1]
    assert len(pairs.query_index) == 0


def test_splitting_the_known_codes_changes_no_result() -> None:
    rng = np.random.default_rng(2)
    centres = rng.integers(0, 256, (50, 32), dtype=np.uint8)
    known = clustered(3000, 32, rng, centres=centres, most_flips=16)
    queries = clustered(1500, 32, rng, centres=centres, most_flips=16)
    whole = hamming.join(known, queries, 31)
    parts = []
    for start, stop in ((0, 10), (10, 1700), (1700, 3000)):
        q, k, d = hamming.join(known[start:stop], queries, 31)
        parts.append(np.stack([q, k + start, d]))
    together = np.concatenate(parts, axis=1)
    together = together[:, np.lexsort((together[1], together[0]))]
    assert same(whole, tuple(together))


@settings(max_examples=20, deadline=None)
@given(n_bytes=st.sampled_from(SIZES), radius=st.integers(0, 31), n=st.integers(0, 120), seed=st.integers(0, 2**32 - 1))
def test_self_join_gives_each_unordered_pair_once(n_bytes: int, radius: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = clustered(n, n_bytes, rng, centres=rng.integers(0, 256, (5, n_bytes), dtype=np.uint8), most_flips=18)
    i, j, distance = brute_force(codes, codes, radius)
    keep = i < j
    assert same(hamming.self_join(codes, radius), (i[keep], j[keep], distance[keep]))


def test_self_join_drops_every_pair_of_a_code_over_the_cap() -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 256, (40, 32), dtype=np.uint8)
    codes[5:15] = 0  # ten alike: nine neighbours each
    codes[20] = codes[21]
    pairs = hamming.self_join(codes, 10, max_hits_per_query=8)
    assert pairs.overflowed.nonzero()[0].tolist() == list(range(5, 15))
    assert (pairs.query_index.tolist(), pairs.known_index.tolist()) == ([20], [21])
    assert len(hamming.self_join(codes, 10, max_hits_per_query=9).query_index) == 46


@pytest.mark.parametrize("n_words", [1, 2, 4, 8])
def test_permutation_of_the_bits_keeps_every_bit_and_every_distance(n_words: int) -> None:
    n_bits = n_words * 64
    one_bit = np.packbits(np.eye(n_bits, dtype=np.uint8), axis=1, bitorder="little").view(np.uint64)
    permuted = hamming.permuted(one_bit, hamming.butterfly_masks(n_words, 0))
    places = np.unpackbits(np.ascontiguousarray(permuted.T).view(np.uint8), axis=1, bitorder="little")
    assert (places.sum(axis=0) == 1).all()
    assert (places.sum(axis=1) == 1).all()
    assert (places.argmax(axis=1) != np.arange(n_bits)).mean() > 0.9


def test_read_only_and_memory_mapped_codes_are_taken_as_they_come(tmp_path: object) -> None:
    rng = np.random.default_rng(7)
    codes = rng.integers(0, 256, (300, 32), dtype=np.uint8)
    path = f"{tmp_path}/codes.npy"
    np.save(path, codes)
    mapped = np.load(path, mmap_mode="r")
    unaligned = np.frombuffer(b"x" + codes.tobytes(), np.uint8, offset=1).reshape(-1, 32)
    expected = brute_force(codes, codes[:5], 31)
    for known in (mapped, unaligned, codes.astype(np.uint8, order="F"), np.repeat(codes, 2, axis=0)[::2]):
        assert same(hamming.scan(known, codes[:5], 31), expected)
        assert same(hamming.join(known, codes[:5], 31), expected)


def test_pairs_unpack_as_three_and_survive_pickling() -> None:
    codes = np.zeros((2, 8), np.uint8)
    pairs = hamming.scan(codes, codes, 0)
    query_index, known_index, distance = pairs
    assert (query_index.dtype, known_index.dtype, distance.dtype) == (np.int64, np.int64, np.uint8)
    again = pickle.loads(pickle.dumps(pairs))
    assert same(again, pairs)
    assert again.overflowed.tolist() == [False, False]


@pytest.mark.parametrize(
    ("known", "queries", "radius", "message"),
    [
        (np.zeros((1, 31), np.uint8), np.zeros((1, 31), np.uint8), 1, "shape"),
        (np.zeros((1, 32), np.int8), np.zeros((1, 32), np.uint8), 1, "uint8"),
        (np.zeros(32, np.uint8), np.zeros((1, 32), np.uint8), 1, "shape"),
        (np.zeros((1, 32), np.uint8), np.zeros((1, 8), np.uint8), 1, "cannot be compared"),
        (np.zeros((1, 32), np.uint8), np.zeros((1, 32), np.uint8), 256, "radius"),
        (np.zeros((1, 32), np.uint8), np.zeros((1, 32), np.uint8), -1, "radius"),
    ],
)
def test_wrong_codes_and_radii_are_refused(known: U8, queries: U8, radius: int, message: str) -> None:
    for way in (hamming.scan, hamming.join):
        with pytest.raises(ValueError, match=message):
            way(known, queries, radius)
    with pytest.raises(ValueError, match="max_hits"):
        hamming.scan(np.zeros((1, 8), np.uint8), np.zeros((1, 8), np.uint8), 3, max_hits_per_query=0)


def test_warm_up_is_done_once() -> None:
    hamming.warm_up()
    notes: list[str] = []
    assert hamming.warm_up(notes.append) == 0.0
    assert notes == []


def test_kernels_compile_where_no_cache_folder_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = numba.njit

    def no_cache(**options: bool) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return compile_(**options)

    monkeypatch.setattr(numba, "njit", no_cache)
    assert kernels.jit(lambda x: x + 1)(2) == 3
