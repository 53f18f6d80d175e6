"""The join of local descriptors: which pairs it meets, whatever else is looked up with them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hamming import brute_force, flipped, same

from videonovelty.matching import hamming
from videonovelty.matching.descriptor_join import ALLOWED, TURNS, WIDTH, join_descriptors, recall_at

U8 = npt.NDArray[np.uint8]


def met(known: U8, queries: U8, radius: int) -> list[tuple[int, int, int]]:
    """Return (query, known, bits) of the pairs that meet in a substring, of all pairs within the radius."""
    masks = hamming.butterfly_masks(1, 0)
    one, other = (hamming.permuted(codes.view(np.uint64), masks)[0].tolist() for codes in (queries, known))

    def differing(q: int, k: int, turn: int) -> int:
        ring = (one[q] ^ other[k]) * (1 << 64 | 1)  # twice around
        return (ring >> turn & (1 << WIDTH) - 1).bit_count()

    found = zip(*(part.tolist() for part in brute_force(known, queries, radius)), strict=True)
    return [(q, k, bits) for q, k, bits in found if any(differing(q, k, turn) <= ALLOWED for turn in TURNS)]


def rows(pairs: hamming.Pairs) -> list[tuple[int, int, int]]:
    return list(zip(*(part.tolist() for part in pairs), strict=True))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 14), st.integers(1, 300), st.integers(0, 300))
def test_pairs_that_meet_in_a_substring_are_found_once_and_no_others(
    seed: int, radius: int, n_known: int, n_queries: int
) -> None:
    """In crowds of codes as in lone ones: buckets of none, one and dozens."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (5, 8), dtype=np.uint8)
    known = flipped(centres[rng.integers(0, 5, n_known)], rng.integers(0, 12, n_known), rng)
    queries = flipped(centres[rng.integers(0, 5, n_queries)], rng.integers(0, 12, n_queries), rng)
    assert rows(join_descriptors(known, queries, radius)) == met(known, queries, radius)


def test_a_pair_is_met_whatever_is_looked_up_beside_it() -> None:
    """A video has the same candidates by itself, in a night, in blocks of a small memory and in shards put together."""
    rng = np.random.default_rng(1)
    known = rng.integers(0, 256, (150_000, 8), dtype=np.uint8)
    queries = flipped(known[rng.integers(0, len(known), 70_000)], rng.integers(0, 10, 70_000), rng)
    whole = join_descriptors(known, queries, 7)
    assert same(join_descriptors(known, queries, 7, memory_bytes=1), whole)  # blocks of 65,536
    few = join_descriptors(known, queries[500:600], 7)
    mine = (whole.query_index >= 500) & (whole.query_index < 600)
    assert same(few, (whole.query_index[mine] - 500, whole.known_index[mine], whole.distance[mine]))
    part = join_descriptors(known[70_000:], queries, 7)
    mine = whole.known_index >= 70_000
    assert same(part, (whole.query_index[mine], whole.known_index[mine] - 70_000, whole.distance[mine]))


def test_the_stated_share_of_pairs_is_met() -> None:
    rng = np.random.default_rng(4)
    known = rng.integers(0, 256, (40_000, 8), dtype=np.uint8)
    for distance in range(9):
        queries = flipped(known[:4000], np.full(4000, distance), rng)
        pairs = join_descriptors(known, queries, distance)
        hit = np.isin(np.arange(4000), pairs.query_index[pairs.query_index == pairs.known_index]).mean()
        expected = recall_at(distance)
        assert abs(hit - expected) <= 4 * np.sqrt(expected * (1 - expected) / 4000) + 1e-9, distance
    assert recall_at(3) == 1.0
    assert recall_at(7) > 0.93


def test_a_descriptor_with_too_many_pairs_gives_none() -> None:
    codes = np.zeros((30, 8), np.uint8)
    codes[20:] = 255
    pairs = join_descriptors(codes, codes, 0, max_hits_per_query=15)
    assert pairs.overflowed.tolist() == [True] * 20 + [False] * 10
    assert set(pairs.query_index.tolist()) == set(range(20, 30))


@pytest.mark.parametrize("n_bytes", [16, 32])
def test_codes_of_another_size_are_refused(n_bytes: int) -> None:
    codes = np.zeros((1, n_bytes), np.uint8)
    with pytest.raises(ValueError, match="8 bytes"):
        join_descriptors(codes, codes, 3)
