"""Most pairs of local descriptors within a Hamming radius, for less than all of them cost: for candidates only.

As in `hamming.join`, both sides meet in buckets of substrings of the code. But of so many descriptors that a frame has,
one that is found is enough, so the substrings are wider than those that miss no pair: four of 18 of the 64 bits, around
the ring, and a pair is met where one of them holds at most one of its differing bits. Which pairs that are depends on
the two codes alone, never on what else is looked up with them: a video is judged alike by itself and among thousands.
"""

from __future__ import annotations

from itertools import product
from math import comb, prod

import numpy as np
import numpy.typing as npt

from videonovelty.matching import word_kernels
from videonovelty.matching.hamming import (
    DEFAULT_MEMORY_BYTES,
    I64,
    U8,
    U64,
    Hits,
    Pairs,
    butterfly_masks,
    checked,
    neighbours,
    permuted,
    warm_up,
)

CODE_BYTES = 8
TURNS = (0, 16, 32, 48)
WIDTH = 18
ALLOWED = 1
"""Substrings of `WIDTH` bits from each of `TURNS` on, after a permutation; a pair meets where so many differ in one.

Of pairs that differ in 7 bits anywhere 0.936 are met, in 6 0.986, in 5 0.999, in 3 and fewer all (`recall_at`).
"""
_GROUP_BITS = 10
"""High bits of a substring: a group of known codes, a thousandth of those held at a time, fits the second cache."""
_KNOWN_ROW_BYTES, _QUERY_ROW_BYTES = 20, 32
"""What a row takes while it is joined: permuted, parted and, of queries, sorted codes, and their row numbers."""


def join_descriptors(
    known: U8,
    queries: U8,
    radius: int,
    *,
    max_hits_per_query: int | None = None,
    max_pairs: int | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Pairs:
    """Return the pairs at distance <= `radius` that meet in a substring; all pairs returned are right.

    `known` (n, 8) and `queries` (q, 8) are uint8 codes. Other arguments and errors are those of `hamming.join`; also
    ValueError for codes of another size.
    """
    rows, query_rows = checked(known, queries, radius)
    if known.shape[1] != CODE_BYTES:
        raise ValueError(f"codes must have {CODE_BYTES} bytes, got {known.shape[1]}")
    warm_up()
    hits = Hits(len(query_rows), max_hits_per_query, max_pairs)
    block = max(1 << 16, memory_bytes // 2 // _KNOWN_ROW_BYTES)
    query_block = max(1 << 16, memory_bytes // 2 // _QUERY_ROW_BYTES)
    turns, low_bits = np.array(TURNS, np.int64), WIDTH - _GROUP_BITS
    reach = neighbours(WIDTH, ALLOWED)
    reach = reach[np.argsort(reach >> low_bits, kind="stable")]  # masks that lead to one group of queries together
    masks = butterfly_masks(1, 0)
    room, query_room = _Room(min(block, len(rows))), _Room(min(query_block, len(query_rows)))
    for query_start in range(0, len(query_rows), query_block):
        query_codes = permuted(query_rows[query_start : query_start + query_block], masks)[0]
        for start in range(0, len(rows), block):
            codes = permuted(rows[start : start + block], masks)[0]
            for number, turn in enumerate(TURNS):
                hits.take(word_kernels.join_groups(
                    *room.parted(codes, turn), *query_room.sorted(query_codes, turn), turns, number, WIDTH, ALLOWED,
                    reach, low_bits, radius, start, query_start, hits.cap, hits.most, hits.counts, hits.keys,
                    hits.distances, hits.n,
                ))  # fmt: skip
    return hits.pairs()


def recall_at(distance: int) -> float:
    """Return the chance that a pair at `distance` is met, its differing bits lying anywhere alike.

    Counts the ways to place them so that every substring holds too many, by how many lie in what two of them share.
    """
    shared = WIDTH - 64 // len(TURNS)
    own = WIDTH - 2 * shared
    missed = 0
    for overlap in product(range(shared + 1), repeat=len(TURNS)):
        ways = [0] * (distance + 1)
        if sum(overlap) <= distance:
            ways[sum(overlap)] = prod(comb(shared, here) for here in overlap)
        for number, here in enumerate(overlap):
            least = max(0, ALLOWED + 1 - here - overlap[number - 1])
            ways = [
                sum(ways[total - more] * comb(own, more) for more in range(least, total + 1))
                for total in range(distance + 1)
            ]
        missed += ways[distance]
    return 1.0 - missed / comb(64, distance)


_Side = tuple[U64, npt.NDArray[np.uint32], I64]


class _Room:
    """Memory for one side, used again for every block and substring: the system clears it as it gives it out."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._parted = self._new()
        self._sorted: tuple[U64, npt.NDArray[np.uint32]] | None = None
        self._begin = np.empty((1 << _GROUP_BITS) + 1, np.int64)

    def parted(self, codes: U64, turn: int) -> _Side:
        """Return turned codes and their row numbers, parted by the high bits of a substring, and where groups begin."""
        parted, rows = self._parted[0][: len(codes)], self._parted[1][: len(codes)]
        word_kernels.part(codes, turn, WIDTH - _GROUP_BITS, self._begin, parted, rows)
        return parted, rows, self._begin

    def sorted(self, codes: U64, turn: int) -> _Side:
        """Return the same, each group sorted by the low bits: neighbours look into neighbouring buckets."""
        parted, rows, begin = self.parted(codes, turn)
        self._sorted = self._sorted or self._new()
        sorted_codes, sorted_rows = self._sorted[0][: len(codes)], self._sorted[1][: len(codes)]
        word_kernels.sort_groups(parted, rows, begin, WIDTH - _GROUP_BITS, sorted_codes, sorted_rows)
        return sorted_codes, sorted_rows, begin

    def _new(self) -> tuple[U64, npt.NDArray[np.uint32]]:
        return np.empty(self._n, np.uint64), np.empty(self._n, np.uint32)
