"""Every pair of binary codes within a Hamming radius, exactly, without an index.

`scan` compares all with all; `join` sorts both sides by substrings of the code and compares bucket with neighbouring
buckets (multi-index hashing, Norouzi, Punjani and Fleet 2012, as a batch join): two codes at distance <= r agree up to
r // m bits in at least one of m disjoint substrings, so no pair is missed. Both return the same pairs in the same
order. What shares a bucket is asked about the substrings that follow before whole codes are compared (`ring_kernels`).
`descriptor_join` misses some of the pairs of 64-bit codes for less, for finding candidates only.

Codes are uint8 arrays of shape (n, 8), (n, 16), (n, 32) or (n, 64), C-order, read-only or memory-mapped as they come.
Distances are bits. The kernels are compiled by numba at their first use (`warm_up` does it ahead) and kept on disk.
They hold no lock and run on one thread: parallel work is several shards at once.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb, sqrt
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from videonovelty.matching import kernels, ring_kernels, word_kernels

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

T = TypeVar("T")

log = logging.getLogger(__name__)

CODE_BYTES = (8, 16, 32, 64)
MAX_RADIUS = 255
DEFAULT_MEMORY_BYTES = 2 << 30
PAIR_BYTES = 100
"""What a pair takes while those that look candidates up sort, share out and count the pairs of a part (`in_parts`)."""


class TooManyPairsError(Exception):
    """More pairs lie within the radius than the caller has room for; fewer queries at a time have fewer."""


class _Triple(NamedTuple):
    query_index: I64
    known_index: I64
    distance: U8


class Pairs(_Triple):
    """Pairs within the radius, sorted by query, then known; unpacks as `query_index, known_index, distance`.

    `query_index`, `known_index`: int64, shape (k,); `distance`: uint8, bits. `overflowed`: bool, shape (n_queries,):
    the queries with more pairs than `max_hits_per_query`, none of whose pairs are among the `k`.
    """

    overflowed: npt.NDArray[np.bool_]

    def __new__(
        cls, query_index: I64, known_index: I64, distance: U8, overflowed: npt.NDArray[np.bool_] | None = None
    ) -> Pairs:
        """Make the pairs; `overflowed` is empty unless given."""
        made = super().__new__(cls, query_index, known_index, distance)
        made.overflowed = np.zeros(0, np.bool_) if overflowed is None else overflowed
        return made


def scan(known: U8, queries: U8, radius: int, *, max_hits_per_query: int | None = None) -> Pairs:
    """Return every pair at distance <= `radius` by comparing all queries with all known codes.

    `known` (n, b) and `queries` (q, b) are uint8 codes of one size; `radius` is 0 … 255. A query with more than
    `max_hits_per_query` pairs gives none and is marked in `Pairs.overflowed`. Memory: 9 bytes a pair while searching.
    Raises ValueError for codes of another shape or type, or a radius out of range.
    """
    rows, query_rows = checked(known, queries, radius)
    hits = Hits(len(query_rows), max_hits_per_query)
    _scan_into(hits, rows, query_rows, radius, distinct=False)
    return hits.pairs()


def join(
    known: U8,
    queries: U8,
    radius: int,
    *,
    max_hits_per_query: int | None = None,
    max_pairs: int | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Pairs:
    """Return what `scan` returns, exactly, by the bucket join where that is cheaper (from about a thousand queries).

    Arguments and errors are those of `scan`. Known codes are taken in blocks, so that the sorted copies take at most
    about `memory_bytes` (roughly 100 bytes a known row of 256 bits) beside the inputs and the pairs. Raises
    TooManyPairsError as soon as there are `max_pairs` (see `in_parts`).
    """
    rows, query_rows = checked(known, queries, radius)
    hits = Hits(len(query_rows), max_hits_per_query, max_pairs)
    _join_into(hits, rows, query_rows, radius, memory_bytes=memory_bytes, distinct=False)
    return hits.pairs()


def self_join(
    codes: U8,
    radius: int,
    *,
    max_hits_per_query: int | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Pairs:
    """Return every pair i < j of `codes` at distance <= `radius`: i in `query_index`, j in `known_index`.

    A code with more than `max_hits_per_query` neighbours (before or after it, itself not counted) is marked in
    `Pairs.overflowed`, and no pair it takes part in is returned. Errors are those of `scan`.
    """
    rows, query_rows = checked(codes, codes, radius)
    hits = Hits(len(query_rows), max_hits_per_query)
    _join_into(hits, rows, query_rows, radius, memory_bytes=memory_bytes, distinct=True)
    found = hits.pairs()
    keep = found.query_index < found.known_index
    if found.overflowed.any():
        keep &= ~found.overflowed[found.known_index]
    return Pairs(found.query_index[keep], found.known_index[keep], found.distance[keep], found.overflowed)


def in_parts(
    find: Callable[[int, int, int | None], T], starts: I64, n: int, *, max_pairs: int, first: int | None = None
) -> Iterator[T]:
    """Yield `find(low, high, max_pairs)` for parts of the queries [0, n), in their order, each of whole groups.

    A group begins at each of `starts` (ascending, the first 0). `first` is how many queries a part may have (None: all
    of them); one that raises TooManyPairsError is halved, so the pairs held at a time stay below `max_pairs`. A single
    group is found without that limit: what it may come to is bounded by its size and `max_hits_per_query`.
    """
    bounds = np.append(starts, n)
    cuts = np.unique(np.append(np.searchsorted(starts, np.arange(0, n, first or max(n, 1))), len(starts)))
    todo = [(int(low), int(high)) for low, high in pairwise(cuts)][::-1]
    while todo:
        low, high = todo.pop()
        single = high - low == 1
        try:
            yield find(int(bounds[low]), int(bounds[high]), None if single else max_pairs)
        except TooManyPairsError:
            middle = (low + high) // 2
            todo += [(middle, high), (low, middle)]


def warm_up(note: Callable[[str], None] | None = None) -> float:
    """Compile the kernels, or load them from the disk cache, and return the seconds it took (0.0 when done before).

    `note` receives a line of text when compiling begins. Compiling takes some twenty CPU seconds, loading under one.
    """
    if _state.ready:
        return 0.0
    started = time.perf_counter()
    if note is not None:
        note("preparing the matching kernels (up to half a minute the first time)")
    for kernel, signature in (*kernels.SIGNATURES, *ring_kernels.SIGNATURES, *word_kernels.SIGNATURES):
        kernel.compile(signature)
        kernel.disable_compile()
    _state.ready = True
    seconds = time.perf_counter() - started
    log.debug("matching kernels ready after %.1f s", seconds)
    return seconds


# ---- plans: which substrings, which buckets ----


@dataclass(frozen=True, slots=True)
class Table:
    """One substring: `width` bits from bit `shift` of word `word`; buckets within `radius` bits are visited."""

    word: int
    shift: int
    width: int
    radius: int

    @property
    def visits(self) -> int:
        """Buckets visited for each query bucket."""
        return sum(comb(self.width, flips) for flips in range(self.radius + 1))


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a join runs: over these tables, bucket against bucket, or each known code against a table of queries."""

    tables: tuple[Table, ...]
    probe: bool
    cost: float
    """Estimated nanoseconds."""


# Nanoseconds on one core with AVX-512; only the choice of method depends on them, never the result.
_SCAN_PAIR = 0.2
_PREPARE_ROW = 25.0
_SORT_ROW = 18.0
_VISIT = 40.0
_QUERY_VISIT = 4.0
_NEAR_PAIR = 0.08
_PROBE_ROW = 4.0
_PROBE_PAIR = 1.7
_SPREAD_QUERY = 18.0
_CHECK = 40.0
"""Of two whole codes that the bits which follow did not tell apart: mostly waiting for memory."""
_MAX_SPREAD = 1 << 22
_SUBSTRING_BITS = 16


def exact_tables(n_bits: int, radius: int) -> list[tuple[Table, ...]]:
    """Return the choices of substrings that miss no pair within `radius`; empty where there are none worth trying.

    Generalised pigeonhole: r = f·m + a differing bits over m substrings leave one of the first a + 1 with at most f,
    or one of the others with at most f − 1. Example: 256 bits, radius 31: sixteen 16-bit substrings, each to 1 bit.
    """
    choices = []
    for width in range(8, _SUBSTRING_BITS + 1):
        places = _places(n_bits, width)
        for count in range(1, len(places) + 1):
            floor, rest = divmod(radius, count)
            if floor <= 4:  # beyond, more neighbours than it is worth
                choices.append(
                    tuple(
                        Table(word, shift, width, floor if place <= rest else floor - 1)
                        for place, (word, shift) in enumerate(places[:count])
                        if place <= rest or floor > 0
                    )
                )
    return choices


def _places(n_bits: int, width: int) -> list[tuple[int, int]]:
    """Return (word, shift) of the disjoint substrings of a width, none across two words."""
    return [(word, shift) for word in range(n_bits // 64) for shift in range(0, 64 - width + 1, width)]


def _exact_plan(n_bits: int, radius: int, n_known: int, n_queries: int) -> _Plan | None:
    """Return the cheapest exact join, or None where `scan` is cheaper."""
    plans = [_costed(n_bits, tables, n_known, n_queries) for tables in exact_tables(n_bits, radius)]
    best = min(plans, key=lambda plan: plan.cost, default=None)
    return None if best is None or best.cost >= _scan_cost(n_known, n_queries) else best


def _scan_cost(n_known: int, n_queries: int) -> float:
    return _SCAN_PAIR * n_known * n_queries


def _costed(n_bits: int, tables: tuple[Table, ...], n_known: int, n_queries: int) -> _Plan:
    """Return the cheaper way to run an exact join over these tables."""
    rows = n_known + n_queries
    bucket = probe = 0.0
    ring = _Ring.of(n_bits, tables)
    buckets, near_bits = 2**ring.width, ring.followers * ring.width
    occupied = buckets * (1.0 - (1.0 - 1.0 / buckets) ** n_queries)
    for place, table in zip(ring.places[ring.places[:, 2] >= 0], tables, strict=True):
        met = n_known * n_queries * table.visits / buckets
        passing = _chance_within(near_bits, int(place[3] - place[2]))
        bucket += _SORT_ROW * rows + (_VISIT * occupied + _QUERY_VISIT * n_queries) * table.visits + 2.0 * buckets
        bucket += (_NEAR_PAIR + _CHECK * passing) * met
        passing = _chance_within(near_bits, int(place[3]))
        probe += _PROBE_ROW * n_known + _SPREAD_QUERY * n_queries * table.visits + 2.0 * buckets
        probe += (_PROBE_PAIR + _CHECK * passing) * met
    can_probe = n_queries * max(table.visits for table in tables) <= _MAX_SPREAD
    return _Plan(
        tables, can_probe and probe < bucket, _PREPARE_ROW * rows + (min(probe, bucket) if can_probe else bucket)
    )


@functools.cache
def _chance_within(n_bits: int, most: int) -> float:
    """Chance that two unrelated strings of so many bits differ in at most `most`."""
    ways: int = sum(comb(n_bits, differing) for differing in range(max(most, -1) + 1))
    return float(ways) / 2.0**n_bits


def _filter_mode(n_words: int, radius: int) -> int:
    """Choose the cheapest lower bound of the distance that unrelated codes seldom pass.

    The bits set in (a ^ b) | (c ^ d) are at most those of a ^ b plus those of c ^ d: one count instead of two. Of 64
    such bits 48 ± 3.5 are set for unrelated codes, so at radius 31 one in two million passes.
    """
    if n_words == 1:
        return kernels.ONE
    steps = [(kernels.OR2, 48.0, sqrt(12.0)), (kernels.SUM2, 64.0, sqrt(32.0))]
    if n_words >= 4:
        steps += [(kernels.OR4, 96.0, sqrt(24.0)), (kernels.SUM4, 128.0, 8.0)]
    for mode, mean, deviation in steps:
        if radius < mean - 3.5 * deviation:
            return mode
    return {2: kernels.SUM2, 4: kernels.SUM4, 8: kernels.SUM8}[n_words]


# ---- drivers ----


class Hits:
    """What the kernels found so far: packed (query << 32 | known) and distance, and how many a query has."""

    def __init__(self, n_queries: int, cap: int | None, most: int | None = None) -> None:
        for name, limit in (("max_hits_per_query", cap), ("max_pairs", most)):
            if limit is not None and limit < 1:
                raise ValueError(f"{name} must be at least 1, got {limit}")
        self.cap = np.iinfo(np.int64).max - 1 if cap is None else cap
        self.most = np.iinfo(np.int64).max if most is None else most
        self.counts = np.zeros(n_queries, np.int64)
        self.keys = np.empty(4096, np.uint64)
        self.distances = np.empty(4096, np.uint8)
        self.n = 0

    def take(self, found: tuple[U64, U8, int]) -> None:
        """Take over what a kernel was given and has added to. Raises TooManyPairsError when there is no more room."""
        self.keys, self.distances, self.n = found
        if self.n >= self.most:
            raise TooManyPairsError(f"{self.most} pairs and more within the radius")

    def pairs(self) -> Pairs:
        keys, distances = self.keys[: self.n], self.distances[: self.n]
        overflowed = self.counts > self.cap
        if overflowed.any():
            keep = ~overflowed[(keys >> np.uint64(32)).astype(np.int64)]
            keys, distances = keys[keep], distances[keep]
        order = np.argsort(keys)
        keys = keys[order]
        query_index = (keys >> np.uint64(32)).astype(np.int64)
        known_index = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return Pairs(query_index, known_index, distances[order], overflowed)


def checked(known: U8, queries: U8, radius: int) -> tuple[U64, U64]:
    """Return both sides as (n, words) uint64 views (copies only where they are not contiguous)."""
    sides = []
    for name, codes in (("known", known), ("queries", queries)):
        if codes.ndim != 2 or codes.dtype != np.uint8 or codes.shape[1] not in CODE_BYTES:
            raise ValueError(f"{name} must be uint8 of shape (n, 8 | 16 | 32 | 64), got {codes.dtype} {codes.shape}")
        if len(codes) >= 2**32:
            raise ValueError(f"{name} holds {len(codes)} codes; split it below 2**32")
        sides.append(np.ascontiguousarray(codes).view(np.uint64))
    if known.shape[1] != queries.shape[1]:
        raise ValueError(f"codes of {known.shape[1]} and {queries.shape[1]} bytes cannot be compared")
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius must be 0 … {MAX_RADIUS}, got {radius}")
    return sides[0], sides[1]


def _scan_into(hits: Hits, rows: U64, query_rows: U64, radius: int, *, distinct: bool) -> None:
    warm_up()
    if len(rows) == 0 or len(query_rows) == 0:
        return
    mode = _filter_mode(rows.shape[1], radius)
    kernel = kernels.scan_rows if len(query_rows) <= 2 else kernels.scan_blocks
    hits.take(
        kernel(
            rows, query_rows, radius, mode, distinct,
            hits.cap, hits.most, hits.counts, hits.keys, hits.distances, hits.n,
        )
    )  # fmt: skip


def _join_into(hits: Hits, rows: U64, query_rows: U64, radius: int, *, memory_bytes: int, distinct: bool) -> None:
    plan = _exact_plan(rows.shape[1] * 64, radius, len(rows), len(query_rows))
    if plan is None:
        _scan_into(hits, rows, query_rows, radius, distinct=distinct)
    else:
        way = _probe_join if plan.probe else _bucket_join
        way(hits, rows, query_rows, radius, plan.tables, memory_bytes, distinct=distinct)


def _probe_join(
    hits: Hits,
    rows: U64,
    query_rows: U64,
    radius: int,
    tables: tuple[Table, ...],
    memory_bytes: int,
    *,
    distinct: bool,
) -> None:
    """Join few queries: each stands in every bucket within reach, so that a known code looks into one bucket only."""
    warm_up()
    n_words = rows.shape[1]
    block = max(1 << 16, memory_bytes // (8 * n_words))
    ring = _Ring.of(n_words * 64, tables)
    masks = butterfly_masks(n_words, 0)
    query_words = permuted(query_rows, masks)
    entries = len(query_rows) * max(table.visits for table in tables)
    ids, near = np.empty(entries, np.uint32), np.empty(entries + ring_kernels.PADDING, np.uint32)
    offsets = np.empty(2**ring.width + 1, np.uint32)
    for start in range(0, len(rows), block):
        words = permuted(rows[start : start + block], masks)
        for number, reach in ring.looked_at():
            ring_kernels.spread(query_words, *ring.at(number), reach, offsets, ids, near)
            hits.take(ring_kernels.probe(
                words, offsets, ids, near, query_words, *ring.at(number), radius, distinct, start,
                hits.cap, hits.most, hits.counts, hits.keys, hits.distances, hits.n,
            ))  # fmt: skip


def _bucket_join(
    hits: Hits,
    rows: U64,
    query_rows: U64,
    radius: int,
    tables: tuple[Table, ...],
    memory_bytes: int,
    *,
    distinct: bool,
) -> None:
    """Join block by block of known rows and of queries, place by place."""
    warm_up()
    n_words = rows.shape[1]
    row_bytes = 8 * n_words + 16  # permuted words; record of the sort, row number and what follows
    block = min(ring_kernels.MAX_ROWS, max(1 << 16, memory_bytes // (2 * row_bytes)))
    ring = _Ring.of(n_words * 64, tables)
    masks = butterfly_masks(n_words, 0)
    for query_start in range(0, len(query_rows), block):
        query_part = query_rows[query_start : query_start + block]
        query_words = permuted(query_part, masks)
        query_side = _RingSide(len(query_part), ring.width)
        for start in range(0, len(rows), block):
            part = rows[start : start + block]
            words = permuted(part, masks)
            side = _RingSide(len(part), ring.width)
            for number, reach in ring.looked_at():
                side.sort(words, ring, number)
                query_side.sort(query_words, ring, number)
                hits.take(ring_kernels.join_place(
                    words, side.offsets, side.ids, side.near, query_words, query_side.offsets, query_side.ids,
                    query_side.near, reach, *ring.at(number), radius, distinct, start, query_start,
                    hits.cap, hits.most, hits.counts, hits.keys, hits.distances, hits.n,
                ))  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Ring:
    """Every substring of a width in a ring, with what may differ in each and in those that follow (`ring_kernels`)."""

    places: I64
    """Shape (p, 4): word, shift, bits allowed to differ (-1: no table), bits allowed in it and those that follow."""
    width: int
    followers: int

    @classmethod
    def of(cls, n_bits: int, tables: tuple[Table, ...]) -> _Ring:
        """Lay out `tables`, all of one width; the substrings without a table follow and are allowed nothing."""
        width = tables[0].width
        radius_at = {(table.word, table.shift): table.radius for table in tables}
        places = _places(n_bits, width)
        allowed = [radius_at.get(place, -1) + 1 for place in places]
        followers = min(len(places) - 1, ring_kernels.NEAR_BITS // width)
        bounds = [sum((allowed * 2)[number : number + followers + 1]) - 1 for number in range(len(places))]
        columns = zip(places, allowed, bounds, strict=True)
        return cls(
            np.array([(word, shift, most - 1, bound) for (word, shift), most, bound in columns], np.int64),
            width,
            followers,
        )

    def at(self, number: int) -> tuple[I64, int, int, int]:
        """Return what the kernels ask about place `number`."""
        return self.places, number, self.width, self.followers

    def looked_at(self) -> list[tuple[int, I64]]:
        """Return the number of each place with a table, and the masks of the buckets within its reach."""
        return [
            (number, neighbours(self.width, int(allowed)))
            for number, allowed in enumerate(self.places[:, 2])
            if allowed >= 0
        ]


class _RingSide:
    """One side of an exact join, sorted by a substring: bucket offsets, row numbers, and what follows."""

    def __init__(self, n: int, width: int) -> None:
        self.offsets = np.empty(2**width + 1, np.int64)
        self.ids = np.empty(n, np.uint32)
        self.near = np.zeros(n + ring_kernels.PADDING, np.uint32)
        self._records = np.empty(n, np.uint64)

    def sort(self, words: U64, ring: _Ring, number: int) -> None:
        """Sort `words` (n_words, n) into the buckets of place `number`."""
        ring_kernels.sort_rows(words, *ring.at(number), self._records, self.offsets, self.ids, self.near)


def neighbours(width: int, radius: int) -> I64:
    """Return every `width`-bit mask with at most `radius` bits set, fewest first; shape (k,), int64."""
    masks = [sum(1 << bit for bit in bits) for flips in range(radius + 1) for bits in combinations(range(width), flips)]
    return np.array(masks, np.int64)


def butterfly_masks(n_words: int, number: int) -> U64:
    """Return the masks of the fixed bit permutation `number`; shape (stages, n_words), uint64.

    PDQ's neighbouring bits are correlated, which fills buckets unevenly; a random order of the bits evens them out. The
    order is made of swaps at distances 32 … 1, between words, and 1 … 32 again (a Beneš network), each swapping the
    places its mask names: cheap, and a permutation whatever the masks are.
    """
    state = 0x9E3779B97F4A7C15 * (number + 1)
    masks = []
    for distance in _stages(n_words):
        places = ~0 if distance < 0 else sum(1 << bit for bit in range(64) if not bit & distance)
        row = []
        for _ in range(n_words):
            state = (state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF  # splitmix64
            mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
            mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
            row.append((mixed ^ (mixed >> 31)) & places & 0xFFFFFFFFFFFFFFFF)
        masks.append(row)
    return np.array(masks, np.uint64)


def _stages(n_words: int) -> list[int]:
    """Swap distances: positive within a word, negative between words that many apart."""
    within = [32, 16, 8, 4, 2, 1]
    between = [-step for step in (1, 2, 4) if step < n_words]
    return within + between + within[::-1]


def permuted(rows: U64, masks: U64) -> U64:
    """Return the rows word by word, shape (n_words, n), their bits in the permuted order."""
    words = np.empty((rows.shape[1], len(rows)), np.uint64)
    kernels.permute(rows, np.array(_stages(rows.shape[1]), np.int64), masks, words)
    return words


@dataclass(slots=True)
class _State:
    ready: bool = False


_state = _State()
