"""Candidates of a batch: the same ones, however little room there is for the pairs a join finds."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videonovelty.known.shards import LocalCodes, ShardCodes, VideoIds
from videonovelty.matching import hamming
from videonovelty.matching.candidates import QueryCodes, match_shard
from videonovelty.matching.descriptor_join import join_descriptors
from videonovelty.matching.local_candidates import LocalQueryCodes, match_local_shard
from videonovelty.settings import MatchingSettings

SETTINGS = MatchingSettings()


def ids(n: int) -> VideoIds:
    raw = np.zeros((n, 32), np.uint8)
    raw[:, 30:] = np.arange(n, dtype=">u2").view(np.uint8).reshape(-1, 2)
    return VideoIds(raw)


def frames_of(codes: np.ndarray, n_videos: int) -> ShardCodes:
    """Return the codes (n, 32) as the keyframes of videos, as many each, one second apart."""
    each = len(codes) // n_videos
    return ShardCodes(
        ids(n_videos), np.repeat(np.arange(n_videos, dtype=np.int32), each), np.tile(np.arange(each) * 1.0, n_videos),
        codes, codes, np.zeros(len(codes), np.bool_), np.full(len(codes), 90, np.uint8),
        np.ones(len(codes), np.bool_),
    )  # fmt: skip


def descriptors_of(codes: np.ndarray, n_videos: int, n_keyframes: int) -> LocalCodes:
    """Return the codes (n, 8) as descriptors of keyframes of videos, as many each."""
    video, keyframe = np.divmod(np.arange(len(codes)) * n_videos * n_keyframes // len(codes), n_keyframes)
    return LocalCodes(ids(n_videos), video.astype(np.int32), keyframe * 1.0, codes)


def few(rng: np.random.Generator, n: int, n_bytes: int, n_different: int) -> np.ndarray:
    """Return n codes, drawn from few: every one meets many."""
    return rng.integers(0, 256, (n_different, n_bytes), dtype=np.uint8)[rng.integers(0, n_different, n)]


def same_hits(found: object, wanted: object) -> bool:
    return all(
        np.array_equal(getattr(found, name), getattr(wanted, name))
        for name in type(wanted).__dataclass_fields__  # type: ignore[attr-defined]
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 8))
def test_little_room_changes_no_candidate(seed: int, max_pairs: int, n_different: int) -> None:
    rng = np.random.default_rng(seed)
    shard = frames_of(few(rng, 60, 32, n_different), 12)
    asked = QueryCodes(
        few(rng, 40, 32, n_different), np.repeat(np.arange(4), 10), np.tile(np.repeat(np.arange(5), 2), 4),
        np.tile(np.arange(2, dtype=np.uint8), 20),
    )  # fmt: skip
    local = descriptors_of(few(rng, 240, 8, n_different), 12, 4)
    sought = LocalQueryCodes(
        few(rng, 120, 8, n_different), np.repeat(np.arange(3), 40), np.tile(np.repeat(np.arange(4), 10), 3),
        np.tile(np.repeat([False, True], 5), 12),
    )  # fmt: skip
    tight = SETTINGS.model_copy(update={"max_hits_per_keyframe": 25})
    for chosen in (SETTINGS, tight):
        wanted, local_wanted = match_shard(shard, asked, chosen), match_local_shard(local, sought, chosen)
        room = max_pairs * hamming.PAIR_BYTES
        assert same_hits(match_shard(shard, asked, chosen, memory_bytes=room), wanted)
        assert same_hits(match_local_shard(local, sought, chosen, memory_bytes=room), local_wanted)


def marked(n: int) -> tuple[Callable[[int], object], Callable[[int], object]]:
    """Return a look-up by frames and one by descriptors in which all of n codes meet a thousand known videos."""
    one = np.random.default_rng(1).integers(0, 256, (1, 32), dtype=np.uint8)
    shard = frames_of(np.repeat(one, 1000, axis=0), 1000)
    asked = QueryCodes(np.repeat(one, n, axis=0), np.arange(n) // 8, np.zeros(n, np.int64), np.zeros(n, np.uint8))
    local = descriptors_of(np.repeat(one[:, :8], 1000, axis=0), 1000, 1)
    sought = LocalQueryCodes(
        np.repeat(one[:, :8], n, axis=0), np.arange(n) // 100, np.zeros(n, np.int64), np.zeros(n, np.bool_)
    )
    return (
        lambda room: match_shard(shard, asked, SETTINGS, memory_bytes=room),
        lambda room: match_local_shard(local, sought, SETTINGS, memory_bytes=room),
    )


@pytest.mark.parametrize("way", [0, 1], ids=["frames", "descriptors"])
def test_a_mark_that_all_known_videos_bear_costs_no_more_memory_than_there_is(way: int) -> None:
    """Four million pairs in room for 320,000."""
    look_up = marked(4000)[way]
    hamming.warm_up()
    tracemalloc.start()
    try:
        look_up(32 << 20)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        look_up(4 << 30)
        _, unlimited = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert unlimited > 200 << 20, "the case is one that needs the limit"
    returned = 4000 // 8 * 1000 * 26 * 2  # what match_shard returns, and its parts before they are put together
    assert peak < (32 << 20) + returned * (way == 0)


def test_more_pairs_than_there_is_room_for_are_an_error_of_every_join() -> None:
    codes = few(np.random.default_rng(3), 200, 8, 1)
    for way in (hamming.join, join_descriptors):
        assert len(way(codes, codes, 3, max_pairs=40_001).query_index) == 40_000
        with pytest.raises(hamming.TooManyPairsError):
            way(codes, codes, 3, max_pairs=40_000)
        with pytest.raises(ValueError, match="max_pairs must be at least 1"):
            way(codes, codes, 3, max_pairs=0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 40), st.none() | st.integers(1, 50))
def test_parts_tile_the_queries_in_whole_groups(sizes: list[int], most: int, first: int | None) -> None:
    starts = np.cumsum([0, *sizes[:-1]])
    n = sum(sizes)

    def find(low: int, high: int, max_pairs: int | None) -> tuple[int, int]:
        if max_pairs is not None and high - low >= max_pairs:
            raise hamming.TooManyPairsError
        return low, high

    parts = list(hamming.in_parts(find, starts, n, max_pairs=most, first=first))
    assert parts[0][0] == 0
    assert parts[-1][1] == n
    assert all(before[1] == after[0] for before, after in pairwise(parts))
    edges = {*starts.tolist(), n}
    assert all({low, high} <= edges for low, high in parts)
    assert all(high - low < most or not any(low < edge < high for edge in edges) for low, high in parts)
